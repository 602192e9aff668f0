"""What waits to be sent to one peer: bounded, most urgent first (protocol.md W6)."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from chain.errors import Rejected

from .channels import PRIORITIES, Channel, Kind

MESSAGE_COST_BYTES = 128
"""What a message that waits costs besides its body: a flood of empty ones is not free."""


class Outgoing(NamedTuple):
    """One message that waits."""

    channel: Channel
    request_id: int
    data: bytes


class Backlog:
    """The cost in bytes of all that waits in some queues together."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class SendQueue:
    """A queue for each priority, each bounded in messages and bytes.

    Order is kept within a channel: it has one priority, and that is a queue. ``put(after=…)``
    keeps it too, because it moves messages forward only.
    """

    def __init__(self, *, messages_max: int, bytes_max: int) -> None:
        """The limits hold for each priority; ``bytes_max`` must cover any single message."""
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._queues: tuple[deque[Outgoing], ...] = tuple(deque() for _ in range(PRIORITIES))
        self._messages = [0] * PRIORITIES
        self._bytes = [0] * PRIORITIES
        self._leaving = 0
        """Cost of the message that was popped last: it is held until the next one is popped."""
        self._backlog = Backlog()

    def __len__(self) -> int:
        return sum(self._messages)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of all bodies that wait."""
        return sum(self._bytes)

    @property
    def cost(self) -> int:
        """This queue's part of its backlog."""
        return sum(self._bytes) + sum(self._messages) * MESSAGE_COST_BYTES + self._leaving

    def count_in(self, backlog: Backlog) -> None:
        """Count what waits here, now and from now on, in a backlog shared with other queues."""
        backlog.bytes += self.cost
        self._backlog = backlog

    def put(
        self, channel: Channel, request_id: int, data: bytes, *, after: Channel | None = None
    ) -> int:
        """Add a message; return how many were dropped to make room.

        ``after`` names a channel whose waiting messages go out before this one. When a queue is
        full its oldest one-way messages go. Raises ``Rejected`` with ``p2p/QueueFull`` if the
        most urgent queue is full, or if nothing in another may be dropped; then nothing changes.
        """
        priority = channel.priority
        dropped = 0
        if self._is_full(priority, len(data)):
            dropped = self._make_room(priority, len(data))
        if after is not None:
            self._bring_forward(after, priority)
        self._queues[priority].append(Outgoing(channel, request_id, data))
        self._messages[priority] += 1
        self._bytes[priority] += len(data)
        self._backlog.bytes += len(data) + MESSAGE_COST_BYTES
        return dropped

    def pop(self) -> Outgoing | None:
        """Take the message that goes out next; it counts as waiting until the next call."""
        self._backlog.bytes -= self._leaving
        self._leaving = 0
        for queue in self._queues:
            if queue:
                message = queue.popleft()
                priority = message.channel.priority
                self._messages[priority] -= 1
                self._bytes[priority] -= len(message.data)
                self._leaving = len(message.data) + MESSAGE_COST_BYTES
                return message
        return None

    def clear(self) -> None:
        """Forget everything."""
        self._backlog.bytes -= self.cost
        self._leaving = 0
        for queue in self._queues:
            queue.clear()
        self._messages = [0] * PRIORITIES
        self._bytes = [0] * PRIORITIES

    def _is_full(self, priority: int, size: int) -> bool:
        return (
            self._messages[priority] >= self._messages_max
            or self._bytes[priority] + size > self._bytes_max
        )

    def _make_room(self, priority: int, size: int) -> int:
        """Drop the oldest one-way messages until ``size`` more bytes fit; return how many."""
        messages, waiting = self._messages[priority], self._bytes[priority]
        going = []
        queue = self._queues[priority]
        for index, message in enumerate(queue if priority else ()):
            if messages < self._messages_max and waiting + size <= self._bytes_max:
                break
            if message.channel.kind is Kind.ONE_WAY and message.channel.priority == priority:
                going.append(index)
                messages -= 1
                waiting -= len(message.data)
        if messages >= self._messages_max or waiting + size > self._bytes_max:
            raise Rejected(
                "p2p/QueueFull",
                f"{messages} messages of {waiting} bytes wait with priority {priority}",
            )
        for index in reversed(going):
            del queue[index]
        freed = self._bytes[priority] - waiting + len(going) * MESSAGE_COST_BYTES
        self._backlog.bytes -= freed
        self._messages[priority], self._bytes[priority] = messages, waiting
        return len(going)

    def _bring_forward(self, channel: Channel, priority: int) -> None:
        """Move a channel's waiting messages behind all that is as urgent as ``priority``.

        They still count against the limits of their own priority, so moving makes no room.
        """
        # Earlier calls may have moved older ones part of the way, so every queue between is
        # emptied of the channel, the most urgent first: that is the order they were sent in.
        for queue in self._queues[priority + 1 : channel.priority + 1]:
            if any(message.channel is channel for message in queue):
                self._queues[priority].extend(m for m in queue if m.channel is channel)
                rest = [message for message in queue if message.channel is not channel]
                queue.clear()
                queue.extend(rest)
