"""How lists are answered: in pages of bounded work, made in steps (docs/rpc.md).

Every query that answers a list returns a record with ``items`` and ``cursor``, takes ``cursor``
and ``limit``, and gets both from ``page``. A cursor names where the next page begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeVar

import msgspec

from chain.application import Job

from .module import QueryContext

PAGE_MAX = 200
"""Items of one answer."""

Limit = Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX)]

C = TypeVar("C")
T = TypeVar("T")

Candidate = tuple[C, T | None] | None
"""A place and what stands there (None: nothing to show); instead of both, None: pause here."""


def page(
    query: QueryContext, candidates: Iterable[Candidate[C, T]], limit: int
) -> Job[tuple[list[T], C | None]]:
    """Return items and the place the next page begins at (None: there is no more).

    Ends at ``limit`` items, or when the answer has looked at enough rows: then with fewer items,
    perhaps none. One place at least is passed, so cursors always come to an end.
    """
    items: list[T] = []
    has_passed_one = False
    begun = query.visits.rows
    for candidate in candidates:
        if candidate is None:
            yield
            continue
        place, item = candidate
        if len(items) == limit or (has_passed_one and query.visits.is_spent_since(begun)):
            return items, place
        has_passed_one = True
        if item is not None:
            items.append(item)
        if query.visits.step_is_over():
            yield
    return items, None
