"""State proofs as a verifier sees them (protocol.md A1–A9).

Proofs are made here from ``root_checker``'s recursive definition, without the node's tree. Then
everything is broken: every single bit, and every rule on the shape with a root that fits the
broken shape, so that only the rule can be what refuses it.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.codec import encode
from chain.errors import Rejected
from chain.hashing import tagged_hash
from chain.state_proof import (
    LEVELS_MAX,
    NO_SIBLINGS,
    PROOF_BYTES_MAX,
    PROOF_DECODER,
    LeafEntry,
    StateProof,
    state_path,
    state_value_hash,
    verify_state_proof,
)
from tests.state.root_checker import state_root, subtree

Pairs = dict[bytes, bytes]

GOLDEN_ONE = "95c8d44c0678164b3c95cb702e29f6d5346e6af1e01ab8ae7ba966b5be8412dd"
GOLDEN_HUNDRED = "639e8aef50df9f7db8a35e6c07c3482e85e526d83ca790a9a6206be6dc62f34f"

some_pairs = st.dictionaries(st.binary(max_size=3), st.binary(max_size=4), max_size=60)


def make_proof(pairs: Pairs, key: bytes) -> StateProof:
    entries = [(state_path(each), state_value_hash(value)) for each, value in pairs.items()]
    path = int.from_bytes(state_path(key))
    levels = []
    while len(entries) > 4:
        shift = 256 - 3 * (len(levels) + 1)
        children: list[list[tuple[bytes, bytes]]] = [[] for _ in range(8)]
        for entry in entries:
            children[int.from_bytes(entry[0]) >> shift & 7].append(entry)
        entries = children.pop(path >> shift & 7)
        levels.append(b"".join(subtree(child, len(levels) + 1) for child in children))
    return StateProof(tuple(levels), tuple(LeafEntry(*entry) for entry in sorted(entries)))


def leaf_root(entries: Iterable[LeafEntry]) -> bytes:
    data = b"".join(entry.path + entry.value_hash for entry in entries)
    return tagged_hash("state-leaf", data)


def numbered(count: int) -> Pairs:
    return {b"key %d" % n: b"value %d" % n for n in range(count)}


def flipped(data: bytes) -> Iterable[bytes]:
    for bit in range(len(data) * 8):
        yield (int.from_bytes(data) ^ 1 << bit).to_bytes(len(data))


def accepts(root: bytes, key: bytes, value: bytes | None, proof: StateProof) -> bool:
    try:
        verify_state_proof(root, key, value, proof)
    except Rejected:
        return False
    return True


def accepts_bytes(root: bytes, key: bytes, value: bytes | None, proof: bytes) -> bool:
    try:
        return accepts(root, key, value, PROOF_DECODER.decode(proof))
    except Rejected:
        return False


def test_roots_are_the_published_ones() -> None:
    # Golden: a client in another language can compare (values counted with root_checker).
    assert state_root({}.items()) == bytes(32)
    assert state_root({b"key": b"value"}.items()).hex() == GOLDEN_ONE
    assert state_root(numbered(100).items()).hex() == GOLDEN_HUNDRED


@given(some_pairs, st.binary(max_size=3))
@settings(deadline=None)
def test_a_proof_shows_what_a_key_holds_and_nothing_else(pairs: Pairs, key: bytes) -> None:
    root, proof, value = state_root(pairs.items()), make_proof(pairs, key), pairs.get(key)

    verify_state_proof(root, key, value, PROOF_DECODER.decode(encode(proof)))

    assert not accepts(root, key, b"never held", proof)
    assert accepts(root, key, None, proof) is (value is None)


@given(some_pairs.filter(bool), st.data())
@settings(deadline=None)
def test_the_value_of_another_key_is_refused(pairs: Pairs, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(pairs)))

    with pytest.raises(Rejected) as refusal:
        verify_state_proof(state_root(pairs.items()), key, b"other!", make_proof(pairs, key))

    assert refusal.value.code == "proof/OtherValue"


@pytest.mark.parametrize("key", [b"key 3", b"absent 1"])
@pytest.mark.parametrize("count", [1, 4, 40])
def test_no_bit_of_a_proof_can_be_flipped(key: bytes, count: int) -> None:
    pairs = {b"key 3": b"x"} | dict(list(numbered(count).items())[: count - 1])
    root, value, proof = state_root(pairs.items()), pairs.get(key), make_proof(pairs, key)
    raw = encode(proof)

    assert accepts_bytes(root, key, value, raw)
    assert [bad for bad in flipped(raw) if accepts_bytes(root, key, value, bad)] == []
    assert [bad for bad in flipped(root) if accepts(bad, key, value, proof)] == []


def test_no_bit_of_a_key_or_its_value_can_be_flipped() -> None:
    pairs = numbered(40)
    root, proof = state_root(pairs.items()), make_proof(pairs, b"key 3")

    assert [bad for bad in flipped(b"key 3") if accepts(root, bad, b"value 3", proof)] == []
    assert [bad for bad in flipped(b"value 3") if accepts(root, b"key 3", bad, proof)] == []


@given(some_pairs, st.binary(min_size=1, max_size=3), st.integers(0, 7))
@settings(deadline=None)
def test_absence_is_never_shown_of_a_key_that_is_there(pairs: Pairs, key: bytes, bit: int) -> None:
    other = bytes([key[0] ^ 1 << bit]) + key[1:]

    shown = accepts(state_root(pairs.items()), other, None, make_proof(pairs, key))

    assert not (shown and other in pairs)


def test_the_empty_tree_proves_every_absence() -> None:
    verify_state_proof(bytes(32), b"any", None, StateProof((), ()))

    with pytest.raises(Rejected, match="KeyAbsent"):
        verify_state_proof(bytes(32), b"any", b"", StateProof((), ()))


def malformed(root: bytes, proof: StateProof, key: bytes = b"key") -> str:
    with pytest.raises(Rejected) as refusal:
        verify_state_proof(root, key, None, proof)
    assert refusal.value.code == "proof/Malformed"
    return refusal.value.message


def entry_of(path: int) -> LeafEntry:
    return LeafEntry(path.to_bytes(32), bytes(32))


def test_a_leaf_of_five_entries_is_refused_although_it_hashes_to_the_root() -> None:
    entries = tuple(entry_of(path) for path in range(1, 6))

    assert "5 leaf entries" in malformed(leaf_root(entries), StateProof((), entries))


@pytest.mark.parametrize("paths", [(2, 1), (1, 1), (1, 3, 2)])
def test_unsorted_or_repeated_entries_are_refused(paths: tuple[int, ...]) -> None:
    entries = tuple(entry_of(path) for path in paths)

    assert "ascending" in malformed(leaf_root(entries), StateProof((), entries))


def branch_root(key: bytes, node: bytes, levels: tuple[bytes, ...]) -> bytes:
    path = int.from_bytes(state_path(key)) << 8  # room for a level too many
    for level in range(len(levels), 0, -1):
        at = (path >> 264 - 3 * level & 7) * 32
        siblings = levels[level - 1]
        node = tagged_hash("state-branch", siblings[:at] + node + siblings[at:])
    return node


def test_an_entry_off_the_path_is_refused() -> None:
    siblings = (b"\1" * 224,)
    path = bytes([state_path(b"key")[0] ^ 0x20]) + state_path(b"key")[1:]
    entries = (LeafEntry(path, bytes(32)),)
    root = branch_root(b"key", leaf_root(entries), siblings)

    assert "elsewhere" in malformed(root, StateProof(siblings, entries))


def test_an_entry_that_parts_only_after_the_levels_is_accepted() -> None:
    siblings = (b"\1" * 224,)
    path = bytes([state_path(b"key")[0] ^ 0x10]) + state_path(b"key")[1:]
    entries = (LeafEntry(path, bytes(32)),)
    root = branch_root(b"key", leaf_root(entries), siblings)

    verify_state_proof(root, b"key", None, StateProof(siblings, entries))


@pytest.mark.parametrize("count", [1, LEVELS_MAX, LEVELS_MAX + 1])
def test_only_eighty_five_levels_exist(count: int) -> None:
    levels = (b"\1" * 224,) * count
    root = branch_root(b"key", bytes(32), levels)

    assert accepts(root, b"key", None, StateProof(levels, ())) is (count <= LEVELS_MAX)


def test_a_lowest_branch_without_other_children_is_refused() -> None:
    entries = (LeafEntry(state_path(b"key"), bytes(32)),)
    root = branch_root(b"key", leaf_root(entries), (NO_SIBLINGS,))

    assert "one child" in malformed(root, StateProof((NO_SIBLINGS,), entries))


def test_a_higher_branch_with_one_child_is_a_tree() -> None:
    levels = (NO_SIBLINGS, b"\1" * 224)

    verify_state_proof(branch_root(b"key", bytes(32), levels), b"key", None, StateProof(levels, ()))


@pytest.mark.parametrize(
    "proof",
    [
        StateProof((bytes(223),), ()),
        StateProof((b"\1" * 256,), ()),
        StateProof((), (LeafEntry(bytes(31), bytes(32)),)),
        StateProof((), (LeafEntry(bytes(32), bytes(33)),)),
    ],
)
def test_other_sizes_are_refused_by_the_verifier_and_the_decoder(proof: StateProof) -> None:
    malformed(bytes(32), proof)

    with pytest.raises(Rejected, match="codec/Malformed"):
        PROOF_DECODER.decode(encode(proof))


def test_the_longest_proof_has_the_declared_length() -> None:
    entries = tuple(entry_of(path) for path in range(4))
    longest = encode(StateProof((bytes(224),) * LEVELS_MAX, entries))

    assert len(longest) == PROOF_BYTES_MAX
    with pytest.raises(Rejected, match="codec/TooLarge"):
        PROOF_DECODER.decode(longest + b"\0")


def test_leaf_value_and_branch_hashes_cannot_stand_for_each_other() -> None:
    data = bytes(256)

    hashes = {tagged_hash(tag, data) for tag in ("state-leaf", "state-branch", "state-value")}

    assert len(hashes | {sha256(data).digest()}) == 4
