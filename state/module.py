"""What a native family is made of: messages, events, tables, queries (docs/architecture.md).

A family is one ``Module`` value. Everything else about it (codec, fee, command line, builder,
RPC schema, documentation table, fuzz strategy) is derived from its classes; nothing is registered
by side effect.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec

from chain import fees
from chain.codec import Record, encode
from chain.params import Params

from .layout import after
from .visits import CountedRows, Visits

R = TypeVar("R", bound=Record)


class Message(Record):
    """Base of message payloads; the struct tag is the permanent name, ``family.verb``."""

    WEIGHT: ClassVar[int] = 20
    """Units the message costs besides bytes, signatures and keys (protocol.md F1), measured."""
    WRITES: ClassVar[int] = 2
    """Most keys the message writes besides the account of who acts (N-ip.9 pays for an IP's)."""

    def weight(self) -> int:
        """Return the units of this message; override where lists decide."""
        return self.WEIGHT

    def writes(self) -> int:
        """Return the bound of keys this message writes; override where lists decide."""
        return self.WRITES

    def metered(self) -> int:
        """Return the units it declares for work that only the state decides (F4)."""
        return getattr(self, "max_units", 0)

    def units(self) -> int:
        """Return what the message adds to its transaction's work (protocol.md F1)."""
        return self.weight() + fees.KEY_WRITE_UNITS * self.writes() + self.metered()


class Event(Record):
    """Base of events; the struct tag is the permanent name (protocol.md R3)."""


class Reader(Protocol):
    """Anything values under the root can be read from."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""


class Writer(Reader, Protocol):
    """The block's state, as rules see it."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set a key."""

    def delete(self, key: bytes) -> None:
        """Remove a key."""


class Scanner(Reader, Protocol):
    """The finalised state, which can also be walked in key order (queries and checks only)."""

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs with ``start <= key < stop``."""


class Table(Generic[R]):
    """Typed rows under ``family ‖ 0x00 ‖ number ‖ key`` (protocol.md A2)."""

    __slots__ = ("_decode", "key_bytes", "prefix", "record")

    def __init__(self, family: str, number: int, record: type[R], *, key_bytes: int) -> None:
        """``key_bytes`` is the fixed width of the key after the prefix."""
        self.prefix = family.encode("ascii") + bytes((0, number))
        self.record = record
        self.key_bytes = key_bytes
        self._decode = msgspec.msgpack.Decoder(record).decode

    def get(self, state: Reader, key: bytes) -> R | None:
        """Return the row, or None."""
        raw = state.get(self.prefix + key)
        return None if raw is None else self._decode(raw)

    def has(self, state: Reader, key: bytes) -> bool:
        """Tell whether the row exists, without decoding it."""
        return state.get(self.prefix + key) is not None

    def put(self, state: Writer, key: bytes, row: R) -> None:
        """Store the row."""
        state.put(self.prefix + key, encode(row))

    def delete(self, state: Writer, key: bytes) -> None:
        """Remove the row."""
        state.delete(self.prefix + key)

    def scan(
        self, state: Scanner, start: bytes = b"", within: bytes = b""
    ) -> Iterator[tuple[bytes, R]]:
        """Yield (key, row) in key order from ``start`` on, keys beginning with ``within``."""
        low = self.prefix + max(start, within)
        for key, raw in state.scan(low, after(self.prefix + within)):
            yield key[len(self.prefix) :], self._decode(raw)


@dataclass(slots=True)
class QueryContext:
    """What a query may look at: the finalised state at one height, and derived indexes.

    One answer's: whatever is read through it is counted (``visits``). ``time_ms`` is that of a
    block made now, which may be long after the newest one.
    """

    state: Scanner
    index: Scanner
    genesis_hash: bytes
    height: int
    time_ms: int
    params: Params
    visits: Visits = field(default_factory=Visits)

    def __post_init__(self) -> None:
        self.state = CountedRows(self.state.get, self.state.scan, self.visits)
        self.index = CountedRows(self.index.get, self.index.scan, self.visits)


Query = Callable[..., Any]
"""``query(context, *, name: annotated type, …) -> Record``; annotations give the RPC schema.

Returns the record, or a ``Job`` that makes it in steps: whatever answers a list, or may look at
many rows (paging.py).
"""

Steps = Generator[int, None, None]
"""A rule over a long list: it goes on when it is asked for more, and yields the units of work it
has done since (C19). Each piece is at most a few hundred."""

Apply = Callable[[Any, Any], Steps | None]
"""``apply(context, message)``; raises ``Rejected``, and then nothing of it remains.

A message whose lists can be long returns its ``Steps``; all others do their work at once.
"""

IndexRow = tuple[bytes, bytes | None]
"""Key and value of a derived row (None removes it); the key begins with ``family ‖ 0x00``.

Values that the events of one block put under one key are joined, in order: a list of what came
with the block costs one row.
"""


class EventPlace(msgspec.Struct, frozen=True, gc=False):
    """Where an event stands: for index functions."""

    height: int
    time_ms: int
    index: int
    """Index of the transaction in its block."""
    tx_id: bytes
    sender: bytes


Indexer = Callable[[EventPlace, Any], Iterable[IndexRow]]
"""Returns the derived rows that an event of the family adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One native family."""

    name: str
    version: int
    messages: Mapping[type[Message], Apply]
    events: tuple[type[Event], ...]
    tables: tuple[Table[Any], ...]
    genesis: Callable[[Any, bytes | None], None] | None = None
    """``genesis(context, encoded state or None)`` writes the family's first keys."""
    begin: Callable[[Any], None] | None = None
    """Runs before a block's messages; bounded work only."""
    end: Callable[[Any], None] | None = None
    """Runs after a block's messages; bounded work only."""
    queries: Mapping[str, Query] = field(default_factory=dict)
    """RPC methods: ``verb`` becomes ``family.verb``; a name with a dot stands as it is."""
    index: Indexer | None = None
    """Asked about the family's own events only."""
    invariants: Mapping[str, Callable[[Scanner], str | None]] = field(default_factory=dict)
    """Name → check over the whole state; returns a sentence if broken."""
    money: Callable[[Scanner], Iterable[tuple[bytes, int]]] | None = None
    """Yields (denomination, amount) of everything the family keeps outside balances."""
