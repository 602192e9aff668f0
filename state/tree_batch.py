"""One batch of changes to the state tree: from changed keys to new nodes (protocol.md A1–A5).

Every node is hashed once: first entries are written into leaves, then all changed leaves are
hashed, then the branches above them, level by level from the deepest. Nothing recurses. The three
loops that see every changed key (``_change``, ``_hash_leaves``, ``_hash_branches``) are written
for speed: they bind names first and call as little as they can.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import islice
from typing import TypeVar

from chain.hashing import EMPTY_ROOT
from chain.state_proof import CHILDREN, HASH_BYTES, LEAF_KEYS_MAX, LEVEL_BITS, LEVELS_MAX, PATH_BITS

from .tree_nodes import (
    BRANCH_MARK,
    ENTRY_BYTES,
    LAST_CHILD,
    LEAF_START,
    LEAF_TAG,
    NEW_BRANCH,
    NOT_HERE,
    PATH_END,
    ROOT,
    SLOTS,
    VALUE_TAG,
    NodeTable,
    entries_of,
    find,
    hash_of,
    leaf_of,
    level_of,
    likely_level,
)

T = TypeVar("T")


class Batch:
    """One batch above the nodes of ``below`` over ``base``, which it only reads.

    After ``steps`` or ``build`` has run: ``nodes`` holds the changed nodes (None: gone), ``root``
    the new root, ``keys`` the number of keys, ``hashes`` how many nodes were hashed.
    """

    def __init__(self, *, base: NodeTable, below: Mapping[int, bytes | None], keys: int) -> None:
        self.nodes: dict[int, bytes | None] = {}
        self.root = EMPTY_ROOT
        self.keys = keys
        self.hashes = 0
        self._base = base
        self._below = below
        self._layers = (self.nodes, below, base)
        self._dirty: defaultdict[int, dict[int, bytes]] = defaultdict(dict)
        # Branches to hash, by level; their children's hashes are being written into them.
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
        shift = PATH_BITS - LEVEL_BITS * likely_level(self.keys)
        for part in slices(changes.items(), slice_keys):
            self._change(part, shift)
            yield
        yield from self._hash(slice_keys)

    def _change(self, changes: Iterable[tuple[bytes, bytes | None]], shift: int) -> None:
        """Write each key's new entry into its leaf.

        The search starts where ``shift`` puts a path, which most often is its leaf.
        """
        nodes, below = self.nodes, self._below
        flat, dense, deep = self._base.flat, len(self._base.flat), self._base.deep
        sha, number = sha256, int.from_bytes
        for key, value in changes:
            path = sha(key).digest()
            index = (number(path, "big") | PATH_END) >> shift
            node = nodes.get(index, NOT_HERE)
            if node is NOT_HERE:
                node = below.get(index, NOT_HERE)
                if node is NOT_HERE:
                    node = flat[index] if index < dense else deep.get(index)
            if node is None or node[0] == BRANCH_MARK:
                index, node = self._leaf_near(path, index)
            if node is None or value is None or (at := node.find(path)) % ENTRY_BYTES != LEAF_START:
                self._add_or_delete(index, node, path, value)
                continue
            at += HASH_BYTES
            new = node[:at] + sha(VALUE_TAG + value).digest() + node[at + HASH_BYTES :]
            if new != node:
                nodes[index] = new

    def _leaf_near(self, path: bytes, index: int) -> tuple[int, bytes | None]:
        """Return the place for ``path`` above or below ``index``, and the leaf there or None."""
        node = find(self._layers, index)
        while node is None and index != ROOT:
            node = find(self._layers, index >> LEVEL_BITS)
            if node is not None and node[0] == BRANCH_MARK:
                return index, None
            index >>= LEVEL_BITS
        word = int.from_bytes(path, "big") | PATH_END
        shift = PATH_BITS - LEVEL_BITS * level_of(index)
        while node is not None and node[0] == BRANCH_MARK:
            shift -= LEVEL_BITS
            node = find(self._layers, word >> shift)
        return word >> shift, node

    def _add_or_delete(
        self, index: int, leaf: bytes | None, path: bytes, value: bytes | None
    ) -> None:
        """Add a key to a leaf or a free place, or delete one; an absent one stays absent."""
        entries = entries_of(leaf)
        before = len(entries)
        entries = [entry for entry in entries if not entry.startswith(path)]
        if value is not None:
            entries.append(path + sha256(VALUE_TAG + value).digest())
            entries.sort()
        elif len(entries) == before:
            return
        elif index != ROOT:
            self._shrunk[level_of(index) - 1].add(index >> LEVEL_BITS)
        self.keys += len(entries) - before
        self._place(index, entries)

    def _place(self, index: int, entries: list[bytes]) -> None:
        """Put the subtree of these ascending entries at ``index``: a leaf, or branches too."""
        nodes, dirty = self.nodes, self._dirty
        if len(entries) <= LEAF_KEYS_MAX:
            nodes[index] = leaf_of(entries)
            return
        crowded = [(index, 0, len(entries))]
        while crowded:
            index, low, high = crowded.pop()
            level = level_of(index)
            assert level < LEVELS_MAX, "distinct paths part before their last bit"
            nodes[index] = dirty[level][index] = NEW_BRANCH
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

    def _hash(self, slice_keys: int) -> Generator[None, None, None]:
        """Hash every changed node, children before parents, and set the root."""
        for leaves in slices(list(self.nodes.items()), slice_keys):
            self._hash_leaves(leaves)
            yield
        for level in range(max(self._dirty, default=0), -1, -1):
            for shrunk in slices(self._shrunk[level], slice_keys):
                for index in shrunk:
                    self._collapse(index, level)
                yield
            for branches in slices(self._dirty[level].items(), slice_keys):
                self._hash_branches(branches, level)
                yield
        self.root = hash_of(find(self._layers, ROOT))
        self.hashes += self.nodes.get(ROOT) is not None

    def _hash_leaves(self, leaves: Iterable[tuple[int, bytes | None]]) -> None:
        """Write the hashes of changed leaves, or that they are gone, into the branches above."""
        below, dirty, sha = self._below, self._dirty, sha256
        flat, dense, deep = self._base.flat, len(self._base.flat), self._base.deep
        for index, leaf in leaves:
            if index == ROOT:
                continue
            if leaf is None:
                digest = EMPTY_ROOT
            elif leaf[0] == BRANCH_MARK:
                continue
            else:
                digest = sha(leaf).digest()
                self.hashes += 1
            parent = index >> LEVEL_BITS
            branches = dirty[parent.bit_length() // LEVEL_BITS]
            branch = branches.get(parent) or below.get(parent)
            if branch is None:
                branch = flat[parent] if parent < dense else deep[parent]
                assert branch is not None, "whatever has a child is a branch"
            at, end = SLOTS[index & LAST_CHILD]
            branches[parent] = branch[:at] + digest + branch[end:]

    def _hash_branches(self, branches: Collection[tuple[int, bytes]], level: int) -> None:
        """Keep finished branches of one level and write their hashes into those above."""
        nodes, below, sha = self.nodes, self._below, sha256
        flat, dense, deep = self._base.flat, len(self._base.flat), self._base.deep
        nodes.update(branches)
        if level == 0:
            return
        self.hashes += len(branches)
        above = self._dirty[level - 1]
        for index, branch in branches:
            parent = index >> LEVEL_BITS
            into = above.get(parent) or below.get(parent)
            if into is None:
                into = flat[parent] if parent < dense else deep[parent]
                assert into is not None, "whatever has a child is a branch"
            at, end = SLOTS[index & LAST_CHILD]
            above[parent] = into[:at] + sha(branch).digest() + into[end:]

    def _collapse(self, index: int, level: int) -> None:
        """Turn a branch that has few enough keys left into a leaf, or into nothing (A3)."""
        branch = self._dirty[level][index]
        first = index << LEVEL_BITS
        children = [
            first + slot for slot, (at, end) in enumerate(SLOTS) if branch[at:end] != EMPTY_ROOT
        ]
        entries: list[bytes] = []
        for child in children:
            node = find(self._layers, child)
            if node is None or node[0] == BRANCH_MARK:
                return
            entries += entries_of(node)
            if len(entries) > LEAF_KEYS_MAX:
                return
        self.nodes.update(dict.fromkeys(children))
        self.nodes[index] = leaf = leaf_of(entries)
        del self._dirty[level][index]
        self._hash_leaves([(index, leaf)])
        if level:
            self._shrunk[level - 1].add(index >> LEVEL_BITS)


def slices(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of at most ``size``."""
    pending = iter(items)
    while part := list(islice(pending, size)):
        yield part
