"""Check an exported bundle offline; written from docs/protocol.md alone, whose rules it cites.

python -m colophon.verify BUNDLE.json [0xGENESIS_HASH]
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

Row = dict[str, Any]
MAX_BUNDLE, MAX_VALUE, MAX_VALUES, MAX_INTEGER = 2**25, 2**20, 2**23, 2**53 - 1  # X11, X2, X1
NAME, HEX = re.compile(r"[a-z0-9.][a-z0-9._]{0,63}"), re.compile("0x[0-9a-f]*")  # X3, X11
P, EIGHTH = 2**255 - 19, 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_ORDER = (0, 1, P - 1, EIGHTH, P - EIGHTH)  # y of the points whose order divides 8 (S2)
# Heads of MessagePack: type, first byte, how many sizes stand in it or in how many bytes after it.
HEADS = (
    (int, 0, 128, 0), (int, 0xCC, 1, 1), (int, 0xCD, 1, 2), (int, 0xCE, 1, 4), (int, 0xCF, 1, 8),
    (str, 0xA0, 32, 0), (str, 0xD9, 1, 1), (list, 0x90, 16, 0), (list, 0xDC, 1, 2),
    (bytes, 0xC4, 1, 1),
)  # fmt: skip
FORMS = {  # of bytes: I1, E5
    "bytes": b".*", "ip": rb"\2.{20}", "holder": rb"[\0\2].{20}", "context": rb"[\0\2\5].{20}",
    "amount": rb"(?!\0).{0,16}",
}  # fmt: skip
# What has which members (X11, X6, B1, V8, V1, N-anchor), as name:kind. A number is so many bytes,
# no kind an unsigned integer; * makes a list of it, ? lets null stand there, ~ lets it be left out.
SHAPES = {
    "bundle": "format:text64 trust:trust record:record log:log? state:state finality:finality "
    "hops:hop*",
    "trust": "genesis_hash:32 epoch_length epoch committee:bytes",
    "record": "context:context fields content_root:32 facets_hash:32 facets:facets? revealed:field*",
    "facets": "salt:32 values:values",
    "values": "model:ip~ agent:holder~ owner:holder~ digital_source_type:text64~ time:int~ "
    "schema:text64~ language:text35~",
    "field": "name:text64 index salt:32 value:any path:32*",
    "log": "batch:batch index leaf_path:32* batch_path:32* checkpoint:checkpoint",
    "batch": "batch_no first_index count from to root:32",
    "checkpoint": "log:context size root:32",
    "state": "key:bytes value:bytes levels:224* leaf:32**",
    "finality": "certificate:bytes headers:bytes*",
    "hop": "finality:finality committee:bytes",
    "header": "version genesis_hash:32 epoch view height kind parent_view parent_id:32 time_ms "
    "proposer_index tx_root:32 evidence_root:32 parent_certificate_hash:32 base_fee "
    "units_limit_used parent_state_root:32 parent_receipts_root:32 params_hash:32 "
    "next_committee_hash:32",
    "certificate": "kind epoch view block_id:32 bitmap:bytes signatures:64*",
    "member": "key:32 power",
    "log_row": "version owner:holder writers:writer* schema:text64 retention max_merge_delay "
    "bond:amount penalty_per_leaf:amount closed_at batches leaves last_to peaks:32*",
    "writer": "account:21 promise_key:32",
    "record_row": "version leaf:32 height",
}


class InvalidBundle(Exception):
    """The bundle proves nothing; `code` names the part that does not hold."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Verdict:
    """What a valid bundle says, and the trust from which that follows."""

    context: bytes
    leaf: bytes
    place: int | bytes  # the number in its log, or the id of `anchor.record`
    no_later_than_ms: int
    values: Row
    withheld: tuple[str, ...]  # only these names are shown; every other name is absent
    facets: Row | None
    trust: Row


def need(code: str, message: str, *conditions: object) -> None:
    """Refuse unless all conditions hold."""
    if not all(conditions):
        raise InvalidBundle(code, message)


def tagged(tag: str, data: bytes) -> bytes:
    """H1."""
    return hashlib.sha256(bytes([len(tag)]) + tag.encode() + data).digest()


def canonical(value: Any) -> bytes:
    """X2, for a value whose objects are in order."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def parse(data: bytes) -> Any:
    """Return the JSON value of a text that keeps X1 as a whole (X11), its objects in X2's order."""

    def ordered(pairs: list[tuple[str, Any]]) -> Row:
        need("json/NotAllowed", "an object has one key twice", len(dict(pairs)) == len(pairs))
        return dict(sorted(pairs, key=lambda pair: pair[0].encode("utf-16-be")))

    def check(value: Any, depth: int) -> None:
        small = not isinstance(value, int) or abs(value) <= MAX_INTEGER
        flat = not isinstance(value, dict | list)
        need("json/NotAllowed", "beyond 2^53 - 1, or deeper than 32", small, flat or depth < 32)
        for item in () if flat else value.values() if isinstance(value, dict) else value:
            check(item, depth + 1)

    need("bundle/TooLarge", "more than 33 554 432 bytes", len(data) <= MAX_BUNDLE)
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=ordered, parse_float=int, parse_constant=int
        )
        canonical(value)  # fails if there is a lone surrogate
    except (ValueError, RecursionError) as error:
        raise InvalidBundle("json/NotAllowed", f"not the JSON of X1: {error}") from None
    check(value, 0)
    return value


def pack(value: Any) -> bytes:
    """Return canonical MessagePack, in which every head is the shortest (E1)."""
    raw = value.encode() if isinstance(value, str) else value
    size, body = (raw, b"") if isinstance(raw, int) else (len(raw), raw)
    body = b"".join(map(pack, raw)) if isinstance(raw, list) else body
    fitting = (h for h in HEADS if h[0] is type(value) and size < (256 ** h[3] if h[3] else h[2]))
    _, first, _, width = next(fitting)
    return bytes([first, *size.to_bytes(width, "big")] if width else [first + size]) + body


def unpack(data: bytes, kind: str) -> Any:
    """Return the value of canonical MessagePack (E1 to E4); anything else packs otherwise."""
    stream = BytesIO(data)

    def read(depth: int) -> Any:
        first = int.from_bytes(stream.read(1), "big")
        head = next((h for h in HEADS if h[1] <= first < h[1] + h[2]), None)
        if head is None or depth > 16:
            raise InvalidBundle("codec/Malformed", "MessagePack that no bundle holds")
        size = int.from_bytes(stream.read(head[3]), "big") if head[3] else first - head[1]
        if head[0] in (int, list):
            return size if head[0] is int else [read(depth + 1) for _ in range(size)]
        return stream.read(size) if head[0] is bytes else stream.read(size).decode(errors="replace")

    value = read(0)
    need("codec/NotCanonical", "not canonical MessagePack", pack(value) == data)
    return fit(value, kind, packed=True)


def fit(value: Any, kind: str, packed: bool = False) -> Any:
    """Return a value that is of this kind, with bytes for hex and rows for packed arrays."""
    if kind == "any" or (kind[-1] == "?" and value is None):
        return value
    if kind[-1] == "*":
        need("bundle/Malformed", "something is no list", isinstance(value, list))
        return [fit(item, kind[:-1], packed) for item in value]
    if (kind := kind.strip("?~")) in SHAPES:
        kinds = dict(f"{member}:int".split(":")[:2] for member in SHAPES[kind].split())
        if packed and isinstance(value, list) and len(value) == len(kinds):
            value = dict(zip(kinds, value, strict=True))
        needed = {name for name in kinds if kinds[name][-1] != "~"}
        good = isinstance(value, dict) and needed <= value.keys() <= kinds.keys()
        need("bundle/Malformed", f"not the members {SHAPES[kind]}", good)
        return {name: fit(value[name], kinds[name], packed) for name in kinds if name in value}
    if kind == "int" or kind[:4] == "text":
        good = type(value) is (int if kind == "int" else str)
        good = good and (value >= 0 if kind == "int" else len(value.encode()) <= int(kind[4:]))
    else:
        if not packed and isinstance(value, str) and HEX.fullmatch(value) and len(value) % 2 == 0:
            value = bytes.fromhex(value[2:])
        form = FORMS.get(kind) or b".{%d}" % int(kind)
        good = isinstance(value, bytes) and re.fullmatch(form, value, re.DOTALL) is not None
    need("bundle/Malformed", f"{str(value)[:40]!r} is not of kind {kind}", good)
    return value


def node(left: bytes, right: bytes) -> bytes:
    """M5."""
    return hashlib.sha256(b"\1" + left + right).digest()


def climb(head: bytes, index: int, count: int, path: list[bytes]) -> bytes:
    """Return the root to which a leaf leads by its path (M1, M4, M8)."""
    need("merkle/BadProof", "no path of this tree", index < count, (count == 1) == (not path))
    if count == 1:
        return head
    half = 1 << (count - 1).bit_length() - 1
    if index < half:
        return node(climb(head, index, half, path[:-1]), path[-1])
    return node(path[-1], climb(head, index - half, count - half, path[:-1]))


def disclosed(record: Row) -> tuple[list[str], Row | None]:
    """Return the names and the shown facets of a disclosure that keeps X10."""
    names = record["revealed"][0]["value"] if record["revealed"] else None
    good = isinstance(names, list) and all(isinstance(n, str) and NAME.fullmatch(n) for n in names)
    good = good and all(a < b for a, b in pairwise(names)) and len(names) < 257
    need("record/BadNames", "field 0 is no list of names", good)
    names, last, total = ["_fields", *names], -1, 0
    for item in record["revealed"]:
        name, index, value = item["name"], item["index"], canonical(item["value"])
        placed = index < len(names) == record["fields"] and names[index] == name
        follows = last < index and (index == 0) == (last < 0)
        need("record/BadPlace", f"{name} does not stand at {index}", placed, follows)
        last, total = index, total + (len(value) if index else 0)
        need("record/TooLarge", name, len(value) <= MAX_VALUE, total <= MAX_VALUES)
        field = tagged("field", bytes([len(name)]) + name.encode() + item["salt"] + value)
        root = climb(field, index, len(names), item["path"])
        need("merkle/BadProof", f"{name} is not in the record", root == record["content_root"])
    if (shown := record["facets"]) is None:
        return names, None
    kinds = [member.split(":")[0] for member in SHAPES["values"].split()]
    packed = pack([[kinds.index(name) + 1, value] for name, value in shown["values"].items()])
    same = tagged("facets", shown["salt"] + packed) == record["facets_hash"]
    salted = record["context"][0] == 5 or not any(shown["salt"])
    need("record/BadFacets", "not these facets, or not this salt", same, salted)
    return names, shown["values"]


def check_votes(certificate: Row, trust: Row) -> None:
    """Refuse what is no finalization by the trusted committee: V1 to V12, S1, S2."""
    members, signatures = unpack(trust["committee"], "member*"), certificate["signatures"]
    keys, powers = {m["key"] for m in members}, [m["power"] for m in members]
    known = 1 <= len(keys) == len(members) <= 100 and min(powers) >= 1 and sum(powers) <= 2**60
    weak = {int.from_bytes(key, "little") % 2**255 for key in keys} & SMALL_ORDER
    need("finality/BadCommittee", "the committee breaks V1", known, not weak)
    bits, size = int.from_bytes(certificate["bitmap"], "little"), len(certificate["bitmap"])
    signers = [member for i, member in enumerate(members) if bits >> i & 1]
    sizes = (size, bits >> len(members), len(signers)) == (
        (len(members) + 7) // 8,
        0,
        len(signatures),
    )
    final = certificate["kind"] == 2 and certificate["epoch"] == trust["epoch"]
    quorum = 3 * sum(member["power"] for member in signers) > 2 * sum(powers)
    need("finality/BadCertificate", "V2, V8, V9 or V12 is broken", sizes, final, quorum)
    view = struct.pack(">32sQQ", trust["genesis_hash"], certificate["epoch"], certificate["view"])
    vote = tagged("vote-finalize", view + certificate["block_id"])
    try:
        for signer, signature in zip(signers, signatures, strict=True):
            crypto_sign_open(signature + vote, signer["key"])
    except BadSignatureError:
        raise InvalidBundle("finality/BadSignature", "a signature does not verify") from None


def finalised(proof: Row, trust: Row) -> Row:
    """Return the header that a finality proof proves: V12, V13, V14."""
    certificate = unpack(proof["certificate"], "certificate")
    check_votes(certificate, trust)
    need("finality/BadHeader", "not 1 to 64 headers", 1 <= len(proof["headers"]) <= 64)
    named, header, height = (certificate["block_id"], certificate["view"]), {}, None
    for data in proof["headers"]:
        header = unpack(data, "header")
        same = (header["genesis_hash"], header["epoch"]) == (trust["genesis_hash"], trust["epoch"])
        found = named == (tagged("block", data), header["view"])
        sound = header["version"] == 1 and header["kind"] in (0, 1)
        falls = height in (None, header["height"])
        need("finality/BadHeader", "not the header that was named", same, found, sound, falls)
        named, height = (header["parent_id"], header["parent_view"]), header["height"] - 1
        height += header["kind"]
    inside = (header["height"] - 1) // max(trust["epoch_length"], 1) == trust["epoch"]
    need("finality/BadHeader", "no block of this epoch", inside, header["kind"] == 0)
    return header


def check_state(state: Row, root: bytes) -> None:
    """Refuse a state proof that does not keep A7 and A8."""
    path, held = hashlib.sha256(state["key"]).digest(), tagged("state-value", state["value"])
    levels, leaf, bits = state["levels"], state["leaf"], int.from_bytes(path, "big")
    paths, shift = [int.from_bytes(b"".join(e[:1]), "big") for e in leaf], 256 - 3 * len(levels)
    sizes = len(levels) <= 85 and len(leaf) <= 4 and all(len(entry) == 2 for entry in leaf)
    near = sizes and all(p >> shift == bits >> shift for p in paths)
    ascend = all(a < b for a, b in pairwise(paths)) and (not levels or any(levels[-1]))
    need("proof/Malformed", "a proof that no tree gives", near, ascend)
    head = tagged("state-leaf", b"".join(map(b"".join, leaf))) if leaf else bytes(32)
    for level in reversed(range(len(levels))):
        child = 32 * (bits >> 253 - 3 * level & 7)
        head = tagged("state-branch", levels[level][:child] + head + levels[level][child:])
    need("proof/RootMismatch", "not in the header's state", head == root)
    need("proof/OtherValue", "the state has another value or none", [path, held] in leaf)


def place_of(leaf: bytes, context: bytes, state: Row, log: Row | None) -> int | bytes:
    """Return the record's number in its log, or its own id: X12.6, X12.7."""
    key, row = state["key"], unpack(state["value"], "log_row" if log else "record_row")
    need("bundle/OtherRow", "the row is not of version 1", row["version"] == 1)
    if log is None:
        own = key[:9] == b"anchor\0\2\6" and len(key) == 29 and context[0] != 5
        need("bundle/OtherRow", "the row is another record's", own, row["leaf"] == leaf)
        return bytes(key[8:])
    batch, tip, peaks = log["batch"], log["checkpoint"], row["peaks"]
    own = context[0] == 5 and context == tip["log"] and key == b"anchor\0\1" + context
    size = row["batches"] == tip["size"] and len(peaks) == tip["size"].bit_count() > 0
    need("bundle/OtherRow", "the row is another log's", own, size, 1 <= batch["count"] <= 2**24)
    head = peaks[-1]
    for peak in reversed(peaks[:-1]):
        head = node(peak, head)
    hashed = tagged("batch", struct.pack(">21sQQIQQ32s", context, *batch.values()))
    top = climb(hashed, batch["batch_no"], tip["size"], log["batch_path"])
    inside = climb(leaf, log["index"], batch["count"], log["leaf_path"]) == batch["root"]
    need("merkle/BadProof", "the record is not in this log", inside, top == head == tip["root"])
    return int(batch["first_index"] + log["index"])


def verify_bytes(data: bytes, genesis_hash: bytes | None, trust: Row | None = None) -> Verdict:
    """Check a bundle (X11, X12) from a `trust` the reader knows, or relative to its own."""
    bundle = fit(parse(data), "bundle")
    record, hops, claimed = bundle["record"], bundle["hops"], bundle["trust"]
    start = now = trust or claimed
    first, network = start["epoch"] - claimed["epoch"], claimed["genesis_hash"]
    same = start["genesis_hash"] == network and genesis_hash in (None, network)
    need("bundle/OtherTrust", "another network or epoch", same, 0 <= first <= len(hops) <= 1024)
    need("bundle/Malformed", "another format", bundle["format"] == "colophon/bundle/1")
    for hop in hops[first:]:
        header, committee = finalised(hop["finality"], now), hop["committee"]
        named = header["next_committee_hash"] == tagged("committee", committee)
        last = header["height"] == (now["epoch"] + 1) * now["epoch_length"]
        need("finality/BadHop", "not the epoch's last block, or another committee", named, last)
        now = {**now, "epoch": now["epoch"] + 1, "committee": committee}
    header = finalised(bundle["finality"], now)
    check_state(bundle["state"], header["parent_state_root"])
    names, facets = disclosed(record)
    parts = [record[part] for part in ("context", "fields", "content_root", "facets_hash")]
    leaf = tagged("record", struct.pack(">32s21sH32s32s", network, *parts))
    place = place_of(leaf, parts[0], bundle["state"], bundle["log"])
    values = {item["name"]: item["value"] for item in record["revealed"][1:]}
    withheld = tuple(name for name in names[1:] if name not in values)
    return Verdict(parts[0], leaf, place, header["time_ms"], values, withheld, facets, start)


def verify_file(path: Path, genesis_hash: bytes | None, trust: Row | None = None) -> Verdict:
    """Check the bundle in a file."""
    with open(path, "rb") as file:
        return verify_bytes(file.read(MAX_BUNDLE + 1), genesis_hash, trust)


if __name__ == "__main__":
    try:
        known = bytes.fromhex(sys.argv[2].removeprefix("0x")) if sys.argv[2:] else None
        for item in vars(verify_file(Path(sys.argv[1]), known)).items():
            print(*item)
    except InvalidBundle as refusal:
        sys.exit(f"{refusal.code}: {refusal}")
