"""Erasing waits for the moments of the store that somebody still reads, for no later ones."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from state.store import Store
from state.view import LevelView, OpenViews


def moment() -> LevelView:
    """Return a view of nothing."""
    handle: Any = SimpleNamespace(get=None, iterator=None)
    return LevelView(handle, lambda doing, error: error)


class Condition:
    """Stands for a wait: the world goes on once, then it is looked again."""

    def __init__(self, goes_on: Callable[[], None]) -> None:
        self._goes_on = goes_on
        self.seen: list[bool] = []

    def __enter__(self) -> Condition:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def notify_all(self) -> None:
        """Nobody else waits."""

    def wait_for(self, is_over: Callable[[], bool]) -> None:
        self.seen.append(is_over())
        self._goes_on()
        self.seen.append(is_over())


def test_erasing_waits_until_every_older_view_is_let_go_of() -> None:
    views = OpenViews()
    held = [views.keep(moment())]

    def goes_on() -> None:
        held.append(views.keep(moment()))
        del held[0]

    condition: Any = Condition(goes_on)
    views._one_gone = condition

    views.wait()

    assert condition.seen == [False, True]
    assert len(held) == 1, "a later one is held still, and was not waited for"


def test_the_store_waits_before_it_deletes(tmp_path: Any) -> None:
    with Store.open(tmp_path / "db", create=True) as store:
        store.write([(b"x", b"secret")], sync=True)
        view = store.snapshot()
        held = [view]
        del view
        seen = []

        def goes_on() -> None:
            seen.append(held[0].get(b"x"))
            held.clear()

        condition: Any = Condition(goes_on)
        store._views._one_gone = condition
        store.erase(b"x")

        assert seen == [b"secret"] and condition.seen == [False, True]
        assert store.get(b"x") is None
