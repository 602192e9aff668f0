"""Showing some fields of a record, and what a reader may conclude (protocol.md X9, X10).

A disclosure always holds field 0, ``_fields``, the list of all names. So it proves three things
of every name: this is its value; it exists and its value is withheld; or the record has no such
field.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from .errors import Misuse, Rejected
from .ids import ID_BYTES, Kind
from .jcs import JsonValue, canonical_json
from .merkle import HASH_BYTES, LogTree, verify_log_inclusion
from .record import (
    FIELD_LIST,
    FIELDS_MAX,
    PUBLIC_SALT,
    RECORD_BYTES_MAX,
    Facets,
    Recording,
    SaltKey,
    facet_salt,
    facets_hash,
    field_hash,
    record_leaf,
    require_names,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevealedField:
    """One field in the open, with what it takes to hash it into the record."""

    name: str
    index: int
    """Place in the content tree: 0 for ``_fields``, then the place in its list, from 1."""
    salt: bytes
    value: JsonValue
    path: tuple[bytes, ...]
    """Inclusion proof under the content root, from the leaf up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """Part of a record, as a reader receives it: nothing in it is checked yet."""

    context: bytes
    """The log, or the actor of an ``anchor.record``."""
    fields: int
    """Leaves of the content tree, ``_fields`` included."""
    content_root: bytes
    facets_hash: bytes
    facets: Facets | None
    """None: withheld."""
    facets_salt: bytes | None
    revealed: tuple[RevealedField, ...]
    """Ascending by index; the first is ``_fields``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a disclosure proves, given that its leaf is anchored."""

    leaf: bytes
    """Hash of the record, to be found on chain."""
    names: tuple[str, ...]
    """Every field of the record but ``_fields``: a name that is not here is provably absent."""
    values: dict[str, JsonValue]
    """The revealed fields."""
    facets: Facets | None
    """None: withheld."""

    @property
    def withheld(self) -> tuple[str, ...]:
        """Names that exist and are not shown."""
        return tuple(name for name in self.names if name not in self.values)


def disclose(recording: Recording, names: Iterable[str], *, facets: bool = True) -> Disclosure:
    """Return the disclosure of ``names``, and of the facets unless told otherwise (X9).

    Raises ``Misuse`` for a name the record does not have.
    """
    wanted = set(names)
    missing = sorted(wanted.difference(recording.fields))
    if missing:
        raise Misuse(f"the record has no field {missing[0]!r}")
    key = SaltKey(recording.secret)
    tree = LogTree(recording.hashes)
    revealed = tuple(
        RevealedField(
            name=name,
            index=index,
            salt=key.salt(name),
            value=recording.fields[name] if index else [*recording.names[1:]],
            path=tuple(tree.inclusion_proof(index)),
        )
        for index, name in enumerate(recording.names)
        if index == 0 or name in wanted
    )
    return Disclosure(
        context=recording.context,
        fields=len(recording.hashes),
        content_root=recording.content_root,
        facets_hash=recording.facets_hash,
        facets=recording.facets if facets else None,
        facets_salt=facet_salt(recording.context, key) if facets else None,
        revealed=revealed,
    )


def open_disclosure(disclosure: Disclosure, genesis_hash: bytes) -> Statement:
    """Check a disclosure by itself and return what it says (X10).

    That its ``leaf`` is anchored is for the caller to check. Raises ``Rejected`` with
    ``record/…``, ``json/…`` or ``merkle/BadProof``.
    """
    _require_shape(disclosure)
    names = _open_names(disclosure)
    values: dict[str, JsonValue] = {}
    total = 0
    for item in disclosure.revealed[1:]:
        if item.name != names[item.index - 1]:
            raise Rejected(
                "record/WrongIndex",
                f"field {item.index} is called {names[item.index - 1]!r} in the list of names, "
                f"{item.name[:80]!r} in the disclosure",
                index=item.index,
            )
        total += _require_field(disclosure, item)
        values[item.name] = item.value
    if total > RECORD_BYTES_MAX:
        raise Rejected(
            "record/TooLarge",
            f"the values have {total} bytes of JSON, at most {RECORD_BYTES_MAX} are allowed",
            found=total,
            limit=RECORD_BYTES_MAX,
        )
    _require_facets(disclosure)
    leaf = record_leaf(
        genesis_hash,
        disclosure.context,
        disclosure.fields,
        disclosure.content_root,
        disclosure.facets_hash,
    )
    return Statement(leaf=leaf, names=names, values=values, facets=disclosure.facets)


def _require_shape(disclosure: Disclosure) -> None:
    """Lengths, ranges and order, before anything is hashed."""
    context = disclosure.context
    if len(context) != ID_BYTES or context[0] not in (Kind.ACCOUNT, Kind.IP, Kind.LOG):
        raise _malformed(f"the context {context.hex()} is no log, account or IP")
    digests = [disclosure.content_root, disclosure.facets_hash]
    digests += [item.salt for item in disclosure.revealed]
    if disclosure.facets_salt is not None:
        digests.append(disclosure.facets_salt)
    if any(len(digest) != HASH_BYTES for digest in digests):
        raise _malformed(f"hashes and salts have {HASH_BYTES} bytes")
    if not 1 <= disclosure.fields <= FIELDS_MAX:
        raise _malformed(f"the record counts {disclosure.fields} fields, expected 1 to 257")
    indexes = [item.index for item in disclosure.revealed]
    if not indexes or indexes[0] != 0 or indexes[-1] >= disclosure.fields:
        raise _malformed("field 0 must come first, and no index may reach the count of fields")
    if any(left >= right for left, right in pairwise(indexes)):
        raise Rejected("record/FieldOrder", "revealed fields must ascend by index, each once")


def _open_names(disclosure: Disclosure) -> tuple[str, ...]:
    """Check field 0 and return the names it lists."""
    first = disclosure.revealed[0]
    if first.name != FIELD_LIST or type(first.value) is not list:
        raise _malformed(f"field 0 must be {FIELD_LIST}, a list of names")
    _require_field(disclosure, first)
    names = tuple(name for name in first.value if type(name) is str)
    if len(names) != len(first.value):
        raise _malformed("a name in the list of names is not a string")
    require_names(names)
    if disclosure.fields != len(names) + 1:
        raise Rejected(
            "record/WrongCount",
            f"the record counts {disclosure.fields} fields, its list of names makes it "
            f"{len(names) + 1}",
            found=disclosure.fields,
            expected=len(names) + 1,
        )
    return names


def _require_field(disclosure: Disclosure, item: RevealedField) -> int:
    """Check one field's path; return the bytes of its canonical value."""
    canonical = canonical_json(item.value)
    leaf = field_hash(item.name, item.salt, canonical)
    root = disclosure.content_root
    verify_log_inclusion(root, leaf, item.index, disclosure.fields, item.path)
    return len(canonical)


def _require_facets(disclosure: Disclosure) -> None:
    facets, salt = disclosure.facets, disclosure.facets_salt
    if facets is None and salt is None:
        return
    if facets is None or salt is None:
        raise _malformed("facets come with their salt, or both are withheld")
    if disclosure.context[0] != Kind.LOG and salt != PUBLIC_SALT:
        raise _malformed("the facets of an anchor.record are salted with zeros")
    if facets_hash(facets, salt) != disclosure.facets_hash:
        raise Rejected("record/FacetsDiffer", "the facets do not have the hash in the record")


def _malformed(message: str) -> Rejected:
    return Rejected("record/Malformed", message)
