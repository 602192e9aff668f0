"""Catching up by ranges: from a real chain, past peers that lie, are silent, or have nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from chain.codec import encode
from colophon.application import NodeApplication
from colophon.gate import Gate
from colophon.network.catching_up import SLOW_S, CatchingUp
from colophon.network.ranges import Ranges
from colophon.testnet.make import local_params, new_genesis
from consensus.effects import Blame
from consensus.messages import MESSAGE, BlockRequest, RangeAnswer
from state.families import REGISTRY
from state.machine import StateMachine
from tests.colophon import lonely
from tests.colophon.applications import application_above
from tests.colophon.lonely import (
    START_MS,
    VALIDATOR,
    Disk,
    Lonely,
    SimulatedStore,
    VirtualClock,
    genesis,
)

from .peers import Peers

HEIGHT = 40
"""More than one range."""
MEMBER, FIRST, SECOND = VALIDATOR.public_key, b"first", b"second"


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop whose time can be moved on."""

    skipped_s = 0.0

    def time(self) -> float:
        return super().time() + self.skipped_s


class Behind:
    """A node at height 0, and the answers of one at ``HEIGHT``."""

    def __init__(self, ahead: NodeApplication, *peers: bytes) -> None:
        self.peers = Peers(*peers)
        self.blames: list[Blame] = []
        machine = StateMachine(SimulatedStore(), genesis(), REGISTRY)
        self.application = application_above(machine, VirtualClock())
        self.catching_up = CatchingUp(self.peers, self.application, self.blames.append)
        self._serving = Peers()
        self._server = Ranges(self._serving, ahead, Gate())

    async def truth(self, question: bytes) -> bytes:
        """Answer as an honest node does."""
        self._server.on_question(b"asker", 1, question)
        running = asyncio.create_task(self._server.run())
        while not self._serving.answered:
            await asyncio.sleep(0)
        running.cancel()
        return self._serving.answered.pop()[3]

    def catch_up(self) -> int:
        """Catch up and return the height come to."""
        with asyncio.Runner(loop_factory=SkippingLoop) as runner:
            runner.run(self.catching_up.catch_up(HEIGHT))
        return self.application.machine.head.height

    @property
    def codes(self) -> list[tuple[bytes, str]]:
        """Who was blamed for what."""
        return [(blame.peer, blame.code) for blame in self.blames]


@pytest.fixture(scope="module")
def ahead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeApplication]:
    root = tmp_path_factory.mktemp("ahead")
    with closing(Lonely(root, SimulatedStore(), VirtualClock(), Disk(), [])) as node:
        node.run_to(HEIGHT)
        yield node.application


def test_ranges_are_fetched_and_executed_until_nobody_has_more(ahead: NodeApplication) -> None:
    node = Behind(ahead, FIRST)
    node.peers.answers[FIRST] = node.truth

    assert node.catch_up() == HEIGHT
    assert node.application.machine.head.block_id == ahead.machine.head.block_id
    assert (node.codes, node.catching_up.target) == ([], 0)


def test_the_end_of_a_short_epoch_is_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A range never passes an epoch's end, so a short one does not say that little is left."""
    params = msgspec.structs.replace(local_params(dev=False), epoch_length=4)
    short = new_genesis("short", START_MS, [VALIDATOR], [], params)
    monkeypatch.setattr(lonely, "_GENESIS", [short])
    with closing(Lonely(tmp_path, SimulatedStore(), VirtualClock(), Disk(), [])) as ahead:
        ahead.run_to(21)
        node = Behind(ahead.application, FIRST)
        node.peers.answers[FIRST] = node.truth

        asyncio.run(node.catching_up.catch_up(3))

    assert node.application.machine.head.height == 21


def test_with_nobody_there_or_nobody_answering_it_comes_back_as_it_was(
    ahead: NodeApplication,
) -> None:
    assert Behind(ahead).catch_up() == 0
    silent = Behind(ahead, FIRST, SECOND)
    assert (silent.catch_up(), silent.codes) == (0, [])
    assert sorted(silent.peers.asked) == [FIRST, SECOND]


def test_peers_with_nothing_to_show_are_no_liars(ahead: NodeApplication) -> None:
    node = Behind(ahead, FIRST, SECOND)
    node.peers.answers = {FIRST: lambda question: b"", SECOND: node.truth}

    assert (node.catch_up(), node.codes) == (HEIGHT, [])


def _swapped(answer: RangeAnswer) -> RangeAnswer:
    (first, _), (_, body) = answer.blocks[:2]
    return RangeAnswer([(first, body), *answer.blocks[1:]], answer.proof)


LIES = {
    "block/BodyMismatch": lambda answer: encode(_swapped(answer)),
    "range/Broken": lambda answer: encode(RangeAnswer(answer.blocks[1:], answer.proof)),
    "range/Proof": lambda answer: encode(RangeAnswer(answer.blocks[:-1], answer.proof)),
    "channel/WrongMessage": lambda answer: encode(BlockRequest(bytes(32))),
    "codec/Malformed": lambda answer: b"\xc1",
}


@pytest.mark.parametrize("code", LIES)
def test_a_liar_is_blamed_and_the_next_peer_believed(ahead: NodeApplication, code: str) -> None:
    node = Behind(ahead, FIRST, SECOND)

    async def lie(question: bytes) -> bytes:
        answer = MESSAGE.decode(await node.truth(question))
        return LIES[code](answer) if isinstance(answer, RangeAnswer) else b""

    node.peers.answers = {FIRST: lie, SECOND: node.truth}

    assert node.catch_up() == HEIGHT
    assert set(node.codes) == {(FIRST, code)}


def test_who_was_silent_is_asked_last_from_then_on(ahead: NodeApplication) -> None:
    strangers = [b"stranger %d" % number for number in range(9)]
    node = Behind(ahead, *strangers, FIRST)
    node.peers.answers[FIRST] = node.truth

    assert node.catch_up() == HEIGHT
    assert max(node.peers.asked.count(stranger) for stranger in strangers) <= 2


def test_who_takes_long_is_asked_last_from_then_on(ahead: NodeApplication) -> None:
    """Else one faulty member that gives a block every ten seconds keeps a node behind for ever."""
    node = Behind(ahead, FIRST, SECOND)

    async def sparingly(question: bytes) -> bytes:
        asked = msgspec.structs.replace(MESSAGE.decode(question), blocks_max=4)
        return await node.truth(encode(asked))

    async def slowly(question: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SkippingLoop)
        loop.skipped_s += SLOW_S + 1
        return await sparingly(question)

    node.peers.answers = {FIRST: slowly, SECOND: sparingly}

    assert node.catch_up() >= HEIGHT - 4
    assert node.peers.asked.count(SECOND) >= 8
    assert node.peers.asked.count(FIRST) <= 2


def test_members_are_asked_before_strangers(ahead: NodeApplication) -> None:
    node = Behind(ahead, FIRST, SECOND, MEMBER)
    node.peers.answers[MEMBER] = node.truth

    assert node.catch_up() == HEIGHT
    assert node.peers.asked[0] == MEMBER
