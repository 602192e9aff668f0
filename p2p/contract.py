"""What a connection, the network it belongs to, and the node expect of each other."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, Protocol, TypeVar

from chain.errors import PeerFault

from .channels import Channels
from .handshake import Setup
from .identity import Remote
from .peers import Link
from .queues import Backlog
from .report import Report
from .settings import Settings

C = TypeVar("C", contravariant=True)


class Phase(IntEnum):
    """How far a connection is; it only moves on."""

    OPENING = 0
    """Handshake."""
    WELCOMING = 1
    """Both sides are known; the side that called waits to be accepted."""
    OPEN = 2
    CLOSED = 3


class Ending(NamedTuple):
    """Why a connection is closed; ``code`` is one of ``p2p/…``."""

    code: str
    reason: str


class Handler(Protocol):
    """What the node does with what peers say. Calls are quick: work is queued, not done here.

    Any of them may call back into the network.
    """

    def on_connected(self, peer: bytes) -> None:
        """A peer is there; messages may be sent."""
        ...

    def on_gone(self, peer: bytes, code: str) -> None:
        """A peer is not there any more; what it was asked and did not answer is lost."""
        ...

    def on_message(self, peer: bytes, channel: str, data: bytes) -> None:
        """A one-way message; those of one channel come in the order they were sent."""
        ...

    def on_request(self, peer: bytes, channel: str, request_id: int, data: bytes) -> None:
        """A question; ``Network.answer`` answers it, at any later time or never."""
        ...


class Owner(Protocol[C]):
    """What a connection needs of its network; ``C`` is the connection."""

    settings: Settings
    channels: Channels
    setup: Setup
    handler: Handler
    report: Report
    backlog: Backlog
    """What waits for all guests (see ``Link``) together."""

    def on_socket(self, connection: C) -> None:
        """A socket is there; raises ``Rejected`` if it is one too many."""
        ...

    def on_recognised(self, connection: C, remote: Remote) -> None:
        """The peer is known; raises ``Rejected`` if it is not wanted."""
        ...

    def on_claim(self, connection: C) -> Link:
        """Accept the connection, or raise ``Rejected``."""
        ...

    def on_open(self, connection: C) -> None:
        """Messages may be sent from now on."""
        ...

    def on_fault(self, connection: C, fault: PeerFault) -> None:
        """The peer provably broke the protocol; the connection is to be closed."""
        ...

    def on_backlog(self) -> None:
        """More waits for all guests than may; some of them are to be closed."""
        ...

    def on_closed(self, connection: C, ending: Ending) -> None:
        """No message comes or goes any more."""
        ...

    def on_socket_lost(self, connection: C) -> None:
        """The socket is closed too; the last call."""
        ...
