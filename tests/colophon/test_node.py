"""A node ends, and says so, when one of its lasting tasks meets a bug: it is never half alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from colophon import node as node_module
from colophon.config import load_config
from colophon.host import Host
from colophon.network.ranges import Ranges
from colophon.network.relay import Relay
from colophon.node import run_node
from colophon.testnet.make import make_dev_home
from p2p.peers import PeerTable

PATIENCE_S = 30
"""Only ever reached by a test that fails."""
SETTINGS = {"COLOPHON_RPC__LISTEN": "127.0.0.1:0", "COLOPHON_VERIFY__WORKERS": "0"}


def broken(*arguments: Any) -> Any:
    raise RuntimeError("a bug")


async def broken_task(*arguments: Any) -> None:
    broken()


@pytest.mark.parametrize(
    ("kind", "name", "bug"),
    [
        (Host, "_feed", broken_task),
        (Relay, "run", broken_task),
        (Ranges, "run", broken_task),
        (PeerTable, "due", broken),
    ],
    ids=["consensus", "relay", "ranges", "calling"],
)
def test_a_bug_in_a_lasting_task_ends_the_node(
    kind: type, name: str, bug: Callable[..., Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async def play() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await run_node(home, load_config(home.config, SETTINGS))

    home = make_dev_home(tmp_path / "home", time.time_ns() // 1_000_000)
    monkeypatch.setattr(kind, name, bug)
    monkeypatch.setattr(node_module, "settle", lambda: None)

    with pytest.raises(RuntimeError, match="a bug"):
        asyncio.run(play())

    assert [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"] == [
        "node_failed: this is a bug"
    ]
    assert not home.running.exists()
