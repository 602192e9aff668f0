"""What the outside may ask of a running node: the one door between ``rpc`` and the node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from chain.application import Job
from chain.codec import U32, U64, Hash, Record
from chain.errors import Rejected
from chain.fields import Amount
from chain.ids import AccountId
from state.module import Event
from state.queries import ChainReader


class Busy(Rejected):
    """The node has too much to do; ``details["retry_after_ms"]`` says when to come again."""


class TimedOut(Rejected):
    """What was waited for did not happen in the time given; it may still happen."""


class TxState(IntEnum):
    """Where a transaction stands. ``final`` cannot be undone; ``proven`` can be shown to others."""

    PENDING = 0
    INCLUDED = 1
    FINAL = 2
    PROVEN = 3
    FAILED = 4
    """Final, and its messages were undone; the receipt says why."""
    EXPIRED = 5
    REPLACED = 6
    DROPPED = 7
    UNKNOWN = 8


class Status(Record, kw_only=True):
    """What a node says of itself."""

    name: str
    chain_id: str
    genesis_hash: Hash
    version: str
    height: U64
    block_id: Hash
    block_time_ms: U64
    state_root: Hash
    view: U64
    validators: U32
    validator_index: int | None
    """Place of this node in the committee; absent for a follower."""
    peers: U32
    pending: U32
    base_fee: U64
    """µncolo per unit that the next block asks."""
    healthy: bool
    reason: str
    """Why the node is not healthy, in one sentence; empty if it is."""
    dev: bool


class FeeView(Record):
    """What to offer for a transaction to be taken soon."""

    base_fee: U64
    """µncolo per unit now."""
    suggested_base_fee: U64
    """Enough for the coming ``horizon`` blocks, however full they are."""
    tip: Amount
    """Tip per transaction that the blocks of the pool would take now."""


class PendingTx(Record):
    """A transaction that waits for a block."""

    id: Hash
    sender: AccountId
    lane: U32
    seq: U64
    units: U64


class PendingPage(Record):
    """Some of what waits, in the order it came."""

    items: list[PendingTx]
    cursor: U64 | None
    """Where to go on; none behind the last."""


class FinalBlock(Record, gc=True):
    """A block that has just become final, as subscribers are told."""

    height: int
    block_id: bytes
    time_ms: int
    tx_ids: list[bytes]
    events: list[list[Event]]


class Simulated(Record):
    """What a transaction would do now."""

    units: U64
    fee: Amount
    code: str
    """Empty if it would succeed."""
    message: str
    message_index: U32
    events: list[Any]


Listener = Callable[[FinalBlock], None]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A figure of several, told apart by a label."""

    label: str
    values: Mapping[str, float]


Figure = float | Labelled


class Backend(Protocol):
    """A running node."""

    reader: ChainReader

    def status(self) -> Status:
        """Return what the node says of itself."""
        ...

    async def give_way(self) -> None:
        """Let consensus go first, between two steps of a long answer."""
        ...

    def require_room(self) -> None:
        """Raise ``Busy`` while the node takes no transaction of any client."""
        ...

    async def submit(self, envelope: bytes) -> bytes:
        """Check a transaction, put it into the pool, return its id; repeating is harmless.

        Raises ``Rejected`` (refused) or ``Busy``.
        """
        ...

    async def submit_all(self, envelopes: list[bytes]) -> list[bytes | Rejected]:
        """Do so with many; return the id or the refusal of each, in their order."""
        ...

    async def wait_final(self, tx_id: bytes, timeout_ms: int) -> None:
        """Return when a transaction is final; raises ``TimedOut``."""
        ...

    def tx_state(self, tx_id: bytes) -> TxState:
        """Return where a transaction stands."""
        ...

    def pending(self, cursor: int, limit: int) -> PendingPage:
        """Return transactions of the pool that came after ``cursor``, in that order."""
        ...

    def fee(self, horizon: int) -> FeeView:
        """Return what to offer to be taken within ``horizon`` blocks."""
        ...

    def simulate(self, body: bytes) -> Job[Simulated]:
        """Run an unsigned body above the finalised state and forget it."""
        ...

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with every block that becomes final; returns how to stop."""
        ...

    def counters(self) -> dict[str, Figure]:
        """Return figures for ``/metrics``, by name."""
        ...

    async def faucet(self, address: bytes, amount: int) -> bytes:
        """Send money of the development faucet; returns the transaction's id."""
        ...

    def advance(self, duration_ms: int) -> int:
        """Move the development clock on; returns the new time, Unix ms."""
        ...
