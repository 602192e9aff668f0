"""The cache of rows forgets, but never lies, and never grows past its bound."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from state.row_cache import RowCache

keys = st.integers(0, 12).map(lambda number: b"key %d" % number)
batches = st.lists(st.dictionaries(keys, st.binary(max_size=2), max_size=6), max_size=40)


def held(cache: RowCache) -> int:
    return len(cache._young) + len(cache._old) + len(cache._leaving)


@given(batches, st.integers(1, 8))
@settings(deadline=None)
def test_a_row_is_the_newest_or_not_there(writes: list[dict[bytes, bytes]], rows: int) -> None:
    cache = RowCache(rows)
    model: dict[bytes, bytes] = {}
    for batch in writes:
        cache.put(batch)
        model.update(batch)

        for key in model:
            assert cache.get(key) in (None, model[key])
        assert held(cache) <= 3 * (rows + 6)  # three generations, each up to a batch too large


def test_what_came_in_within_a_generation_is_there() -> None:
    cache = RowCache(100)
    for number in range(1_000):
        cache.put({b"%d" % number: b"row %d" % number})
        for recent in range(max(0, number - 99), number + 1):
            assert cache.get(b"%d" % recent) == b"row %d" % recent


def test_a_dropped_generation_is_freed_before_the_next_is_dropped() -> None:
    cache = RowCache(100)
    for number in range(1_000):
        cache.put({b"%d" % number: b""})
        if len(cache._young) == 60:
            assert not cache._leaving
    assert held(cache) <= 200
