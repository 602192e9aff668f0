"""Check an exported bundle offline: no node, no network, none of the chain's code.

Written from docs/protocol.md alone (the rules cited: E, H, S, M, A, B, V, X), as a second opinion on
what the rest of the project does. It needs the standard library and PyNaCl.

    python -m colophon.verify BUNDLE.json [0xGENESIS_HASH]
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

MAX_BUNDLE, MAX_VALUE, MAX_VALUES = 33_554_432, 1_048_576, 8_388_608  # X11, X2
MAX_INTEGER, MAX_DEPTH, MAX_BATCH = 2**53 - 1, 32, 2**24  # X1, X8
ACCOUNT, IP, LOG, RECORD = 0, 2, 5, 6  # I1
P = 2**255 - 19
EIGHTH = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_ORDER = {0, 1, P - 1, EIGHTH, P - EIGHTH}  # y of the points whose order divides 8
NAME = re.compile(r"[a-z0-9.][a-z0-9._]{0,63}")  # X3
HEX, SURROGATE = re.compile(r"0x((?:[0-9a-f]{2})*)"), re.compile(r"[\ud800-\udfff]")
FACETS = {  # X6: number and kind of each
    "model": (1, "ip"), "agent": (2, "holder"), "owner": (3, "holder"),
    "digital_source_type": (4, "64"), "time": (5, "time"), "schema": (6, "64"),
    "language": (7, "35"),
}  # fmt: skip
# Fields with their kinds (KINDS below): B1, V8, N-anchor, and the members of X11's objects.
HEADER = (
    "version:uint genesis_hash:hash epoch:uint view:uint height:uint kind:uint parent_view:uint "
    "parent_id:hash time_ms:uint proposer_index:uint tx_root:hash evidence_root:hash "
    "parent_certificate_hash:hash base_fee:uint units_limit_used:uint parent_state_root:hash "
    "parent_receipts_root:hash params_hash:hash next_committee_hash:hash"
)
CERTIFICATE = "kind:uint epoch:uint view:uint block_id:hash bitmap:bin signatures:list"
LOG_ROW = (
    "version:uint owner:id writers:list schema:str retention:uint max_merge_delay:uint bond:amount "
    "penalty_per_leaf:amount closed_at:uint batches:uint leaves:uint last_to:uint peaks:hashes"
)
BUNDLE = "format:str trust:any record:any log:any state:any finality:any hops:list"
TRUST = "genesis_hash:hash epoch_length:uint epoch:uint committee:bin"
DISCLOSURE = "context:id fields:uint content_root:hash facets_hash:hash facets:any revealed:list"
BATCH = "batch_no:uint first_index:uint count:uint from:uint to:uint root:hash"
Row = dict[str, Any]


class InvalidBundle(Exception):
    """The bundle proves nothing; `code` says which kind of rule it breaks."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Trust:
    """What a reader knows from elsewhere, best from the genesis document (X12, V14)."""

    genesis_hash: bytes
    epoch_length: int
    epoch: int
    committee: bytes


@dataclass(frozen=True)
class Verdict:
    """What a valid bundle says, and what that rests on."""

    context: bytes  # the log, or the actor of `anchor.record`
    leaf: bytes
    place: int | None  # in the log
    record: bytes | None  # the id, for `anchor.record`
    no_later_than_ms: int
    height: int  # of the header the proof hangs on
    values: dict[str, Any]
    withheld: tuple[str, ...]  # of these only the names are shown; any other name is absent
    facets: dict[str, Any] | None
    genesis_hash: bytes
    epoch_length: int
    epoch: int  # the trust begins at this epoch and its committee's hash
    committee: bytes
    rests_on: str
    proves: str = (
        "an authorised account of this log (or the actor itself) bound exactly these fields at this "
        "place, no later than the header's time, and nothing else can stand there"
    )
    does_not_prove: str = (
        "that the fields are true, that a model ran, the order inside a batch, or that this is the "
        "only record of its interaction"
    )


def need(condition: bool, code: str, message: str) -> None:
    """Refuse unless the condition holds."""
    if not condition:
        raise InvalidBundle(code, message)


def tagged(tag: str, data: bytes) -> bytes:
    """H1."""
    return hashlib.sha256(bytes([len(tag)]) + tag.encode() + data).digest()


def parse(data: bytes) -> Any:
    """Return the JSON value of a text that keeps X1 (X11: as a whole)."""

    def refuse(text: str) -> Any:
        raise InvalidBundle("json/NotAllowed", f"{text[:20]} is no integer of at most 2^53 - 1")

    def integer(text: str) -> int:
        short = len(text) <= 17 and abs(int(text)) <= MAX_INTEGER
        return int(text) if short else refuse(text)

    def unique(pairs: list[tuple[str, Any]]) -> Row:
        need(len(dict(pairs)) == len(pairs), "json/NotAllowed", "an object has one key twice")
        return dict(pairs)

    def check(value: Any, depth: int) -> None:
        if isinstance(value, str):
            need(not SURROGATE.search(value), "json/NotAllowed", "a string has a lone surrogate")
        elif isinstance(value, dict | list):
            need(depth < MAX_DEPTH, "json/TooDeep", "lists and objects nest deeper than 32")
            for item in [*value, *value.values()] if isinstance(value, dict) else value:
                check(item, depth + 1)

    need(len(data) <= MAX_BUNDLE, "bundle/TooLarge", "more than 33 554 432 bytes")
    hooks: dict[str, Callable[[str], Any]] = {"parse_float": refuse, "parse_constant": refuse}
    try:
        value = json.loads(data.decode(), parse_int=integer, object_pairs_hook=unique, **hooks)
    except (ValueError, RecursionError) as error:
        raise InvalidBundle("json/NotAllowed", f"no JSON text: {error}") from None
    check(value, 0)
    return value


def canonical(value: Any) -> bytes:
    """X2."""
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: pair[0].encode("utf-16-be"))
        return b"{" + b",".join(canonical(k) + b":" + canonical(v) for k, v in pairs) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(canonical(item) for item in value) + b"]"
    return json.dumps(value, ensure_ascii=False).encode()


LONG = {0xC4: (bytes, 1), 0xC5: (bytes, 2), 0xC6: (bytes, 4), 0xD9: (str, 1), 0xDA: (str, 2),
        0xDB: (str, 4), 0xDC: (list, 2), 0xDD: (list, 4), 0xCC: (int, 1), 0xCD: (int, 2),
        0xCE: (int, 4), 0xCF: (int, 8)}  # fmt: skip
SHORT = {int: (0, 128), str: (0xA0, 32), list: (0x90, 16), bytes: (0, 0)}


def pack(value: Any) -> bytes:
    """Return canonical MessagePack (E1): every head is the shortest."""
    if value is None:
        return b"\xc0"
    raw = value.encode() if isinstance(value, str) else value
    size, body = (value, b"") if isinstance(value, int) else (len(raw), raw)
    if isinstance(value, list):
        body = b"".join(map(pack, value))
    first, below = SHORT[type(value)]
    if size < below:
        return bytes([first + size]) + body
    heads = [(w, c) for c, (kind, w) in LONG.items() if kind is type(value) and size >> 8 * w == 0]
    width, first = min(heads)
    return bytes([first]) + int.to_bytes(size, width, "big") + body


def unpack(data: bytes, code: str) -> Any:
    """Return the value of canonical MessagePack: E1, E2, E4."""
    stream = BytesIO(data)

    def take(size: int) -> bytes:
        taken = stream.read(size)
        need(len(taken) == size, code, "MessagePack ends early")
        return taken

    def read(depth: int) -> Any:
        first = take(1)[0]
        if first < 0x80 or first == 0xC0:
            return first if first < 0x80 else None
        kind, size = (list, first & 15) if first >> 4 == 9 else (str, first & 31)
        if first >> 4 not in (9, 10, 11):
            need(first in LONG, code, f"MessagePack of type {first:#x} is not used")
            kind, width = LONG[first]
            size = int.from_bytes(take(width), "big")
        if kind is list:
            need(depth < 16, code, "MessagePack nests deeper than 16")
            return [read(depth + 1) for _ in range(size)]
        return size if kind is int else take(size) if kind is bytes else take(size).decode()

    try:
        value = read(0)
    except UnicodeDecodeError:
        raise InvalidBundle(code, "MessagePack text is not UTF-8") from None
    need(pack(value) == data, code, "not canonical MessagePack")
    return value


def is_bin(value: Any, *sizes: int) -> bool:
    """Whether the value is bytes of one of these lengths."""
    return isinstance(value, bytes) and len(value) in sizes


KINDS: dict[str, Callable[[Any], bool]] = {
    "any": lambda value: True,
    "uint": lambda value: type(value) is int and value >= 0,
    "str": lambda value: isinstance(value, str),
    "list": lambda value: isinstance(value, list),
    "bin": lambda value: isinstance(value, bytes),
    "hash": lambda value: is_bin(value, 32),
    "id": lambda value: is_bin(value, 21) and value[0] <= 12,
    "hashes": lambda value: isinstance(value, list) and all(is_bin(item, 32) for item in value),
    "amount": lambda value: is_bin(value, *range(17)) and value[:1] != b"\0",
}
