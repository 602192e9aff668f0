"""``colophon query``: ask a node; family queries are made from the queries' own signatures.

``query ip ID`` is short for ``query ip get --ip ID``; required parameters may stand without
their names. ``query call METHOD key=value …`` asks anything ``rpc.discover`` lists.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any, get_type_hints

import click

from state.families import REGISTRY
from state.module import Query

from .output import Session
from .readable import event_line, readable, show_time
from .sending import connect, resolver
from .values import ID, Shape

SHORTHANDS = {
    "log": "anchor",
}
"""Name of a group → the family it stands for."""
BY_PREFIX = {
    "license": {"lot": "lot", "ip": "offers", "colo": "holdings"},
    "anchor": {"rec": "record"},
}
"""Family → prefix of an id → the query that answers for it; else ``get``."""


def ask(session: Session, method: str, params: dict[str, Any]) -> Any:
    """Call a method of the node."""
    with connect(session) as client:
        return client.call(method, **params)


def show(session: Session, result: Any) -> None:
    """Print an answer: as it is for programs, with units for people."""
    session.show(result) if session.json else session.show(readable(result))


# --- the chain --------------------------------------------------------------------------------


@click.command("status")
@click.pass_obj
def status(session: Session) -> None:
    """Show what the node says of itself."""
    show(session, ask(session, "chain.status", {}))


@click.command("block")
@click.argument("which", required=False)
@click.pass_obj
def block(session: Session, which: str | None) -> None:
    """Show a final block by height or 0x id; by default the newest."""
    show(session, ask(session, "chain.block", _height_or_hash(which)))


def _height_or_hash(which: str | None) -> dict[str, Any]:
    if which is None:
        return {}
    return {"hash": which} if which.startswith("0x") else {"height": which}


@click.command("blocks")
@click.option("--from", "first", type=int, help="First height; default: 20 before the newest.")
@click.option("--to", "last", type=int, help="Last height; default: the newest.")
@click.pass_obj
def blocks(session: Session, first: int | None, last: int | None) -> None:
    """List final blocks."""
    given = {"from": first, "to": last}
    answer = ask(session, "chain.blocks", {k: v for k, v in given.items() if v is not None})
    rows = [
        (item["height"], show_time(int(item["time_ms"])), item["transactions"], item["units"],
         item["id"])
        for item in answer
    ]  # fmt: skip
    session.table(("height", "time", "transactions", "units", "id"), rows, answer)


@click.command("tx")
@click.argument("tx_id", metavar="ID")
@click.pass_obj
def tx(session: Session, tx_id: str) -> None:
    """Show where a transaction stands and what it did."""
    answer = ask(session, "tx.get", {"id": tx_id})
    if session.json:
        session.show(answer)
        return
    receipt = answer.get("receipt") or {}
    head = {"id": answer["id"], "state": answer["state"], "height": answer.get("height")}
    if receipt:
        head |= {"fee": receipt["fee"], "units": receipt["units"]}
    if receipt.get("code"):
        head |= {"failed": receipt["code"], "message": answer["message"],
                 "message_index": receipt["message_index"]}  # fmt: skip
    body = answer.get("body") or {}
    if body:
        head |= {"sender": body["sender"], "lane": body["lane"], "seq": body["seq"]}
    session.show(readable({k: v for k, v in head.items() if v is not None}))
    for message in body.get("messages", []):
        click.echo("  " + event_line(message))
    for event in receipt.get("events", []):
        click.echo("→ " + event_line(event))


@click.command("account")
@click.argument("address")
@click.pass_obj
def account(session: Session, address: str) -> None:
    """Show an account (address or name of an own key): balances, next nonce, keys."""
    address = resolver(session)(address)
    with connect(session) as client:
        answer = client.call("account.get", address=address)
        answer["balances"] = client.call("account.balances", address=address)["items"]
    show(session, answer)


@click.command("validators")
@click.option("--height", type=int, help="Of which height; default: the next one.")
@click.pass_obj
def validators(session: Session, height: int | None) -> None:
    """List the committee."""
    answer = ask(session, "chain.validators", {} if height is None else {"height": height})
    rows = [
        (index, member["public_key"], member["power"])
        for index, member in enumerate(answer["members"])
    ]
    session.table(("index", "public key", "power"), rows, answer)


@click.command("params")
@click.pass_obj
def params(session: Session) -> None:
    """Show the network's parameters."""
    show(session, ask(session, "chain.params", {}))


@click.command("supply")
@click.argument("denom", default="ncolo")
@click.pass_obj
def supply(session: Session, denom: str) -> None:
    """Show how many units of a denomination exist."""
    show(session, ask(session, "chain.supply", {"denom": denom}))


@click.command("fee")
@click.pass_obj
def fee(session: Session) -> None:
    """Show what to offer for a transaction."""
    show(session, ask(session, "tx.fee", {}))


@click.command("recent")
@click.option("--limit", type=click.IntRange(1, 200), default=20, help="How many; default: 20.")
@click.pass_obj
def recent(session: Session, limit: int) -> None:
    """List the newest final transactions."""
    answer = ask(session, "tx.recent", {"limit": limit})
    columns = ("height", "index", "id")
    rows = [[item[name] for name in columns] for item in answer["items"]]
    session.table(columns, rows, answer)


@click.command("pending")
@click.pass_obj
def pending(session: Session) -> None:
    """List transactions that wait in the node's pool."""
    answer = ask(session, "tx.pending", {})
    columns = ("sender", "lane", "seq", "units", "id")
    rows = [[item[name] for name in columns] for item in answer["items"]]
    session.table(columns, rows, answer)


@click.command("call")
@click.argument("method")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.pass_obj
def call(session: Session, method: str, pairs: tuple[str, ...]) -> None:
    """Call any method; a value that is JSON is sent as JSON, else as text."""
    given = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise click.UsageError(f"{pair!r} is not KEY=VALUE")
        try:
            given[key] = json.loads(value)
        except ValueError:
            given[key] = value
    show(session, ask(session, method, given))


# --- the families -----------------------------------------------------------------------------


def query_command(method: str, query: Query, name: str) -> click.Command:
    """Return the subcommand that asks one query of a family."""
    hints = get_type_hints(query, include_extras=True)
    shapes: dict[str, Shape] = {}
    needed = []
    params: list[click.Parameter] = []
    for entry in inspect.signature(query).parameters.values():
        if entry.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        key = entry.name.rstrip("_")
        shapes[key] = Shape(key, hints[entry.name])
        if entry.default is inspect.Parameter.empty:
            needed.append(key)
        params.append(shapes[key].option("--" + key.replace("_", "-"), required=False))
    words = [key.upper() for key in needed]
    params.append(click.Argument(["places"], nargs=-1, metavar=" ".join(words) or "[NOTHING]"))

    @click.pass_obj
    def run(session: Session, /, places: tuple[str, ...], **values: Any) -> None:
        given = _given(session, shapes, values)
        open_keys = [key for key in needed if key not in given]
        if len(places) != len(open_keys):
            missing = " and ".join(open_keys[len(places) :]) or "nothing more"
            raise click.UsageError(f"{method} needs {missing}")
        for key, text in zip(open_keys, places, strict=True):
            given[key] = shapes[key].form((text,) if shapes[key].is_list else text,
                                          resolver(session))  # fmt: skip
        show(session, ask(session, method, given))

    text = inspect.getdoc(query) or ""
    return click.Command(name, callback=run, params=params, help=text,
                         short_help=text.split(".")[0].replace("\n", " "))  # fmt: skip


def _given(session: Session, shapes: dict[str, Shape], values: dict[str, Any]) -> dict[str, Any]:
    resolve: Callable[[str], str] = resolver(session)
    return {
        key: shape.form(values[f"field_{key}"], resolve)
        for key, shape in shapes.items()
        if values[f"field_{key}"] not in (None, ())
    }


class FamilyQueries(click.Group):
    """The queries of one family; an id in place of a verb asks for that object."""

    def __init__(self, family: str, name: str) -> None:
        super().__init__(
            name, help=f"Queries of the family `{family}`; `query {name} ID` shows one."
        )
        self.family = family
        self._queries: dict[str, tuple[str, Query]] = {}
        for module in REGISTRY.modules:
            for verb, query in module.queries.items():
                method = verb if "." in verb else f"{module.name}.{verb}"
                if method.split(".")[0] == family:
                    self._queries[method.split(".")[1].replace("_", "-")] = (method, query)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs."""
        return list(self._queries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a verb."""
        verb = cmd_name.replace("_", "-")
        if verb not in self._queries:
            return None
        return query_command(*self._queries[verb], verb)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Take an id as the object to show."""
        match = ID.fullmatch(args[0])
        if match is None or self.get_command(ctx, args[0]) is not None:
            return super().resolve_command(ctx, args)
        verb = BY_PREFIX.get(self.family, {}).get(match[1], "get")
        return verb, self.get_command(ctx, verb), args


PLAIN = {
    item.name or "": item
    for item in (
        status, block, blocks, tx, recent, account, validators, params, supply, fee, pending, call
    )
}  # fmt: skip


class QueryGroup(click.Group):
    """Plain queries, then the families'."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every name."""
        families = [module.name for module in REGISTRY.modules if module.queries]
        return [*PLAIN, *(name for name in families if name not in PLAIN), *SHORTHANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a plain query or a family's group."""
        if cmd_name in PLAIN:
            return PLAIN[cmd_name]
        family = SHORTHANDS.get(cmd_name, cmd_name)
        if any(module.name == family and module.queries for module in REGISTRY.modules):
            return FamilyQueries(family, cmd_name)
        return None


@click.group("query", cls=QueryGroup)
def command() -> None:
    """Ask a node: objects by their ids, lists, and any RPC method.

    `query ip ID`, `query license ID`, `query royalty ID`, `query log ID` show one object; each
    family has further queries: `query ip --help`.
    """
