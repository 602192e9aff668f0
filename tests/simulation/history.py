"""The final chain of a run: what honest nodes committed, and what the votes prove to be final.

Both are kept, because a fork shows in the votes before anybody commits it, and a wrong commit
need not show in the votes.
"""

from __future__ import annotations

from chain.block import Block
from chain.finality import FinalityProof
from chain.header import KIND_BLOCK, Header

from .block_tree import BlockTree
from .honest_node import HonestNode
from .violation import Violation, short


class History:
    """One chain by height, and the state roots it gave."""

    def __init__(self, genesis_hash: bytes, tree: BlockTree) -> None:
        self._genesis_hash = genesis_hash
        self._tree = tree
        self.chain: list[bytes] = []
        """Ids of the committed blocks; the one of height h stands at h − 1."""
        self.vouched: set[bytes] = set()
        """Blocks that an honest application accepted or an honest leader built."""
        self.proofs: dict[int, FinalityProof] = {}
        """By height of the target, the first proof of it that passed."""
        self._roots: dict[bytes, tuple[bytes, int]] = {}
        """State root after a block, and the node that computed it first."""
        self._proved: dict[int, bytes] = {}
        """By height, the block that a quorum of FINALIZE votes makes final."""
        self._walked: set[bytes] = set()
        self._unresolved: set[bytes] = set()
        """Blocks that votes make final and whose headers nobody has shown yet."""

    # What the votes say

    def prove(self, block_id: bytes) -> None:
        """Follow a finalization that votes allow down to what was proved; raise ``Q1`` on a fork.

        Each block is passed once.
        """
        while block_id not in self._walked and block_id != self._genesis_hash:
            header = self._tree.headers.get(block_id)
            if header is None:
                self._unresolved.add(block_id)
                return
            self._walked.add(block_id)
            if header.kind == KIND_BLOCK:
                other = self._proved.setdefault(header.height, block_id)
                if other != block_id:
                    raise Violation(
                        "Q1",
                        f"votes make both {short(other)} and {short(block_id)} final at height "
                        f"{header.height}",
                    )
            block_id = header.parent_id

    def require_proved(self) -> None:
        """Raise ``Q17`` unless the votes make exactly the committed blocks final, so far."""
        unresolved, self._unresolved = self._unresolved, set()
        for block_id in unresolved:
            self.prove(block_id)
        for height, block_id in enumerate(self.chain, 1):
            proved = self._proved.get(height)
            if proved != block_id:
                raise Violation(
                    "Q17",
                    f"{short(block_id)} was committed at height {height}, the votes make "
                    f"{short(proved)} final there",
                )

    # What nodes say

    def execute(self, node: int, block_id: bytes, state_root: bytes) -> None:
        """Note a state root; raise ``Q11`` if another node got another one after this block."""
        root, first = self._roots.setdefault(block_id, (state_root, node))
        if root != state_root:
            raise Violation(
                "Q11",
                f"after {short(block_id)} node {node} has state root {short(state_root)}, node "
                f"{first} has {short(root)}",
            )

    def commit(self, node: HonestNode, block: Block) -> None:
        """Add a block that a node committed; raise if it cannot be the next one."""
        header, height = block.header, block.header.height
        place = f"node {node.index}, view {header.view}: {short(block.id)} of height {height}"
        self._require_next(node, block, place)
        length = self._tree.epoch_length
        if header.epoch != (height - 1) // length:
            raise Violation("C11", f"{place} was committed in epoch {header.epoch}")
        if block.id not in self.vouched:
            raise Violation("Q10", f"{place} was committed, no honest application accepted it")
        if header.time_ms <= self._tree.parent_time_ms(header):
            raise Violation("Q16", f"{place} is not later than its parent")
        self._require_root(header, place)
        if height > len(self.chain):
            self.chain.append(block.id)
            if height % length == 0:
                self._tree.close_epoch(header, block.id)
        node.commit(height)

    def require_committed(self, node: HonestNode, height: int, block_id: bytes) -> None:
        """Raise ``J3`` unless what a node's journal says of its store is so."""
        if not 1 <= height <= node.height or self.chain[height - 1] != block_id:
            raise Violation(
                "J3",
                f"node {node.index} journals {short(block_id)} as committed at height {height}, "
                f"it committed up to {node.height}",
            )

    def _require_next(self, node: HonestNode, block: Block, place: str) -> None:
        header, height = block.header, block.header.height
        if header.kind != KIND_BLOCK:
            raise Violation("B8", f"{place} is a filler and was committed")
        if height != node.height + 1:
            raise Violation("Q2", f"{place} was committed after height {node.height}")
        parent = self.chain[height - 2] if height > 1 else self._genesis_hash
        if header.parent_id != parent:
            raise Violation(
                "Q2", f"{place} has parent {short(header.parent_id)}, not {short(parent)}"
            )
        if height <= len(self.chain) and self.chain[height - 1] != block.id:
            raise Violation("Q1", f"{place}, others have {short(self.chain[height - 1])}")

    def _require_root(self, header: Header, place: str) -> None:
        """Raise ``Q11`` unless the block names the state its parent really gave (B7)."""
        known = self._roots.get(header.parent_id)
        if known is not None and known[0] != header.parent_state_root:
            raise Violation(
                "Q11",
                f"{place} names state root {short(header.parent_state_root)} after its parent, "
                f"node {known[1]} has {short(known[0])}",
            )
