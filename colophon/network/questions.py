"""Questions between nodes: read as what their channel carries, asked in one way (W6, W7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from chain.codec import Record, encode
from chain.committee import Committee
from chain.errors import Rejected
from consensus.effects import Blame
from consensus.messages import MESSAGE
from p2p.network import Network

from .channels import ANSWERED_ON

R = TypeVar("R", bound=Record)


def read(data: bytes, kinds: tuple[type[R], ...], channel: str) -> R:
    """Return the message that came on a channel; it is one of ``kinds``.

    Raises ``Rejected`` with a ``codec/…`` code or ``channel/WrongMessage``: the peer is at fault.
    """
    message = MESSAGE.decode(data)
    if not isinstance(message, kinds):
        raise Rejected("channel/WrongMessage", f"{type(message).__name__} on channel {channel}")
    return message


async def ask(
    network: Network,
    peer: bytes,
    channel: str,
    question: Record,
    kinds: tuple[type[R], ...],
    blame: Callable[[Blame], None],
    timeout_ms: int,
) -> R | None:
    """Ask a peer on a channel; return its answer, None if it has nothing to show or was blamed.

    Raises ``Rejected`` with a ``p2p/…`` code if it does not answer, which is no fault.
    """
    data = await network.request(peer, channel, encode(question), timeout_ms)
    if not data:
        return None
    try:
        return read(data, kinds, ANSWERED_ON[channel])
    except Rejected as refusal:
        blame(Blame(peer, refusal.code, refusal.message))
        return None


def members_first(peers: Iterable[bytes], committee: Committee) -> list[bytes]:
    """Return peers with the committee's before others; among each, the order stays."""
    return sorted(peers, key=lambda peer: committee.index_of(peer) is None)
