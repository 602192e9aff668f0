"""The recorder: what it keeps, what it anchors, and that no interruption loses or doubles anything.

Sessions run against a served world; interruptions are made by driving the workflow by hand and
stopping between two calls, which is where a process can die.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from chain.bundle import verify_bundle
from chain.bundle_json import read_bundle, write_bundle
from chain.errors import Rejected
from chain.record import Recording
from colophon.async_client import AsyncClient
from colophon.client import Client
from colophon.export import export_bundle_flow, trust_flow
from colophon.flows import Call
from colophon.interactions import fields_of, parse_interaction, recordable
from colophon.receipts import ReceiptStore, find_receipt, read_own_receipt
from colophon.recorder import RecorderOptions, Session, begin_flow, record_flow
from colophon.wallet import Wallet
from tests.colophon.served import ALICE, BOB, Node

PLAIN = {"prompt": "Why?", "output": "Because.", "model": "phi-2"}


class Interrupted(Exception):
    """The process dies here."""


def run_until(client: Client, flow: Any, method: str, *, after: bool) -> None:
    """Drive a workflow and die before or after its first call of a method."""
    call = next(flow)
    while True:
        if isinstance(call, Call) and call.method == method and not after:
            raise Interrupted
        result = client._call(call)
        if isinstance(call, Call) and call.method == method:
            raise Interrupted
        call = flow.send(result)


def open_session(client: Client, wallet: Wallet, log: str, directory: Path) -> Session:
    return client.run(begin_flow(log, wallet, directory, RecorderOptions()))


def new_log(client: Client, wallet: Wallet, **options: Any) -> str:
    return client.open_log(wallet, **options).ids[0]


# --- interactions -----------------------------------------------------------------------------


def test_short_names_become_those_of_opentelemetry():
    fields = fields_of({**PLAIN, "input_tokens": 3, "dataset": "x"})

    assert fields == {
        "prompt": "Why?",
        "output": "Because.",
        "gen_ai.request.model": "phi-2",
        "gen_ai.usage.input_tokens": 3,
        "dataset": "x",
    }


def test_fractions_and_large_integers_become_decimal_text():
    assert recordable([0.7, 2**60, -5, {"a": (True, None)}], "x") == [
        "0.7", str(2**60), -5, {"a": [True, None]}
    ]  # fmt: skip


def test_fractions_of_a_file_keep_their_digits():
    assert parse_interaction(b'{"top_p": 0.90}') == {"top_p": "0.90"}


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"prompt": "x", "output": "y"}, "interaction/Incomplete"),
        ({"prompt": "x", "model": "m"}, "interaction/Incomplete"),
        ({**PLAIN, "Bad": 1}, "interaction/BadName"),
        ({**PLAIN, "_fields": []}, "interaction/BadName"),
        ({**PLAIN, "gen_ai.request.model": "z"}, "interaction/NameTwice"),
        ({**PLAIN, "x": float("nan")}, "interaction/NotJson"),
        ({**PLAIN, "x": object()}, "interaction/NotJson"),
    ],
)
def test_an_interaction_that_is_none_is_refused(form, code):
    with pytest.raises(Rejected) as caught:
        fields_of(form)

    assert caught.value.code == code


@pytest.mark.parametrize("raw", [b"nonsense", b"[1]", b'{"a": NaN}', b'{"a": 1, "a": 2}'])
def test_a_line_that_is_no_object_is_refused(raw):
    with pytest.raises(Rejected) as caught:
        parse_interaction(raw)

    assert caught.value.code == "interaction/NotJson"


# --- recording --------------------------------------------------------------------------------


def test_leaving_the_block_anchors_what_was_recorded(node: Node, tmp_path: Path):
    with node.client() as client:
        wallet = client.wallet(ALICE)
        log = new_log(client, wallet)

        with client.recorder(log, wallet, tmp_path) as recorder:
            first = recorder.record(prompt="Why?", output="Because.", model="phi-2")
            second = recorder.record(PLAIN, temperature=0.7)

        view = client.call("anchor.get", log=log)
        assert (first.number, second.number) == (0, 1)
        assert (view["batches"], view["leaves"]) == (1, 2)
        assert find_receipt(tmp_path, 1).recording.leaf == second.leaf


def test_the_async_recorder_does_the_same(node: Node, tmp_path: Path):
    async def story() -> int:
        async with AsyncClient(node.url) as client:
            wallet = await client.wallet(ALICE)
            log = (await client.open_log(wallet)).ids[0]
            async with client.recorder(log, wallet, tmp_path) as recorder:
                await asyncio.gather(*(recorder.record(PLAIN) for _ in range(5)))
                await recorder.flush()
                await recorder.record(PLAIN)
            return int((await client.call("anchor.get", log=log))["leaves"])

    assert asyncio.run(story()) == 6


def test_a_full_batch_is_anchored_at_once(node: Node, tmp_path: Path):
    with node.client() as client:
        wallet = client.wallet(ALICE)
        log = new_log(client, wallet)
        options = RecorderOptions(records_max=2)

        with client.recorder(log, wallet, tmp_path, options) as recorder:
            recorder.record(PLAIN)
            recorder.record(PLAIN)
            during = client.call("anchor.get", log=log)["leaves"]
            recorder.record(PLAIN)

        assert during == 2
        assert client.call("anchor.get", log=log)["batches"] == 2


def test_a_batch_is_due_when_its_first_record_is_old(tmp_path: Path):
    wallet = Wallet(ALICE, bytes(32))
    log = "log1q5p4t6dr03dr3xap55axl20kexyz5nedgv74wzp9"
    store = ReceiptStore(tmp_path, log, wallet.genesis_hash)
    now = [1_000]
    session = Session(wallet, log, store, RecorderOptions(), 500, lambda: now[0])

    session.note(PLAIN)
    young = session.is_due()
    now[0] += 500
    old = session.is_due()
    store.close()

    assert (young, old) == (False, True)


def test_after_an_exception_the_records_wait_for_the_next_time(node: Node, tmp_path: Path):
    with node.client() as client:
        wallet = client.wallet(ALICE)
        log = new_log(client, wallet)

        with pytest.raises(Interrupted), client.recorder(log, wallet, tmp_path) as recorder:
            recorder.record(PLAIN)
            raise Interrupted
        with client.recorder(log, wallet, tmp_path):
            pass

        assert client.call("anchor.get", log=log)["leaves"] == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("method", ["anchor.get", "account.nonce", "tx.submit_and_wait"])
def test_a_death_anywhere_neither_loses_nor_doubles(node: Node, tmp_path: Path, method, after):
    with node.client() as client:
        wallet = client.wallet(ALICE)
        log = new_log(client, wallet)
        session = open_session(client, wallet, log, tmp_path)
        leaves = [session.note(PLAIN).leaf for _ in range(3)]
        with pytest.raises(Interrupted):
            run_until(client, session.flush_flow(), method, after=after)
        session.store.close()

        again = open_session(client, wallet, log, tmp_path)
        client.run(again.flush_flow())
        again.store.close()

        view = client.call("anchor.get", log=log)
        assert (view["batches"], view["leaves"]) == (1, 3)
        assert [find_receipt(tmp_path, n).recording.leaf for n in range(3)] == leaves


def test_another_writer_in_between_only_moves_the_batch(node: Node, tmp_path: Path):
    with node.client() as client:
        alice, bob = client.wallet(ALICE), client.wallet(BOB)
        writer = {"account": bob.address_text, "promise_key": "0x" + BOB.public_key.hex()}
        log = new_log(client, alice, writers=[writer])
        mine = open_session(client, alice, log, tmp_path / "mine")
        mine.note(PLAIN)
        flow = mine.flush_flow()
        with pytest.raises(Interrupted):
            run_until(client, flow, "tx.submit_and_wait", after=False)
        mine.store.close()
        with client.recorder(log, bob, tmp_path / "other") as other:
            other.record(PLAIN)

        with client.recorder(log, alice, tmp_path / "mine"):
            pass

        assert find_receipt(tmp_path / "mine", 0).place.batch_no == 1
        assert client.call("anchor.get", log=log)["leaves"] == 2


def test_a_batch_that_came_too_late_is_sent_to_the_next_place(node: Node, tmp_path: Path):
    with node.client() as client:
        alice, bob = client.wallet(ALICE), client.wallet(BOB)
        writer = {"account": bob.address_text, "promise_key": "0x" + BOB.public_key.hex()}
        log = new_log(client, alice, writers=[writer])
        mine = open_session(client, alice, log, tmp_path / "mine")
        mine.note(PLAIN)
        flow = mine.flush_flow()
        call = next(flow)
        while call.method != "tx.submit_and_wait":
            call = flow.send(client._call(call))
        with client.recorder(log, bob, tmp_path / "other") as other:
            other.record(PLAIN)

        with pytest.raises(StopIteration) as stop:
            while True:
                call = flow.send(client._call(call))
        mine.store.close()

        assert stop.value.value[0].batch_no == 1


def test_a_torn_last_line_is_dropped(node: Node, tmp_path: Path):
    with node.client() as client:
        wallet = client.wallet(ALICE)
        log = new_log(client, wallet)
        session = open_session(client, wallet, log, tmp_path)
        session.note(PLAIN)
        session.store.close()
        with open(tmp_path / "open.jsonl", "ab") as file:
            file.write(b'{"secret":"0x12')

        with client.recorder(log, wallet, tmp_path) as recorder:
            recorder.record(PLAIN)

        assert client.call("anchor.get", log=log)["leaves"] == 2


def test_a_directory_belongs_to_one_writer_and_one_log(node: Node, tmp_path: Path):
    with node.client() as client:
        wallet = client.wallet(ALICE)
        log, other = new_log(client, wallet), new_log(client, wallet)
        session = open_session(client, wallet, log, tmp_path)

        with pytest.raises(Rejected) as in_use:
            open_session(client, wallet, log, tmp_path)
        session.note(PLAIN)
        client.run(session.flush_flow())
        session.store.close()
        with pytest.raises(Rejected) as other_log:
            open_session(client, wallet, other, tmp_path)

    assert (in_use.value.code, other_log.value.code) == ("receipts/InUse", "receipts/OtherLog")


def test_secrets_are_readable_by_their_owner_only(tmp_path: Path):
    wallet = Wallet(ALICE, bytes(32))
    log = "log1q5p4t6dr03dr3xap55axl20kexyz5nedgv74wzp9"
    store = ReceiptStore(tmp_path / "new", log, wallet.genesis_hash)
    session = Session(wallet, log, store, RecorderOptions(), 1, lambda: 0)

    session.note(PLAIN)
    store.seal()
    store.close()

    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    assert (tmp_path / "new" / "batch-000000.jsonl").stat().st_mode & 0o077 == 0


def test_a_recorder_must_be_entered(node: Node, tmp_path: Path):
    with node.client() as client, pytest.raises(Rejected, match="`with` block"):
        client.recorder("log1…", client.wallet(ALICE), tmp_path).record(PLAIN)


# --- bundles ----------------------------------------------------------------------------------


def test_a_bundle_of_a_recorded_interaction_verifies(node: Node, tmp_path: Path):
    with node.client() as client:
        wallet = client.wallet(ALICE)
        log = new_log(client, wallet)
        with client.recorder(log, wallet, tmp_path) as recorder:
            for number in range(7):
                recorder.record(PLAIN, seed=number, facets={"language": "en"})
                recorder.flush()
        receipt = find_receipt(tmp_path, 4)

        bundle = client.run(export_bundle_flow(receipt, ["output", "gen_ai.request.seed"]))
        trust = client.run(trust_flow())

    proved = verify_bundle(read_bundle(write_bundle(bundle)), trust)
    assert proved.statement.values == {"output": "Because.", "gen_ai.request.seed": 4}
    assert proved.statement.withheld == ("gen_ai.request.model", "prompt")
    assert proved.statement.facets is not None
    assert proved.index == 4


def test_an_interaction_anchored_by_itself_gives_a_bundle_too(node: Node, tmp_path: Path):
    path = tmp_path / "one.receipt"
    with node.client() as client:
        wallet = client.wallet(ALICE)
        outcome = client.run(record_flow(wallet, PLAIN, path, facets={"language": "en"}))
        receipt = read_own_receipt(path)

        bundle = client.run(export_bundle_flow(receipt, ["prompt"], facets=True))

    assert receipt.record == outcome.created[0]
    assert verify_bundle(bundle, bundle.trust).statement.values == {"prompt": "Why?"}


def test_a_receipt_is_never_replaced(node: Node, tmp_path: Path):
    path = tmp_path / "one.receipt"
    path.write_text("mine")
    with node.client() as client, pytest.raises(Rejected) as caught:
        client.run(record_flow(client.wallet(ALICE), PLAIN, path, facets={}))

    assert caught.value.code == "receipts/Exists"
    assert path.read_text() == "mine"


def test_an_export_says_what_is_wrong(node: Node, tmp_path: Path):
    with node.client() as client:
        wallet = client.wallet(ALICE)
        log = new_log(client, wallet)
        with client.recorder(log, wallet, tmp_path) as recorder:
            recorder.record(PLAIN)
        receipt = find_receipt(tmp_path, 0)
        foreign = Recording(
            genesis_hash=bytes(32), context=receipt.recording.context, secret=bytes(32), fields={}
        )

        with pytest.raises(Rejected) as unknown:
            client.run(export_bundle_flow(receipt, ["nonsense"]))
        with pytest.raises(Rejected) as network:
            other = type(receipt)(recording=foreign, index=0, leaves=(), place=receipt.place)
            client.run(export_bundle_flow(other, []))
        with pytest.raises(Rejected) as missing:
            find_receipt(tmp_path, 1)

    assert unknown.value.code == "export/UnknownField"
    assert network.value.code == "export/OtherNetwork"
    assert missing.value.code == "receipts/NotFound"


def test_a_node_that_lies_is_found_out(node: Node, tmp_path: Path):
    with node.client() as client:
        wallet = client.wallet(ALICE)
        log = new_log(client, wallet)
        with client.recorder(log, wallet, tmp_path) as recorder:
            recorder.record(PLAIN)
            recorder.flush()
            recorder.record(PLAIN)
        flow = export_bundle_flow(find_receipt(tmp_path, 0), [])
        call = next(flow)

        with pytest.raises(Rejected) as caught:
            while True:
                answer = client._call(call)
                if call.method == "anchor.proof":
                    answer["path"] = ["0x" + "00" * 32 for _ in answer["path"]]
                call = flow.send(answer)

    assert caught.value.code == "merkle/BadProof"


def test_a_damaged_receipt_is_named(node: Node, tmp_path: Path):
    with node.client() as client:
        wallet = client.wallet(ALICE)
        log = new_log(client, wallet)
        with client.recorder(log, wallet, tmp_path) as recorder:
            recorder.record(PLAIN)
    path = tmp_path / "batch-000000.jsonl"
    head, line = path.read_text().splitlines()
    changed = {**json.loads(line), "fields": {"prompt": "other"}}
    path.write_text(head + "\n" + json.dumps(changed) + "\n")

    with pytest.raises(Rejected) as caught:
        find_receipt(tmp_path, 0)

    assert caught.value.code == "receipts/Damaged"
