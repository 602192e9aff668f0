"""``colophon testnet``: local networks."""

from __future__ import annotations

import re
import time
from pathlib import Path

import click

from .output import Session

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@click.group("testnet")
def command() -> None:
    """Local networks for development."""


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
    from colophon.testnet_dev import make_dev_home

    from .node import run_in_foreground

    if not Home(directory).genesis.exists():
        make_dev_home(directory, time.time_ns() // 1_000_000)
        session.note(f"made a development network in {directory}")
    session.home_path = directory
    run_in_foreground(session, None, quarantine=False, banner="development network", listen=listen)


@command.command("faucet")
@click.argument("address")
@click.argument("amount", default="1000colo")
@click.pass_obj
def faucet(session: Session, address: str, amount: str) -> None:
    """Give an ADDRESS money of a development network (AMOUNT in ncolo, or with `colo`)."""
    from colophon.amounts import parse_amount
    from colophon.client import Client

    with Client(session.node_url()) as client:
        result = client.call("dev.faucet", address=address, amount=str(parse_amount(amount)))
        session.show(result)


@command.command("advance")
@click.argument("duration")
@click.pass_obj
def advance(session: Session, duration: str) -> None:
    """Move the clock of a development network on: `30d`, `12h`, `90s`."""
    from colophon.client import Client

    found = re.fullmatch(r"(\d{1,6})([smhd])", duration)
    if found is None:
        raise click.UsageError(f"{duration!r} is no duration: 30d, 12h, 15m or 90s")
    duration_ms = int(found[1]) * UNITS_MS[found[2]]
    with Client(session.node_url()) as client:
        session.show(client.call("dev.advance", duration_ms=duration_ms))
