"""What connections say to each other for themselves, on channel 0 (protocol.md W8)."""

from __future__ import annotations

import re
from enum import IntEnum

from chain.errors import PeerFault

from .channels import CONTROL, Channel, Kind

CODE_BYTES_MAX = 64
CODE_FORM = re.compile(rb"[a-z0-9]+/[A-Z][A-Za-z0-9]*")
"""The form of every code; what a peer gives as its reason is logged, so nothing else may be."""

CONTROL_CHANNEL = Channel(
    name="control",
    number=CONTROL,
    kind=Kind.ONE_WAY,
    bytes_max=1 + CODE_BYTES_MAX,
    priority=0,
    messages_per_second=1_000,
    messages_burst=1_000,
    bytes_per_second=65_000,
    bytes_burst=65_000,
)
"""An honest peer says something here once per ``ping_ms``; its setting is not known to us, so the
rate only keeps a flood below a hundredth of a core."""


class Control(IntEnum):
    """The first byte of a control message."""

    ALIVE = 0
    """Nothing was sent for a while, and I am here."""
    WELCOME = 1
    """From the side that was called, once: you are accepted."""
    GOODBYE = 2
    """I close the connection; the rest is the code of the reason."""


def goodbye(code: str) -> bytes:
    """Return the control message that gives ``code`` as the reason to close."""
    return bytes([Control.GOODBYE]) + code.encode("ascii")[:CODE_BYTES_MAX]


def parse_control(data: bytes) -> tuple[Control, str]:
    """Return what is said, and the code of a goodbye.

    Raises ``PeerFault`` with ``p2p/BadControl`` for anything else.
    """
    match data[:1], data[1:]:
        case b"\x00", b"":
            return Control.ALIVE, ""
        case b"\x01", b"":
            return Control.WELCOME, ""
        case b"\x02", code if CODE_FORM.fullmatch(code):
            return Control.GOODBYE, code.decode("ascii")
    raise PeerFault("p2p/BadControl", f"a control message of {len(data)} bytes that says nothing")
