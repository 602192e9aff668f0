"""The state machine behind consensus and the pool: builds, verifies, executes, commits blocks.

This is where transactions, blobs and signatures meet blocks. What it knows of consensus is the
``Application`` protocol it fills in; what it knows of rules is ``state``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from chain.application import Built, Job, Placement, finish, placement_of
from chain.block import Block
from chain.committee import EPOCH_ZERO_ID, Member, leader_seed
from chain.errors import Rejected
from chain.finality import FinalityProof
from chain.header import KIND_FILLER, epoch_of
from chain.transaction import ENVELOPE, Attachment, check_attachments
from consensus.assembly import Assembly, ExecutionRate
from consensus.events import EpochStart, Head
from consensus.waiting import Lane
from state.candidate import Candidate
from state.executor import Executed
from state.machine import StateMachine
from state.queries import ChainReader
from state.registry import Transaction
from state.store import Batch

from .clock import Clock
from .pool import NodePool
from .signatures import SignatureWorkers, items_of
from .steps import run_steps

STEP_TRANSACTIONS = 64
"""Transactions looked at between two yields: about 2 ms, or one chunk of signatures."""
STEP_BYTES = 131_072
"""Bytes of transactions read between two yields: 3 ms of long lists."""

INSPECTED_MAX = 16_384
"""As many as one block may have."""
T = TypeVar("T")

Finalised = Callable[[Block, list[Transaction], Executed], None]


class NodeApplication:
    """One node's application; fills in ``chain.application.Application``."""

    def __init__(
        self,
        machine: StateMachine,
        workers: SignatureWorkers,
        clock: Clock,
        pool: NodePool,
    ) -> None:
        self.machine = machine
        self.reader = ChainReader(machine, clock.wall_ms)
        self.pool = pool
        self.listeners: list[Finalised] = []
        """Called, in order, with every block that becomes final here."""
        self._workers = workers
        self._clock = clock
        self._rate = ExecutionRate(machine.params)
        self._inspected: dict[bytes, Transaction] = {}
        """Transactions of blocks on their way, well formed; their signatures are not verified."""
        self._attachments: dict[bytes, list[list[Attachment]]] = {}
        self._signed: dict[bytes, set[bytes]] = {}
        """By block on its way: its transactions that came with it, their signatures verified."""
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        self._head_moves = asyncio.Lock()
        # Held from the first byte of a final block's batch until the machine has adopted it.

    def close(self) -> None:
        """Wait until a write under way is done; the database may be closed after that."""
        self._disk.shutdown(wait=True)

    # --- building -----------------------------------------------------------------------------

    def build(self, placement: Placement, *, empty: bool) -> Job[Built]:
        """Make a block at a place of this node's turn (B4, C16)."""
        if placement.kind == KIND_FILLER:
            return Built(self.machine.make_filler(placement), [])
        selection = self.machine.selection(placement.parent_id, placement.time_ms)
        attachments: list[list[Attachment]] = []
        if not empty:
            assembly = Assembly(
                self.pool.mempool,
                following=self._following(placement.parent_id),
                time_ms=placement.time_ms,
                units_max=self._rate.units_max(),
                bytes_max=self.machine.params.block_bytes_max,
            )
            while (offer := assembly.next()) is not None:
                tx = self.pool.transactions.get(offer.id)
                if tx is None:
                    continue  # It has left the pool since the last step.
                try:
                    selection.take(tx)
                except Rejected:
                    continue
                assembly.included(offer)
                given = ENVELOPE.decode_own(offer.raw).attachments if tx.blobs else []
                attachments.append(given)
                if len(attachments) % STEP_TRANSACTIONS == 0:
                    yield
        block = self.machine.propose(placement, selection)
        self._attachments[block.id] = attachments
        return Built(block, attachments)

    def _following(self, parent_id: bytes) -> dict[Lane, int]:
        """Return the next sequence numbers of lanes that un-finalised ancestors used."""
        following: dict[Lane, int] = {}
        candidate = self.machine.candidate(parent_id)
        while candidate is not None:
            for tx in candidate.transactions:
                lane = (tx.body.sender, tx.body.lane)
                following[lane] = max(following.get(lane, 0), tx.body.seq + 1)
            candidate = self.machine.candidate(candidate.block.header.parent_id)
        return following

    # --- checking and executing ---------------------------------------------------------------

    def expect(self, tx: Transaction) -> None:
        """Keep a well-formed transaction of a block on its way, so that it is read only once."""
        if len(self._inspected) >= INSPECTED_MAX:
            self._inspected.clear()
        self._inspected[tx.id] = tx

    def verify(self, block: Block, attachments: list[list[Attachment]]) -> Job[None]:
        """Check structure, signatures, attachments and authorise (B4–B7); raises ``Rejected``."""
        transactions = yield from self._read(block)
        if block.header.kind != KIND_FILLER:
            if len(attachments) != len(transactions):
                raise Rejected("block/Attachments", "attachments are missing for a transaction")
            for tx, given in zip(transactions, attachments, strict=True):
                check_attachments(tx.blobs, given)
        yield from self._accept(block, transactions)
        self._attachments[block.id] = attachments

    def execute(self, block: Block) -> Job[None]:
        """Verify if that was not done, run the block, keep its overlay (B5)."""
        if self.machine.is_executed(block.id):
            return
        if self.machine.candidate(block.id) is None:
            transactions = yield from self._read(block)
            yield from self._accept(block, transactions)
        started_ms = self._clock.now_ms()
        yield from self.machine.execute(block.id)
        elapsed_ms = self._clock.now_ms() - started_ms
        self._rate.executed(block.header.units_limit_used, elapsed_ms)

    def _read(self, block: Block) -> Job[list[Transaction]]:
        """Return a block's transactions; signatures not known to fit are verified (T2)."""
        transactions: list[Transaction] = []
        unknown: list[Transaction] = []
        count = size = 0
        for tx_id, signed in zip(block.transaction_ids, block.body.transactions, strict=True):
            inspected = self._inspected.pop(tx_id, None)
            tx = self.pool.transactions.get(tx_id)
            if tx is None:
                tx = inspected or self.machine.read_transaction(signed, tx_id)
                unknown.append(tx)
            transactions.append(tx)
            count, size = count + 1, size + len(signed.body)
            if count >= STEP_TRANSACTIONS or size >= STEP_BYTES:
                count = size = 0
                yield
        for start in range(0, len(unknown), STEP_TRANSACTIONS):
            batch = unknown[start : start + STEP_TRANSACTIONS]
            waiting = self._workers.submit([item for tx in batch for item in items_of(tx)])
            yield
            while not waiting.done():
                yield
            _require_all(waiting)
        self._signed[block.id] = {tx.id for tx in unknown}
        return transactions

    def is_signed(self, tx_id: bytes) -> bool:
        """Tell whether a transaction came with a block on its way and its signatures fit."""
        return any(tx_id in ids for ids in self._signed.values())

    def _accept(self, block: Block, transactions: list[Transaction]) -> Job[None]:
        if block.header.kind == KIND_FILLER:
            self.machine.accept_filler(block, self.machine.make_filler(placement_of(block)))
        else:
            yield from self.machine.authorise(block, transactions)

    def holds(self, block_id: bytes) -> bool:
        """Tell whether an un-finalised block was built or verified here and may still be final."""
        return self.machine.candidate(block_id) is not None

    def discard(self, block_id: bytes) -> None:
        """Forget an un-finalised block."""
        self.machine.discard(block_id)
        self._attachments.pop(block_id, None)
        self._signed.pop(block_id, None)

    # --- finality -----------------------------------------------------------------------------

    def commit(self, blocks: list[Block], proof: FinalityProof) -> None:
        """Make finalised, executed blocks durable and adopt them, at once; a node ``finalise``s."""
        for block, its_proof in _with_proofs(blocks, proof):
            candidate = self._candidate(block)
            self.machine.write(finish(self._batch(candidate, its_proof)))
            executed = finish(self.machine.adopt(block.id))
            self._adopted(block, candidate.transactions, executed)

    async def maintain(self, work: Callable[[StateMachine], T]) -> T:
        """Run work on the database in its thread; no block becomes final here meanwhile.

        The loop goes on: it votes and answers, with indexes as ``work`` has left them so far.
        """
        loop = asyncio.get_running_loop()
        async with self._head_moves:
            return await loop.run_in_executor(self._disk, work, self.machine)

    async def finalise(self, blocks: list[Block], proof: FinalityProof) -> EpochStart | None:
        """The same without holding up the loop; returns the next epoch if one begins (C11).

        One sync for all but the last block, which is written alone: then its state can be proved.
        """
        pairs = _with_proofs(blocks, proof)
        for group in (pairs[:-1], pairs[-1:]):
            if group:
                await self._finalise(group)
        last = blocks[-1].header
        if last.height % self.machine.params.epoch_length == 0:
            return self.epoch_start(last.epoch + 1)
        return None

    async def _finalise(self, pairs: list[tuple[Block, FinalityProof]]) -> None:
        async with self._head_moves:
            batch = await run_steps(self._batch(self._candidate(pairs[0][0]), pairs[0][1]))
            for block, its_proof in pairs[1:]:
                batch = await run_steps(self._batch(self._candidate(block), its_proof, batch))
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._disk, self.machine.write, batch)
            for block, _ in pairs:
                transactions = self._candidate(block).transactions
                executed = await run_steps(self.machine.adopt(block.id))
                self._adopted(block, transactions, executed)

    def _candidate(self, block: Block) -> Candidate:
        candidate = self.machine.candidate(block.id)
        assert candidate is not None, "a final block was executed before"
        return candidate

    def _batch(
        self, candidate: Candidate, proof: FinalityProof, behind: Batch | None = None
    ) -> Job[Batch]:
        attachments = self._attachments.get(candidate.block.id, [])
        blobs = [
            (blob.hash, attachment.salt + attachment.data)
            for tx, given in zip(candidate.transactions, attachments, strict=False)
            if tx.blobs
            for blob, attachment in zip(dict.fromkeys(tx.blobs), given, strict=True)
        ]
        return self.machine.commit_batch(candidate.block.id, proof, blobs, behind=behind)

    def _adopted(self, block: Block, transactions: list[Transaction], executed: Executed) -> None:
        for passed in [each for each in self._attachments if not self.holds(each)]:
            del self._attachments[passed]
        for passed in [each for each in self._signed if not self.holds(each)]:
            del self._signed[passed]
        self.pool.committed(block, transactions)
        for listener in self.listeners:
            listener(block, transactions, executed)

    def next_committee(self, block_id: bytes) -> list[Member]:
        """Return the committee of the next epoch: genesis's, until staking is active (C11)."""
        return list(self.machine.committee.members)

    # --- starting -----------------------------------------------------------------------------

    def epoch_start(self, epoch: int) -> EpochStart:
        """Return where an epoch begins; its base block is final (C11)."""
        machine = self.machine
        base_height = epoch * machine.params.epoch_length
        if epoch == 0:
            return EpochStart(
                epoch=0,
                committee=machine.committee,
                base_id=machine.genesis_hash,
                base_height=0,
                base_time_ms=machine.genesis.time_ms,
                seed=leader_seed(machine.genesis_hash, 0, EPOCH_ZERO_ID),
            )
        base = self.reader.block(base_height)
        return EpochStart(
            epoch=epoch,
            committee=machine.committee,
            base_id=base.id,
            base_height=base_height,
            base_time_ms=base.header.time_ms,
            seed=leader_seed(machine.genesis_hash, epoch, base.header.parent_id),
            base_has_transactions=bool(base.body.transactions),
        )

    def epoch_end(self, epoch: int) -> FinalityProof | None:
        """Return the finality proof of an epoch's last block, None if it is not final here."""
        height = (epoch + 1) * self.machine.params.epoch_length
        if height > self.machine.head.height:
            return None
        return self.reader.finality(height)

    def where(self) -> tuple[EpochStart, Head | None]:
        """Return the epoch and the head that consensus starts from."""
        height = self.machine.head.height
        epoch = epoch_of(height + 1, self.machine.params.epoch_length)
        start = self.epoch_start(epoch)
        if height == start.base_height:
            return start, None
        block = self.reader.block(height)
        finalization = self.reader.finality(height).finalization
        return start, Head(
            header=block.header,
            finalization=finalization,
            has_transactions=bool(block.body.transactions),
        )


def _require_all(waiting: Future[list[bool]]) -> None:
    if not all(waiting.result()):
        raise Rejected("crypto/BadSignature", "a signature does not verify under its key")


def _with_proofs(blocks: list[Block], proof: FinalityProof) -> list[tuple[Block, FinalityProof]]:
    """Return each block with its own finality proof, made from that of the last (V12)."""
    pairs = []
    headers = list(proof.headers)
    for block in reversed(blocks):
        if headers[-1] != block.header:
            headers.append(block.header)
        pairs.append((block, FinalityProof(proof.finalization, list(headers))))
    pairs.reverse()
    return pairs
