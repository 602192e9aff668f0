"""One line per event; a flood of events is counted, not written."""

from __future__ import annotations

import logging

import pytest

from p2p.peers import Ban, Link
from p2p.report import LINES_BURST, Report

from .world import VOTES

PEER = bytes([7]) * 32
LINK = Link(PEER, PEER, "10.0.0.1:1", inbound=True)


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "colophon.p2p")


def test_every_event_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    report = Report()

    report.connected(LINK, 0)
    report.gone(LINK, "p2p/Idle", "it was silent", 0)
    report.refused("10.0.0.1:1", "p2p/Full", "2 inbound peers are connected", 0)
    report.banned(PEER, Ban(60, "p2p/TooLarge", "it did"), 10)
    report.slowed(PEER, VOTES, 30, 0)
    report.unsolicited(PEER, VOTES, 9, 0)
    report.dropped(PEER, VOTES, "it reads too slowly", 0)

    peer = PEER.hex()
    assert caplog.messages == [
        f"peer_connected peer={peer} address=10.0.0.1:1 direction=inbound",
        f"peer_gone peer={peer} address=10.0.0.1:1 code=p2p/Idle reason=it was silent",
        "peer_refused address=10.0.0.1:1 code=p2p/Full reason=2 inbound peers are connected",
        f"peer_banned peer={peer} code=p2p/TooLarge for_ms=50 reason=it did",
        f"peer_slowed peer={peer} channel=votes wait_ms=30",
        f"answer_unsolicited peer={peer} channel=votes request=9",
        f"messages_dropped peer={peer} channel=votes reason=it reads too slowly",
    ]


def test_a_reason_cannot_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    Report().banned(PEER, Ban(60, "tx/Bad", "it said\npeer_connected peer=00"), 10)

    [line] = caplog.messages
    assert "\n" not in line and "it said\\npeer_connected" in line


def test_what_is_usual_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    report = Report()

    report.refused("10.0.0.1:1", "p2p/Lost", "the peer closed the connection", 0)
    report.refused("10.0.0.1:1", "p2p/NotColophon", "it greets with 00", 0)

    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_a_flood_is_counted_and_its_lines_left_out(caplog: pytest.LogCaptureFixture) -> None:
    report = Report()

    for _ in range(LINES_BURST + 100):
        report.refused("10.0.0.1:1", "p2p/TooOften", "why", 0)
    report.refused("10.0.0.1:1", "p2p/TooOften", "why", 1_000)
    report.connected(LINK, 0)

    assert len(caplog.messages) == LINES_BURST + 2
    assert caplog.messages[-2].startswith("peer_refused left_out=100 address=")
    assert report.counters.refused == {"p2p/TooOften": LINES_BURST + 101}
