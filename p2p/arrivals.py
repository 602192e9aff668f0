"""Who may come in before anybody knows who it is: by address only (protocol.md W4).

A stranger costs a socket, a buffer and a handshake. These limits bound all three, for all
strangers together and for each address; none of them touches peers this node calls itself.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

from chain.errors import Rejected

from .limits import TokenBucket
from .settings import Settings

ADDRESSES_MAX = 4_096
"""Addresses whose rate is remembered; above, those that came seldom lately are forgotten."""
IPV6_SITE_BITS = 64
"""One customer has at least so many bits of addresses to himself: they count as one."""


class Arrivals:
    """Counts inbound connections by address."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, int] = {}
        self._buckets: dict[str, TokenBucket] = {}
        self.handshaking = 0
        """Inbound connections whose peer is not known yet."""

    def enter(self, host: str, now_ms: int) -> None:
        """Count a new inbound connection.

        Raises ``Rejected`` with ``p2p/TooManyHandshakes``, ``p2p/TooManyFromAddress`` or
        ``p2p/TooOften``; then it is not counted and must not be taken out again.
        """
        site = site_of(host)
        if self.handshaking >= self._settings.handshakes_max:
            raise Rejected("p2p/TooManyHandshakes", f"{self.handshaking} handshakes are under way")
        if self._open.get(site, 0) >= self._settings.per_address_max:
            raise Rejected(
                "p2p/TooManyFromAddress", f"{self._open[site]} connections from {site} are open"
            )
        if not self._bucket(site, now_ms).allow(now_ms):
            raise Rejected("p2p/TooOften", f"{site} connects too often")
        self._open[site] = self._open.get(site, 0) + 1
        self.handshaking += 1

    def finish_handshake(self) -> None:
        """Note that one handshake has ended, well or not."""
        assert self.handshaking > 0
        self.handshaking -= 1

    def leave(self, host: str) -> None:
        """Take out a connection that was entered; its socket is closed."""
        site = site_of(host)
        left = self._open[site] - 1
        if left:
            self._open[site] = left
        else:
            del self._open[site]

    def _bucket(self, site: str, now_ms: int) -> TokenBucket:
        bucket = self._buckets.get(site)
        if bucket is None:
            if len(self._buckets) >= ADDRESSES_MAX:
                self._forget(now_ms)
            bucket = TokenBucket(
                per_second=self._settings.accepts_per_second,
                burst=self._settings.accepts_burst,
                now_ms=now_ms,
            )
            self._buckets[site] = bucket
        return bucket

    def _forget(self, now_ms: int) -> None:
        """Drop full buckets; if nearly all are in use, start again with none."""
        kept = {s: bucket for s, bucket in self._buckets.items() if not bucket.is_full(now_ms)}
        self._buckets = kept if len(kept) <= ADDRESSES_MAX // 2 else {}


def site_of(host: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 of an IPv6 address."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ip_network((address, IPV6_SITE_BITS), strict=False))
    return str(address)
