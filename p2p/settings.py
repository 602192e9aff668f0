"""How much a node takes on, and how long it waits, between peers (node.toml, section p2p)."""

from __future__ import annotations

from dataclasses import dataclass, fields

from chain.errors import Misuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits and times of one node's connections; times in milliseconds. All are at least 1."""

    inbound_max: int = 64
    """Inbound peers, not counting those that node.toml names by id; one more is turned away."""
    per_address_max: int = 16
    """Inbound connections from one address (IPv6: one /64), handshakes included."""
    handshakes_max: int = 32
    """Inbound connections whose peer is not known yet; one more is closed at once."""
    accepts_per_second: int = 10
    """New inbound connections from one address, on average."""
    accepts_burst: int = 30
    handshake_ms: int = 5_000
    """From the connection to the accepted peer; then a silent one is closed."""
    dial_ms: int = 5_000
    """For the connection itself, before the handshake."""
    dial_retry_ms_min: int = 1_000
    """After a failed dial; doubles with each further one."""
    dial_retry_ms_max: int = 30_000
    ping_ms: int = 5_000
    """A peer silent for so long is asked for a sign of life."""
    idle_ms: int = 20_000
    """A peer silent for so long, or one that reads nothing for so long, is closed."""
    message_ms: int = 20_000
    """From the first byte of a message to its last; a peer that drips is closed."""
    linger_ms: int = 1_000
    """What was sent before a close may take so long to leave."""
    queue_messages_max: int = 8_192
    """Messages that wait for one peer with one priority."""
    queue_bytes_max: int = 8_388_608
    """Bytes that wait for one peer with one priority; no channel's cap may be above."""
    waiting_bytes_max: int = 67_108_864
    """What waits for all peers together that called and that node.toml does not name by id."""
    requests_max: int = 64
    """Requests open with one peer, in each direction."""
    ban_ms: int = 3_600_000
    """How long a peer stays away that provably broke the protocol."""
    address: str = ""
    """Where this node listens, told to peers as a hint; empty: not told."""

    def __post_init__(self) -> None:
        """Refuse what could never work; raises ``Misuse``."""
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, int) and value < 1:
                raise Misuse(f"p2p.{entry.name} is {value}, at least 1 is needed")
        if self.dial_retry_ms_max < self.dial_retry_ms_min:
            raise Misuse("p2p.dial_retry_ms_max is below p2p.dial_retry_ms_min")
        if self.idle_ms <= self.ping_ms:
            raise Misuse("p2p.idle_ms must be above p2p.ping_ms, or a quiet peer is closed unasked")
