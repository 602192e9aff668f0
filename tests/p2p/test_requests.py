"""An answer counts only for an open request of that peer and channel; both sides are bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chain.errors import PeerFault, Rejected
from p2p.requests import AskedRequests, OpenRequests

from .world import QUESTION, REPLY

OTHER_REPLY = replace(REPLY, name="other", number=9)
OTHER_QUESTION = replace(QUESTION, name="other?", number=8)


def test_an_answer_is_taken_once() -> None:
    requests = OpenRequests[str](2)

    first, second = requests.add(REPLY, "first"), requests.add(REPLY, "second")

    assert first != second and 0 not in (first, second)
    assert requests.take(REPLY, second) == "second"
    assert requests.take(REPLY, second) is None
    assert requests.awaits(REPLY, first)


def test_an_answer_on_another_channel_is_not_taken() -> None:
    requests = OpenRequests[str](1)
    number = requests.add(REPLY, "waiter")

    assert not requests.awaits(OTHER_REPLY, number)
    assert requests.take(OTHER_REPLY, number) is None
    assert requests.take(REPLY, number) == "waiter"


def test_a_late_answer_is_told_from_one_that_was_never_asked_for() -> None:
    requests = OpenRequests[str](1)
    number = requests.add(REPLY, "waiter")
    requests.forget(number)

    assert requests.take(REPLY, number) is None
    assert requests.was_asked(number)
    assert not requests.was_asked(number + 1)


def test_open_requests_are_bounded() -> None:
    requests = OpenRequests[str](2)
    number = requests.add(REPLY, "first")
    requests.add(REPLY, "second")

    with pytest.raises(Rejected, match="p2p/Busy"):
        requests.add(REPLY, "third")
    requests.forget(number)

    assert requests.add(REPLY, "fourth")
    assert requests.close() == ["second", "fourth"]
    assert len(requests) == 0


def test_what_a_peer_asks_is_answered_once() -> None:
    asked = AskedRequests(2)

    assert asked.add(QUESTION, 7)
    assert asked.add(OTHER_QUESTION, 7)
    assert not asked.add(QUESTION, 8)
    assert asked.take(QUESTION, 7)
    assert not asked.take(QUESTION, 7)
    assert len(asked) == 1


def test_a_request_id_in_use_is_a_fault() -> None:
    asked = AskedRequests(2)
    asked.add(QUESTION, 7)

    with pytest.raises(PeerFault, match="p2p/RequestId"):
        asked.add(QUESTION, 7)
