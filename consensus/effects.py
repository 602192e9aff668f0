"""Everything the consensus core asks of its host.

The contract
------------
``Core.handle(event)`` returns effects in the order in which they are to be done.

1. *Durable before sent.* Effects that follow a ``Persist(sync=True)`` in the list wait until its
   records, and all persisted before, are synced; then the host executes them and hands the core
   ``Durable(token)``. Effects of other ``handle`` calls need not wait. A ``Persist`` with FINALIZE
   or NULLIFY votes also moves the guard (``guard.py``) between the sync and the effects.
2. *My own votes count only once durable.* The core does not look at them before ``Durable``, so a
   validator alone in its committee waits for its disk as well.
3. ``Persist(sync=False)`` is appended and synced with whatever comes next.
4. ``SetTimer`` replaces the timer of that kind; ``deadline_ms`` is on the clock of ``now_ms``.
5. ``Build``, ``VerifyBlock`` and ``Certify`` are answered by exactly one event each, unless a
   ``StopCertify``, a ``Finalize`` or a ``Sync`` overtakes them: what is final then may lie above
   the parent, and there is nothing to answer. An answer that comes all the same is welcome.
   A block that was once certified stays executed until a ``Finalize`` drops its branch.
6. ``Finalize`` is answered by ``Committed`` of its last block. Blocks that were not executed are
   executed first; a fault there stops the node (C7).
7. ``Request`` may go to any peer, preferably to the member named; later attempts to others.
8. A failed sync ends the process. Nothing is retried on a disk that said no.
"""

from __future__ import annotations

import msgspec

from chain.application import Placement
from chain.block import Block
from chain.certificate import Evidence
from chain.finality import FinalityProof
from chain.transaction import Attachment

from .events import Peer
from .journal import JournalRecord
from .messages import BlockRequest, Message, ViewRequest
from .timers import Timer


class Persist(msgspec.Struct, frozen=True):
    """Append records to the journal; see the contract."""

    records: tuple[JournalRecord, ...]
    sync: bool
    token: int
    """For ``Durable``; 0 if ``sync`` is False."""


class Send(msgspec.Struct, frozen=True):
    """Send to one peer; if it is gone, drop it."""

    peer: Peer
    message: Message


class Broadcast(msgspec.Struct, frozen=True):
    """Send to every validator and every follower that is connected."""

    message: Message


class Request(msgspec.Struct, frozen=True):
    """Ask one peer; ``member`` is the best first address, ``attempt`` counts from 0."""

    message: ViewRequest | BlockRequest
    member: int | None
    attempt: int


class SetTimer(msgspec.Struct, frozen=True):
    """Fire ``timer`` at ``deadline_ms``; replaces the one that was set."""

    timer: Timer
    deadline_ms: int


class CancelTimer(msgspec.Struct, frozen=True):
    """Forget a timer."""

    timer: Timer


class Build(msgspec.Struct, frozen=True):
    """Make the block of my view; answered by ``Built`` or ``BuildFailed``."""

    placement: Placement
    empty: bool
    """No transactions and no evidence: a filler, or too much is un-finalised (C12)."""


class VerifyBlock(msgspec.Struct, frozen=True):
    """Structure and authorise on the executed parent; answered by ``BlockVerified``."""

    block: Block
    attachments: list[list[Attachment]]


class Certify(msgspec.Struct, frozen=True):
    """Execute on the executed parent; answered by ``Certified`` or ``CertifyFailed``."""

    block: Block


class StopCertify(msgspec.Struct, frozen=True):
    """Stop executing this block if that still runs; a finished execution is kept (C4)."""

    block_id: bytes


class Finalize(msgspec.Struct, frozen=True):
    """These blocks are final, ascending, without fillers; ``proof`` is of the last (C7)."""

    blocks: tuple[Block, ...]
    proof: FinalityProof


class SetAside(msgspec.Struct, frozen=True):
    """Keep this transaction out of my own blocks: executing it met a bug (C4)."""

    tx_id: bytes


class ReportEvidence(msgspec.Struct, frozen=True):
    """A member signed what no honest member signs."""

    evidence: Evidence


class TurnFailed(msgspec.Struct, frozen=True):
    """The turn of a leader cost a time-out, or its proposal's time had to be waited for (C6)."""

    leader: int
    view: int
    in_a_row: int
    """How many turns of this leader failed in a row, this one included."""


class ProposalRefused(msgspec.Struct, frozen=True):
    """A leader's proposal can never be voted for here (C3); the operator should know."""

    leader: int
    view: int
    code: str
    message: str


class Blame(msgspec.Struct, frozen=True):
    """A peer sent what no honest node sends; ``code`` says what."""

    peer: Peer
    code: str
    message: str


class Sync(msgspec.Struct, frozen=True):
    """I am too far behind for single blocks: fetch ranges; answered by ``Synced`` (C18)."""

    height: int
    """At least this height is final: proved, not claimed."""


class ProveEpochEnd(msgspec.Struct, frozen=True):
    """Send the peer ``EpochEnded`` with the store's proof of that epoch's last block (C10).

    If the store does not have it yet, drop this; the peer will be heard again.
    """

    peer: Peer
    epoch: int


class Forget(msgspec.Struct, frozen=True):
    """Journal segments wholly below this view of this epoch may go (J6)."""

    epoch: int
    view: int


class Stop(msgspec.Struct, frozen=True):
    """The node must stop with this sentence and keep its data."""

    reason: str


Effect = (
    Persist
    | Send
    | Broadcast
    | Request
    | SetTimer
    | CancelTimer
    | Build
    | VerifyBlock
    | Certify
    | StopCertify
    | Finalize
    | SetAside
    | ReportEvidence
    | TurnFailed
    | ProposalRefused
    | Blame
    | Sync
    | ProveEpochEnd
    | Forget
    | Stop
)
