"""What the writer of a log keeps of its records: secrets, contents, places (docs/cli.md).

::

    DIR/LOCK                       held while somebody writes
    DIR/open.jsonl                 records that belong to no batch yet
    DIR/batch-000000.jsonl         the records of a batch, never changed again
    DIR/batch-000000.place.json    where the batch stands in its log, or was last sent to

Files of records begin with a line that names log and network; then one record a line. A batch is
complete and on disk before it is sent anywhere, so whoever has the directory can prove whatever
is on chain, and an interrupted writer goes on where it was.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import msgspec

from chain.errors import Rejected
from chain.ids import Kind, format_id, parse_id
from chain.jcs import JsonValue
from chain.json_form import record_from_json, record_to_json
from chain.record import Facets, Recording
from state.disk_fault import refusals

from .disk import Disk

BATCH_FORMAT = "colophon/receipts/1"
RECORD_FORMAT = "colophon/receipt/1"
OPEN = "open.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a batch stands in its log; ``height`` is 0 until it is known to be final."""

    batch_no: int
    first_index: int
    count: int
    root: str
    begin_ms: int
    end_ms: int
    height: int = 0
    tx: str = ""


class Line(msgspec.Struct, frozen=True):
    """One record in a file of receipts."""

    secret: str
    leaf: str
    taken_ms: int
    fields: dict[str, Any]
    facets: dict[str, Any] = {}
    source: str = ""
    """First 16 hex digits of the hash of the line it was read from, for going on later."""


class _Short(msgspec.Struct, frozen=True):
    """What batches are made of; reading only this is several times faster."""

    leaf: str
    taken_ms: int
    source: str = ""


_LINE = msgspec.json.Decoder(Line)
_SHORT = msgspec.json.Decoder(_Short)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A record with everything its owner needs to prove it."""

    recording: Recording
    index: int
    """Place in its batch."""
    leaves: tuple[bytes, ...]
    """All leaves of the batch, in order."""
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnReceipt:
    """The receipt of an interaction anchored by itself."""

    recording: Recording
    record: bytes


class ReceiptStore:
    """The directory of one log's writer; open it in a ``with`` block."""

    def __init__(self, directory: Path, log: str, genesis_hash: bytes) -> None:
        """Take the directory for this log; ``receipts/…`` if it is in use or another log's."""
        self.directory = directory
        self._head = {"format": BATCH_FORMAT, "log": log, "genesis_hash": "0x" + genesis_hash.hex()}
        with refusals(directory, "receipts/NotWritable"):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(directory)
        self._open: IO[bytes] | None = None
        self.waiting = 0
        """Records in ``open.jsonl``."""
        self.oldest_ms = 0
        """When the first of them was taken."""
        try:
            self.batches = len(self._require_batches())
            self.total = sum(self.count(number) for number in range(self.batches))
            self._recover()
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Let go of the directory."""
        try:
            if self._open is not None:
                with refusals(self.directory / OPEN):
                    self._open.close()
        finally:
            self._open = None
            self._lock.close()

    # --- records ------------------------------------------------------------------------------

    def add(self, recording: Recording, taken_ms: int, source: str = "") -> int:
        """Write a record; return its number among all of the directory, from 0."""
        facets = {k: v for k, v in record_to_json(recording.facets).items() if v is not None}
        line = {
            "secret": "0x" + recording.secret.hex(),
            "leaf": "0x" + recording.leaf.hex(),
            "taken_ms": taken_ms,
            "fields": dict(recording.fields),
            "facets": facets,
        }
        if source:
            line["source"] = source
        with refusals(self.directory / OPEN):
            if self._open is None:
                self._open = open(self.directory / OPEN, "ab")  # noqa: SIM115 - until seal()
                _restrict(self.directory / OPEN)
                self._open.write(_json_line(self._head))
            self._open.write(_json_line(line))
            self._open.flush()
        if not self.waiting:
            self.oldest_ms = taken_ms
        self.waiting += 1
        self.total += 1
        return self.total - 1

    def seal(self) -> int | None:
        """Make a batch of the waiting records, durable; return its number here, None if empty."""
        if self._open is None or not self.waiting:
            return None
        with refusals(self.directory / OPEN):
            os.fsync(self._open.fileno())
            self._open.close()
        self._open = None
        disk = Disk()
        disk.rename(self.directory / OPEN, self._path(self.batches))
        disk.sync_directory(self.directory)
        self.waiting = 0
        self.batches += 1
        return self.batches - 1

    def leaves(self, batch: int) -> tuple[tuple[bytes, ...], int]:
        """Return the leaves of a batch and when its first record was taken."""
        lines = list(_short_lines(self._path(batch)))
        leaves = tuple(bytes.fromhex(line.leaf[2:]) for line in lines)
        return leaves, min(line.taken_ms for line in lines)

    def count(self, batch: int) -> int:
        """Return how many records a batch has."""
        with open(self._path(batch), "rb") as file:
            return sum(1 for _ in file) - 1

    def sources(self) -> Iterator[str]:
        """Yield what each record says of the line it was read from, in order."""
        for number in range(self.batches):
            for line in _short_lines(self._path(number)):
                yield line.source
        if self.waiting:
            for line in _short_lines(self.directory / OPEN):
                yield line.source

    # --- places -------------------------------------------------------------------------------

    def place(self, batch: int) -> Place | None:
        """Return where a batch stands or was last sent to."""
        return _read_place(self._path(batch))

    def save_place(self, batch: int, place: Place) -> None:
        """Remember where a batch is being sent to, or stands, durably."""
        Disk().put(_place_path(self._path(batch)), _json_line(asdict(place)))

    def unanchored(self) -> list[int]:
        """Return the batches not yet known to be final, in order."""
        places = [(number, self.place(number)) for number in range(self.batches)]
        return [number for number, place in places if place is None or not place.height]

    # --- inside -------------------------------------------------------------------------------

    def _path(self, batch: int) -> Path:
        return self.directory / f"batch-{batch:06d}.jsonl"

    def _require_batches(self) -> list[Path]:
        paths = batch_paths(self.directory)
        for number, path in enumerate(paths):
            if path != self._path(number):
                raise Rejected("receipts/Gap", f"{self._path(number)} is missing")
            self._require_head(path)
        return paths

    def _require_head(self, path: Path) -> None:
        head = read_head(path)
        if head != self._head:
            raise Rejected(
                "receipts/OtherLog",
                f"{path} holds receipts of {head.get('log')}; choose another directory",
            )

    def _recover(self) -> None:
        """Take over the records of a writer that ended without sealing; a torn line is dropped."""
        path = self.directory / OPEN
        if not path.exists():
            return
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole.count(b"\n") < 2:
            path.unlink()
            return
        self._require_head(path)
        self._open = open(path, "r+b")  # noqa: SIM115 - held until seal()
        self._open.truncate(len(whole))
        self._open.seek(0, os.SEEK_END)
        first = next(iter(_short_lines(path)))
        self.waiting, self.oldest_ms = whole.count(b"\n") - 1, first.taken_ms
        self.total += self.waiting


def batch_paths(directory: Path) -> list[Path]:
    """Return the files of sealed batches, in order."""
    return sorted(directory.glob("batch-[0-9][0-9][0-9][0-9][0-9][0-9].jsonl"))


def read_head(path: Path) -> dict[str, Any]:
    """Return the first line of a file of receipts; ``receipts/Damaged`` if it is none."""
    try:
        with open(path, "rb") as file:
            head: Any = json.loads(file.readline())
    except FileNotFoundError:
        raise Rejected("receipts/NotFound", f"there is no {path}") from None
    except ValueError:
        head = None
    if not isinstance(head, dict) or head.get("format") not in (BATCH_FORMAT, RECORD_FORMAT):
        raise Rejected("receipts/Damaged", f"{path} is no file of receipts")
    return head


def find_receipt(path: Path, number: int) -> Receipt:
    """Return record ``number`` of a directory of receipts, or of one batch's file.

    Raises ``Rejected`` with ``receipts/…``.
    """
    paths = batch_paths(path) if path.is_dir() else [path]
    left = number
    for batch in paths:
        read_head(batch)
        lines = list(_short_lines(batch))
        if left < len(lines):
            return _receipt(batch, left, lines)
        left -= len(lines)
    raise Rejected(
        "receipts/NotFound", f"{path} has {number - left} anchored records, none is number {number}"
    )


def _receipt(path: Path, index: int, lines: list[_Short]) -> Receipt:
    place = _read_place(path)
    if place is None or not place.height:
        raise Rejected(
            "receipts/NotAnchored", f"{path.name} is not anchored yet; run the recorder again"
        )
    head = read_head(path)
    with open(path, "rb") as file:
        raw = next(line for at, line in enumerate(file) if at == index + 1)
    context = parse_id(head["log"], Kind.LOG)
    recording = _recording(_LINE.decode(raw), context, bytes.fromhex(head["genesis_hash"][2:]))
    if recording.leaf.hex() != lines[index].leaf[2:]:
        raise Rejected("receipts/Damaged", f"record {index} of {path} does not have its leaf")
    leaves = tuple(bytes.fromhex(line.leaf[2:]) for line in lines)
    return Receipt(recording=recording, index=index, leaves=leaves, place=place)


def _recording(line: Line, context: bytes, genesis_hash: bytes) -> Recording:
    facets: Facets = record_from_json(Facets, line.facets, "facets")
    return Recording(
        genesis_hash=genesis_hash,
        context=context,
        secret=bytes.fromhex(line.secret[2:]),
        fields=line.fields,
        facets=facets,
    )


def write_own_receipt(path: Path, recording: Recording, record: bytes) -> None:
    """Write the receipt of an ``anchor.record``, durably, before it is sent; never over another."""
    facets = {k: v for k, v in record_to_json(recording.facets).items() if v is not None}
    form: dict[str, JsonValue | Mapping[str, Any]] = {
        "format": RECORD_FORMAT,
        "record": format_id(record),
        "context": format_id(recording.context),
        "genesis_hash": "0x" + recording.genesis_hash.hex(),
        "secret": "0x" + recording.secret.hex(),
        "leaf": "0x" + recording.leaf.hex(),
        "fields": dict(recording.fields),
        "facets": facets,
    }
    try:
        Disk().put_new(path, _json_line(form))
    except FileExistsError:
        raise Rejected("receipts/Exists", f"{path} exists; receipts are never replaced") from None


def read_own_receipt(path: Path) -> OwnReceipt:
    """Return the receipt of an ``anchor.record``."""
    form = read_head(path)
    if form["format"] != RECORD_FORMAT:
        raise Rejected("receipts/Damaged", f"{path} holds the receipts of a log")
    line = Line(form["secret"], form["leaf"], 0, form["fields"], form["facets"])
    context = parse_id(form["context"], Kind.ACCOUNT, Kind.IP)
    recording = _recording(line, context, bytes.fromhex(form["genesis_hash"][2:]))
    return OwnReceipt(recording=recording, record=parse_id(form["record"], Kind.RECORD))


def _short_lines(path: Path) -> Iterator[_Short]:
    with open(path, "rb") as file:
        file.readline()
        for raw in file:
            try:
                yield _SHORT.decode(raw)
            except msgspec.DecodeError as error:
                raise Rejected("receipts/Damaged", f"{path}: {error}") from None


def _place_path(batch: Path) -> Path:
    return batch.with_suffix(".place.json")


def _read_place(batch: Path) -> Place | None:
    try:
        return Place(**json.loads(_place_path(batch).read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise Rejected("receipts/Damaged", f"{_place_path(batch)} is no place") from None


def _json_line(form: Mapping[str, Any]) -> bytes:
    return json.dumps(form, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _restrict(path: Path) -> None:
    """Secrets are for their owner only."""
    os.chmod(path, 0o600)


def _lock(directory: Path) -> IO[str]:
    with refusals(directory, "receipts/NotWritable"):
        file = open(directory / "LOCK", "a+", encoding="ascii")  # noqa: SIM115 - held until close()
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Rejected("receipts/InUse", f"another recorder writes to {directory}") from None
    return file
