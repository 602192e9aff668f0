"""Final blocks given: what is answered, one answer at a time, whose first, and when not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from chain.codec import encode
from chain.errors import Rejected
from colophon import gate as gate_module
from colophon.application import NodeApplication
from colophon.gate import Gate
from colophon.network.channels import RANGES_ASKED
from colophon.network.ranges import Ranges
from consensus import catchup
from consensus.messages import MESSAGE, BlockRequest, RangeAnswer, RangeRequest
from tests.colophon.lonely import VALIDATOR, Disk, Lonely, SimulatedStore, VirtualClock

from .peers import Peers

HEIGHT = 12
TURNS = 200
"""Turns of the loop: many more than a few answers take."""
MEMBER, FIRST, SECOND = VALIDATOR.public_key, b"first", b"second"


@pytest.fixture(scope="module")
def ahead(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeApplication]:
    root = tmp_path_factory.mktemp("ahead")
    with closing(Lonely(root, SimulatedStore(), VirtualClock(), Disk(), [])) as node:
        node.run_to(HEIGHT)
        yield node.application


@pytest.fixture
def server(ahead: NodeApplication, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(catchup, "STEP_BYTES", 1)
    monkeypatch.setattr(gate_module, "PATIENCE_S", 3_600)
    return Server(ahead)


class Server:
    """A node that is asked; every block that it reads is a step."""

    def __init__(self, application: NodeApplication) -> None:
        self.peers = Peers()
        self.gate = Gate()
        self.ranges = Ranges(self.peers, application, self.gate)

    def ask(self, peer: bytes, request_id: int, height: int = 1, count: int = 9) -> None:
        """Let a question come."""
        self.ranges.on_question(peer, request_id, encode(RangeRequest(height, count)))

    def play(self, *acts: Callable[[], None], turns: int = TURNS) -> None:
        """Run, and do one thing after the other with so many turns of the loop after each."""

        async def run() -> None:
            running = asyncio.create_task(self.ranges.run())
            for act in acts:
                act()
                for _ in range(turns):
                    await asyncio.sleep(0)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        asyncio.run(run())

    @property
    def given(self) -> list[tuple[bytes, int, list[int]]]:
        """Who was answered, which question, with which heights."""
        assert all(channel == RANGES_ASKED for _, channel, _, _ in self.peers.answered)
        return [(peer, number, heights(data)) for peer, _, number, data in self.peers.answered]


def heights(data: bytes) -> list[int]:
    """Return the heights in an answer; none if it shows nothing."""
    if not data:
        return []
    answer = MESSAGE.decode(data)
    assert isinstance(answer, RangeAnswer)
    return [header.height for header, _ in answer.blocks]


def test_an_answer_has_the_blocks_and_the_proof_of_the_last(
    ahead: NodeApplication, server: Server
) -> None:
    server.play(lambda: server.ask(FIRST, 7, height=2, count=3))

    blocks = [ahead.reader.block(height) for height in (2, 3, 4)]
    expected = RangeAnswer(
        [(block.header, block.body) for block in blocks], ahead.reader.finality(4)
    )
    assert server.peers.answered == [(FIRST, RANGES_ASKED, 7, encode(expected))]


@pytest.mark.parametrize(
    ("height", "blocks_max"), [(0, 9), (HEIGHT + 1, 9), (2**64 - 1, 9), (1, 0)]
)
def test_a_question_about_nothing_is_answered_at_once(
    server: Server, height: int, blocks_max: int
) -> None:
    server.ask(FIRST, 1, height, blocks_max)

    assert server.given == [(FIRST, 1, [])]


@pytest.mark.parametrize(
    ("question", "code"),
    [(b"\xc1", "codec/Malformed"), (encode(BlockRequest(bytes(32))), "channel/WrongMessage")],
)
def test_what_is_no_question_is_refused(server: Server, question: bytes, code: str) -> None:
    with pytest.raises(Rejected, match=code):
        server.ranges.on_question(FIRST, 1, question)


def test_members_are_answered_first_and_others_in_their_order(server: Server) -> None:
    def ask() -> None:
        for peer in (FIRST, SECOND, MEMBER):
            server.ask(peer, 1, count=1)

    server.play(ask)

    assert server.given == [(MEMBER, 1, [1]), (FIRST, 1, [1]), (SECOND, 1, [1])]


def test_the_loop_is_served_between_blocks_and_one_answer_is_made_at_a_time(
    ahead: NodeApplication, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = 0
    read: list[tuple[int, int]] = []
    encoded_block = ahead.reader.encoded_block

    def spy(height: int) -> tuple[bytes, bytes]:
        read.append((turn, height))
        return encoded_block(height)

    def passes() -> None:
        nonlocal turn
        turn += 1

    def ask() -> None:
        server.ask(FIRST, 1, height=1, count=3)
        server.ask(SECOND, 1, height=7, count=3)

    monkeypatch.setattr(ahead.reader, "encoded_block", spy)
    server.play(ask, *[passes] * 20, turns=1)

    assert [height for _, height in read] == [1, 2, 3, 7, 8, 9]
    assert len({turn for turn, _ in read}) == 6


def test_of_one_peer_the_newest_question_waits_and_the_older_is_answered_with_nothing(
    server: Server,
) -> None:
    def ask() -> None:
        for number in range(1, 100):
            server.ask(FIRST, number, height=number % HEIGHT + 1, count=1)
        server.ask(SECOND, 1, height=5, count=1)
        server.ask(FIRST, 100, height=3, count=1)

    server.play(ask)

    refused = [(FIRST, number, []) for number in range(1, 100)]
    assert server.given == [*refused, (FIRST, 100, [3]), (SECOND, 1, [5])]


def test_nothing_is_read_while_consensus_has_a_job(server: Server) -> None:
    server.gate.close()
    server.play(lambda: server.ask(FIRST, 1))
    assert server.given == []

    server.ask(FIRST, 2, count=1)
    server.gate.open()
    server.play(lambda: None)
    assert server.given == [(FIRST, 2, [1])]


def test_who_went_is_not_answered_and_asks_anew_when_it_is_back(server: Server) -> None:
    """On a new connection ids begin anew: an old answer would be a wrong one to a new question."""

    def come_back() -> None:
        server.ranges.left(FIRST)
        server.ask(FIRST, 1, height=5, count=1)
        server.ask(SECOND, 1)
        server.ranges.left(SECOND)

    def pause() -> None:
        assert (FIRST, 1, list(range(1, 10))) not in server.given

    server.play(lambda: server.ask(FIRST, 1, count=9), come_back, *[pause] * TURNS, turns=3)

    assert server.given == [(FIRST, 1, [5])]


def test_what_waits_at_the_end_is_dropped(server: Server) -> None:
    server.play(lambda: server.ask(FIRST, 1, count=9), turns=3)

    assert server.given == []
