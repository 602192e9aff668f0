"""``colophon bench``: measure this machine against its own limit."""

from __future__ import annotations

from typing import Any

import click

from .output import Session


@click.group("bench")
def command() -> None:
    """Measure this machine against its own limit (docs/performance.md)."""


@command.command("execute")
@click.option("--keys", default=1_000_000, show_default=True, help="Accounts in the state.")
@click.option("--blocks", default=8, show_default=True, help="Full blocks per message type.")
@click.option("--only", multiple=True, help="Message types; default: all.")
@click.option("--worst", is_flag=True, help="Every message at its dearest, beside bank.send.")
@click.pass_obj
def execute(session: Session, keys: int, blocks: int, only: tuple[str, ...], worst: bool) -> None:
    """Pre-signed blocks through the state machine: transactions per second over V."""
    from colophon.bench import execute as bench
    from colophon.bench import worst as dearest

    if worst:
        show(session, dearest.run(only, session.note))
    else:
        show(session, bench.run(keys, blocks, only, progress=session.note))


@command.command("state")
@click.option("--keys", default=1_000_000, show_default=True, help="Keys in the tree.")
@click.option("--batch", default=5_000, show_default=True, help="Changed keys per block.")
@click.pass_obj
def state(session: Session, keys: int, batch: int) -> None:
    """The tree: root update per changed key, start-up, memory."""
    from colophon.bench import state_bench as bench

    show(session, bench.run(keys, batch, session.note))


@command.command("rpc")
@click.pass_obj
def rpc(session: Session) -> None:
    """Reads per second of ip.get beside a bare aiohttp handler."""
    from colophon.bench import rpc as bench

    show(session, bench.run(session.note))


@command.command("network")
@click.option("--seconds", default=30.0, show_default=True, help="Of saturating load.")
@click.option("--only", multiple=True, help="Message types; default: bank.send and ip.register.")
@click.pass_obj
def network(session: Session, seconds: float, only: tuple[str, ...]) -> None:
    """Four validators under a saturating load: final transactions per second over V/4."""
    from colophon.bench import network as bench

    show(session, bench.run(only, seconds, session.note))


@command.command("latency")
@click.option("--samples", default=60, show_default=True)
@click.pass_obj
def latency(session: Session, samples: int) -> None:
    """Submit → final, one transaction at a time."""
    from colophon.bench import latency as bench

    show(session, bench.run(session.note, samples))


def show(session: Session, report: Any) -> None:
    """Print a report as a table, or as JSON."""
    rows = [
        (row.name, f"{row.value:,}", row.unit, row.reference, row.ratio or "")
        for row in report.rows
    ]
    form = report.as_json()
    session.note(f"{report.machine}\nV1 {report.v1:,}/s   V {report.v:,}/s")
    session.table(("operation", "ours", "unit", "reference", "ratio"), rows, form)
