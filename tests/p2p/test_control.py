"""Control messages: three of them, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.errors import PeerFault
from p2p.control import CONTROL_CHANNEL, Control, goodbye, parse_control


def test_each_is_read_back() -> None:
    assert parse_control(b"\x00") == (Control.ALIVE, "")
    assert parse_control(b"\x01") == (Control.WELCOME, "")
    assert goodbye("p2p/Full") == b"\x02p2p/Full"
    assert parse_control(goodbye("p2p/Full")) == (Control.GOODBYE, "p2p/Full")


def test_the_longest_fits_the_cap() -> None:
    assert len(goodbye("p2p/" + "X" * 100)) == CONTROL_CHANNEL.bytes_max


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00\x00", b"\x01x", b"\x02", b"\x03", b"\x02line\nfeed", b"\x02p2p/full", b"\x02/X"],
)
def test_anything_else_is_a_fault(data: bytes) -> None:
    with pytest.raises(PeerFault, match="p2p/BadControl"):
        parse_control(data)


@given(st.binary(max_size=65))
def test_a_reason_can_always_be_logged(data: bytes) -> None:
    try:
        _, code = parse_control(b"\x02" + data)
    except PeerFault:
        return

    assert code.isascii() and code.isprintable() and " " not in code
