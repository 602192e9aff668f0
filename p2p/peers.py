"""The table of peers: whom to call and when, who is connected, who must stay away.

Without a network: the caller says what time it is and what happened (protocol.md W4, W10).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from chain.errors import Rejected

from .settings import Settings

BANS_MAX = 1_024
"""Identities cost nothing, so more bans help nobody; above, the one that ends first goes."""
JITTER_MAX = 1_000
"""Jitter is given in thousandths: nodes that lost the same peer must not all call at once."""
_PEER = re.compile(r"(?:([0-9a-f]{64})@)?(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+):([0-9]{1,5})")


@dataclass(slots=True, eq=False)
class Known:
    """A peer that node.toml names, and how calling it goes."""

    host: str
    port: int
    pinned: bytes | None
    """Its id, if node.toml gives it: nobody else is accepted at this address."""
    peer_id: bytes | None
    """Its id as far as is known: pinned, or as it was found at this address."""
    failures: int = 0
    next_ms: int = 0
    """Not called before."""
    busy: bool = False
    """A call is under way, or a connection made by this node is open."""
    is_self: bool = False
    """This node itself answered there; never called again."""

    @property
    def address(self) -> str:
        """``host:port`` for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One accepted connection."""

    peer_id: bytes
    initiator: bytes
    """The id of the side that called."""
    address: str
    inbound: bool
    is_guest: bool = False
    """It called, and node.toml does not name it by id: anybody's key may be there."""


@dataclass(frozen=True, slots=True)
class Ban:
    """Why a peer stays away, and until when."""

    until_ms: int
    code: str
    reason: str


class PeerTable:
    """All that is known of peers."""

    def __init__(self, own_id: bytes, settings: Settings) -> None:
        self.known: list[Known] = []
        self.links: dict[bytes, Link] = {}
        self.bans: dict[bytes, Ban] = {}
        self._own_id = own_id
        self._settings = settings

    # --- whom to call -------------------------------------------------------------------------

    def add(self, text: str) -> None:
        """Add a peer to call: ``host:port``, or ``<64 hex>@host:port`` with its id.

        Raises ``Rejected`` with ``p2p/BadAddress``. A peer that is there already stays as it is.
        """
        peer = parse_peer(text)
        if all((peer.host, peer.port) != (other.host, other.port) for other in self.known):
            self.known.append(peer)

    def due(self, now_ms: int) -> list[Known]:
        """Return whom to call now."""
        return [peer for peer in self.known if self._next_call_ms(peer, now_ms) == now_ms]

    def wait_ms(self, now_ms: int) -> int | None:
        """Return how long until somebody is due; None if nothing but an event changes that."""
        calls = [self._next_call_ms(peer, now_ms) for peer in self.known]
        return min((call - now_ms for call in calls if call is not None), default=None)

    def call_ended(self, peer: Known, *, lasted_ms: int, now_ms: int, jitter: int) -> int:
        """Note that a call failed (``lasted_ms`` 0) or its connection ended; return the pause.

        The pause doubles with each call, and starts anew after a connection that lasted longer
        than the longest pause. ``jitter`` is 0 to 1000 and shortens the pause by up to a half.
        """
        settings = self._settings
        if lasted_ms > settings.dial_retry_ms_max:
            peer.failures = 0
        # Shifts are bounded because the pause is: 2^32 times any pause is above the longest.
        pause = settings.dial_retry_ms_min << min(peer.failures, 32)
        pause = min(pause, settings.dial_retry_ms_max)
        pause -= pause * jitter // (2 * JITTER_MAX)
        peer.failures += 1
        peer.next_ms = now_ms + pause
        peer.busy = False
        return pause

    def _next_call_ms(self, peer: Known, now_ms: int) -> int | None:
        """Return when to call, at least ``now_ms``; None if only an event can change that."""
        if peer.busy or peer.is_self:
            return None
        if peer.peer_id is not None:
            if peer.peer_id in self.links or self._is_called(peer.peer_id):
                return None
            ban = self.bans.get(peer.peer_id)
            if ban is not None:
                return max(now_ms, peer.next_ms, ban.until_ms)
        return max(now_ms, peer.next_ms)

    def _is_called(self, peer_id: bytes) -> bool:
        """Tell whether this peer is being called at another of its addresses."""
        return any(other.busy and other.peer_id == peer_id for other in self.known)

    # --- who is connected ---------------------------------------------------------------------

    def check(self, peer_id: bytes, *, inbound: bool, now_ms: int) -> None:
        """Refuse a peer that may not connect now.

        Raises ``Rejected`` with ``p2p/Self``, ``p2p/Banned``, ``p2p/Duplicate`` or ``p2p/Full``.
        """
        if peer_id == self._own_id:
            raise Rejected("p2p/Self", "this node has reached itself")
        ban = self._ban_of(peer_id, now_ms)
        if ban is not None:
            left_s = (ban.until_ms - now_ms) // 1_000
            raise Rejected("p2p/Banned", f"banned for {left_s} s more: {ban.code}: {ban.reason}")
        link = self.links.get(peer_id)
        if link is not None:
            self._require_better(link, inbound=inbound)
        elif inbound and not self.is_named(peer_id):
            links = self.links.values()
            count = sum(1 for each in links if each.inbound and not self.is_named(each.peer_id))
            if count >= self._settings.inbound_max:
                raise Rejected("p2p/Full", f"{count} inbound peers are connected")

    def claim(self, link: Link, now_ms: int) -> bool:
        """Accept a connection; True if it takes the place of another to the same peer.

        Raises what ``check`` raises.
        """
        self.check(link.peer_id, inbound=link.inbound, now_ms=now_ms)
        replaced = link.peer_id in self.links
        self.links[link.peer_id] = link
        return replaced

    def release(self, link: Link) -> None:
        """Forget a connection that has ended; one that took its place stays."""
        if self.links.get(link.peer_id) is link:
            del self.links[link.peer_id]

    def _require_better(self, link: Link, *, inbound: bool) -> None:
        """Of two connections to one peer, both sides keep the same one (W4).

        The one whose initiator has the smaller id stays. A second call of the same side replaces
        the first where it arrives: the caller has lost that one, and no other could sign as it.
        """
        initiator = link.peer_id if inbound else self._own_id
        if link.initiator == initiator and inbound:
            return
        if initiator >= link.initiator:
            raise Rejected("p2p/Duplicate", f"connected already, with {link.address}")

    def is_named(self, peer_id: bytes) -> bool:
        """Tell whether node.toml names a peer by its id."""
        return any(peer.pinned == peer_id for peer in self.known)

    # --- who must stay away -------------------------------------------------------------------

    def ban(self, peer_id: bytes, code: str, reason: str, now_ms: int) -> Ban:
        """Keep a peer away for the time set; only for what it provably did."""
        self.bans.pop(peer_id, None)
        while len(self.bans) >= BANS_MAX:
            del self.bans[min(self.bans, key=lambda other: self.bans[other].until_ms)]
        ban = Ban(now_ms + self._settings.ban_ms, code, reason)
        self.bans[peer_id] = ban
        return ban

    def is_banned(self, peer_id: bytes, now_ms: int) -> bool:
        """Tell whether a peer must stay away now."""
        return self._ban_of(peer_id, now_ms) is not None

    def _ban_of(self, peer_id: bytes, now_ms: int) -> Ban | None:
        """Return a ban that holds; one that has ended is forgotten."""
        ban = self.bans.get(peer_id)
        if ban is not None and ban.until_ms <= now_ms:
            del self.bans[peer_id]
            return None
        return ban


def parse_peer(text: str) -> Known:
    """Return a peer from ``host:port`` or ``<64 hex>@host:port``; an IPv6 host in brackets.

    Raises ``Rejected`` with ``p2p/BadAddress``.
    """
    found = _PEER.fullmatch(text)
    if found is None or not 0 < int(found[3]) <= 65_535:
        raise Rejected(
            "p2p/BadAddress",
            f"{text!r} is no peer, expected host:port or <64 hex digits>@host:port",
        )
    pinned = bytes.fromhex(found[1]) if found[1] else None
    return Known(
        host=found[2].removeprefix("[").removesuffix("]"),
        port=int(found[3]),
        pinned=pinned,
        peer_id=pinned,
    )
