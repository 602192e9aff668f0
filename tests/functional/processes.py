"""Real node processes for tests: started on ports the system chooses, ended by id."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from colophon.client import Client
from colophon.home import Home
from colophon.testnet.make import make_dev_home
from colophon.testnet.process import READY_S, NodeProcess

STOP_S = 30
"""A node that has not stopped by then hangs."""


class Node:
    """One node of a development network in a directory of its own; it ends with the test."""

    def __init__(self, root: Path, **environment: str) -> None:
        self.root = root
        self.environment = environment
        self.process = NodeProcess(Home(root))
        self.client: Client | None = None
        self.pid = 0
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
        self.process.start(*options, attached=True, environment=given)
        running = self.process.wait_ready(time.monotonic() + READY_S)
        self.pid, self.url = running.pid, running.rpc
        self.client = Client(self.url)
        return self.client

    def log(self) -> str:
        """Return what the node logged."""
        return self.process.log.read_text()

    def kill(self) -> None:
        """End the process with SIGKILL."""
        self.process.kill()
        self._close()

    def stop(self) -> int:
        """End the process with SIGTERM and return its exit code."""
        self.process.stop(STOP_S)
        self._close()
        code = self.process.reap()
        assert code is not None and code != -signal.SIGKILL, self.log()
        return code

    def _close(self) -> None:
        if self.client is not None:
            self.client.close()

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()


def run_cli(*arguments: str, directory: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end, from another directory if one is given."""
    command = [sys.executable, "-m", "colophon", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=directory)
