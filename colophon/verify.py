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
P, EIGHTH = 2**255 - 19, 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_ORDER = (0, 1, P - 1, EIGHTH, P - EIGHTH)  # y of the points whose order divides 8 (S2)
FACETS = "model:21 agent:21 owner:21 digital_source_type:text time schema:text language:text"  # X6
# What has which fields (X11, B1, V8, V1, N-anchor). name:kind, * for a list, ? if null may stand
# there; a number is a size in bytes, no kind an unsigned integer.
SHAPES = {
    "bundle": "format:text trust:trust record:record log:log? state:state finality:finality hops:hop*",
    "trust": "genesis_hash:32 epoch_length epoch committee:bytes",
    "record": "context:21 fields content_root:32 facets_hash:32 facets:facets? revealed:field*",
    "facets": "salt:32 values:any",
    "field": "name:text index salt:32 value:any path:32*",
    "log": "batch:batch index leaf_path:32* batch_path:32* checkpoint:checkpoint",
    "batch": "batch_no first_index count from to root:32",
    "checkpoint": "log:21 size root:32",
    "state": "key:bytes value:bytes levels:224* leaf:32**",
    "finality": "certificate:bytes headers:bytes*",
    "hop": "finality:finality committee:bytes",
    "header": "version genesis_hash:32 epoch view height kind parent_view parent_id:32 time_ms "
    "proposer_index tx_root:32 evidence_root:32 parent_certificate_hash:32 base_fee units_limit_used "
    "parent_state_root:32 parent_receipts_root:32 params_hash:32 next_committee_hash:32",
    "certificate": "kind epoch view block_id:32 bitmap:bytes signatures:64*",
    "member": "key:32 power",
    "log_row": "version owner:21 writers:writer* schema:text retention max_merge_delay bond:amount "
    "penalty_per_leaf:amount closed_at batches leaves last_to peaks:32*",
    "writer": "account:21 promise_key:32",
    "record_row": "version leaf:32 height",
}
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


def need(code: str, message: str, *conditions: bool) -> None:
    """Refuse unless all conditions hold."""
    if not all(conditions):
        raise InvalidBundle(code, message)


def tagged(tag: str, data: bytes) -> bytes:
    """H1."""
    return hashlib.sha256(bytes([len(tag)]) + tag.encode() + data).digest()


def parse(data: bytes) -> Any:
    """Return the JSON value of a text that keeps X1 as a whole (X11), its objects in X2's order."""

    def whole(text: str) -> int:
        if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
            raise ValueError(f"{text[:20]} is beyond 2^53 - 1")
        return int(text)

    def ordered(pairs: list[tuple[str, Any]]) -> Row:
        need("json/NotAllowed", "an object has one key twice", len(dict(pairs)) == len(pairs))
        return dict(sorted(pairs, key=lambda pair: pair[0].encode("utf-16-be")))

    def depth(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0

    need("bundle/TooLarge", "more than 33 554 432 bytes", len(data) <= MAX_BUNDLE)
    hooks: Row = dict.fromkeys(("parse_int", "parse_float", "parse_constant"), whole)
    try:
        value = json.loads(data.decode(), object_pairs_hook=ordered, **hooks)
        canonical(value)  # fails if there is a lone surrogate
        need("json/TooDeep", "lists and objects nest deeper than 32", depth(value) <= 32)
    except (ValueError, RecursionError) as error:
        raise InvalidBundle("json/NotAllowed", f"not the JSON of X1: {error}") from None
    return value


def canonical(value: Any) -> bytes:
    """X2, for a value whose objects are in order."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def pack(value: Any) -> bytes:
    """Return canonical MessagePack, in which every head is the shortest (E1)."""
    body = value.encode() if isinstance(value, str) else value
    size = value if isinstance(value, int) else len(body)
    if isinstance(value, int | list):
        body = b"".join(map(pack, value)) if isinstance(value, list) else b""
    fitting = (h for h in HEADS if h[0] is type(value) and size < (256 ** h[3] if h[3] else h[2]))
    _, first, _, width = next(fitting)
    return bytes([first, *size.to_bytes(width, "big")] if width else [first + size]) + body


def unpack(data: bytes, kind: str) -> Any:
    """Return the value of canonical MessagePack (E1-E4). Whatever else it is packs otherwise."""
    stream = BytesIO(data)

    def read(depth: int) -> Any:
        first = int.from_bytes(stream.read(1), "big")
        head = next((h for h in HEADS if h[1] <= first < h[1] + h[2]), (None, 0, 0, 0))
        need("codec/Malformed", "MessagePack that is in no bundle", head[0] is not None, depth < 17)
        size = int.from_bytes(stream.read(head[3]), "big") if head[3] else first - head[1]
        if head[0] in (int, list):
            return size if head[0] is int else [read(depth + 1) for _ in range(size)]
        return stream.read(size) if head[0] is bytes else stream.read(size).decode(errors="replace")

    value = read(0)
    need("codec/NotCanonical", "not canonical MessagePack", pack(value) == data)
    return fit(value, kind, packed=True)


def fit(value: Any, kind: str, packed: bool = False) -> Any:
    """Return a value if it is of the kind, with hex as bytes and packed arrays as rows."""
    if kind == "any" or (kind[-1] == "?" and value is None):
        return value
    if kind[-1] == "*":
        need("bundle/Malformed", "something else than a list", isinstance(value, list))
        return [fit(item, kind[:-1], packed) for item in value]
    if shape := SHAPES.get(kind.rstrip("?"), kind if " " in kind else ""):
        names = dict((name + ":int").split(":")[:2] for name in shape.split())
        if packed and isinstance(value, list) and len(value) == len(names):
            value = dict(zip(names, value, strict=True))
        fits = isinstance(value, dict) and value.keys() == names.keys()
        need("bundle/Malformed", f"not exactly {', '.join(names)}", fits)
        return {name: fit(value[name], inner, packed) for name, inner in names.items()}
    if kind not in ("int", "text") and not packed and isinstance(value, str):
        value = bytes.fromhex(found[1]) if (found := HEX.fullmatch(value)) else value
    fits = isinstance(value, bytes) and kind in ("bytes", str(len(value)))
    if kind in ("int", "text"):
        fits = type(value) is int and value >= 0 if kind == "int" else isinstance(value, str)
    elif kind == "amount":  # E5
        fits = isinstance(value, bytes) and len(value) <= 16 and value[:1] != b"\0"
    need("bundle/Malformed", f"{str(value)[:40]!r} is not of kind {kind}", fits)
    return value


def node(left: bytes, right: bytes) -> bytes:
    """M5."""
    return hashlib.sha256(b"\1" + left + right).digest()


def leads(head: bytes, index: int, count: int, path: list[bytes], root: bytes) -> None:
    """Refuse unless the leaf leads by its path to the root (M4, M8)."""
    need("merkle/BadProof", "index or path is too large", index < count, len(path) <= 65)
    last = count - 1
    for entry in path:
        need("merkle/BadProof", "a path is too long", last > 0)
        if index % 2 or index == last:
            head = node(entry, head)
            while index and index % 2 == 0:
                index, last = index // 2, last // 2
        else:
            head = node(head, entry)
        index, last = index // 2, last // 2
    need("merkle/BadProof", "a path does not lead to its root", last == 0, head == root)


def facets_of(record: Row) -> Row | None:
    """Return the facets shown: X6, and what X10 says of them."""
    if (shown := record["facets"]) is None:
        return None
    kinds = {item.split(":")[0]: item for item in FACETS.split()}
    present = [kinds[name] for name in kinds if name in dict(shown["values"])]
    facets: Row = fit(shown["values"], " " + " ".join(present))
    for name, value in facets.items():
        owners = (IP,) if name == "model" else (ACCOUNT, IP)
        good = value[:1] in owners if isinstance(value, bytes) else True
        size = len(value.encode()) if isinstance(value, str) else 0
        need("record/BadFacets", name, good, size <= (35 if name == "language" else 64))
    packed = pack([[n, facets[name]] for n, name in enumerate(kinds, 1) if name in facets])
    good = tagged("facets", shown["salt"] + packed) == record["facets_hash"]
    salted = record["context"][:1] == LOG or not any(shown["salt"])
    need("record/BadFacets", "the facets and their salt do not give the hash", good, salted)
    return facets


def names_of(record: Row) -> list[str]:
    """Refuse a disclosure whose fields break X10; return all names of its record."""
    names = record["revealed"][0]["value"] if record["revealed"] else None
    good = isinstance(names, list) and all(isinstance(n, str) and NAME.fullmatch(n) for n in names)
    need("record/BadNames", "field 0 is no list of names", good)
    ascend, count, last, total = all(a < b for a, b in pairwise(names)), record["fields"], -1, 0
    need("record/BadNames", "not the record's names", ascend, count == len(names) + 1 <= 257)
    names = ["_fields", *names]
    for item in record["revealed"]:
        name, index, value = item["name"], item["index"], canonical(item["value"])
        placed = last < index < count and names[index] == name and last + index != last * index
        need("record/BadPlace", f"{name[:64]} does not stand at {index}", placed)
        total += len(value) if index else 0
        need("record/TooLarge", name, len(value) <= MAX_VALUE, total <= MAX_VALUES)
        preimage = bytes([len(name)]) + name.encode() + item["salt"] + value
        leads(tagged("field", preimage), index, count, item["path"], record["content_root"])
        last = index
    return names


def check_votes(certificate: Row, trust: Trust) -> None:
    """Refuse a finalization that is not valid under a committee: V1, V2, V5, V8, V9, S1, S2."""
    members = unpack(trust.committee, "member*")
    ys = {member["key"]: int.from_bytes(member["key"], "little") % 2**255 for member in members}
    powers = [member["power"] for member in members]
    strong = all(y < P and y not in SMALL_ORDER for y in ys.values())
    known = 1 <= len(ys) == len(members) <= 100 and min(powers) >= 1 and sum(powers) <= 2**60
    need("finality/BadCommittee", "a committee breaks V1", known, strong)
    bitmap, signatures = certificate["bitmap"], certificate["signatures"]
    bits, size = int.from_bytes(bitmap, "little"), len(bitmap) == (len(members) + 7) // 8
    signers = [member for i, member in enumerate(members) if bits >> i & 1]
    fits = bits >> len(members) == 0 and len(signers) == len(signatures)
    need("finality/BadCertificate", "the bitmap fits no committee, or no signatures", size, fits)
    quorum = 3 * sum(member["power"] for member in signers) > 2 * sum(powers)
    need("finality/NoQuorum", "two thirds of the power or less", quorum)
    place = certificate["epoch"].to_bytes(8, "big") + certificate["view"].to_bytes(8, "big")
    vote = tagged("vote-finalize", trust.genesis_hash + place + certificate["block_id"])
    try:
        for signer, signature in zip(signers, signatures, strict=True):
            crypto_sign_open(signature + vote, signer["key"])
    except BadSignatureError:
        raise InvalidBundle("finality/BadSignature", "a signature does not verify") from None


def finalised(proof: Row, trust: Trust) -> Row:
    """Return the header that a finality proof proves: V12, V13, V14."""
    certificate = unpack(proof["certificate"], "certificate")
    final = certificate["kind"] == 2 and certificate["epoch"] == trust.epoch
    need("finality/Malformed", "no finality proof", final, 1 <= len(proof["headers"]) <= 64)
    check_votes(certificate, trust)
    wanted, heights = (certificate["block_id"], certificate["view"]), range(2**64)
    for data in proof["headers"]:
        header: Row = unpack(data, "header")
        same = (header["genesis_hash"], header["epoch"]) == (trust.genesis_hash, trust.epoch)
        named = wanted == (tagged("block", data), header["view"]) and header["height"] in heights
        sound = header["version"] == 1 and header["kind"] in (0, 1)
        need("finality/BadHeader", "not the header that was named", same, named, sound)
        height = header["height"] - (header["kind"] == 0)
        wanted, heights = (header["parent_id"], header["parent_view"]), range(height, height + 1)
    last = (trust.epoch + 1) * trust.epoch_length
    inside = last - trust.epoch_length < header["height"] <= last
    need("finality/BadHeader", "no block of this epoch", inside, header["kind"] == 0)
    return header


def check_state(state: Row, root: bytes) -> None:
    """Refuse a state proof that does not keep A7 and A8."""
    path, held = hashlib.sha256(state["key"]).digest(), tagged("state-value", state["value"])
    levels, leaf, bits = state["levels"], state["leaf"], int.from_bytes(path, "big")
    sizes = len(levels) <= 85 and len(leaf) <= 4 and all(len(entry) == 2 for entry in leaf)
    lonely = bool(levels) and not any(levels[-1])
    need("proof/Malformed", "a state proof of a shape no tree has", sizes, not lonely)
    entries, shift = [int.from_bytes(entry[0], "big") for entry in leaf], 256 - 3 * len(levels)
    near = all(a < b for a, b in pairwise(entries)) and {e >> shift for e in entries} <= {
        bits >> shift
    }
    need("proof/Malformed", "entries of a state proof where they cannot be", near)
    head = tagged("state-leaf", b"".join(map(b"".join, leaf))) if leaf else bytes(32)
    for level in range(len(levels) - 1, -1, -1):
        child = 32 * (bits >> 253 - 3 * level & 7)
        head = tagged("state-branch", levels[level][:child] + head + levels[level][child:])
    need("proof/RootMismatch", "the state proof does not lead to the header's root", head == root)
    need("proof/OtherValue", "the state has no such value at this key", [path, held] in leaf)


def place_of(leaf: bytes, context: bytes, state: Row, log: Row | None) -> int | bytes:
    """Return the record's number in its log, or its own id, as the state has it (X12.6, X12.7)."""
    if log is None:
        row, actor = unpack(state["value"], "record_row"), context[:1] in (ACCOUNT, IP)
        own = state["key"][:9] == b"anchor\0\2\6" and len(state["key"]) == 29
        need(
            "bundle/OtherRecord",
            "the state row is another's",
            own,
            actor,
            row["leaf"] == leaf,
            row["version"] == 1,
        )
        return bytes(state["key"][8:])
    row, batch, tip = unpack(state["value"], "log_row"), log["batch"], log["checkpoint"]
    own = context[:1] == LOG and context == tip["log"] and state["key"] == b"anchor\0\1" + context
    sizes = (row["version"], row["batches"], len(row["peaks"])) == (
        1,
        tip["size"],
        tip["size"].bit_count(),
    )
    need(
        "bundle/OtherLog",
        "row, checkpoint and batch do not fit",
        own,
        sizes,
        1 <= batch["count"] <= 2**24,
        tip["size"],
    )
    head = row["peaks"].pop()
    while row["peaks"]:
        head = node(row["peaks"].pop(), head)
    need("bundle/OtherLog", "the row's peaks do not give the checkpoint", head == tip["root"])
    sizes = {"batch_no": 8, "first_index": 8, "count": 4, "from": 8, "to": 8}
    numbers = b"".join(batch[name].to_bytes(size, "big") for name, size in sizes.items())
    hashed = tagged("batch", context + numbers + batch["root"])
    leads(leaf, log["index"], batch["count"], log["leaf_path"], batch["root"])
    leads(hashed, batch["batch_no"], tip["size"], log["batch_path"], tip["root"])
    return int(batch["first_index"] + log["index"])


def verify_bytes(data: bytes, genesis_hash: bytes | None, trust: Trust | None = None) -> Verdict:
    """Check a bundle (X11, X12) from what the reader trusts, else relative to its own `trust`."""
    bundle = fit(parse(data), "bundle")
    record, hops, claimed = bundle["record"], bundle["hops"], Trust(**bundle["trust"])
    need("bundle/Malformed", "another format", bundle["format"] == "colophon/bundle/1")
    start = now = trust or claimed
    networks = {claimed.genesis_hash, start.genesis_hash, genesis_hash or start.genesis_hash}
    reaches = claimed.epoch <= start.epoch <= claimed.epoch + len(hops) <= claimed.epoch + 1024
    need("bundle/OtherTrust", "another network or epoch is trusted", len(networks) == 1, reaches)
    for hop in hops[start.epoch - claimed.epoch :]:
        header, committee = finalised(hop["finality"], now), hop["committee"]
        named = header["next_committee_hash"] == tagged("committee", committee)
        last = header["height"] == (now.epoch + 1) * now.epoch_length
        need("finality/BadHop", "no last block of an epoch that names the committee", named, last)
        now = replace(now, epoch=now.epoch + 1, committee=committee)
    header = finalised(bundle["finality"], now)
    check_state(bundle["state"], header["parent_state_root"])
    names, facets, context = names_of(record), facets_of(record), record["context"]
    content = record["fields"].to_bytes(2, "big") + record["content_root"] + record["facets_hash"]
    leaf = tagged("record", start.genesis_hash + context + content)
    place = place_of(leaf, context, bundle["state"], bundle["log"])
    values = {item["name"]: item["value"] for item in record["revealed"][1:]}
    withheld = tuple(name for name in names[1:] if name not in values)
    rests_on = OWN[trust is not None, genesis_hash is not None]
    return Verdict(
        context, leaf, place, header["time_ms"], values, withheld, facets, start, rests_on
    )


def verify_file(path: Path, genesis_hash: bytes | None, trust: Trust | None = None) -> Verdict:
    """Check a bundle in a file."""
    with open(path, "rb") as file:
        return verify_bytes(file.read(MAX_BUNDLE + 1), genesis_hash, trust)


def main(arguments: list[str]) -> int:
    """Print the verdict on a bundle; return the status to exit with."""
    path, *known = arguments
    try:
        verdict = verify_file(Path(path), bytes.fromhex(known[0][2:]) if known else None)
    except InvalidBundle as refusal:
        print
    return 0
