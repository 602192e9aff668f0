"""A peer that is no node: the real ``p2p`` under an identity of its own, saying what a test wants.

It lives on an event loop in a thread, so that tests read from top to bottom. A ``Stranger`` made
with a validator's key is a treacherous validator.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Self, TypeVar

from chain.codec import Record, encode
from chain.crypto import SigningKey
from chain.errors import Rejected
from chain.genesis import Genesis
from colophon.network.channels import channel_table
from consensus.messages import MESSAGE
from p2p.identity import Identity
from p2p.network import Network
from p2p.peers import Known
from p2p.report import Report
from p2p.settings import Settings

T = TypeVar("T")

CALL_S = 30
"""Only ever reached by a test that fails."""
HEARD_MAX = 20_000
"""Messages that are kept: more than the nodes say while one test runs."""
RETRY_MS = 400
"""Pause between calls: nodes accept ten connections a second from one address."""

Reply = Callable[[bytes], bytes | None]
"""Gets a question, gives the answer; None: no answer at all."""


class Loop:
    """An event loop in a thread of its own; use it in a ``with`` block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_S)

    def do(self, action: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call a function there and return what it returns."""

        async def work() -> T:
            return action(*arguments, **named)

        return self.run(work())


class _Refusals(Report):
    """Keeps why calls came to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: list[str] = []

    def call_failed(
        self, peer: Known, code: str, reason: str, *, retry_ms: int, now_ms: int
    ) -> None:
        self.reasons.append(f"{code}: {reason}")


class Stranger:
    """One peer; use it in a ``with`` block."""

    def __init__(self, loop: Loop, key: SigningKey, genesis: Genesis) -> None:
        self.id = key.public_key
        self.heard: deque[tuple[bytes, str, bytes]] = deque(maxlen=HEARD_MAX)
        """Peer, channel and bytes of every message that came."""
        self.replies: dict[str, Reply] = {}
        """By channel; a question on any other one is answered with nothing."""
        self.asked: Counter[str] = Counter()
        """Questions that came, by channel."""
        self._loop = loop
        self._report = _Refusals()
        settings = Settings(dial_retry_ms_min=RETRY_MS, dial_retry_ms_max=RETRY_MS)
        self.net = loop.do(
            Network, Identity(key), genesis.hash(), channel_table(genesis.params), settings, self
        )
        self.net.report = self._report

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.run(self.net.close())

    # --- saying -------------------------------------------------------------------------------

    def call(self, address: str) -> None:
        """Call a node, and again whenever that connection ends."""
        self._loop.do(self.net.call, [address])

    @property
    def peers(self) -> list[bytes]:
        """Who is connected."""
        return self._loop.do(lambda: self.net.peers)

    @property
    def refusals(self) -> list[str]:
        """Why calls came to nothing."""
        return list(self._report.reasons)

    def say(self, channel: str, message: Record | bytes, *, to: bytes | None = None) -> None:
        """Send a message to one peer, or to all."""
        data = message if isinstance(message, bytes) else encode(message)
        if to is None:
            self._loop.do(self.net.broadcast, channel, data)
        else:
            self._loop.do(self.net.send, to, channel, data)

    def flood(self, channel: str, messages: Iterable[Record]) -> None:
        """Send messages to all peers as fast as they can be queued."""

        def send() -> None:
            for message in messages:
                self.net.broadcast(channel, encode(message))

        self._loop.do(send)

    def ask(self, peer: bytes, channel: str, message: Record | bytes, timeout_ms: int) -> bytes:
        """Return the answer of a peer; raises ``Rejected`` as ``p2p`` does."""
        data = message if isinstance(message, bytes) else encode(message)
        return self._loop.run(self.net.request(peer, channel, data, timeout_ms))

    def ask_in_vain(self, peer: bytes, channel: str, message: Record | bytes) -> str:
        """Return the code with which a question failed."""
        try:
            self.ask(peer, channel, message, CALL_S * 1_000)
        except Rejected as refusal:
            return refusal.code
        raise AssertionError("it was answered")

    def newest(self, kind: type[T]) -> T | None:
        """Return the newest message of a kind that any peer sent."""
        for _, channel, data in reversed(list(self.heard)):
            if channel != "transactions":
                message = MESSAGE.decode_own(data)
                if isinstance(message, kind):
                    return message
        return None

    # --- what p2p says ------------------------------------------------------------------------

    def on_connected(self, peer: bytes) -> None:
        """See ``p2p.contract.Handler``."""

    def on_gone(self, peer: bytes, code: str) -> None:
        """See ``p2p.contract.Handler``."""

    def on_message(self, peer: bytes, channel: str, data: bytes) -> None:
        """See ``p2p.contract.Handler``."""
        self.heard.append((peer, channel, data))

    def on_request(self, peer: bytes, channel: str, request_id: int, data: bytes) -> None:
        """See ``p2p.contract.Handler``."""
        self.asked[channel] += 1
        reply = self.replies.get(channel, lambda question: b"")(data)
        if reply is not None:
            self.net.answer(peer, channel, request_id, reply)
