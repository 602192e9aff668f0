"""The receive buffer gives back what was put in, and never grows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2p.buffer import ReceiveBuffer

SIZE = 64
LARGEST = SIZE // 2


def put(buffer: ReceiveBuffer, data: bytes) -> int:
    """Put in as much as there is room for; return how much that was."""
    room = buffer.room()
    count = min(len(room), len(data))
    room[:count] = data[:count]
    buffer.received(count)
    return count


@given(st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, LARGEST)), max_size=60))
def test_bytes_come_out_in_the_order_they_went_in(steps: list[tuple[int, int]]) -> None:
    buffer = ReceiveBuffer(SIZE)
    source = bytes(range(256)) * 20
    given_in, taken = 0, b""

    for arriving, wanted in steps:
        given_in += put(buffer, source[given_in : given_in + arriving])
        seen = buffer.peek(wanted)
        view = buffer.take(wanted)
        assert (view is None) == (seen is None) == (len(taken) + wanted > given_in)
        taken += b"" if view is None else bytes(view)
        assert len(buffer) == given_in - len(taken) <= SIZE

    assert taken == source[: len(taken)]


@given(st.lists(st.integers(1, LARGEST), max_size=60))
def test_there_is_always_room_for_what_is_missing(sizes: list[int]) -> None:
    buffer = ReceiveBuffer(SIZE)

    for size in sizes:
        while (view := buffer.take(size)) is None:
            assert put(buffer, bytes(SIZE)) > 0
        assert len(view) == size


def test_a_full_buffer_has_no_room() -> None:
    buffer = ReceiveBuffer(SIZE)

    assert put(buffer, bytes(SIZE + 1)) == SIZE
    assert len(buffer.room()) == 0
