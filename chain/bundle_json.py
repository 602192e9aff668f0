"""A bundle as a JSON file, and back (protocol.md X11; docs/record.md has an example).

Every binary value is ``0x`` and lower-case hex, every number a plain integer, no member may be
missing or unknown: a bundle has one form, so two readers never see two things in it.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from .bundle import HOPS_MAX, Bundle, Hop, LogPlace, StateValue
from .certificate import CERTIFICATE, CERTIFICATE_BYTES_MAX
from .codec import U64, Decoder, encode
from .committee import Committee, Member
from .disclosure import Disclosure, RevealedField
from .errors import Rejected
from .fields import checker
from .finality import PROOF_HEADERS_MAX, FinalityProof, LightClient
from .header import HEADER, HEADER_BYTES_MAX
from .ids import ID_BYTES
from .jcs import NESTING_MAX, JsonValue, parse_json
from .merkle import PROOF_HASHES_MAX
from .record import BATCH_LEAVES_MAX, FIELDS_MAX, Batch, Facets
from .state_proof import LEAF_KEYS_MAX, LEVELS_MAX, SIBLINGS_BYTES, LeafEntry, StateProof
from .transaction import PublicKey

FORMAT = "colophon/bundle/1"
BUNDLE_BYTES_MAX = 32 * 1_048_576
"""Longest file a reader opens: the largest record in full with hops through 100 epochs."""
FILE_NESTING_MAX = NESTING_MAX + 4
"""A revealed value stands four levels down: file, record, list of fields, field (X11)."""
KEY_BYTES_MAX = 64
"""The keys of logs and records have 29 bytes."""
VALUE_BYTES_MAX = 4_096
"""A log's row has at most 3 000 bytes."""
COMMITTEE_BYTES_MAX = 8_192
"""100 members take 4 403 bytes."""

_COMMITTEE = Decoder(list[tuple[PublicKey, U64]], bytes_max=COMMITTEE_BYTES_MAX, what="committee")
_FACETS = Decoder(Facets, bytes_max=1_024, what="facets")

# --- writing ---------------------------------------------------------------------------------


def write_bundle(bundle: Bundle) -> bytes:
    """Return the file's bytes: indented UTF-8 JSON with members in the documented order."""
    form = {
        "format": FORMAT,
        "trust": _write_trust(bundle.trust),
        "record": _write_record(bundle.record),
        "log": None if bundle.place is None else _write_place(bundle.place),
        "state": _write_state(bundle.state),
        "finality": _write_finality(bundle.finality),
        "hops": [
            {"finality": _write_finality(hop.finality), "committee": _hex(encode(hop.members))}
            for hop in bundle.hops
        ],
    }
    return (json.dumps(form, indent=2, ensure_ascii=False) + "\n").encode()


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _write_trust(trust: LightClient) -> dict[str, Any]:
    return {
        "genesis_hash": _hex(trust.genesis_hash),
        "epoch_length": trust.epoch_length,
        "epoch": trust.epoch,
        "committee": _hex(encode(trust.committee.members)),
    }


def _write_record(record: Disclosure) -> dict[str, Any]:
    return {
        "context": _hex(record.context),
        "fields": record.fields,
        "content_root": _hex(record.content_root),
        "facets_hash": _hex(record.facets_hash),
        "facets": _write_facets(record),
        "revealed": [
            {
                "name": item.name,
                "index": item.index,
                "salt": _hex(item.salt),
                "value": item.value,
                "path": [_hex(sibling) for sibling in item.path],
            }
            for item in record.revealed
        ],
    }


def _write_facets(record: Disclosure) -> dict[str, Any] | None:
    if record.facets is None or record.facets_salt is None:
        return None
    values = {
        name: _hex(value) if isinstance(value, bytes) else value
        for name, value in msgspec.structs.asdict(record.facets).items()
        if value is not None
    }
    return {"salt": _hex(record.facets_salt), "values": values}


def _write_place(place: LogPlace) -> dict[str, Any]:
    batch = place.batch
    return {
        "batch": {
            "batch_no": batch.batch_no,
            "first_index": batch.first_index,
            "count": batch.count,
            "from": batch.begin_ms,
            "to": batch.end_ms,
            "root": _hex(batch.root),
        },
        "index": place.index,
        "leaf_path": [_hex(sibling) for sibling in place.leaf_path],
        "batch_path": [_hex(sibling) for sibling in place.batch_path],
        "checkpoint": {"log": _hex(batch.log), "size": place.size, "root": _hex(place.root)},
    }


def _write_state(state: StateValue) -> dict[str, Any]:
    return {
        "key": _hex(state.key),
        "value": _hex(state.value),
        "levels": [_hex(siblings) for siblings in state.proof.levels],
        "leaf": [[_hex(entry.path), _hex(entry.value_hash)] for entry in state.proof.leaf],
    }


def _write_finality(proof: FinalityProof) -> dict[str, Any]:
    return {
        "certificate": _hex(encode(proof.finalization)),
        "headers": [_hex(encode(header)) for header in proof.headers],
    }


# --- reading ---------------------------------------------------------------------------------


def read_bundle(data: bytes) -> Bundle:
    """Return the bundle in a file; nothing but its form is checked.

    Raises ``Rejected`` with ``json/…`` for what is no strict JSON, ``bundle/Malformed`` for
    another form, ``codec/…`` for a certificate, header or committee that is not canonical.
    """
    form = _members(
        parse_json(data, bytes_max=BUNDLE_BYTES_MAX, nesting_max=FILE_NESTING_MAX),
        ("format", "trust", "record", "log", "state", "finality", "hops"),
        "bundle",
    )
    if form["format"] != FORMAT:
        raise _malformed(f"format is {str(form['format'])[:40]!r}, expected {FORMAT!r}")
    place = form["log"]
    return Bundle(
        trust=_read_trust(form["trust"]),
        record=_read_record(form["record"]),
        place=None if place is None else _read_place(place),
        state=_read_state(form["state"]),
        finality=_read_finality(form["finality"], "finality"),
        hops=tuple(_read_hop(item) for item in _list(form["hops"], HOPS_MAX, "hops")),
    )


def _members(form: JsonValue, names: tuple[str, ...], where: str) -> dict[str, JsonValue]:
    if type(form) is not dict or set(form) != set(names):
        raise _malformed(f"{where} must be an object of {', '.join(names)}")
    return form


def _list(form: JsonValue, items_max: int, where: str) -> list[JsonValue]:
    if type(form) is not list or len(form) > items_max:
        raise _malformed(f"{where} must be a list of at most {items_max}")
    return form


def _integer(form: JsonValue, low: int, high: int, where: str) -> int:
    if type(form) is not int or not low <= form <= high:
        raise _malformed(f"{where} must be an integer from {low} to {high}")
    return form


def _bytes(form: JsonValue, where: str, *, low: int, high: int) -> bytes:
    if type(form) is str and form.startswith("0x") and len(form) <= 2 + 2 * high:
        try:
            data = bytes.fromhex(form[2:])
        except ValueError:
            data = b""
        if _hex(data) == form and low <= len(data):
            return data
    raise _malformed(f"{where} must be 0x and lower-case hex of {low} to {high} bytes")


def _hash(form: JsonValue, where: str) -> bytes:
    return _bytes(form, where, low=32, high=32)


def _path(form: JsonValue, where: str) -> tuple[bytes, ...]:
    return tuple(_hash(item, where) for item in _list(form, PROOF_HASHES_MAX, where))


def _count(form: JsonValue, where: str) -> int:
    return _integer(form, 0, 2**53 - 1, where)


def _read_trust(form: JsonValue) -> LightClient:
    part = _members(form, ("genesis_hash", "epoch_length", "epoch", "committee"), "trust")
    return LightClient(
        genesis_hash=_hash(part["genesis_hash"], "genesis_hash"),
        epoch_length=_integer(part["epoch_length"], 1, 2**32, "epoch_length"),
        epoch=_count(part["epoch"], "epoch"),
        committee=Committee(_read_committee(part["committee"])),
    )


def _read_committee(form: JsonValue) -> list[Member]:
    """What makes a list of members a committee is checked where one is made of it (V1)."""
    raw = _bytes(form, "committee", low=1, high=COMMITTEE_BYTES_MAX)
    return [Member(public_key, power) for public_key, power in _COMMITTEE.decode(raw)]


def _read_record(form: JsonValue) -> Disclosure:
    part = _members(
        form,
        ("context", "fields", "content_root", "facets_hash", "facets", "revealed"),
        "record",
    )
    facets, salt = _read_facets(part["facets"])
    revealed = _list(part["revealed"], FIELDS_MAX, "revealed")
    return Disclosure(
        context=_bytes(part["context"], "context", low=ID_BYTES, high=ID_BYTES),
        fields=_integer(part["fields"], 1, FIELDS_MAX, "fields"),
        content_root=_hash(part["content_root"], "content_root"),
        facets_hash=_hash(part["facets_hash"], "facets_hash"),
        facets=facets,
        facets_salt=salt,
        revealed=tuple(_read_revealed(item) for item in revealed),
    )


def _read_revealed(form: JsonValue) -> RevealedField:
    part = _members(form, ("name", "index", "salt", "value", "path"), "revealed")
    name = part["name"]
    if type(name) is not str:
        raise _malformed("a field's name must be a string")
    return RevealedField(
        name=name,
        index=_integer(part["index"], 0, FIELDS_MAX - 1, "index"),
        salt=_hash(part["salt"], "salt"),
        value=part["value"],
        path=_path(part["path"], "path"),
    )


def _read_facets(form: JsonValue) -> tuple[Facets | None, bytes | None]:
    if form is None:
        return None, None
    part = _members(form, ("salt", "values"), "facets")
    values = part["values"]
    if type(values) is not dict or not set(values) <= set(Facets.__struct_fields__):
        raise _malformed(f"facets may be {', '.join(Facets.__struct_fields__)}")
    ids = ("model", "agent", "owner")
    plain = {
        name: _bytes(value, name, low=ID_BYTES, high=ID_BYTES) if name in ids else value
        for name, value in values.items()
    }
    facets = _FACETS.decode(encode(Facets(**plain)))  # type: ignore[arg-type]  # decoding checks
    check = checker(Facets)
    if check is not None:
        check(facets, "facets")
    return facets, _hash(part["salt"], "salt")


def _read_place(form: JsonValue) -> LogPlace:
    part = _members(form, ("batch", "index", "leaf_path", "batch_path", "checkpoint"), "log")
    checkpoint = _members(part["checkpoint"], ("log", "size", "root"), "checkpoint")
    names = ("batch_no", "first_index", "count", "from", "to", "root")
    batch = _members(part["batch"], names, "batch")
    return LogPlace(
        batch=Batch(
            log=_bytes(checkpoint["log"], "log", low=ID_BYTES, high=ID_BYTES),
            batch_no=_count(batch["batch_no"], "batch_no"),
            first_index=_count(batch["first_index"], "first_index"),
            count=_integer(batch["count"], 1, BATCH_LEAVES_MAX, "count"),
            begin_ms=_count(batch["from"], "from"),
            end_ms=_count(batch["to"], "to"),
            root=_hash(batch["root"], "root"),
        ),
        index=_integer(part["index"], 0, BATCH_LEAVES_MAX - 1, "index"),
        leaf_path=_path(part["leaf_path"], "leaf_path"),
        batch_path=_path(part["batch_path"], "batch_path"),
        size=_count(checkpoint["size"], "size"),
        root=_hash(checkpoint["root"], "root"),
    )


def _read_state(form: JsonValue) -> StateValue:
    part = _members(form, ("key", "value", "levels", "leaf"), "state")
    levels = _list(part["levels"], LEVELS_MAX, "levels")
    entries = _list(part["leaf"], LEAF_KEYS_MAX, "leaf")
    return StateValue(
        key=_bytes(part["key"], "key", low=1, high=KEY_BYTES_MAX),
        value=_bytes(part["value"], "value", low=1, high=VALUE_BYTES_MAX),
        proof=StateProof(
            tuple(
                _bytes(item, "levels", low=SIBLINGS_BYTES, high=SIBLINGS_BYTES) for item in levels
            ),
            tuple(_read_entry(item) for item in entries),
        ),
    )


def _siblings(form: JsonValue) -> bytes:
    return _bytes(form, "levels", low=SIBLINGS_BYTES, high=SIBLINGS_BYTES)


def _read_entry(form: JsonValue) -> LeafEntry:
    pair = _list(form, 2, "leaf entry")
    if len(pair) != 2:
        raise _malformed("a leaf entry must be a path and a value hash")
    return LeafEntry(_hash(pair[0], "path"), _hash(pair[1], "value_hash"))


def _read_hop(form: JsonValue) -> Hop:
    part = _members(form, ("finality", "committee"), "hop")
    members = _read_committee(part["committee"])
    return Hop(finality=_read_finality(part["finality"], "hop"), members=tuple(members))


def _read_finality(form: JsonValue, where: str) -> FinalityProof:
    part = _members(form, ("certificate", "headers"), where)
    certificate = _bytes(part["certificate"], "certificate", low=1, high=CERTIFICATE_BYTES_MAX)
    headers = _list(part["headers"], PROOF_HEADERS_MAX, "headers")
    if not headers:
        raise _malformed("a finality proof has at least one header")
    return FinalityProof(
        CERTIFICATE.decode(certificate),
        [HEADER.decode(_bytes(item, "header", low=1, high=HEADER_BYTES_MAX)) for item in headers],
    )


def _malformed(message: str) -> Rejected:
    return Rejected("bundle/Malformed", message)
