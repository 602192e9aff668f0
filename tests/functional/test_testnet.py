"""A local network as people run it: commands, real processes, and nothing left behind.

Every wait is for a condition with a deadline; the commands themselves wait for their effects.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colophon.testnet.layout import is_network, open_layout
from colophon.testnet.network import Network
from colophon.testnet.process import wait_until
from tests.functional.processes import run_cli

PATIENCE_S = 60
"""Far longer than anything here takes on a loaded machine."""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Return where a network may be made; none of its nodes outlives the test."""
    path = tmp_path / "net"
    yield path
    if is_network(path):
        Network(open_layout(path)).stop()


def command(root: Path, *arguments: str) -> Any:
    """Run a command that must succeed; return what it says."""
    done = run_cli("--json", "testnet", *arguments, "--dir", str(root))
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def refusal(root: Path, *arguments: str) -> str:
    """Run a command that must be refused; return the code."""
    done = run_cli("--json", "testnet", *arguments, "--dir", str(root))
    assert done.returncode == 1, done.stdout + done.stderr
    code: str = json.loads(done.stdout)["error"]["code"]
    return code


def heights(root: Path) -> list[int | None]:
    return [node["height"] for node in command(root, "status")["nodes"]]


def wait_for(condition: Any) -> Any:
    result = wait_until(condition, time.monotonic() + PATIENCE_S)
    assert result, "it did not come to that"
    return result


def test_a_network_is_made_killed_started_stopped_and_wiped(root: Path) -> None:
    made = command(root, "up", "--validators", "1", "--detach")
    assert made["seconds"] > 0
    (node,) = made["nodes"]
    assert node["running"] and node["height"] >= 1
    assert refusal(root, "up", "--detach") == "testnet/Running"
    assert refusal(root, "start", "0") == "testnet/Running"
    assert refusal(root, "start") == "testnet/Running"
    assert refusal(root, "wipe", "--yes") == "testnet/Running"

    assert command(root, "kill", "0") == {"killed": [0]}
    assert heights(root) == [None]
    assert refusal(root, "kill", "0") == "testnet/NotRunning"

    assert command(root, "start", "0") == {"started": [0]}
    again = command(root, "status")
    assert again["nodes"][0]["rpc"] == node["rpc"], "a restart keeps the ports"
    assert again["nodes"][0]["height"] > node["height"]
    assert again["common"]["agree"]

    assert command(root, "stop") == {"stopped": [0]}
    assert any("node_stopped" in line for line in command(root, "logs", "0")["lines"])
    before = again["nodes"][0]["height"]
    assert command(root, "up", "--detach")["nodes"][0]["height"] > before

    assert command(root, "wipe", "--yes", "--force")["left"] == []
    assert not root.exists()


def test_the_accounts_have_money_and_the_faucet_gives_more(root: Path) -> None:
    made = command(root, "up", "--validators", "1", "--detach")
    alice, bob = made["accounts"][:2]
    node = ("--json", "--home", made["nodes"][0]["home"])

    sent = run_cli(*node, "tx", "send", "--key-file", alice["key_file"], "--to", bob["address"],
                   "--amount", "5colo")  # fmt: skip
    given = run_cli("--json", "testnet", "faucet", bob["address"], "3colo", "--dir", str(root))

    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert given.returncode == 0, given.stdout + given.stderr
    shown = json.loads(run_cli(*node, "query", "account", bob["address"]).stdout)
    (balance,) = shown["balances"]
    assert int(balance["amount"]) == 1_000_000_008 * 10**9


def test_four_validators_lose_one_go_on_and_get_it_back(root: Path) -> None:
    made = command(root, "up", "--detach")
    assert [node["height"] >= 1 for node in made["nodes"]] == [True] * 4
    bob = made["accounts"][1]["address"]
    command(root, "kill", "3")

    given = run_cli("--json", "testnet", "faucet", bob, "--dir", str(root))
    assert given.returncode == 0, given.stdout + given.stderr
    tx_id = json.loads(given.stdout)["id"]
    shown = command(root, "status")
    assert [node["running"] for node in shown["nodes"]] == [True, True, True, False]
    assert len(shown["common"]["nodes"]) == 3

    assert command(root, "start", "3") == {"started": [3]}
    late = ("--json", "--node", made["nodes"][3]["rpc"], "query", "tx", tx_id)

    def has_caught_up() -> bool:
        done = run_cli(*late)
        return done.returncode == 0 and json.loads(done.stdout)["state"] in ("final", "proven")

    wait_for(has_caught_up)
    common = wait_for(lambda: command(root, "status")["common"])
    assert common["agree"] and len(common["nodes"]) == 4
    assert common["block_id"] and common["state_root"]
    assert command(root, "stop", "3", "1", "3") == {"stopped": [3, 1]}
    assert command(root, "start", "1", "3", "1") == {"started": [1, 3]}
    assert command(root, "kill", "0", "2", "0") == {"killed": [0, 2]}
    assert command(root, "kill", "0", "1") == {"killed": [1]}
    assert command(root, "stop") == {"stopped": [3]}


def test_several_validators_have_one_faucet_and_no_time_travel(root: Path) -> None:
    made = command(root, "up", "--validators", "2", "--detach")
    first, second = (("--json", "--node", node["rpc"]) for node in made["nodes"])

    none = run_cli(*second, "testnet", "faucet", made["accounts"][0]["address"])
    assert none.returncode == 1 and "dev/NoFaucet" in none.stdout and "node 0" in none.stdout
    for node in (first, second):
        moved = run_cli(*node, "testnet", "advance", "30d")
        assert moved.returncode == 1 and "dev/SharedClock" in moved.stdout


def test_a_node_that_cannot_start_is_named_with_its_reason_and_leaves_none_running(
    root: Path,
) -> None:
    command(root, "up", "--validators", "1", "--detach")
    command(root, "stop")
    (root / "node0" / "validator.key").write_text("{}")

    done = run_cli("--json", "testnet", "up", "--detach", "--dir", str(root))

    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (1, "testnet/NodeEnded")
    assert "node0 ended: error: " in error["message"] and "home/BadKey" in error["message"]
    assert not command(root, "status")["nodes"][0]["running"]


def test_the_examples_of_the_manual_run(root: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
    section = page.partition("\n## Local networks\n")[2]
    commands = section.partition("```sh\n")[2].partition("```")[0].splitlines()
    assert len(commands) > 5

    for line in commands:
        name, *arguments = shlex.split(line, comments=True)
        done = run_cli(*[str(root) if part == "my-network" else part for part in arguments])
        assert (name, done.returncode) == ("colophon", 0), line + done.stdout + done.stderr
    assert not root.exists()


class Foreground:
    """`testnet up` without --detach, as somebody sees it in a terminal."""

    def __init__(self, root: Path, *options: str) -> None:
        given = [sys.executable, "-m", "colophon", "testnet", "up", "--dir", str(root), *options]
        self.process = subprocess.Popen(
            given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Foreground:
        assert self.process.stdout is not None
        assert "finalising after" in self.process.stdout.readline()
        return self

    def end(self, number: signal.Signals) -> tuple[str, int]:
        """Send a signal; return the rest of what the command says, and its exit code."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=PATIENCE_S)
        return said, self.process.returncode

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_network_in_the_foreground_ends_with_its_command(
    root: Path, number: signal.Signals
) -> None:
    with Foreground(root, "--validators", "1") as up:
        assert heights(root) != [None]
        said, code = up.end(number)

    assert code == 0 and "stopped" in said
    assert heights(root) == [None]
    assert "node_stopped" in NodeLog(root).text


def test_a_network_in_the_foreground_may_be_wiped_from_elsewhere(root: Path) -> None:
    with Foreground(root, "--validators", "1") as up:
        command(root, "wipe", "--yes", "--force")
        _, said = up.process.communicate(timeout=PATIENCE_S)

    assert up.process.returncode == 0, said
    assert not root.exists()


def test_a_network_whose_command_is_killed_ends_too(root: Path) -> None:
    with Foreground(root, "--validators", "1") as up:
        up.end(signal.SIGKILL)

    wait_for(lambda: heights(root) == [None])
    assert "node_stopped" in NodeLog(root).text, "it was not killed, it saw its pipe close"


def test_a_node_that_ends_by_itself_is_told_with_its_last_line(root: Path) -> None:
    with Foreground(root, "--validators", "1") as up:
        command(root, "kill", "0")
        _, said = up.process.communicate(timeout=PATIENCE_S)

    assert up.process.returncode == 0
    assert "node 0 ended with code -9" in said and "node_started" in said


def test_a_node_is_attached_to_a_pipe_or_not_at_all(tmp_path: Path) -> None:
    done = run_cli("--home", str(tmp_path), "node", "start", "--attached")

    assert done.returncode == 2 and "needs a pipe" in done.stderr


class NodeLog:
    """What node 0 logged."""

    def __init__(self, root: Path) -> None:
        self.text = (root / "node0" / "node.log").read_text(encoding="utf-8")
