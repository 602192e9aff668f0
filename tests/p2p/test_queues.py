"""The send queue: urgent first, order within a channel, bounded for every history."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.errors import Rejected
from p2p.channels import Channel
from p2p.queues import MESSAGE_COST_BYTES, Backlog, SendQueue

from .world import GOSSIP, QUESTION, REPLY, VOTES

PROPOSALS = replace(VOTES, name="proposals", number=7)
CHANNELS = (VOTES, PROPOSALS, GOSSIP, QUESTION, REPLY)


def drained(queue: SendQueue) -> list[tuple[str, bytes]]:
    found = []
    while (message := queue.pop()) is not None:
        found.append((message.channel.name, message.data))
    return found


def test_urgent_messages_go_first() -> None:
    queue = SendQueue(messages_max=10, bytes_max=100)

    queue.put(GOSSIP, 0, b"1")
    queue.put(QUESTION, 5, b"2")
    queue.put(VOTES, 0, b"3")
    queue.put(VOTES, 0, b"4")

    assert drained(queue) == [
        ("votes", b"3"),
        ("votes", b"4"),
        ("question", b"2"),
        ("gossip", b"1"),
    ]


def test_a_channel_is_flushed_before_a_message_of_another() -> None:
    queue = SendQueue(messages_max=10, bytes_max=100)
    other = replace(GOSSIP, name="other", number=9)
    queue.put(other, 0, b"stays")
    queue.put(GOSSIP, 0, b"1")
    queue.put(VOTES, 0, b"vote")
    queue.put(GOSSIP, 0, b"2")

    queue.put(PROPOSALS, 0, b"proposal", after=GOSSIP)
    queue.put(GOSSIP, 0, b"3")

    assert drained(queue) == [
        ("votes", b"vote"),
        ("gossip", b"1"),
        ("gossip", b"2"),
        ("proposals", b"proposal"),
        ("other", b"stays"),
        ("gossip", b"3"),
    ]
    assert queue.waiting_bytes == 0 == len(queue)


def test_messages_brought_forward_twice_keep_their_order() -> None:
    queue = SendQueue(messages_max=10, bytes_max=100)
    queue.put(GOSSIP, 0, b"1")
    queue.put(QUESTION, 5, b"question", after=GOSSIP)
    queue.put(GOSSIP, 0, b"2")

    queue.put(VOTES, 0, b"vote", after=GOSSIP)

    assert drained(queue) == [
        ("gossip", b"1"),
        ("gossip", b"2"),
        ("votes", b"vote"),
        ("question", b"question"),
    ]


def test_what_was_brought_forward_still_counts_where_it_was() -> None:
    queue = SendQueue(messages_max=2, bytes_max=100)
    queue.put(GOSSIP, 0, b"1")
    queue.put(GOSSIP, 0, b"2")
    queue.put(VOTES, 0, b"a", after=GOSSIP)

    queue.put(VOTES, 0, b"b")

    with pytest.raises(Rejected, match="p2p/QueueFull"):
        queue.put(GOSSIP, 0, b"3")  # both of the lane are on their way and cannot be dropped


@pytest.mark.parametrize(("messages_max", "bytes_max"), [(3, 1_000), (1_000, 30)])
def test_a_full_queue_drops_its_oldest_one_way_messages(messages_max: int, bytes_max: int) -> None:
    queue = SendQueue(messages_max=messages_max, bytes_max=bytes_max)
    question = replace(QUESTION, priority=GOSSIP.priority)
    queue.put(question, 1, b"q" * 10)
    queue.put(GOSSIP, 0, b"1" * 10)
    queue.put(GOSSIP, 0, b"2" * 10)

    dropped = queue.put(GOSSIP, 0, b"3" * 10)

    assert dropped == 1
    assert drained(queue) == [
        ("question", b"q" * 10),
        ("gossip", b"2" * 10),
        ("gossip", b"3" * 10),
    ]


def test_a_full_urgent_queue_refuses_and_changes_nothing() -> None:
    queue = SendQueue(messages_max=2, bytes_max=100)
    queue.put(VOTES, 0, b"1")
    queue.put(VOTES, 0, b"2")

    with pytest.raises(Rejected, match="p2p/QueueFull"):
        queue.put(VOTES, 0, b"3")

    assert drained(queue) == [("votes", b"1"), ("votes", b"2")]


def test_a_queue_of_questions_refuses_and_changes_nothing() -> None:
    queue = SendQueue(messages_max=2, bytes_max=100)
    queue.put(QUESTION, 1, b"1")
    queue.put(QUESTION, 2, b"2")

    with pytest.raises(Rejected, match="p2p/QueueFull"):
        queue.put(QUESTION, 3, b"3")

    assert len(queue) == 2


def test_what_was_taken_counts_until_the_next_is() -> None:
    queue, backlog = SendQueue(messages_max=10, bytes_max=100), Backlog()
    queue.put(GOSSIP, 0, b"1" * 10)
    queue.count_in(backlog)
    queue.put(VOTES, 0, b"")
    assert backlog.bytes == 10 + 2 * MESSAGE_COST_BYTES

    queue.pop()
    assert backlog.bytes == 10 + 2 * MESSAGE_COST_BYTES
    queue.pop()
    assert backlog.bytes == 10 + MESSAGE_COST_BYTES
    assert queue.pop() is None
    assert backlog.bytes == 0 == queue.cost


STEP = st.one_of(
    st.none(),
    st.tuples(st.sampled_from(CHANNELS), st.integers(0, 30), st.one_of(st.none(), st.just(GOSSIP))),
)


@given(steps=st.lists(STEP, max_size=80))
def test_every_history_is_bounded_and_in_order(
    steps: list[tuple[Channel, int, Channel | None] | None],
) -> None:
    queue = SendQueue(messages_max=5, bytes_max=60)
    sent: list[tuple[Channel, int]] = []

    for number, step in enumerate(steps):
        if step is None:
            message = queue.pop()
            sent += [(message.channel, message.request_id)] if message else []
            continue
        channel, size, after = step
        try:
            queue.put(channel, number, bytes(size), after=after)
        except Rejected as refusal:
            assert refusal.code == "p2p/QueueFull"
        assert len(queue) <= 5 * 4
        assert queue.waiting_bytes <= 60 * 4
    while (message := queue.pop()) is not None:
        sent.append((message.channel, message.request_id))

    assert len(queue) == queue.waiting_bytes == 0
    for channel in CHANNELS:
        numbers = [number for row, number in sent if row is channel]
        assert numbers == sorted(numbers)


@given(
    steps=st.lists(st.tuples(st.integers(0, 2), STEP | st.just("clear")), max_size=80),
)
def test_a_backlog_is_the_sum_of_its_queues_in_every_history(
    steps: list[tuple[int, tuple[Channel, int, Channel | None] | str | None]],
) -> None:
    backlog = Backlog()
    queues = [SendQueue(messages_max=5, bytes_max=60) for _ in range(3)]
    for queue in queues:
        queue.count_in(backlog)

    for number, step in steps:
        queue = queues[number]
        if step is None:
            queue.pop()
        elif isinstance(step, str):
            queue.clear()
        else:
            channel, size, after = step
            try:
                queue.put(channel, 1, bytes(size), after=after)
            except Rejected as refusal:
                assert refusal.code == "p2p/QueueFull"
        assert backlog.bytes == sum(queue.cost for queue in queues)
        assert queue.cost >= queue.waiting_bytes + len(queue) * MESSAGE_COST_BYTES

    for queue in queues:
        drained(queue)
    assert backlog.bytes == 0
