"""The clients: workflows over HTTP, with and without asyncio, and every way a call can fail.

A served world makes a block of each transaction; broken servers answer from a small handler.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import colophon
from colophon.async_client import AsyncClient
from colophon.client import Client
from colophon.flows import RpcFailed, TransactionFailed, Unreachable, claim_all_flow
from colophon.wallet import Draft
from tests.colophon.served import ALICE, BOB, Node, refuse

CONTENT = "0x" + "11" * 32
OTHER_CONTENT = "0x" + "22" * 32
TERMS = {
    "royalty_policy": "lap", "commercial_use": True, "derivatives_allowed": True,
    "derivatives_reciprocal": True, "currency": "ncolo", "rev_share": 10_000_000,
}  # fmt: skip
PUBLIC = [
    "AsyncClient", "AsyncRecorder", "Client", "ColophonError", "Draft", "InvalidBundle",
    "Keystore", "Kind", "Noted", "Outcome", "Recorder", "RecorderOptions", "Rejected",
    "RpcFailed", "Signed", "SigningKey", "TransactionFailed", "Unreachable", "Verdict", "Wallet",
    "__version__", "export_bundle_flow", "find_receipt", "format_id", "key_from_words", "new_key",
    "parse_amount", "parse_id", "read_own_receipt", "record_flow", "show_amount", "verify_file",
    "words_of", "write_bundle",
]  # fmt: skip


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Serve one fixed answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_public_names_are_exactly_these():
    assert sorted(colophon.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - {"InvalidBundle", "Verdict", "verify_file"}))
def test_a_public_name_is_there(name):
    assert getattr(colophon, name) is not None


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Cleint'"):
        _ = colophon.Cleint


def test_the_stub_names_what_the_package_gives():
    with open(colophon.__file__ + "i", encoding="utf-8") as file:
        stub = file.read()

    assert all(f"{name} as {name}" in stub for name in PUBLIC if name != "__version__")


def test_importing_the_package_loads_nothing_heavy():
    heavy = "[m for m in ('aiohttp', 'plyvel', 'nacl') if m in sys.modules]"
    code = f"import sys, colophon; print({heavy})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_story_of_an_ip_runs_through_the_sync_client(node: Node):
    with node.client() as client:
        alice, bob = client.wallet(ALICE), client.wallet(BOB)
        terms_form = Draft().add("license.register_terms", terms=TERMS)
        terms = client.send(alice, terms_form).events[0]["terms"]
        work = client.register(alice, kind="dataset", content_hash=CONTENT, terms=terms).ids[0]
        lot = client.mint_license(bob, work, terms, amount=2).ids[0]
        model = client.register_derivative(
            bob, parents=[{"ip": work, "lot": lot}], kind="model", content_hash=OTHER_CONTENT
        ).ids[0]
        client.pay(alice, model, 1_000)

        earned = client.claim_all(alice, work)
        nothing = client.claim_all(alice, work)

        (claim,) = earned
        assert [event["type"] for event in claim.events] == ["royalty.settled", "royalty.claimed"]
        assert claim.events[0]["amount"] == "100"
        assert nothing == []
        assert client.call("license.lot", lot=lot)["amount"] == 1


def test_the_async_client_drives_the_same_workflows(node: Node):
    async def story() -> tuple[str, str]:
        async with AsyncClient(node.url) as client:
            wallet = await client.wallet(ALICE)
            outcome = await client.register(wallet, kind="image", content_hash=CONTENT)
            view = await client.call("ip.get", ip=outcome.ids[0])
            nothing = await client.run(claim_all_flow(wallet, outcome.ids[0]))
            assert nothing == []
            return outcome.ids[0], view["ip"]

    made, found = asyncio.run(story())

    assert made == found


def test_the_faucet_returns_once_the_money_is_there(node: Node):
    key = colophon.new_key()
    with node.client() as client:
        wallet = client.wallet(key)

        client.faucet(wallet.address_text, 5_000)

        assert client.call("account.get", address=wallet.address_text)["balance"] == "5000"


def test_a_failed_transaction_carries_its_receipt(node: Node):
    with node.client() as client:
        wallet = client.wallet(ALICE)
        draft = Draft().add(
            "bank.send", to=client.wallet(BOB).address_text, denom="ncolo", amount=str(10**30)
        )

        with pytest.raises(TransactionFailed) as caught:
            client.send(wallet, draft)

    assert caught.value.code == "bank/InsufficientFunds"
    assert caught.value.receipt["status"] == 1
    assert "are needed" in caught.value.message


def test_a_refusal_carries_code_and_details(node: Node):
    node.world.before = refuse("tx/NotToday")
    with node.client() as client:
        wallet = client.wallet(ALICE)

        with pytest.raises(RpcFailed) as caught:
            client.register(wallet, kind="text", content_hash=CONTENT)

    assert (caught.value.code, caught.value.reason) == (-32000, "tx/NotToday")
    assert str(caught.value) == "tx/NotToday: not today"


def test_nothing_at_the_address_is_said_with_the_next_command():
    client = Client("127.0.0.1:1")

    with pytest.raises(Unreachable, match="colophon testnet dev"):
        client.call("chain.status")


def test_an_address_that_is_none_is_refused():
    with pytest.raises(colophon.Rejected, match="no address"):
        Client("http://")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"\xff\xfe", b'{"jsonrpc": "2.0"}'])
def test_what_is_no_node_is_recognised(body):
    with answering(200, body) as url, Client(url) as client, pytest.raises(RpcFailed):
        client.call("chain.status")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"\xff\xfe", b'{"jsonrpc": "2.0"}'])
def test_what_is_no_node_is_recognised_with_asyncio(body):
    async def ask(url: str) -> None:
        async with AsyncClient(url) as client:
            await client.call("chain.status")

    with answering(200, body) as url, pytest.raises(RpcFailed):
        asyncio.run(ask(url))


def test_an_async_client_must_be_entered():
    with pytest.raises(colophon.Rejected, match="async with"):
        asyncio.run(AsyncClient().call("chain.status"))


def test_the_environment_says_where_the_node_is(monkeypatch):
    monkeypatch.setenv("COLOPHON_NODE", "example.org:1234")

    assert Client().url == "http://example.org:1234"
    assert AsyncClient().url == "http://example.org:1234"


def test_the_default_port_is_added():
    assert Client("example.org").url == "http://example.org:26657"
    assert AsyncClient("example.org").url == "http://example.org:26657"
