"""Virtual time: what will happen, ordered by time and then by when it was planned."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

from .node import Node

Plan = tuple[Node, int, Callable[..., None], tuple[Any, ...]]
"""A node, the generation it must still be of, and what to call with the node and the rest."""


class Timeline:
    """Plans and plays what happens at nodes; milliseconds from 0."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.order = 0
        """How much has been planned."""
        self._moment = 0
        """The moment that is being played, or was last."""
        self._due: deque[Plan] = deque()
        """What is left of it."""
        self._plans = {0: self._due}
        """By moment, in the order of planning."""
        self._moments: list[int] = []
        """A heap of the later moments; much smaller than one of plans would be."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is planned any more."""
        return not self._due and not self._moments

    @property
    def next_ms(self) -> int:
        """When the next thing happens; only if something does."""
        return self._moment if self._due else self._moments[0]

    def later(self, node: Node, delay_ms: int, action: Callable[..., None], *given: Any) -> None:
        """Plan ``action(node, *given)``; it falls away if the node crashes before."""
        self.order += 1
        at_ms = self.now_ms + delay_ms
        plans = self._plans.get(at_ms)
        if plans is None:
            plans = self._plans[at_ms] = deque()
            heapq.heappush(self._moments, at_ms)
        plans.append((node, node.generation, action, given))

    def next(self) -> None:
        """Let the next thing happen, or put it off to the end of the node's pause."""
        if not self._due:
            self._move_on()
        node, generation, action, given = self._due.popleft()
        if generation != node.generation or not node.alive:
            return
        if node.paused_until > self.now_ms:
            self.later(node, node.paused_until - self.now_ms, action, *given)
            return
        action(node, *given)

    def _move_on(self) -> None:
        """Let time pass until something happens."""
        del self._plans[self._moment]
        self._moment = self.now_ms = heapq.heappop(self._moments)
        self._due = self._plans[self._moment]

    def run_for(self, duration_ms: int) -> None:
        """Play the next ``duration_ms``."""
        end_ms = self.now_ms + duration_ms
        while not self.is_over and self.next_ms <= end_ms:
            self.next()
        self.now_ms = end_ms
