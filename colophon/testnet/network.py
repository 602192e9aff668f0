"""All nodes of a local network: up, down, watched (docs/operating.md)."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from chain.errors import Rejected
from chain.ids import address_of, format_id
from chain.params import Params
from colophon.client import Client
from colophon.config import load_config, parse_address
from colophon.home import read_key

from .layout import Layout
from .make import make_network
from .process import READY_S, NodeProcess, wait_until
from .status import NodeStatus, ask, look_at_all


@dataclass(frozen=True, slots=True)
class Ended:
    """A node that ended by itself, or that somebody else ended."""

    index: int
    code: int
    last_line: str


class Network:
    """The processes of one local network."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.nodes = [NodeProcess(layout.home(index)) for index in range(layout.validators)]

    def node(self, index: int) -> NodeProcess:
        """Return a node; ``testnet/NoSuchNode`` if there is none of that number."""
        self.layout.home(index)
        return self.nodes[index]

    def there(self) -> list[int]:
        """Return the nodes that some process runs."""
        return [index for index, node in enumerate(self.nodes) if node.is_there()]

    def status(self) -> list[NodeStatus]:
        """Return what all nodes say of themselves."""
        return look_at_all(self.nodes)

    def url(self, index: int = 0) -> str:
        """Return where a running node answers; ``testnet/NotRunning`` if it does not run."""
        running = self.node(index).running()
        if running is None:
            raise Rejected("testnet/NotRunning", f"node {index} does not run")
        return running.rpc

    def client(self, index: int = 0) -> Client:
        """Return a client of a running node."""
        return Client(self.url(index))

    # --- up -----------------------------------------------------------------------------------

    def up(self, *, attached: bool) -> None:
        """Start all nodes and return when each has a new final block.

        ``testnet/Running`` if any runs already. If it does not come to that, what was started is
        stopped again.
        """
        with self.layout.lock():
            there = self.there()
            if there:
                raise Rejected(
                    "testnet/Running",
                    f"{len(there)} of {len(self.nodes)} nodes in {self.layout.root} run already; "
                    "`testnet status` shows them, `testnet start` starts the rest, "
                    "`testnet stop` ends them",
                )
            self._start(range(len(self.nodes)), attached=attached, wait_final=True)

    def start(self, indexes: Sequence[int]) -> None:
        """Start some nodes, detached, and return when they answer, or all are final again.

        ``testnet/Running`` if one of them runs already.
        """
        with self.layout.lock():
            for index in indexes:
                if self.node(index).is_there():
                    raise Rejected("testnet/Running", f"node {index} runs already")
            all_of_them = len(indexes) == len(self.nodes)
            self._start(indexes, attached=False, wait_final=all_of_them)

    def _start(self, indexes: Sequence[int], *, attached: bool, wait_final: bool) -> None:
        deadline = time.monotonic() + READY_S
        nodes = [self.nodes[index] for index in indexes]
        require_ports(nodes)
        is_new = not any(node.home.database.exists() for node in nodes)
        with ExitStack() as undo:
            undo.callback(self._stop, indexes)
            for node in nodes:
                node.start(attached=attached)
            urls = [node.wait_ready(deadline).rpc for node in nodes]
            if wait_final:
                self._wake()
                _wait_final(nodes, urls, deadline, is_new=is_new)
            undo.pop_all()

    def _wake(self) -> None:
        """Send a first transaction, so that the next block does not wait for the heartbeat.

        The faucet gives 1 ncolo to the account of node 0's validator key, which has no other use.
        Nothing depends on it: without an answer, the next block comes with the heartbeat.
        """
        node = self.nodes[0]
        running = node.running()
        if running is not None:
            address = format_id(address_of(read_key(node.home.validator_key).public_key))
            ask(running.rpc, "dev.faucet", address=address, amount="1")

    # --- down ---------------------------------------------------------------------------------

    def stop(self, indexes: Sequence[int] | None = None) -> list[int]:
        """Stop some nodes, by default all, and return which were there."""
        with self.layout.lock():
            wanted = range(len(self.nodes)) if indexes is None else list(dict.fromkeys(indexes))
            return self._stop(wanted)

    def kill(self, indexes: Sequence[int]) -> list[int]:
        """End some nodes at once, as a power cut would, and return which were running."""
        nodes = {index: self.node(index) for index in indexes}  # all are there, or none is ended
        return [index for index, node in nodes.items() if node.kill()]

    def _stop(self, indexes: Sequence[int]) -> list[int]:
        nodes = [self.node(index) for index in indexes]
        with ThreadPoolExecutor(max_workers=len(self.nodes)) as threads:  # all at the same time
            were_there = list(threads.map(NodeProcess.stop, nodes))
        return [index for index, was_there in zip(indexes, were_there, strict=True) if was_there]

    def wipe(self, *, force: bool) -> list[str]:
        """Remove the network; returns what else lay in its directory and stays there.

        ``testnet/Running`` if a node runs, unless ``force`` stops it.
        """
        with self.layout.lock():
            there = self.there()
            if there and not force:
                raise Rejected(
                    "testnet/Running",
                    f"{len(there)} of {len(self.nodes)} nodes in {self.layout.root} run; "
                    "`testnet stop` ends them, or give --force",
                )
            self._stop(there)
            return self.layout.wipe()

    # --- while it runs ------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the network for a while: none of its nodes is left when this ends.

        The end takes no lock: somebody else may be stopping or wiping the same network just now.
        """
        self.up(attached=True)
        try:
            yield
        finally:
            self._stop(self.there())

    def watch(self) -> Iterator[Ended]:
        """Yield every node that was started here and ends, until none is left."""
        ends = select.poll()
        with ExitStack() as handles:
            waiting = {}
            for index, node in enumerate(self.nodes):
                handle = handles.enter_context(node.handle())
                if handle is not None:
                    ends.register(handle, select.POLLIN)
                    waiting[handle] = index
            while waiting:
                for handle, _ in ends.poll():
                    ends.unregister(handle)
                    index = waiting.pop(handle)
                    code = self.nodes[index].reap()
                    yield Ended(index, code or 0, self.nodes[index].last_line())


@contextmanager
def new_network(
    root: Path, validators: int, *, params: Params | None = None, rich: Sequence[bytes] = ()
) -> Iterator[Network]:
    """Make a network as ``make_network`` does and run it for a while."""
    now_ms = time.time_ns() // 1_000_000
    network = Network(make_network(root, validators, now_ms, params=params, rich=rich))
    with network.running():
        yield network


def _wait_final(
    nodes: Sequence[NodeProcess], urls: Sequence[str], deadline: float, *, is_new: bool
) -> None:
    """Return when every node has a final block that none had before the start."""
    before = [0] if is_new else []

    def has_news() -> bool:
        for node in nodes:
            node.require_alive()
        heights = [_height(url) for url in urls]
        if None in heights:
            return False
        before[:] = before or [max(height or 0 for height in heights)]
        return min(height or 0 for height in heights) > before[0]

    if not wait_until(has_news, deadline):
        raise Rejected(
            "testnet/NotFinalising",
            f"no new block became final on all nodes within {READY_S} s; their logs say more: "
            + ", ".join(str(node.log) for node in nodes),
        )


def _height(url: str) -> int | None:
    status = ask(url, "chain.status")
    return None if status is None else int(status["height"])


def require_ports(nodes: Sequence[NodeProcess]) -> None:
    """Refuse with ``testnet/PortTaken`` if a port of a node is not free."""
    for node in nodes:
        config = load_config(node.home.config, {})
        for name, text in (("rpc.listen", config.rpc.listen), ("p2p.listen", config.p2p.listen)):
            if not text:
                continue  # it takes no port
            address = parse_address(text, name)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the node does
                try:
                    probe.bind(address)
                except OSError:
                    also = " and in the peers of the other nodes" if name == "p2p.listen" else ""
                    raise Rejected(
                        "testnet/PortTaken",
                        f"{text}, {name} of {node.name}, is taken by another process; end that "
                        f"one, or choose another port in {node.home.config}{also}",
                    ) from None
