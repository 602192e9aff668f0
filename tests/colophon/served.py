"""A node for clients to talk to: the RPC tests' world behind a real server, in a thread.

Every transaction gets a block at once and an empty block after it, so that it is provable.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from chain.errors import Rejected
from colophon.cli.main import main
from colophon.client import Client
from colophon.home import Home
from colophon.keystore import Keystore
from rpc.limits import Limits
from rpc.server import RpcServer
from tests.rpc.world import World, key_of

PASSPHRASE = "correct horse"
ALICE, BOB = key_of(1), key_of(2)
"""Accounts with money; the world's third is its faucet."""


class QuickWorld(World):
    """A world that makes blocks by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[bytes], None] = lambda envelope: None
        """Called with every envelope before it is admitted; may raise ``Rejected``."""

    async def submit(self, envelope: bytes) -> bytes:
        self.before(envelope)
        tx_id = await super().submit(envelope)
        self.block()
        self.block()
        return tx_id

    async def faucet(self, address: bytes, amount: int) -> bytes:
        tx_id = await super().faucet(address, amount)
        self.block()
        return tx_id


class Node:
    """The server; use with ``with``."""

    def __init__(self) -> None:
        self.world = QuickWorld()
        self.world.block()
        self.world.block()
        self.server = RpcServer(self.world, Limits())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Node:
        self._thread.start()
        host, port = self.run(self.server.start("127.0.0.1", 0))
        self.url = f"http://{host}:{port}"
        return self

    def __exit__(self, *error: object) -> None:
        self.run(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine where the server lives."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    def client(self) -> Client:
        return Client(self.url)


def colophon(
    *arguments: str, home: Path, node: str = "127.0.0.1:1", stdin: str = "",
    passphrase: str = PASSPHRASE,
) -> Any:  # fmt: skip
    """Run the command line in this process; returns click's result."""
    runner = CliRunner(env={"COLOPHON_PASSPHRASE": passphrase})
    given = ["--home", str(home), "--node", node, *arguments]
    runner_main = _Entry()
    return runner.invoke(runner_main, given, input=stdin)  # type: ignore[arg-type]  # see _Entry


class _Entry:
    """What click's runner needs to call ``main`` as the shell does."""

    name = "colophon"

    def main(self, args: list[str], prog_name: str, **_: Any) -> None:
        main(list(args))


def make_keys(home: Path, **keys: Any) -> None:
    """Store keys in a home."""
    store = Keystore(Home(home).keys)
    for name, key in keys.items():
        store.add(name, key, PASSPHRASE)


def refuse(code: str) -> Callable[[bytes], None]:
    """Return a hook that refuses every transaction."""

    def before(envelope: bytes) -> None:
        raise Rejected(code, "not today")

    return before
