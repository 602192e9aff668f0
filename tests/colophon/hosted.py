"""The real host with the real core, in virtual time, over a disk that can lose its power.

Whatever leaves the node is compared with what a power cut at that moment would leave. Work that
the host gives to a thread is done some turns of the loop later: who does not wait for it is seen.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from chain.application import Placement, finish
from chain.block import Proposal
from chain.committee import EPOCH_ZERO_ID, LeaderSchedule, leader_seed
from chain.crypto import SigningKey, verify_signature
from chain.genesis import Genesis
from chain.header import KIND_BLOCK
from chain.vote import FINALIZE, NOTARIZE, Vote, vote_message
from colophon.clock import Clock
from colophon.gate import Gate
from colophon.guard_file import GuardFile
from colophon.host import Host
from colophon.journal_file import JournalFile, begin_journal
from colophon.testnet.make import local_params, new_genesis
from consensus import effects as fx
from consensus import events as ev
from consensus.core import Core
from consensus.guard import check_guard
from consensus.journal import BlockRecord, JournalRecord, VoteRecord, intact_after
from consensus.messages import (
    LookbackAnswer,
    LookbackQuestion,
    Message,
    ProposalMessage,
    VoteMessage,
)
from consensus.shared import Settings
from state.families import REGISTRY
from state.machine import StateMachine
from tests.state.memory_store import MemoryStore

from .applications import application_above
from .recording_disk import RecordingDisk

JOURNAL = Path("/journal")
GUARD = JOURNAL / "guard"
START_MS = 1_700_000_000_000
SEGMENT_BYTES = 2_000
"""A few views."""
PATIENCE_S = 600
"""Of virtual time; only ever reached by a test that fails."""
SLOW_TURNS = 5
"""Turns of the loop that a job in a thread takes."""


class _Selector(selectors.DefaultSelector):
    """Where others would wait, time passes."""

    waited_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing would ever happen again"
        self.waited_s += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time is virtual and whose threads are late, but in order."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.waited_s

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        async def work() -> Any:
            for _ in range(SLOW_TURNS):
                await asyncio.sleep(0)
            return func(*args)

        return self.create_task(work())


class _Clock(Clock):
    def now_ms(self) -> int:
        return round(asyncio.get_running_loop().time() * 1_000)

    def wall_ms(self) -> int:
        return START_MS + self.now_ms() + self.offset_ms


class _WatchedCore(Core):
    """Tells what it asked to be synced when it hears that this was done."""

    def __init__(self, settings: Settings, key: SigningKey, heard: Callable[..., None]) -> None:
        super().__init__(settings, key.sign, verify_signature)
        self._heard = heard
        self._asked: dict[int, tuple[JournalRecord, ...]] = {}

    def handle(self, event: ev.AnyEvent) -> list[fx.Effect]:
        if isinstance(event, ev.Durable):
            self._heard(self._asked.pop(event.token))
        effects = super().handle(event)
        for effect in effects:
            if isinstance(effect, fx.Persist) and effect.sync:
                self._asked[effect.token] = effect.records
        return effects


def _keys(members: int) -> list[SigningKey]:
    return [SigningKey(bytes([number + 1]) * 32) for number in range(members)]


@cache
def genesis_of(members: int) -> Genesis:
    made = new_genesis("hosted", START_MS, _keys(members), [], local_params(dev=False))
    return msgspec.structs.replace(made, nonce=bytes(len(made.nonce)))


class Hosted:
    """One of ``members``, whose others only answer its look-back; fills in ``host.Network``."""

    def __init__(self, disk: RecordingDisk, members: int, store: MemoryStore | None = None) -> None:
        self.disk = disk
        self.released: list[Vote] = []
        """Votes of mine that left, each found on the disk as it left."""
        keys = _keys(members)
        machine = StateMachine(store or MemoryStore(), genesis_of(members), REGISTRY)
        self._keys_by_id = {key.public_key: key for key in keys}
        seed = leader_seed(machine.genesis_hash, 0, EPOCH_ZERO_ID)
        self._schedule = LeaderSchedule(machine.committee, seed)
        self.clock = _Clock()
        self.application = application_above(machine, self.clock)
        if not disk.files(JOURNAL, ".journal"):
            begin_journal(JOURNAL, disk)
        self._journal = JournalFile(JOURNAL, disk, segment_bytes=SEGMENT_BYTES)
        self._guard = GuardFile(GUARD, disk, quarantine=False)
        core = _WatchedCore(
            Settings(machine.genesis_hash, machine.params, keys[0].public_key), keys[0], self._heard
        )
        self.host = Host(
            core, self.application, self._journal, self._guard, self.clock, self, Gate()
        )

    async def run_until(self, is_enough: Callable[[], bool]) -> None:
        """Run until something is true; raises what the host raises."""
        self._is_enough, self._enough = is_enough, asyncio.Event()
        start, head = self.application.where()
        self.host.begin(start, head, journal_lost=False)
        running = asyncio.create_task(self.host.run())
        waiting = asyncio.create_task(self._enough.wait())
        done, _ = await asyncio.wait(
            [running, waiting], timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
        )
        waiting.cancel()
        running.cancel()
        (ended, _) = await asyncio.gather(running, waiting, return_exceptions=True)
        while isinstance(ended, ExceptionGroup):
            ended = ended.exceptions[0]
        if isinstance(ended, Exception):
            raise ended
        assert done, "it never came true"

    def proposal_of_leader(self, view: int, time_ms: int) -> ProposalMessage:
        """Return what the leader of a view of the first epoch, another member, could propose."""
        machine = self.application.machine
        leader = self._schedule.leader(view)
        placement = Placement(
            epoch=0, view=view, height=1, kind=KIND_BLOCK, parent_view=0,
            parent_id=machine.genesis_hash, parent_certificate=None, time_ms=time_ms,
            proposer_index=leader,
        )  # fmt: skip
        block = finish(self.application.build(placement, empty=True)).block
        message = vote_message(NOTARIZE, machine.genesis_hash, 0, view, block.id)
        key = self._keys_by_id[machine.committee.members[leader].public_key]
        return ProposalMessage(Proposal(block.header, block.body, [], key.sign(message), []))

    # --- what a power cut leaves ----------------------------------------------------------------

    def _heard(self, records: tuple[JournalRecord, ...]) -> None:
        """The own book counts votes from here on."""
        for record in records:
            if isinstance(record, VoteRecord):
                self._require_kept(record.vote)

    def _require_kept(self, vote: Vote) -> None:
        """Fail unless the disk, as it is, keeps this promise and all older ones that bind."""
        left = self.disk.after_power_cut()
        records = JournalFile(JOURNAL, left, segment_bytes=SEGMENT_BYTES).records
        start, head = self.application.where()
        final = head.finalization.view if head is not None else 0
        promised = [record.vote for record in records if isinstance(record, VoteRecord)]
        for each in (*self.released, vote):
            assert each in promised or each.view <= final, "a promise was not durable"
        intact = False
        for record in records:
            intact = intact_after(intact, record)
        assert intact, "the journal would count as lost"
        if vote.kind == FINALIZE and vote.view > final:
            blocks = [each.header.id() for each in records if isinstance(each, BlockRecord)]
            assert vote.block_id in blocks, "the block of a FINALIZE was not durable"
        entry = GuardFile(GUARD, left, quarantine=False).entry
        check_guard(entry, records, start.epoch, final)
        if vote.kind != NOTARIZE:
            assert entry is not None, "the guard knew nothing"
            assert (entry.epoch, entry.view) >= (vote.epoch, vote.view), "the guard was behind"

    # --- the network ----------------------------------------------------------------------------

    def moved(self) -> None:
        """The core has handled everything there was."""
        if self._is_enough():
            self._enough.set()

    def send(self, peer: bytes, message: Message) -> None:
        """Nobody is there."""

    def broadcast(self, message: Message) -> None:
        """It has left; the others only say that they know of no vote of mine."""
        if isinstance(message, LookbackQuestion):
            for member in self.application.machine.committee.members[1:]:
                answer = LookbackAnswer(message.epoch, [], None, False)
                self.host.deliver(member.public_key, answer)
        elif isinstance(message, VoteMessage):
            self._release(message.vote)
        elif isinstance(message, ProposalMessage):
            self._release(message.proposal.vote(message.proposal.header.id()))

    def _release(self, vote: Vote) -> None:
        if vote.signer != self.host.core.shared.me:
            return  # a leader's proposal, passed on
        self._require_kept(vote)
        if vote not in self.released:
            self.released.append(vote)

    def request(self, message: Any, member: int | None, attempt: int) -> None:
        """Nobody is there."""

    def blame(self, peer: bytes, code: str, message: str) -> None:
        """Nobody is there."""

    async def catch_up(self, height: int) -> None:
        """Nobody is there."""


def play(hosted: Hosted, is_enough: Callable[[], bool]) -> None:
    """Run a host in virtual time until something is true."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(hosted.run_until(is_enough))
