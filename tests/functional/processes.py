"""Real node processes for tests: started on ports the system chooses, ended by id."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from colophon.client import Client
from colophon.testnet_dev import make_dev_home

STOP_S = 30
"""A node that has not stopped by then hangs."""


class NodeProcess:
    """One node of a development network in a directory of its own."""

    def __init__(self, root: Path, **environment: str) -> None:
        self.root = root
        self.environment = environment
        self.process: subprocess.Popen[str] | None = None
        self.client: Client | None = None
        self.url = ""
        if not (root / "genesis.json").exists():
            make_dev_home(root, time.time_ns() // 1_000_000)

    def start(self, *options: str) -> Client:
        """Start the process and return a client once it answers."""
        given = {
            "COLOPHON_RPC__LISTEN": "127.0.0.1:0",
            "COLOPHON_P2P__LISTEN": "127.0.0.1:0",
            "COLOPHON_VERIFY__WORKERS": "0",
            **self.environment,
        }
        command = [sys.executable, "-m", "colophon", "--home", str(self.root), "--json"]
        with (self.root / "node.log").open("a") as log:
            self.process = subprocess.Popen(
                [*command, "node", "start", *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **given},
            )
        self.url = json.loads(self._first_object())["rpc"]
        self.client = Client(self.url)
        return self.client

    def _first_object(self) -> str:
        """Return the JSON object that the command prints when the node is ready."""
        assert self.process is not None and self.process.stdout is not None
        lines: list[str] = []
        while not lines or lines[-1].strip() != "}":
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"the node ended:\n{self.log()}")
            lines.append(line)
        return "".join(lines)

    def log(self) -> str:
        """Return what the node logged."""
        return (self.root / "node.log").read_text()

    def kill(self) -> None:
        """End the process with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self._close()

    def stop(self) -> int:
        """End the process with SIGTERM and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=STOP_S)
        self._close()
        return code

    def _close(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        if self.client is not None:
            self.client.close()

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process is not None:
            self.kill()


def run_cli(*arguments: str, directory: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end, from another directory if one is given."""
    command = [sys.executable, "-m", "colophon", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=directory)
