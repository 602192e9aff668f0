"""The demo's network: one validator as a process of its own, in a directory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from chain.errors import Rejected
from colophon.client import Client
from colophon.testnet_dev import make_dev_home

STOP_S = 20
"""A node that has not stopped by then is ended."""


class Stage:
    """A running network; use it in a ``with`` block."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Stage:
        make_dev_home(self.root, time.time_ns() // 1_000_000)
        environment = {**os.environ}
        environment.setdefault("COLOPHON_RPC__LISTEN", "127.0.0.1:0")
        environment.setdefault("COLOPHON_VERIFY__WORKERS", "0")
        command = [sys.executable, "-m", "colophon", "--home", str(self.root), "--json"]
        with (self.root / "node.log").open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [*command, "node", "start"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        self.url = self._wait_until_ready()
        return self

    def _wait_until_ready(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        lines: list[str] = []
        while not lines or lines[-1].strip() != "}":
            line = self._process.stdout.readline()
            if not line:
                log = (self.root / "node.log").read_text(encoding="utf-8")
                raise Rejected("demo/NodeEnded", f"the node did not start: {log.strip()}")
            lines.append(line)
        url: str = json.loads("".join(lines))["rpc"]
        return url

    def client(self) -> Client:
        """Return a client of the network."""
        return Client(self.url)

    def wait(self) -> None:
        """Return when the network ends by itself."""
        assert self._process is not None
        self._process.wait()

    def __exit__(self, *error: object) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
