"""A node is killed with SIGKILL at random moments under load, again and again.

Every round: load, kill, check the database with the node's own check, start again. Nothing that
was ever reported final may be missing. Ten rounds always, fifty with ``--long``.
"""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path

import pytest

from chain.codec import encode_amount
from chain.crypto import SigningKey
from colophon.client import Client
from colophon.flows import RpcFailed, Unreachable
from colophon.wallet import Draft, Wallet
from state.modules.bank import Send
from tests.functional.processes import Node, run_cli

BATCH = 40


class Load(threading.Thread):
    """Sends batches until the node is gone; remembers what was reported final."""

    def __init__(self, url: str, wallet: Wallet, seq: int, base_fee: int) -> None:
        super().__init__()
        self.client = Client(url)
        self.wallet = wallet
        self.seq = seq
        self.base_fee = base_fee
        self.final: list[str] = []
        self.under_way = threading.Event()

    def run(self) -> None:
        with self.client:
            while True:
                try:
                    self._send_batch()
                except (RpcFailed, Unreachable):
                    return

    def _send_batch(self) -> None:
        signed = []
        for _ in range(BATCH):
            target = b"\0" + self.seq.to_bytes(20, "big")
            draft = Draft(messages=[Send(target, b"", encode_amount(7))])
            signed.append(self.wallet.sign(draft, seq=self.seq, base_fee=self.base_fee))
            self.seq += 1
        self.client.call("tx.submit_batch", txs=["0x" + tx.envelope.hex() for tx in signed[:-1]])
        last = signed[-1]
        self.under_way.set()
        self.client.call("tx.submit_and_wait", tx="0x" + last.envelope.hex(), timeout_ms=20_000)
        self.final += ["0x" + tx.id.hex() for tx in signed]


def play(tmp_path: Path, rounds: int, seed: int) -> None:
    """Kill the node ``rounds`` times."""
    rng = random.Random(seed)
    key = SigningKey(seed.to_bytes(32, "big"))
    final: list[str] = []
    heights: list[int] = []
    with Node(tmp_path / "home") as node:
        client = node.start()
        wallet = client.wallet(key)
        client.call("dev.faucet", address=wallet.address_text, amount=str(10**16))
        for number in range(rounds):
            seq = int(client.call("account.nonce", address=wallet.address_text)["next"])
            base_fee = int(client.call("tx.fee", horizon=30)["suggested_base_fee"])
            load = Load(node.url, wallet, seq, base_fee)
            load.start()
            assert load.under_way.wait(timeout=30), f"seed {seed}, round {number}: no load"
            load.join(timeout=rng.random() * 0.6)
            node.kill()
            load.join(timeout=30)
            assert not load.is_alive()
            final += load.final
            report = run_cli("--home", str(node.root), "--json", "node", "check")
            assert report.returncode == 0, f"seed {seed}, round {number}: {report.stdout}"
            heights.append(json.loads(report.stdout)["height"])
            client = node.start()
            for tx_id in load.final:
                assert client.call("tx.get", id=tx_id)["state"] in ("final", "proven")
        for tx_id in final:
            assert client.call("tx.get", id=tx_id)["state"] in ("final", "proven"), tx_id
        assert node.stop() == 0
    assert heights == sorted(heights)
    assert final, "the load never got anything final: the test shows nothing"


def test_ten_kills_lose_nothing_that_was_final(tmp_path: Path) -> None:
    play(tmp_path, rounds=10, seed=20_261)


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_fifty_kills_lose_nothing_that_was_final(tmp_path: Path) -> None:
    play(tmp_path, rounds=50, seed=20_262)
