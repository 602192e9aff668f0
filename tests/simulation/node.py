"""A simulated node: a core, its application, its disk, and what it does wrong on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chain.vote import Vote
from consensus.core import Core
from consensus.effects import ReportEvidence
from consensus.guard import GuardEntry
from consensus.journal import JournalRecord
from consensus.messages import Message, RangeAnswer
from consensus.timers import Timer

from .application import Application


@dataclass(slots=True)
class Delays:
    """Times in ms of a node's own work."""

    hop: int = 10
    """Of a message, where the weather is steady."""
    sync: int = 0
    guard: int = 0
    execute: int = 0


class Mischief(Protocol):
    """What a faulty validator does to its own messages."""

    def outgoing(self, node: Node, target: int, message: Message) -> Sequence[Message]:
        """Return what really goes to ``target`` in place of ``message``."""

    def range_answer(self, node: Node, answer: RangeAnswer | None) -> RangeAnswer | None:
        """Return what is given in place of an honest range answer."""


@dataclass
class Node:
    """A core, its application and its disk."""

    index: int
    core: Core
    app: Application
    sign: Callable[[bytes], bytes]
    """With the member's key, for whoever lies with it."""
    audience: frozenset[int] | None = None
    """Whom this body of a two-faced validator talks with; None: everybody."""
    mischief: Mischief | None = None
    journal: list[JournalRecord] = field(default_factory=list)
    synced: int = 0
    """Records of the journal that would survive a crash."""
    guard: GuardEntry | None = None
    durable: set[bytes] = field(default_factory=set)
    """Signatures of my votes in the synced part of the journal."""
    generation: int = 0
    """Counts restarts: what was under way before a crash never arrives."""
    alive: bool = True
    paused_until: int = 0
    clock_error_ms: int = 0
    """By how much its wall clock is ahead."""
    sent: list[Vote] = field(default_factory=list)
    """Every vote that left, proposals' included."""
    stopped: str | None = None
    syncs: int = 0
    evidence: list[ReportEvidence] = field(default_factory=list)
    has_pool: bool = False
    timers: dict[Timer, int] = field(default_factory=dict)
