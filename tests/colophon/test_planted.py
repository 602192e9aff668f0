"""Every bug planted in host, journal, guard and checks of peers is found by the tests beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .planted import PLANTED

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name: str) -> None:
    command = [sys.executable, "-m", "tests.colophon.planted", name]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == pytest.ExitCode.TESTS_FAILED, f"nothing found: {done.stdout}"
    assert "FAILED tests/" in done.stdout, f"no test failed, the tool did: {done.stderr}"
