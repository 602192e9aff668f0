"""One batch of changes to the state tree: from changed keys to new nodes (protocol.md A1–A5).

Every node is hashed once: first entries are written into leaves, then all changed leaves are
hashed, then the branches above them, level by level from the deepest. Nothing recurses. The three
loops that see every changed key (``_change``, ``_hash_leaves``, ``_hash_branches``) are written
for speed: they bind names first and call as little as they can.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from typing import TypeVar

from chain.hashing import EMPTY_ROOT
from chain.state_proof import CHILDREN, HASH_BYTES, LEAF_KEYS_MAX, LEVEL_BITS, LEVELS_MAX, PATH_BITS

from .tree_nodes import (
    BRANCH_MARK,
    ENTRY_BYTES,
    FULL_LEAF_BYTES,
    LAST_CHILD,
    LEAF_START,
    LEAF_TAG,
    NEW_BRANCH,
    PATH_END,
    ROOT,
    SLOTS,
    VALUE_TAG,
    Nodes,
    NodeTable,
    entries_of,
    hash_of,
    leaf_of,
    level_of,
)

T = TypeVar("T")


class Batch:
    """One batch above the nodes that ``below`` (newest first) and ``base`` show; it reads these.

    After ``steps`` or ``build`` has run: ``nodes`` holds the changed nodes (None: gone), ``root``
    the new root, ``keys`` the number of keys, ``hashes`` how many nodes were hashed.
    """

    def __init__(
        self, *, base: NodeTable, below: Sequence[Mapping[int, bytes | None]], keys: int
    ) -> None:
        self.nodes: dict[int, bytes | None] = {}
        self.root = EMPTY_ROOT
        self.keys = keys
        self.hashes = 0
        self._view = Nodes((self.nodes, *below), base, keys)
        self._shrunk: defaultdict[int, set[int]] = defaultdict(set)
        # Branches, by level, under which keys went away: they may have become leaves.

    def build(self, entries: list[bytes]) -> None:
        """Make the whole tree of these entries, ascending by distinct paths."""
        self.keys = len(entries)
        self._place(ROOT, entries)
        for _ in self._hash(len(self.nodes) + 1):
            pass

    def steps(
        self, changes: Mapping[bytes, bytes | None], slice_keys: int
    ) -> Generator[None, None, None]:
        """Apply ``changes`` (None: delete); yields after every ``slice_keys`` keys or nodes."""
        items = iter(changes.items())
        for _ in range(0, len(changes), slice_keys):
            self._change(islice(items, slice_keys))
            yield
        yield from self._hash(slice_keys)

    def _change(self, changes: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Write each key's new entry into its leaf."""
        node_at, leaf_near, shift = self._view.at, self._view.leaf_near, self._view.shift
        nodes, sha, number = self.nodes, sha256, int.from_bytes
        for key, value in changes:
            path = sha(key).digest()
            word = number(path, "big") | PATH_END
            index = word >> shift
            node = node_at(index)
            if node is None or node[0] == BRANCH_MARK:
                index, node = leaf_near(word, index, node)
            if value is None:
                self._delete(index, node, path)
                continue
            digest = sha(VALUE_TAG + value).digest()
            if node is None or (at := node.find(path)) % ENTRY_BYTES != LEAF_START:
                self._insert(index, node, path + digest)
                continue
            at += HASH_BYTES
            new = node[:at] + digest + node[at + HASH_BYTES :]
            if new != node:
                nodes[index] = new

    def _insert(self, index: int, leaf: bytes | None, entry: bytes) -> None:
        """Add the entry of a new key to a leaf or a free place."""
        self.keys += 1
        if leaf is None:
            self.nodes[index] = LEAF_TAG + entry
        elif len(leaf) < FULL_LEAF_BYTES:
            at = LEAF_START
            while at < len(leaf) and leaf[at : at + HASH_BYTES] < entry:
                at += ENTRY_BYTES
            self.nodes[index] = leaf[:at] + entry + leaf[at:]
        else:
            self._split(index, [entry, *entries_of(leaf)])

    def _split(self, index: int, entries: list[bytes]) -> None:
        """Put entries that are one too many for a leaf under a branch (A3)."""
        nodes = self.nodes
        entries.sort()
        leaves: dict[int, bytes] = {}
        while len(leaves) < 2:
            assert level_of(index) < LEVELS_MAX, "distinct paths part before their last bit"
            nodes[index] = NEW_BRANCH
            shift = PATH_BITS + 1 - LEVEL_BITS - index.bit_length()
            leaves = {}
            for entry in entries:
                index = (int.from_bytes(entry[:HASH_BYTES], "big") | PATH_END) >> shift
                leaves[index] = leaves.get(index, LEAF_TAG) + entry
        nodes.update(leaves)

    def _delete(self, index: int, leaf: bytes | None, path: bytes) -> None:
        """Take a key out of the leaf it would be in; an absent one stays absent."""
        entries = entries_of(leaf)
        left = [entry for entry in entries if not entry.startswith(path)]
        if len(left) < len(entries):
            self.keys -= 1
            self.nodes[index] = leaf_of(left)
            if index != ROOT:
                self._shrunk[level_of(index) - 1].add(index >> LEVEL_BITS)

    def _place(self, index: int, entries: list[bytes]) -> None:
        """Put the subtree of these ascending entries at ``index``: a leaf, or branches too."""
        nodes = self.nodes
        if len(entries) <= LEAF_KEYS_MAX:
            nodes[index] = leaf_of(entries)
            return
        crowded = [(index, 0, len(entries))]
        while crowded:
            index, low, high = crowded.pop()
            level = level_of(index)
            assert level < LEVELS_MAX, "distinct paths part before their last bit"
            nodes[index] = NEW_BRANCH
            shift = PATH_BITS - LEVEL_BITS * (level + 1)
            first = index << LEVEL_BITS
            for child in range(first, first + CHILDREN):
                start, low = low, high
                if child != first + LAST_CHILD:
                    end = ((child + 1) << shift) & (PATH_END - 1)
                    low = bisect_left(entries, end.to_bytes(HASH_BYTES, "big"), start, high)
                if low - start > LEAF_KEYS_MAX:
                    crowded.append((child, start, low))
                elif low > start:
                    nodes[child] = LEAF_TAG + b"".join(entries[start:low])

    def _hash(self, slice_nodes: int) -> Generator[None, None, None]:
        """Hash every changed node, children before parents, and set the root.

        A place is a larger number than any place of a level above it.
        """
        changed = sorted(self.nodes)
        for level in range(level_of(changed[-1]) if changed else 0, 0, -1):
            border = bisect_left(changed, ROOT << LEVEL_BITS * level)
            here, changed = changed[border:], changed[:border]
            for shrunk in slices(list(self._shrunk[level]), slice_nodes):
                for index in shrunk:
                    self._collapse(index)
                yield
            for places in slices(here, slice_nodes):
                changed += self._hash_into_parents(places)
                yield
            changed.sort()
        for index in self._shrunk[0]:
            self._collapse(index)
        root = self._view.at(ROOT)
        self.root = hash_of(root)
        self.hashes += ROOT in self.nodes and root is not None

    def _hash_into_parents(self, places: Sequence[int]) -> list[int]:
        """Write the hashes of finished nodes of one level into the branches above.

        Returns those branches that had not changed before.
        """
        nodes, node_at, sha = self.nodes, self._view.at, sha256
        fresh = []
        gone = 0
        for index in places:
            node = nodes[index]
            if node is None:
                digest = EMPTY_ROOT
                gone += 1
            else:
                digest = sha(node).digest()
            parent = index >> LEVEL_BITS
            branch = nodes.get(parent)
            if branch is None:
                fresh.append(parent)
                branch = node_at(parent)
                assert branch is not None, "whatever has a child is a branch"
            at, end = SLOTS[index & LAST_CHILD]
            nodes[parent] = branch[:at] + digest + branch[end:]
        self.hashes += len(places) - gone
        return fresh

    def _collapse(self, index: int) -> None:
        """Turn a branch that has few enough keys left into a leaf, or into nothing (A3)."""
        branch = self.nodes[index]
        assert branch is not None, "a branch is still there while its level is being hashed"
        first = index << LEVEL_BITS
        children = [
            first + slot for slot, (at, end) in enumerate(SLOTS) if branch[at:end] != EMPTY_ROOT
        ]
        entries: list[bytes] = []
        for child in children:
            node = self._view.at(child)
            if node is None or node[0] == BRANCH_MARK:
                return
            entries += entries_of(node)
            if len(entries) > LEAF_KEYS_MAX:
                return
        self.nodes.update(dict.fromkeys(children))
        self.nodes[index] = leaf_of(entries)
        if index != ROOT:
            self._shrunk[level_of(index) - 1].add(index >> LEVEL_BITS)


def slices(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in runs of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
