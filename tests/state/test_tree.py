"""The state tree in memory (protocol.md A1–A9).

Roots are compared with ``root_checker``, which is written from the rules and shares no code, after
random histories of insertions, changes and deletions; the nodes left over are compared with a
tree built afresh. Half of the keys are ground so that their paths agree in twelve bits, which
makes branches come and go. A state machine makes chains of diffs with siblings and merges them.
"""

from __future__ import annotations

from collections.abc import Generator
from hashlib import sha256
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chain.errors import Misuse, Rejected
from chain.state_proof import LEAF_KEYS_MAX, LEVEL_BITS, verify_state_proof
from state.tree import Tree, TreeDiff, View, prove, update, update_in_slices
from state.tree_nodes import NodeTable, likely_level
from tests.state.root_checker import state_root

Model = dict[bytes, bytes]
Changes = dict[bytes, bytes | None]

NEAR_KEYS = list(
    islice(
        (
            key
            for key in (b"near %d" % n for n in range(10**6))
            if sha256(key).digest()[0] == 0 and sha256(key).digest()[1] < 16
        ),
        24,
    )
)
"""Keys whose paths begin with twelve zero bits: five of them lie five levels deep."""

KEYS = NEAR_KEYS + [b"far %d" % n for n in range(24)]

values = st.binary(max_size=3)
changes_of = st.dictionaries(st.sampled_from(KEYS), st.none() | values, max_size=30)


def apply(model: Model, changes: Changes) -> Model:
    merged = {**model, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def nodes_of(table: NodeTable) -> dict[int, bytes]:
    flat = {index: node for index, node in enumerate(table.flat) if node is not None}
    return flat | table.deep


def numbered(count: int) -> Model:
    return {b"key %d" % n: b"value %d" % n for n in range(count)}


def finish(steps: Generator[None, None, TreeDiff]) -> TreeDiff:
    with pytest.raises(StopIteration) as stop:
        while True:
            next(steps)
    diff: TreeDiff = stop.value.value
    return diff


def test_empty_tree_has_the_zero_root() -> None:
    assert Tree().root == bytes(32)
    assert Tree.build([]).root == bytes(32)
    assert Tree().keys == 0


@pytest.mark.parametrize("count", [1, 4, 5, 8, 9, 33, 1000, 20_000])
def test_built_root_is_the_one_of_the_rules(count: int) -> None:
    model = numbered(count)

    tree = Tree.build(model.items())

    assert tree.root == state_root(model.items())
    assert tree.keys == count


def test_a_tree_is_not_built_from_a_key_given_twice() -> None:
    with pytest.raises(Misuse, match="twice"):
        Tree.build([(b"key", b"one"), (b"key", b"two")])


@given(st.lists(changes_of, max_size=12))
@settings(deadline=None)
def test_any_history_leaves_the_root_and_nodes_of_a_fresh_build(history: list[Changes]) -> None:
    tree = Tree()
    model: Model = {}
    for changes in history:
        diff = update(tree, changes)
        model = apply(model, changes)

        assert diff.root == state_root(model.items())
        assert diff.keys == len(model)

        tree.merge(diff)

    assert nodes_of(tree._nodes) == nodes_of(Tree.build(model.items())._nodes)


def test_twenty_thousand_keys_shrink_to_nothing_through_the_right_roots() -> None:
    model = numbered(20_000)
    tree = Tree.build(model.items())

    for kept in (10_000, 1_000, 40, 5, 4, 1, 0):
        left = dict(islice(model.items(), kept))
        tree.merge(update(tree, {key: None for key in model if key not in left}))
        model = left
        assert tree.root == state_root(model.items())

    assert nodes_of(tree._nodes) == {}


def test_what_changes_nothing_makes_an_empty_diff() -> None:
    tree = Tree.build(numbered(100).items())

    diff = update(tree, {b"key 7": b"value 7", b"absent": None})

    assert (diff.root, diff.keys, diff.hashes, len(diff._nodes)) == (tree.root, 100, 0, 0)


def test_update_leaves_the_tree_and_the_diff_below_as_they_were() -> None:
    tree = Tree.build(numbered(50).items())
    below = update(tree, {b"key 1": b"other"})
    before = nodes_of(tree._nodes), dict(below._nodes), tree.root, below.root

    update(below, {b"key 2": None, b"new": b""})

    assert (nodes_of(tree._nodes), dict(below._nodes), tree.root, below.root) == before


def test_every_changed_node_is_hashed_once() -> None:
    tree = Tree.build(numbered(5_000).items())
    changes: Changes = {b"key %d" % n: b"other" for n in range(0, 5_000, 50)}
    depths = {key: len(prove(tree, key).levels) for key in changes}
    places = {
        (1 << LEVEL_BITS * level) | int.from_bytes(sha256(key).digest()) >> 256 - 3 * level
        for key, depth in depths.items()
        for level in range(depth + 1)
    }

    diff = update(tree, changes)

    assert diff.hashes == len(places) == len(diff._nodes)


@pytest.mark.parametrize("slice_keys", [1, 3, 1000])
def test_slices_give_the_diff_of_one_go(slice_keys: int) -> None:
    tree = Tree.build(numbered(500).items())
    changes: Changes = {b"key %d" % n: None if n % 3 else b"other" for n in range(0, 500, 2)}

    diff = finish(update_in_slices(tree, changes, slice_keys=slice_keys))

    whole = update(tree, changes)
    assert (diff.root, diff.keys, diff._nodes) == (whole.root, whole.keys, whole._nodes)


def test_the_diff_below_may_be_merged_between_slices() -> None:
    model = numbered(300)
    tree = Tree.build(model.items())
    one: Changes = {b"key %d" % n: None for n in range(200)}
    two: Changes = {b"key %d" % n: b"two" for n in range(100, 300)}
    below = update(tree, one)
    steps = update_in_slices(below, two, slice_keys=30)
    next(steps)

    tree.merge(below)
    diff = finish(steps)
    tree.merge(diff)

    assert tree.root == state_root(apply(apply(model, one), two).items())


def test_a_sibling_merged_between_slices_ends_the_update() -> None:
    tree = Tree.build(numbered(300).items())
    steps = update_in_slices(tree, {b"key 1": b"", b"key 2": b""}, slice_keys=1)
    next(steps)

    tree.merge(update(tree, {b"key 3": b""}))

    with pytest.raises(Misuse, match="stale"):
        next(steps)


def test_only_a_child_of_the_tree_can_be_merged() -> None:
    tree = Tree()
    child = update(tree, {b"a": b"1"})
    sibling = update(tree, {b"a": b"2"})
    grandchild = update(child, {b"b": b"2"})

    with pytest.raises(Misuse):
        tree.merge(grandchild)
    tree.merge(child)
    with pytest.raises(Misuse):
        tree.merge(sibling)
    with pytest.raises(Misuse):
        tree.merge(child)
    tree.merge(grandchild)

    assert tree.root == state_root([(b"a", b"1"), (b"b", b"2")])


def test_everything_reads_right_between_the_slices_of_a_merge() -> None:
    model = numbered(100)
    tree = Tree.build(model.items())
    changes: Changes = {b"key %d" % n: None if n % 2 else b"new" for n in range(100)}
    diff = update(tree, changes)
    child = update(diff, {b"key 1": b"back"})
    sibling = update(tree, {})

    for _ in tree.merge_in_slices(diff, slice_nodes=5):
        assert tree.root == diff.root
        verify_state_proof(tree.root, b"key 2", b"new", prove(tree, b"key 2"))
        verify_state_proof(child.root, b"key 1", b"back", prove(child, b"key 1"))
        verify_state_proof(child.root, b"key 3", None, prove(child, b"key 3"))
        assert update(child, {b"key 1": None}).root == diff.root
        with pytest.raises(Misuse, match="stale"):
            prove(sibling, b"key 1")
        with pytest.raises(Misuse, match="merged"):
            tree.merge(child)
    tree.merge(child)

    assert nodes_of(tree._nodes) == nodes_of(
        Tree.build(apply(apply(model, changes), {b"key 1": b"back"}).items())._nodes
    )


@given(changes_of, changes_of, st.sampled_from([*KEYS, b"never"]))
@settings(deadline=None)
def test_proofs_of_any_view_verify_and_do_not_prove_the_contrary(
    first: Changes, second: Changes, key: bytes
) -> None:
    tree = Tree()
    tree.merge(update(tree, first))
    middle = update(tree, second)
    view = update(middle, {b"far 1": b"x"})
    value = apply(apply(apply({}, first), second), {b"far 1": b"x"}).get(key)

    proof = prove(view, key)

    verify_state_proof(view.root, key, value, proof)
    with pytest.raises(Rejected):
        verify_state_proof(view.root, key, b"another" if value is None else None, proof)


def test_the_guess_is_the_level_that_has_room_for_all_keys() -> None:
    assert [likely_level(keys) for keys in (0, 4, 5, 32, 33, 1_000_000)] == [0, 0, 1, 1, 2, 6]
    assert LEAF_KEYS_MAX * 8**6 >= 1_000_000 > LEAF_KEYS_MAX * 8**5


class DiffChains(RuleBasedStateMachine):
    """Diffs on diffs and beside each other, merged in any order that is allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = Tree()
        self.model: Model = {}
        self.open: list[tuple[TreeDiff, Model, TreeDiff | None]] = []

    @rule(data=st.data(), changes=changes_of)
    def extend(self, data: st.DataObject, changes: Changes) -> None:
        """Make a diff above the tree or above any open diff."""
        below = data.draw(st.sampled_from([None, *range(len(self.open))]))
        parent, model = (None, self.model) if below is None else self.open[below][:2]
        view: View = self.tree if parent is None else parent
        self.open.append((update(view, changes), apply(model, changes), parent))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        """Merge a child of the tree: its children are the tree's, all else is stale."""
        children = [each for each in self.open if each[2] is None]
        diff, self.model, _ = data.draw(st.sampled_from(children))
        self.tree.merge(diff)
        live: list[tuple[TreeDiff, Model, TreeDiff | None]] = []
        for each, model, parent in self.open:
            if parent is diff:
                live.append((each, model, None))
            elif any(parent is one[0] for one in live):
                live.append((each, model, parent))
            elif each is not diff:
                with pytest.raises(Misuse):
                    update(each, {})
        self.open = live

    @invariant()
    def every_root_is_right(self) -> None:
        """The tree and each open diff have the root of what was written into them."""
        assert self.tree.root == state_root(self.model.items())
        for diff, model, _ in self.open:
            assert diff.root == state_root(model.items())
            assert diff.keys == len(model)


TestDiffChains = DiffChains.TestCase
TestDiffChains.settings = settings(deadline=None, max_examples=60, stateful_step_count=15)
