"""How much a node remembers, judged from outside (protocol.md C7, C8, Q14)."""

from __future__ import annotations

from consensus.shared import Shared

from .violation import Violation

VIEWS_KEPT = 20
"""Views below what is final of which something may still be known (C7)."""
WANTS_MAX = 64
"""Things asked for at once."""


def require_bounded(index: int, known: Shared) -> None:
    """Raise ``Q14`` if a node remembers what it should have forgotten, or asks without measure."""
    final = known.finalised_view if known.syncing else known.head.view
    blocks = (e.header.view for block_id, e in known.entries.items() if block_id != known.head.id)
    oldest = min((*known.rounds, *known.candidates, *blocks), default=final)
    if oldest < final - VIEWS_KEPT:
        raise Violation("Q14", f"node {index} still knows of view {oldest}, view {final} is final")
    if len(known.wants) > WANTS_MAX:
        raise Violation("Q14", f"node {index} asks for {len(known.wants)} things at once")
