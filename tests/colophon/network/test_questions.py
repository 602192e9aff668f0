"""What is read as a question or an answer, who is blamed for what is none, and who goes first."""

from __future__ import annotations

import asyncio

import pytest

from chain.codec import Record, encode
from chain.committee import genesis_committee
from chain.errors import Rejected
from colophon.network.channels import ANSWERED_ON, BLOCKS_ASKED, RANGES_ASKED, channel_table
from colophon.network.questions import ask, members_first, read
from colophon.testnet.make import local_params
from consensus.effects import Blame
from consensus.messages import BlockRequest, RangeRequest, ViewRequest
from p2p.channels import Channels
from tests.colophon.lonely import VALIDATOR, genesis

from .peers import Peers

PEER = b"peer"
QUESTION, REPLY = BlockRequest(bytes(32)), ViewRequest(1, 2)
"""Any two kinds of message do."""


def put(answer: bytes | None) -> tuple[Record | None, list[Blame]]:
    """Ask a peer that gives this answer, or none; return what came of it, and the blames."""
    peers, blames = Peers(PEER), list[Blame]()
    if answer is not None:
        peers.answers[PEER] = lambda question: answer if question == encode(QUESTION) else b"?"
    found = asyncio.run(
        ask(peers, PEER, BLOCKS_ASKED, QUESTION, (ViewRequest,), blames.append, 1_000)
    )
    return found, blames


def test_one_of_the_kinds_is_read() -> None:
    for message in (QUESTION, REPLY):
        assert read(encode(message), (BlockRequest, ViewRequest), BLOCKS_ASKED) == message


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "codec/Malformed"),
        (b"\xc1", "codec/Malformed"),
        (encode(REPLY) + b"\0", "codec/Malformed"),
        (encode(RangeRequest(1, 1)), "channel/WrongMessage: RangeRequest on channel block?"),
    ],
)
def test_anything_else_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(Rejected) as refusal:
        read(data, (BlockRequest, ViewRequest), BLOCKS_ASKED)

    assert str(refusal.value).startswith(code)


def test_an_answer_is_returned() -> None:
    assert put(encode(REPLY)) == (REPLY, [])


def test_nothing_to_show_is_no_answer_and_no_fault() -> None:
    assert put(b"") == (None, [])


def test_silence_is_told_to_who_asked_and_is_no_fault() -> None:
    with pytest.raises(Rejected, match="p2p/Timeout"):
        put(None)


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (b"\xc1", "codec/Malformed", "consensus message"),
        (encode(QUESTION), "channel/WrongMessage", "BlockRequest on channel block"),
    ],
)
def test_who_answers_with_something_else_is_blamed(data: bytes, code: str, message: str) -> None:
    found, [blame] = put(data)

    assert (found, blame.peer, blame.code) == (None, PEER, code)
    assert blame.message.startswith(message)


def test_every_question_has_the_channel_that_its_answers_come_on() -> None:
    channels = Channels(channel_table(local_params(dev=False)))

    asked = {row.name for row in channels.rows if row.name.endswith("?")}

    assert asked == set(ANSWERED_ON)
    assert all(channels.answer_to(name).name == ANSWERED_ON[name] for name in asked)
    assert RANGES_ASKED in asked


def test_members_go_before_others_and_else_the_order_stays() -> None:
    member = VALIDATOR.public_key

    assert members_first([b"1", member, b"2"], genesis_committee(genesis())) == [member, b"1", b"2"]
