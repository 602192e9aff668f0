"""``colophon node``: make, run, inspect and check a node."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from .output import Session


@click.group("node")
def command() -> None:
    """Make, run, inspect and check a node."""


@command.command("init")
@click.option(
    "--genesis",
    "genesis_file",
    type=click.Path(exists=True, path_type=Path),
    help="The network's genesis document; without it only the key is made.",
)
@click.pass_obj
def init(session: Session, genesis_file: Path | None) -> None:
    """Make a home: a consensus key and, if given, the genesis.

    A home that has a key keeps it where only the genesis, or nothing, is missing.
    """
    from colophon.home import (
        Home,
        keep_validator,
        make_validator,
        new_key,
        read_genesis,
        read_key,
        write_genesis,
    )

    home = Home(session.home_path)
    home.make_root()
    genesis = None if genesis_file is None else read_genesis(genesis_file)
    if genesis is None or (home.genesis.exists() and read_genesis(home.genesis) != genesis):
        make_validator(home, new_key())
    else:
        keep_validator(home)
    if genesis is not None:
        write_genesis(home.genesis, genesis)
    key = read_key(home.validator_key)
    public_key = "0x" + key.public_key.hex()
    session.show(
        {"home": str(home.root), "public_key": public_key},
        f"made {home.root}\nconsensus key {public_key}\n"
        + ("start it with `colophon node start`" if genesis_file is not None else
           "next: put it into a genesis with `colophon genesis new --validator KEY`"),
    )  # fmt: skip


@command.command("start")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="Settings; default: node.toml in the home, else all defaults.",
)
@click.option(
    "--quarantine",
    is_flag=True,
    help="Do not vote until the network has passed what this key may have signed.",
)
@click.option(
    "--attached",
    is_flag=True,
    help="Stop when standard input, a pipe, is closed: with whoever started the node.",
)
@click.pass_obj
def start(session: Session, config_file: Path | None, quarantine: bool, attached: bool) -> None:
    """Run the node in the foreground until Ctrl-C."""
    run_in_foreground(session, config_file, quarantine=quarantine, banner="node", attached=attached)


def run_in_foreground(
    session: Session, config_file: Path | None, *, quarantine: bool, banner: str,
    listen: str | None = None, attached: bool = False,
) -> None:  # fmt: skip
    """Run the node of a home; says where it answers, then logs."""
    import asyncio
    import stat

    import msgspec

    from colophon.config import load_config
    from colophon.home import Home
    from colophon.node import run_node, set_up_log

    home = Home(session.home_path)
    path = config_file or (home.config if home.config.exists() else None)
    config = load_config(path, os.environ)
    if quarantine:
        section = msgspec.structs.replace(config.consensus, quarantine=True)
        config = msgspec.structs.replace(config, consensus=section)
    if listen is not None and "COLOPHON_RPC__LISTEN" not in os.environ:
        rpc = msgspec.structs.replace(config.rpc, listen=listen)
        config = msgspec.structs.replace(config, rpc=rpc)
    set_up_log(config.node.log_level)

    def ready(url: str) -> None:
        text = f"Colophon {banner} answers at {url}\nCtrl-C stops it."
        session.show({"rpc": url, "home": str(home.root)}, text)

    def closed(stopping: asyncio.Event) -> None:
        asyncio.get_running_loop().remove_reader(0)
        stopping.set()

    async def run() -> None:
        stopping = asyncio.Event()
        if attached:  # nothing is ever written to the pipe: it is readable once it is closed
            asyncio.get_running_loop().add_reader(0, closed, stopping)
        await run_node(home, config, stopping=stopping, ready=ready)

    if attached and not stat.S_ISFIFO(os.fstat(0).st_mode):
        raise click.UsageError("--attached needs a pipe as standard input")
    asyncio.run(run())


@command.command("status")
@click.pass_obj
def status(session: Session) -> None:
    """Show height, health and identity of the running node."""
    from colophon.client import Client

    with Client(session.node_url()) as client:
        session.show(client.call("chain.status"))


@command.command("check")
@click.pass_obj
def check(session: Session) -> None:
    """Verify the database: roots, supply, invariants, every block, indexes."""
    report = maintain(session, "check", {})
    human = f"height {report['height']}: " + ("the database is sound" if report["ok"] else "BROKEN")
    session.show(report, "\n".join([human, *report["problems"]]))
    if not report["ok"]:
        raise click.exceptions.Exit(1)


@command.command("export")
@click.option("--out", type=click.Path(path_type=Path), help="Write to a file.")
@click.pass_obj
def export(session: Session, out: Path | None) -> None:
    """Write the whole state as JSON pairs of hex, with its height and root."""
    from .values import write_file

    dump = maintain(session, "export", {})
    if out is None:
        click.echo(json.dumps(dump))
        return
    write_file(str(out), json.dumps(dump).encode("ascii"))
    session.show({"file": str(out), "keys": len(dump["pairs"]), "state_root": dump["state_root"]})


@command.command("reindex")
@click.pass_obj
def reindex(session: Session) -> None:
    """Drop every derived row and make them again from the blocks."""
    session.show(maintain(session, "reindex", {}))


@command.command("erase")
@click.argument("hash")
@click.pass_obj
def erase(session: Session, hash: str) -> None:
    """Erase the content behind a blob's HASH; no root changes."""
    session.show(maintain(session, "erase", {"hash": hash}))


@command.command("reset")
@click.option(
    "--keep-keys",
    is_flag=True,
    required=True,
    help="Say that keys, settings and genesis shall stay.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def reset(session: Session, keep_keys: bool, yes: bool) -> None:
    """Remove the chain's data. A validator must then start with --quarantine."""
    from colophon.home import Home, reset_home

    home = Home(session.home_path)
    if not yes:
        click.confirm(f"Remove all chain data in {home.root}?", abort=True, err=True)
    with home.lock():
        reset_home(home)
    session.show({"reset": str(home.root)}, f"removed the chain data of {home.root}")


def maintain(session: Session, name: str, arguments: dict[str, Any]) -> Any:
    """Run a maintenance command: in the running node, else on the database itself."""
    from chain.errors import Corruption
    from colophon.admin import ask
    from colophon.home import Home, read_genesis, running_at
    from colophon.maintenance import COMMANDS
    from state.families import REGISTRY
    from state.machine import StateMachine
    from state.store import Store

    home = Home(session.home_path)
    if running_at(home) is not None:
        return ask(home.admin_socket, name, arguments)
    with home.lock(), Store.open(home.database, create=False) as store:
        try:
            machine = StateMachine(store, read_genesis(home.genesis), REGISTRY)
        except Corruption as damage:
            if name != "check":
                raise
            return {"height": None, "ok": False, "problems": [str(damage)]}
        return COMMANDS[name](machine, arguments)
