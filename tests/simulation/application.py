"""A small application under the real block format: its state is a hash of its history."""

from __future__ import annotations

from collections.abc import Sequence

from chain.application import Built as BuiltBlock
from chain.application import Derived, Placement, make_filler, make_header, placement_of
from chain.block import Block, Body, ids_of
from chain.committee import Committee
from chain.errors import Rejected
from chain.finality import FinalityProof
from chain.hashing import EMPTY_ROOT, tagged_hash
from chain.header import KIND_FILLER, ZERO_HASH, Header, last_height
from chain.params import Params
from chain.transaction import Attachment, SignedBody

GENESIS_HASH = tagged_hash("genesis", b"cluster")
GENESIS_TIME_MS = 1_000_000
PARAMS = Params(modules=[])


class Application:
    """A chain of hashes: the state after a block is the hash of the state before and its id."""

    def __init__(self, params: Params, committee: Committee) -> None:
        self.params = params
        self.committee = committee
        self._params_hash = params.hash()
        self._verified: set[bytes] = set()
        self.states = {GENESIS_HASH: tagged_hash("state-value", b"genesis")}
        self.blocks: list[Block] = []
        self.headers: dict[bytes, Header] = {}
        self.proofs: dict[int, FinalityProof] = {}
        self.pool: list[SignedBody] = []
        self.endless = False
        """Whether there is always a transaction to take."""
        self.faulty: set[bytes] = set()
        """Blocks whose execution meets a bug here."""

    def build(self, placement: Placement, *, empty: bool) -> BuiltBlock:
        if placement.kind == KIND_FILLER:
            below = self.headers[placement.parent_id]
            return BuiltBlock(self._filler(placement, below), [])
        transactions = [] if empty else self.pool[:10]
        if self.endless and not empty:
            transactions = [SignedBody(placement.view.to_bytes(8, "big"), [])]
        body = Body(placement.parent_certificate, transactions, [])
        ids = ids_of(body)
        header = make_header(GENESIS_HASH, placement, self._derive(placement, body), body, ids)
        return BuiltBlock(Block.made(header, body, ids), [[] for _ in transactions])

    def verify(self, block: Block, attachments: Sequence[Sequence[Attachment]] = ()) -> None:
        """Check everything about a block that follows from its parent; raises ``Rejected``."""
        placement = placement_of(block)
        if placement.kind == KIND_FILLER:
            expected = self._filler(placement, self.headers[placement.parent_id]).header
        else:
            derived = self._derive(placement, block.body)
            ids = block.transaction_ids
            expected = make_header(GENESIS_HASH, placement, derived, block.body, ids)
        if expected != block.header:
            raise Rejected("block/Derived", "a derived field differs")
        self._verified.add(block.id)

    def execute(self, block: Block) -> None:
        if block.id not in self._verified:
            self.verify(block)
        self.headers[block.id] = block.header
        before = self.states[block.header.parent_id]
        after = before if block.header.kind else tagged_hash("state-value", before + block.id)
        self.states[block.id] = after

    def is_executed(self, block_id: bytes) -> bool:
        """Tell whether the state after a block is here."""
        return block_id in self.states

    def root_after(self, block_id: bytes) -> bytes:
        """Return the state root after an executed block."""
        return self.states[block_id]

    def commit(self, blocks: Sequence[Block], proof: FinalityProof) -> None:
        """Make executed blocks final; what stands beside them is not needed any more."""
        for block in blocks:
            parent_id = self.blocks[-1].id if self.blocks else GENESIS_HASH
            assert block.header.parent_id == parent_id
            assert block.header.height == len(self.blocks) + 1
            self.blocks.append(block)
            if self.pool:
                included = {tx.body for tx in block.body.transactions}
                self.pool = [tx for tx in self.pool if tx.body not in included]
        self.proofs[blocks[-1].header.height] = proof

    def submit(self, raw: bytes) -> None:
        """Put a transaction into the pool."""
        self.pool.append(SignedBody(raw, []))

    @property
    def has_transactions(self) -> bool:
        """Whether the next block would have something to carry."""
        return self.endless or bool(self.pool)

    def crash(self) -> None:
        """Forget what is not final."""
        self._verified.clear()
        self.headers = {block.id: block.header for block in self.blocks}
        kept = {GENESIS_HASH, *self.headers}
        self.states = {key: self.states[key] for key in kept}

    def _filler(self, placement: Placement, below: Header) -> Block:
        state = self.states[placement.parent_id]
        return make_filler(GENESIS_HASH, placement, below, state, EMPTY_ROOT)

    def _derive(self, placement: Placement, body: Body) -> Derived:
        ends = placement.height == last_height(placement.epoch, self.params.epoch_length)
        return Derived(
            base_fee=1,
            units_limit_used=len(body.transactions),
            parent_state_root=self.states[placement.parent_id],
            parent_receipts_root=EMPTY_ROOT,
            params_hash=self._params_hash,
            next_committee_hash=self.committee.hash if ends else ZERO_HASH,
        )
