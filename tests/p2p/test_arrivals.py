"""Strangers are bounded together and for each address."""

from __future__ import annotations

import pytest

from chain.errors import Rejected
from p2p.arrivals import ADDRESSES_MAX, Arrivals, site_of
from p2p.settings import Settings

LIMITS = Settings(per_address_max=2, handshakes_max=3, accepts_per_second=1, accepts_burst=4)


def test_one_address_has_so_many_connections() -> None:
    arrivals = Arrivals(LIMITS)
    arrivals.enter("10.0.0.1", 0)
    arrivals.enter("10.0.0.1", 0)

    with pytest.raises(Rejected, match="p2p/TooManyFromAddress"):
        arrivals.enter("10.0.0.1", 0)
    arrivals.enter("10.0.0.2", 0)
    arrivals.finish_handshake()
    arrivals.leave("10.0.0.1")

    arrivals.enter("10.0.0.1", 0)
    assert arrivals.handshaking == 3


def test_strangers_are_few_at_a_time() -> None:
    arrivals = Arrivals(LIMITS)
    for last in range(3):
        arrivals.enter(f"10.0.0.{last}", 0)

    with pytest.raises(Rejected, match="p2p/TooManyHandshakes"):
        arrivals.enter("10.0.0.9", 0)
    arrivals.finish_handshake()

    arrivals.enter("10.0.0.9", 0)


def test_an_address_that_comes_too_often_waits() -> None:
    arrivals = Arrivals(LIMITS)
    for _ in range(4):
        arrivals.enter("10.0.0.1", 0)
        arrivals.finish_handshake()
        arrivals.leave("10.0.0.1")

    with pytest.raises(Rejected, match="p2p/TooOften"):
        arrivals.enter("10.0.0.1", 0)
    arrivals.enter("10.0.0.2", 0)

    arrivals.enter("10.0.0.1", 1_000)


def test_addresses_are_not_remembered_without_bound() -> None:
    arrivals = Arrivals(LIMITS)
    for number in range(3 * ADDRESSES_MAX):
        host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        arrivals.enter(host, 0)
        arrivals.finish_handshake()
        arrivals.leave(host)

    assert len(arrivals._buckets) <= ADDRESSES_MAX
    assert arrivals._open == {}


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:0:0:1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_what_counts_as_one_address(host: str, site: str) -> None:
    assert site_of(host) == site
