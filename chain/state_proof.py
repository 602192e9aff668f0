"""What one key holds under a state root, proved without the state (protocol.md A1–A9).

The verifier knows a root from a finalised header and needs nothing else. The shape of the tree
is described here too, because whoever builds it (``state.tree``) and whoever checks a proof must
mean the same bytes.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated

import msgspec

from .codec import Decoder, Hash, Record
from .errors import Rejected
from .hashing import EMPTY_ROOT, TAG_PREFIX, tagged_hash

LEVEL_BITS = 3
"""Path bits that choose a child of a branch: a branch has eight (A3)."""

CHILDREN = 1 << LEVEL_BITS
LEAF_KEYS_MAX = 4
"""A subtree of at most so many keys is one leaf node, a larger one is a branch (A3)."""

LEVELS_MAX = 85
"""Branches above a leaf: 85 · 3 of the path's 256 bits; a deeper proof is refused (A7)."""

HASH_BYTES = 32
PATH_BITS = 256
SIBLINGS_BYTES = (CHILDREN - 1) * HASH_BYTES
NO_SIBLINGS = bytes(SIBLINGS_BYTES)

PROOF_BYTES_MAX = 3 + LEVELS_MAX * (2 + SIBLINGS_BYTES) + 1 + LEAF_KEYS_MAX * 69 + 1
"""The longest encoding that keeps every limit; a decoder looks at no more."""

Siblings = Annotated[bytes, msgspec.Meta(min_length=SIBLINGS_BYTES, max_length=SIBLINGS_BYTES)]


class LeafEntry(Record, frozen=True):
    """One key of a leaf node: the hash of the key and the hash of its value (A1)."""

    path: Hash
    value_hash: Hash


class StateProof(Record, frozen=True):
    """The nodes that lead from a state root to the place of one key (A6).

    ``levels`` holds, from the root down, the seven other children of each branch, ascending, in
    one piece; ``leaf`` holds all entries of the leaf node there, none for an empty child.
    """

    levels: Annotated[tuple[Siblings, ...], msgspec.Meta(max_length=LEVELS_MAX)]
    leaf: Annotated[tuple[LeafEntry, ...], msgspec.Meta(max_length=LEAF_KEYS_MAX)]


PROOF_DECODER = Decoder(StateProof, bytes_max=PROOF_BYTES_MAX, what="a state proof")


def verify_state_proof(root: bytes, key: bytes, value: bytes | None, proof: StateProof) -> None:
    """Return if ``proof`` shows that ``key`` holds ``value`` (None: is absent) under ``root``.

    Else raises ``Rejected``: ``proof/Malformed`` for a shape no tree has (A7),
    ``proof/RootMismatch`` for another tree, ``proof/KeyAbsent``, ``proof/KeyPresent`` and
    ``proof/OtherValue`` where the proof is sound but shows something else (A8).
    """
    path = state_path(key)
    _require_shape(proof, path)
    found = _root_of(proof, path)
    if found != root:
        raise Rejected(
            "proof/RootMismatch",
            f"the proof leads to root {found.hex()}, expected {root.hex()}",
            found=found,
            expected=root,
        )
    _require_value(proof, path, value)


def state_path(key: bytes) -> bytes:
    """Return where ``key`` lies in the tree: its plain SHA-256 (A1)."""
    return sha256(key).digest()


def state_value_hash(value: bytes) -> bytes:
    """Return the hash that stands for ``value`` in a leaf node (A1)."""
    return tagged_hash("state-value", value)


def _require_shape(proof: StateProof, path: bytes) -> None:
    """Refuse what no tree built by the rules can give (A7)."""
    if len(proof.levels) > LEVELS_MAX:
        raise _malformed(f"{len(proof.levels)} levels, at most {LEVELS_MAX} exist")
    if any(len(siblings) != SIBLINGS_BYTES for siblings in proof.levels):
        raise _malformed(f"the siblings of a level are not {SIBLINGS_BYTES} bytes")
    if proof.levels and proof.levels[-1] == NO_SIBLINGS:
        raise _malformed("the lowest branch has one child only, it would be a leaf itself")
    if len(proof.leaf) > LEAF_KEYS_MAX:
        raise _malformed(f"{len(proof.leaf)} leaf entries, at most {LEAF_KEYS_MAX} exist")
    shift = PATH_BITS - LEVEL_BITS * len(proof.levels)
    place = int.from_bytes(path, "big") >> shift
    before = b""
    for entry in proof.leaf:
        if len(entry.path) != HASH_BYTES or len(entry.value_hash) != HASH_BYTES:
            raise _malformed(f"a leaf entry's hash is not {HASH_BYTES} bytes")
        if entry.path <= before:
            raise _malformed("the leaf entries are not strictly ascending")
        if int.from_bytes(entry.path, "big") >> shift != place:
            raise _malformed("a leaf entry lies elsewhere than the key")
        before = entry.path


def _malformed(what: str) -> Rejected:
    return Rejected("proof/Malformed", f"not a state proof: {what}")


def _root_of(proof: StateProof, path: bytes) -> bytes:
    """Return the root that the leaf and the siblings hash to (A4, A5)."""
    node = EMPTY_ROOT
    if proof.leaf:
        entries = b"".join(entry.path + entry.value_hash for entry in proof.leaf)
        node = sha256(TAG_PREFIX["state-leaf"] + entries).digest()
    place = int.from_bytes(path, "big") >> (PATH_BITS - LEVEL_BITS * len(proof.levels))
    for siblings in reversed(proof.levels):
        at = (place % CHILDREN) * HASH_BYTES
        node = sha256(TAG_PREFIX["state-branch"] + siblings[:at] + node + siblings[at:]).digest()
        place >>= LEVEL_BITS
    return node


def _require_value(proof: StateProof, path: bytes, value: bytes | None) -> None:
    """Compare what the proven leaf says about ``path`` with what is claimed (A8)."""
    held = next((entry.value_hash for entry in proof.leaf if entry.path == path), None)
    if value is None:
        if held is not None:
            raise Rejected("proof/KeyPresent", "the key is in the state, claimed was its absence")
    elif held is None:
        raise Rejected("proof/KeyAbsent", "the key is not in the state, claimed was a value")
    elif held != state_value_hash(value):
        raise Rejected("proof/OtherValue", "the key holds another value than the one claimed")
