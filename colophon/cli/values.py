"""From what stands on the command line to a field's JSON form, by the field's type.

Ids are ids or names of own keys, amounts ``1.5colo``, shares ``10%``, durations ``90d``, times
``2026-01-31T12:00Z`` or ``+30d``; ``@FILE`` is a file's content (for hashes: its SHA-256); records
are JSON or, where that is clear, their parts joined by ``/``.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import click
import msgspec

from chain.codec import Record
from chain.errors import Rejected
from chain.fields import (
    Blob,
    fields_of,
    json_names,
    members_of,
    optional_of,
    split_annotation,
)
from chain.ids import PREFIX, Kind
from chain.types import DURATION_MAX_MS
from colophon.amounts import parse_amount, parse_duration, parse_share
from state.disk_fault import refusals

ID = re.compile(r"([a-z]+)1[02-9ac-hj-np-z]{40}")
"""What the text of an id looks like; the checksum is checked where it is read."""

Resolve = Callable[[str], str]
"""Returns the address of a key's name; an id stays."""


class Shape:
    """What a field's type means on the command line."""

    def __init__(self, name: str, kind: Any) -> None:
        bare, extras = split_annotation(kind)
        metas = list(_metas(kind))
        inner = optional_of(bare)
        self.optional = inner is not None
        if inner is not None:
            metas += _metas(inner)
            bare, more = split_annotation(inner)
            extras = {**more, **extras}
        self.name = name
        self.bare = bare
        self.extras = extras
        self.is_list = get_origin(bare) is list
        self.members = members_of(bare)
        self.item = get_args(bare)[0] if self.is_list else None
        self.low = next((meta.ge for meta in metas if meta.ge is not None), 0)
        self.high = next((meta.le for meta in metas if meta.le is not None), None)
        self.is_hash = any(meta.min_length == meta.max_length == 32 for meta in metas)

    @property
    def is_flag(self) -> bool:
        """Whether it is given as ``--name/--no-name``."""
        return self.bare is bool

    @property
    def choices(self) -> list[str]:
        """Names of an enumeration, else nothing."""
        if isinstance(self.bare, type) and issubclass(self.bare, IntEnum):
            return [member.name.lower() for member in self.bare]
        return []

    def is_record(self) -> bool:
        """Whether the value is an object."""
        return isinstance(self.bare, type) and issubclass(self.bare, Record) and not self.is_blob

    @property
    def is_denom(self) -> bool:
        """Whether it is a denomination; ncolo is meant where none is given."""
        return bool(self.extras.get("denom")) and not self.optional

    @property
    def may_be_absent(self) -> bool:
        """Whether the command line supplies something where nothing is given."""
        return self.optional or self.is_list or self.is_denom

    @property
    def is_blob(self) -> bool:
        """Whether the value is erasable content."""
        return self.bare is Blob

    @property
    def is_duration(self) -> bool:
        """Whether it is a time span in milliseconds."""
        return self.bare is int and self.high == DURATION_MAX_MS

    @property
    def is_time(self) -> bool:
        """Whether it is a point in time in Unix milliseconds."""
        return self.bare is int and (self.name.endswith("_at") or self.name == "valid_until")

    @property
    def is_share(self) -> bool:
        """Whether it is a percentage."""
        return self.bare is int and bool(self.extras.get("share") or self.name.endswith("_share"))

    def describe(self) -> str:
        """Return what to write, in a few words."""
        if self.is_list:
            return f"{Shape(self.name, self.item).describe()}; repeatable, or a JSON list"
        if self.extras.get("kinds"):
            forms = [f"{PREFIX[Kind(kind)]}1…" for kind in sorted(self.extras["kinds"])]
            own = ", or an own key's name" if 0 in self.extras["kinds"] else ""
            return " or ".join(forms) + own
        if self.members:
            return f"JSON or @FILE of one of {', '.join(self.members)}"
        if self.is_record():
            return f"JSON or @FILE: {{{', '.join(json_names(self.bare))}}}"
        plain = {
            "an id": self.extras.get("id"),
            "amount: 1500 or 1.5colo": self.extras.get("amount"),
            "ncolo (default), token/tok1… or royalty/ip1…": self.extras.get("denom"),
            "text or @FILE, erasable": self.is_blob,
            "0x hex, or @FILE for its SHA-256": self.is_hash,
            "0x hex or @FILE": self.bare is bytes,
            "duration: 90d, 12h, 30m, 10s": self.is_duration,
            "time: 2026-01-31, 2026-01-31T12:00Z, +30d or Unix ms": self.is_time,
            "share: 10% or units of 1e-8": self.is_share,
        }
        return next((words for words, holds in plain.items() if holds), "")

    @property
    def metavar(self) -> str | None:
        """Return the word that stands for the value in usage lines; None where click knows."""
        if self.is_flag or self.choices:
            return None
        if self.is_list:
            return Shape(self.name, self.item).metavar
        words = {
            "ID": self.extras.get("kinds") or self.extras.get("id"),
            "DENOM": self.extras.get("denom"),
            "AMOUNT": self.extras.get("amount"),
            "JSON": self.is_record() or self.members,
            "HEX": self.bare is bytes,
            "INTEGER": self.bare is int,
        }
        return next((word for word, holds in words.items() if holds), "TEXT")

    def option(self, flag: str, *, required: bool) -> click.Option:
        """Return the option that takes this field."""
        secondary = f"/--no-{flag[2:]}" if self.is_flag else ""
        more: dict[str, Any] = {"metavar": self.metavar} if self.metavar else {}
        if self.is_flag:
            more["default"] = None  # a flag that is not given says nothing
        if self.choices:
            more["type"] = click.Choice(self.choices, case_sensitive=False)
        return click.Option(
            [flag + secondary, f"field_{self.name}"],
            required=required and not self.is_flag,
            multiple=self.is_list,
            help=self.describe() or None,
            **more,
        )

    def form(self, value: Any, resolve: Resolve) -> Any:
        """Return the JSON form of what was given; raises ``Rejected`` naming the option."""
        try:
            if self.is_list:
                return self._list(value, resolve)
            return value if self.is_flag else self._one(value, resolve)
        except Rejected as refusal:
            flag = "--" + self.name.replace("_", "-")
            raise Rejected(refusal.code, f"{flag}: {refusal.message}") from None

    def _list(self, values: tuple[str, ...], resolve: Resolve) -> list[Any]:
        if len(values) == 1 and values[0][:1] in ("[", "@"):
            return list(read_json(values[0]))
        item = Shape(self.name, self.item)
        return [item._one(value, resolve) for value in values]

    def _one(self, text: str, resolve: Resolve) -> Any:
        if self.extras.get("amount"):
            return str(parse_amount(text))
        if self.extras.get("kinds"):
            return resolve(text) if 0 in self.extras["kinds"] else text
        if self.is_record():
            return self._record(text, resolve)
        if self.members:
            return dict(read_json(text))
        if self.is_blob:
            return _blob(text)
        if self.is_hash and text.startswith("@"):
            return "0x" + hashlib.sha256(read_file(text[1:])).hexdigest()
        if self.bare is bytes and not self.extras:
            if text[:1] == "{":
                return read_json(text)
            return "0x" + read_file(text[1:]).hex() if text.startswith("@") else text
        if self.bare is int:
            return self._integer(text)
        return text

    def _integer(self, text: str) -> int:
        if self.is_duration:
            return parse_duration(text)
        if self.is_time:
            return parse_time(text)
        if self.is_share:
            return parse_share(text)
        if not (text.isascii() and text.isdecimal()):
            raise Rejected("json/WrongType", f"{text!r} is no integer")
        return int(text)

    def _record(self, text: str, resolve: Resolve) -> dict[str, Any]:
        if text[:1] in ("{", "@"):
            return dict(read_json(text))
        form: dict[str, Any] = {}
        shapes = {
            name: Shape(name, fields_of(self.bare)[attribute])
            for name, attribute in json_names(self.bare).items()
        }
        for part in text.split("/"):
            name = next((n for n, s in shapes.items() if n not in form and s.takes(part)), None)
            if name is None:
                raise Rejected("json/WrongType", f"{part!r} fits no field of {', '.join(shapes)}")
            form[name] = shapes[name]._one(part, resolve)
            if shapes[name].extras.get("amount") and "denom" in shapes:
                form["denom"] = "ncolo"
        return form

    def takes(self, part: str) -> bool:
        """Tell whether a part of a short form is meant for this field."""
        match = ID.fullmatch(part)
        if match is not None:
            kinds = self.extras.get("kinds") or ()
            return any(PREFIX[Kind(kind)] == match[1] for kind in kinds)
        if self.choices:
            return part in self.choices
        if part.startswith("0x"):
            return self.bare is bytes and not self.extras
        if part[:1].isdecimal():
            return bool(self.extras.get("amount"))
        return 0 in (self.extras.get("kinds") or ())


def _metas(kind: Any) -> list[msgspec.Meta]:
    found: list[msgspec.Meta] = []
    while get_origin(kind) is Annotated:
        kind, *metas = get_args(kind)
        found += [meta for meta in metas if isinstance(meta, msgspec.Meta)]
    return found


def read_file(name: str) -> bytes:
    """Return a file's bytes; ``file/NotFound`` with the name."""
    try:
        return Path(name).expanduser().read_bytes()
    except OSError as error:
        raise Rejected("file/NotFound", f"cannot read {name}: {error.strerror}") from None


def write_file(name: str, data: bytes) -> None:
    """Write what somebody asked for where they said; ``file/NotWritable`` with the name.

    It is written in place: the name may be a device or a pipe.
    """
    path = Path(name).expanduser()
    with refusals(path, "file/NotWritable"):
        path.write_bytes(data)


def read_json(text: str) -> Any:
    """Return the JSON in ``text`` or, for ``@FILE``, in that file."""
    raw = read_file(text[1:]) if text.startswith("@") else text
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Rejected("json/Malformed", f"not JSON: {error}") from None


def parse_time(text: str) -> int:
    """Return Unix milliseconds of an ISO date or time, of ``+30d`` from now, or of digits."""
    if text.isascii() and text.isdecimal():
        return int(text)
    if text.startswith("+"):
        return time.time_ns() // 1_000_000 + parse_duration(text[1:])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Rejected(
            "time/Malformed", f"{text!r} is no time: expected 2026-01-31T12:00Z, +30d or Unix ms"
        ) from None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


def _blob(text: str) -> Any:
    if not text.startswith("@"):
        return text
    content = read_file(text[1:])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return {"hex": "0x" + content.hex()}
