"""Blocks on their way to finality: being filled by a leader, being checked and executed (B4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chain.block import Block
from chain.codec import encode
from chain.errors import Rejected
from chain.finality import FinalityProof

from . import layout
from .authorise import authorise
from .executor import Environment, Executed, Executor
from .headers import Tip
from .overlay import Overlay
from .registry import Transaction
from .tree import TreeDiff
from .view import Pair


@dataclass(slots=True)
class Candidate:
    """An un-finalised block and how far this node has taken it."""

    block: Block
    transactions: list[Transaction]
    environment: Environment
    overlay: Overlay
    executed: Executed | None = None
    diff: TreeDiff | None = None
    tip: Tip | None = None

    def history_rows(self, proof: FinalityProof) -> Iterator[Pair]:
        """Yield what is kept of the block once it is executed and final."""
        assert self.executed is not None, "executed"
        header = self.block.header
        stored = layout.StoredBlock(encode(header), encode(self.block.body))
        yield layout.height_key(layout.BLOCK, header.height), encode(stored)
        yield layout.height_key(layout.PROOF, header.height), encode(proof)
        receipts = layout.StoredReceipts(self.executed.receipts)
        yield layout.height_key(layout.RECEIPTS, header.height), encode(receipts)
        yield layout.HEIGHT_OF + self.block.id, header.height.to_bytes(8, "big")


class Selection:
    """Transactions chosen for a block, each authorised after those before it (B4)."""

    def __init__(self, executor: Executor, overlay: Overlay, environment: Environment) -> None:
        self._block = executor.open_block(overlay, environment)
        self.overlay = overlay
        self.environment = environment
        self.chosen: list[Transaction] = []

    def take(self, tx: Transaction) -> None:
        """Add a transaction; raises ``Rejected`` and leaves it out if it cannot stand here."""
        try:
            authorise(self._block, tx)
        except Rejected:
            self.overlay.rollback()
            raise
        self.overlay.commit()
        self.chosen.append(tx)
