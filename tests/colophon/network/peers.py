"""Peers as the parts of ``colophon.network`` see them: who is there, what they answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from chain.errors import Rejected

Answer = Callable[[bytes], bytes | Awaitable[bytes]]


class Peers:
    """Takes the place of ``p2p.network.Network``; a peer without an answer leaves it open."""

    def __init__(self, *peers: bytes) -> None:
        self.peers_there = list(peers)
        self.answers: dict[bytes, Answer] = {}
        self.asked: list[bytes] = []
        self.answered: list[tuple[bytes, str, int, bytes]] = []
        self.sent: list[tuple[bytes, str, bytes]] = []

    @property
    def peers(self) -> list[bytes]:
        return list(self.peers_there)

    async def request(self, peer: bytes, channel: str, data: bytes, timeout_ms: int) -> bytes:
        self.asked.append(peer)
        if peer not in self.answers:
            raise Rejected("p2p/Timeout", f"no answer within {timeout_ms} ms")
        found = self.answers[peer](data)
        return found if isinstance(found, bytes) else await found

    def answer(self, peer: bytes, channel: str, request_id: int, data: bytes) -> None:
        self.answered.append((peer, channel, request_id, data))

    def send(self, peer: bytes, channel: str, data: bytes, *, after: str = "") -> None:
        self.sent.append((peer, channel, data))

    def broadcast(self, channel: str, data: bytes, *, after: str = "") -> None:
        for peer in self.peers_there:
            self.send(peer, channel, data, after=after)
