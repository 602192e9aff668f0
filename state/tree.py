"""The authenticated state tree in memory: one root over all keys (protocol.md A1–A9).

All nodes of the finalised state lie in one table. What a block changes is a ``TreeDiff`` above
it; diffs may stand on diffs and beside each other, and merging the diff of a finalised block
costs one store per node. The tree is a cache: ``Tree.build`` makes it again from the stored keys
and values. ``tree_nodes`` tells what a node is, ``tree_batch`` how a batch becomes nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from itertools import islice, pairwise

from chain.errors import Misuse
from chain.hashing import EMPTY_ROOT
from chain.state_proof import HASH_BYTES, LeafEntry, StateProof, state_path

from .tree_batch import Batch
from .tree_nodes import Nodes, NodeTable, hash_entries

SLICE_KEYS = 250
"""Changed keys per step of ``update_in_slices``: 1–2 ms; the event loop allows 4."""

SLICE_NODES = 2_000
"""Nodes per step of ``merge_in_slices``: also 1–2 ms."""


class TreeDiff:
    """What one batch of changes makes of its parent: some nodes and a new root.

    ``keys`` counts the keys of the whole state; ``hashes`` the nodes that were hashed for this
    diff (not counting keys and values). Made by ``update`` only.
    """

    __slots__ = ("_nodes", "_parent", "_tree", "hashes", "keys", "root")

    def __init__(self, tree: Tree, parent: TreeDiff | None) -> None:
        self._tree = tree
        self._parent = parent
        self._nodes: Mapping[int, bytes | None] = {}
        # None: the parent's node is gone. Empty once merged.
        self.root = EMPTY_ROOT
        self.keys = 0
        self.hashes = 0


class Tree:
    """The tree of the last merged state; ``Tree()`` is the empty one."""

    __slots__ = ("_nodes", "_tip")

    def __init__(self, keys_expected: int = 0) -> None:
        self._nodes = NodeTable(keys_expected)
        self._tip = TreeDiff(self, None)
        # The diff merged last. It stands for the tree itself: every chain of open diffs ends at
        # it, and a chain that does not is stale.

    @classmethod
    def build(cls, items: Iterable[tuple[bytes, bytes]]) -> Tree:
        """Return the tree of distinct keys and their values, given in any order (start-up).

        Raises ``Misuse`` if a key comes twice. A node calls ``gc.freeze()`` afterwards, else
        every full collection walks the table.
        """
        entries = hash_entries(items)
        entries.sort()
        if any(one[:HASH_BYTES] == two[:HASH_BYTES] for one, two in pairwise(entries)):
            raise Misuse("a key was given twice to build the state tree")
        tree = cls(keys_expected=len(entries))
        batch = Batch(base=tree._nodes, below=[], keys=0)
        batch.build(entries)
        tree.merge(_finish(tree._tip, batch))
        return tree

    @property
    def root(self) -> bytes:
        """The root of the last merged state."""
        return self._tip.root

    @property
    def keys(self) -> int:
        """How many keys the last merged state has."""
        return self._tip.keys

    def merge(self, diff: TreeDiff) -> None:
        """Make ``diff`` part of the tree: its block is final.

        It must stand directly on the tree. Diffs above it stay usable and now stand on the tree;
        its siblings, and what stands on them, are stale from here on (``Misuse`` when used).
        """
        for _ in self.merge_in_slices(diff, slice_nodes=len(diff._nodes) + 1):
            pass

    def merge_in_slices(
        self, diff: TreeDiff, *, slice_nodes: int = SLICE_NODES
    ) -> Generator[None, None, None]:
        """Do what ``merge`` does in steps of so many nodes, about three per changed key.

        From the first step on the tree is the merged one; until the last it reads those nodes
        through the diff. One merge must be finished before the next begins.
        """
        if diff._parent is not self._tip or self._tip._nodes:
            raise Misuse("only a diff that stands directly on a merged tree can be merged")
        diff._parent = None
        self._tip = diff
        nodes = iter(diff._nodes.items())
        for _ in range(0, len(diff._nodes), slice_nodes):
            self._nodes.apply(islice(nodes, slice_nodes))
            yield
        diff._nodes = {}


View = Tree | TreeDiff
"""A state to read or to build on: the tree, or an open diff above it."""


def update(view: View, changes: Mapping[bytes, bytes | None]) -> TreeDiff:
    """Return the diff that sets keys to values (None: deletes them) above ``view``.

    Neither ``view`` nor the tree changes. Setting a key to what it holds and deleting an absent
    key are no changes.
    """
    steps = update_in_slices(view, changes, slice_keys=max(len(changes), 1))
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            diff: TreeDiff = stop.value
            return diff


def update_in_slices(
    view: View, changes: Mapping[bytes, bytes | None], *, slice_keys: int = SLICE_KEYS
) -> Generator[None, None, TreeDiff]:
    """Compute ``update(view, changes)`` in steps of about ``slice_keys`` keys (C19).

    Between two steps other diffs may be made and merged, also those below ``view``; if that
    makes ``view`` stale, the next step raises ``Misuse``. ``changes`` must stay as it is.
    """
    parent = _diff_of(view)
    batch = Batch(
        base=parent._tree._nodes, below=[each._nodes for each in _chain(parent)], keys=parent.keys
    )
    for _ in batch.steps(changes, slice_keys):
        yield
        _chain(parent)
    return _finish(parent, batch)


def prove(view: View, key: bytes) -> StateProof:
    """Return the proof of what ``key`` holds in ``view``, or that it is absent (A6)."""
    levels, entries = _nodes(view).walk(state_path(key))
    leaf = tuple(LeafEntry(entry[:HASH_BYTES], entry[HASH_BYTES:]) for entry in entries)
    return StateProof(levels=tuple(levels), leaf=leaf)


def presence(view: View) -> Callable[[bytes], bool]:
    """Return a function that tells whether a key holds something in ``view``.

    It takes 2 µs, where LevelDB takes 3–10 to find nothing. It serves until the next merge of
    a diff above ``view``.
    """
    return _nodes(view).holds


def _nodes(view: View) -> Nodes:
    diff = _diff_of(view)
    return Nodes([each._nodes for each in _chain(diff)], diff._tree._nodes, diff.keys)


def _finish(parent: TreeDiff, batch: Batch) -> TreeDiff:
    diff = TreeDiff(parent._tree, parent)
    diff._nodes = batch.nodes
    diff.root = batch.root
    diff.keys = batch.keys
    diff.hashes = batch.hashes
    return diff


def _diff_of(view: View) -> TreeDiff:
    return view._tip if isinstance(view, Tree) else view


def _chain(diff: TreeDiff) -> list[TreeDiff]:
    """Return the diffs from ``diff`` down to the tree, newest first; refuse a stale one."""
    chain = []
    tip = diff._tree._tip
    below: TreeDiff | None = diff
    while below is not tip:
        if below is None:
            raise Misuse("this diff is stale: another one was merged in its place")
        chain.append(below)
        below = below._parent
    if tip._nodes:
        chain.append(tip)  # It is being merged: some of its nodes are only here.
    return chain
