"""``colophon tx``: one subcommand per message, made from the message classes themselves.

A family's messages form a group (``tx ip register``); options, their help and their types follow
from the fields. ``tx submit`` takes any transaction as JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import cleandoc
from typing import Any

import click

from chain.errors import Rejected
from chain.fields import fields_of, json_names
from chain.json_form import defaults_of
from colophon.amounts import parse_amount, show_amount
from state.families import REGISTRY
from state.module import Message

from .output import Session
from .sending import (
    connect,
    key_options,
    resolver,
    run_forms,
    sending_options,
    take_sending,
    unlock,
)
from .values import Shape, parse_time, read_json

ALIASES = {"send": "bank.send"}
"""Short names beside the families' groups."""
RENAMED = {"from": "from-time", "to": "to-time"}
"""Fields of ``anchor.append`` whose names mean something else on the command line."""
NESTED = "nested"
"""Field of ``ip.execute`` whose items are messages."""


def flag_of(message: type[Message], name: str) -> str:
    """Return the option of a field."""
    renamed = RENAMED.get(name, name) if "from" in json_names(message) else name
    return "--" + renamed.replace("_", "-")


def shapes_of(message: type[Message]) -> dict[str, Shape]:
    """Return what each field of a message means on the command line, by its JSON name."""
    kinds = fields_of(message)
    return {name: Shape(name, kinds[attribute]) for name, attribute in json_names(message).items()}


def message_command(tag: str, message: type[Message], name: str) -> click.Command:
    """Return the subcommand that sends one message."""
    shapes, defaults = shapes_of(message), defaults_of(message)
    params: list[click.Parameter] = []
    for field, attribute in json_names(message).items():
        shape = shapes[field]
        required = attribute not in defaults and not shape.may_be_absent
        params.append(shape.option(flag_of(message, field), required=required))

    @click.pass_obj
    def run(session: Session, /, **values: Any) -> None:
        sending = take_sending(values)
        form = form_of(tag, message, values, session)
        run_forms(session, [form], sending)

    text = cleandoc(message.__doc__ or "")
    return click.Command(
        name,
        callback=run,
        params=[*params, *sending_options()],
        help=f"{text}\n\nSends `{tag}`; docs/{tag.split('.')[0]}.md says what it does and refuses.",
        short_help=text.split(" (N-")[0].split("; ")[0].rstrip("."),
    )


def form_of(
    tag: str, message: type[Message], values: dict[str, Any], session: Session
) -> dict[str, Any]:
    """Return a message's JSON form from the options that were given."""
    resolve = resolver(session)
    defaults = defaults_of(message)
    names = json_names(message)
    form: dict[str, Any] = {"type": tag}
    for field, shape in shapes_of(message).items():
        value = values[f"field_{field}"]
        if field == NESTED and value:
            form[field] = [part for text in value for part in _messages(text)]
        elif value is not None and value != ():
            form[field] = shape.form(value, resolve)
        elif shape.is_flag and names[field] not in defaults:
            flag = flag_of(message, field)
            raise click.UsageError(f"Missing option '{flag}' or '--no-{flag[2:]}'.")
        elif shape.is_denom and names[field] not in defaults:
            form[field] = "ncolo"
        elif field == "denoms":
            form[field] = ["ncolo"]
        elif shape.is_list and names[field] not in defaults and not shape.optional:
            form[field] = []
    return form


def _messages(text: str) -> list[dict[str, Any]]:
    found = read_json(text)
    return found if isinstance(found, list) else [found]


class FamilyGroup(click.Group):
    """The messages of one family; underscores are understood for hyphens."""

    def __init__(self, family: str) -> None:
        super().__init__(family, help=f"Messages of the family `{family}`.")
        self.family = family
        self._tags = {
            tag.split(".")[1].replace("_", "-"): tag
            for tag in REGISTRY.messages
            if tag.split(".")[0] == family
        }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs, in the order of the family's module."""
        return list(self._tags)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a verb."""
        verb = cmd_name.replace("_", "-")
        tag = self._tags.get(verb)
        if tag is None:
            return None
        if tag == "anchor.record":
            from .anchor import record

            return record
        return message_command(tag, REGISTRY.messages[tag], verb)


class TxGroup(click.Group):
    """Families, aliases and ``submit``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return aliases, families, ``claim-all``, ``submit``."""
        return [*ALIASES, *(module.name for module in REGISTRY.modules), "claim-all", "submit"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return an alias, a family, ``claim-all`` or ``submit``."""
        if cmd_name == "submit":
            return submit
        if cmd_name == "claim-all":
            return claim_all
        if cmd_name in ALIASES:
            tag = ALIASES[cmd_name]
            return message_command(tag, REGISTRY.messages[tag], cmd_name)
        if cmd_name in {module.name for module in REGISTRY.modules}:
            return FamilyGroup(cmd_name)
        return None


@click.group("tx", cls=TxGroup)
def command() -> None:
    """Send transactions: one subcommand per message.

    Amounts are `1.5colo` or ncolo, ids may be names of own keys, `@FILE` is a file's content,
    durations are `90d`, shares `10%`. `--dry-run` shows fee and outcome and sends nothing.
    """


@click.command("claim-all", params=list(key_options()))
@click.argument("ip")
@click.option("--denom", default="ncolo", help="What to claim; default: ncolo.")
@click.pass_obj
def claim_all(session: Session, /, ip: str, denom: str, **values: Any) -> None:
    """Claim all an IP has earned: as many `royalty.claim` as its descendants need."""
    with connect(session) as client:
        wallet = client.wallet(unlock(session, take_sending(values)))
        outcomes = client.claim_all(wallet, ip, denom)
    sent = [
        {"id": outcome.id, "height": outcome.height, "fee": outcome.receipt["fee"]}
        for outcome in outcomes
    ]
    claimed = sum(
        int(event["amount"])
        for outcome in outcomes
        for event in outcome.events
        if event["type"] == "royalty.claimed"
    )
    shown = show_amount(claimed) if denom == "ncolo" else f"{claimed} {denom}"
    lines = [f"final  {item['id']}  height {item['height']}" for item in sent]
    lines.append(f"claimed {shown}" if sent else "nothing to claim")
    session.show({"claimed": str(claimed), "sent": sent}, "\n".join(lines))


SUBMIT_KEYS = frozenset({"messages", "lane", "max_fee", "tip", "valid_until"})


@click.command("submit", params=list(sending_options()))
@click.argument("file")
@click.pass_obj
def submit(session: Session, /, file: str, **values: Any) -> None:
    """Send the transaction in a JSON file (`-` reads standard input).

    The file holds {"messages": [{"type": "ip.register", …}], "lane": 0, "tip": "0",
    "max_fee": "…", "valid_until": 0}; all but messages may be left out, and options of the
    command line stand above the file's.
    """
    text = sys.stdin.read() if file == "-" else f"@{file}"
    form = read_json(text)
    if not isinstance(form, dict) or not isinstance(form.get("messages"), list):
        raise Rejected("tx/NoMessages", f'{file} must hold an object with a list "messages"')
    unknown = sorted(set(form) - SUBMIT_KEYS)
    if unknown:
        raise Rejected(
            "tx/UnknownKey", f"{file}: unknown {unknown[0]}; known are {', '.join(SUBMIT_KEYS)}"
        )
    readers: dict[str, Callable[[Any], int]] = {
        "lane": int, "tip": _money, "valid_until": _moment, "max_fee": _money,
    }  # fmt: skip
    for key, read in readers.items():
        if not values[f"sending_{key}"] and form.get(key) is not None:
            values[f"sending_{key}"] = read(form[key])
    messages = [item if isinstance(item, dict) else {"type": item} for item in form["messages"]]
    run_forms(session, messages, take_sending(values))


def _money(value: Any) -> int:
    return parse_amount(str(value))


def _moment(value: Any) -> int:
    return parse_time(str(value))
