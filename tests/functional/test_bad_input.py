"""Garbage at a real node: typed answers, no crash, no growth, and the chain goes on."""

from __future__ import annotations

import http.client
import json
import random
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from chain.codec import encode, encode_amount
from chain.transaction import ENVELOPE, transaction_id
from colophon.client import Client
from colophon.flows import RpcFailed
from colophon.home import new_key
from colophon.wallet import Draft, Wallet
from state.modules.bank import Send
from tests.functional.processes import Node

GROWTH_BYTES_MAX = 64 * 1024 * 1024
"""Memory the whole bombardment may cost; its input is far larger than that."""


def memory_of(node: Node) -> int:
    """Return the resident bytes of a node's process."""
    text = Path(f"/proc/{node.pid}/status").read_text(encoding="ascii")
    line = next(line for line in text.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def refusal(client: Client, raw: bytes) -> str:
    """Submit bytes that must be refused; return the protocol's code."""
    with pytest.raises(RpcFailed) as caught:
        client.call("tx.submit", tx="0x" + raw.hex())
    assert caught.value.code in (-32000, -32602, -32003), caught.value
    return caught.value.reason


def transfer(wallet: Wallet, seq: int, **changes: Any) -> bytes:
    """Return a signed transfer, with fields of its body changed."""
    draft = Draft(messages=[Send(b"\0" + b"\7" * 20, b"", encode_amount(1))])
    return wallet.sign(draft, seq=seq, base_fee=10**7, **changes).envelope


def test_a_bombardment_with_garbage_leaves_the_node_as_it_was(tmp_path: Path) -> None:
    rng = random.Random(7)
    with Node(tmp_path / "home") as node:
        client = node.start()
        wallet = client.wallet(new_key())
        client.call("dev.faucet", address=wallet.address_text, amount=str(10**15))
        good = transfer(wallet, 0)
        refusal(client, good[:-1])
        before = memory_of(node)

        for _ in range(300):
            broken = bytearray(good)
            broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
            assert refusal(client, bytes(broken))
        for _ in range(100):
            assert refusal(client, rng.randbytes(rng.randrange(1, 400))) == "codec/Malformed"
        for _ in range(40):
            large = client_refused_large(node, rng.randbytes(1) * 2_000_000)
            assert large == 413
        for _ in range(40):
            slow_and_cut_off(node, rng)

        assert memory_of(node) - before < GROWTH_BYTES_MAX
        outcome = client.send(wallet, Draft().add("bank.send", to=wallet_other(), denom="ncolo",
                                                  amount="5"))  # fmt: skip
        assert outcome.height > 0
        assert client.call("chain.status")["healthy"]
        assert "Traceback" not in node.log()
        assert node.stop() == 0


def wallet_other() -> str:
    """Return an address nobody has the key of."""
    return "colo1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqe489vu"


def client_refused_large(node: Node, body: bytes) -> int:
    """Send a body beyond the limit; return the HTTP status."""
    parsed = urlsplit(node.url)
    connection = http.client.HTTPConnection(parsed.hostname or "", parsed.port, timeout=10)
    try:
        connection.request("POST", "/", body)
        return connection.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        return 413  # the node closed before it had read everything: as good
    finally:
        connection.close()


def slow_and_cut_off(node: Node, rng: random.Random) -> None:
    """Begin a request and go away in the middle."""
    parsed = urlsplit(node.url)
    with socket.create_connection((parsed.hostname, parsed.port), timeout=10) as connection:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n"
        connection.sendall(head[: rng.randrange(1, len(head))])


def test_each_kind_of_bad_transaction_has_its_code(tmp_path: Path) -> None:
    with Node(tmp_path / "home") as node:
        client = node.start()
        wallet = client.wallet(new_key())
        client.call("dev.faucet", address=wallet.address_text, amount=str(10**15))
        stranger = client.wallet(new_key())
        foreign = Wallet(wallet.key, bytes(32))
        good = transfer(wallet, 0)
        envelope = ENVELOPE.decode(good)
        other = ENVELOPE.decode(transfer(wallet, 1))
        swapped = encode(type(envelope)(envelope.body, other.signatures, []))
        attached = encode(type(envelope)(envelope.body, envelope.signatures, [["x"]]))

        assert refusal(client, transfer(foreign, 0)) == "tx/WrongNetwork"
        assert refusal(client, transfer(stranger, 0)) == "tx/FeeUnpaid"
        assert refusal(client, swapped) == "crypto/BadSignature"
        assert refusal(client, attached) == "codec/Malformed"
        assert refusal(client, transfer(wallet, 64)) == "pool/SeqTooFar"
        assert refusal(client, transfer(wallet, 0, valid_until=1)) == "pool/Expired"
        assert refusal(client, transfer(wallet, 0, max_fee=1)) == "pool/FeeTooLow"
        assert refusal(client, transfer(wallet, 0, max_fee=10**17)) == "pool/PayerShort"
        assert refusal(client, good + b"\0") == "codec/Malformed"
        assert refusal(client, b"\xdc\0\3" + good[1:]) == "codec/NotCanonical"
        sent = client.call("tx.submit_and_wait", tx="0x" + good.hex(), timeout_ms=10_000)
        again = client.call("tx.submit", tx="0x" + good.hex())
        assert again["id"] == sent["id"]
        assert refusal(client, transfer(wallet, 0, tip=5)) == "pool/SeqUsed"
        assert json.loads(json.dumps(sent))["receipt"]["code"] == ""
        assert node.stop() == 0


def test_each_transaction_of_a_batch_has_its_own_outcome(tmp_path: Path) -> None:
    with Node(tmp_path / "home") as node:
        client = node.start()
        wallet = client.wallet(new_key())
        client.call("dev.faucet", address=wallet.address_text, amount=str(10**15))
        good = [transfer(wallet, seq) for seq in range(40)]
        first, second = (ENVELOPE.decode(raw) for raw in good[:2])
        forged = encode(type(first)(first.body, second.signatures, []))
        batch = [good[0], forged, b"\x93", *good[1:], good[5], transfer(wallet, 100)]

        outcomes = client.call("tx.submit_batch", txs=["0x" + raw.hex() for raw in batch])

        ids = [
            "0x" + transaction_id(e.body, e.signatures).hex() for e in map(ENVELOPE.decode, good)
        ]
        codes = [None if o["error"] is None else o["error"]["data"]["code"] for o in outcomes]
        assert codes == [
            None, "crypto/BadSignature", "codec/Malformed", *[None] * 40, "pool/SeqTooFar",
        ]  # fmt: skip
        assert [o["id"] for o in outcomes] == [ids[0], None, None, *ids[1:], ids[5], None]
        assert node.stop() == 0
