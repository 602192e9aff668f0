"""Nodes of the state tree: their bytes, their places and the table of the finalised ones.

A node is kept as exactly the bytes that are hashed for it (protocol.md A3, A4), so its hash is
plain SHA-256 of it, and its first byte, the length of the tag, tells a branch from a leaf. Its
place is an integer: a 1 bit followed by three bits of path per level. So the root's place is 1,
and the parent of place ``i`` is ``i >> 3``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256

from chain.hashing import EMPTY_ROOT, TAG_PREFIX
from chain.state_proof import CHILDREN, HASH_BYTES, LEAF_KEYS_MAX, LEVEL_BITS, PATH_BITS

ROOT = 1
"""The place of the root node."""

VALUE_TAG = TAG_PREFIX["state-value"]
LEAF_TAG = TAG_PREFIX["state-leaf"]
BRANCH_TAG = TAG_PREFIX["state-branch"]
BRANCH_MARK = BRANCH_TAG[0]
"""The first byte of every branch and of no leaf."""

LEAF_START = len(LEAF_TAG)
ENTRY_BYTES = 2 * HASH_BYTES
FULL_LEAF_BYTES = LEAF_START + LEAF_KEYS_MAX * ENTRY_BYTES
NEW_BRANCH = BRANCH_TAG + EMPTY_ROOT * CHILDREN
SLOTS = tuple((at, at + HASH_BYTES) for at in range(len(BRANCH_TAG), len(NEW_BRANCH), HASH_BYTES))
"""Where each child's hash begins and ends in a branch."""

LAST_CHILD = CHILDREN - 1
PATH_END = 1 << PATH_BITS
NOT_HERE = b""
"""No node is empty; this stands for "not in this layer", where None means "no node any more"."""

DENSE_LEVEL_MIN = 5
"""The table is a list at least down to this level: 512 KiB, enough for 130 000 keys."""


class NodeTable:
    """The nodes of the finalised state, as a list by place for the upper levels.

    A list finds a node with one memory access where a dict of a million takes four, which is a
    sixth of an update's time. Deeper places are sparse and lie in a dict. The border is set once,
    from the number of keys at the start: moving it in a running node would be a long pause.
    """

    __slots__ = ("deep", "flat")

    def __init__(self, keys: int) -> None:
        """Make an empty table that will hold about ``keys`` keys."""
        level = max(likely_level(2 * keys), DENSE_LEVEL_MIN)
        # Twice the keys: from half full on, a sixth of a level's leaves and soon a third have
        # become branches, and a list of the next level takes no more room than a dict of those.
        self.flat: list[bytes | None] = [None] * (2 << LEVEL_BITS * level)
        self.deep: dict[int, bytes] = {}

    def apply(self, nodes: Iterable[tuple[int, bytes | None]]) -> None:
        """Replace nodes by place, and take out those given as None."""
        flat, dense, deep = self.flat, len(self.flat), self.deep
        for index, node in nodes:
            if index < dense:
                flat[index] = node
            elif node is None:
                deep.pop(index, None)
            else:
                deep[index] = node


class Nodes:
    """The nodes that layers of changes over a table show, the newest layer first.

    A layer says None where it takes a node away. ``shift`` is how far a path is shifted to the
    place where, among ``keys`` keys, its leaf most often is.
    """

    __slots__ = ("at", "shift")

    def __init__(
        self, layers: Sequence[Mapping[int, bytes | None]], table: NodeTable, keys: int
    ) -> None:
        self.at = _lookup(layers, table)
        """Returns the node at a place, or None."""
        self.shift = PATH_BITS - LEVEL_BITS * likely_level(keys)

    def holds(self, key: bytes) -> bool:
        """Tell whether there is an entry for ``key``; rules ask it for every row they miss."""
        path = sha256(key).digest()
        word = int.from_bytes(path, "big") | PATH_END
        index = word >> self.shift
        leaf = self.at(index)
        if leaf is None or leaf[0] == BRANCH_MARK:
            _, leaf = self.leaf_near(word, index, leaf)
        return leaf is not None and leaf.find(path) % ENTRY_BYTES == LEAF_START

    def leaf_near(self, word: int, index: int, node: bytes | None) -> tuple[int, bytes | None]:
        """Return the place for a path above or below ``index``, and the leaf there or None.

        ``node``, at ``index``, is a branch or nothing; ``word`` is the path with ``PATH_END``.
        """
        while node is None and index != ROOT:
            node = self.at(index >> LEVEL_BITS)
            if node is not None and node[0] == BRANCH_MARK:
                return index, None
            index >>= LEVEL_BITS
        shift = PATH_BITS + 1 - index.bit_length()
        while node is not None and node[0] == BRANCH_MARK:
            shift -= LEVEL_BITS
            index = word >> shift
            node = self.at(index)
        return index, node

    def walk(self, path: bytes) -> tuple[list[bytes], list[bytes]]:
        """Return the siblings of each level on the way to ``path``, and the leaf's entries."""
        word = int.from_bytes(path, "big") | PATH_END
        shift = PATH_BITS
        siblings = []
        node = self.at(ROOT)
        while node is not None and node[0] == BRANCH_MARK:
            shift -= LEVEL_BITS
            at, end = SLOTS[(word >> shift) & LAST_CHILD]
            siblings.append(node[len(BRANCH_TAG) : at] + node[end:])
            node = self.at(word >> shift)
        return siblings, entries_of(node)


def _lookup(
    layers: Sequence[Mapping[int, bytes | None]], table: NodeTable
) -> Callable[[int], bytes | None]:
    """Return a look-up; a closure, because it is called for every node of a batch."""
    flat, dense, deep = table.flat, len(table.flat), table.deep

    def at(index: int) -> bytes | None:
        for layer in layers:
            node = layer.get(index, NOT_HERE)
            if node is not NOT_HERE:
                return node
        return flat[index] if index < dense else deep.get(index)

    return at


def entries_of(leaf: bytes | None) -> list[bytes]:
    """Return the entries, path ‖ value hash, of a leaf or of no node."""
    if leaf is None:
        return []
    return [leaf[at : at + ENTRY_BYTES] for at in range(LEAF_START, len(leaf), ENTRY_BYTES)]


def leaf_of(entries: list[bytes]) -> bytes | None:
    """Return the leaf of these ascending entries; none make no node."""
    return LEAF_TAG + b"".join(entries) if entries else None


def hash_of(node: bytes | None) -> bytes:
    """Return a node's hash; that of no node is zero (A4)."""
    return EMPTY_ROOT if node is None else sha256(node).digest()


def hash_entries(items: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """Return the entry of each key and value (A1)."""
    sha, tag = sha256, VALUE_TAG
    return [sha(key).digest() + sha(tag + value).digest() for key, value in items]


def level_of(index: int) -> int:
    """Return how many branches stand above a place."""
    return index.bit_length() // LEVEL_BITS


def likely_level(keys: int) -> int:
    """Return the level where most leaves are among so many keys."""
    level = 0
    while LEAF_KEYS_MAX << LEVEL_BITS * level < keys:
        level += 1
    return level
