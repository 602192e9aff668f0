"""Check an exported bundle offline; written from docs/protocol.md alone, whose rules it cites."""

import hashlib
import json
import re
import struct
import sys
from dataclasses import dataclass
from functools import reduce
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

Row = dict[str, Any]
MAX_BUNDLE, MAX_VALUE, MAX_VALUES, MAX_INTEGER = 2**25, 2**20, 2**23, 2**53 - 1  # X11, X2, X1
NAME, HEX = re.compile(r"[a-z0-9.][a-z0-9._]{0,63}"), re.compile("0x[0-9a-f]*")  # X3, X11
P, EIGHTH = 2**255 - 19, 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
WEAK = {0, 1, P - 1, EIGHTH, P - EIGHTH, *range(P, 2**255)}  # S2: y of small order, not canonical
JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # X2, if objects are in order
# Heads of MessagePack: type, first byte, how many sizes it stands for, in how many more bytes.
HEADS = (
    (int, 0, 128, 0), (int, 0xCC, 2**8, 1), (int, 0xCD, 2**16, 2), (int, 0xCE, 2**32, 4),
    (int, 0xCF, 2**64, 8), (str, 0xA0, 32, 0), (str, 0xD9, 2**8, 1), (list, 0x90, 16, 0),
    (list, 0xDC, 2**16, 2), (bytes, 0xC4, 2**8, 1),
)  # fmt: skip
# What has which members, as name:kind (X11, X6, B1, V8, V1, N-anchor). A * makes a list of it, a ?
# admits null, a number is so many bytes; no kind is the shape of that name or an unsigned integer.
SHAPES = {
    "bundle": "format:t64 trust record log? state finality hops:hop*", "member": "key:32 power",
    "trust": "genesis_hash:32 epoch_length epoch committee:bytes",
    "record": "context:context fields content_root:32 facets_hash:32 facets? revealed:field*",
    "field": "name:t64 index salt:32 value:any path:32*", "facets": "salt:32 values",
    "values": "model:ip agent:who owner:who digital_source_type:t64 time schema:t64 language:t35",
    "log": "batch index leaf_path:32* batch_path:32* checkpoint", "writer": "account:21 key:32",
    "batch": "batch_no first_index count from to root:32", "checkpoint": "log:context size root:32",
    "state": "key:bytes value:bytes levels:224* leaf:32**", "hop": "finality committee:bytes",
    "finality": "certificate:bytes headers:bytes*", "record_row": "version leaf:32 height",
    "certificate": "kind epoch view block_id:32 bitmap:bytes signatures:64*",
    "header": "version genesis_hash:32 epoch view height kind parent_view parent_id:32 time_ms "
    "proposer_index:u16 tx_root:32 evidence_root:32 parent_certificate_hash:32 base_fee units_used "
    "parent_state_root:32 parent_receipts_root:32 params_hash:32 next_committee_hash:32",
    "log_row": "version owner:who writers:writer* schema:t64 retention max_merge_delay "
    "bond:amount penalty_per_leaf:amount closed_at batches leaves last_to peaks:32*",
}  # fmt: skip
FORMS = {"bytes": b".*", "ip": rb"\x02.{20}", "who": rb"[\x00\x02].{20}"}  # I1
FORMS |= {"amount": rb"(?!\x00).{0,16}", "context": rb"[\x00\x02\x05].{20}"}  # E5, X10


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


def parse(data: bytes) -> Any:
    """Return the JSON value of a text that keeps X1 and X11, its objects in X2's order."""

    def order(pairs: list[tuple[str, Any]]) -> Row:
        need("json/NotAllowed", "an object has one key twice", len(dict(pairs)) == len(pairs))
        return dict(sorted(pairs, key=lambda pair: pair[0].encode("utf-16-be")))

    need("bundle/TooLarge", "more than 33 554 432 bytes", len(data) <= MAX_BUNDLE)
    try:
        text = data.decode()
        value = json.loads(text, object_pairs_hook=order, parse_float=int, parse_constant=int)
        bare = re.sub(rb'"[^"\\]*(?:\\.[^"\\]*)*"', b"", JSON.encode(value).encode())
    except (ValueError, RecursionError) as error:
        raise InvalidBundle("json/NotAllowed", f"not the JSON of X1: {error}") from None
    depth = max(accumulate((byte in b"[{") - (byte in b"]}") for byte in bare), default=0)
    small = all(int(number) <= MAX_INTEGER for number in re.findall(rb"\d+", bare))
    need("json/NotAllowed", "beyond 2^53 - 1, or a value deeper than 32", small, depth <= 4 + 32)
    return value


def pack(value: Any) -> bytes:
    """Return canonical MessagePack, in which every head is the shortest (E1)."""
    raw = value.encode() if isinstance(value, str) else value
    size, body = (raw, b"") if isinstance(raw, int) else (len(raw), raw)
    body = b"".join(map(pack, raw)) if isinstance(raw, list) else body
    _, first, _, width = next(h for h in HEADS if h[0] is type(value) and size < h[2])
    return bytes([first, *size.to_bytes(width, "big")] if width else [first + size]) + body


def unpack(data: bytes, kind: str) -> Any:
    """Return the value of canonical MessagePack (E1 to E5); anything else packs otherwise."""
    stream = BytesIO(data)

    def read(depth: int) -> Any:
        first = int.from_bytes(stream.read(1), "big")
        heads = [h for h in HEADS if 0 <= first - h[1] < (1 if h[3] else h[2])]
        need("codec/Malformed", "MessagePack that no bundle holds", heads, depth <= 16)
        kind, low, _, width = heads[0]
        size = int.from_bytes(stream.read(width), "big") if width else first - low
        if kind in (int, list):
            return size if kind is int else [read(depth + 1) for _ in range(size)]
        return stream.read(size) if kind is bytes else stream.read(size).decode(errors="replace")

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
    if (kind := kind.rstrip("?")) in SHAPES:
        kinds = {m.split(":")[0].strip("?"): m.split(":")[-1] for m in SHAPES[kind].split()}
        if packed and isinstance(value, list) and len(value) == len(kinds):
            value = dict(zip(kinds, value, strict=True))
        needed = set() if kind == "values" else kinds.keys()  # all facets are optional
        good = isinstance(value, dict) and needed <= value.keys() <= kinds.keys()
        need("bundle/Malformed", f"not the members {SHAPES[kind]}", good)
        return {name: fit(value[name], kinds[name], packed) for name in kinds if name in value}
    if kind in ("t64", "t35"):
        good = isinstance(value, str) and len(value.encode()) <= int(kind[1:])
    elif kind.isdigit() or kind in FORMS:
        if not packed and isinstance(value, str) and HEX.fullmatch(value) and len(value) % 2 == 0:
            value = bytes.fromhex(value[2:])
        form = FORMS.get(kind) or b".{%d}" % int(kind)
        good = isinstance(value, bytes) and re.fullmatch(form, value, re.DOTALL) is not None
    else:
        good = type(value) is int and 0 <= value < (2**16 if kind == "u16" else 2**64)
    need("bundle/Malformed", f"{str(value)[:40]!r} is not of kind {kind}", good)
    return value


def climb(head: bytes, index: int, count: int, path: list[bytes]) -> bytes:
    """Return the root to which a leaf leads by its path (M1, M4, M5, M8)."""
    need("merkle/BadProof", "no path of this tree", index < count, (count == 1) == (not path))
    if count == 1:
        return head
    half = 1 << (count - 1).bit_length() - 1
    inner = climb(head, index % half, half if index < half else count - half, path[:-1])
    return hashlib.sha256(b"\1" + (inner + path[-1] if index < half else path[-1] + inner)).digest()


def disclosed(record: Row) -> tuple[list[Any], Row | None]:
    """Return the names and the shown facets of a disclosure that keeps X10."""
    names = record["revealed"][0]["value"] if record["revealed"] else [None]
    good = isinstance(names, list) and all(isinstance(n, str) and NAME.fullmatch(n) for n in names)
    good = good and names == sorted(set(names)) and len(names) + 1 == record["fields"] <= 257
    need("record/BadNames", "field 0 does not list the names", good)
    names, root, last, total = ["_fields", *names], record["content_root"], -1, 0
    for item in record["revealed"]:
        name, index, value = item["name"], item["index"], JSON.encode(item["value"]).encode()
        placed = last < index < len(names) and names[index] == name
        need("record/BadPlace", f"{name}, {index}", placed, (index == 0) == (last < 0))
        last, total = index, total + (len(value) if index else 0)
        need("record/TooLarge", name, len(value) <= MAX_VALUE, total <= MAX_VALUES)
        field = tagged("field", bytes([len(name)]) + name.encode() + item["salt"] + value)
        need("merkle/BadProof", name, climb(field, index, len(names), item["path"]) == root)
    if (shown := record["facets"]) is not None:
        order = [member.split(":")[0] for member in SHAPES["values"].split()]
        packed = pack([[order.index(name) + 1, value] for name, value in shown["values"].items()])
        same = tagged("facets", (salt := shown["salt"]) + packed) == record["facets_hash"]
        need("record/BadFacets", "not the facets", same, record["context"][0] == 5 or not any(salt))
    return names, shown and shown["values"]


def finalised(proof: Row, trust: Row) -> Row:
    """Return the header that a finality proof proves: V1 to V14, S1, S2."""
    certificate = unpack(proof["certificate"], "certificate")
    kind, epoch, view, block_id, bitmap, votes = certificate.values()
    members = unpack(trust["committee"], "member*")
    keys, powers = {member["key"] for member in members}, [member["power"] for member in members]
    known = 1 <= len(keys) == len(members) <= 100 and min(powers) >= 1 and sum(powers) <= 2**60
    strong = WEAK.isdisjoint(int.from_bytes(key, "little") % 2**255 for key in keys)
    need("finality/BadCommittee", "the committee breaks V1", known, strong)
    bits, whole = int.from_bytes(bitmap, "little"), len(bitmap) == (len(members) + 7) // 8
    signers = [member for i, member in enumerate(members) if bits >> i & 1]
    quorum = 3 * sum(member["power"] for member in signers) > 2 * sum(powers)
    fits = (kind, epoch, len(votes)) == (2, trust["epoch"], len(signers))
    whole = whole and bits >> len(members) == 0 and 1 <= len(proof["headers"]) <= 64
    need("finality/BadCertificate", "it breaks V2, V8, V9 or V12", whole, quorum, fits)
    vote = struct.pack(">32sQQ32s", trust["genesis_hash"], epoch, view, block_id)
    try:
        for signer, signature in zip(signers, votes, strict=True):
            crypto_sign_open(signature + tagged("vote-finalize", vote), signer["key"])
    except BadSignatureError:
        raise InvalidBundle("finality/BadSignature", "a signature does not verify") from None
    wanted = {"version": 1, "epoch": epoch, "view": view, "genesis_hash": trust["genesis_hash"]}
    for data in proof["headers"]:
        header: Row = unpack(data, "header")
        same = wanted.items() <= header.items() and block_id == tagged("block", data)
        need("finality/BadHeader", "not the header that was named", same, header["kind"] < 2)
        block_id = header["parent_id"]
        wanted |= {"view": header["parent_view"], "height": header["height"] - 1 + header["kind"]}
        wanted |= {} if header["kind"] else {"kind": 0}  # below a block only blocks
    inside = 0 < header["height"] - trust["epoch"] * trust["epoch_length"] <= trust["epoch_length"]
    need("finality/BadHeader", "no block of this epoch", inside, header["kind"] == 0)
    return header


def check_state(state: Row, root: bytes) -> None:
    """Refuse a state proof that does not keep A7 and A8."""
    path, held = hashlib.sha256(state["key"]).digest(), tagged("state-value", state["value"])
    levels, leaf, bits = state["levels"], state["leaf"], int.from_bytes(path, "big")
    sizes = len(levels) <= 85 and len(leaf) <= 4 and all(len(entry) == 2 for entry in leaf)
    paths, shift = [int.from_bytes(b"".join(e[:1]), "big") for e in leaf], 256 - 3 * len(levels)
    near = sizes and paths == sorted(set(paths)) and all(p >> shift == bits >> shift for p in paths)
    need("proof/Malformed", "a proof that no tree gives", near, not levels or any(levels[-1]))
    head = tagged("state-leaf", b"".join(map(b"".join, leaf))) if leaf else bytes(32)
    for level in reversed(range(len(levels))):
        child = 32 * (bits >> 253 - 3 * level & 7)
        head = tagged("state-branch", levels[level][:child] + head + levels[level][child:])
    need("proof/RootMismatch", "not in the header's state", head == root)
    need("proof/OtherValue", "the state has another value or none", [path, held] in leaf)


def place_of(leaf: bytes, context: bytes, state: Row, log: Row | None) -> int | bytes:
    """Return the record's number in its log, or its own id: X12.6, X12.7."""
    key, row = state["key"], unpack(state["value"], "log_row" if log else "record_row")
    if log is None:
        own = key[:9] == b"anchor\0\2\6" and len(key) == 29 and context[0] != 5
        need("bundle/OtherRow", "another record", own, (row["version"], row["leaf"]) == (1, leaf))
        return bytes(key[8:])
    batch, tip, peaks = log["batch"], log["checkpoint"], row["peaks"]
    own = context[0] == 5 and context == tip["log"] and key == b"anchor\0\1" + context
    size = (row["version"], row["batches"], len(peaks)) == (1, tip["size"], tip["size"].bit_count())
    need("bundle/OtherRow", "another log", own, size, peaks, 1 <= batch["count"] <= 2**24)
    head = reduce(lambda head, peak: hashlib.sha256(b"\1" + peak + head).digest(), peaks[::-1])
    hashed = tagged("batch", struct.pack(">21sQQIQQ32s", context, *batch.values()))
    top = climb(hashed, batch["batch_no"], tip["size"], log["batch_path"])
    inside = climb(leaf, log["index"], batch["count"], log["leaf_path"]) == batch["root"]
    need("merkle/BadProof", "the record is not in this log", inside, top == head == tip["root"])
    return int(batch["first_index"] + log["index"])


def verify_bytes(data: bytes, genesis_hash: bytes | None, trust: Row | None = None) -> Verdict:
    """Check a bundle (X11, X12) from a `trust` the reader knows, or relative to its own."""
    form, claimed, record, log, state, finality, hops = fit(parse(data), "bundle").values()
    need("bundle/Malformed", "another format", form == "colophon/bundle/1")
    start = now = trust or claimed
    first, network = start["epoch"] - claimed["epoch"], claimed["genesis_hash"]
    same = start["genesis_hash"] == network and genesis_hash in (None, network)
    need("bundle/OtherTrust", "another network or epoch", same, 0 <= first <= len(hops) <= 1024)
    for hop in hops[first:]:
        header, committee = finalised(hop["finality"], now), hop["committee"]
        named = header["next_committee_hash"] == tagged("committee", committee)
        last = header["height"] == (now["epoch"] + 1) * now["epoch_length"]
        need("finality/BadHop", "not the epoch's last block, or another committee", named, last)
        now = {**now, "epoch": now["epoch"] + 1, "committee": committee}
    header = finalised(finality, now)
    check_state(state, header["parent_state_root"])
    names, facets = disclosed(record)
    parts = [record[part] for part in ("context", "fields", "content_root", "facets_hash")]
    leaf = tagged("record", struct.pack(">32s21sH32s32s", network, *parts))
    place = place_of(leaf, parts[0], state, log)
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
        sys.stdout.write(f"{verify_file(Path(sys.argv[1]), known)}\n")
    except InvalidBundle as refusal:
        sys.exit(f"{refusal.code}: {refusal}")
