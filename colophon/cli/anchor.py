"""``colophon anchor``: interactions into logs, in bulk; bundles out of receipts."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from chain.anchored import Writer
from chain.bundle import DOES_NOT_PROVE, PROVES
from chain.bundle_json import write_bundle
from chain.errors import Misuse, Rejected
from chain.fields import fields_of
from chain.record import Facets
from colophon.amounts import parse_duration
from colophon.client import Client
from colophon.export import export_bundle_flow
from colophon.flows import open_log_flow
from colophon.interactions import FIELD_NAMES, parse_interaction
from colophon.receipts import (
    RECORD_FORMAT,
    OwnReceipt,
    Place,
    Receipt,
    find_receipt,
    read_head,
    read_own_receipt,
)
from colophon.recorder import BATCH_RECORDS_MAX, RecorderOptions, Session, begin_flow, record_flow
from colophon.wallet import Draft
from state.modules.anchor.messages import Payment

from . import verify as verify_command
from .output import Session as Output
from .sending import (
    connect,
    key_options,
    report,
    resolver,
    take_sending,
    unlock,
)
from .values import Shape, read_file, write_file

NEVER_MS = 2**62
"""Bulk anchoring batches by number only: what is old already does not get older."""
SOURCE_DIGITS = 16
PROGRESS_EVERY = 256
"""Records between two updates of the progress bar."""

FACET_SHAPES = {name: Shape(name, kind) for name, kind in fields_of(Facets).items()}


@click.group("anchor")
def command() -> None:
    """Anchor AI interactions in bulk; export and verify bundles.

    Contents and secrets stay in the directory of receipts: whoever has it can prove, nobody else
    can. Keep it; `colophon tx anchor …` has the messages one by one.
    """


command.add_command(verify_command.command, "verify")


def facet_options() -> list[click.Option]:
    """Return one option per facet."""
    found = []
    for name, shape in FACET_SHAPES.items():
        option = shape.option("--" + name.replace("_", "-"), required=False)
        option.help = f"Facet of every record: {shape.describe()}".rstrip(": ")
        found.append(option)
    return found


def take_facets(output: Output, values: dict[str, Any]) -> dict[str, Any]:
    """Take the facets out of a command's values, in their JSON form."""
    resolve = resolver(output)
    given = {name: values.pop(f"field_{name}") for name in FACET_SHAPES}
    return {
        name: FACET_SHAPES[name].form(value, resolve)
        for name, value in given.items()
        if value is not None
    }


# --- a log and a file -------------------------------------------------------------------------


@command.command("open", params=list(key_options()))
@click.option("--schema", default="colophon/interaction/1", show_default=True,
              help="What the field names of its records mean.")  # fmt: skip
@click.option("--retention", default="90d", show_default=True, metavar="DURATION",
              help="How long you keep the records.")  # fmt: skip
@click.option("--max-merge-delay", default="10m", show_default=True, metavar="DURATION",
              help="Longest time from taking a record to anchoring it.")  # fmt: skip
@click.option("--writer", "writers", multiple=True, metavar="ACCOUNT/KEY",
              help="Another account that may append, and its promise key; repeatable.")  # fmt: skip
@click.pass_obj
def open_log(
    output: Output, /, schema: str, retention: str, max_merge_delay: str,
    writers: tuple[str, ...], **values: Any,
) -> None:  # fmt: skip
    """Open a log of interactions that belongs to you."""
    shape = Shape("writers", list[Writer])
    listed = shape.form(writers, resolver(output)) if writers else []
    with connect(output) as client:
        wallet = client.wallet(unlock(output, take_sending(values)))
        flow = open_log_flow(
            wallet, schema, parse_duration(retention), parse_duration(max_merge_delay), listed
        )
        report(output, client.run(flow), Draft())


@command.command("file", params=[*key_options(), *facet_options()])
@click.argument("path", metavar="LOG.jsonl")
@click.option("--log", required=True, metavar="ID", help="The log to append to: log1…")
@click.option("--out", metavar="DIR", help="Where receipts are kept; default: LOG.receipts.")
@click.option("--batch", type=click.IntRange(1, BATCH_RECORDS_MAX), default=BATCH_RECORDS_MAX,
              show_default=True, help="Records of one batch.")  # fmt: skip
@click.option("--lane", type=click.IntRange(0, 63), default=0, help="Lane of the transactions.")
@click.pass_obj
def file(
    output: Output, /, path: str, log: str, out: str | None, batch: int, lane: int, **values: Any
) -> None:
    """Anchor a file of interactions, one JSON object a line.

    Each has at least prompt, output and model; short names (model, temperature, input_tokens …)
    become those of OpenTelemetry, see docs/cli.md. Run it again after an interruption: it goes on
    where it was, and anchors nothing twice.
    """
    sending, facets = take_sending(values), take_facets(output, values)
    source = Path(path).expanduser()
    if not source.is_file():
        raise Rejected("file/NotFound", f"there is no file {source}")
    directory = Path(out).expanduser() if out else source.with_suffix(".receipts")
    options = RecorderOptions(records_max=batch, age_ms_max=NEVER_MS, facets=facets, lane=lane)
    with connect(output) as client:
        wallet = client.wallet(unlock(output, sending))
        session = client.run(begin_flow(log, wallet, directory, options))
        try:
            places = _anchor_lines(client, session, source, _Progress(output, source))
        finally:
            session.store.close()
        total = session.store.total
    _tell(output, log, directory, total, places)


def _anchor_lines(
    client: Client, session: Session, source: Path, progress: _Progress
) -> list[Place]:
    places: list[Place] = []
    with open(source, "rb") as lines:
        _skip(lines, session)
        for number, raw in enumerate(lines, session.store.total + 1):
            if raw.strip():
                try:
                    session.note(parse_interaction(raw), _digest(raw))
                except Rejected as refusal:
                    raise Rejected(
                        refusal.code, f"interaction {number} of {source}: {refusal.message}"
                    ) from None
            if session.is_due():
                places += client.run(session.flush_flow())
            progress.show(session.store.total, lines.tell())
    places += client.run(session.flush_flow())
    progress.end()
    return places


def _skip(lines: Iterator[bytes], session: Session) -> None:
    """Pass over the lines that have receipts; refuses another file than theirs."""
    for known in session.store.sources():
        raw = next((line for line in lines if line.strip()), b"")
        if _digest(raw) != known:
            raise Rejected(
                "receipts/OtherSource",
                f"{session.store.directory} has receipts of another file; choose another --out",
            )


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw.strip()).hexdigest()[:SOURCE_DIGITS]


class _Progress:
    """A bar on the error stream, on terminals only."""

    def __init__(self, output: Output, source: Path) -> None:
        self._size = max(source.stat().st_size, 1)
        self._shown = not output.json and sys.stderr.isatty()

    def show(self, records: int, position: int) -> None:
        """Draw it now and then."""
        if self._shown and records % PROGRESS_EVERY == 0:
            done = 30 * position // self._size
            bar = "█" * done + "·" * (30 - done)
            click.echo(f"\r{bar} {100 * position // self._size:3d} %  {records} records", err=True,
                       nl=False)  # fmt: skip

    def end(self) -> None:
        """Leave the line."""
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)


def _tell(output: Output, log: str, directory: Path, total: int, places: list[Place]) -> None:
    value = {
        "log": log, "receipts": str(directory), "records": total,
        "anchored": [
            {"batch_no": place.batch_no, "first_index": place.first_index, "count": place.count,
             "root": place.root, "height": place.height, "tx": place.tx}
            for place in places
        ],
    }  # fmt: skip
    lines = [
        f"batch {place.batch_no}  {place.count} records from index {place.first_index}  "
        f"height {place.height}"
        for place in places
    ]
    fresh = sum(place.count for place in places)
    lines.append(f"{fresh} records anchored; {directory} has the receipts of {total}, keep it")
    output.show(value, "\n".join(lines))


# --- one interaction --------------------------------------------------------------------------


@command.command("record", params=[*key_options(), *facet_options()])
@click.option("--fields", "source", required=True, metavar="FILE",
              help="The interaction, one JSON object; `-` reads standard input.")  # fmt: skip
@click.option("--receipt", metavar="FILE", help="Where its receipt is kept; default: FILE.receipt")
@click.option("--parent", "parents", multiple=True, metavar="HASH",
              help="Leaf of a record it came from; repeatable.")  # fmt: skip
@click.option("--license", metavar="LOT", help="A licence of the model that you hold: lot1…")
@click.option("--payment", metavar="AMOUNT", help="Royalty to the model: 5colo.")
@click.pass_obj
def record(
    output: Output, /, source: str, receipt: str | None, parents: tuple[str, ...],
    license: str | None, payment: str | None, **values: Any,
) -> None:  # fmt: skip
    """Anchor one interaction by itself; its facets are public for ever.

    The receipt, with contents and secret, is written before anything is sent.
    """
    sending, facets = take_sending(values), take_facets(output, values)
    if source == "-" and receipt is None:
        raise click.UsageError("standard input has no name: give --receipt FILE")
    raw = sys.stdin.buffer.read() if source == "-" else read_file(source)
    paid = Shape("payment", Payment).form(payment, resolver(output)) if payment else None
    kept = Path(receipt or f"{source}.receipt").expanduser()
    with connect(output) as client:
        wallet = client.wallet(unlock(output, sending))
        flow = record_flow(
            wallet, parse_interaction(raw), kept, facets=facets, parents=list(parents),
            license=license, payment=paid,
        )  # fmt: skip
        report(output, client.run(flow), Draft())
    output.note(f"receipt  {kept}")


# --- bundles ----------------------------------------------------------------------------------


@command.command("export")
@click.argument("receipts", metavar="RECEIPTS")
@click.option("--index", type=click.IntRange(0), default=0, show_default=True,
              help="Number of the record in RECEIPTS, from 0.")  # fmt: skip
@click.option("--reveal", default="", metavar="NAMES",
              help="Fields to show, separated by commas; `all` shows every one.")  # fmt: skip
@click.option("--hide-facets", is_flag=True, help="Do not show the facets (logs only).")
@click.option("--out", required=True, metavar="FILE", help="The bundle; `-` is standard output.")
@click.pass_obj
def export(
    output: Output, /, receipts: str, index: int, reveal: str, hide_facets: bool, out: str
) -> None:
    """Write a bundle: one file that proves an interaction to anybody, offline.

    RECEIPTS is the directory `anchor file` or a recorder writes, one of its batches, or the
    receipt of `anchor record`. What is revealed cannot be taken back.
    """
    receipt = _find(Path(receipts).expanduser(), index)
    fields = receipt.recording.fields
    names = list(fields) if reveal == "all" else [name for name in reveal.split(",") if name]
    names = [name if name in fields else _full_name(name) for name in names]
    try:
        with connect(output) as client:
            flow = export_bundle_flow(receipt, names, facets=not hide_facets)
            bundle = client.run(flow)
    except Misuse as error:
        raise Rejected("export/Refused", str(error)) from None
    data = write_bundle(bundle)
    if out == "-":
        click.echo(data.decode(), nl=False)
        return
    write_file(out, data)
    value = {
        "bundle": out, "revealed": names, "height": bundle.finality.target.height,
        "bytes": len(data), "proves": PROVES, "does_not_prove": DOES_NOT_PROVE,
    }  # fmt: skip
    output.show(value, f"{out}  {len(data)} bytes\n{PROVES}\n{DOES_NOT_PROVE}\n"
                       f"Check it with: colophon verify {out}")  # fmt: skip


def _find(path: Path, index: int) -> Receipt | OwnReceipt:
    if path.is_file() and read_head(path)["format"] == RECORD_FORMAT:
        return read_own_receipt(path)
    return find_receipt(path, index)


def _full_name(name: str) -> str:
    return FIELD_NAMES.get(name, name)
