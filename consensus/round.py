"""What is known of one view and of one block (protocol.md C0, C3, C4)."""

from __future__ import annotations

from enum import Enum

import msgspec

from chain.block import Block, Proposal
from chain.certificate import Certificate, members_of
from chain.errors import Rejected
from chain.header import Header
from chain.vote import NULLIFY, Vote

from .votebook import VoteBook


class Execution(Enum):
    """How far this node is with executing a block."""

    NONE = 0
    RUNNING = 1
    DONE = 2
    FAILED = 3


class Verdict(Enum):
    """What the application says of the proposal of a view."""

    UNKNOWN = 0
    ASKED = 1
    VALID = 2


# As in chain/vote.py: names for what is looked at all the time.
DONE = Execution.DONE
ASKED, VALID = Verdict.ASKED, Verdict.VALID


class Anchor(msgspec.Struct, frozen=True):
    """A block as a parent: what its children are checked against."""

    id: bytes
    view: int
    height: int
    time_ms: int
    kind: int
    header: Header | None
    """None for the epoch's base, of which nothing more is needed."""
    has_transactions: bool


class Entry:
    """A block of this epoch whose id somebody vouched for."""

    __slots__ = ("block", "execution", "header", "is_journalled")

    def __init__(self, header: Header, block: Block | None) -> None:
        self.header = header
        self.block = block
        """None while only the header is known, or if the store has it."""
        self.execution = Execution.NONE
        self.is_journalled = False
        """Whether its body is in the journal, so that no crash of all nodes can lose it."""

    def anchor(self, block_id: bytes) -> Anchor:
        """Return the block as a parent."""
        header = self.header
        carries = self.block is not None and bool(self.block.body.transactions)
        return Anchor(
            block_id, header.view, header.height, header.time_ms, header.kind, header, carries
        )


class Round:
    """Everything about one view."""

    __slots__ = (
        "block",
        "book",
        "build_failed",
        "building",
        "certify_expired",
        "equivocated",
        "leader",
        "promised",
        "proposal",
        "refusal",
        "seen_ms",
        "seen_wall_ms",
        "timed_out",
        "verdict",
        "view",
    )

    def __init__(self, view: int, leader: int, book: VoteBook) -> None:
        self.view = view
        self.leader = leader
        """Whose turn it is."""
        self.book = book
        self.proposal: Proposal | None = None
        """The first one of the leader; never replaced."""
        self.block: Block | None = None
        self.seen_ms = 0
        self.seen_wall_ms = 0
        self.verdict = Verdict.UNKNOWN
        self.refusal: Rejected | None = None
        """Why the proposal can never be voted for."""
        self.equivocated = False
        """The leader signed two proposals."""
        self.promised: dict[int, Vote] = {}
        """My votes by kind, durable or about to be: they bind from the moment they are signed."""
        self.building = False
        self.build_failed = False
        self.timed_out = False
        self.certify_expired = False

    @property
    def notarized_id(self) -> bytes | None:
        """The block that is Notarized in this view: by notarization or finalization (C0)."""
        found = self._notarized_by
        return None if found is None else found.block_id

    @property
    def voters(self) -> list[int]:
        """Members whose votes made a block Notarized in this view."""
        found = self._notarized_by
        return [] if found is None else members_of(found.signers)

    @property
    def _notarized_by(self) -> Certificate | None:
        notarization, _, finalization = self.book.certificates
        return notarization or finalization

    @property
    def nullified(self) -> bool:
        """Whether a nullification of this view is known."""
        return self.book.certificates[NULLIFY] is not None
