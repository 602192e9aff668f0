"""One node as a process: started, found again, asked to stop, killed (docs/operating.md).

A node may have been started by this program, by another one, or not at all. Signals go to a process
only if it is proven to be the node of this home: the kernel says who listens on the home's admin
socket, and the signal goes through a handle (pidfd) taken before the kernel was asked. A process
id that stands in a file from the past proves nothing.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO, TypeVar

from chain.errors import Rejected
from colophon.admin import listener_pid
from colophon.home import Home, announced, is_held
from state.disk_fault import refusals

T = TypeVar("T")

POLL_S = 0.02
"""Pause between two looks at something that cannot wake us."""
READY_S = 60
"""A node that does not answer by then hangs; reading a large state may take a while."""
STOP_S = 20
"""A node that was asked to stop and has not by then is killed."""
KILL_S = 10
"""The kernel has ended a killed process by then."""
OWN_SETTINGS = ("RPC__LISTEN", "P2P__", "NODE__NAME", "HOME", "NODE", "PASSPHRASE")
"""Variables COLOPHON_… that would make all nodes of a machine the same, or are secret."""


@dataclass(frozen=True, slots=True)
class Running:
    """What a running node says of itself."""

    pid: int
    rpc: str


class NodeProcess:
    """The process of one home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.log = home.root / "node.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """What the node is called in messages: the name of its directory."""
        return self.home.root.name

    # --- finding ------------------------------------------------------------------------------

    def running(self) -> Running | None:
        """Return the running node, whoever started it; None while none answers."""
        return self._announced() if is_held(self.home) else None

    def _announced(self) -> Running | None:
        form = announced(self.home)
        return None if form is None else Running(form["pid"], form["rpc"])

    def is_there(self) -> bool:
        """Tell whether some process holds the home, be it just starting or stopping."""
        return is_held(self.home) or self._child_lives()

    def _child_lives(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @contextmanager
    def handle(self) -> Iterator[int | None]:
        """Yield a pidfd of the node, or None if no process is proven to be it."""
        running = self.running()
        if self._child is not None and self._child_lives():
            pid = self._child.pid  # a child that was not waited for keeps its number
        elif running is not None:
            pid = running.pid
        else:
            yield None
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            yield None
            return
        try:
            proven = self._child_lives() or listener_pid(self.home.admin_socket) == pid
            yield descriptor if proven else None
        finally:
            os.close(descriptor)

    # --- starting -----------------------------------------------------------------------------

    def start(
        self, *options: str, attached: bool, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the node in a session of its own; with ``attached`` it ends when this process does.

        ``environment`` goes above this process's own, without what would be wrong for a node.
        """
        command = [sys.executable, "-m", "colophon", "--home", str(self.home.root)]
        command += ["node", "start", *(["--attached"] if attached else []), *options]
        with refusals(self.log, "testnet/NotWritable"):
            log = self.log.open("ab")
        with log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if attached else subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**node_environment(os.environ), **(environment or {})},
                start_new_session=True,
            )

    def wait_ready(self, deadline: float) -> Running:
        """Return once the node started here answers; ``testnet/NodeEnded`` if it ended."""

        def ready() -> Running | None:
            self.require_alive()
            running = self._announced()
            mine = (
                self._child is not None and running is not None and running.pid == self._child.pid
            )
            return running if mine else None

        running = wait_until(ready, deadline)
        if running is None:
            raise Rejected(
                "testnet/NotReady", f"{self.name} does not answer yet; its log is {self.log}"
            )
        return running

    def require_alive(self) -> None:
        """Refuse with ``testnet/NodeEnded`` if the process that was started here has ended."""
        if self._child is not None and self._child.poll() is not None:
            raise Rejected("testnet/NodeEnded", f"{self.name} ended: {self.last_line()}")

    # --- ending -------------------------------------------------------------------------------

    def kill(self) -> bool:
        """End the node at once, as a power cut would; tells whether one was running."""
        with self.handle() as handle:
            if handle is None:
                return False
            self._end(handle, signal.SIGKILL, KILL_S)
        self.reap()
        return True

    def stop(self, grace_s: float = STOP_S) -> bool:
        """Ask the node to stop and wait, kill it if it does not; tells whether one was running.

        One that is just starting or stopping is waited for. ``testnet/Unproven`` if some process
        holds the home and is not known to be its node: it is left alone.
        """
        deadline = time.monotonic() + grace_s
        was_there = self.is_there()
        while self.is_there():
            with self.handle() as handle:
                if handle is not None:
                    if not self._end(handle, signal.SIGTERM, deadline - time.monotonic()):
                        self._end(handle, signal.SIGKILL, KILL_S)
                    break
            if time.monotonic() > deadline:
                raise Rejected(
                    "testnet/Unproven",
                    f"some process holds {self.home.root}, and none is known to be its node; "
                    "end it yourself",
                )
            time.sleep(POLL_S)
        self.reap()
        return was_there

    def _end(self, handle: int, number: signal.Signals, timeout_s: float) -> bool:
        """Send a signal and tell whether the process was gone in time."""
        signal.pidfd_send_signal(handle, number)
        gone = select.poll()
        gone.register(handle, select.POLLIN)
        return bool(gone.poll(max(timeout_s, 0) * 1_000))

    def reap(self) -> int | None:
        """Return the exit code of the process started here once it has ended, else None."""
        if self._child is None or self._child.poll() is None:
            return None
        if self._child.stdin is not None:
            self._child.stdin.close()
        return self._child.returncode

    # --- log ----------------------------------------------------------------------------------

    def lines(self, count: int) -> list[str]:
        """Return the last lines of the node's log; none if it has never run."""
        try:
            with self.log.open(encoding="utf-8", errors="replace") as file:
                return last_lines(file, count)
        except FileNotFoundError:
            return []

    def last_line(self) -> str:
        """Return the last line of the log, which says why the node ended."""
        return next(iter(self.lines(1)), f"it left no log in {self.log}")


def node_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables a node is started with: not those that belong to one node only."""

    def is_own(name: str) -> bool:
        setting = name.removeprefix("COLOPHON_")
        return name != setting and any(
            setting == own or (own.endswith("__") and setting.startswith(own))
            for own in OWN_SETTINGS
        )

    return {name: value for name, value in environment.items() if not is_own(name.upper())}


def last_lines(file: TextIO, count: int) -> list[str]:
    """Return the last lines of an open file that are not empty."""
    return list(deque((line.rstrip("\n") for line in file if line.strip()), maxlen=count))


def wait_until(condition: Callable[[], T | None], deadline: float) -> T | None:
    """Return the condition's first result that holds, or None at the deadline (monotonic s)."""
    while True:
        result = condition()
        if result or time.monotonic() > deadline:
            return result or None
        time.sleep(POLL_S)
