"""Clients that go on sending while nodes come and go, as real ones would.

Each has an account of its own and one transfer under way: it sends it to one node after the other
until somebody reports it final, and remembers where. Sending twice is harmless.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from typing import Any

from chain.codec import encode_amount
from chain.crypto import SigningKey
from chain.ids import address_of, format_id
from colophon.client import Client
from colophon.flows import RpcFailed, Unreachable
from colophon.testnet.network import Network
from colophon.wallet import Draft, Signed, Wallet
from state.modules.bank import Send

AMOUNT = 7
MAX_FEE = 10**15
FINAL_MS = 5_000
"""How long one node is waited for before another one is tried."""
PAUSE_S = 0.05
"""Before the next node is tried."""
UNDER_WAY_S = 60
LATER = (-32004, -32003)
"""Not final yet; busy."""


def account(number: int) -> SigningKey:
    """Return the key of the ``number``-th client."""
    return SigningKey((7_000 + number).to_bytes(32, "big"))


def target(number: int) -> bytes:
    """Return the address that the ``number``-th client pays to."""
    return address_of(SigningKey((8_000 + number).to_bytes(32, "big")).public_key)


def rich(clients: int) -> list[bytes]:
    """Return the addresses that must begin with money."""
    return [address_of(account(number).public_key) for number in range(clients)]


@dataclass(slots=True)
class _Client:
    """One of them."""

    number: int
    wallet: Wallet
    final: dict[str, int] = field(default_factory=dict)
    """Transaction id → height, as some node reported it."""
    problem: str = ""


class Traffic:
    """Some clients, each in a thread; use it in a ``with`` block."""

    def __init__(self, network: Network, clients: int, *, seed: int = 1) -> None:
        self._urls = [node.rpc for node in network.status()]
        with network.client() as client:
            genesis_hash = bytes.fromhex(client.call("chain.genesis")["hash"][2:])
        self._clients = [
            _Client(number, Wallet(account(number), genesis_hash)) for number in range(clients)
        ]
        self._rng = random.Random(seed)
        self._ending = threading.Event()
        self._moved = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, args=(client, self._rng.randrange(2**32)))
            for client in self._clients
        ]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> None:
        """Finish what is under way and stop."""
        self._ending.set()
        for thread in self._threads:
            thread.join()
        problems = [client.problem for client in self._clients if client.problem]
        assert not problems, problems[0]

    @property
    def count(self) -> int:
        """How many transfers are reported final so far."""
        return sum(len(client.final) for client in self._clients)

    def wait_for(self, more: int) -> None:
        """Return when ``more`` further transfers are final."""
        wanted = self.count + more
        with self._moved:
            done = self._moved.wait_for(lambda: self.count >= wanted, timeout=UNDER_WAY_S)
        assert done, f"only {self.count} of {wanted} transfers are final"

    def check(self, client: Client) -> None:
        """Compare a node with everything that was ever reported final."""
        for each in self._clients:
            paid = client.call("account.balances", address=format_id(target(each.number)))["items"]
            amounts = [int(row["amount"]) for row in paid]
            assert amounts == ([AMOUNT * len(each.final)] if each.final else [])
            for tx_id, height in each.final.items():
                found = client.call("tx.get", id=tx_id)
                assert (found["state"] in ("final", "proven"), found["height"]) == (True, height)

    def _run(self, client: _Client, seed: int) -> None:
        rng = random.Random(seed)
        try:
            while not self._ending.is_set():
                seq = len(client.final)
                transfer = Send(target(client.number), b"", encode_amount(AMOUNT))
                signed = client.wallet.sign(
                    Draft(messages=[transfer]), seq=seq, base_fee=0, max_fee=MAX_FEE
                )
                client.final["0x" + signed.id.hex()] = self._send(signed, rng)
                with self._moved:
                    self._moved.notify_all()
        except RpcFailed as error:
            client.problem = f"client {client.number}: {error}"

    def _send(self, signed: Signed, rng: random.Random) -> int:
        """Return the height at which a transfer became final, wherever and however late."""
        while True:
            with Client(rng.choice(self._urls), timeout_s=2 * FINAL_MS // 1_000) as node:
                try:
                    found: dict[str, Any] = node.call(
                        "tx.submit_and_wait",
                        tx="0x" + signed.envelope.hex(),
                        timeout_ms=FINAL_MS,
                    )
                    return int(found["height"])
                except Unreachable:
                    pass  # it was killed, or is starting
                except RpcFailed as error:
                    if error.code not in LATER and error.reason != "pool/SeqTooFar":
                        raise  # the latter says a node that is far behind
            self._ending.wait(PAUSE_S)
