"""The cache of rows forgets, but never lies, and never grows past its bound."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from state.row_cache import ROW_BYTES, RowCache

keys = st.integers(0, 12).map(lambda number: b"key %d" % number)
rows = st.none() | st.binary(max_size=300)
batches = st.lists(st.dictionaries(keys, rows, max_size=6), max_size=40)
LARGEST = ROW_BYTES + 6 + 300


def size(rows: dict[bytes, bytes]) -> int:
    """Return what rows take, counted anew."""
    return sum(ROW_BYTES + len(key) + len(row) for key, row in rows.items())


@given(batches, st.integers(1, 8))
@settings(deadline=None)
def test_a_row_is_the_newest_or_not_there(
    writes: list[dict[bytes, bytes | None]], rows: int
) -> None:
    cache = RowCache(rows * LARGEST)
    model: dict[bytes, bytes | None] = {}
    for batch in writes:
        cache.put({key: row for key, row in batch.items() if row is not None})
        cache.drop(key for key, row in batch.items() if row is None)
        model.update(batch)

        for key in model:
            assert cache.get(key) in (None, model[key])
        assert cache._young_bytes == size(cache._young) < rows * LARGEST
        for generation in (cache._old, cache._leaving):
            assert size(generation) <= (rows + 6) * LARGEST  # up to a batch too large


def test_what_came_in_within_a_generation_is_there() -> None:
    cache = RowCache(100 * (ROW_BYTES + 10))
    for number in range(1_000):
        cache.put({b"%4d" % number: b"row %2d" % (number % 100)})
        for recent in range(max(0, number - 99), number + 1):
            assert cache.get(b"%4d" % recent) == b"row %2d" % (recent % 100)


def test_a_row_that_changes_takes_its_room_once() -> None:
    cache = RowCache(100 * ROW_BYTES)
    cache.put({b"rare": b""})
    for number in range(1_000):
        cache.put({b"often": b"x" * (number % 100)})
    assert cache.get(b"rare") == b""
    assert not cache._old


def test_a_dropped_generation_is_freed_before_the_next_is_dropped() -> None:
    cache = RowCache(100 * (ROW_BYTES + 4))
    for number in range(1_000):
        cache.put({b"%4d" % number: b""})
        if len(cache._young) == 60:
            assert not cache._leaving
    assert len(cache._young) + len(cache._old) + len(cache._leaving) <= 200
