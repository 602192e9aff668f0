"""The consensus core: ``handle(event) -> list[Effect]`` (protocol.md C0–C16).

Simplex for a weighted committee of any size. The core knows no clock, disk, socket or key: time
arrives in events, signing and verifying are functions it is given, everything else it asks for
in effects (see ``effects`` for the contract).

An event is handled in two steps. First its handler takes in what it says. Then the rules below
run in their order, again and again, until none finds anything to do; so it does not matter in
which order the premises of a rule became true.
"""

from __future__ import annotations

from collections.abc import Callable

from chain.block import Block
from chain.errors import Misuse, Rejected
from chain.vote import Verifier

from . import (
    certifying,
    finalising,
    learning,
    lookback,
    proposing,
    retry,
    startup,
    views,
    voting,
)
from .effects import Blame, Effect
from .events import (
    AnyEvent,
    BlockVerified,
    BuildFailed,
    Built,
    Certified,
    CertifyFailed,
    Committed,
    Durable,
    EpochOpened,
    MessageReceived,
    Peer,
    Started,
    Synced,
    TimerFired,
    TransactionsAvailable,
)
from .hearing import Hearing
from .messages import (
    BlockAnswer,
    BlockRequest,
    CertificateMessage,
    EpochEnded,
    LookbackAnswer,
    LookbackQuestion,
    Message,
    ProposalMessage,
    ViewRequest,
    VoteMessage,
)
from .promises import on_durable
from .shared import STOPPED, Settings, Shared, Signer
from .timers import Timer

Rule = Callable[[Shared], bool]

RULES: tuple[Rule, ...] = (
    finalising.finalise,  # C7
    certifying.certify,  # C4
    lookback.release,  # C15
    views.enter_view,  # C1, C5
    views.follow_pace,  # C13
    proposing.propose,  # C2
    voting.vote,  # C3
    voting.nullify,  # C6
    voting.clear_way,  # C6
)
"""In the order in which they are tried; each tells whether it changed anything."""

QUIET = (Durable, Committed)
"""Events that, like messages, often change nothing that a rule looks at; their handlers
say if they do."""
SETTLE_ROUNDS_MAX = 1_000
"""Rounds of rules after one event. Each enters a view, signs, or moves a block on, so a replay of
a long journal takes some hundred; more means two rules undo each other."""
EARLY_PER_PEER_MAX = 16
"""Messages of the next epoch kept per peer until it opens here."""
EARLY_MAX = 1_024


class Core:
    """One validator's, or follower's, part in consensus."""

    def __init__(self, settings: Settings, signer: Signer, verifier: Verifier) -> None:
        """``signer`` signs votes with the consensus key; ``verifier`` raises on a bad signature."""
        self._shared = Shared(settings, signer, verifier)
        self._started = False

    @property
    def shared(self) -> Shared:
        """The core's knowledge, to be read only (status pages, tests)."""
        return self._shared

    def block(self, block_id: bytes) -> Block | None:
        """Return a body that may still be missing somewhere, None if it is not remembered (C9)."""
        entry = self._shared.entries.get(block_id)
        return None if entry is None else entry.block

    def handle(self, event: AnyEvent) -> list[Effect]:
        """Take in one event; return what the host has to do, in order."""
        shared = self._shared
        if self._started is (type(event) is Started):
            raise Misuse("Started must be the first event and come once")
        self._started = True
        if shared.mode is STOPPED:
            return []
        if event.now_ms > shared.now_ms:
            shared.now_ms = event.now_ms
        shared.wall_ms = event.wall_ms
        if isinstance(event, MessageReceived):
            shared.changed = False
            self._receive(event.peer, event.message)
        else:
            shared.changed = not isinstance(event, QUIET)
            self._take_in(event)
        if shared.changed:
            self._settle()
        return shared.take_effects()

    def _settle(self) -> None:
        shared = self._shared
        for _ in range(SETTLE_ROUNDS_MAX):
            for rule in RULES:
                if rule(shared):
                    break
            else:
                return
        raise Misuse("the rules of consensus do not settle")

    def _take_in(self, event: AnyEvent) -> None:
        shared = self._shared
        match event:
            case Durable():
                on_durable(shared, event.token)
            case TimerFired():
                self._fire(event.timer)
            case Certified():
                certifying.on_certified(shared, event.block_id)
            case Committed():
                finalising.on_committed(shared, event.block_id)
            case BlockVerified():
                voting.on_verified(shared, event.block_id, event.refusal)
            case Built():
                proposing.on_built(shared, event.view, event.built)
            case TransactionsAvailable():
                shared.pool_available = event.available
            case BuildFailed():
                proposing.on_build_failed(shared, event.view, event.tx_id)
            case CertifyFailed():
                certifying.on_certify_failed(shared, event.block_id, event.tx_id)
            case EpochOpened():
                self._open_epoch(event)
            case Synced():
                self._synced(event)
            case Started():
                startup.on_started(shared, event)

    def _fire(self, timer: Timer) -> None:
        """A timer that was moved or cancelled meanwhile has not fired."""
        shared = self._shared
        deadline_ms = shared.deadlines.get(timer)
        if deadline_ms is None or shared.now_ms < deadline_ms:
            return
        del shared.deadlines[timer]
        match timer:
            case Timer.LEADER | Timer.ADVANCE | Timer.CERTIFY:
                voting.on_view_timer(shared, timer)
            case Timer.RETRY:
                retry.on_retry_timer(shared)
            case Timer.REQUEST:
                retry.on_request_timer(shared)
            case Timer.LOOKBACK:
                lookback.on_lookback_timer(shared)
            case Timer.PROPOSE | Timer.VERIFY:
                pass  # The rules look at the time themselves.

    def _receive(self, peer: Peer, message: Message) -> None:
        """Take a message in; what speaks of a view, only in the epoch that it speaks of."""
        shared = self._shared
        try:
            match message:
                case VoteMessage():
                    vote = message.vote
                    if self._is_current(peer, message, vote.epoch, vote.view):
                        learning.on_vote(shared, peer, vote)
                    else:
                        learning.on_late_vote(shared, peer, vote)
                case CertificateMessage():
                    certificate = message.certificate
                    if self._is_current(peer, message, certificate.epoch, certificate.view):
                        learning.on_certificate(shared, peer, certificate)
                case ProposalMessage():
                    header = message.proposal.header
                    if self._is_current(peer, message, header.epoch, header.view):
                        learning.on_proposal(shared, peer, message.proposal)
                case ViewRequest():
                    if self._is_current(peer, message, message.epoch, message.view):
                        retry.on_view_request(shared, peer, message.view)
                case _:
                    self._take_other(peer, message)
        except Rejected as refusal:
            shared.emit(Blame(peer, refusal.code, refusal.message))

    def _is_current(self, peer: Peer, message: Message, epoch: int, view: int) -> bool:
        """Tell whether a message is of this epoch; keep early ones, answer late ones (C10, C11)."""
        shared = self._shared
        if epoch == shared.epoch and shared.end_proof is None:
            if view < shared.finalised_view:
                retry.answer_stale(shared, peer)
            return True
        if epoch <= shared.epoch:
            retry.answer_old_epoch(shared, peer, epoch)
            return False
        self._keep_early(peer, message, epoch)
        return False

    def _keep_early(self, peer: Peer, message: Message, epoch: int) -> None:
        """Keep a few messages of the next epoch until this node opens it (C11)."""
        early = self._shared.early
        retry.ask_how_it_ended(self._shared, peer)
        mine = sum(1 for other, _ in early if other == peer)
        if epoch == self._shared.epoch + 1 and mine < EARLY_PER_PEER_MAX and len(early) < EARLY_MAX:
            early.append((peer, message))

    def _take_other(self, peer: Peer, message: Message) -> None:
        """Take in what speaks of no view."""
        shared = self._shared
        match message:
            case BlockRequest():
                retry.on_block_request(shared, peer, message.block_id)
            case BlockAnswer():
                shared.changed = True
                learning.learn_block(shared, peer, message.header, message.body)
            case EpochEnded():
                shared.changed = True
                finalising.on_epoch_ended(shared, peer, message.proof)
            case LookbackQuestion():
                lookback.on_question(shared, peer, message)
            case LookbackAnswer():
                shared.changed = True
                lookback.on_answer(shared, peer, message)

    def _open_epoch(self, event: EpochOpened) -> None:
        shared = self._shared
        if event.epoch.epoch != shared.epoch + 1:
            raise Misuse(f"epoch {event.epoch.epoch} cannot follow epoch {shared.epoch}")
        was_member = shared.me is not None
        hearing = views.hearing_after(shared, event.epoch.committee)
        turns = shared.turns.next_epoch(event.epoch.committee)
        finalising.open_epoch(shared, event.epoch, None, hearing, turns)
        lookback.on_epoch_opened(shared, synced=False, was_member=was_member)
        self._replay_early()

    def _synced(self, event: Synced) -> None:
        shared = self._shared
        shared.syncing = False
        start, head = event.epoch, event.head
        if start.epoch > shared.epoch:
            turns = shared.turns.next_epoch(start.committee)
            finalising.open_epoch(shared, start, head, Hearing(start.committee), turns)
            lookback.on_epoch_opened(shared, synced=True, was_member=False)
            self._replay_early()
        elif head is not None and start.epoch == shared.epoch and shared.end_proof is None:
            finalising.move_to(shared, head)

    def _replay_early(self) -> None:
        early, self._shared.early = self._shared.early, []
        for peer, message in early:
            self._receive(peer, message)
