"""The table of channels between nodes: what travels where, and how much of it (protocol.md W6).

Numbers and caps are the network's, rates are this node's own. Votes go before everything else: a
block of a megabyte must never stand in front of the vote that would make another one final.
"""

from __future__ import annotations

from chain.block import BODY_BYTES_MAX
from chain.params import Params
from chain.transaction import TX_BYTES_MAX
from consensus.gossip import BATCH_BYTES_MAX
from consensus.messages import RANGE_BYTES_MAX
from consensus.proposals import ANSWER_BYTES_MAX
from p2p.channels import Channel, Kind

CONSENSUS = "consensus"
"""Votes, certificates, and the small questions and answers about them."""
PROPOSALS = "proposals"
"""Compact proposals (C17)."""
TRANSACTIONS = "transactions"
"""Transactions for the pool (C20)."""
MISSING_ASKED, MISSING = "missing?", "missing"
"""Transactions of a compact proposal, by index (C17)."""
BLOCKS_ASKED, BLOCKS = "block?", "block"
"""One un-finalised block by its id (C9)."""
RANGES_ASKED, RANGES = "range?", "range"
"""Final blocks (C18)."""
ANSWERED_ON = {MISSING_ASKED: MISSING, BLOCKS_ASKED: BLOCKS, RANGES_ASKED: RANGES}
"""Of each request channel, where its answers come (W6)."""

KIB = 1_024
MIB = 1_024 * KIB
HEADER_BYTES_MAX = 256 * KIB
"""What header, certificate and the framing of 16 384 transactions need at most."""
IDS_BYTES_MAX = 640 * KIB
"""Full ids of the largest block."""


def channel_table(params: Params) -> tuple[Channel, ...]:
    """Return the table of a network with these parameters."""
    block_max = min(params.block_bytes_max + HEADER_BYTES_MAX, BODY_BYTES_MAX)
    missing_max = max(ANSWER_BYTES_MAX + TX_BYTES_MAX, IDS_BYTES_MAX) + HEADER_BYTES_MAX
    range_max = RANGE_BYTES_MAX + block_max
    return (
        _one_way(CONSENSUS, 1, 128 * KIB, priority=0, per_second=2_000),
        _one_way(PROPOSALS, 2, 512 * KIB, priority=1, per_second=200),
        _one_way(TRANSACTIONS, 3, BATCH_BYTES_MAX, priority=2, per_second=1_000),
        _asked(MISSING_ASKED, 4, 128 * KIB, priority=1, per_second=100),
        _answer(MISSING, 5, missing_max, MISSING_ASKED, priority=1),
        _asked(BLOCKS_ASKED, 6, KIB, priority=1, per_second=50),
        _answer(BLOCKS, 7, block_max, BLOCKS_ASKED, priority=2),
        _asked(RANGES_ASKED, 8, KIB, priority=2, per_second=4),
        _answer(RANGES, 9, range_max, RANGES_ASKED, priority=3),
    )


def _one_way(name: str, number: int, cap: int, *, priority: int, per_second: int) -> Channel:
    return _row(name, number, Kind.ONE_WAY, cap, priority, per_second)


def _asked(name: str, number: int, cap: int, *, priority: int, per_second: int) -> Channel:
    return _row(name, number, Kind.REQUEST, cap, priority, per_second)


def _answer(name: str, number: int, cap: int, asked: str, *, priority: int) -> Channel:
    return _row(name, number, Kind.ANSWER, cap, priority, 200, answers=asked)


def _row(
    name: str, number: int, kind: Kind, cap: int, priority: int, per_second: int, answers: str = ""
) -> Channel:
    """Return a row: bursts of two seconds' messages, and at least 8 MiB or two caps a second."""
    return Channel(
        name=name,
        number=number,
        kind=kind,
        bytes_max=cap,
        priority=priority,
        messages_per_second=per_second,
        messages_burst=2 * per_second,
        bytes_per_second=max(8 * MIB, 2 * cap),
        bytes_burst=max(16 * MIB, 2 * cap),
        answers=answers,
    )
