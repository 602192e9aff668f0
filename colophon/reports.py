"""What the core reports of members, for the log and for /health: once a minute and reason each."""

from __future__ import annotations

import logging

from consensus.effects import ProposalRefused, ReportEvidence, TurnFailed
from consensus.timers import Limiter

from .clock import Clock

log = logging.getLogger("colophon.consensus")

FAILURES_SAID = 5
FAILURES_SAID_AGAIN = 1_000
"""Turns in a row that failed before the log names a leader, and after which it names it again."""
AGAIN_MS = 60_000
"""The same is said of the same member again after a minute: it may go on for days."""


class Reports:
    """Keeps what matters until the next block, at most one sentence per member."""

    def __init__(self, clock: Clock) -> None:
        self.refused: dict[int, str] = {}
        """Member → why its newest proposal was refused, since the newest final block."""
        self.turns_failed: dict[str, int] = {}
        """By key: turns of a validator that cost a time-out (C6); at most a committee of them."""
        self._clock = clock
        self._said = Limiter(AGAIN_MS)

    def proposal_refused(self, report: ProposalRefused) -> None:
        """Note a proposal that this node can never vote for (C3)."""
        self.refused[report.leader] = f"{report.code}: {report.message}"
        if self._said.allow((report.leader, report.code), self._clock.now_ms()):
            log.warning(
                "proposal_refused leader=%d view=%d code=%s reason=%s",
                report.leader,
                report.view,
                report.code,
                report.message,
            )

    def turn_failed(self, report: TurnFailed, public_key: bytes) -> None:
        """Count whose turns cost time-outs; say who it is once it is no accident (C6)."""
        key = public_key.hex()
        self.turns_failed[key] = self.turns_failed.get(key, 0) + 1
        if report.in_a_row == FAILURES_SAID or report.in_a_row % FAILURES_SAID_AGAIN == 0:
            log.warning(
                "leader_fails validator=%s view=%d in_a_row=%d", key, report.view, report.in_a_row
            )

    def equivocation(self, report: ReportEvidence) -> None:
        """Note that a member signed what no honest one signs (V10)."""
        fault = report.evidence.fault
        if self._said.allow((fault[-1], "equivocation"), self._clock.now_ms()):
            log.error("equivocation_seen fault=%s", fault)

    def block_final(self) -> None:
        """The chain goes on; what was refused before does not hold it up."""
        self.refused.clear()
