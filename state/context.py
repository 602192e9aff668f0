"""What a rule is given: the block, the transaction, the actor (docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from chain.codec import Record, encode
from chain.errors import Rejected
from chain.fields import Blob, Collect, blob_collector
from chain.ids import Kind, derive_id
from chain.params import Params
from chain.transaction import distinct_blobs

from .module import Event, Message, Steps, Writer

KINDS = len(Kind)

Dispatch = Callable[["Context", Message], Steps]


@dataclass(slots=True)
class BlockContext:
    """One block while it is executed."""

    state: Writer
    genesis_hash: bytes
    height: int
    time_ms: int
    params: Params
    base_fee: int
    dispatch: Dispatch
    read_nested: Callable[[Message], list[Message]]
    base_fees: int = 0
    """Base parts of fees charged so far, ncolo."""
    tips: int = 0
    deposits: int = 0
    """Deposits taken minus deposits given back, ncolo; settled at the block's end."""
    flows: dict[bytes, int] = field(default_factory=dict)
    """Amounts for the treasury by denomination, credited once at the block's end."""


class Context:
    """One message while it is executed.

    ``actor`` is who acts and pays: the transaction's sender, or the IP inside ``ip.execute``.
    Ids always use the sender (protocol.md I2).
    """

    __slots__ = (
        "_made",
        "actor",
        "block",
        "deposits",
        "events",
        "flows",
        "index",
        "lane",
        "owed",
        "path",
        "sender",
        "seq",
        "state",
        "units_left",
        "units_used",
    )

    def __init__(self, block: BlockContext, sender: bytes, lane: int, seq: int, index: int) -> None:
        """``begin_message`` comes before the first rule."""
        self.block = block
        self.state = block.state
        self.sender = sender
        self.lane = lane
        self.seq = seq
        self.index = index
        self.events: list[Event] = []
        self.deposits = 0
        self.owed = 0
        """What the message in hand has to deposit, ncolo: taken from its actor at its end."""
        self.flows: dict[bytes, int] = {}
        self.units_used = 0

    @property
    def time_ms(self) -> int:
        """Time of the block, Unix milliseconds."""
        return self.block.time_ms

    @property
    def height(self) -> int:
        """Height of the block."""
        return self.block.height

    @property
    def params(self) -> Params:
        """Parameters of the network."""
        return self.block.params

    def begin_message(self, index: int, metered: int) -> None:
        """Prepare for the transaction's message ``index``; ``metered`` units may be spent."""
        self.path = [index]
        self.actor = self.sender
        self.units_left = metered
        self._made = [0] * KINDS

    def run_nested(
        self, actor: bytes, messages: list[Message], require_right: Callable[[], None]
    ) -> Steps:
        """Run messages with another actor, one after the other, below the present one.

        ``require_right`` refuses when the outer actor may no longer act so; it is asked before
        each message, as the one before may have given the right away. Each message has the units
        it declares itself (F4).
        """
        outer = self.actor, self.path, self._made, self.units_left, self.owed
        for index, message in enumerate(messages):
            require_right()
            self.actor = actor
            self.path = [*outer[1], index]
            self._made = [0] * KINDS
            self.units_left = message.metered()
            self.owed = 0
            yield from self.block.dispatch(self, message)
        self.actor, self.path, self._made, self.units_left, self.owed = outer

    def emit(self, event: Event) -> None:
        """Add an event to the transaction's receipt."""
        self.events.append(event)

    def new_id(self, kind: Kind) -> bytes:
        """Return the id of the next object of ``kind`` this message makes (I2)."""
        n = self._made[kind]
        self._made[kind] = n + 1
        return derive_id(
            kind, self.block.genesis_hash, self.sender, self.lane, self.seq, self.path, n
        )

    def spend(self, units: int) -> None:
        """Use metered units; ``tx/OutOfUnits`` when the declared ``max_units`` are gone (F4)."""
        self.units_used += units
        if units > self.units_left:
            raise Rejected(
                "tx/OutOfUnits",
                f"the message needs more than its max_units; {units} more at this point",
                missing=units - self.units_left,
            )
        self.units_left -= units

    def treasury_gets(self, denom: bytes, amount: int) -> None:
        """Send money that has already been taken from a payer to the treasury."""
        self.flows[denom] = self.flows.get(denom, 0) + amount


def record_bytes(key: bytes, record: Record) -> int:
    """Return the bytes a deposit is priced by: key, value and what its blobs name (N-account.4)."""
    return len(key) + len(encode(record)) + blob_bytes(record)


def blob_bytes(record: Record) -> int:
    """Return the bytes of the distinct blobs that a record names."""
    collect = _collector(type(record))
    if collect is None:
        return 0
    blobs: list[Blob] = []
    collect(record, blobs)
    return sum(length for _, length in distinct_blobs(blobs)) if blobs else 0


@cache
def _collector(kind: type[Record]) -> Collect | None:
    return blob_collector(kind)
