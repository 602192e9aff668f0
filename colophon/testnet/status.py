"""What the nodes of a local network say of themselves, and whether they say the same."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from chain.errors import ColophonError
from colophon.client import Client
from colophon.config import load_config

from .process import NodeProcess

ANSWER_S = 3
"""A node that does not answer a question about itself by then counts as silent."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node at one moment."""

    index: int
    rpc: str
    """Where it answers, or would."""
    pid: int | None
    """Its process; None if none runs."""
    status: dict[str, Any] | None
    """Its answer to ``chain.status``; None if it gave none."""

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.pid is not None

    @property
    def height(self) -> int | None:
        """Its newest final height."""
        return None if self.status is None else int(self.status["height"])


@dataclass(frozen=True, slots=True)
class Common:
    """What nodes have at one height that is final on all of them."""

    height: int
    blocks: dict[int, tuple[str, str]]
    """Node → id of the block and root of the state after it."""

    @property
    def agree(self) -> bool:
        """Whether all have the same."""
        return len(set(self.blocks.values())) == 1

    def form(self) -> dict[str, Any]:
        """Return this as JSON; ``block_id`` and ``state_root`` are what all agree on."""
        block_id, state_root = next(iter(self.blocks.values())) if self.agree else (None, None)
        return {
            "height": self.height,
            "agree": self.agree,
            "block_id": block_id,
            "state_root": state_root,
            "nodes": [
                {"index": index, "block_id": block_id, "state_root": state_root}
                for index, (block_id, state_root) in self.blocks.items()
            ],
        }


def ask(url: str, method: str, **params: Any) -> Any:
    """Call a node once; None if it does not answer or refuses."""
    try:
        with Client(url, timeout_s=ANSWER_S) as client:
            return client.call(method, **params)
    except ColophonError:
        return None


def rpc_address(node: NodeProcess) -> str:
    """Return the address that a node's settings give to RPC."""
    return f"http://{load_config(node.home.config, {}).rpc.listen}"


def look_at(index: int, node: NodeProcess) -> NodeStatus:
    """Return what a node says of itself now."""
    running = node.running()
    if running is None:
        return NodeStatus(index, rpc_address(node), None, None)
    return NodeStatus(index, running.rpc, running.pid, ask(running.rpc, "chain.status"))


def look_at_all(nodes: Sequence[NodeProcess]) -> list[NodeStatus]:
    """Return what all nodes say of themselves, asked at the same time."""
    with ThreadPoolExecutor(max_workers=len(nodes)) as threads:
        return list(threads.map(look_at, range(len(nodes)), nodes))


def compare(statuses: Sequence[NodeStatus]) -> Common | None:
    """Return what the nodes that answer have at the newest height that can be compared.

    The header of a block names its parent and the state root after it, so one header of each node
    tells both, of the height below. None if no node answers or one of them has no block yet.
    """
    known = {node.index: node for node in statuses if node.height is not None}
    upper = min((node.height or 0 for node in known.values()), default=0)
    if upper == 0:
        return None
    blocks = {}
    for index, node in known.items():
        answer = ask(node.rpc, "chain.header", height=upper)
        if answer is not None:
            header = answer["header"]
            blocks[index] = (str(header["parent_id"]), str(header["parent_state_root"]))
    return Common(upper - 1, blocks) if blocks else None
