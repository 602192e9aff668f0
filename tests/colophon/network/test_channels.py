"""The table of channels has room for the largest message of each kind (protocol.md W6)."""

from __future__ import annotations

import pytest

from chain.block import EVIDENCE_MAX, GAP_NULLIFICATIONS_MAX
from chain.certificate import (
    BITMAP_BYTES_MAX,
    CERTIFICATE_BYTES_MAX,
    Certificate,
    Evidence,
)
from chain.codec import Record, encode
from chain.committee import MEMBERS_MAX
from chain.finality import FINALITY_PROOF_BYTES_MAX
from chain.header import Header
from chain.params import Params
from chain.vote import Vote
from colophon.network.channels import (
    BLOCKS_ASKED,
    CONSENSUS,
    MISSING,
    MISSING_ASKED,
    PROPOSALS,
    RANGES,
    RANGES_ASKED,
    TRANSACTIONS,
    channel_table,
)
from consensus.gossip import BATCH_BYTES_MAX
from consensus.messages import (
    LOOKBACK_VOTES_MAX,
    RANGE_BYTES_MAX,
    SHORT_IDS_MAX,
    BlockRequest,
    CompactProposal,
    IdsAnswer,
    LookbackAnswer,
    RangeRequest,
    TransactionsRequest,
)
from p2p.channels import Channels
from p2p.settings import Settings

HASH, SIGNATURE, MOST = b"\xff" * 32, b"\xff" * 64, 2**64 - 1
VOTE = Vote(2, MOST, MOST, HASH, 2**16 - 1, SIGNATURE)
CERTIFICATE = Certificate(
    2, MOST, MOST, HASH, b"\xff" * BITMAP_BYTES_MAX, [SIGNATURE] * MEMBERS_MAX
)
HEADER = Header(
    **{
        name: HASH if name.endswith(("_hash", "_root", "_id")) else 2**16 - 1
        for name in Header.__struct_fields__
    }
)
COMPACT = CompactProposal(
    HEADER,
    CERTIFICATE,
    [b"\xff" * 8] * SHORT_IDS_MAX,
    [Evidence(VOTE, VOTE)] * EVIDENCE_MAX,
    SIGNATURE,
    [CERTIFICATE] * GAP_NULLIFICATIONS_MAX,
)


def cap(channel: str) -> int:
    return Channels(channel_table(Params(modules=[]))).named(channel).bytes_max


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        (CONSENSUS, LookbackAnswer(MOST, [VOTE] * LOOKBACK_VOTES_MAX, CERTIFICATE, True)),
        (PROPOSALS, COMPACT),
        (MISSING_ASKED, TransactionsRequest(HASH, [2**16 - 1] * SHORT_IDS_MAX)),
        (MISSING, IdsAnswer(HASH, [HASH] * SHORT_IDS_MAX)),
        (BLOCKS_ASKED, BlockRequest(HASH)),
        (RANGES_ASKED, RangeRequest(MOST, 2**16 - 1)),
    ],
)
def test_the_largest_message_fits_its_channel(channel: str, message: Record) -> None:
    assert len(encode(message)) <= cap(channel)


def test_what_is_bounded_by_bytes_fits_its_channel() -> None:
    assert cap(CONSENSUS) >= FINALITY_PROOF_BYTES_MAX + CERTIFICATE_BYTES_MAX
    assert cap(TRANSACTIONS) >= BATCH_BYTES_MAX
    assert cap(RANGES) >= RANGE_BYTES_MAX + FINALITY_PROOF_BYTES_MAX


@pytest.mark.parametrize("block_bytes_max", [65_536, 1_048_576, 16 * 1_048_576])
def test_every_network_has_a_sound_table(block_bytes_max: int) -> None:
    rows = channel_table(Params(modules=[], block_bytes_max=block_bytes_max))

    table = Channels(rows)

    idle_ms = Settings().idle_ms
    assert all(row.bytes_max * 1_000 <= row.bytes_per_second * idle_ms // 2 for row in table.rows)
