"""``colophon testnet``: local networks."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .output import Session

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
VALIDATORS_MAX = 64
"""Far beyond what one machine runs at a useful speed."""
LINES = 40
"""Lines of a log shown unless told otherwise."""
FOLLOW_S = 0.2
"""Pause between two looks at a log that is followed."""

directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=Path("local-network"),
    show_default=True,
    help="Where the network lives.",
)


@click.group("testnet")
def command() -> None:
    """Local networks for development."""


# --- several validators, each a process of its own ------------------------------------------------


@command.command("up")
@click.option(
    "--validators",
    type=click.IntRange(1, VALIDATORS_MAX),
    help="How many, in a new network.  [default: 4]",
)
@directory_option
@click.option("--detach", is_flag=True, help="Return as soon as the network finalises blocks.")
@click.pass_obj
def up(session: Session, validators: int | None, directory: Path, detach: bool) -> None:
    """Start a network of validators, make it first if it is not there, and run it until Ctrl-C."""
    from colophon.testnet.network import Network

    begun = time.monotonic()
    # As Ctrl-C: whoever ends this command in the foreground ends the network.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    network = Network(_layout(session, directory, validators))
    session.note(f"starting {_nodes(len(network.nodes))} …")
    if detach:
        network.up(attached=False)
        _welcome(session, network, time.monotonic() - begun, detach)
        return
    try:
        with network.running():
            _welcome(session, network, time.monotonic() - begun, detach)
            for ended in network.watch():
                how = "stopped" if ended.code == 0 else f"ended with code {ended.code}"
                session.note(f"node {ended.index} {how}: {ended.last_line}")
        session.note("no node is left")
    except KeyboardInterrupt:
        session.note("stopped")


def _layout(session: Session, directory: Path, validators: int | None) -> Any:
    """Return the network in a directory, made if it is not there."""
    from chain.errors import Rejected
    from colophon.testnet.layout import is_network, open_layout
    from colophon.testnet.make import VALIDATORS, make_network

    if not is_network(directory):
        layout = make_network(directory, validators or VALIDATORS, time.time_ns() // 1_000_000)
        session.note(f"made a network of {_nodes(layout.validators)} in {layout.root}")
        return layout
    layout = open_layout(directory)
    if validators not in (None, layout.validators):
        raise Rejected(
            "testnet/OtherSize",
            f"{layout.root} holds a network of {_nodes(layout.validators)}; leave --validators "
            "out, choose another --dir, or wipe it",
        )
    return layout


def _nodes(count: int) -> str:
    return f"{count} validator{'s' if count > 1 else ''}"


def _welcome(session: Session, network: Any, seconds: float, detached: bool) -> None:
    """Say where everything is."""
    from chain.types import COLO
    from colophon.amounts import show_amount
    from colophon.testnet.make import ACCOUNT_COLO

    form = _form(network)
    root, last = network.layout.root, len(network.nodes) - 1
    lines = [
        f"a network of {_nodes(len(network.nodes))} is finalising after {seconds:.1f} s",
        *(f"  node {node['index']}   {node['rpc']}   log {node['log']}" for node in form["nodes"]),
        "",
        f"page       {form['nodes'][0]['rpc']} in a browser",
        f"directory  {root}",
        f"accounts   {', '.join(account['name'] for account in form['accounts'])}: "
        f"{show_amount(ACCOUNT_COLO * COLO)} each, keys in {network.layout.accounts}",
        f"money      colophon testnet faucet ADDRESS --dir {root}",
        f"send       colophon --home {root / 'node0'} tx send --to ADDRESS --amount 1colo "
        f"--key-file {form['accounts'][0]['key_file']}",
        f"look       colophon testnet status --dir {root}",
        f"break      colophon testnet kill {last} --dir {root}, and start {last} again",
        f"end        colophon testnet stop --dir {root}" if detached else "Ctrl-C ends it.",
    ]
    session.show({"seconds": round(seconds, 3), **form}, "\n".join(lines))


@command.command("status")
@directory_option
@click.pass_obj
def status(session: Session, directory: Path) -> None:
    """Show every node, and whether all have the same block and state."""
    network = _network(directory)
    form = _form(network)
    columns = ("node", "state", "height", "peers", "rpc", "log")
    rows = [
        (
            node["index"], _state(node), *(_dash(node[name]) for name in ("height", "peers")),
            node["rpc"], node["log"],
        )
        for node in form["nodes"]
    ]  # fmt: skip
    session.table(columns, rows, form)
    common = form["common"]
    if common is None or session.json:
        return
    if common["agree"]:
        click.echo(f"\nall that answer agree at height {common['height']}")
        click.echo(f"  block       {common['block_id']}\n  state root  {common['state_root']}")
        return
    click.echo(f"\nnodes DISAGREE at height {common['height']}")
    for node in common["nodes"]:
        click.echo(f"  node {node['index']}  {node['block_id']}  state root {node['state_root']}")
    raise click.exceptions.Exit(1)


def _state(node: dict[str, Any]) -> str:
    if not node["running"]:
        return "not running"
    if node["height"] is None:
        return "silent"
    return "running" if node["healthy"] else str(node["reason"])


def _dash(value: object) -> object:
    return "–" if value is None else value


def _network(directory: Path) -> Any:
    from colophon.testnet.layout import open_layout
    from colophon.testnet.network import Network

    return Network(open_layout(directory))


def _form(network: Any) -> dict[str, Any]:
    """Return a network as JSON."""
    from colophon.testnet.status import compare

    statuses = network.status()
    common = compare(statuses)
    return {
        "dir": str(network.layout.root),
        "nodes": [
            {
                "index": node.index,
                "rpc": node.rpc,
                "running": node.running,
                "height": node.height,
                **{
                    name: None if node.status is None else node.status[name]
                    for name in ("block_id", "state_root", "peers", "healthy", "reason")
                },
                "pid": node.pid,
                "home": str(network.nodes[node.index].home.root),
                "log": str(network.nodes[node.index].log),
            }
            for node in statuses
        ],
        "accounts": _accounts(network.layout),
        "common": None if common is None else common.form(),
    }


def _accounts(layout: Any) -> list[dict[str, str]]:
    """Return the accounts that began with money, with their keys: they are for development."""
    from chain.ids import address_of, format_id
    from colophon.home import read_key

    accounts = []
    for path in sorted(layout.accounts.glob("*.key")):
        key = read_key(path)
        accounts.append(
            {
                "name": path.stem,
                "address": format_id(address_of(key.public_key)),
                "public_key": "0x" + key.public_key.hex(),
                "seed": "0x" + key.seed.hex(),
                "key_file": str(path),
            }
        )
    return accounts


@command.command("logs")
@click.argument("node", type=click.IntRange(min=0))
@click.option("--lines", type=click.IntRange(min=1), default=LINES, show_default=True,
              help="How many of the last lines.")  # fmt: skip
@click.option("--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@directory_option
@click.pass_obj
def logs(session: Session, node: int, lines: int, follow: bool, directory: Path) -> None:
    """Show the last lines of a NODE's log."""
    from colophon.testnet.process import last_lines

    process = _network(directory).node(node)
    if session.json:
        if follow:
            raise click.UsageError("--follow shows lines without end; it has no --json")
        session.show({"node": node, "file": str(process.log), "lines": process.lines(lines)})
        return
    process.log.touch()
    with process.log.open(encoding="utf-8", errors="replace") as file:
        for line in last_lines(file, lines):
            click.echo(line)
        while follow:
            click.echo(file.read(), nl=False)
            time.sleep(FOLLOW_S)


@command.command("kill")
@click.argument("nodes", metavar="NODE...", type=click.IntRange(min=0), nargs=-1, required=True)
@directory_option
@click.pass_obj
def kill(session: Session, nodes: tuple[int, ...], directory: Path) -> None:
    """End each NODE at once (SIGKILL), as a power cut would."""
    killed = _network(directory).kill(nodes)
    _require_any(killed, nodes)
    again = " ".join(map(str, killed))
    session.show({"killed": killed}, f"killed {_listed(killed)}; `testnet start {again}` starts "
                 f"{'it' if len(killed) == 1 else 'them'} again")  # fmt: skip


@command.command("start")
@click.argument("nodes", metavar="[NODE]...", nargs=-1)
@directory_option
@click.pass_obj
def start(session: Session, nodes: tuple[str, ...], directory: Path) -> None:
    """Start each NODE, or with `all` (the default) every one that does not run; detached."""
    from chain.errors import Rejected

    network = _network(directory)
    if nodes in ((), ("all",)):
        there = network.there()
        indexes = [index for index in range(len(network.nodes)) if index not in there]
        if not indexes:
            raise Rejected("testnet/Running", "all nodes run already")
    else:
        indexes = list(dict.fromkeys(map(_number, nodes)))
    network.start(indexes)
    session.show({"started": indexes}, f"started {_listed(indexes)}")


def _number(node: str) -> int:
    if not node.isdecimal():
        raise click.UsageError(f"{node!r} is neither the number of a node nor `all`")
    return int(node)


@command.command("stop")
@click.argument("nodes", metavar="[NODE]...", type=click.IntRange(min=0), nargs=-1)
@directory_option
@click.pass_obj
def stop(session: Session, nodes: tuple[int, ...], directory: Path) -> None:
    """Stop each NODE, by default all; what runs in between is finished."""
    stopped = _network(directory).stop(nodes or None)
    _require_any(stopped, nodes)
    session.show({"stopped": stopped}, f"stopped {_listed(stopped)}")


def _require_any(ended: Sequence[int], asked: Sequence[int]) -> None:
    """Refuse with ``testnet/NotRunning`` if none of those asked for, or of all, was running."""
    from chain.errors import Rejected

    if not ended:
        wanted = f" of {_listed(asked)}" if asked else ""
        raise Rejected("testnet/NotRunning", f"no node runs{wanted}")


def _listed(indexes: Sequence[int]) -> str:
    return ("node " if len(indexes) == 1 else "nodes ") + ", ".join(map(str, indexes))


@command.command("wipe")
@directory_option
@click.option("--force", is_flag=True, help="Stop nodes that run.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def wipe(session: Session, directory: Path, force: bool, yes: bool) -> None:
    """Remove a network that `testnet up` made: its chain, keys and logs."""
    network = _network(directory)
    root = network.layout.root
    if not yes:
        click.confirm(f"Remove the network in {root}, with all its keys?", abort=True, err=True)
    left = network.wipe(force=force)
    rest = f"; not made by `testnet up`, so still there: {', '.join(left)}" if left else ""
    session.show({"wiped": str(root), "left": left}, f"removed the network in {root}{rest}")


# --- one validator --------------------------------------------------------------------------------


@command.command("dev")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=Path("dev-network"),
    show_default=True,
    help="Where the network lives; made if it is not there.",
)
@click.option(
    "--listen",
    default="127.0.0.1:26657",
    show_default=True,
    help="RPC address; port 0 lets the system choose.",
)
@click.pass_obj
def dev(session: Session, directory: Path, listen: str) -> None:
    """Run one validator with a faucet and time travel, until Ctrl-C."""
    from colophon.home import Home
    from colophon.testnet.make import make_dev_home

    from .node import run_in_foreground

    if not Home(directory).genesis.exists():
        make_dev_home(directory, time.time_ns() // 1_000_000)
        session.note(f"made a development network in {directory}")
    session.home_path = directory
    run_in_foreground(session, None, quarantine=False, banner="development network", listen=listen)


@command.command("faucet")
@click.argument("address")
@click.argument("amount", default="1000colo")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    help="A local network made by `testnet up`; default: the node that --node or --home names.",
)
@click.pass_obj
def faucet(session: Session, address: str, amount: str, directory: Path | None) -> None:
    """Give an ADDRESS money of a development network (AMOUNT in ncolo, or with `colo`)."""
    from colophon.amounts import parse_amount
    from colophon.client import Client

    if directory is not None:
        session.home_path = _network(directory).node(0).home.root  # it has the faucet's key
    with Client(session.node_url()) as client:
        result = client.call("dev.faucet", address=address, amount=str(parse_amount(amount)))
        session.show(result)


@command.command("advance")
@click.argument("duration")
@click.pass_obj
def advance(session: Session, duration: str) -> None:
    """Move the clock of a development network of one validator on: `30d`, `12h`, `90s`."""
    from colophon.client import Client

    found = re.fullmatch(r"(\d{1,6})([smhd])", duration)
    if found is None:
        raise click.UsageError(f"{duration!r} is no duration: 30d, 12h, 15m or 90s")
    duration_ms = int(found[1]) * UNITS_MS[found[2]]
    with Client(session.node_url()) as client:
        session.show(client.call("dev.advance", duration_ms=duration_ms))
