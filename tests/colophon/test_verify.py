"""The offline verifier: what it accepts, and that nothing forged, changed or broken passes.

`Forge` is an attacker with a committee of its own: it computes every hash and signature anew, so a
refusal can only come from the rule that the forgery breaks.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from chain.crypto import SigningKey as OwnKey
from chain.finality import genesis_light_client
from colophon import verify as module
from colophon.home import write_genesis
from colophon.testnet.make import local_params, new_genesis
from colophon.verify import InvalidBundle, verify_bytes, verify_file
from tests.colophon.served import colophon

VECTOR = Path("tests/vectors/bundle.json")
BUNDLE = json.loads(VECTOR.read_text())
GENESIS = bytes.fromhex(BUNDLE["trust"]["genesis_hash"][2:])
LOG = b"\5" + bytes(range(20))
ACTOR = b"\0" + bytes(20)
RECORD = b"\6" + b"\1" * 20
SEEDED = random.Random(7)


def dumps(bundle: Any) -> bytes:
    return json.dumps(bundle).encode()


def check(bundle: Any, genesis_hash: bytes | None = None) -> module.Verdict:
    return verify_bytes(dumps(bundle), genesis_hash)


def refusal(bundle: Any, genesis_hash: bytes | None = None) -> str:
    """Return the code with which it is refused."""
    with pytest.raises(InvalidBundle) as found:
        check(bundle, genesis_hash)
    return found.value.code


# --- the forger -------------------------------------------------------------------------------


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def tagged(tag: str, data: bytes) -> bytes:
    return sha(bytes([len(tag)]) + tag.encode() + data)


def head(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        above = [sha(b"\1" + a + b) for a, b in zip(hashes[::2], hashes[1::2], strict=False)]
        hashes = above + hashes[len(above) * 2 :]
    return hashes[0]


def path_of(hashes: list[bytes], index: int) -> list[str]:
    path = []
    while len(hashes) > 1:
        if index ^ 1 < len(hashes):
            path.append(hx(hashes[index ^ 1]))
        above = [sha(b"\1" + a + b) for a, b in zip(hashes[::2], hashes[1::2], strict=False)]
        hashes, index = above + hashes[len(above) * 2 :], index // 2
    return path


def hx(data: bytes) -> str:
    return "0x" + data.hex()


KEYS = [SigningKey(bytes([n]) * 32) for n in range(4)]


class Forge:
    """Makes a bundle that is consistent in everything but what a test changes on purpose."""

    def __init__(self, **changes: Any) -> None:
        self.changes = changes
        self.keys: list[SigningKey] = changes.get("keys", KEYS)
        self.genesis: bytes = changes.get("genesis", GENESIS)
        self.context: bytes = changes.get("context", LOG)

    def committee(self) -> bytes:
        members = [[bytes(key.verify_key), 1] for key in self.keys]
        return packed(self.changes.get("members", lambda given: given)(members))

    def record(self) -> dict[str, Any]:
        """Names and (name, value) of the leaves may be anything."""
        names = self.changes.get("names", ["output", "prompt"])
        default = [("_fields", names), *((name, f"my {name}") for name in names)]
        leaves = self.changes.get("leaves", default)
        salts = [sha(bytes([n % 256])) for n in range(len(leaves))]
        hashes = [
            tagged("field", bytes([len(name)]) + name.encode() + salt + compact(value))
            for (name, value), salt in zip(leaves, salts, strict=True)
        ]
        revealed = [
            {"name": name, "index": n, "salt": hx(salts[n]), "value": value,
             "path": path_of(hashes, n)}
            for n, (name, value) in enumerate(leaves)
        ]  # fmt: skip
        salt = self.changes.get("facets_salt", bytes(32))
        values, msg = self.changes.get("facets", ({}, b"\x90"))
        return {
            "context": hx(self.context), "fields": self.changes.get("fields", len(leaves)),
            "content_root": hx(head(hashes)), "facets_hash": hx(tagged("facets", salt + msg)),
            "facets": {"salt": hx(salt), "values": values},
            "revealed": self.changes.get("reveal", lambda given: given)(revealed),
        }  # fmt: skip

    def header(self, **changed: Any) -> dict[str, Any]:
        zero = bytes(32)
        header = {
            "version": 1, "genesis": self.genesis, "epoch": 0, "view": 9, "height": 8, "kind": 0,
            "parent_view": 8, "parent_id": zero, "time": 1_700_000_000_000, "proposer": 0,
            "tx": zero, "evidence": zero, "certificate": zero, "base_fee": 1, "units": 0,
            "state": zero, "receipts": zero, "params": zero, "next": zero,
        }  # fmt: skip
        return {**header, **changed}

    def prove(self, headers: list[dict[str, Any]], epoch: int = 0) -> dict[str, Any]:
        """Sign for the first of the headers, which come from the last one up: parents first."""
        raw: list[bytes] = []
        for header in headers:
            if raw:
                header["parent_id"] = tagged("block", raw[0])
            raw.insert(0, packed(list(header.values())))
        first = headers[-1]
        block_id = tagged("block", raw[0])
        place = epoch.to_bytes(8, "big") + first["view"].to_bytes(8, "big")
        vote = tagged(self.changes.get("tag", "vote-finalize"), self.genesis + place + block_id)
        signers = self.changes.get("signers", [0, 1, 3])
        bitmap = sum(1 << n for n in signers).to_bytes(self.changes.get("bitmap", 1), "little")
        signatures = [self.keys[n].sign(vote).signature for n in signers if n < 4]
        kind = self.changes.get("vote", 2)
        certificate = packed([kind, epoch, first["view"], block_id, bitmap, signatures])
        return {"certificate": hx(certificate), "headers": [hx(data) for data in raw]}

    def bundle(self) -> dict[str, Any]:
        record = self.record()
        parts = [unhx(record[name]) for name in ("content_root", "facets_hash")]
        size = record["fields"].to_bytes(2, "big")
        leaf = tagged("record", self.genesis + self.context + size + b"".join(parts))
        key, row, log = self.in_log(leaf) if self.context[0] == 5 else self.alone(leaf)
        key, row = self.changes.get("key", key), self.changes.get("row", lambda row: row)(row)
        value = self.changes.get("value", lambda data: data)(packed(row))
        entry = [sha(key), tagged("state-value", value)]
        root = tagged("state-leaf", b"".join(entry))
        headers = self.changes.get("headers", lambda first: [first])(self.header(state=root))
        hops = self.changes.get("hops", lambda forge: [])(self)
        epoch = len(hops)
        return {
            "format": "colophon/bundle/1",
            "trust": {"genesis_hash": hx(self.genesis), "epoch_length": 10, "epoch": 0,
                      "committee": hx(self.committee())},
            "record": record, "log": log,
            "state": {"key": hx(key), "value": hx(value), "levels": [],
                      "leaf": [[hx(part) for part in entry]]},
            "finality": self.prove(headers, epoch), "hops": hops,
        }  # fmt: skip

    def alone(self, leaf: bytes) -> tuple[bytes, list[Any], None]:
        return b"anchor\0\2" + RECORD, [1, leaf, 7], None

    def in_log(self, leaf: bytes) -> tuple[bytes, list[Any], dict[str, Any]]:
        leaves = [sha(b"other"), leaf, sha(b"third")]
        batch = {"batch_no": 2, "first_index": 40, "count": 3, "from": 5, "to": 6}
        sizes = (8, 8, 4, 8, 8)
        numbers = b"".join(n.to_bytes(w, "big") for n, w in zip(batch.values(), sizes, strict=True))
        batches = [sha(b"a"), sha(b"b"), tagged("batch", LOG + numbers + head(leaves))]
        peaks = [head(batches[:2]), batches[2]]
        row = [1, ACTOR, [], "s", 1, 1, b"", b"", 0, 3, 43, 6, peaks]
        log = {
            "batch": {**batch, "root": hx(head(leaves))}, "index": 1,
            "leaf_path": path_of(leaves, 1), "batch_path": path_of(batches, 2),
            "checkpoint": {"log": hx(self.context), "size": 3, "root": hx(head(batches))},
        }  # fmt: skip
        return b"anchor\0\1" + LOG, row, log


def packed(value: Any) -> bytes:
    data = msgpack.packb(value, use_bin_type=True)
    assert isinstance(data, bytes)
    return data


def unhx(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def compact(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode()


# --- what is accepted -------------------------------------------------------------------------


def test_the_vector_is_accepted_and_told():
    verdict = verify_file(VECTOR, GENESIS)

    assert (verdict.place, verdict.facets and verdict.facets["language"]) == (7, "en")
    assert verdict.values == {
        "output": "Rayleigh scattering.",
        "tool": {"a": "€\n", "b": [1, None]},
    }
    assert verdict.withheld == ("gen_ai.request.model", "gen_ai.usage.output_tokens", "prompt")
    assert verdict.trust["genesis_hash"] == GENESIS
    assert hx(verdict.trust["committee"]) == BUNDLE["trust"]["committee"]


def test_the_order_of_members_and_white_space_have_no_meaning():
    turned = {name: BUNDLE[name] for name in reversed(BUNDLE)}
    turned["log"] = dict(reversed(BUNDLE["log"].items()))
    turned["log"]["batch"] = dict(reversed(BUNDLE["log"]["batch"].items()))
    turned["record"] = dict(reversed(BUNDLE["record"].items()))

    assert verify_bytes(json.dumps(turned, indent=3).encode(), None) == check(BUNDLE)


def test_facets_may_be_left_out():
    bundle = copy.deepcopy(BUNDLE)
    bundle["record"]["facets"] = None

    assert check(bundle).facets is None


def test_fields_may_be_left_out_but_not_the_list_of_names():
    bundle = copy.deepcopy(BUNDLE)
    del bundle["record"]["revealed"][1:]
    assert check(bundle).values == {}

    for revealed in ([], BUNDLE["record"]["revealed"][1:]):
        bundle["record"]["revealed"] = revealed
        assert refusal(bundle) == "record/BadNames"


@pytest.mark.parametrize("changes", [{}, {"context": ACTOR}, {"context": b"\2" + bytes(20)}])
def test_the_forger_can_make_a_good_bundle(changes):
    verdict = check(Forge(**changes).bundle(), GENESIS)

    assert verdict.place == (RECORD if changes else 41)
    assert verdict.values == {"output": "my output", "prompt": "my prompt"}


def filler_above(first: dict[str, Any], height: int = 8) -> list[dict[str, Any]]:
    return [first, {**first, "kind": 1, "view": 11, "parent_view": 9, "height": height}]


def test_a_filler_has_its_parents_height():
    assert check(Forge(headers=filler_above).bundle()).no_later_than_ms == 1_700_000_000_000
    for height in (7, 9):
        forged = Forge(headers=lambda first, height=height: filler_above(first, height)).bundle()
        assert refusal(forged) == "finality/BadHeader"


def test_a_reader_may_begin_at_a_later_epoch():
    own = {name: value for name, value in BUNDLE["trust"].items() if name == "epoch_length"}
    committee = bytes.fromhex(BUNDLE["hops"][0]["committee"][2:])
    trust = {**own, "genesis_hash": GENESIS, "epoch": 1, "committee": committee}

    assert verify_bytes(dumps(BUNDLE), GENESIS, trust).trust == trust
    with pytest.raises(InvalidBundle):
        verify_bytes(dumps(BUNDLE), GENESIS, {**trust, "epoch": 2})
    with pytest.raises(InvalidBundle):
        verify_bytes(dumps(BUNDLE), GENESIS, {**trust, "committee": Forge().committee()})


def test_the_command_believes_the_committee_of_the_genesis_document_only(tmp_path: Path) -> None:
    validators = [OwnKey(bytes(key)) for key in KEYS]
    params = msgspec.structs.replace(local_params(dev=False), epoch_length=10)
    genesis = new_genesis("verified", 1_700_000_000_000, validators, [], params)
    write_genesis(tmp_path / "genesis.json", genesis)
    order = genesis_light_client(genesis).committee.members
    by_key = {bytes(key.verify_key): key for key in KEYS}
    keys = [by_key[member.public_key] for member in order]
    strangers = [SigningKey(bytes([n + 50]) * 32) for n in range(4)]

    def verify(bundle: Any, *options: str) -> dict[str, Any]:
        (tmp_path / "bundle.json").write_bytes(dumps(bundle))
        finished = colophon(
            "--json", "verify", str(tmp_path / "bundle.json"), *options, home=tmp_path
        )
        answer: dict[str, Any] = json.loads(finished.stdout)
        assert finished.exit_code == (0 if "error" not in answer else 1)
        return answer

    good = Forge(genesis=genesis.hash(), keys=keys).bundle()
    forged = Forge(genesis=genesis.hash(), keys=strangers).bundle()
    document = ("--genesis", str(tmp_path / "genesis.json"))
    named = ("--trust", hx(genesis.hash()))

    assert verify(good, *document)["valid"] is True
    assert verify(forged, *document)["error"]["code"] == "finality/BadSignature"
    # A hash says nothing of the committee: the answer names it, for whoever asked to compare.
    assert verify(forged, *named)["trust"]["committee"] == forged["trust"]["committee"]


# --- what is refused --------------------------------------------------------------------------


def test_another_genesis_hash_is_refused():
    for other in (bytes(32), b"", GENESIS[:31]):
        assert refusal(BUNDLE, other) == "bundle/OtherTrust"


TWICE = [("_fields", ["output", "output"]), ("output", "yes"), ("output", "no")]


@pytest.mark.parametrize(
    "changes",
    [
        {"leaves": TWICE},
        {"leaves": [("_fields", ["output"]), *TWICE[1:]]},
        {"leaves": [("_fields", ["output"]), *TWICE[1:]], "fields": 2},
        {"leaves": [("_fields", ["output", "prompt"]), *TWICE[1:]]},
        {"leaves": [("_fields", ["output", "prompt"]), *TWICE[1:]],
         "reveal": lambda given: [given[0], given[2]]},
        {"leaves": [("_fields", ["a", "output"]), *TWICE[1:]],
         "reveal": lambda given: [given[0], given[1]]},
        {"leaves": [*TWICE[1:], ("_fields", ["output"])]},
        {"leaves": [("_fields", ["output", "prompt"]), ("output", 1), ("prompt", 2)],
         "reveal": lambda given: [*given[:2], given[1]]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("context", [LOG, ACTOR])
def test_a_record_with_two_outputs_is_refused(changes, context):
    code = refusal(Forge(context=context, **changes).bundle())

    assert code in ("record/BadNames", "record/BadPlace", "merkle/BadProof")


@pytest.mark.parametrize(
    "names", [["b", "a"], ["_x"], ["A"], [""], ["a" * 65], [1], "a", None, {"a": 1}, ["a\n"]]
)
def test_field_0_is_a_list_of_names(names):
    leaves = [("_fields", names), ("output", "x")]

    assert refusal(Forge(leaves=leaves).bundle()) == "record/BadNames"


BROKEN = {
    "two thirds": {"signers": [0, 3], "members": lambda m: [*m[:3], [m[3][0], 3]],
                   "code": "finality/BadCertificate"},
    "a bit beyond": {"signers": [0, 1, 2, 5], "code": "finality/BadCertificate"},
    "a long bitmap": {"bitmap": 2, "code": "finality/BadCertificate"},
    "a notarization": {"vote": 0, "tag": "vote-notarize", "code": "finality/BadCertificate"},
    "other votes": {"tag": "vote-notarize", "code": "finality/BadSignature"},
    "one member twice": {"members": lambda m: [m[0], m[0], *m[2:]],
                         "code": "finality/BadCommittee"},
    "no power": {"members": lambda m: [*m[:2], [m[2][0], 0], m[3]],
                 "code": "finality/BadCommittee"},
    "no members": {"members": lambda m: [], "code": "finality/BadCommittee"},
    "much power": {"members": lambda m: [*m[:3], [m[3][0], 2**60]],
                   "code": "finality/BadCommittee"},
    "a weak key": {"members": lambda m: [*m[:2], [bytes(32), 1], m[3]],
                   "code": "finality/BadCommittee"},
    "a key not canonical": {"members": lambda m: [*m[:2], [b"\xf0" + b"\xff" * 31, 1], m[3]],
                            "code": "finality/BadCommittee"},
    "a later epoch's height": {"headers": lambda h: [{**h, "height": 11}],
                               "code": "finality/BadHeader"},
    "height 0": {"headers": lambda h: [{**h, "height": 0}], "code": "finality/BadHeader"},
    "another epoch": {"headers": lambda h: [{**h, "epoch": 1}], "code": "finality/BadHeader"},
    "another network": {"headers": lambda h: [{**h, "genesis": bytes(32)}],
                        "code": "finality/BadHeader"},
    "another version": {"headers": lambda h: [{**h, "version": 2}], "code": "finality/BadHeader"},
    "a filler": {"headers": lambda h: [{**h, "kind": 1}], "code": "finality/BadHeader"},
    "no kind": {"headers": lambda h: [{**h, "kind": 2}], "code": "finality/BadHeader"},
    "heights that rise by two": {"headers": lambda h: [h, {**h, "height": 10, "parent_view": 9}],
                                 "code": "finality/BadHeader"},
    "a filler below a block": {
        "headers": lambda h: [h, {**h, "kind": 1, "view": 10, "parent_view": 9},
                              {**h, "height": 9, "view": 11, "parent_view": 10}],
        "code": "finality/BadHeader"},
    "a proposer beyond u16": {"headers": lambda h: [{**h, "proposer": 2**16}],
                              "code": "bundle/Malformed"},
    "another parent view": {"headers": lambda h: [h, {**h, "height": 9}],
                            "code": "finality/BadHeader"},
    "65 headers": {"headers": lambda h: [h] * 65, "code": "finality/BadCertificate"},
    "another row": {"row": lambda row: [2, *row[1:]], "code": "bundle/OtherRow"},
    "batches": {"row": lambda row: [*row[:9], 7, *row[10:]], "code": "bundle/OtherRow"},
    "too few peaks": {"row": lambda row: [*row[:12], row[12][:1]], "code": "bundle/OtherRow"},
    "turned peaks": {"row": lambda row: [*row[:12], row[12][::-1]], "code": "merkle/BadProof"},
    "another key": {"key": b"anchor\0\1" + LOG[:-1] + b"x", "code": "bundle/OtherRow"},
    "a long amount": {"row": lambda row: [*row[:6], b"\1" * 17, *row[7:]],
                      "code": "bundle/Malformed"},
    "an amount with a zero": {"row": lambda row: [*row[:6], b"\0", *row[7:]],
                              "code": "bundle/Malformed"},
    "more in the row": {"row": lambda row: [*row, 1], "code": "bundle/Malformed"},
    "bytes after the row": {"value": lambda data: data + b"\0", "code": "codec/NotCanonical"},
    "bytes missing": {"value": lambda data: data[:-1], "code": "codec/NotCanonical"},
    "long integer": {"value": lambda data: data[:1] + b"\xcc\1" + data[2:],
                     "code": "codec/NotCanonical"},
    "nil": {"value": lambda data: data[:1] + b"\xc0" + data[2:], "code": "codec/Malformed"},
    "text that is none": {"value": lambda data: data.replace(b"\xa1s", b"\xa1\xff"),
                          "code": "codec/NotCanonical"},
    "a class as context": {"context": b"\7" + bytes(20), "code": "bundle/Malformed"},
    "a log as another's": {"context": LOG[:-1] + b"x", "code": "bundle/OtherRow"},
    "salted public facets": {"context": ACTOR, "facets_salt": b"\1" * 32,
                             "code": "record/BadFacets"},
    "a model that is none": {"facets": ({"model": hx(ACTOR)}, b"\x91\x92\1" + packed(ACTOR)),
                             "code": "bundle/Malformed"},
    "a long language": {"facets": ({"language": "x" * 36}, packed([[7, "x" * 36]])),
                        "code": "bundle/Malformed"},
    "an unknown facet": {"facets": ({"x": 1}, b"\x90"), "code": "bundle/Malformed"},
    "a facet that is null": {"facets": ({"time": None}, b"\x90"), "code": "bundle/Malformed"},
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_one_rule_is_refused(name):
    changes = {**BROKEN[name]}
    code = changes.pop("code")

    assert refusal(Forge(**changes).bundle()) == code


@pytest.mark.parametrize(
    ("facets", "msg"),
    [
        ({"time": 127}, packed([[5, 127]])),
        ({"time": 2**53 - 1, "language": "x" * 35}, packed([[5, 2**53 - 1], [7, "x" * 35]])),
        ({"schema": "", "agent": hx(ACTOR)}, packed([[2, ACTOR], [6, ""]])),
        ({"digital_source_type": "0x00" + "é" * 30}, packed([[4, "0x00" + "é" * 30]])),
        ({"time": 255, "model": hx(b"\2" + ACTOR[1:])}, packed([[1, b"\2" + ACTOR[1:]], [5, 255]])),
    ],
)
def test_facets_are_packed_as_they_should(facets, msg):
    assert check(Forge(facets=(facets, msg)).bundle()).facets is not None


def hop(**changed: Any) -> Callable[[Forge], list[Any]]:
    def make(forge: Forge) -> list[Any]:
        committee = forge.committee()
        last = forge.header(**{"height": 10, "next": tagged("committee", committee), **changed})
        return [{"finality": forge.prove([last]), "committee": hx(committee)}]

    return make


def in_epoch_1(first: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**first, "epoch": 1, "height": 11}]


def test_a_hop_is_the_last_block_of_its_epoch_and_names_the_committee():
    assert check(Forge(hops=hop(), headers=in_epoch_1).bundle()).place == 41
    for changed in ({"height": 9}, {"next": bytes(32)}):
        assert refusal(Forge(hops=hop(**changed), headers=in_epoch_1).bundle()) == "finality/BadHop"


def test_values_keep_their_limits():
    def with_value(value: Any) -> dict[str, Any]:
        return Forge(leaves=[("_fields", ["a"]), ("a", value)]).bundle()

    deep: Any = 1
    for _ in range(32):
        deep = [deep]
    for good in (deep, 2**53 - 1, 1 - 2**53, "x" * (2**20 - 2), {"\ufffd": 1}, "\x7f\u2028", True):
        assert check(with_value(good)).values == {"a": good}
    assert refusal(with_value([deep])) == "json/NotAllowed"
    assert refusal(with_value("x" * (2**20 - 1))) == "record/TooLarge"
    for bad in (2**53, -(2**53), 0.5, 1e3, [float("inf")]):
        assert refusal(with_value(bad)) == "json/NotAllowed"


def test_all_values_together_have_a_limit():
    names = [f"n{n}" for n in range(9)]
    full = "x" * (2**20 - 2)

    def fields(values: list[str]) -> dict[str, Any]:
        return Forge(leaves=[("_fields", names), *zip(names, values, strict=True)]).bundle()

    with pytest.raises(InvalidBundle, match="n8"):
        check(fields([full] * 9))
    # 9 values of together 8 MiB: the quotation marks of the last one have to fit, too.
    assert check(fields([full] * 7 + ["x" * (2**19 - 2)] * 2)).withheld == ()


def test_keys_are_sorted_by_their_utf_16():
    value = {"\ufffd": 1, "😀": 2}
    forged = Forge(leaves=[("_fields", ["a"]), ("a", value)])
    assert refusal(forged.bundle()) == "merkle/BadProof"  # sorted by code points

    vectors = json.loads(Path("tests/vectors/record.json").read_text())["records"]
    for vector in vectors:
        for name, text in vector["canonical"].items():
            parsed = module.parse(json.dumps(vector["fields"][name]).encode())
            assert module.JSON.encode(parsed) == text


# --- changes ----------------------------------------------------------------------------------


def scalars(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from scalars(value[key], (*place, key))
    else:
        yield place


def changed(value: Any) -> list[Any]:
    """Return a few values near this one, of its own type and of others."""
    if isinstance(value, int):
        return [value + 1, value - 1, value ^ 64, -value - 1, str(value), None, [value]]
    if not isinstance(value, str):
        return [0, "", [], True]
    if not value.startswith("0x"):
        return [value + "x", value[:-1], value.upper(), 1, None]
    data = bytearray(unhx(value))
    data[SEEDED.randrange(len(data))] ^= 1 << SEEDED.randrange(8)
    longer = [hx(unhx(value) + b"\0"), value[:-2], value[:-1], value[2:], value + "\n", "0x"]
    upper = value.replace("0x", "0X") if value[2:].isdigit() else "0x" + value[2:].upper()
    return [hx(bytes(data)), upper, None, *longer]


PLACES = [place for place in scalars(BUNDLE) if place[0] != "trust"]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_every_changed_scalar_is_refused(place):
    *above, last = place
    for _ in range(3):
        original = BUNDLE
        for key in place:
            original = original[key]
        for value in (new for new in changed(original) if new != original):
            bundle = copy.deepcopy(BUNDLE)
            inner = bundle
            for key in above:
                inner = inner[key]
            inner[last] = value
            refusal(bundle, GENESIS)


@pytest.mark.parametrize("name", ["certificate", "header"])
def test_every_flipped_bit_of_what_is_signed_is_refused(name):
    bundle = copy.deepcopy(BUNDLE)
    proof = bundle["finality"]
    data = bytearray(unhx(proof["certificate"] if name == "certificate" else proof["headers"][0]))
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        if name == "certificate":
            proof["certificate"] = hx(bytes(flipped))
        else:
            proof["headers"][0] = hx(bytes(flipped))
        refusal(bundle)


def containers(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        yield place
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from containers(value[key], (*place, key))


def test_a_member_more_or_less_is_refused():
    harmless = {("record", "revealed"), ("record", "facets", "values")}
    for place in containers(BUNDLE):
        for less in (True, False):
            bundle = copy.deepcopy(BUNDLE)
            inner = bundle
            for key in place:
                inner = inner[key]
            if isinstance(inner, dict):
                inner.pop(next(iter(inner))) if less else inner.update(x=1)
            elif inner and place not in harmless:
                inner.pop() if less else inner.append(inner[-1])
            else:
                continue
            refusal(bundle)


# --- garbage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[]", b"null", b"1", b"\xff", b"\xef\xbb\xbf{}", b'"\\ud800"',
        b'{"a":1,"a":1}', b"NaN", b"[-Infinity]", b"1.0", b"1e2",
        b"9007199254740992", b"1" * 5000,
        b"[" * 100_000,
        b'{"a":' * 50_000, b"[" * 37 + b"]" * 37, b'{"\\udc00":1}', b'"\xed\xa0\x80"', b"01",
        b"{} 1", "{}".encode("utf-16"), b'"\x01"', b"[1,]",
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused(data):
    with pytest.raises(InvalidBundle):
        verify_bytes(data, None)


def test_truncated_bundles_are_refused():
    data = VECTOR.read_bytes()
    for end in SEEDED.sample(range(len(data) - 2), 200):
        with pytest.raises(InvalidBundle):
            verify_bytes(data[:end], None)


def test_an_oversized_file_is_refused(tmp_path: Path):
    path = tmp_path / "large.json"
    data = VECTOR.read_bytes()
    path.write_bytes(data + b" " * (33_554_432 - len(data)))
    assert verify_file(path, GENESIS).place == 7

    with open(path, "ab") as file:
        file.write(b" ")
    with pytest.raises(InvalidBundle, match="33 554 432"):
        verify_file(path, GENESIS)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary().map(hx) | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(containers(BUNDLE)) + PLACES), JSON_VALUES)
def test_any_value_anywhere_is_refused_or_harmless(place, value):
    bundle = copy.deepcopy(BUNDLE)
    inner: Any = bundle
    for key in place[:-1]:
        inner = inner[key]
    if place:
        inner[place[-1]] = value
    try:
        check(bundle if place else value)
    except InvalidBundle as refused:
        assert refused.code and str(refused)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["certificate", "header", "committee", "value"]))
def test_any_bytes_as_messagepack_are_refused(data, where):
    bundle = copy.deepcopy(BUNDLE)
    proof = bundle["finality"]
    if where == "header":
        proof["headers"][0] = hx(data)
    elif where == "committee":
        bundle["trust"]["committee"] = hx(data)
    elif where == "certificate":
        proof["certificate"] = hx(data)
    else:
        bundle = Forge(value=lambda _: data).bundle()
    refusal(bundle)


@settings(max_examples=300, deadline=None)
@given(st.recursive(
    st.integers(0, 2**64 - 1) | st.binary(max_size=255) | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=20),
))  # fmt: skip
def test_messagepack_is_what_the_library_makes_of_it(value):
    assert module.pack(value) == packed(value)


# --- the file itself --------------------------------------------------------------------------


def test_the_verifier_is_short_and_needs_nothing_of_the_project():
    source = Path("colophon/verify.py").read_text()
    found = set()
    for item in ast.walk(ast.parse(source)):
        if isinstance(item, ast.Import):
            found |= {name.name.split(".")[0] for name in item.names}
        elif isinstance(item, ast.ImportFrom):
            assert item.level == 0
            found.add(str(item.module).split(".")[0])

    assert len(source.splitlines()) <= 300
    assert found <= {*sys.stdlib_module_names, "nacl"}


@pytest.mark.parametrize(
    ("arguments", "status"), [((), 0), ((hx(GENESIS),), 0), ((hx(bytes(32)),), 1), (("0x",), 1)]
)
def test_it_runs_by_itself(arguments, status):
    command = [sys.executable, "-m", "colophon.verify", str(VECTOR), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == status
    assert ("Rayleigh" in done.stdout) == (status == 0)
    assert ("OtherTrust" in done.stderr) == (status == 1)
