"""Transaction gossip: who is sent what, once, in which batches, within which bounds (C20).

The mesh tests let several nodes talk in memory: every batch travels as bytes, and what a node
does not know is admitted to its pool, here a plain dictionary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.codec import encode
from chain.errors import Rejected
from chain.transaction import TX_BYTES_MAX, Envelope, transaction_id
from consensus import gossip
from consensus.gossip import (
    BATCH_BYTES_MAX,
    BATCH_COUNT_MAX,
    TRANSACTIONS_BATCH,
    Entry,
    Gossip,
    TransactionsBatch,
)

ME, ANNE, BILL, CARL = b"me", b"anne", b"bill", b"carl"


def entry_of(number: int, size: int = 0) -> Entry:
    envelope = Envelope(b"%d" % number + bytes(size), [number.to_bytes(64, "big")], [])
    return transaction_id(envelope.body, envelope.signatures), encode(envelope)


def batch_of(entries: Iterable[Entry]) -> TransactionsBatch:
    return TransactionsBatch([raw for _, raw in entries])


def make(*validators: bytes, relays: int = 1) -> tuple[Gossip, dict[bytes, bytes]]:
    pool: dict[bytes, bytes] = {}
    node = Gossip(ME, pool, relays=relays)
    for peer in validators:
        node.joined(peer, (), is_validator=True)
    return node, pool


def admit(
    node: Gossip, pool: dict[bytes, bytes], entries: Iterable[Entry], source: bytes | None = None
) -> None:
    for tx_id, raw in entries:
        pool[tx_id] = raw
        node.admitted(tx_id, raw, source)


# --- one node ----------------------------------------------------------------------------------


def test_a_clients_transaction_goes_to_every_peer_once() -> None:
    node, pool = make(ANNE, BILL)
    node.joined(CARL, (), is_validator=False)
    entries = [entry_of(1), entry_of(2)]

    admit(node, pool, entries)

    for peer in (ANNE, BILL, CARL):
        assert node.has_more(peer)
        assert node.flush(peer) == [raw for _, raw in entries]
        assert not node.has_more(peer)
        assert node.flush(peer) == []


def test_what_a_peer_sent_is_not_sent_back() -> None:
    node, pool = make(ANNE, BILL)
    one, two = entry_of(1), entry_of(2)
    admit(node, pool, [one, two])

    node.receive(ANNE, batch_of([one]))

    assert node.flush(ANNE) == [two[1]]
    assert node.flush(BILL) == [one[1], two[1]]


def test_what_left_the_pool_is_not_sent_any_more() -> None:
    node, pool = make(ANNE)
    one, two = entry_of(1), entry_of(2)
    admit(node, pool, [one, two])

    del pool[one[0]]

    assert node.flush(ANNE) == [two[1]]


def test_receiving_returns_what_the_pool_does_not_hold() -> None:
    node, pool = make(ANNE)
    one, two = entry_of(1), entry_of(2)
    admit(node, pool, [one])

    fresh = node.receive(ANNE, batch_of([one, two, two]))

    assert [(tx_id, raw) for tx_id, raw, _ in fresh] == [two]
    assert encode(fresh[0][2]) == two[1]


LONG_FORM = b"\x93\xc4\x011\xdc\x00\x01\xc4\x40" + bytes(64) + b"\x90"
"""An envelope whose list of signatures has a longer header than it needs."""


@pytest.mark.parametrize(
    ("raw", "code"), [(b"\x93", "codec/Malformed"), (LONG_FORM, "codec/NotCanonical")]
)
def test_a_batch_with_something_else_is_refused_and_nothing_learnt(raw: bytes, code: str) -> None:
    node, pool = make(ANNE)
    one = entry_of(1)

    with pytest.raises(Rejected, match=code):
        node.receive(ANNE, TransactionsBatch([one[1], raw]))

    admit(node, pool, [one])
    assert node.flush(ANNE) == [one[1]]


def test_a_peer_that_is_gone_is_owed_nothing() -> None:
    node, pool = make(ANNE)
    admit(node, pool, [entry_of(1)])

    node.left(ANNE)
    node.left(ANNE)

    assert node.flush(ANNE) == []
    assert not node.has_more(ANNE)
    assert len(node.receive(ANNE, batch_of([entry_of(2)]))) == 1


def test_a_new_peer_is_sent_the_pool_bit_by_bit() -> None:
    node, pool = make()
    entries = [entry_of(n) for n in range(3_000)]
    admit(node, pool, entries)
    taken = 0

    def snapshot() -> Iterable[Entry]:
        nonlocal taken
        for entry in entries:
            taken += 1
            yield entry

    node.joined(ANNE, snapshot(), is_validator=True)
    admit(node, pool, [entry_of(9_999)])

    batches = []
    while node.has_more(ANNE):
        batches.append(node.flush(ANNE))
        assert taken <= len(batches) * BATCH_COUNT_MAX + 1
    assert batches[0][0] == entry_of(9_999)[1], "what is new comes first"
    assert sorted(chain.from_iterable(batches)) == sorted(pool.values())


def test_large_transactions_of_the_pool_never_crowd_out_the_queue() -> None:
    node, pool = make()
    entries = [entry_of(n, 60_000) for n in range(200)]
    admit(node, pool, entries)

    node.joined(ANNE, entries, is_validator=True)
    sent = []
    while node.has_more(ANNE):
        sent += node.flush(ANNE)

    assert sent == [raw for _, raw in entries]
    assert node.dropped == 0


# --- bounds ------------------------------------------------------------------------------------


def test_a_batch_is_bounded_by_count() -> None:
    node, pool = make(ANNE)
    admit(node, pool, [entry_of(n) for n in range(BATCH_COUNT_MAX + 1)])

    assert [len(node.flush(ANNE)) for _ in range(3)] == [BATCH_COUNT_MAX, 1, 0]


@given(st.lists(st.integers(0, 65_000), min_size=1, max_size=30), st.integers(1, 400_000))
@settings(deadline=None)
def test_a_batch_is_bounded_by_bytes_but_never_stuck(sizes: list[int], bytes_max: int) -> None:
    node, pool = make(ANNE)
    entries = [entry_of(n, size) for n, size in enumerate(sizes)]
    admit(node, pool, entries)

    sent: list[bytes] = []
    while node.has_more(ANNE):
        batch = node.flush(ANNE, bytes_max)
        encoded = encode(TransactionsBatch(batch))
        assert TRANSACTIONS_BATCH.decode(encoded).transactions == batch
        assert len(batch) == 1 or len(encoded) <= min(bytes_max, BATCH_BYTES_MAX)
        sent += batch

    assert sent == [raw for _, raw in entries]


LARGEST = [entry_of(n, 65_000 + TX_BYTES_MAX - len(entry_of(0, 65_000)[1])) for n in range(8)]
SMALL = [entry_of(n) for n in range(10, 100)]


@pytest.mark.parametrize("entries", [LARGEST, SMALL])
@pytest.mark.parametrize("excess", range(-20, 3))
def test_a_batch_is_not_a_byte_too_large(entries: list[Entry], excess: int) -> None:
    assert {len(raw) for _, raw in LARGEST} == {TX_BYTES_MAX}
    bytes_max = len(encode(batch_of(entries[:3]))) + excess
    node, pool = make(ANNE)
    admit(node, pool, entries)

    assert len(encode(TransactionsBatch(node.flush(ANNE, bytes_max)))) <= bytes_max
    assert len(encode(TransactionsBatch(node.flush(ANNE, 10**9)))) <= BATCH_BYTES_MAX


def test_the_largest_transaction_travels() -> None:
    node, pool = make(ANNE)
    largest = LARGEST[0]
    admit(node, pool, [largest])

    batch = TRANSACTIONS_BATCH.decode(encode(TransactionsBatch(node.flush(ANNE, 1))))

    assert node.receive(BILL, batch) == []
    del pool[largest[0]]
    assert len(node.receive(BILL, batch)) == 1


@pytest.mark.parametrize(
    "batch",
    [
        TransactionsBatch([]),
        TransactionsBatch([b""]),
        TransactionsBatch([bytes(TX_BYTES_MAX + 1)]),
        TransactionsBatch([b"1"] * (BATCH_COUNT_MAX + 1)),
        TransactionsBatch([bytes(TX_BYTES_MAX)] * 4),
    ],
)
def test_a_batch_beyond_its_limits_is_refused(batch: TransactionsBatch) -> None:
    with pytest.raises(Rejected, match=r"codec/(Malformed|TooLarge)"):
        TRANSACTIONS_BATCH.decode(encode(batch))


def test_a_queue_drops_its_oldest_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "QUEUE_COUNT_MAX", 3)
    node, pool = make(ANNE, BILL)
    entries = [entry_of(n) for n in range(5)]

    admit(node, pool, entries[:2])
    node.flush(BILL)
    admit(node, pool, entries[2:])

    assert node.flush(ANNE) == [raw for _, raw in entries[2:]]
    assert node.flush(BILL) == [raw for _, raw in entries[2:]]
    assert node.dropped == 2


def test_a_queue_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "QUEUE_BYTES_MAX", 2_500)
    node, pool = make(ANNE)
    entries = [entry_of(n, 900) for n in range(5)]

    admit(node, pool, entries)
    assert node.flush(ANNE) == [raw for _, raw in entries[3:]]
    admit(node, pool, entries)

    assert node.flush(ANNE) == [raw for _, raw in entries[3:]]
    assert node.dropped == 6


def test_what_a_peer_knows_is_remembered_for_two_generations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gossip, "KNOWN_MAX", 2)
    node, pool = make(ANNE)
    entries = [entry_of(n) for n in range(5)]

    for entry in entries:
        node.receive(ANNE, batch_of([entry]))
    admit(node, pool, entries)

    assert node.flush(ANNE) == [raw for _, raw in entries[:2]]


# --- relaying ----------------------------------------------------------------------------------


def targets(node: Gossip, peers: Iterable[bytes]) -> list[bytes]:
    """Return who is sent something, once for each copy."""
    return [peer for peer in peers for _ in node.flush(peer)]


def test_a_validators_transaction_is_passed_on_to_one_other() -> None:
    others = [b"v%d" % n for n in range(9)]
    node, pool = make(*others)

    for number in range(50):
        admit(node, pool, [entry_of(number)], others[3])
        chosen = targets(node, others)
        assert len(chosen) == 1 and others[3] not in chosen


@pytest.mark.parametrize(("relays", "count"), [(0, 0), (2, 2), (7, 3), (100, 3)])
def test_the_number_of_relays_is_a_choice(relays: int, count: int) -> None:
    others = [ANNE, BILL, CARL, b"dora"]
    node, pool = make(*others, relays=relays)

    admit(node, pool, [entry_of(1)], ANNE)

    chosen = targets(node, others)
    assert len(chosen) == count and ANNE not in chosen


def test_between_two_validators_nothing_is_passed_on() -> None:
    node, pool = make(ANNE)

    admit(node, pool, [entry_of(1)], ANNE)

    assert targets(node, [ANNE]) == []


def test_who_is_no_validator_is_sent_everything_but_its_own() -> None:
    node, pool = make(ANNE)
    for follower in (BILL, CARL):
        node.joined(follower, (), is_validator=False)

    admit(node, pool, [entry_of(1)], ANNE)
    assert targets(node, [ANNE, BILL, CARL]) == [BILL, CARL]
    admit(node, pool, [entry_of(2)], BILL)
    assert targets(node, [ANNE, BILL, CARL]) == [ANNE, CARL]


def test_a_source_that_left_is_stood_in_for() -> None:
    others = [ANNE, BILL, CARL, b"dora"]
    node, pool = make(*others)

    node.left(ANNE)
    admit(node, pool, [entry_of(1)], ANNE)

    assert targets(node, others) == [BILL, CARL, b"dora"]


# --- several nodes -----------------------------------------------------------------------------


class Node:
    """A node with a pool that takes everything."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.pool: dict[bytes, bytes] = {}
        self.gossip = Gossip(name, self.pool)
        self.received = Counter[bytes]()

    def submit(self, entry: Entry, source: bytes | None = None) -> None:
        admit(self.gossip, self.pool, [entry], source)

    def hear(self, source: bytes, data: bytes) -> None:
        batch = TRANSACTIONS_BATCH.decode(data)
        self.received.update(batch.transactions)
        for tx_id, raw, _ in self.gossip.receive(source, batch):
            self.submit((tx_id, raw), source)


class Net:
    """Nodes and the lines between them, each a validator of the same mesh."""

    def __init__(self, size: int, cut: Iterable[tuple[int, int]] = ()) -> None:
        self.nodes = [Node(b"node %03d" % number) for number in range(size)]
        gone = {frozenset(pair) for pair in cut}
        self.lines = [
            (a, b)
            for i, a in enumerate(self.nodes)
            for j, b in enumerate(self.nodes)
            if i != j and frozenset((i, j)) not in gone
        ]
        self.crossed = Counter[tuple[bytes, frozenset[bytes]]]()
        """How often a transaction crossed a line, either way."""
        for a, b in self.lines:
            a.gossip.joined(b.name, list(a.pool.items()), is_validator=True)

    def settle(self) -> None:
        """Flush every line until nothing is left to send."""
        busy = True
        while busy:
            busy = False
            for a, b in self.lines:
                batch = a.gossip.flush(b.name)
                if batch:
                    busy = True
                    self.crossed.update((raw, frozenset((a.name, b.name))) for raw in batch)
                    b.hear(a.name, encode(TransactionsBatch(batch)))


def test_three_nodes_share_what_was_submitted_to_each() -> None:
    net = Net(3)
    entries = [entry_of(n) for n in range(30)]

    for number, entry in enumerate(entries):
        net.nodes[number % 3].submit(entry)
    net.settle()

    assert all(node.pool == dict(entries) for node in net.nodes)
    assert max(net.crossed.values()) == 1


@pytest.mark.parametrize("size", [4, 7, 20])
def test_a_mesh_carries_each_transaction_about_twice_to_each(size: int) -> None:
    net = Net(size)
    entries = [entry_of(n) for n in range(40)]

    for number, entry in enumerate(entries):
        net.nodes[number % size].submit(entry)
    net.settle()

    assert all(node.pool.keys() == dict(entries).keys() for node in net.nodes)
    copies = [node.received[raw] for node in net.nodes for _, raw in entries]
    assert max(copies) <= 3
    assert sum(copies) <= 2 * (size - 1) * len(entries)
    assert max(net.crossed.values()) == 1


@pytest.mark.parametrize("size", [4, 7, 20])
def test_a_missing_line_is_made_up_for(size: int) -> None:
    net = Net(size, cut=[(0, 1)])
    entries = [entry_of(n) for n in range(40)]

    for entry in entries:
        net.nodes[0].submit(entry)
    net.settle()

    assert net.nodes[1].pool.keys() == dict(entries).keys()


def test_a_first_sender_that_dies_half_way_loses_little() -> None:
    net = Net(4)
    entry = entry_of(1)
    first, second = net.nodes[0], net.nodes[1]
    first.submit(entry)
    second.hear(first.name, encode(TransactionsBatch(first.gossip.flush(second.name))))

    net.lines = [(a, b) for a, b in net.lines if first not in (a, b)]
    net.settle()

    assert sum(entry[0] in node.pool for node in net.nodes[1:]) >= 2
