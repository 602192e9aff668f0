"""What happens to messages on their way: a seeded network that can be as bad as a run asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from consensus.messages import (
    CertificateMessage,
    LookbackAnswer,
    Message,
    ProposalMessage,
    VoteMessage,
)

from .node import Delays

PERMILLE = 1_000


class Weather(Protocol):
    """What happens to messages on their way."""

    def delays(self, now_ms: int, source: int, target: int, message: Message) -> Sequence[int]:
        """Return after how many ms each copy arrives; none: the message is lost."""


class Steady:
    """Every message arrives once, after a constant time, unless ``deliver`` says no."""

    def __init__(self, delays: Delays) -> None:
        self._delays = delays
        self.deliver: Callable[[int, int, Message], bool] | None = None

    def delays(self, now_ms: int, source: int, target: int, message: Message) -> Sequence[int]:
        if self.deliver is not None and not self.deliver(source, target, message):
            return ()
        return (self._delays.hop,)


@dataclass(slots=True)
class Link:
    """How messages travel from one node to another; times in ms, chances in permille."""

    delay_ms: int = 10
    jitter_ms: int = 0
    """Added, evenly drawn: neighbours overtake each other."""
    tail: int = 0
    tail_ms: int = 0
    """With chance ``tail`` a message takes up to so much longer."""
    loss: int = 0
    duplicate: int = 0


@dataclass(frozen=True, slots=True)
class Filter:
    """Until a moment, messages of one sort reach only some members."""

    sort: str
    reaches: frozenset[int]
    until_ms: int


SORTS = ("notarize", "nullify", "finalize", "proposal", "certificate", "lookback", "other")


def sort_of(message: Message) -> str:
    """Return what a filter calls a message."""
    if isinstance(message, VoteMessage):
        return SORTS[min(message.vote.kind, 2)]
    if isinstance(message, ProposalMessage):
        return "proposal"
    if isinstance(message, CertificateMessage):
        return "certificate"
    if isinstance(message, LookbackAnswer):
        return "lookback"
    return "other"


class Storm:
    """Every directed link on its own, cuts in one or both directions, filters by sort."""

    def __init__(self, size: int, chance: Random, link: Link) -> None:
        self._chance = chance
        self._size = size
        self.links = {(source, target): link for source in range(size) for target in range(size)}
        self.cut: frozenset[tuple[int, int]] = frozenset()
        """Pairs between which nothing arrives."""
        self.filters: list[Filter] = []

    def delays(self, now_ms: int, source: int, target: int, message: Message) -> Sequence[int]:
        """Return after how many ms each copy of a message arrives."""
        way = (source, target)
        if way in self.cut or (self.filters and self._is_filtered(now_ms, target, message)):
            return ()
        link = self.links[way]
        if link.loss and self._chance.randrange(PERMILLE) < link.loss:
            return ()
        first = self._delay(link)
        if link.duplicate and self._chance.randrange(PERMILLE) < link.duplicate:
            return (first, self._delay(link))
        return (first,)

    def _delay(self, link: Link) -> int:
        delay_ms = link.delay_ms
        if link.jitter_ms:
            delay_ms += self._chance.randrange(link.jitter_ms)
        if link.tail and self._chance.randrange(PERMILLE) < link.tail:
            delay_ms += self._chance.randrange(link.tail_ms + 1)
        return delay_ms

    def _is_filtered(self, now_ms: int, target: int, message: Message) -> bool:
        self.filters = [each for each in self.filters if each.until_ms > now_ms]
        sort = sort_of(message)
        return any(each.sort == sort and target not in each.reaches for each in self.filters)

    def divide(self, side: frozenset[int], *, one_way: bool) -> None:
        """Let nothing from ``side`` reach the others, nor the other way unless ``one_way``."""
        others = frozenset(range(self._size)) - side
        cut = {(source, target) for source in side for target in others}
        if not one_way:
            cut |= {(target, source) for source, target in cut}
        self.cut = frozenset(cut)

    def clear(self, link: Link) -> None:
        """End all of it: from now on every message arrives over links like ``link``."""
        self.links = dict.fromkeys(self.links, link)
        self.cut = frozenset()
        self.filters = []
