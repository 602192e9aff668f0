"""Check an exported bundle offline: no node, no network, none of the chain's code.

Written from docs/protocol.md alone, whose rules it cites, as a second opinion on the rest of the
project. Usage: python -m colophon.verify BUNDLE.json [0xGENESIS_HASH]
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from dataclasses import dataclass, fields, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

MAX_BUNDLE, MAX_VALUE, MAX_VALUES, MAX_INTEGER = 2**25, 2**20, 2**23, 2**53 - 1  # X11, X2, X1
ACCOUNT, IP, LOG = b"\0", b"\2", b"\5"  # I1
NAME, HEX = re.compile(r"[a-z0-9.][a-z0-9._]{0,63}"), re.compile(r"0x((?:[0-9a-f]{2})*)")  # X3, X11
EIGHTH = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
P = 2**255 - 19
SMALL_ORDER = (0, 1, P - 1, EIGHTH, P - EIGHTH)  # y of the points whose order divides 8 (S2)

# Shapes, for `fit`: a number means so many bytes, a tuple that null may stand there.
FINALITY = {"certificate": bytes, "headers": [bytes]}
FACETS = {
    "model": 21, "agent": 21, "owner": 21, "digital_source_type": str, "time": int, "schema": str,
    "language": str,
}  # fmt: skip
BUNDLE = {
    "format": str,
    "trust": {"genesis_hash": 32, "epoch_length": int, "epoch": int, "committee": bytes},
    "record": {
        "context": 21, "fields": int, "content_root": 32, "facets_hash": 32,
        "facets": ({"salt": 32, "values": Any},),
        "revealed": [{"name": str, "index": int, "salt": 32, "value": Any, "path": [32]}],
    },
    "log": ({
        "batch": {
            "batch_no": int, "first_index": int, "count": int, "from": int, "to": int, "root": 32
        },
        "index": int, "leaf_path": [32], "batch_path": [32],
        "checkpoint": {"log": 21, "size": int, "root": 32},
    },),
    "state": {"key": bytes, "value": bytes, "levels": [224], "leaf": [[32]]},
    "finality": FINALITY,
    "hops": [{"finality": FINALITY, "committee": bytes}],
}  # fmt: skip
HEADER = {  # B1
    "version": int, "genesis_hash": 32, "epoch": int, "view": int, "height": int, "kind": int,
    "parent_view": int, "parent_id": 32, "time_ms": int, "proposer_index": int, "tx_root": 32,
    "evidence_root": 32, "parent_certificate_hash": 32, "base_fee": int, "units_limit_used": int,
    "parent_state_root": 32, "parent_receipts_root": 32, "params_hash": 32,
    "next_committee_hash": 32,
}  # fmt: skip
CERTIFICATE = {  # V8
    "kind": int, "epoch": int, "view": int, "block_id": 32, "bitmap": bytes, "signatures": [64]
}  # fmt: skip
LOG_ROW = {  # N-anchor
    "version": int, "owner": 21, "writers": [{"account": 21, "key": 32}], "schema": str,
    "retention": int, "max_merge_delay": int, "bond": bytes, "penalty_per_leaf": bytes,
    "closed_at": int, "batches": int, "leaves": int, "last_to": int, "peaks": [32],
}  # fmt: skip
# Heads of MessagePack: type, first byte, how many sizes stand in it or in how many bytes after it.
HEADS = (
    (int, 0, 128, 0), (int, 0xCC, 1, 1), (int, 0xCD, 1, 2), (int, 0xCE, 1, 4), (int, 0xCF, 1, 8),
    (str, 0xA0, 32, 0), (str, 0xD9, 1, 1), (list, 0x90, 16, 0), (list, 0xDC, 1, 2),
    (bytes, 0xC4, 1, 1),
)  # fmt: skip
Row = dict[str, Any]


class InvalidBundle(Exception):
    """The bundle proves nothing; `code` names the part that does not hold."""

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

    context: bytes
    leaf: bytes
    place: int | bytes  # the number in the log, or the id of `anchor.record`
    no_later_than_ms: int
    values: Row
    withheld: tuple[str, ...]  # only these names are shown; every other name is absent
    facets: Row | None
    trust: Trust
    rests_on: str


def need(condition: bool, code: str, message: str) -> None:
    """Refuse unless the condition holds."""
    if not condition:
        raise InvalidBundle(code, message)


def tagged(tag: str, data: bytes) -> bytes:
    """H1."""
    return hashlib.sha256(bytes([len(tag)]) + tag.encode() + data).digest()


def parse(data: bytes) -> Any:
    """Return the JSON value of a text that keeps X1 as a whole (X11), its objects in X2's order."""

    def refuse(text: str) -> Any:
        raise ValueError(f"{text[:20]} is no integer up to 2^53 - 1")

    def integer(text: str) -> Any:
        return int(text) if len(text) < 18 and abs(int(text)) <= MAX_INTEGER else refuse(text)

    def ordered(pairs: list[tuple[str, Any]]) -> Row:
        need(len(dict(pairs)) == len(pairs), "json/NotAllowed", "an object has one key twice")
        return dict(sorted(pairs, key=lambda pair: pair[0].encode("utf-16-be")))

    def depth(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0

    need(len(data) <= MAX_BUNDLE, "bundle/TooLarge", "more than 33 554 432 bytes")
    numbers: Row = {"parse_int": integer, "parse_float": refuse, "parse_constant": refuse}
    try:
        value = json.loads(data.decode(), object_pairs_hook=ordered, **numbers)
        canonical(value)  # fails if there is a lone surrogate
        need(depth(value) <= 32, "json/TooDeep", "lists and objects nest deeper than 32")
    except (ValueError, RecursionError) as error:
        raise InvalidBundle("json/NotAllowed", f"not the JSON of X1: {error}") from None
    return value


def canonical(value: Any) -> bytes:
    """X2, for a value whose objects are in order."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def pack(value: Any) -> bytes:
    """Return canonical MessagePack, in which every head is the shortest (E1)."""
    raw = value.encode() if isinstance(value, str) else value
    body = b"".join(map(pack, raw)) if isinstance(raw, list) else raw
    size, body = (raw, b"") if isinstance(raw, int) else (len(raw), body)
    fitting = (h for h in HEADS if h[0] is type(value) and size < (256 ** h[3] if h[3] else h[2]))
    _, first, _, width = next(fitting)
    return bytes([first, *size.to_bytes(width, "big")] if width else [first + size]) + body


def unpack(data: bytes, shape: Any) -> Any:
    """Return the value of canonical MessagePack; whatever else it is packs otherwise (E1, E2, E4)."""
    stream = BytesIO(data)

    def read(depth: int) -> Any:
        first = int.from_bytes(stream.read(1), "big")
        head = next((h for h in HEADS if h[1] <= first < h[1] + h[2]), None)
        need(head is not None and depth <= 16, "codec/Malformed", "MessagePack no bundle holds")
        kind, low, _, width = head or HEADS[0]
        size = int.from_bytes(stream.read(width), "big") if width else first - low
        if kind is list:
            return [read(depth + 1) for _ in range(size)]
        raw = size if kind is int else stream.read(size)
        return raw.decode("utf-8", "replace") if kind is str else raw

    value = read(0)
    need(pack(value) == data, "codec/NotCanonical", "not canonical MessagePack")
    return fit(value, shape, packed=True)


def fit(value: Any, shape: Any, packed: bool = False) -> Any:
    """Return a value that has the shape: hex as bytes, a packed array as its fields by name."""
    if isinstance(shape, dict):
        if packed and isinstance(value, list) and len(value) == len(shape):
            value = dict(zip(shape, value, strict=True))
        good = isinstance(value, dict) and value.keys() == shape.keys()
        need(good, "bundle/Malformed", f"not exactly {', '.join(shape)}")
        return {name: fit(value[name], inner, packed) for name, inner in shape.items()}
    if isinstance(shape, list):
        need(isinstance(value, list), "bundle/Malformed", "no list where one has to be")
        return [fit(item, shape[0], packed) for item in value]
    if shape is Any or isinstance(shape, tuple):
        return value if shape is Any or value is None else fit(value, shape[0], packed)
    if shape in (int, str):
        good = type(value) is shape and (shape is str or value >= 0)
    else:
        found = None if packed else HEX.fullmatch(value if isinstance(value, str) else "")
        value = bytes.fromhex(found[1]) if found else value
        good = isinstance(value, bytes) and shape in (bytes, len(value))
    need(good, "bundle/Malformed", f"a value is not what has to be there: {str(value)[:40]}")
    return value


def node(left: bytes, right: bytes) -> bytes:
    """M5."""
    return hashlib.sha256(b"\1" + left + right).digest()


def leads(head: bytes, index: int, count: int, path: list[bytes], root: bytes) -> None:
    """Refuse unless the leaf leads by its path to the root (M4, M8)."""
    need(index < count and len(path) <= 65, "merkle/BadProof", "an index or path is too large")
    last = count - 1
    for entry in path:
        need(last > 0, "merkle/BadProof", "a path is too long")
        if index % 2 or index == last:
            head = node(entry, head)
            while index and index % 2 == 0:
                index, last = index // 2, last // 2
        else:
            head = node(head, entry)
        index, last = index // 2, last // 2
    need(last == 0 and head == root, "merkle/BadProof", "a path does not lead to its root")


def facets_of(record: Row) -> Row | None:
    """Return the facets shown: X6, and what X10 says of them."""
    if (shown := record["facets"]) is None:
        return None
    names = shown["values"] if isinstance(shown["values"], dict) else {}
    facets: Row = fit(shown["values"], {n: shape for n, shape in FACETS.items() if n in names})
    for name, value in facets.items():
        kinds = (IP,) if name == "model" else (ACCOUNT, IP)
        good = value[:1] in kinds if isinstance(value, bytes) else True
        size = len(value.encode()) if isinstance(value, str) else 0
        need(good and size <= (35 if name == "language" else 64), "record/BadFacets", name)
    packed = pack([[n, facets[name]] for n, name in enumerate(FACETS, 1) if name in facets])
    good = record["context"][:1] == LOG or not any(shown["salt"])
    good = good and tagged("facets", shown["salt"] + packed) == record["facets_hash"]
    need(good, "record/BadFacets", "the facets and their salt do not give the facets hash")
    return facets


def names_of(record: Row) -> list[str]:
    """Refuse a disclosure that breaks X10; return all names of its record, `_fields` first."""
    first, count = next(iter(record["revealed"]), {}), record["fields"]
    names = first.get("value")
    good = isinstance(names, list) and all(isinstance(n, str) and NAME.fullmatch(n) for n in names)
    good = good and all(a < b for a, b in pairwise(names)) and first["index"] == 0
    need(good and count == len(names) + 1 <= 257, "record/BadNames", "field 0 is no list of names")
    need(record["context"][:1] in (ACCOUNT, IP, LOG), "record/BadContext", "no actor and no log")
    names, last, total = ["_fields", *names], -1, 0
    for item in record["revealed"]:
        name, index, value = item["name"], item["index"], canonical(item["value"])
        good = last < index < count and names[index] == name
        need(good, "record/BadPlace", f"{name[:64]} does not stand at {index}")
        total += len(value) if index else 0
        need(max(len(value), total // 8) <= MAX_VALUE, "record/TooLarge", f"{name} is too large")
        preimage = bytes([len(name)]) + name.encode() + item["salt"] + value
        leads(tagged("field", preimage), index, count, item["path"], record["content_root"])
        last = index
    return names


def members_of(committee: bytes) -> list[Row]:
    """Return the members of a committee that keeps V1."""
    members: list[Row] = unpack(committee, [{"key": 32, "power": int}])
    powers, keys = [m["power"] for m in members], [m["key"] for m in members]
    good = 1 <= len(members) <= 100 and min(powers) >= 1 and sum(powers) <= 2**60
    ys = [int.from_bytes(key, "little") % 2**255 for key in keys]
    good = good and len(set(keys)) == len(keys) and all(y < P and y not in SMALL_ORDER for y in ys)
    need(good, "finality/BadCommittee", "a committee breaks V1")
    return members


def check_votes(certificate: Row, trust: Trust) -> None:
    """Refuse a finalization that is not valid under the committee: V2, V5, V8, V9, S1."""
    members, bits = members_of(trust.committee), int.from_bytes(certificate["bitmap"], "little")
    signers = [member for i, member in enumerate(members) if bits >> i & 1]
    good = len(certificate["bitmap"]) == (len(members) + 7) // 8 and bits >> len(members) == 0
    good = good and len(signers) == len(certificate["signatures"])
    need(good, "finality/BadCertificate", "the bitmap does not fit committee and signatures")
    quorum = 3 * sum(m["power"] for m in signers) > 2 * sum(m["power"] for m in members)
    need(quorum, "finality/NoQuorum", "the signers hold no more than two thirds of the power")
    place = b"".join(certificate[part].to_bytes(8, "big") for part in ("epoch", "view"))
    vote = tagged("vote-finalize", trust.genesis_hash + place + certificate["block_id"])
    try:
        for signer, signature in zip(signers, certificate["signatures"], strict=True):
            crypto_sign_open(signature + vote, signer["key"])
    except BadSignatureError:
        raise InvalidBundle("finality/BadSignature", "a signature does not verify") from None


def finalised(proof: Row, trust: Trust) -> Row:
    """Return the header a finality proof proves: V12, V13, V14."""
    certificate = unpack(proof["certificate"], CERTIFICATE)
    good = certificate["kind"] == 2 and certificate["epoch"] == trust.epoch
    need(good and 1 <= len(proof["headers"]) <= 64, "finality/Malformed", "no finality proof")
    check_votes(certificate, trust)
    headers: list[Row] = [unpack(header, HEADER) for header in proof["headers"]]
    wanted = (certificate["block_id"], certificate["view"])
    for data, header in zip(proof["headers"], headers, strict=True):
        good = wanted == (tagged("block", data), header["view"]) and header["kind"] in (0, 1)
        good = good and (header["version"], header["epoch"]) == (1, trust.epoch)
        good = good and header["genesis_hash"] == trust.genesis_hash
        need(good, "finality/BadHeader", "a header is not the one that was named")
        wanted = (header["parent_id"], header["parent_view"])
    for child, parent in pairwise(headers):
        good = child["height"] == parent["height"] + (child["kind"] == 0)
        need(good, "finality/BadHeader", "heights do not fall by one")
    low = trust.epoch * trust.epoch_length
    good = headers[-1]["kind"] == 0 and low < headers[-1]["height"] <= low + trust.epoch_length
    need(good, "finality/BadHeader", "the proved header is no block of the epoch")
    return headers[-1]


def check_state(state: Row, root: bytes) -> None:
    """Refuse a state proof that does not keep A7 and A8."""
    path, value = hashlib.sha256(state["key"]).digest(), tagged("state-value", state["value"])
    levels, leaf, bits = state["levels"], state["leaf"], int.from_bytes(path, "big")
    good = len(levels) <= 85 and len(leaf) <= 4 and all(len(entry) == 2 for entry in leaf)
    good = good and not (levels and not any(levels[-1])) and all(a[0] < b[0] for a, b in pairwise(leaf))
    shift = 256 - 3 * len(levels)
    good = good and all(int.from_bytes(e[0], "big") >> shift == bits >> shift for e in leaf)
    need(good, "proof/Malformed", "a state proof no tree gives")
    head = tagged("state-leaf", b"".join(map(b"".join, leaf))) if leaf else bytes(32)
    for level, siblings in reversed(list(enumerate(levels))):
        child = 32 * (bits >> 253 - 3 * level & 7)
        head = tagged("state-branch", siblings[:child] + head + siblings[child:])
    need(head == root, "proof/RootMismatch", "the state proof does not lead to the header's root")
    need([path, value] in leaf, "proof/OtherValue", "the state has not this value at this key")


def check_log(bundle: Row, leaf: bytes) -> int | bytes:
    """Return the record's place: number in its log, or own id (X12.6, X12.7)."""
    key, value = bundle["state"]["key"], bundle["state"]["value"]
    context, log = bundle["record"]["context"], bundle["log"]
    if log is None:
        row = unpack(value, {"version": int, "leaf": 32, "height": int})
        good = context[:1] != LOG and len(key) == 29 and key[:9] == b"anchor\0\2\6"
        need(good and (row["version"], row["leaf"]) == (1, leaf), "bundle/BadRecord", "other row")
        return bytes(key[8:])
    row, batch, tip = unpack(value, LOG_ROW), log["batch"], log["checkpoint"]
    amounts = all(len(a) <= 16 and a[:1] != b"\0" for a in (row["bond"], row["penalty_per_leaf"]))
    good = amounts and context[:1] == LOG and context == tip["log"] and key == b"anchor\0\1" + context
    good = good and (row["version"], row["batches"]) == (1, tip["size"])
    good = good and len(row["peaks"]) == tip["size"].bit_count() > 0
    need(good and 1 <= batch["count"] <= 2**24, "bundle/BadLog", "row, log and batch do not fit")
    head = row["peaks"][-1]
    for peak in reversed(row["peaks"][:-1]):
        head = node(peak, head)
    need(head == tip["root"], "bundle/BadLog", "the row's peaks do not give the checkpoint")
    sizes = {"batch_no": 8, "first_index": 8, "count": 4, "from": 8, "to": 8}
    numbers = b"".join(batch[name].to_bytes(size, "big") for name, size in sizes.items())
    leads(leaf, log["index"], batch["count"], log["leaf_path"], batch["root"])
    hashed = tagged("batch", context + numbers + batch["root"])
    leads(hashed, batch["batch_no"], tip["size"], log["batch_path"], tip["root"])
    return int(batch["first_index"] + log["index"])


def verify_bytes(
    data: bytes, genesis_hash: bytes | None = None, trust: Trust | None = None
) -> Verdict:
    """Check a bundle (X11, X12) from what the reader trusts; else only relative to its own trust."""
    bundle, claimed = fit(parse(data), BUNDLE), None
    hops, claimed = bundle["hops"], Trust(**bundle["trust"])
    need(bundle["format"] == "colophon/bundle/1", "bundle/Malformed", "another format")
    start, known = trust or claimed, (genesis_hash, trust and trust.genesis_hash)
    good = all(h in (None, claimed.genesis_hash) for h in known) and len(hops) <= 1024
    good = good and claimed.epoch <= start.epoch <= claimed.epoch + len(hops)
    need(good, "bundle/OtherTrust", "the bundle begins at another network or epoch")
    now = start
    for hop in hops[start.epoch - claimed.epoch :]:
        header, committee = finalised(hop["finality"], now), hop["committee"]
        good = header["height"] == (now.epoch + 1) * now.epoch_length
        good = good and header["next_committee_hash"] == tagged("committee", committee)
        need(good, "finality/BadHop", "no last block of its epoch that names the next committee")
        now = replace(now, epoch=now.epoch + 1, committee=committee)
    header, record = finalised(bundle["finality"], now), bundle["record"]
    check_state(bundle["state"], header["parent_state_root"])
    names, facets = names_of(record), facets_of(record)
    content = record["fields"].to_bytes(2, "big") + record["content_root"] + record["facets_hash"]
    leaf = tagged("record", start.genesis_hash + record["context"] + content)
    values = {item["name"]: item["value"] for item in record["revealed"][1:]}
    withheld = tuple(name for name in names[1:] if name not in values)
    own = "the bundle's own " if trust is None else ""
    rests_on = "a genesis hash, an epoch length and a committee that the reader knows"
    return Verdict(record["context"], leaf, check_log(bundle, leaf), header["time_ms"], values, withheld, facets, start, rests_on)
