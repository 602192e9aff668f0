"""``events.*`` as the table knows them: parameters, results and sentences.

They work over WebSocket only, where each connection puts its own functions in their place
(``subscriptions.py``).
"""

from __future__ import annotations

from typing import Annotated, NoReturn

import msgspec

from chain.codec import U64, Record
from chain.errors import Rejected
from chain.fields import text
from chain.ids import AnyId, Holder

from .methods import Method, method

CURSOR_BYTES = 16
"""A cursor: u64 height, u32 index of the transaction, u32 index of the event."""

Cursor = Annotated[bytes, msgspec.Meta(min_length=CURSOR_BYTES, max_length=CURSOR_BYTES)]


class EventFilter(Record):
    """Which events a subscriber wants; all that is given must fit, nothing given is everything."""

    module: Annotated[str, text(20)] | None = None
    """Family, for instance ``ip``; ``chain`` for new blocks."""
    event: Annotated[str, text(64)] | None = None
    """Whole name, for instance ``ip.registered`` or ``chain.block``."""
    address: Holder | None = None
    """An account or IP that stands in the event."""
    id: AnyId | None = None
    """Any id that stands in the event."""


class Subscribed(Record):
    """A subscription and the height its first events may come from."""

    subscription: str
    next_height: U64


def subscribe(
    *, filter: EventFilter | None = None, from_height: U64 | None = None,
    cursor: Cursor | None = None,
) -> Subscribed:  # fmt: skip
    """Send every matching event from now on, or from a height, or from after a cursor.

    Events come as notifications ``events.event``, in the order of the chain, without gap or
    duplicate; after the events of each block comes its ``chain.block``.
    """
    _refuse()


def unsubscribe(*, subscription: Annotated[str, text(20)]) -> bool:
    """End a subscription; false if there is none of that name."""
    _refuse()


def _refuse() -> NoReturn:
    raise Rejected("events/WebSocketOnly", "subscriptions need a WebSocket: connect to /ws")


def event_methods() -> list[Method]:
    """Return the descriptions, with functions that send callers to the WebSocket."""
    return [
        method("events.subscribe", subscribe, reads=False),
        method("events.unsubscribe", unsubscribe, reads=False),
    ]
