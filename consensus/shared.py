"""What the handlers of the core share: knowledge of the epoch, promises, timers, effects.

Nothing here decides anything. A handler reads and changes this one object; the rules in
``core.RULES`` are then run until none of them finds anything to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from chain.certificate import Certificate
from chain.committee import Committee, LeaderSchedule
from chain.errors import Rejected
from chain.finality import FinalityProof
from chain.header import KIND_BLOCK, last_height
from chain.params import Params
from chain.vote import Verifier, Vote

from .effects import CancelTimer, Effect, Persist, ProposalRefused, SetTimer, TurnFailed
from .events import EpochStart, Peer
from .hearing import Hearing
from .journal import JournalRecord
from .messages import BlockRequest, Message, ViewRequest
from .round import DONE, Anchor, Entry, Round
from .timers import ANSWER_INTERVAL_MS, Limiter, Pace, Timer
from .turns import Turns
from .votebook import VoteBook

VIEWS_KEPT = 20
"""Views below the newest finalised one that are remembered, for late votes and slow peers."""
VIEWS_AHEAD_MIN = 20
"""Votes are taken for views up to max(20, 2n) above mine: whoever is further is behind a
certificate that I will be sent."""
PROPOSALS_AHEAD = 8
"""Proposals are kept for so many views above mine; a body may have a megabyte."""
DEPTH_MAX = 8
"""Heights above the newest finalised one at which a block may carry transactions (C12); deeper,
blocks and fillers come by heartbeats."""
Signer = Callable[[bytes], bytes]


class Mode(Enum):
    """Whether this node signs (C15)."""

    LOOKBACK = 0
    QUARANTINE = 1
    ACTIVE = 2
    STOPPED = 3


# As in chain/vote.py: names for what is looked at all the time.
ACTIVE, STOPPED = Mode.ACTIVE, Mode.STOPPED


@dataclass(frozen=True, slots=True)
class Settings:
    """What never changes while the process runs."""

    genesis_hash: bytes
    params: Params
    public_key: bytes | None
    """The consensus key; None for a node that only follows."""


@dataclass(slots=True)
class Want:
    """Something asked for: from whom first, how often, and when to ask the next peer."""

    message: ViewRequest | BlockRequest
    member: int | None
    attempt: int
    due_ms: int


class Shared:
    """The one mutable object of the core."""

    def __init__(self, settings: Settings, signer: Signer, verifier: Verifier) -> None:
        self.settings = settings
        self.genesis_hash = settings.genesis_hash
        self.params = settings.params
        self.signer = signer
        self.verifier = verifier
        self.pace = Pace(settings.params)
        self.mode = Mode.LOOKBACK
        self.started_ms = 0
        self.journal_intact = False
        """Whether the journal tells everything I promised; see ``journal.intact_after``."""
        self.journal_lost = False
        """Whether it is known not to: by a quarantine record, by the operator, or because it is
        empty and the chain has begun. Never both; neither is a key that may be new."""
        self.journal_view = 0
        """Newest view of this epoch with a vote of mine in the journal at the start."""
        self.lookback_answered = 0
        """Set of members that answered in this epoch."""
        self.lookback_settled = 0
        """Those of them that had not just started themselves."""
        self.lookback_view = 0
        """Newest view of this epoch of which a peer showed a vote of mine."""
        self.journal_votes: list[Vote] = []
        """My votes of that view."""
        self.lookback_since_ms: int | None = None
        """When members had answered whose power with mine is a quorum; kept from epoch to epoch."""
        self.lookback_floor = 0
        """Nothing I signed below this view matters: it was journalled or is final."""
        self.quarantine_until = 0
        self.own_from = 0
        """From this view of the epoch on I know every vote that this key has signed."""
        self.pool_available = False
        self.answered = Limiter(ANSWER_INTERVAL_MS)
        self.early: list[tuple[Peer, Message]] = []
        """Messages of the next epoch that came before it was opened here."""
        self.changed = False
        """Whether this event gave the rules anything new to look at: a vote or certificate often
        does not, so their handlers say if it did."""
        self.now_ms = 0
        """Of the event; monotonic time never falls."""
        self.wall_ms = 0
        self.deadlines: dict[Timer, int] = {}
        self.pending_votes: dict[int, list[Vote]] = {}
        """My votes by the token of the sync they wait for."""
        self._token = 0
        self._effects: list[Effect] = []
        self._records: list[JournalRecord] = []
        self._sync_records: list[JournalRecord] = []
        self._sync_votes: list[Vote] = []
        self._gated: list[Effect] = []
        self._trailing: list[JournalRecord] = []

    def open_epoch(self, start: EpochStart, hearing: Hearing, turns: Turns) -> None:
        """Forget the epoch before and begin this one at view 0, with what is known of members."""
        self.hearing = hearing
        self.turns = turns
        self.start = start
        self.epoch = start.epoch
        self.committee: Committee = start.committee
        self.schedule = LeaderSchedule(start.committee, start.seed)
        key = self.settings.public_key
        self.me = None if key is None else start.committee.index_of(key)
        self.views_ahead = max(VIEWS_AHEAD_MIN, 2 * len(start.committee))
        """How far above my view votes are taken."""
        self.last_height = last_height(start.epoch, self.params.epoch_length)
        self.head = Anchor(
            start.base_id,
            0,
            start.base_height,
            start.base_time_ms,
            KIND_BLOCK,
            None,
            start.base_has_transactions,
        )
        self.view = 0
        self.open_view = 1
        """The view that certificates let this node enter."""
        self.entered_ms = 0
        self.parent_seen_ms = 0
        """When the proposal of the current view's likely parent was seen."""
        self.idle = False
        """Whether the next block may wait for the heartbeat (C13)."""
        self.deep = False
        """Whether it has to, because finality lags behind (C12)."""
        self.retries = 0
        self.finalization: Certificate | None = None
        """The newest one known; its block may still be missing."""
        self.floor = 1
        """Views below are forgotten, with what was promised there: nothing may be signed there any
        more. Never above ``finalised_view``."""
        self.rounds: dict[int, Round] = {}
        self.entries: dict[bytes, Entry] = {}
        self.candidates: dict[int, None] = {}
        """Views above the head with a Notarized block that is not certified yet."""
        self.wants: dict[object, Want] = {}
        self.syncing = False
        """Whether ranges are being fetched: the store may be ahead of ``head``, so what lies above
        it here may lie below what is final there, and is not built on, verified or executed."""
        self.end_proof: FinalityProof | None = None
        """Set when the epoch's last block is final: the epoch is over."""

    # Reading

    @property
    def may_sign(self) -> bool:
        """Whether this node is a member and free to sign."""
        return self.mode is ACTIVE and self.me is not None and self.end_proof is None

    @property
    def waits_for_heartbeat(self) -> bool:
        """Whether the view's timers count from the heartbeat and not from the interval (C13)."""
        return self.idle or self.deep

    @property
    def finalised_view(self) -> int:
        """The highest view known to be finalised."""
        return self.head.view if self.finalization is None else self.finalization.view

    def leader(self, view: int) -> int:
        """Return whose turn a view is."""
        return self.schedule.leader(view)

    def holder(self, view: int) -> int:
        """Return whom to ask first for the block that is Notarized in a view: one who voted for it.

        Not its leader, if anybody else did: whoever lacks a block is most often one to whom its
        leader did not send it.
        """
        round_ = self.rounds.get(view)
        voters = [] if round_ is None else round_.voters
        leader = self.leader(view)
        others = [voter for voter in voters if voter not in (leader, self.me)]
        after_me = [voter for voter in others if self.me is not None and voter > self.me]
        return next(iter(after_me or others), leader)

    def round(self, view: int) -> Round:
        """Return a view's round, made if it is new; the caller has checked the bounds."""
        found = self.rounds.get(view)
        if found is None:
            book = VoteBook(self.committee, self.genesis_hash, self.epoch, view, self.verifier)
            found = self.rounds[view] = Round(view, self.schedule.leader(view), book)
        return found

    def anchor(self, block_id: bytes) -> Anchor | None:
        """Return a block as a parent, None if it is unknown."""
        if block_id == self.head.id:
            return self.head
        entry = self.entries.get(block_id)
        return None if entry is None else entry.anchor(block_id)

    def is_executed(self, block_id: bytes) -> bool:
        """Tell whether a block was executed here; the epoch's base always was."""
        if block_id == self.start.base_id:
            return True
        entry = self.entries.get(block_id)
        return entry is not None and entry.execution is DONE

    def is_waited_for(self, leader: int) -> bool:
        """Tell whether the leader of my view is one to wait for (C6); I always am."""
        height = self.head.height + self.view - self.head.view
        return leader == self.me or not (
            self.hearing.is_silent(leader, self.view) or self.turns.is_passed_over(leader, height)
        )

    # Changing

    def allow_view(self, view: int) -> None:
        """Note that a certificate lets this node enter ``view``."""
        if view > self.open_view:
            self.open_view = view

    def turn_failed(self, leader: int, view: int) -> None:
        """Note that the turn of a leader cost a time-out, or had to be waited for (C6)."""
        in_a_row = self.turns.failed(leader, view)
        if in_a_row:
            self.emit(TurnFailed(leader, view, in_a_row))

    def emit(self, effect: Effect) -> None:
        """Ask the host for something that need not wait for the disk."""
        self._effects.append(effect)

    def refuse(self, round_: Round, refusal: Rejected) -> None:
        """Note, and tell, that the proposal of a view can never be voted for (C3)."""
        round_.refusal = refusal
        self.emit(ProposalRefused(round_.leader, round_.view, refusal.code, refusal.message))

    def emit_durable(self, effect: Effect) -> None:
        """Ask for something that waits until the promises of this event are durable."""
        self._gated.append(effect)

    def note(self, record: JournalRecord) -> None:
        """Journal a record without waiting for it."""
        self._records.append(record)

    def note_after(self, record: JournalRecord) -> None:
        """Journal a record after the promises of this event, so that their sync is shorter."""
        self._trailing.append(record)

    def persist(self, record: JournalRecord) -> None:
        """Journal a record and have it synced."""
        self._sync_records.append(record)

    def promise(self, vote: Vote, records: Iterable[JournalRecord]) -> None:
        """Journal a vote of mine with what must be durable beside it."""
        self._sync_records += records
        self._sync_votes.append(vote)

    def set_timer(self, timer: Timer, deadline_ms: int) -> None:
        """Set a timer, or move it."""
        if self.deadlines.get(timer) != deadline_ms:
            self.deadlines[timer] = deadline_ms
            self._effects.append(SetTimer(timer, deadline_ms))

    def cancel_timer(self, timer: Timer) -> None:
        """Cancel a timer, if it is set."""
        if self.deadlines.pop(timer, None) is not None:
            self._effects.append(CancelTimer(timer))

    def take_effects(self) -> list[Effect]:
        """Return the effects of the event, in the order of the contract in ``effects``."""
        if not (self._effects or self._records or self._sync_records or self._trailing):
            return []
        assert self._sync_records or not self._gated
        effects, self._effects = self._effects, []
        if self._sync_records:
            self._token += 1
            self.pending_votes[self._token] = self._sync_votes
            records = (*self._records, *self._sync_records)
            effects.append(Persist(records, True, self._token))
            effects += self._gated
            self._records, self._sync_records, self._sync_votes = [], [], []
            self._gated = []
        elif self._records:
            effects.insert(0, Persist(tuple(self._records), False, 0))
            self._records = []
        if self._trailing:
            effects.append(Persist(tuple(self._trailing), False, 0))
            self._trailing = []
        return effects
