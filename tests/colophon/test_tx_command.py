"""``colophon tx``: every message has a subcommand; what people write becomes the right message.

Commands run in this process through ``main``, against a served world; values are also tried
without a node.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import click
import pytest

from chain.application import Job
from chain.errors import Rejected
from chain.fields import fields_of, json_names
from chain.ids import address_of, format_id
from colophon.amounts import (
    parse_amount,
    parse_duration,
    parse_share,
    show_amount,
    show_share,
)
from colophon.cli.sending import CREATES
from colophon.cli.tx import command as tx
from colophon.cli.values import Shape, parse_time
from colophon.home import write_key
from rpc.backend import Simulated
from state.families import REGISTRY
from state.modules.bank import Output
from state.modules.license.messages import Parent
from tests.colophon.served import ALICE, BOB, Node, colophon, make_keys, refuse

ALICE_ID, BOB_ID = (format_id(address_of(key.public_key)) for key in (ALICE, BOB))
IP = format_id(b"\x02" + bytes(20))
TERMS = format_id(b"\x03" + bytes(20))


def same(text: str) -> str:
    return text


def command_of(tag: str) -> click.Command:
    context = click.Context(tx)
    family, verb = tag.split(".")
    group = tx.get_command(context, family)
    assert isinstance(group, click.Group)
    found = group.get_command(click.Context(group), verb)
    assert found is not None
    return found


# --- what people write ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("1500", 1500),
        ("1500ncolo", 1500),
        ("1.5colo", 1_500_000_000),
        ("1.5 COLO", 1_500_000_000),
        ("0.000000001colo", 1),
        ("1_000colo", 10**12),
        (str(2**128 - 1), 2**128 - 1),
    ],
)
def test_an_amount_is_read_exactly(text, amount):
    assert parse_amount(text) == amount


@pytest.mark.parametrize(
    "text", ["", "1,5", "1.5", "-1", "1e9", "0.0000000001colo", "colo", "1btc", str(2**128), "١"]
)
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(Rejected) as caught:
        parse_amount(text)

    assert caught.value.code == "amount/Malformed"


def test_amounts_and_shares_are_shown_exactly():
    assert [show_amount(n) for n in (0, 89, 1_500_000_000, 10**18 + 1)] == [
        "0 COLO", "89 ncolo", "1.5 COLO", "1000000000.000000001 COLO",
    ]  # fmt: skip
    assert [show_share(n) for n in (10_000_000, 1, 100_000_000)] == ["10%", "0.000001%", "100%"]


def test_shares_durations_and_times_are_read():
    assert (parse_share("10%"), parse_share("0.5%"), parse_share("7")) == (10**7, 500_000, 7)
    assert (parse_duration("90d"), parse_duration("500ms")) == (7_776_000_000, 500)
    assert parse_time("2026-01-31T12:00Z") == 1_769_860_800_000
    assert parse_time("2026-01-31") == 1_769_817_600_000


@pytest.mark.parametrize(
    ("read", "text"),
    [(parse_share, "ten"), (parse_duration, "3 weeks"), (parse_time, "tomorrow")],
)
def test_other_words_are_refused(read, text):
    with pytest.raises(Rejected):
        read(text)


def test_short_forms_of_records_are_understood():
    parent, output = Shape("parents", list[Parent]), Shape("outputs", list[Output])

    assert parent.form((f"{IP}/{TERMS}",), same) == [{"ip": IP, "terms": TERMS}]
    assert output.form((f"{BOB_ID}/1.5colo", "alice/2"), same) == [
        {"to": BOB_ID, "amount": "1500000000", "denom": "ncolo"},
        {"to": "alice", "amount": "2", "denom": "ncolo"},
    ]


def test_a_file_stands_for_its_content_or_its_hash(tmp_path: Path):
    path = tmp_path / "data"
    path.write_bytes(b"\x00\xff")
    register = fields_of(REGISTRY.messages["ip.register"])

    title = Shape("title", register["title"]).form(f"@{path}", same)
    content = Shape("content_hash", register["content_hash"]).form(f"@{path}", same)

    assert title == {"hex": "0x00ff"}
    assert content == "0x" + hashlib.sha256(b"\x00\xff").hexdigest()


def test_a_wrong_value_names_its_option():
    with pytest.raises(Rejected, match="--max-units"):
        Shape("max_units", Annotated[int, "units"]).form("many", same)


# --- every message ----------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [tag for tag in REGISTRY.messages if tag != "anchor.record"])
def test_a_message_has_a_command_with_an_option_for_every_field(tag):
    found = command_of(tag)

    given = {param.name for param in found.params}
    assert {f"field_{name}" for name in json_names(REGISTRY.messages[tag])} <= given
    assert found.help
    assert len({flag for param in found.params for flag in param.opts}) == len(found.params)


def test_what_creates_ids_names_events_and_fields_that_exist():
    for event, field in CREATES.items():
        assert field in REGISTRY.events[event].__struct_fields__


# --- sending ----------------------------------------------------------------------------------


def test_send_moves_money_and_tells_it(node: Node, home: Path):
    done = colophon(
        "tx", "send", "--from", "alice", "--to", "bob", "--amount", "1.5colo",
        home=home, node=node.url,
    )  # fmt: skip

    assert done.exit_code == 0, done.stderr
    assert f"bank.sent  sender={ALICE_ID}  to={BOB_ID}" in done.stdout
    assert "amount=1.5 COLO" in done.stdout
    assert "final  0x" in done.stdout


def test_json_has_id_fee_events_and_what_was_made(node: Node, home: Path):
    done = colophon(
        "tx", "ip", "register", "--from", "alice", "--kind", "dataset", "--content-hash",
        "0x" + "11" * 32, "--title", "Théâtre", "--json", home=home, node=node.url,
    )  # fmt: skip

    result = json.loads(done.stdout)
    assert result["events"][0]["type"] == "ip.registered"
    assert result["created"] == [result["events"][0]["ip"]]
    with node.client() as client:
        assert client.call("ip.get", ip=result["created"][0])["title"]["text"] == "Théâtre"


def test_known_terms_are_named_although_nothing_happens(node: Node, home: Path):
    form = '{"derivatives_allowed": true}'
    arguments = ("tx", "license", "register-terms", "--terms", form, "--from", "alice", "--json")

    first = json.loads(colophon(*arguments, home=home, node=node.url).stdout)
    again = json.loads(colophon(*arguments, home=home, node=node.url).stdout)

    assert again["events"] == []
    assert again["created"] == first["created"]


def test_a_dry_run_sends_nothing_and_needs_no_passphrase(node: Node, home: Path):
    done = colophon(
        "tx", "send", "--from", "alice", "--to", "bob", "--amount", "5", "--dry-run",
        home=home, node=node.url, passphrase="wrong",
    )  # fmt: skip

    assert done.exit_code == 0, done.stderr
    assert "would succeed" in done.stdout and "nothing was sent" in done.stdout
    assert node.world.machine.next_seq(address_of(ALICE.public_key), 0) == 0


def test_a_dry_run_of_what_would_fail_is_exit_code_1(node: Node, home: Path, monkeypatch):
    def simulate(body: bytes) -> Job[Simulated]:
        yield
        return Simulated(9, b"\x09", "bank/SelfSend", "cannot send to itself", 0, [])

    monkeypatch.setattr(node.world, "simulate", simulate)

    done = colophon(
        "tx", "send", "--from", "alice", "--to", "alice", "--amount", "5", "--dry-run",
        home=home, node=node.url,
    )  # fmt: skip

    assert done.exit_code == 1
    assert "would fail  message 0: cannot send to itself [bank/SelfSend]" in done.stdout
    assert "fee 9 ncolo" in done.stdout


def test_no_wait_returns_the_id(node: Node, home: Path):
    done = colophon(
        "tx", "send", "--from", "alice", "--to", "bob", "--amount", "5", "--no-wait", "--json",
        home=home, node=node.url,
    )  # fmt: skip

    assert set(json.loads(done.stdout)) == {"id"}


def test_a_failed_transaction_is_exit_code_1_with_its_code(node: Node, home: Path):
    done = colophon(
        "tx", "send", "--from", "alice", "--to", "bob", "--amount", str(10**30),
        home=home, node=node.url,
    )  # fmt: skip

    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.strip().endswith("are needed [bank/InsufficientFunds]")


def test_a_refused_transaction_is_exit_code_1_as_json_too(node: Node, home: Path):
    node.world.before = refuse("tx/NotToday")

    done = colophon(
        "--json", "tx", "send", "--from", "alice", "--to", "bob", "--amount", "5",
        home=home, node=node.url,
    )  # fmt: skip

    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"error": {"code": "tx/NotToday", "message": "not today"}}


@pytest.mark.parametrize(
    "arguments",
    [
        ("tx", "send", "--to", "bob"),
        ("tx", "ip", "register", "--kind", "song", "--content-hash", "0x00"),
        ("tx", "account", "require-acceptance"),
        ("tx", "snd"),
        ("tx", "send", "--to", "bob", "--amount", "5", "--lane", "64"),
        ("tx", "send", "--to", "bob", "--amount", "5", "--tip", "much"),
    ],
)
def test_wrong_usage_is_exit_code_2(home: Path, arguments):
    done = colophon(*arguments, home=home)

    assert done.exit_code == 2
    assert "Usage: colophon tx" in done.stderr


def test_the_only_key_signs_by_default(node: Node, tmp_path: Path, home: Path):
    lonely = tmp_path / "lonely"
    make_keys(lonely, me=ALICE)

    done = colophon("tx", "send", "--to", BOB_ID, "--amount", "5", home=lonely, node=node.url)

    assert done.exit_code == 0, done.stderr


def test_which_of_two_keys_must_be_said(node: Node, home: Path):
    done = colophon("tx", "send", "--to", BOB_ID, "--amount", "5", home=home, node=node.url)

    assert done.exit_code == 1
    assert "--from is one of alice, bob" in done.stderr


def test_a_key_file_signs_too(node: Node, home: Path, tmp_path: Path):
    write_key(tmp_path / "faucet.key", ALICE)

    done = colophon(
        "tx", "send", "--to", BOB_ID, "--amount", "5", "--key-file", str(tmp_path / "faucet.key"),
        home=home, node=node.url,
    )  # fmt: skip

    assert done.exit_code == 0, done.stderr


def test_no_node_is_said_with_the_next_command(home: Path):
    done = colophon("tx", "send", "--from", "alice", "--to", "bob", "--amount", "5", home=home)

    assert done.exit_code == 1
    assert "`colophon testnet dev` starts one" in done.stderr


def test_execute_acts_as_an_ip(node: Node, home: Path):
    made = colophon(
        "tx", "ip", "register", "--from", "alice", "--kind", "agent", "--content-hash",
        "0x" + "11" * 32, "--json", home=home, node=node.url,
    )  # fmt: skip
    agent = json.loads(made.stdout)["created"][0]
    colophon("tx", "send", "--from", "alice", "--to", agent, "--amount", "1colo",
             home=home, node=node.url)  # fmt: skip
    inner = json.dumps({"type": "bank.send", "to": BOB_ID, "denom": "ncolo", "amount": "7"})

    done = colophon(
        "tx", "ip", "execute", "--from", "alice", "--ip", agent, "--nested", inner,
        home=home, node=node.url,
    )  # fmt: skip

    assert done.exit_code == 0, done.stderr
    assert f"bank.sent  sender={agent}" in done.stdout


# --- tx submit --------------------------------------------------------------------------------


def submit(form: Any, home: Path, node: Node, *more: str) -> Any:
    return colophon(
        "tx", "submit", "-", "--from", "alice", *more,
        home=home, node=node.url, stdin=json.dumps(form),
    )  # fmt: skip


def test_submit_sends_any_transaction(node: Node, home: Path):
    form = {
        "messages": [
            {"type": "bank.send", "to": BOB_ID, "denom": "ncolo", "amount": "7"},
            {"type": "account.require_acceptance", "required": True},
        ],
        "lane": 3,
        "max_fee": "1colo",
        "valid_until": 0,
    }

    done = submit(form, home, node, "--json")

    assert done.exit_code == 0, done.stderr
    assert len(json.loads(done.stdout)["events"]) == 2
    assert node.world.machine.next_seq(address_of(ALICE.public_key), 3) == 1


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ([], "tx/NoMessages"),
        ({"messages": [], "lain": 1}, "tx/UnknownKey"),
        ({"messages": [{"type": "bank.sent"}]}, "tx/UnknownMessage"),
        ({"messages": [{"type": "bank.send", "too": 1}]}, "json/UnknownField"),
        ({"messages": [{"type": "bank.send", "to": "x"}]}, "id/Malformed"),
    ],
)
def test_a_file_that_is_no_transaction_is_refused(node: Node, home: Path, form, code):
    done = submit(form, home, node, "--json")

    assert done.exit_code == 1
    assert json.loads(done.stdout)["error"]["code"] == code
