"""Events of the chain for subscribers: live, or first from the past, never twice, never a gap.

``Hub`` hears of every final block once and keeps the newest as ``BlockEvents``, in which each
event is encoded at most once for everybody. A ``Subscription`` is a filter and the cursor it has
reached. Behind the head it reads blocks from the store at the pace of its reader; at the head it
is fed by the hub. Both ways go through the same function, so the switch cannot lose an event.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, get_args, get_origin

import msgspec

from chain.codec import Record
from chain.fields import fields_of, optional_of, split_annotation
from chain.json_form import record_to_json
from state.module import Event
from state.queries import ChainReader, Unavailable

from .backend import Backend, FinalBlock
from .event_methods import CURSOR_BYTES, EventFilter

BLOCKS_KEPT = 16
"""Encoded blocks kept for subscribers that are a little behind."""
LAST = 0xFFFF_FFFF
"""Stands for a block's own event in a cursor: it comes after all others."""


class BlockEvent(Event, tag="chain.block"):
    """A block is final."""

    height: int
    block_id: bytes
    time_ms: int
    transactions: int


class Entry:
    """One event of one block; its JSON and the ids in it are made when first asked for."""

    __slots__ = ("_event", "_ids", "_payload", "_place", "cursor", "name")

    def __init__(self, event: Event, place: dict[str, Any], cursor: bytes) -> None:
        self._event = event
        self._place = place
        self._payload: bytes | None = None
        self._ids: frozenset[bytes] | None = None
        self.name = str(type(event).__struct_config__.tag)
        self.cursor = cursor
        """``height ‖ index ‖ event index``: cursors sort as events do."""

    @property
    def payload(self) -> bytes:
        """The JSON object that subscribers get, encoded once."""
        if self._payload is None:
            form = {
                **self._place,
                "cursor": "0x" + self.cursor.hex(),
                "event": record_to_json(self._event),
            }
            self._payload = msgspec.json.encode(form)
        return self._payload

    @property
    def ids(self) -> frozenset[bytes]:
        """Every id that stands in the event."""
        if self._ids is None:
            self._ids = frozenset(ids_in(self._event))
        return self._ids


class BlockEvents:
    """The events of one final block, in order, its own last."""

    __slots__ = ("entries", "height")

    def __init__(self, block: FinalBlock) -> None:
        self.height = block.height
        self.entries: list[Entry] = []
        for index, (tx_id, events) in enumerate(zip(block.tx_ids, block.events, strict=True)):
            place = {"height": block.height, "index": index, "tx_id": "0x" + tx_id.hex()}
            for number, event in enumerate(events):
                self.entries.append(Entry(event, place, cursor_of(block.height, index, number)))
        own = BlockEvent(block.height, block.block_id, block.time_ms, len(block.tx_ids))
        place = {"height": block.height, "index": None, "tx_id": None}
        self.entries.append(Entry(own, place, cursor_of(block.height, LAST, LAST)))


def cursor_of(height: int, index: int, number: int) -> bytes:
    """Return the cursor of an event."""
    return height.to_bytes(8, "big") + index.to_bytes(4, "big") + number.to_bytes(4, "big")


def ids_in(record: Record) -> Iterator[bytes]:
    """Yield every id in a record, nested ones included."""
    for attribute, kind in _id_fields(type(record)):
        yield from _ids_of(kind, getattr(record, attribute))


@cache
def _id_fields(record: type[Record]) -> list[tuple[str, Any]]:
    return [(name, kind) for name, kind in fields_of(record).items() if _may_hold_id(kind)]


def _may_hold_id(kind: Any) -> bool:
    bare, extras = split_annotation(kind)
    inner = optional_of(bare)
    if inner is not None:
        return _may_hold_id(inner)
    if extras.get("kinds") or extras.get("id") or extras.get("denom"):
        return True
    if get_origin(bare) is list:
        return _may_hold_id(get_args(bare)[0])
    return isinstance(bare, type) and issubclass(bare, Record)


def _ids_of(kind: Any, value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        if value:
            yield value
    elif isinstance(value, Record):
        yield from ids_in(value)
    elif isinstance(value, list):
        for part in value:
            yield from _ids_of(kind, part)


class Subscription:
    """What one subscriber wants, and how far it has got."""

    __slots__ = ("_filter", "_head", "after", "ended", "name", "next_height")

    def __init__(
        self, name: str, wanted: EventFilter, next_height: int, after: bytes = b""
    ) -> None:
        """``after`` is the cursor after which events are wanted."""
        self.name = name
        self.next_height = next_height
        self.after = after
        self.ended = False
        self._filter = wanted
        self._head = (
            b'{"jsonrpc":"2.0","method":"events.event","params":{"subscription":"'
            + name.encode()
            + b'","result":'
        )

    def take(self, block: BlockEvents) -> list[bytes]:
        """Return the messages a block means for this subscriber; the next block is awaited."""
        self.next_height = block.height + 1
        return [self._head + entry.payload + b"}}" for entry in block.entries if self._wants(entry)]

    def _wants(self, entry: Entry) -> bool:
        wanted = self._filter
        if entry.cursor <= self.after:
            return False
        if wanted.event is not None and entry.name != wanted.event:
            return False
        if wanted.module is not None and entry.name.partition(".")[0] != wanted.module:
            return False
        if wanted.address is not None and wanted.address not in entry.ids:
            return False
        return wanted.id is None or wanted.id in entry.ids


Deliver = Callable[[Subscription, BlockEvents], None]


class Hub:
    """Hears of final blocks and passes them on; one per server."""

    def __init__(self, backend: Backend) -> None:
        self._reader: ChainReader = backend.reader
        self.height = self._reader.machine.head.height
        """The newest block that subscribers have been told of."""
        self._kept: OrderedDict[int, BlockEvents] = OrderedDict()
        self._live: dict[Subscription, Deliver] = {}
        self._stop: Callable[[], None] | None = backend.listen(self._hear)

    def close(self) -> None:
        """Hear no more; closing twice is harmless."""
        if self._stop is not None:
            self._stop()
            self._stop = None

    def _hear(self, block: FinalBlock) -> None:
        """Called on the event loop with every block that becomes final, ascending."""
        if block.height <= self.height:
            return
        self.height = block.height
        if not self._live:
            return  # Whoever comes later reads it from the store.
        events = BlockEvents(block)
        self._keep(events)
        for subscription, deliver in list(self._live.items()):
            deliver(subscription, events)

    def _keep(self, events: BlockEvents) -> None:
        self._kept[events.height] = events
        while len(self._kept) > BLOCKS_KEPT:
            self._kept.popitem(last=False)

    def block(self, height: int) -> BlockEvents:
        """Return the events of a final block; ``Unavailable`` if it is not stored."""
        kept = self._kept.get(height)
        if kept is not None:
            return kept
        header = self._reader.header(height)
        receipts = self._reader.receipts(height)
        return BlockEvents(
            FinalBlock(
                height,
                header.id(),
                header.time_ms,
                [receipt.tx_id for receipt in receipts],
                [receipt.events for receipt in receipts],
            )
        )

    def start_of(self, from_height: int | None, cursor: bytes | None) -> int:
        """Return the first height a new subscription looks at; ``Unavailable`` if not there."""
        if cursor is not None:
            from_height = int.from_bytes(cursor[:8], "big")
        if from_height is None:
            return self.height + 1
        if not 1 <= from_height <= self.height + 1:
            raise Unavailable(
                "chain/NoSuchHeight",
                f"no block {from_height}; heights 1 to {self.height} are there",
                first=1,
                last=self.height,
            )
        return from_height

    async def follow(
        self, subscription: Subscription, room: Callable[[], Any], deliver: Deliver
    ) -> None:
        """Bring a subscription to the head at its reader's pace, then keep it there.

        ``room`` is awaited after each block. Between the last look at ``self.height`` and the
        registration nothing is awaited, so no block can fall between past and present.
        """
        while not subscription.ended and subscription.next_height <= self.height:
            deliver(subscription, self.block(subscription.next_height))
            await asyncio.sleep(0)  # a long replay leaves the loop to others
            await room()
        if not subscription.ended:
            self._live[subscription] = deliver

    def forget(self, subscription: Subscription) -> None:
        """Send nothing more to a subscription."""
        subscription.ended = True
        self._live.pop(subscription, None)


assert len(cursor_of(0, 0, 0)) == CURSOR_BYTES
