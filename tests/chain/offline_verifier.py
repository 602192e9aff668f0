"""A second bundle verifier, written from docs/record.md and docs/protocol.md alone.

It uses the standard library and PyNaCl and imports nothing of the project, so a test that runs
both shows that the documents say enough and that the code does what they say. Any broken rule
raises ``Wrong`` (or an error of Python for input of another form).
"""

from __future__ import annotations

import hashlib
import json
import re

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey


class Wrong(Exception):
    """A rule is broken; the message names it."""


def need(condition: bool, rule: str) -> None:
    if not condition:
        raise Wrong(rule)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def tagged(tag: str, data: bytes) -> bytes:
    return sha256(bytes([len(tag)]) + tag.encode() + data)  # H1


def u(number: int, size: int) -> bytes:
    return number.to_bytes(size, "big")


def raw(text: str) -> bytes:
    need(re.fullmatch("0x([0-9a-f]{2})*", text) is not None, "X11 hex")
    return bytes.fromhex(text[2:])


def hashes(items: list[str]) -> list[bytes]:
    found = [raw(item) for item in items]
    need(all(len(item) == 32 for item in found) and len(found) <= 65, "M4 form")
    return found


# --- encodings -------------------------------------------------------------------------------


def unpack(data: bytes, at: int = 0):
    """Read one MessagePack value (arrays, unsigned integers, bin, str, nil); return its end."""
    head = data[at]
    if head < 0x80:
        return head, at + 1
    if head == 0xC0:
        return None, at + 1
    if head in (0xCC, 0xCD, 0xCE, 0xCF):
        size = 1 << (head - 0xCC)
        return int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size
    if 0xA0 <= head < 0xC0:
        return data[at + 1 : at + 1 + head - 0xA0].decode(), at + 1 + head - 0xA0
    if head in (0xC4, 0xC5, 0xD9):
        width = 2 if head == 0xC5 else 1
        start = at + 1 + width
        end = start + int.from_bytes(data[at + 1 : start], "big")
        return (data[start:end] if head != 0xD9 else data[start:end].decode()), end
    need(0x90 <= head < 0xA0 or head == 0xDC, "E1")
    count = head - 0x90 if head != 0xDC else int.from_bytes(data[at + 1 : at + 3], "big")
    at += 1 if head != 0xDC else 3
    items = []
    for _ in range(count):
        item, at = unpack(data, at)
        items.append(item)
    return items, at


def decode(data: bytes):
    value, end = unpack(data)
    need(end == len(data), "E2")
    return value


def pack_uint(number: int) -> bytes:
    if number < 0x80:
        return bytes([number])
    size = next(size for size in (1, 2, 4, 8) if number < 1 << 8 * size)
    return bytes([{1: 0xCC, 2: 0xCD, 4: 0xCE, 8: 0xCF}[size]]) + u(number, size)


def pack(value) -> bytes:
    if isinstance(value, int):
        return pack_uint(value)
    if isinstance(value, bytes):
        return bytes([0xC4, len(value)]) + value
    if isinstance(value, str):
        data = value.encode()
        return (bytes([0xA0 + len(data)]) if len(data) < 32 else bytes([0xD9, len(data)])) + data
    return bytes([0x90 + len(value)]) + b"".join(pack(item) for item in value)


def no_doubles(pairs):
    need(len({name for name, _ in pairs}) == len(pairs), "X1 key twice")
    return dict(pairs)


def no_fraction(text: str):
    raise Wrong("X1 fraction")


def canonical(value) -> bytes:
    """X2; the interpreter's quoting of strings is RFC 8785's."""
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: pair[0].encode("utf-16-be"))
        return b"{" + b",".join(canonical(k) + b":" + canonical(v) for k, v in pairs) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(canonical(item) for item in value) + b"]"
    if isinstance(value, int) and not isinstance(value, bool):
        need(abs(value) < 2**53, "X1 integer")
    return json.dumps(value, ensure_ascii=False).encode()


# --- trees -----------------------------------------------------------------------------------


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right)  # M5


def check_path(root: bytes, leaf: bytes, index: int, count: int, path: list[bytes]) -> None:
    need(0 <= index < count, "M4 index")
    at, last, head = index, count - 1, leaf
    for sibling in path:
        need(last > 0, "M4 too long")
        if at % 2 or at == last:
            head = node(sibling, head)
            while at % 2 == 0 and at:
                at, last = at // 2, last // 2
        else:
            head = node(head, sibling)
        at, last = at // 2, last // 2
    need(last == 0 and head == root, "M4")


def bag(peaks: list[bytes]) -> bytes:
    if not peaks:
        return sha256(b"")
    head = peaks[-1]
    for peak in reversed(peaks[:-1]):
        head = node(peak, head)
    return head


def check_state(root: bytes, state: dict) -> None:
    """A6–A8: the key holds the value under the root."""
    path, levels = sha256(raw(state["key"])), [raw(level) for level in state["levels"]]
    entries = [(raw(one), raw(two)) for one, two in state["leaf"]]
    shift = 256 - 3 * len(levels)
    need(all(len(level) == 224 for level in levels) and len(levels) <= 85, "A7 levels")
    need(not levels or any(levels[-1]), "A7 lone child")
    need(len(entries) <= 4 and entries == sorted(set(entries)), "A7 entries")
    place = int.from_bytes(path, "big") >> shift
    for one, two in entries:
        need(len(one) == len(two) == 32, "A7 entry")
        need(int.from_bytes(one, "big") >> shift == place, "A7 place")
    found = tagged("state-leaf", b"".join(one + two for one, two in entries))
    for level in reversed(levels):
        at = place % 8 * 32
        found = tagged("state-branch", level[:at] + found + level[at:])
        place //= 8
    need(found == root, "A8 root")
    need((path, tagged("state-value", raw(state["value"]))) in entries, "A8 value")


# --- finality --------------------------------------------------------------------------------

GENESIS, EPOCH, VIEW, HEIGHT, KIND, PARENT_VIEW, PARENT_ID, TIME = 1, 2, 3, 4, 5, 6, 7, 8
STATE_ROOT, NEXT_COMMITTEE = 15, 18
"""Places of a header's fields (B1)."""


def check_finality(proof: dict, trust: dict):
    """V13; return the proved header."""
    kind, epoch, view, block_id, bitmap, signatures = decode(raw(proof["certificate"]))
    need(kind == 2 and epoch == trust["epoch"], "V13 certificate")
    encoded = [raw(header) for header in proof["headers"]]
    need(1 <= len(encoded) <= 64, "V12")
    child, expected = None, (block_id, view)
    for data in encoded:
        header = decode(data)
        need((tagged("block", data), header[VIEW]) == expected, "V13 chain")
        need(header[0] == 1 and header[GENESIS] == trust["genesis_hash"], "V13 network")
        need(header[EPOCH] == epoch and header[KIND] in (0, 1), "V13 epoch")
        if child is not None:
            rise = 1 if child[KIND] == 0 else 0
            need(child[HEIGHT] == header[HEIGHT] + rise, "V13 height")
            need(header[KIND] <= child[KIND], "V13 filler")
        child, expected = header, (header[PARENT_ID], header[PARENT_VIEW])
    need(child[KIND] == 0, "V13 target")
    need((child[HEIGHT] - 1) // trust["epoch_length"] == epoch, "V14 epoch of height")
    message = tagged("vote-finalize", trust["genesis_hash"] + u(epoch, 8) + u(view, 8) + block_id)
    check_quorum(trust["committee"], bitmap, signatures, message)
    return child


def check_quorum(committee: list, bitmap: bytes, signatures: list, message: bytes) -> None:
    """V9: more than two thirds of the power signed, every signature checked."""
    need(len(bitmap) == (len(committee) + 7) // 8, "V9 bitmap")
    signers = int.from_bytes(bitmap, "little")
    members = [member for index, member in enumerate(committee) if signers >> index & 1]
    need(signers >> len(committee) == 0 and len(members) == len(signatures), "V9 signers")
    power = sum(member[1] for member in members)
    need(3 * power > 2 * sum(member[1] for member in committee), "V9 quorum")
    for (key, _), signature in zip(members, signatures, strict=True):
        try:
            VerifyKey(key).verify(message, signature)
        except BadSignatureError:
            raise Wrong("V9 signature") from None


def read_committee(data: bytes) -> list:
    committee = decode(data)
    keys = {member[0] for member in committee}
    need(0 < len(committee) <= 100 and len(keys) == len(committee), "V1")
    return committee


# --- records ---------------------------------------------------------------------------------


def check_record(record: dict, genesis_hash: bytes) -> tuple[bytes, list, dict]:
    """X10; return leaf, all names, revealed values."""
    context, count = raw(record["context"]), record["fields"]
    root, digest = raw(record["content_root"]), raw(record["facets_hash"])
    need(len(context) == 21 and context[0] in (0, 2, 5) and 1 <= count <= 257, "X10 form")
    revealed = record["revealed"]
    need(revealed[0]["index"] == 0 and revealed[0]["name"] == "_fields", "X10 field 0")
    names, before, size = revealed[0]["value"], -1, 0
    for item in revealed:
        index, name = item["index"], item["name"]
        need(before < index < count, "X10 order")
        need(index == 0 or names[index - 1] == name, "X10 name")
        value, salt = canonical(item["value"]), raw(item["salt"])
        need(len(salt) == 32 and len(value) <= 2**20, "X10 sizes")
        leaf = tagged("field", bytes([len(name)]) + name.encode() + salt + value)
        check_path(root, leaf, index, count, hashes(item["path"]))
        size += len(value) if index else 0
        before = index
    need(all(re.fullmatch(r"[a-z0-9.][a-z0-9_.]{0,63}", name) for name in names), "X3 name")
    need(names == sorted(set(names)) and count == len(names) + 1, "X3 list")
    need(size <= 2**23, "X2 size")
    check_facets(record["facets"], digest, context)
    leaf = tagged("record", genesis_hash + context + u(count, 2) + root + digest)
    return leaf, names, {item["name"]: item["value"] for item in revealed[1:]}


def check_facets(facets: dict | None, digest: bytes, context: bytes) -> None:
    if facets is None:
        return
    order = ("model", "agent", "owner", "digital_source_type", "time", "schema", "language")
    need(set(facets["values"]) <= set(order), "X6")
    present = []
    for number, name in enumerate(order, start=1):
        if name in facets["values"]:
            value = facets["values"][name]
            present.append([number, raw(value) if number <= 3 else value])
    salt = raw(facets["salt"])
    need(len(salt) == 32 and (context[0] == 5 or not any(salt)), "X6 salt")
    need(tagged("facets", salt + pack(present)) == digest, "X6 hash")


def check_place(bundle: dict, leaf: bytes) -> None:
    """X12.6 and X12.7."""
    context, key = raw(bundle["record"]["context"]), raw(bundle["state"]["key"])
    value, log = decode(raw(bundle["state"]["value"])), bundle["log"]
    need(value[0] == 1, "X12 version")
    if log is None:
        need(context[0] != 5 and key[:9] == b"anchor\0\x02\x06" and len(key) == 29, "X12.6 key")
        need(value[1] == leaf, "X12.6 leaf")
        return
    batch, checkpoint = log["batch"], log["checkpoint"]
    need(context[0] == 5 and raw(checkpoint["log"]) == context, "X12.7 log")
    need(key == b"anchor\0\x01" + context, "X12.7 key")
    size, root = checkpoint["size"], raw(checkpoint["root"])
    need((value[9], bag(value[12])) == (size, root), "X12.7 checkpoint")
    fields = u(batch["batch_no"], 8) + u(batch["first_index"], 8) + u(batch["count"], 4)
    fields += u(batch["from"], 8) + u(batch["to"], 8) + raw(batch["root"])
    batch_path, leaf_path = hashes(log["batch_path"]), hashes(log["leaf_path"])
    check_path(root, tagged("batch", context + fields), batch["batch_no"], size, batch_path)
    check_path(raw(batch["root"]), leaf, log["index"], batch["count"], leaf_path)


def verify(text: bytes, genesis_hash: bytes | None = None) -> dict:
    """Check a bundle (X12) from its own trust root; return what it says."""
    bundle = json.loads(
        text.decode(),
        object_pairs_hook=no_doubles,
        parse_float=no_fraction,
        parse_constant=no_fraction,
    )
    need(bundle["format"] == "colophon/bundle/1", "X11 format")
    trust = dict(bundle["trust"], genesis_hash=raw(bundle["trust"]["genesis_hash"]))
    trust["committee"] = read_committee(raw(trust["committee"]))
    need(genesis_hash is None or trust["genesis_hash"] == genesis_hash, "X12.1")
    for hop in bundle["hops"]:
        header = check_finality(hop["finality"], trust)
        data = raw(hop["committee"])
        need(header[NEXT_COMMITTEE] == tagged("committee", data), "X12.2 committee")
        trust = dict(trust, epoch=trust["epoch"] + 1, committee=read_committee(data))
    header = check_finality(bundle["finality"], trust)
    check_state(header[STATE_ROOT], bundle["state"])
    leaf, names, values = check_record(bundle["record"], trust["genesis_hash"])
    check_place(bundle, leaf)
    return {"leaf": leaf, "names": names, "values": values, "time_ms": header[TIME]}
