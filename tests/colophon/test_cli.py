"""The command line as a whole: start-up, help, queries, keys, anchoring, exit codes, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import click
import pytest

from chain.bundle import DOES_NOT_PROVE, PROVES
from chain.codec import Record
from chain.fields import fields_of, json_names
from chain.ids import address_of, format_id
from chain.json_form import shape
from colophon.cli.main import GROUPS, HELP, app
from colophon.cli.readable import (
    AMOUNT_FIELDS,
    DURATION_FIELDS,
    NCOLO_FIELDS,
    SHARE_FIELDS,
    TIME_FIELDS,
    event_line,
    readable,
    show_duration,
    show_time,
)
from rpc.table import make_table
from state.families import REGISTRY
from tests.colophon.served import ALICE, BOB, PASSPHRASE, Node, colophon, make_keys
from tests.rpc.world import make_world

ALICE_ID, BOB_ID = (format_id(address_of(key.public_key)) for key in (ALICE, BOB))
HEAVY = ("aiohttp", "plyvel", "asyncio", "msgpack", "rich", "cryptography", "colophon.client")
LINE = {"prompt": "Why?", "output": "Because.", "model": "phi-2", "top_p": 0.5}


def started(*arguments: str) -> tuple[list[str], str]:
    """Return which heavy modules a command imports, and what it prints."""
    code = (
        "import sys\n"
        "from colophon.cli.main import main\n"
        f"try: main({list(arguments)!r})\n"
        "except SystemExit: pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *shown, last = done.stdout.splitlines()
    return eval(last), "\n".join(shown)


# --- start and help ---------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["nonsense"]])
def test_start_up_imports_nothing_heavy(arguments):
    heavy, _ = started(*arguments)

    assert heavy == []


def test_a_transaction_needs_no_asyncio_client_and_no_database():
    heavy, shown = started("tx", "send", "--help")

    assert "aiohttp" not in heavy and "plyvel" not in heavy
    assert "--amount" in shown


def test_every_group_has_a_line_of_help():
    assert list(HELP) == list(GROUPS)
    _, shown = started("--help")
    assert all(name in shown for name in GROUPS)


def test_every_command_explains_itself():
    def check(command: click.Command, context: click.Context, path: str) -> None:
        assert command.help, f"{path} has no help"
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None, f"{path} {name} is listed but not there"
                check(below, click.Context(below, parent=context, info_name=name), f"{path} {name}")

    context = click.Context(app, info_name="colophon")
    for name in ("tx", "query", "anchor", "verify", "key"):
        command = app.get_command(context, name)
        assert command is not None
        check(command, click.Context(command, parent=context, info_name=name), name)


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("query", "nonsense"), ("query", "block", "1", "2"), ("tx",)]
)
def test_wrong_usage_is_exit_code_2(home: Path, arguments):
    assert colophon(*arguments, home=home).exit_code == 2


def test_wrong_usage_is_json_for_programs(home: Path):
    done = colophon("query", "nonsense", "--json", home=home)

    assert json.loads(done.stdout)["error"]["code"] == "usage"


# --- readable values --------------------------------------------------------------------------


def test_numbers_say_their_units():
    form = {
        "amount": "1500000000", "denom": "ncolo", "fee": "89", "rev_share": 10_000_000,
        "closed_at": 0, "retention": 7_776_000_000, "time_ms": 1_700_000_000_000, "count": 5,
        "inner": [{"amount": "5", "denom": "royalty/ip1x"}],
    }  # fmt: skip

    assert readable(form) == {
        "amount": "1.5 COLO", "denom": "ncolo", "fee": "89 ncolo", "rev_share": "10%",
        "closed_at": "never", "retention": "90d", "time_ms": "2023-11-14 22:13:20.000+00:00",
        "count": 5, "inner": [{"amount": "5", "denom": "royalty/ip1x"}],
    }  # fmt: skip


def test_shares_and_prices_look_the_same_wherever_they_stand():
    flow = {"receiver": "ip1x", "denom": "ncolo", "share": 90_000_000}
    quote = {"fee": "5", "currency": "token/tok1x", "shares": [10_000_000, 2_500_000]}

    assert readable({"items": [flow]})["items"][0]["share"] == "90%"
    assert readable(quote) == {
        "fee": "5", "currency": "token/tok1x", "shares": ["10%", "2.5%"]
    }  # fmt: skip
    assert readable({"base_fee": 1_000_000, "base_fee_floor": "1250000", "delta_ms": 50}) == {
        "base_fee": "1 ncolo per unit", "base_fee_floor": "1.25 ncolo per unit",
        "delta_ms": "50ms",
    }  # fmt: skip


def test_every_share_amount_and_time_that_a_node_tells_has_its_unit():
    table = make_table(make_world())
    records = [entry.result for entry in table.values()]
    records += [*REGISTRY.events.values(), *REGISTRY.messages.values()]
    fields = {field for record in records for field in numbers_in(record, "", set())}

    shares = {name for what, name in fields if what == "share" or name.endswith("_share")}
    amounts = {name for what, name in fields if what == "amount"}
    times = {name for what, name in fields if what == "int" and "_ms" in name}
    assert shares >= {"share", "shares", "rev_share"} and shares <= SHARE_FIELDS
    assert amounts - {"units", "max_minting_fee"} <= NCOLO_FIELDS | AMOUNT_FIELDS
    assert times <= TIME_FIELDS | DURATION_FIELDS


def numbers_in(kind: Any, name: str, seen: set[Any]) -> Iterator[tuple[str, str]]:
    """Yield (what it is, name) of every number in a type, however far inside."""
    bare, extras, _ = shape(kind)
    if get_origin(bare) is list:
        yield from numbers_in(get_args(bare)[0], name, seen)
    elif isinstance(bare, type) and issubclass(bare, Record) and bare not in seen:
        seen.add(bare)
        for field, attribute in json_names(bare).items():
            yield from numbers_in(fields_of(bare)[attribute], field, seen)
    elif extras.get("share") or extras.get("amount") or bare is int:
        yield next((what for what in ("share", "amount") if extras.get(what)), "int"), name


def test_an_event_is_one_line_of_what_is_there():
    event = {"type": "x.y", "a": None, "b": True, "c": [1, 2], "d": {"e": "f", "g": None}, "h": []}

    assert event_line(event) == "x.y  b=yes  c=1,2  d={e: f}"


def test_durations_and_times_at_their_edges():
    assert [show_duration(ms) for ms in (0, 1, 1_000, 90_000, 3_600_000)] == [
        "0ms", "1ms", "1s", "90s", "1h",
    ]  # fmt: skip
    assert show_time(17) == "17"


# --- asking -----------------------------------------------------------------------------------


def ask(node: Node, home: Path, *arguments: str) -> object:
    done = colophon("query", *arguments, "--json", home=home, node=node.url)
    assert done.exit_code == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_the_chain_is_asked(node: Node, home: Path):
    assert ask(node, home, "status")["height"] == 2
    assert ask(node, home, "block")["height"] == 2
    first = ask(node, home, "block", "1")
    assert ask(node, home, "block", first["id"]) == first
    assert [item["height"] for item in ask(node, home, "blocks", "--from", "1")] == [1, 2]
    assert ask(node, home, "account", "alice")["address"] == ALICE_ID
    assert len(ask(node, home, "validators")["members"]) == 1
    assert ask(node, home, "params")["dev"] is True
    assert ask(node, home, "supply")["denom"] == "ncolo"
    assert ask(node, home, "pending") == {"items": [], "cursor": None}
    assert int(ask(node, home, "fee")["base_fee"]) > 0
    assert ask(node, home, "call", "chain.block", "height=1") == first


def test_objects_are_asked_by_their_ids(node: Node, home: Path):
    with node.client() as client:
        wallet = client.wallet(ALICE)
        terms = client.call("license.list")["items"][0]["terms"]
        terms_id = client.call("license.list")["items"][0].get("id") or terms
        made = client.register(wallet, kind="dataset", content_hash="0x" + "11" * 32)
        log = client.open_log(wallet).ids[0]
    ip = made.ids[0]

    assert ask(node, home, "ip", ip)["owner"] == ALICE_ID
    assert ask(node, home, "ip", "get", "--ip", ip)["owner"] == ALICE_ID
    assert ask(node, home, "ip", "lineage", ip, "--depth", "2")["ancestors"] == []
    assert ask(node, home, "ip", "list", "--owner", "alice")["items"][0]["ip"] == ip
    assert ask(node, home, "ip", "by_content", "0x" + "11" * 32)["items"][0]["ip"] == ip
    assert ask(node, home, "log", log)["owner"] == ALICE_ID
    assert ask(node, home, "anchor", "get", "--log", log)["owner"] == ALICE_ID
    assert ask(node, home, "royalty", ip)["policy"] == "none"
    assert ask(node, home, "license", ip)["items"] == []
    assert ask(node, home, "license", terms_id)["number"] >= 1
    assert ask(node, home, "tx", made.id)["state"] == "proven"
    assert made.id in [item["id"] for item in ask(node, home, "recent", "--limit", "9")["items"]]


def test_a_quote_is_asked_with_the_message_itself(node: Node, home: Path):
    with node.client() as client:
        terms = client.call("license.list")["items"][0]["id"]
        made = client.register(
            client.wallet(ALICE), kind="text", content_hash="0x" + "13" * 32, terms=terms
        )
    mint = {"type": "license.mint", "licensor": made.ids[0], "terms": terms, "amount": 2,
            "receiver": BOB_ID}  # fmt: skip

    quote = ask(node, home, "license", "quote", "bob", "--message", json.dumps(mint))

    assert (quote["fee"], quote["units"], len(quote["shares"])) == ("0", 0, 1)


def test_a_transaction_is_told_in_lines(node: Node, home: Path):
    with node.client() as client:
        made = client.register(client.wallet(ALICE), kind="text", content_hash="0x" + "12" * 32)

    done = colophon("query", "tx", made.id, home=home, node=node.url)

    assert "state" in done.stdout and "proven" in done.stdout
    assert "→ ip.registered  ip=ip1" in done.stdout


def test_a_table_lists_blocks(node: Node, home: Path):
    done = colophon("query", "blocks", home=home, node=node.url)

    assert done.stdout.splitlines()[0].split() == ["height", "time", "transactions", "units", "id"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("ip", "ip1qtu7y9c8udvw2eqvnu3gh4jz8rwz9kmxyct20pf9"), "ip/NotRegistered"),
        (("call", "no.method"), "failed"),
        (("block", "99"), "chain/NoSuchHeight"),
        (("account", "nobody"), "key/NotFound"),
    ],
)
def test_what_is_not_there_is_exit_code_1(node: Node, home: Path, arguments, code):
    done = colophon("query", *arguments, "--json", home=home, node=node.url)

    assert done.exit_code == 1
    found = json.loads(done.stdout)["error"]["code"]
    assert found == code or code == "failed"


@pytest.mark.parametrize(
    "arguments", [("ip", "get"), ("ip", "get", "a", "b"), ("call", "x", "novalue")]
)
def test_a_query_without_what_it_needs_is_wrong_usage(node: Node, home: Path, arguments):
    assert colophon("query", *arguments, home=home, node=node.url).exit_code == 2


# --- keys -------------------------------------------------------------------------------------


def test_keys_are_made_listed_shown_exported_and_imported(home: Path):
    made = json.loads(colophon("key", "new", "carol", "--json", home=home).stdout)

    listed = json.loads(colophon("key", "list", "--json", home=home).stdout)
    shown = json.loads(colophon("key", "show", "carol", "--json", home=home).stdout)
    exported = json.loads(colophon("key", "export", "carol", "--yes", "--json", home=home).stdout)
    imported = json.loads(
        colophon("key", "import", "again", "--words", exported["words"], "--json", home=home).stdout
    )

    assert [entry["name"] for entry in listed] == ["alice", "bob", "carol"]
    assert shown["address"] == made["address"] == imported["address"]
    assert exported["words"] == made["words"]


# --- anchoring --------------------------------------------------------------------------------


@pytest.fixture
def log(node: Node, home: Path) -> str:
    done = colophon("anchor", "open", "--from", "alice", "--json", home=home, node=node.url)
    assert done.exit_code == 0, done.stderr
    created: str = json.loads(done.stdout)["created"][0]
    return created


def write_lines(path: Path, count: int, first: int = 0) -> None:
    with open(path, "a", encoding="utf-8") as file:
        for number in range(first, first + count):
            file.write(json.dumps({**LINE, "seed": number}) + "\n")


def anchor_file(node: Node, home: Path, path: Path, log: str, *more: str) -> dict[str, object]:
    done = colophon(
        "anchor", "file", str(path), "--log", log, "--from", "alice", "--json", *more,
        home=home, node=node.url,
    )  # fmt: skip
    assert done.exit_code == 0, done.stdout + done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_a_file_is_anchored_in_batches_and_added_lines_later(
    node: Node, home: Path, tmp_path: Path, log: str
):
    path = tmp_path / "lines.jsonl"
    write_lines(path, 5)

    first = anchor_file(node, home, path, log, "--batch", "2", "--language", "en")
    nothing = anchor_file(node, home, path, log)
    write_lines(path, 3, first=5)
    second = anchor_file(node, home, path, log)

    assert [batch["count"] for batch in first["anchored"]] == [2, 2, 1]
    assert nothing["anchored"] == []
    assert [batch["count"] for batch in second["anchored"]] == [3]
    with node.client() as client:
        assert client.call("anchor.get", log=log)["leaves"] == 8


def test_a_broken_line_stops_before_it_and_can_be_mended(
    node: Node, home: Path, tmp_path: Path, log: str
):
    path = tmp_path / "lines.jsonl"
    write_lines(path, 2)
    good = path.read_text()
    path.write_text(good + '{"prompt": 1}\n')

    broken = colophon(
        "anchor", "file", str(path), "--log", log, "--from", "alice", home=home, node=node.url
    )
    path.write_text(good)
    write_lines(path, 1, first=2)
    mended = anchor_file(node, home, path, log)

    assert broken.exit_code == 1
    assert "interaction 3 of" in broken.stderr
    assert [batch["count"] for batch in mended["anchored"]] == [3]


def test_receipts_of_another_file_are_noticed(node: Node, home: Path, tmp_path: Path, log: str):
    path = tmp_path / "lines.jsonl"
    write_lines(path, 2)
    anchor_file(node, home, path, log)
    path.write_text("")
    write_lines(path, 2, first=7)

    done = colophon(
        "anchor", "file", str(path), "--log", log, "--from", "alice", home=home, node=node.url
    )

    assert done.exit_code == 1
    assert "choose another --out" in done.stderr


def test_a_bundle_is_exported_with_both_sentences(node: Node, home: Path, tmp_path: Path, log: str):
    path, bundle = tmp_path / "lines.jsonl", tmp_path / "bundle.json"
    write_lines(path, 3)
    anchor_file(node, home, path, log)

    done = colophon(
        "anchor", "export", str(tmp_path / "lines.receipts"), "--index", "1",
        "--reveal", "output,model,seed", "--out", str(bundle), home=home, node=node.url,
    )  # fmt: skip

    assert done.exit_code == 0, done.stderr
    assert PROVES in done.stdout and DOES_NOT_PROVE in done.stdout
    revealed = json.loads(bundle.read_text())["record"]["revealed"]
    assert [item["name"] for item in revealed] == [
        "_fields", "gen_ai.request.model", "gen_ai.request.seed", "output",
    ]  # fmt: skip


def test_one_interaction_is_anchored_by_itself(node: Node, home: Path, tmp_path: Path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps(LINE))

    done = colophon(
        "tx", "anchor", "record", "--fields", str(path), "--from", "alice", "--agent", "alice",
        home=home, node=node.url,
    )  # fmt: skip
    exported = colophon(
        "anchor", "export", f"{path}.receipt", "--reveal", "all", "--out", "-",
        home=home, node=node.url,
    )  # fmt: skip

    assert done.exit_code == 0, done.stderr
    assert f"agent: {ALICE_ID}" in done.stdout
    assert len(json.loads(exported.stdout)["record"]["revealed"]) == 5


@pytest.mark.parametrize(
    "arguments",
    [
        ("anchor", "file", "absent.jsonl", "--log", "log1x", "--from", "alice"),
        ("anchor", "export", "absent", "--out", "x"),
        ("tx", "anchor", "record", "--fields", "absent.json", "--from", "alice"),
    ],
)
def test_a_missing_file_is_exit_code_1(home: Path, arguments):
    done = colophon(*arguments, home=home)

    assert done.exit_code == 1
    assert "absent" in done.stderr


# --- verify -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """A stand-in for the verifier's result."""

    context: bytes
    values: dict[str, object]
    genesis_hash: bytes


class InvalidBundle(Exception):
    """A stand-in for the verifier's refusal."""


@pytest.fixture
def verifier(monkeypatch) -> list[tuple[Path, bytes | None]]:
    """Replace the verifier: this file tests the command, not the proof."""
    calls: list[tuple[Path, bytes | None]] = []

    def verify_file(path: Path, genesis_hash: bytes | None, trust: object = None) -> Verdict:
        calls.append((path, genesis_hash))
        if path.name == "bad.json":
            raise InvalidBundle("the certificate has no quorum")
        return Verdict(address_of(ALICE.public_key), {"output": "x"}, bytes(32))

    module = types.ModuleType("colophon.verify")
    module.__dict__.update(verify_file=verify_file, InvalidBundle=InvalidBundle, Verdict=Verdict)
    monkeypatch.setitem(sys.modules, "colophon.verify", module)
    return calls


@pytest.mark.parametrize("command", [("verify",), ("anchor", "verify")])
def test_verify_prints_both_sentences_and_what_it_rests_on(home: Path, verifier, command):
    done = colophon(*command, "good.json", home=home)

    assert done.exit_code == 0, done.stderr
    assert PROVES in done.stdout and DOES_NOT_PROVE in done.stdout
    assert "genesis_hash" in done.stdout and ALICE_ID in done.stdout
    assert verifier == [(Path("good.json"), None)]


def test_verify_trusts_the_hash_it_is_given(home: Path, verifier):
    colophon("verify", "good.json", "--trust", "0x" + "ab" * 32, home=home)

    assert verifier == [(Path("good.json"), b"\xab" * 32)]


def test_a_bundle_that_proves_nothing_is_exit_code_1(home: Path, verifier):
    done = colophon("verify", "bad.json", home=home)

    assert done.exit_code == 1
    assert "bad.json proves nothing: the certificate has no quorum" in done.stderr


def test_a_hash_that_is_none_is_refused(home: Path, verifier):
    assert colophon("verify", "good.json", "--trust", "0x12", home=home).exit_code == 1
    both = ("--trust", "0x12", "--genesis", "x")
    assert colophon("verify", "good.json", *both, home=home).exit_code == 2


def test_the_passphrase_is_asked_for_where_no_environment_has_it(home: Path):
    assert PASSPHRASE not in colophon("key", "list", home=home).stdout
    make_keys(home, carol=BOB)
    assert colophon("key", "show", "carol", home=home).exit_code == 0


def test_everything_an_ip_has_earned_is_claimed_by_one_command(node: Node, home: Path):
    with node.client() as client:
        alice = client.wallet(ALICE)
        work = client.register(alice, kind="text", content_hash="0x" + "14" * 32).ids[0]
        client.pay(alice, work, 1_000)

    def claim() -> Any:
        return colophon(
            "--json", "tx", "claim-all", work, "--from", "alice", home=home, node=node.url
        )

    first, second = json.loads(claim().stdout), json.loads(claim().stdout)

    assert (first["claimed"], len(first["sent"])) == ("1000", 1)
    assert second == {"claimed": "0", "sent": []}
