"""Every planted bug is found within two hundred runs (docs/architecture.md)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .mutants import MUTANTS

RUNS = 200
FINDINGS = ("Violation", "AssertionError", "Misuse", "Corruption")
"""How a finding looks; any other exception would be an edit that does not run."""
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    mutant = MUTANTS[name]
    seeds = [str(mutant.first), str(mutant.first + RUNS - 1)]
    command = [sys.executable, "-m", "tests.simulation", mutant.profile, *seeds]

    done = subprocess.run(
        [*command, "--mutant", name], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1, f"nothing found: {done.stdout}"
    assert done.stdout.startswith("seed "), f"no run failed, the tool did: {done.stderr}"
    assert any(f": {kind}: " in done.stdout for kind in FINDINGS), done.stdout


def test_there_are_at_least_twenty() -> None:
    assert len(MUTANTS) >= 20
