"""What the network tells its operator: counters for metrics, and one log line per event.

Strangers cause most of these events, so lines have a rate; what was left out is counted and said
in the next line of the same kind.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from .channels import NUMBER_MAX, Channel
from .limits import TokenBucket
from .peers import Ban, Known, Link

log = logging.getLogger("colophon.p2p")

LINES_PER_SECOND = 2
LINES_BURST = 50
"""Of each kind of line: enough to see what happens, too little to fill a disk."""
USUAL = {"p2p/Lost", "p2p/Duplicate"}
"""Two that call each other, a port scan, a peer that stops: nothing to warn of."""


@dataclass(slots=True)
class Counters:
    """Totals since the start. Lists are indexed by channel number."""

    bytes_received: int = 0
    bytes_sent: int = 0
    received: list[int] = field(default_factory=lambda: [0] * (NUMBER_MAX + 1))
    sent: list[int] = field(default_factory=lambda: [0] * (NUMBER_MAX + 1))
    dropped: list[int] = field(default_factory=lambda: [0] * (NUMBER_MAX + 1))
    """Messages that never left: the peer did not read as fast as we spoke."""
    slowed: int = 0
    """How often reading from a peer was paused because it was above a rate."""
    unsolicited: int = 0
    """Answers to nothing that was asked."""
    refused: dict[str, int] = field(default_factory=dict)
    """Inbound connections that came to nothing, by code."""
    calls_failed: dict[str, int] = field(default_factory=dict)
    """Outbound ones, by code."""
    gone: dict[str, int] = field(default_factory=dict)
    """Connected peers that were lost or closed, by code."""
    bans: int = 0


class Report:
    """Counts and logs."""

    def __init__(self) -> None:
        self.counters = Counters()
        self._rates: dict[str, TokenBucket] = {}
        self._left_out: dict[str, int] = {}

    def connected(self, link: Link, now_ms: int) -> None:
        """A peer is accepted."""
        direction = "inbound" if link.inbound else "outbound"
        text = f"peer={link.peer_id.hex()} address={link.address} direction={direction}"
        self._say(logging.INFO, "peer_connected", text, now_ms)

    def gone(self, link: Link, code: str, reason: str, now_ms: int) -> None:
        """A connected peer is no more."""
        _count(self.counters.gone, code)
        text = f"peer={link.peer_id.hex()} address={link.address} code={code} reason={reason}"
        self._say(logging.INFO, "peer_gone", text, now_ms)

    def refused(self, address: str, code: str, reason: str, now_ms: int) -> None:
        """An inbound connection came to nothing."""
        _count(self.counters.refused, code)
        text = f"address={address} code={code} reason={reason}"
        self._say(_level(code), "peer_refused", text, now_ms)

    def call_failed(
        self, peer: Known, code: str, reason: str, *, retry_ms: int, now_ms: int
    ) -> None:
        """A peer of node.toml could not be reached or did not accept this node."""
        _count(self.counters.calls_failed, code)
        text = f"address={peer.address} code={code} retry_ms={retry_ms} reason={reason}"
        self._say(_level(code), "call_failed", text, now_ms)

    def banned(self, peer_id: bytes, ban: Ban, now_ms: int) -> None:
        """A peer provably broke the protocol and stays away."""
        self.counters.bans += 1
        left_ms = ban.until_ms - now_ms
        text = f"peer={peer_id.hex()} code={ban.code} for_ms={left_ms} reason={ban.reason}"
        self._say(logging.WARNING, "peer_banned", text, now_ms)

    def slowed(self, peer_id: bytes, channel: Channel, wait_ms: int, now_ms: int) -> None:
        """A peer is above its rate and is not read for a while; said once per connection."""
        text = f"peer={peer_id.hex()} channel={channel.name} wait_ms={wait_ms}"
        self._say(logging.WARNING, "peer_slowed", text, now_ms)

    def unsolicited(self, peer_id: bytes, channel: Channel, request_id: int, now_ms: int) -> None:
        """A peer answered what was never asked; said once per connection."""
        text = f"peer={peer_id.hex()} channel={channel.name} request={request_id}"
        self._say(logging.WARNING, "answer_unsolicited", text, now_ms)

    def dropped(self, peer_id: bytes, channel: Channel, reason: str, now_ms: int) -> None:
        """Messages to a peer were dropped; said once per connection and channel."""
        text = f"peer={peer_id.hex()} channel={channel.name} reason={reason}"
        self._say(logging.WARNING, "messages_dropped", text, now_ms)

    def _say(self, level: int, event: str, text: str, now_ms: int) -> None:
        rate = self._rates.get(event)
        if rate is None:
            rate = TokenBucket(per_second=LINES_PER_SECOND, burst=LINES_BURST, now_ms=now_ms)
            self._rates[event] = rate
        if not rate.allow(now_ms):
            self._left_out[event] = self._left_out.get(event, 0) + 1
            return
        left_out = self._left_out.pop(event, 0)
        if not text.isprintable():  # a reason may quote what a peer sent
            text = ascii(text)
        log.log(level, "%s %s%s", event, f"left_out={left_out} " if left_out else "", text)


def _level(code: str) -> int:
    return logging.INFO if code in USUAL else logging.WARNING


def _count(counts: dict[str, int], code: str) -> None:
    counts[code] = counts.get(code, 0) + 1
