"""Virtual time: one queue of what will happen, ordered by time and then by when it was planned."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from .node import Node


class Timeline:
    """Plans and plays what happens at nodes; milliseconds from 0."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.order = 0
        """How much has been planned."""
        self._queue: list[tuple[int, int, Node, int, Callable[..., None], tuple[Any, ...]]] = []

    @property
    def is_over(self) -> bool:
        """Whether nothing is planned any more."""
        return not self._queue

    @property
    def next_ms(self) -> int:
        """When the next thing happens."""
        return self._queue[0][0]

    def later(self, node: Node, delay_ms: int, action: Callable[..., None], *given: Any) -> None:
        """Plan ``action(node, *given)``; it falls away if the node crashes before."""
        self.order += 1
        entry = (self.now_ms + delay_ms, self.order, node, node.generation, action, given)
        heapq.heappush(self._queue, entry)

    def next(self) -> None:
        """Let the next thing happen, or put it off to the end of the node's pause."""
        at_ms, _, node, generation, action, given = heapq.heappop(self._queue)
        self.now_ms = at_ms
        if generation != node.generation or not node.alive:
            return
        if node.paused_until > at_ms:
            self.later(node, node.paused_until - at_ms, action, *given)
            return
        action(node, *given)

    def run_for(self, duration_ms: int) -> None:
        """Play the next ``duration_ms``."""
        end_ms = self.now_ms + duration_ms
        while self._queue and self._queue[0][0] <= end_ms:
            self.next()
        self.now_ms = end_ms
