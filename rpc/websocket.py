"""One WebSocket connection: calls, answers and events through one bounded queue.

Whoever does not read fast enough is told so once and closed; it can come back with the cursor
of the last event it has seen.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Literal

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from chain.errors import Rejected

from .event_methods import EventFilter, Subscribed
from .jsonrpc import Dispatcher
from .subscriptions import BlockEvents, Hub, Subscription

CLOSE_SLOW = 4008
"""Close code for a reader that was too slow."""
CALLS_MAX = 16
"""Calls of one connection in work; further ones wait unread, so nothing piles up."""
HEARTBEAT_S = 30.0
"""A connection that does not answer a ping in half this time is dropped."""
FAREWELL_S = 5.0
"""How long a slow reader has to take the words that it was dropped."""


Socket = web.WebSocketResponse[Literal[False]]
"""A socket that leaves text as bytes: they are decoded once, as JSON."""

log = logging.getLogger("colophon.rpc")


class Outbox:
    """Messages that wait for the reader, at most ``limit`` and what one block adds."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.overflowed = False
        self._waiting: deque[bytes] = deque()
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()

    def put(self, messages: list[bytes]) -> None:
        """Add messages; a queue that is over its limit already overflows and takes no more."""
        if self.overflowed or len(self._waiting) > self.limit:
            self.overflowed = True
            self._waiting.clear()
        else:
            self._waiting.extend(messages)
        self._note_room()
        self._filled.set()

    def _note_room(self) -> None:
        if len(self._waiting) > self.limit // 2:
            self._drained.clear()
        else:
            self._drained.set()

    async def room(self) -> None:
        """Wait until at most half of the queue is used."""
        await self._drained.wait()

    async def get(self) -> bytes | None:
        """Return the next message; None once the queue has overflowed."""
        while not self._waiting and not self.overflowed:
            self._filled.clear()
            await self._filled.wait()
        if self.overflowed:
            return None
        message = self._waiting.popleft()
        self._note_room()
        return message


class Connection:
    """One client."""

    def __init__(
        self,
        socket: Socket,
        dispatcher: Dispatcher,
        hub: Hub,
        *,
        subscriptions_max: int,
        queue_max: int,
        pace: Callable[[], Awaitable[None]],
        abort: Callable[[], None],
    ) -> None:
        """``pace`` is awaited before each call and holds back who asks too often.

        ``abort`` cuts a connection whose reader does not even take the farewell.
        """
        self._socket = socket
        self._hub = hub
        self._subscriptions_max = subscriptions_max
        self._pace = pace
        self._abort = abort
        self._outbox = Outbox(queue_max)
        self._subscriptions: dict[str, Subscription] = {}
        self._fresh: list[Subscription] = []
        self._made = 0
        self._calls = asyncio.Semaphore(CALLS_MAX)
        own: dict[str, Callable[..., Any]] = {
            "events.subscribe": self._subscribe,
            "events.unsubscribe": self._unsubscribe,
        }
        methods = dispatcher.methods
        self._dispatcher = dispatcher.with_methods(
            {name: replace(methods[name], function=function) for name, function in own.items()}
        )
        self._tasks: set[asyncio.Future[None]] = set()
        self._farewell: asyncio.Future[Any] | None = None

    async def run(self) -> None:
        """Serve until either side closes."""
        self._spawn(self._write())
        try:
            await self._read()
        finally:
            self._forget_all()
            if self._farewell is not None:
                await self._farewell
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            await self._outbox.room()
            await self._pace()
            await self._calls.acquire()
            self._spawn(self._serve(message.data))

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[None]) -> None:
        """Close when one of our tasks broke: half a connection would look like a silent one."""
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        log.error("websocket_task_failed", exc_info=task.exception())
        self._forget_all()
        if self._farewell is None:
            closing = self._socket.close(code=WSCloseCode.INTERNAL_ERROR, message=b"internal error")
            self._farewell = asyncio.ensure_future(closing)

    async def _serve(self, raw: bytes) -> None:
        try:
            answer = await self._dispatcher.answer(raw)
        finally:
            self._calls.release()
        if answer is not None:
            self._outbox.put([answer])
        fresh, self._fresh = self._fresh, []
        for subscription in fresh:  # only now: the first event comes after the answer
            self._spawn(self._hub.follow(subscription, self._outbox.room, self._deliver))

    async def _write(self) -> None:
        """Send what waits; ``send_frame`` holds us back as long as the reader is behind."""
        try:
            while (message := await self._outbox.get()) is not None:
                await self._socket.send_frame(message, WSMsgType.TEXT)
        except ConnectionError:
            return

    # --- subscriptions ------------------------------------------------------------------------

    def _subscribe(
        self,
        *,
        filter: EventFilter | None = None,
        from_height: int | None = None,
        cursor: bytes | None = None,
    ) -> Subscribed:
        if len(self._subscriptions) >= self._subscriptions_max:
            raise Rejected(
                "events/TooManySubscriptions",
                f"{self._subscriptions_max} subscriptions are open on this connection",
                limit=self._subscriptions_max,
            )
        if from_height is not None and cursor is not None:
            raise Rejected("events/HeightOrCursor", "give from_height or cursor, not both")
        start = self._hub.start_of(from_height, cursor)
        self._made += 1
        name = str(self._made)
        subscription = Subscription(name, filter or EventFilter(), start, cursor or b"")
        self._subscriptions[name] = subscription
        self._fresh.append(subscription)
        return Subscribed(name, start)

    def _unsubscribe(self, *, subscription: str) -> bool:
        found = self._subscriptions.pop(subscription, None)
        if found is None:
            return False
        self._hub.forget(found)
        return True

    def _deliver(self, subscription: Subscription, block: BlockEvents) -> None:
        if subscription.name not in self._subscriptions:
            return
        self._outbox.put(subscription.take(block))
        if self._outbox.overflowed:
            self._drop()

    def _forget_all(self) -> None:
        for subscription in self._subscriptions.values():
            self._hub.forget(subscription)
        self._subscriptions.clear()

    def _drop(self) -> None:
        """Stop sending events; tell the reader and close."""
        self._forget_all()
        if self._farewell is None:
            self._farewell = asyncio.create_task(self._say_farewell(), name="websocket farewell")

    async def _say_farewell(self) -> None:
        note = {
            "jsonrpc": "2.0",
            "method": "events.dropped",
            "params": {
                "reason": "the reader was too slow; subscribe again with the last cursor",
                "queue_max": self._outbox.limit,
            },
        }
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._socket.send_frame(msgspec.json.encode(note), WSMsgType.TEXT)
                await self._socket.close(code=CLOSE_SLOW, message=b"too slow")
        except (ConnectionError, TimeoutError):
            self._abort()
