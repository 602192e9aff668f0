"""The table of channels: what kinds of messages a connection carries, and their limits.

The node declares the table; both sides of a connection must have the same (protocol.md W6).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from chain.errors import Misuse

NUMBER_MAX = 255
"""Channel numbers are one byte; 0 is the connection's own (W8)."""
CONTROL = 0
PRIORITIES = 4
"""Priorities run from 0, which goes out first, to 3."""


class Kind(Enum):
    """What a message of a channel asks of the other side."""

    ONE_WAY = "one-way"
    """Nothing; when too much waits to be sent, the oldest may be dropped."""
    REQUEST = "request"
    """An answer, on the channel that answers this one."""
    ANSWER = "answer"
    """Refused before its body is kept unless it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One row of the table. Rates are what is accepted from one peer; above, it is slowed."""

    name: str
    number: int
    """1 to 255, permanent: it stands on the wire."""
    kind: Kind
    bytes_max: int
    """Of one message; checked in its header, before a byte of its body is read."""
    priority: int
    """0 (first) to 3."""
    messages_per_second: int
    messages_burst: int
    bytes_per_second: int
    bytes_burst: int
    answers: str = ""
    """Only of an ANSWER channel: the name of the REQUEST channel it answers."""


class Channels:
    """A checked table."""

    def __init__(self, channels: Iterable[Channel]) -> None:
        """Raises ``Misuse`` if two rows collide or a limit is out of range."""
        self.rows = tuple(channels)
        self.by_name = {row.name: row for row in self.rows}
        self.by_number: list[Channel | None] = [None] * (NUMBER_MAX + 1)
        self._answers: dict[str, Channel] = {}
        for row in self.rows:
            _require_sound(row)
            self.by_number[row.number] = row
            if row.kind is Kind.ANSWER:
                self._answers[row.answers] = row
        self._require_consistent()

    def named(self, name: str) -> Channel:
        """Return a channel; raises ``Misuse`` for an unknown name."""
        row = self.by_name.get(name)
        if row is None:
            raise Misuse(f"there is no channel {name}")
        return row

    def request(self, name: str) -> Channel:
        """Return a REQUEST channel; raises ``Misuse`` for any other."""
        row = self.named(name)
        if row.kind is not Kind.REQUEST:
            raise Misuse(f"channel {name} carries no requests")
        return row

    def answer_to(self, name: str) -> Channel:
        """Return the channel on which requests of channel ``name`` are answered."""
        return self._answers[self.request(name).name]

    def _require_consistent(self) -> None:
        numbers = {row.number for row in self.rows}
        if len(self.by_name) < len(self.rows) or len(numbers) < len(self.rows):
            raise Misuse("two channels share a name or a number")
        requests = [row.name for row in self.rows if row.kind is Kind.REQUEST]
        answers = [row.answers for row in self.rows if row.kind is Kind.ANSWER]
        if sorted(requests) != sorted(answers):
            raise Misuse("every request channel needs exactly one that answers it")


def _require_sound(row: Channel) -> None:
    if not 0 < row.number <= NUMBER_MAX or not 0 <= row.priority < PRIORITIES:
        raise Misuse(f"channel {row.name}: number {row.number}, priority {row.priority}")
    if not 0 < row.bytes_max < 2**32:
        raise Misuse(f"channel {row.name}: a cap of {row.bytes_max} bytes")
    if min(row.messages_per_second, row.bytes_per_second) < 1:
        raise Misuse(f"channel {row.name}: a rate below 1 would stop it")
    if min(row.messages_burst, row.bytes_burst) < 0:
        raise Misuse(f"channel {row.name}: a negative burst")
    if bool(row.answers) != (row.kind is Kind.ANSWER):
        raise Misuse(f"channel {row.name}: only an answer channel names what it answers")
