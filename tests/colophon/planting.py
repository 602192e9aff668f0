"""What a planted bug is. Imports nothing of ours: what is imported can no longer be edited."""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulation.mutants import Edit


@dataclass(frozen=True, slots=True)
class Planted:
    """A bug, and the file or test that finds it."""

    tests: str
    edit: Edit


def planted(tests: str, module: str, old: str, new: str) -> Planted:
    """Return a bug: ``old`` in a module becomes ``new``."""
    return Planted(tests, Edit(module, old, new))
