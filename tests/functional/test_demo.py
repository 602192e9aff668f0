"""The demo as `make demo` runs it: four processes, the whole story, and nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from colophon.testnet.layout import open_layout
from colophon.testnet.network import Network
from colophon.testnet.process import wait_until
from tests.functional.processes import run_cli

PATIENCE_S = 60
"""Far longer than anything here takes on a loaded machine."""


def test_the_story_is_played_on_four_validators_that_agree(tmp_path: Path) -> None:
    root = tmp_path / "net"

    done = run_cli("--json", "demo", "--exit", "--dir", str(root))

    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert [(asset["kind"], asset["owner"]) for asset in told["assets"]] == [
        ("dataset", "studio"), ("model", "lab"),
    ]  # fmt: skip
    assert told["agreed"]["agree"] and [node["index"] for node in told["agreed"]["nodes"]] == [
        0, 1, 2, 3,
    ]  # fmt: skip
    genesis = str(root / "genesis.json")
    assert run_cli("verify", told["bundle"], "--genesis", genesis).returncode == 0
    assert Network(open_layout(root)).there() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_node_outlives_the_demo_whatever_ends_it(tmp_path: Path, number: int) -> None:
    root = tmp_path / "net"
    command = [sys.executable, "-m", "colophon", "demo", "--dir", str(root), "--validators", "2"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert any("validators runs at" in line for line in demo.stdout)
        network = Network(open_layout(root))
        assert network.there() == [0, 1]
        demo.send_signal(number)
        demo.stdout.read()

    assert wait_until(lambda: network.there() == [], time.monotonic() + PATIENCE_S)
