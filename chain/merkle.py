"""Merkle trees of RFC 6962 shape, in the protocol's two flavours (protocol.md M1–M9).

*Lists* are what block and receipt roots commit to: items are hashed into leaves, both hashes
carry the protocol's tags, and the empty list is 32 zero bytes.

*Logs* are what anchors commit to: leaves are ready hashes that are never hashed again, nodes are
``SHA-256(0x01 ‖ left ‖ right)``, and proofs are exactly those of RFC 9162 §2.1.3–2.1.4, so any
transparency-log tool can check them.

Trees are built level by level, bottom up: neighbours are hashed in pairs and an odd last hash
moves up unchanged. That gives the same root as the RFC's recursive split at the largest power of
two, without recursion and at one hash per node (about 800 000 nodes/s on one core).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from .errors import Misuse, Rejected
from .hashing import EMPTY_ROOT, TAG_PREFIX

HASH_BYTES = 32

PROOF_HASHES_MAX = 65
"""Longest proof a verifier looks at: trees end at 2^64 leaves, a consistency proof has one more."""

LOG_EMPTY_ROOT = sha256(b"").digest()
"""Root of a log without leaves (RFC 9162 §2.1.1)."""

_LIST_LEAF = TAG_PREFIX["list-leaf"]
_LIST_NODE = TAG_PREFIX["list-branch"]
_LOG_NODE = b"\x01"


def list_root(items: Sequence[bytes]) -> bytes:
    """Return the root of a list under the protocol's tags; empty: 32 zero bytes (M2)."""
    if not items:
        return EMPTY_ROOT
    prefix = _LIST_LEAF
    return _root([sha256(prefix + item).digest() for item in items], _LIST_NODE)


def list_proof(items: Sequence[bytes], index: int) -> list[bytes]:
    """Return the path of ``items[index]``: one hash per level, from the leaf up (M3)."""
    leaves = [sha256(_LIST_LEAF + item).digest() for item in items]
    return _path(_levels(leaves, _LIST_NODE), index)


def verify_list_proof(
    root: bytes, item: bytes, index: int, count: int, proof: Sequence[bytes]
) -> None:
    """Return if ``item`` stands at ``index`` of the list of ``count`` items under ``root`` (M4).

    Raises ``Rejected`` with ``merkle/BadProof``.
    """
    leaf = sha256(_LIST_LEAF + item).digest()
    _verify_inclusion(root, leaf, index, count, proof, _LIST_NODE)


def log_root(leaves: Sequence[bytes]) -> bytes:
    """Return the tree head over ready leaf hashes; empty: SHA-256 of nothing (M6)."""
    return _root(list(leaves), _LOG_NODE) if leaves else LOG_EMPTY_ROOT


class LogTree:
    """All nodes of a log tree, kept to give out many proofs: 64 bytes of memory per leaf."""

    __slots__ = ("_levels", "root", "size")

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._levels = _levels(list(leaves), _LOG_NODE)
        self.size = len(leaves)
        """Number of leaves."""
        self.root = self._levels[-1][0] if leaves else LOG_EMPTY_ROOT
        """Tree head over all leaves, 32 bytes."""

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Return the path of the leaf at ``index``, from the leaf up (RFC 9162 §2.1.3.1)."""
        return _path(self._levels, index)

    def consistency_proof(self, old_size: int) -> list[bytes]:
        """Return the proof that the first ``old_size`` leaves are a prefix (RFC 9162 §2.1.4.1).

        It is empty for ``old_size`` zero and for the tree's own size (M9).
        """
        return log_consistency_path(self._subtree, old_size, self.size)

    def _subtree(self, low: int, high: int) -> bytes:
        """Return the head over leaves ``low`` to ``high``, which some split of the tree gave."""
        height = (high - low - 1).bit_length()
        return self._levels[height][low >> height]


SubtreeHead = Callable[[int, int], bytes]
"""Returns the head over leaves ``low`` to ``high``, a range that splitting the tree leads to."""


def log_inclusion_path(head: SubtreeHead, index: int, size: int) -> list[bytes]:
    """Return an inclusion proof without the tree: ``head`` is asked for the siblings only (M8)."""
    if not 0 <= index < size:
        raise Misuse(f"no leaf {index} in a tree of {size}")
    low, high = 0, size
    path = []
    while high - low > 1:  # PATH of the RFC, as a walk from the root downwards
        middle = _split(low, high)
        if index < middle:
            path.append(head(middle, high))
            high = middle
        else:
            path.append(head(low, middle))
            low = middle
    return path[::-1]


def log_consistency_path(head: SubtreeHead, old_size: int, size: int) -> list[bytes]:
    """Return a consistency proof without the tree, asking ``head`` for its hashes only (M9)."""
    if not 0 <= old_size <= size:
        raise Misuse(f"no consistency proof from size {old_size} to {size}")
    if old_size == 0:
        return []
    low, high, is_old_head = 0, size, True
    proof = []
    while old_size != high:  # SUBPROOF of the RFC, as a walk from the root downwards
        middle = _split(low, high)
        if old_size <= middle:
            proof.append(head(middle, high))
            high = middle
        else:
            proof.append(head(low, middle))
            low = middle
            is_old_head = False
    if not is_old_head:
        proof.append(head(low, high))
    return proof[::-1]


def _split(low: int, high: int) -> int:
    """Return where a range splits: after the largest power of two that leaves something."""
    return low + (1 << ((high - low - 1).bit_length() - 1))


def verify_log_inclusion(
    root: bytes, leaf: bytes, index: int, size: int, proof: Sequence[bytes]
) -> None:
    """Return if ``leaf`` stands at ``index`` of the log with ``size`` leaves under ``root`` (M8).

    Raises ``Rejected`` with ``merkle/BadProof`` (RFC 9162 §2.1.3.2).
    """
    _verify_inclusion(root, leaf, index, size, proof, _LOG_NODE)


def verify_log_consistency(
    old_root: bytes, old_size: int, new_root: bytes, new_size: int, proof: Sequence[bytes]
) -> None:
    """Return if the log of ``new_size`` leaves begins with the one of ``old_size`` (M9).

    Raises ``Rejected`` with ``merkle/BadProof`` (RFC 9162 §2.1.4.2).
    """
    if not 0 <= old_size <= new_size:
        raise _bad(f"size {old_size} is no earlier state of a log of size {new_size}")
    if old_size in (0, new_size):
        known = LOG_EMPTY_ROOT if old_size == 0 else new_root
        if old_root != known or proof:
            raise _bad(f"sizes {old_size} and {new_size} need an empty proof and a fitting root")
        return
    _require_hashes(proof)
    old_head, new_head = _walk_consistency(old_root, old_size, new_size, proof)
    if old_head != old_root or new_head != new_root:
        raise _bad("the consistency proof leads to other roots")


@dataclass(frozen=True, slots=True)
class Peaks:
    """A log reduced to the heads of its perfect subtrees: all that appending needs (M7)."""

    size: int = 0
    """Number of leaves; its set bits, from the highest, are the sizes of the subtrees."""
    hashes: tuple[bytes, ...] = ()
    """One head per set bit of ``size``, the largest subtree first."""

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.hashes) != self.size.bit_count():
            raise Misuse(f"{len(self.hashes)} peaks do not fit a log of size {self.size}")

    def append(self, leaf: bytes) -> Peaks:
        """Return the peaks after one more leaf hash."""
        merged = (~self.size & (self.size + 1)).bit_length() - 1  # trailing ones of the size
        kept = self.hashes[: len(self.hashes) - merged]
        return Peaks(self.size + 1, (*kept, self.subtree_with(leaf, merged)))

    def subtree_with(self, leaf: bytes, height: int) -> bytes:
        """Return the head of the perfect subtree of 2^height leaves that ends with ``leaf``.

        ``leaf`` is the next leaf after these peaks, and the subtree is whole with it: the lowest
        ``height`` bits of ``size`` are ones.
        """
        if ~self.size & ((1 << height) - 1):
            raise Misuse(f"no subtree of height {height} ends with leaf {self.size}")
        for peak in self.hashes[len(self.hashes) - height :][::-1]:
            leaf = sha256(_LOG_NODE + peak + leaf).digest()
        return leaf

    def root(self) -> bytes:
        """Return the tree head: the peaks bagged from the right with the node hash."""
        if not self.hashes:
            return LOG_EMPTY_ROOT
        head = self.hashes[-1]
        for peak in self.hashes[-2::-1]:
            head = sha256(_LOG_NODE + peak + head).digest()
        return head


def _root(level: list[bytes], prefix: bytes) -> bytes:
    while len(level) > 1:
        level = _parents(level, prefix)
    return level[0]


def _levels(leaves: list[bytes], prefix: bytes) -> list[list[bytes]]:
    levels = [leaves]
    while len(levels[-1]) > 1:
        levels.append(_parents(levels[-1], prefix))
    return levels


def _parents(level: list[bytes], prefix: bytes) -> list[bytes]:
    hashes = iter(level)  # taken twice, it yields neighbours and drops an odd last one
    parents = [
        sha256(prefix + left + right).digest() for left, right in zip(hashes, hashes, strict=False)
    ]
    if len(level) & 1:
        parents.append(level[-1])
    return parents


def _path(levels: list[list[bytes]], index: int) -> list[bytes]:
    if not 0 <= index < len(levels[0]):
        raise Misuse(f"no leaf {index} in a tree of {len(levels[0])}")
    path = []
    for level in levels:
        if index ^ 1 < len(level):  # an odd last hash has no sibling and moves up unchanged
            path.append(level[index ^ 1])
        index >>= 1
    return path


def _verify_inclusion(
    root: bytes, leaf: bytes, index: int, count: int, proof: Sequence[bytes], prefix: bytes
) -> None:
    """RFC 9162 §2.1.3.2, whose names ``fn`` and ``sn`` are ``node`` and ``last`` here."""
    _require_hashes(proof)
    if not 0 <= index < count:
        raise _bad(f"index {index} is outside a tree of {count}")
    node, last, head = index, count - 1, leaf
    for sibling in proof:
        if last == 0:
            raise _bad(f"the path of leaf {index} is longer than a tree of {count} is high")
        if node & 1 or node == last:
            head = sha256(prefix + sibling + head).digest()
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            head = sha256(prefix + head + sibling).digest()
        node >>= 1
        last >>= 1
    if last or head != root:
        raise _bad(f"the path of leaf {index} of {count} does not lead to the root")


def _walk_consistency(
    old_root: bytes, old_size: int, new_size: int, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Return the old and the new head a proof leads to, for 0 < old < new (§2.1.4.2)."""
    hashes = list(proof)
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    if not proof:
        raise _bad(f"no consistency proof from size {old_size} to {new_size}")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old_head = new_head = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise _bad("the consistency proof is longer than the tree is high")
        if node & 1 or node == last:
            old_head = sha256(_LOG_NODE + sibling + old_head).digest()
            new_head = sha256(_LOG_NODE + sibling + new_head).digest()
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new_head = sha256(_LOG_NODE + new_head + sibling).digest()
        node >>= 1
        last >>= 1
    if last:
        raise _bad("the consistency proof is shorter than the tree is high")
    return old_head, new_head


def _require_hashes(proof: Sequence[bytes]) -> None:
    if len(proof) > PROOF_HASHES_MAX or any(len(item) != HASH_BYTES for item in proof):
        raise _bad(f"a proof is at most {PROOF_HASHES_MAX} hashes of {HASH_BYTES} bytes")


def _bad(message: str) -> Rejected:
    return Rejected("merkle/BadProof", message)
