"""A table of channels is checked once, when it is made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chain.errors import Misuse
from p2p.channels import Channels

from .world import GOSSIP, QUESTION, REPLY, TABLE, VOTES


def test_channels_are_found_by_name_and_number() -> None:
    channels = Channels(TABLE)

    assert channels.named("votes") is channels.by_number[1] is VOTES
    assert channels.request("question") is QUESTION
    assert channels.answer_to("question") is REPLY
    assert channels.by_number[9] is None


@pytest.mark.parametrize("name", ["votes", "reply", "nothing"])
def test_only_a_request_channel_carries_requests(name: str) -> None:
    with pytest.raises(Misuse):
        Channels(TABLE).request(name)


@pytest.mark.parametrize(
    "change",
    [
        {"number": 0},
        {"number": 256},
        {"number": GOSSIP.number},
        {"name": "gossip"},
        {"priority": 4},
        {"priority": -1},
        {"bytes_max": 0},
        {"bytes_max": 2**32},
        {"messages_per_second": 0},
        {"bytes_per_second": 0},
        {"messages_burst": -1},
        {"bytes_burst": -1},
        {"answers": "question"},
    ],
)
def test_a_row_that_cannot_work_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Misuse):
        Channels([replace(VOTES, **change), GOSSIP, QUESTION, REPLY])


@pytest.mark.parametrize(
    "rows",
    [
        (QUESTION,),
        (REPLY,),
        (QUESTION, replace(REPLY, answers="")),
        (QUESTION, replace(REPLY, answers="votes")),
        (QUESTION, REPLY, replace(REPLY, name="other", number=9)),
    ],
)
def test_a_request_channel_has_exactly_one_answer(rows: tuple[Any, ...]) -> None:
    with pytest.raises(Misuse):
        Channels(rows)
