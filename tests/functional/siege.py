"""A network under attack: honest clients go on, and what an attack left behind is looked at.

Everything is read from outside, as an operator would: RPC, logs, and what the kernel says about
the processes.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chain.crypto import SigningKey
from chain.genesis import Genesis
from colophon.home import read_genesis, read_key
from colophon.testnet.network import Network
from colophon.testnet.process import wait_until
from colophon.testnet.status import compare
from tests.functional.stranger import Loop, Stranger
from tests.functional.traffic import Traffic

CLIENTS = 4
PATIENCE_S = 60
"""Only ever reached by a test that fails."""
MEMORY_RISE_MAX = 200 * 1024 * 1024
"""What an attack may cost a node."""


class Siege:
    """A running network, its traffic, and whoever attacks it."""

    def __init__(self, network: Network, traffic: Traffic, loop: Loop, honest: list[int]) -> None:
        self.network = network
        self.traffic = traffic
        self.loop = loop
        self.honest = honest
        self.genesis: Genesis = read_genesis(network.layout.genesis)
        self._memory = {index: self.memory(index) for index in honest}
        self._strangers = 0

    # --- attackers ----------------------------------------------------------------------------

    def address(self, index: int) -> str:
        """Return where a node listens for peers, as node.toml names it."""
        running = json.loads(self.network.node(index).home.running.read_text(encoding="utf-8"))
        return f"{self.id_of(index).hex()}@{running['p2p']}"

    def port(self, index: int) -> int:
        """Return the port on which a node listens for peers."""
        return int(self.address(index).rpartition(":")[2])

    def key_of(self, index: int) -> SigningKey:
        """Return a validator's key."""
        return read_key(self.network.node(index).home.validator_key)

    def id_of(self, index: int) -> bytes:
        """Return what peers call a validator."""
        return self.key_of(index).public_key

    @contextmanager
    def stranger(self, *indexes: int, key: SigningKey | None = None) -> Iterator[Stranger]:
        """Let somebody in who is connected with some nodes; a fresh identity without a key."""
        self._strangers += 1
        key = key or SigningKey((50_000 + self._strangers).to_bytes(32, "big"))
        with Stranger(self.loop, key, self.genesis) as stranger:
            for index in indexes:
                stranger.call(self.address(index))
            wait_for(lambda: len(stranger.peers) == len(indexes), "a stranger that is connected")
            yield stranger

    # --- what is left behind ------------------------------------------------------------------

    def lines(self, index: int, *parts: str) -> list[str]:
        """Return the lines of a node's log that have all these parts."""
        log = self.network.node(index).log.read_text(encoding="utf-8")
        return [line for line in log.splitlines() if all(part in line for part in parts)]

    def says_once(self, index: int, *parts: str) -> None:
        """Wait for a line in a node's log; there is one, not two."""
        wait_for(lambda: self.lines(index, *parts), f"a line with {parts}")
        assert len(self.lines(index, *parts)) == 1

    def bans(self, index: int, stranger: Stranger, code: str) -> None:
        """Wait until a node has banned somebody: it says so once, and lets it in no more."""
        self.says_once(index, f"peer_banned peer={stranger.id.hex()} code={code} ")
        wait_for(
            lambda: any("p2p/Banned" in reason for reason in stranger.refusals),
            "a call that is refused",
        )

    def require_welcome(self, stranger: Stranger, *indexes: int) -> None:
        """Check that nobody has banned somebody, and that it is connected still, or again."""
        wanted = {self.id_of(index) for index in indexes}
        wait_for(lambda: wanted <= set(stranger.peers), "a stranger that is still welcome")
        for index in indexes:
            assert not self.lines(index, f"peer_banned peer={stranger.id.hex()}")

    def require_honest_unharmed(self) -> None:
        """Check that no attack made one honest validator ban another."""
        for index in self.honest:
            for other in self.honest:
                assert not self.lines(index, f"peer_banned peer={self.id_of(other).hex()}")

    def goes_on(self) -> None:
        """Wait for traffic that becomes final from now on; look at logs and memory."""
        self.traffic.wait_for(2 * CLIENTS)
        for index in self.honest:
            assert not self.lines(index, "Traceback"), self.lines(index, "Error")
            self.require_modest(index)

    def require_modest(self, index: int) -> None:
        """Check that a node has hardly grown since the siege began."""
        rise = self.memory(index) - self._memory[index]
        assert rise <= MEMORY_RISE_MAX, f"node {index} has grown by {rise >> 20} MiB"

    def memory(self, index: int) -> int:
        """Return the resident bytes of a node."""
        running = self.network.node(index).running()
        assert running is not None
        status = Path(f"/proc/{running.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def restarted(self, index: int) -> None:
        """Note that a node is a new process: its memory is measured from here."""
        self._memory[index] = self.memory(index)

    def end(self) -> None:
        """End the traffic; the honest nodes agree and have all that was ever reported final."""
        self.traffic.end()
        wait_for(lambda: self._level(), "honest nodes at about one height")
        status = [node for node in self.network.status() if node.index in self.honest]
        common = compare(status)
        assert common is not None and len(common.blocks) == len(self.honest) and common.agree
        for index in self.honest:
            with self.network.client(index) as client:
                self.traffic.check(client)
        self.require_honest_unharmed()

    def _level(self) -> bool:
        """Tell whether the honest nodes have what any of them has reported final."""
        found = [node.height for node in self.network.status() if node.index in self.honest]
        return None not in found and max(found) - min(found) <= 2


@contextmanager
def siege(network: Network, honest: Sequence[int]) -> Iterator[Siege]:
    """Run traffic on a network; in the end its honest nodes are compared."""
    with Loop() as loop, Traffic(network, CLIENTS, seed=7) as traffic:
        traffic.wait_for(2 * CLIENTS)
        besieged = Siege(network, traffic, loop, list(honest))
        yield besieged
        besieged.end()


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Return what the condition gives once that holds."""
    found = wait_until(condition, time.monotonic() + PATIENCE_S)
    assert found, f"not within {PATIENCE_S} s: {what}"
    return found
