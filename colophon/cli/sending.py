"""What all commands that send have in common: whose key, which fee, and how it is told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from chain import fees
from chain.codec import encode, encode_amount
from chain.crypto import SigningKey
from chain.errors import Rejected
from chain.ids import address_of, format_id
from chain.transaction import Body
from colophon.amounts import parse_amount, show_amount
from colophon.client import Client
from colophon.flows import (
    FEE_HORIZON,
    Call,
    Flow,
    Outcome,
    network_flow,
    sign_flow,
    submit_flow,
)
from colophon.home import read_key
from colophon.keystore import NAME, Keystore
from colophon.wallet import FEE_HEADROOM, Draft
from state.families import REGISTRY
from state.modules.license.messages import RegisterTerms
from state.modules.license.rows import terms_id_of

from .key import ask_passphrase, keystore
from .output import Session
from .readable import event_line
from .values import parse_time

CREATES = {
    "ip.registered": "ip",
    "license.terms_registered": "terms",
    "license.minted": "lot",
    "anchor.log_opened": "log",
    "anchor.recorded": "record",
}
"""Event → the field that holds the id of what was made."""


@dataclass(frozen=True, slots=True)
class Sending:
    """How a transaction is to be sent."""

    key_name: str | None
    key_file: str | None
    lane: int
    tip: int
    valid_until: int
    max_fee: int | None
    dry_run: bool
    wait: bool


def _amount(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return parse_amount(value)
    except Rejected as refusal:
        raise click.BadParameter(refusal.message) from None


def _time(ctx: click.Context, param: click.Parameter, value: str | None) -> int:
    try:
        return 0 if value is None else parse_time(value)
    except Rejected as refusal:
        raise click.BadParameter(refusal.message) from None


def key_options() -> list[click.Option]:
    """Return the options that say who signs."""
    return [
        click.Option(["--from", "sending_key_name"], metavar="KEY",
                     help="Name of the key that signs; default: the only one in the home."),
        click.Option(["--key-file", "sending_key_file"], metavar="FILE",
                     help="Sign with an unencrypted key file (development networks)."),
    ]  # fmt: skip


def sending_options() -> list[click.Option]:
    """Return the options every sending command has."""
    return [
        *key_options(),
        click.Option(["--lane", "sending_lane"], type=click.IntRange(0, 63), default=0,
                     help="Sequence of transactions; lanes are independent of each other."),
        click.Option(["--tip", "sending_tip"], default="0", callback=_amount, metavar="AMOUNT",
                     help="Paid on top, to be taken earlier."),
        click.Option(["--valid-until", "sending_valid_until"], callback=_time, metavar="TIME",
                     help="Refused after it: 2026-01-31T12:00Z, +10m or Unix ms."),
        click.Option(["--max-fee", "sending_max_fee"], callback=_amount, metavar="AMOUNT",
                     help="Most that may be charged; default: twice today's fee."),
        click.Option(["--dry-run", "sending_dry_run"], is_flag=True,
                     help="Show fee and outcome; nothing is sent."),
        click.Option(["--no-wait", "sending_no_wait"], is_flag=True,
                     help="Return as soon as the node has taken it."),
    ]  # fmt: skip


def take_sending(values: dict[str, Any]) -> Sending:
    """Take the sending options out of a command's values."""
    taken = {name: values.pop(name) for name in list(values) if name.startswith("sending_")}
    return Sending(
        key_name=taken["sending_key_name"],
        key_file=taken["sending_key_file"],
        lane=taken.get("sending_lane", 0),
        tip=taken.get("sending_tip", 0),
        valid_until=taken.get("sending_valid_until", 0),
        max_fee=taken.get("sending_max_fee"),
        dry_run=taken.get("sending_dry_run", False),
        wait=not taken.get("sending_no_wait", False),
    )


def unlock(session: Session, sending: Sending) -> SigningKey:
    """Return the key that signs; asks for its passphrase."""
    if sending.key_file is not None:
        return read_key(Path(sending.key_file).expanduser())
    store: Keystore = keystore(session)
    return store.unlock(key_name(session, sending), ask_passphrase())


def key_name(session: Session, sending: Sending) -> str:
    """Return the name of the key that signs; ``key/WhichKey`` if that is not clear."""
    if sending.key_name is not None:
        return sending.key_name
    names = [info.name for info in keystore(session).list()]
    if len(names) == 1:
        return str(names[0])
    hint = f"--from is one of {', '.join(names)}" if names else "`colophon key new NAME` makes one"
    raise Rejected("key/WhichKey", f"which key signs? {hint}")


def public_key(session: Session, sending: Sending) -> bytes:
    """Return the public key of who would sign, without a passphrase."""
    if sending.key_file is not None:
        return unlock(session, sending).public_key
    info = keystore(session).show(key_name(session, sending))
    return bytes.fromhex(info.public_key.removeprefix("0x"))


def resolver(session: Session) -> Callable[[str], str]:
    """Return the function that replaces own keys' names by their addresses."""

    def resolve(text: str) -> str:
        if NAME.fullmatch(text) is None:
            return text
        return str(keystore(session).show(text).address)

    return resolve


@contextmanager
def connect(session: Session) -> Iterator[Client]:
    """Return a client of the node the global options mean."""
    client = Client(session.node_url())
    try:
        yield client
    finally:
        client.close()


def run_forms(session: Session, forms: list[dict[str, Any]], sending: Sending) -> None:
    """Send messages given in their JSON form, or only try them, and tell what happened."""
    draft = Draft()
    for form in forms:
        draft.add_form(form)
    with connect(session) as client:
        if sending.dry_run:
            dry_run(session, client, draft, public_key(session, sending), sending)
        else:
            send(session, client, draft, sending)


def send(session: Session, client: Client, draft: Draft, sending: Sending) -> None:
    """Sign and send a draft, and tell what it did."""
    key = unlock(session, sending)
    wallet = client.wallet(key)
    signed = client.run(
        sign_flow(
            wallet, draft, lane=sending.lane, tip=sending.tip, valid_until=sending.valid_until,
            max_fee=sending.max_fee,
        )
    )  # fmt: skip
    if not sending.wait:
        answer = client.call("tx.submit", tx="0x" + signed.envelope.hex())
        session.show(answer, f"sent   {answer['id']}\n       follow it: colophon query tx ID")
        return
    report(session, client.run(submit_flow(signed)), draft)


def report(session: Session, outcome: Outcome, draft: Draft) -> None:
    """Tell what a final transaction did."""
    created = created_ids(outcome.events, draft)
    receipt = outcome.receipt
    value = {
        "id": outcome.id, "height": outcome.height, "fee": receipt["fee"],
        "units": receipt["units"], "created": created, "events": outcome.events,
    }  # fmt: skip
    lines = [event_line(event) for event in outcome.events]
    lines += [f"made   {name}" for name in created]
    lines.append(f"final  {outcome.id}  height {outcome.height}  fee {_colo(receipt['fee'])}")
    session.show(value, "\n".join(lines))


def created_ids(events: list[dict[str, Any]], draft: Draft) -> list[str]:
    """Return the ids of what was made, and of terms that were there already."""
    found = [event[CREATES[event["type"]]] for event in events if event["type"] in CREATES]
    known = [
        format_id(terms_id_of(message.terms))
        for message in draft.messages
        if isinstance(message, RegisterTerms)
    ]
    return list(dict.fromkeys([*found, *known]))


def dry_run(
    session: Session, client: Client, draft: Draft, signer: bytes, sending: Sending
) -> None:
    """Show what a draft would cost and do now."""
    result = client.run(_simulate_flow(draft, signer, sending))
    lines = [event_line(event) for event in result["events"]]
    if result["code"]:
        where = f"message {result['message_index']}: "
        lines.append(f"would fail  {where}{result['message']} [{result['code']}]")
    else:
        lines.append("would succeed")
    lines.append(f"fee {_colo(result['fee'])}  ({result['units']} units); nothing was sent")
    session.show(result, "\n".join(lines))
    if result["code"]:
        sys.exit(1)


def _simulate_flow(draft: Draft, signer: bytes, sending: Sending) -> Flow[dict[str, Any]]:
    sender = address_of(signer)
    genesis_hash, params = yield from network_flow()
    nonce = yield Call("account.nonce", {"address": format_id(sender), "lane": sending.lane})
    fee = yield Call("tx.fee", {"horizon": FEE_HORIZON})

    def body(max_fee: int) -> bytes:
        return encode(
            Body(
                1, genesis_hash, sender, [signer], sending.lane, int(nonce["next"]),
                sending.valid_until, encode_amount(max_fee), encode_amount(sending.tip), None,
                draft.messages,
            )
        )  # fmt: skip

    units = REGISTRY.read(body(2**127), [bytes(64)], genesis_hash, params).units
    usual = FEE_HEADROOM * fees.base_part(units, int(fee["suggested_base_fee"])) + sending.tip
    raw = body(usual if sending.max_fee is None else sending.max_fee)
    result: dict[str, Any] = yield Call("tx.simulate", {"body": "0x" + raw.hex()})
    return result


def _colo(amount: str) -> str:
    return show_amount(int(amount))
