"""What a node remembers of blocks on their way, and how it makes them final."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chain.application import Placement, finish
from chain.block import Block
from chain.codec import encode_amount
from chain.errors import Rejected
from chain.finality import FinalityProof
from chain.header import KIND_BLOCK
from chain.transaction import ENVELOPE, Attachment
from colophon import application as application_module
from colophon.admission import Admission, Hope
from colophon.application import STEP_TRANSACTIONS, NodeApplication
from colophon.wallet import Draft, Wallet
from state.families import REGISTRY
from state.machine import StateMachine
from state.modules.bank import Send

from .applications import admit, application_above
from .lonely import (
    SENDER,
    START_MS,
    Disk,
    Lonely,
    SimulatedStore,
    VirtualClock,
    genesis,
)

TRANSACTIONS = 5


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[NodeApplication]:
    """A node with three final blocks, transactions in the first that has any."""
    with closing(Lonely(tmp_path, SimulatedStore(), VirtualClock(), Disk(), [])) as node:
        node.submit(TRANSACTIONS)
        node.run_to(3)
        yield node.application


def fresh() -> NodeApplication:
    """A node that has just begun."""
    return application_above(StateMachine(SimulatedStore(), genesis(), REGISTRY), VirtualClock())


def verified(application: NodeApplication, block: Block) -> None:
    """Verify a block that came with its transactions."""
    finish(application.verify(block, [[] for _ in block.transaction_ids]))


def give(application: NodeApplication, lane: int, seq: int, *, tip: int = 1) -> None:
    """Put a transfer into the pool, as admission does after its checks."""
    wallet = Wallet(SENDER, application.machine.genesis_hash)
    draft = Draft(messages=[Send(bytes(21), b"", encode_amount(3))])
    raw = wallet.sign(draft, lane=lane, seq=seq, tip=tip, base_fee=10**7).envelope
    admit(application.machine, application.pool, raw)


def proof_of(chain: NodeApplication, height: int) -> FinalityProof:
    """Return the proof that makes all blocks up to a height final."""
    return chain.reader.finality(height)


def test_signatures_verified_with_a_block_are_remembered_until_it_is_final(
    chain: NodeApplication,
) -> None:
    application = fresh()
    block = chain.reader.block(1)
    assert len(block.transaction_ids) == TRANSACTIONS
    assert not any(map(application.is_signed, block.transaction_ids))

    verified(application, block)
    assert all(map(application.is_signed, block.transaction_ids))

    finish(application.execute(block))
    application.commit([block], proof_of(chain, 1))
    assert not any(map(application.is_signed, block.transaction_ids))


def test_long_transactions_of_a_block_are_read_in_steps_of_their_own(
    chain: NodeApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 transactions of 16 KB each would be a step of 15 ms."""
    block = chain.reader.block(1)
    attachments: list[list[Attachment]] = [[] for _ in block.transaction_ids]
    together = sum(1 for _ in fresh().verify(block, attachments))

    monkeypatch.setattr(application_module, "STEP_BYTES", 1)
    apart = sum(1 for _ in fresh().verify(block, attachments))

    assert apart == together + TRANSACTIONS


def test_admission_asks_the_state_again_once_the_head_has_moved(chain: NodeApplication) -> None:
    """Signatures are verified in between, and a block may have become final meanwhile."""
    application = fresh()
    admission = Admission(application.machine, application.pool)
    block = chain.reader.block(1)
    used, following = (hope_of(admission, application, seq) for seq in (0, TRANSACTIONS))

    finish(application.execute(block))
    application.commit([block], proof_of(chain, 1))

    with pytest.raises(Rejected, match="pool/SeqUsed"):
        admission.add(used, None)
    admission.add(following, None)
    assert application.pool.mempool.has_ready(START_MS)


def hope_of(admission: Admission, application: NodeApplication, seq: int) -> Hope:
    """Return a transfer that may enter the pool as the state is now."""
    wallet = Wallet(SENDER, application.machine.genesis_hash)
    draft = Draft(messages=[Send(bytes(21), b"", encode_amount(3))])
    raw = wallet.sign(draft, seq=seq, tip=1, base_fee=10**7).envelope
    return admission.require_hope(admission.inspect(ENVELOPE.decode(raw), len(raw)), raw, None)


def test_signatures_verified_with_a_block_are_forgotten_with_it(chain: NodeApplication) -> None:
    application = fresh()
    block = chain.reader.block(1)
    verified(application, block)

    application.discard(block.id)

    assert not any(map(application.is_signed, block.transaction_ids))


def test_blocks_made_final_together_are_adopted_and_their_state_can_be_proved(
    chain: NodeApplication,
) -> None:
    """The last of them is written alone: a head is proved against the store just before it."""
    application = fresh()
    blocks = [chain.reader.block(height) for height in (1, 2, 3)]
    for block in blocks:
        finish(application.execute(block))
    chain_of_three = FinalityProof(
        proof_of(chain, 3).finalization, [block.header for block in reversed(blocks)]
    )

    asyncio.run(application.finalise(blocks, chain_of_three))

    assert application.machine.head == chain.machine.head
    key, value = next(iter(application.machine.state_pairs()))
    assert application.machine.prove_before_head(key)[0] == value


def test_a_transaction_that_leaves_while_a_block_is_built_is_left_out() -> None:
    """Admission goes on between the steps of a build; a better payer may take a slot there."""
    application = fresh()
    for lane in range(STEP_TRANSACTIONS):
        give(application, lane, 0)
    give(application, 0, 1)
    placement = Placement(
        epoch=0, view=1, height=1, kind=KIND_BLOCK, parent_view=0,
        parent_id=application.machine.genesis_hash, parent_certificate=None,
        time_ms=START_MS + 1_000, proposer_index=0,
    )  # fmt: skip
    job = application.build(placement, empty=False)
    next(job)

    give(application, 0, 1, tip=10**6)

    assert len(finish(job).block.transaction_ids) == STEP_TRANSACTIONS


def test_the_pool_knows_the_base_fee_of_a_new_head_in_the_same_millisecond(
    chain: NodeApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = fresh()
    machine, pool = application.machine, application.pool
    monkeypatch.setattr(machine, "base_fee_at", lambda time_ms: 100 + machine.head.height)
    assert pool.base_fee() == 100

    block = chain.reader.block(1)
    finish(application.execute(block))
    application.commit([block], proof_of(chain, 1))

    assert pool.base_fee() == 101
