"""``chain.*``, ``tx.*``, ``state.proof``, ``account.transactions`` and ``dev.*`` over a real chain.

Answers are compared with the chain, proofs are verified as a light client would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from chain.codec import encode_amount
from chain.finality import FINALITY_PROOF, genesis_light_client
from chain.genesis import GENESIS
from chain.hashing import tagged_hash
from chain.header import HEADER
from chain.ids import NCOLO, Kind, format_id
from chain.json_form import record_from_json
from chain.merkle import verify_list_proof
from chain.state_proof import StateProof, verify_state_proof
from chain.transaction import ENVELOPE, make_blob
from rpc import chain_methods
from state.modules.account import ACCOUNTS
from state.modules.bank import Send
from state.modules.ip.asset import IpKind
from state.modules.ip.messages import Execute, Register
from state.modules.license.messages import (
    Attach,
    Parent,
    RegisterDerivative,
    RegisterTerms,
    Terms,
)
from state.modules.license.rows import terms_id_of
from state.modules.royalty.shares import Policy
from tests.rpc.world import Serving, World, hexed, make_world


def serve(check: Callable[[Serving], Awaitable[None]], world: World | None = None) -> None:
    async def run() -> None:
        async with Serving(world or make_world()) as node:
            await check(node)

    asyncio.run(run())


def raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def payment(world: World, **changes: Any) -> bytes:
    return world.sign(0, Send(world.addresses[1], NCOLO, encode_amount(5)), **changes)


# --- chain ------------------------------------------------------------------------------------


def test_status_names_network_and_head() -> None:
    async def check(node: Serving) -> None:
        status = await node.result("chain.status")

        machine = node.world.machine
        assert status["genesis_hash"] == hexed(machine.genesis_hash)
        assert (status["height"], status["healthy"], status["dev"]) == (8, True, True)
        assert status["validator_index"] == 0

    serve(check)


def test_a_block_is_found_by_height_by_id_and_as_the_newest() -> None:
    async def check(node: Serving) -> None:
        newest = await node.result("chain.block")
        by_height = await node.result("chain.block", height=8)
        by_id = await node.result("chain.block", hash=newest["id"])

        assert newest == by_height == by_id
        assert newest["height"] == 8
        header = HEADER.decode(raw(newest["raw_header"]))
        assert hexed(header.id()) == newest["id"]
        assert newest["header"]["tx_root"] == hexed(header.tx_root)

    serve(check)


def test_a_block_that_is_not_there_says_which_are() -> None:
    async def check(node: Serving) -> None:
        beyond = (await node.call("chain.block", height=9))["error"]
        unknown = (await node.call("chain.block", hash="0x" + "00" * 32))["error"]
        both = (await node.call("chain.block", height=1, hash="0x" + "00" * 32))["error"]

        assert beyond["code"] == -32002
        assert beyond["data"]["details"] == {"first": 1, "last": 8}
        assert unknown["code"] == -32001
        assert both["data"]["code"] == "chain/HeightOrHash"

    serve(check)


def test_a_range_of_blocks_is_ascending_clipped_and_capped() -> None:
    async def check(node: Serving) -> None:
        some = await node.result("chain.blocks", **{"from": 7, "to": 50})
        newest = await node.result("chain.blocks")
        wide = (await node.call("chain.blocks", **{"from": 1, "to": 8}))["result"]
        none = (await node.call("chain.blocks", **{"from": 9}))["error"]

        assert [block["height"] for block in some] == [7, 8]
        assert [block["transactions"] for block in some] == [2, 1]
        assert len(newest) == len(wide) == 8
        assert none["code"] == -32002

    serve(check)


def test_a_range_of_more_than_a_hundred_blocks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_methods, "RANGE_MAX", 5)

    async def check(node: Serving) -> None:
        wide = (await node.call("chain.blocks", **{"from": 1, "to": 8}))["error"]

        assert wide["data"]["code"] == "rpc/RangeTooWide"

    serve(check)


def test_a_certificate_proves_its_block_to_a_light_client() -> None:
    async def check(node: Serving) -> None:
        view = await node.result("chain.certificate", height=5)

        proof = FINALITY_PROOF.decode(raw(view["raw"]))
        genesis_light_client(node.world.genesis).verify(proof)
        assert hexed(proof.target.id()) == view["block_id"]
        assert proof.target.height == 5

    serve(check)


def test_the_genesis_document_comes_whole_and_hashes_to_its_name() -> None:
    async def check(node: Serving) -> None:
        view = await node.result("chain.genesis")
        beyond = (await node.call("chain.genesis", part=1))["error"]

        assert hexed(GENESIS.decode(raw(view["raw"])).hash()) == view["hash"]
        assert (view["parts"], view["accounts"]) == (1, 3)
        assert beyond["code"] == -32001
        assert beyond["data"]["code"] == "chain/NoSuchPart"

    serve(check)


def test_supply_counts_ncolo_and_royalty_units() -> None:
    async def check(node: Serving) -> None:
        ip = (await node.result("ip.list"))["items"][0]["ip"]
        unknown = format_id(bytes((Kind.IP,)) + bytes(20))

        coins = await node.result("chain.supply")
        units = await node.result("chain.supply", denom="royalty/" + ip)
        missing = (await node.call("chain.supply", denom="royalty/" + unknown))["error"]

        assert 0 < int(coins["amount"]) <= 3 * 10**15
        assert units == {"height": 8, "denom": "royalty/" + ip, "amount": "100000000"}
        assert missing["code"] == -32001

    serve(check)


def test_validators_are_the_committee() -> None:
    async def check(node: Serving) -> None:
        view = await node.result("chain.validators")

        members = [{"public_key": hexed(node.world.validator.public_key), "power": 1}]
        assert view["members"] == members
        assert view["hash"] == hexed(node.world.machine.committee.hash)

    serve(check)


# --- proofs -----------------------------------------------------------------------------------


def check_state_proof(world: World, answer: Any, value: bytes | None) -> None:
    """Verify an answer of ``state.proof`` with nothing but the genesis document."""
    finality = answer["finality"]
    header = record_from_json(type(world.reader.header(1)), finality["headers"][-1], "")
    levels = tuple(raw(item) for item in answer["proof"]["levels"])
    leaf = [[raw(entry["path"]), raw(entry["value_hash"])] for entry in answer["proof"]["leaf"]]
    proof = msgspec.convert([levels, leaf], StateProof)
    verify_state_proof(header.parent_state_root, raw(answer["key"]), value, proof)
    genesis_light_client(world.genesis).verify(world.reader.finality(header.height))
    assert header.height == answer["height"] + 1


def test_a_state_proof_shows_a_value_under_a_final_header() -> None:
    async def check(node: Serving) -> None:
        key = ACCOUNTS.prefix + node.world.addresses[2]

        answer = await node.result("state.proof", module="account", key=hexed(key))

        check_state_proof(node.world, answer, raw(answer["value"]))
        assert answer["height"] == 7

    serve(check)


def test_a_state_proof_shows_that_a_key_is_absent() -> None:
    async def check(node: Serving) -> None:
        key = ACCOUNTS.prefix + bytes(21)

        answer = await node.result("state.proof", module="account", key=hexed(key), height=7)

        assert answer["value"] is None
        check_state_proof(node.world, answer, None)

    serve(check)


def test_a_state_proof_wants_its_own_module_and_the_provable_height() -> None:
    async def check(node: Serving) -> None:
        key = hexed(ACCOUNTS.prefix + bytes(21))

        other = (await node.call("state.proof", module="ip", key=key))["error"]
        past = (await node.call("state.proof", module="account", key=key, height=3))["error"]

        assert other["data"]["code"] == "state/KeyOfOtherModule"
        assert past["code"] == -32002
        assert past["data"]["code"] == "state/NotProvableThere"
        assert past["data"]["details"] == {"first": 7, "last": 7}

    serve(check)


def test_a_receipt_proof_leads_to_the_next_final_header() -> None:
    async def check(node: Serving) -> None:
        tx_id = (await node.result("chain.block", height=7))["transactions"][1]

        view = await node.result("tx.proof", id=tx_id)

        header = node.world.reader.header(8)
        leaf = tagged_hash("receipt", raw(view["receipt"]))
        path = [raw(item) for item in view["path"]]
        verify_list_proof(header.parent_receipts_root, leaf, view["index"], view["count"], path)
        assert view["finality"]["headers"][-1]["height"] == 8

    serve(check)


def test_a_receipt_of_the_newest_block_is_not_provable_yet() -> None:
    async def check(node: Serving) -> None:
        tx_id = (await node.result("chain.block"))["transactions"][0]

        assert (await node.call("tx.proof", id=tx_id))["error"]["code"] == -32002

    serve(check)


# --- transactions -----------------------------------------------------------------------------


def test_a_transaction_goes_from_pending_to_final_to_proven() -> None:
    async def check(node: Serving) -> None:
        submitted = await node.result("tx.submit", tx=hexed(payment(node.world)))
        pending = await node.result("tx.get", **submitted)
        waiting = await node.result("tx.pending")
        node.world.block()
        final = await node.result("tx.get", **submitted)
        node.world.block()
        proven = await node.result("tx.get", **submitted)

        assert (pending["state"], pending["receipt"]) == ("pending", None)
        assert [item["id"] for item in waiting["items"]] == [submitted["id"]]
        assert (final["state"], final["height"], final["index"]) == ("final", 9, 0)
        assert final["receipt"]["events"][0]["type"] == "bank.sent"
        assert final["body"]["messages"][0]["amount"] == "5"
        assert proven["state"] == "proven"

    serve(check)


def test_submitting_again_returns_the_same_id() -> None:
    async def check(node: Serving) -> None:
        tx = hexed(payment(node.world))

        first = await node.result("tx.submit", tx=tx)
        second = await node.result("tx.submit", tx=tx)
        node.world.block()

        assert first == second == await node.result("tx.submit", tx=tx)

    serve(check)


def test_attachments_travel_in_the_envelope_and_are_shown_as_content() -> None:
    async def check(node: Serving) -> None:
        title, attachment = make_blob(bytes(16), b"Colophon")
        register = Register(IpKind.WORK, b"\7" * 32, title=title)
        tx = node.world.sign(0, register, attachments=(attachment,))

        submitted = await node.result("tx.submit", tx=hexed(tx))
        node.world.block()
        view = await node.result("tx.get", **submitted)
        bare = await node.call("tx.submit", tx=hexed(node.world.sign(0, register)))

        shown = view["body"]["messages"][0]["title"]
        assert shown == {"hash": hexed(title.hash), "length": 8, "text": "Colophon"}
        ip = view["receipt"]["events"][0]["ip"]
        assert (await node.result("ip.get", ip=ip))["title"]["text"] == "Colophon"
        assert bare["error"]["data"]["code"] == "tx/Attachments"

    serve(check)


def test_a_failed_transaction_says_why_in_a_sentence() -> None:
    async def check(node: Serving) -> None:
        tx_id = (await node.result("chain.block", height=7))["transactions"][1]

        view = await node.result("tx.get", id=tx_id)

        assert (view["state"], view["receipt"]["code"]) == ("failed", "bank/ZeroAmount")
        assert view["message"] == "the amount is 0"
        assert view["details"] == {}

    serve(check)


def test_a_refused_transaction_has_code_index_and_details() -> None:
    async def check(node: Serving) -> None:
        answer = await node.call("tx.submit", tx=hexed(payment(node.world, seq=70)))

        assert answer["error"]["code"] == -32000
        data = answer["error"]["data"]
        assert data == {"code": "tx/WrongSeq", "message_index": 0, "details": {"found": 70}}

    serve(check)


def test_garbage_is_refused_with_a_code() -> None:
    async def check(node: Serving) -> None:
        garbage = (await node.call("tx.submit", tx="0xc1"))["error"]
        not_hex = (await node.call("tx.submit", tx="abc"))["error"]
        too_long = (await node.call("tx.submit", tx="0x" + "00" * 65_537))["error"]

        assert (garbage["code"], garbage["data"]["code"]) == (-32000, "codec/Malformed")
        assert (not_hex["code"], not_hex["data"]["code"]) == (-32602, "json/WrongType")
        assert (too_long["code"], too_long["data"]["code"]) == (-32602, "rpc/OutOfRange")

    serve(check)


def test_a_batch_of_transactions_is_answered_one_by_one() -> None:
    async def check(node: Serving) -> None:
        good, bad = hexed(payment(node.world)), hexed(payment(node.world, seq=70))

        outcomes = await node.result("tx.submit_batch", txs=[good, bad, good])
        single = (await node.call("tx.submit", tx=bad))["error"]

        assert outcomes[0] == outcomes[2] and outcomes[0]["error"] is None
        assert outcomes[1] == {"id": None, "error": single}

    serve(check)


def test_a_busy_node_says_when_to_come_again() -> None:
    async def check(node: Serving) -> None:
        node.world.busy = True

        error = (await node.call("tx.submit", tx=hexed(payment(node.world))))["error"]

        assert error["code"] == -32003
        assert error["data"]["details"] == {"retry_after_ms": 500}

    serve(check)


def test_submit_and_wait_returns_the_receipt() -> None:
    async def check(node: Serving) -> None:
        params = {"tx": hexed(payment(node.world)), "timeout_ms": 60_000}
        waiting = asyncio.create_task(node.result("tx.submit_and_wait", **params))
        while not node.world.pool:
            await asyncio.sleep(0)
        node.world.block()

        view = await waiting

        assert (view["state"], view["height"], view["receipt"]["code"]) == ("final", 9, "")

    serve(check)


def test_submit_and_wait_gives_up_in_time_and_the_transaction_stays() -> None:
    async def check(node: Serving) -> None:
        tx = hexed(payment(node.world))

        error = (await node.call("tx.submit_and_wait", tx=tx, timeout_ms=1))["error"]

        assert error["code"] == -32004
        assert len(node.world.pool) == 1

    serve(check)


def test_simulation_takes_a_body_or_a_transaction() -> None:
    async def check(node: Serving) -> None:
        tx = payment(node.world)
        body = ENVELOPE.decode(tx).body

        by_body = await node.result("tx.simulate", body=hexed(body))
        by_tx = await node.result("tx.simulate", tx=hexed(tx))
        neither = (await node.call("tx.simulate"))["error"]

        assert by_body == by_tx and by_body["code"] == ""
        assert neither["data"]["code"] == "tx/SimulateWhat"

    serve(check)


def test_messages_inside_execute_are_shown_as_objects() -> None:
    async def check(node: Serving) -> None:
        world = node.world
        owner = format_id(world.addresses[0])
        ip = (await node.result("ip.list", owner=owner))["items"][0]["ip"]
        world.send(0, Send(ip_bytes(world, ip), NCOLO, encode_amount(500)))
        world.block()
        inner = msgspec.msgpack.encode(Send(world.addresses[1], NCOLO, encode_amount(3)))
        tx_id = world.send(0, Execute(ip_bytes(world, ip), [inner]))
        world.block()

        view = await node.result("tx.get", id=hexed(tx_id))

        nested = view["body"]["messages"][0]["nested"]
        assert [item["type"] for item in nested] == ["bank.send"]
        assert view["receipt"]["code"] == ""

    serve(check)


def ip_bytes(world: World, text: str) -> bytes:
    for height in range(1, world.machine.head.height + 1):
        for receipt in world.reader.receipts(height):
            for event in receipt.events:
                if getattr(event, "ip", None) and format_id(event.ip) == text:
                    return bytes(event.ip)
    raise AssertionError(text)


def test_an_unknown_transaction_is_not_found() -> None:
    async def check(node: Serving) -> None:
        assert (await node.call("tx.get", id="0x" + "00" * 32))["error"]["code"] == -32001

    serve(check)


def test_an_accounts_transactions_come_newest_first_page_by_page() -> None:
    async def check(node: Serving) -> None:
        address = format_id(node.world.addresses[0])
        whole = await node.result("account.transactions", address=address)
        pages: list[Any] = []
        cursor = None
        while True:
            page = await node.result(
                "account.transactions", address=address, limit=3, cursor=cursor
            )
            pages += page["items"]
            cursor = page["cursor"]
            if cursor is None:
                break

        assert pages == whole["items"]
        assert [item["height"] for item in pages] == [8, 7, 7, 6, 5, 2, 1]

    serve(check)


def test_the_newest_transactions_come_first_however_long_the_network_was_idle() -> None:
    async def check(node: Serving) -> None:
        head = node.world.machine.head.height
        expected = [
            (height, index, tx_id)
            for height in range(head, 0, -1)
            for index, tx_id in reversed(
                list(enumerate(node.world.reader.block(height).transaction_ids))
            )
        ]
        for _ in range(20):
            node.world.block()
        for limit in (1, 2, 3, 200):
            found: list[Any] = []
            cursor = None
            while True:
                page = await node.result("tx.recent", limit=limit, cursor=cursor)
                assert len(page["items"]) <= limit
                found += page["items"]
                cursor = page["cursor"]
                if cursor is None:
                    break
            placed = [(item["height"], item["index"], item["id"]) for item in found]
            assert placed == [(height, index, hexed(tx_id)) for height, index, tx_id in expected]

        beyond = await node.result("tx.recent", cursor="0x" + "ff" * 12, limit=200)
        assert beyond["items"] == found

    serve(check)


def test_a_quote_refuses_what_has_expired_since_the_newest_block() -> None:
    async def check(node: Serving) -> None:
        world = node.world
        terms = Terms(
            royalty_policy=Policy.LAP, commercial_use=True, expiration=60, currency=NCOLO,
            derivatives_allowed=True, derivatives_reciprocal=True,
        )  # fmt: skip
        parent = world.next_id(Kind.IP, 0)
        world.send(0, Register(IpKind.TEXT, bytes(31) + b"p"))
        world.send(0, RegisterTerms(terms))
        world.block()
        child = world.next_id(Kind.IP, 1)
        world.send(1, Register(IpKind.TEXT, bytes(31) + b"c"))
        world.send(0, Attach(parent, terms_id_of(terms)))
        world.block()
        world.send(1, RegisterDerivative(child, [Parent(parent, terms_id_of(terms))]))
        world.block()
        mint = {
            "type": "license.mint", "licensor": format_id(child), "amount": 1,
            "terms": format_id(terms_id_of(terms)), "receiver": format_id(world.addresses[2]),
        }  # fmt: skip
        asked = {"sender": format_id(world.addresses[1]), "message": mint}

        fresh = await node.result("license.quote", **asked)
        world.advance(60_000 + 20_000)
        late = (await node.call("license.quote", **asked))["error"]

        assert fresh["fee"] == "0"
        assert late["data"]["code"] == "license/ParentIpExpired"

    serve(check)


# --- development ------------------------------------------------------------------------------


def test_the_faucet_and_the_clock_work_on_a_development_network() -> None:
    async def check(node: Serving) -> None:
        address = format_id(node.world.addresses[1])

        sent = await node.result("dev.faucet", address=address, amount="77")
        moved = await node.result("dev.advance", duration_ms=1_000)
        node.world.block()

        view = await node.result("tx.get", **sent)
        assert view["receipt"]["events"][0]["amount"] == "77"
        assert moved["time_ms"] == 1_700_000_001_000

    serve(check)


def test_elsewhere_there_is_neither() -> None:
    async def check(node: Serving) -> None:
        assert (await node.call("dev.faucet", address="colo1"))["error"]["code"] == -32601

    serve(check, make_world(dev=False))
