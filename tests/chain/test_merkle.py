"""Merkle lists and logs (protocol.md M1–M9).

Roots are compared with the recursive definition of RFC 6962 §2.1 written out below, for every
size up to 70 and with published roots; every proof is checked, then broken in every way a proof
can be.
"""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.errors import Misuse, Rejected
from chain.hashing import tagged_hash
from chain.merkle import (
    LOG_EMPTY_ROOT,
    PROOF_HASHES_MAX,
    LogTree,
    Peaks,
    list_proof,
    list_root,
    log_consistency_path,
    log_inclusion_path,
    log_root,
    verify_list_proof,
    verify_log_consistency,
    verify_log_inclusion,
)

SIZES = range(71)
LEAVES = [sha256(bytes([number])).digest() for number in range(70)]
ITEMS = [bytes([number]) * (number % 5) for number in range(70)]


def rfc_root(leaves, node):
    """Return the tree head by the recursive definition."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node(rfc_root(leaves[:split], node) + rfc_root(leaves[split:], node))


def rfc_path(leaves, index):
    """Return PATH(m, D[n]) of RFC 9162 §2.1.3.1."""
    if len(leaves) == 1:
        return []
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if index < split:
        return [*rfc_path(leaves[:split], index), rfc_root(leaves[split:], log_node)]
    return [*rfc_path(leaves[split:], index - split), rfc_root(leaves[:split], log_node)]


def rfc_subproof(old_size, leaves, is_old_head):
    """Return SUBPROOF(m, D[n], b) of RFC 9162 §2.1.4.1."""
    if old_size == len(leaves):
        return [] if is_old_head else [rfc_root(leaves, log_node)]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    if old_size <= split:
        rest = rfc_root(leaves[split:], log_node)
        return [*rfc_subproof(old_size, leaves[:split], is_old_head), rest]
    rest = rfc_root(leaves[:split], log_node)
    return [*rfc_subproof(old_size - split, leaves[split:], False), rest]


def log_node(pair):
    return sha256(b"\x01" + pair).digest()


def list_node(pair):
    return tagged_hash("list-branch", pair)


def grown(leaves):
    """Return the peaks after appending ``leaves`` one by one."""
    peaks = Peaks()
    for leaf in leaves:
        peaks = peaks.append(leaf)
    return peaks


def refuses(verify, *arguments):
    with pytest.raises(Rejected) as refusal:
        verify(*arguments)
    return refusal.value.code == "merkle/BadProof"


def flip(data, position=0):
    """Return ``data`` with one bit of one byte changed."""
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def test_the_empty_list_is_zero_bytes_and_the_empty_log_the_hash_of_nothing():
    assert list_root([]) == bytes(32)
    assert log_root([]) == LOG_EMPTY_ROOT == sha256(b"").digest()
    assert LogTree([]).root == LOG_EMPTY_ROOT
    assert Peaks().root() == LOG_EMPTY_ROOT


@pytest.mark.parametrize("size", SIZES[1:])
def test_a_list_has_the_root_of_the_recursive_definition(size):
    leaves = [tagged_hash("list-leaf", item) for item in ITEMS[:size]]

    assert list_root(ITEMS[:size]) == rfc_root(leaves, list_node)


@pytest.mark.parametrize("size", SIZES[1:])
def test_a_log_has_the_root_of_the_recursive_definition(size):
    expected = rfc_root(LEAVES[:size], log_node)

    assert log_root(LEAVES[:size]) == expected
    assert LogTree(LEAVES[:size]).root == expected
    assert grown(LEAVES[:size]).root() == expected


def test_a_log_has_the_published_roots_of_certificate_transparency():
    """The eight inputs and roots of the reference implementation's test data."""
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
    inputs.append("606162636465666768696a6b6c6d6e6f")
    leaves = [sha256(b"\x00" + bytes.fromhex(item)).digest() for item in inputs]

    roots = [log_root(leaves[:size]).hex() for size in (1, 2, 3, 8)]

    assert roots == [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]


@pytest.mark.parametrize("size", SIZES[1:])
def test_every_item_of_a_list_is_proved_at_its_index_only(size):
    items, root = ITEMS[:size], list_root(ITEMS[:size])

    for index, item in enumerate(items):
        proof = list_proof(items, index)
        verify_list_proof(root, item, index, size, proof)
        assert refuses(verify_list_proof, root, item + b"x", index, size, proof)
        assert refuses(verify_list_proof, root, item, index + 1, size, proof)


@pytest.mark.parametrize("size", SIZES[1:])
def test_log_inclusion_proofs_are_those_of_the_rfc(size):
    tree = LogTree(LEAVES[:size])

    for index, leaf in enumerate(LEAVES[:size]):
        proof = tree.inclusion_proof(index)
        assert proof == rfc_path(LEAVES[:size], index)
        verify_log_inclusion(tree.root, leaf, index, size, proof)


@pytest.mark.parametrize("size", SIZES)
def test_consistency_proofs_are_those_of_the_rfc(size):
    tree = LogTree(LEAVES[:size])

    for old_size in range(size + 1):
        proof = tree.consistency_proof(old_size)
        expected = rfc_subproof(old_size, LEAVES[:size], True) if old_size else []
        assert proof == expected
        verify_log_consistency(log_root(LEAVES[:old_size]), old_size, tree.root, size, proof)


@given(
    st.integers(1, 300).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))),
    st.data(),
)
def test_an_inclusion_proof_with_any_part_changed_is_refused(place, data):
    size, index = place
    leaves = [sha256(number.to_bytes(2, "big")).digest() for number in range(size)]
    tree = LogTree(leaves)
    proof = tree.inclusion_proof(index)
    verify = verify_log_inclusion

    verify(tree.root, leaves[index], index, size, proof)

    assert refuses(verify, flip(tree.root), leaves[index], index, size, proof)
    assert refuses(verify, tree.root, flip(leaves[index]), index, size, proof)
    assert refuses(verify, tree.root, leaves[index], index, size, [*proof, bytes(32)])
    wrong_index = data.draw(st.integers(0, size + 3).filter(lambda other: other != index))
    assert refuses(verify, tree.root, leaves[index], wrong_index, size, proof)
    if proof:
        assert refuses(verify, tree.root, leaves[index], index, size, proof[:-1])
        position = data.draw(st.integers(0, len(proof) - 1))
        changed = [*proof[:position], flip(proof[position], 31), *proof[position + 1 :]]
        assert refuses(verify, tree.root, leaves[index], index, size, changed)


@given(
    st.integers(2, 300).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size - 1))),
    st.data(),
)
def test_a_consistency_proof_with_any_part_changed_is_refused(sizes, data):
    size, old_size = sizes
    leaves = [sha256(number.to_bytes(2, "big")).digest() for number in range(size)]
    tree, old_root = LogTree(leaves), log_root(leaves[:old_size])
    proof = tree.consistency_proof(old_size)
    verify = verify_log_consistency

    verify(old_root, old_size, tree.root, size, proof)

    assert refuses(verify, flip(old_root), old_size, tree.root, size, proof)
    assert refuses(verify, old_root, old_size, flip(tree.root), size, proof)
    assert refuses(verify, old_root, old_size, tree.root, size, [*proof, bytes(32)])
    assert refuses(verify, old_root, old_size, tree.root, size, proof[:-1])
    position = data.draw(st.integers(0, len(proof) - 1))
    changed = [*proof[:position], flip(proof[position], 31), *proof[position + 1 :]]
    assert refuses(verify, old_root, old_size, tree.root, size, changed)


@given(st.integers(0, 40), st.integers(0, 40))
def test_peaks_continue_a_log_from_any_size(size, more):
    leaves = [sha256(number.to_bytes(2, "big")).digest() for number in range(size + more)]
    kept = grown(leaves[:size])

    continued = Peaks(kept.size, kept.hashes)
    for leaf in leaves[size:]:
        continued = continued.append(leaf)

    assert continued.root() == log_root(leaves)
    assert len(continued.hashes) == (size + more).bit_count()


@pytest.mark.parametrize("size", SIZES[1:])
def test_paths_are_the_same_without_the_tree(size):
    tree = LogTree(LEAVES[:size])

    def head(low, high):
        return log_root(LEAVES[low:high])

    for index in range(size):
        assert log_inclusion_path(head, index, size) == tree.inclusion_proof(index)
    for old_size in range(size + 1):
        assert log_consistency_path(head, old_size, size) == tree.consistency_proof(old_size)


@pytest.mark.parametrize("height", range(6))
def test_peaks_give_every_perfect_subtree_that_ends_with_the_next_leaf(height):
    """After 63 leaves, the 64th completes subtrees of heights 0 to 6."""
    peaks = grown(LEAVES[:63])

    assert peaks.subtree_with(LEAVES[63], height) == log_root(LEAVES[64 - 2**height : 64])
    with pytest.raises(Misuse, match="no subtree of height 7"):
        peaks.subtree_with(LEAVES[63], 7)


def test_consistency_with_the_empty_log_needs_the_empty_root_and_no_proof():
    root = log_root(LEAVES)

    verify_log_consistency(LOG_EMPTY_ROOT, 0, root, 70, [])

    assert refuses(verify_log_consistency, LEAVES[0], 0, root, 70, [])
    assert refuses(verify_log_consistency, LOG_EMPTY_ROOT, 0, root, 70, [bytes(32)])
    assert refuses(verify_log_consistency, root, 70, LEAVES[0], 70, [])
    assert refuses(verify_log_consistency, root, 71, root, 70, [])


def test_proofs_of_other_hashes_than_32_bytes_or_without_end_are_refused():
    root, proof = log_root(LEAVES[:2]), [LEAVES[1]]

    assert refuses(verify_log_inclusion, root, LEAVES[0], 0, 2, [proof[0] + b"\x00"])
    assert refuses(verify_log_inclusion, root, LEAVES[0], 0, 2, proof * (PROOF_HASHES_MAX + 1))
    assert refuses(verify_log_consistency, LEAVES[0], 1, root, 2, [LEAVES[1][:31]])


def test_asking_for_what_is_not_there_is_misuse():
    tree = LogTree(LEAVES[:4])

    for index in (-1, 4):
        with pytest.raises(Misuse, match="no leaf"):
            tree.inclusion_proof(index)
        with pytest.raises(Misuse, match="no leaf"):
            list_proof(ITEMS[:4], index)
        with pytest.raises(Misuse, match="no leaf"):
            log_inclusion_path(lambda low, high: log_root(LEAVES[low:high]), index, 4)
    for size in (-1, 5):
        with pytest.raises(Misuse, match="no consistency proof"):
            tree.consistency_proof(size)


def test_peaks_that_do_not_fit_their_size_are_misuse():
    with pytest.raises(Misuse, match="1 peaks do not fit a log of size 3"):
        Peaks(3, (LEAVES[0],))


def test_a_list_and_a_log_of_one_hash_never_share_a_root():
    assert list_root([LEAVES[0]]) != log_root([LEAVES[0]])
    assert list_root(LEAVES[:2]) != log_root(LEAVES[:2])
