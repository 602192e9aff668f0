"""The record of one AI interaction: salted fields under one hash (protocol.md X3–X9).

A record never goes on chain; its 32-byte leaf does, alone (``anchor.record``) or under the root
of a batch (``anchor.append``). Each field is hashed with a salt of its own, derived from one
secret per record, so any subset can be shown later (``disclosure.py``) and the rest stays
unguessable; destroying the secret makes it so for ever.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from typing import Annotated

import msgspec

from .codec import Record, encode
from .errors import Misuse, Rejected
from .fields import text
from .hashing import TAG_PREFIX, tagged_hash
from .ids import Holder, IpId, Kind
from .jcs import INTEGER_MAX, JsonValue, canonical_json
from .merkle import log_root

NAMES_MAX = 256
"""Most fields of a record besides ``_fields``."""
FIELDS_MAX = NAMES_MAX + 1
"""Most leaves of a record's content tree."""
RECORD_BYTES_MAX = 8 * 1_048_576
"""Most canonical bytes of all values together; so a full disclosure fits a bundle."""
BATCH_LEAVES_MAX = 2**24
"""Most records in one batch: 16.7 million in one message."""

FIELD_LIST = "_fields"
"""Name of field 0, the list of all other names."""
FACET_SALT = "_facets"
"""Name from which the salt of the facets is derived."""
NAME = re.compile(r"[a-z0-9.][a-z0-9_.]{0,63}", re.ASCII)
"""A field's name. A leading ``_`` is reserved for names the format itself gives."""

SECRET_BYTES = 32
PUBLIC_SALT = bytes(32)
"""Salt of facets that stand in the open in an ``anchor.record``."""
SALT_LABEL = b"colophon/salt/v1"


class Facets(Record, kw_only=True):
    """What may be said of an interaction in the open: a typed, closed list, all optional (X6).

    The order is the table's and permanent; a facet's number is its place, from 1.
    """

    model: IpId | None = None
    """The model, as a registered IP."""
    agent: Holder | None = None
    """The program that made the call."""
    owner: Holder | None = None
    """Who the interaction belongs to; a materialised record goes to this holder."""
    digital_source_type: Annotated[str, text(64)] | None = None
    """Last part of an IPTC NewsCodes term, for instance ``trainedAlgorithmicMedia``."""
    time: Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)] | None = None
    """When the interaction happened, Unix milliseconds, as its recorder says."""
    schema: Annotated[str, text(64)] | None = None
    """What the field names mean, for instance ``colophon/interaction/1``."""
    language: Annotated[str, text(35)] | None = None
    """BCP 47 tag of the output's language."""


NO_FACETS = Facets()


def facets_hash(facets: Facets, salt: bytes) -> bytes:
    """Return ``H("facets", salt ‖ msgpack[[number, value], …])`` of the facets present (X6)."""
    present = [
        (number, value)
        for number, value in enumerate(msgspec.structs.astuple(facets), start=1)
        if value is not None
    ]
    return tagged_hash("facets", salt + encode(present))


class SaltKey:
    """Derives a record's salts: HKDF-SHA256 with its secret as key material (X4).

    HMAC is written out over its two padded keys, which halves its cost: a record takes one HMAC
    per field, and records come in millions.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        """Run HKDF's extract step; ``secret`` is 32 bytes."""
        if len(secret) != SECRET_BYTES:
            raise Misuse(f"a record's secret has {len(secret)} bytes, expected {SECRET_BYTES}")
        key = sha256(_EXTRACT_OUTER + sha256(_EXTRACT_INNER + secret).digest()).digest()
        self._inner, self._outer = _hmac_pads(key)

    def salt(self, name: str) -> bytes:
        """Return the 32-byte salt of field ``name``: one block of HKDF's expand step."""
        inner = sha256(self._inner + name.encode("ascii") + b"\x01").digest()
        return sha256(self._outer + inner).digest()


def _hmac_pads(key: bytes) -> tuple[bytes, bytes]:
    """Return the inner and outer padded keys of HMAC-SHA256 (RFC 2104)."""
    block = key.ljust(64, b"\0")
    return block.translate(_INNER), block.translate(_OUTER)


_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_EXTRACT_INNER, _EXTRACT_OUTER = _hmac_pads(SALT_LABEL)


def field_hash(name: str, salt: bytes, canonical: bytes) -> bytes:
    """Return ``H("field", u8 len(name) ‖ name ‖ salt ‖ JCS(value))`` (X5)."""
    return sha256(_field_prefix(name) + salt + canonical).digest()


@lru_cache(maxsize=4096)
def _field_prefix(name: str) -> bytes:
    raw = name.encode("ascii")
    return TAG_PREFIX["field"] + bytes((len(raw),)) + raw


def record_leaf(
    genesis_hash: bytes, context: bytes, fields: int, content_root: bytes, facets: bytes
) -> bytes:
    """Return the hash of a record (X7): what ``anchor.record`` stores and a batch's leaf is.

    ``context`` is the log, or the actor for ``anchor.record``; ``fields`` counts the leaves of
    the content tree, ``_fields`` included; ``facets`` is the facets' hash.
    """
    return tagged_hash(
        "record", genesis_hash + context + fields.to_bytes(2, "big") + content_root + facets
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What ``anchor.append`` commits to: a leaf of the log's tree of batches (X8)."""

    log: bytes
    batch_no: int
    """Number of the batch in its log, from 0."""
    first_index: int
    """Sum of the counts of all earlier batches of the log."""
    count: int
    """Leaves under ``root``, 1 .. 2^24."""
    begin_ms: int
    end_ms: int
    """From when to when the writer took the leaves, Unix milliseconds."""
    root: bytes
    """Head of the log tree over the record leaves, in the writer's order."""

    def hash(self) -> bytes:
        """Return the batch's leaf hash (X8)."""
        return tagged_hash(
            "batch",
            self.log
            + self.batch_no.to_bytes(8, "big")
            + self.first_index.to_bytes(8, "big")
            + self.count.to_bytes(4, "big")
            + self.begin_ms.to_bytes(8, "big")
            + self.end_ms.to_bytes(8, "big")
            + self.root,
        )


def require_names(names: Sequence[str]) -> None:
    """Refuse a list of field names that X3 excludes: order, alphabet, number.

    Raises ``Rejected`` with ``record/TooManyFields``, ``record/BadName`` or
    ``record/NamesNotAscending``.
    """
    if len(names) > NAMES_MAX:
        raise Rejected(
            "record/TooManyFields",
            f"a record has {len(names)} fields, at most {NAMES_MAX} are allowed",
            found=len(names),
            limit=NAMES_MAX,
        )
    for name in names:
        if NAME.fullmatch(name) is None:
            raise Rejected(
                "record/BadName",
                f"{name[:80]!r} is no field name: 1 to 64 of a-z 0-9 _ . without a leading _",
            )
    if any(left >= right for left, right in pairwise(names)):
        raise Rejected("record/NamesNotAscending", "field names must ascend, each once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A whole record with its secret: what its owner keeps, and never publishes.

    Only the first five fields need to be stored; the rest follows from them.
    """

    genesis_hash: bytes
    context: bytes
    """The log's id, or the id of the account or IP that sends ``anchor.record``."""
    secret: bytes = field(repr=False)
    """32 bytes, fresh for every record, from a cryptographic source of randomness."""
    fields: Mapping[str, JsonValue] = field(repr=False)
    facets: Facets = NO_FACETS

    names: tuple[str, ...] = field(init=False)
    """Names of the fields in tree order: ``_fields``, then the others ascending."""
    hashes: tuple[bytes, ...] = field(init=False, repr=False)
    """Leaves of the content tree, in the same order."""
    content_root: bytes = field(init=False)
    facets_hash: bytes = field(init=False)
    leaf: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Hash the record; raises ``Rejected`` for names and values X1–X3 exclude."""
        if self.context[0] not in (Kind.LOG, Kind.ACCOUNT, Kind.IP):
            raise Misuse(f"a record belongs to a log or an actor, not {self.context.hex()}")
        names, listed = field_list(tuple(sorted(self.fields)))
        key = SaltKey(self.secret)
        hashes = [field_hash(FIELD_LIST, key.salt(FIELD_LIST), listed)]
        hashes += _hash_fields(key, self.fields, names)
        root = log_root(hashes)
        facets = facets_hash(self.facets, facet_salt(self.context, key))
        leaf = record_leaf(self.genesis_hash, self.context, len(hashes), root, facets)
        _set(self, names=(FIELD_LIST, *names), hashes=tuple(hashes), content_root=root)
        _set(self, facets_hash=facets, leaf=leaf)


@lru_cache(maxsize=256)
def field_list(names: tuple[str, ...]) -> tuple[tuple[str, ...], bytes]:
    """Return ``names``, checked, and the canonical value of ``_fields`` that lists them.

    Cached because the records of one log have the same few sets of names.
    """
    require_names(names)
    return names, canonical_json([*names])


def facet_salt(context: bytes, key: SaltKey) -> bytes:
    """Return the salt of a record's facets: derived in a log, zeros in ``anchor.record`` (X6)."""
    return key.salt(FACET_SALT) if context[0] == Kind.LOG else PUBLIC_SALT


def _hash_fields(
    key: SaltKey, fields: Mapping[str, JsonValue], names: tuple[str, ...]
) -> list[bytes]:
    hashes, total = [], 0
    for name in names:
        canonical = canonical_json(fields[name])
        total += len(canonical)
        hashes.append(field_hash(name, key.salt(name), canonical))
    if total > RECORD_BYTES_MAX:
        raise Rejected(
            "record/TooLarge",
            f"the values have {total} bytes of JSON, at most {RECORD_BYTES_MAX} are allowed",
            found=total,
            limit=RECORD_BYTES_MAX,
        )
    return hashes


def _set(recording: Recording, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(recording, name, value)  # once, while the frozen value is made
