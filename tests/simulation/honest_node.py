"""What the oracle knows about one honest node: its journal, its promises, how far it is.

The journal is a queue of records of which a prefix is durable. A vote promises from the moment
it is written; a crash takes back what was not durable, because it never left.
"""

from __future__ import annotations

from collections import deque

from chain.hashing import EMPTY_ROOT
from chain.header import Header
from chain.vote import Vote
from consensus.journal import BlockRecord, CertificateRecord, JournalRecord, VoteRecord

from .block_tree import BlockTree
from .ledger_of_votes import FINALIZE, NOTARIZE, NULLIFY
from .violation import Violation, short

KIND_NAMES = {NOTARIZE: "NOTARIZE", NULLIFY: "NULLIFY", FINALIZE: "FINALIZE"}
EXCLUDED_BY = {NOTARIZE: NULLIFY, NULLIFY: FINALIZE, FINALIZE: NULLIFY}
"""Which earlier promise of the same view forbids a vote (C8)."""

DEPTH_MAX = 8
"""So far above the newest final block a block may still carry something (C12)."""

PromiseKey = tuple[int, int, int]
"""Epoch, view, kind: what an honest key signs at most once."""


class HonestNode:
    """The books about one honest node."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.height = 0
        """Height of the newest block it committed."""
        self.final_view = (0, 0)
        """Epoch and view of the newest finalization it committed with."""
        self.is_fetching = False
        """Whether it commits ranges that its core is told of only at their end (C18)."""
        self.final_height = 0
        """Height of the newest block it knows to be final: committed, or its finalization
        journalled. A commit may take a while, the knowledge counts at once."""
        self.verified: set[bytes] = set()
        """Blocks its application accepted."""
        self.durable: dict[PromiseKey, Vote] = {}
        self._promised: dict[PromiseKey, Vote] = {}
        self._pending: deque[tuple[JournalRecord, bytes | None, int]] = deque()
        """Records not durable yet, each with the block it is about and that block's height."""
        self._bodies: set[bytes] = set()
        """Blocks whose bodies are durable in the journal."""
        self._finals: dict[bytes, bool] = {}
        """Blocks with a journalled finalization, and whether that record is durable."""
        self._durable_final_height = 0
        self._recoverable: set[bytes] = set()
        """Blocks found to be durable with all their un-finalised ancestors."""

    # The journal

    def require_free(self, vote: Vote) -> None:
        """Raise ``Q3`` or ``Q4`` if an earlier promise forbids this vote (C8)."""
        key = (vote.epoch, vote.view, vote.kind)
        earlier = self._promised.get(key)
        if earlier is not None:
            if earlier.block_id != vote.block_id:
                raise Violation(
                    "Q3",
                    f"node {self.index}, view {vote.view}: {KIND_NAMES[vote.kind]} for "
                    f"{short(vote.block_id)} after {short(earlier.block_id)}",
                )
            return
        excluding = EXCLUDED_BY[vote.kind]
        if (vote.epoch, vote.view, excluding) in self._promised:
            raise Violation(
                "Q4",
                f"node {self.index}, view {vote.view}: {KIND_NAMES[vote.kind]} after "
                f"{KIND_NAMES[excluding]}",
            )

    def append(self, record: JournalRecord, block_id: bytes | None, height: int) -> None:
        """Take a record that is not durable yet; block and height for blocks, finalizations."""
        self._pending.append((record, block_id, height))
        if type(record) is VoteRecord:
            vote = record.vote
            self._promised.setdefault((vote.epoch, vote.view, vote.kind), vote)
        elif type(record) is CertificateRecord and block_id is not None:
            self._finals.setdefault(block_id, False)
            self.final_height = max(self.final_height, height)

    def sync(self, record: JournalRecord) -> Vote | None:
        """Note the oldest pending record as durable; return its vote, if it is one."""
        if not self._pending:
            raise ValueError(f"node {self.index} syncs a record that it never wrote: {record}")
        oldest, block_id, height = self._pending.popleft()
        if oldest is not record and oldest != record:
            raise ValueError(f"node {self.index} syncs out of order: {record} before {oldest}")
        if type(oldest) is VoteRecord:
            vote = oldest.vote
            self.durable.setdefault((vote.epoch, vote.view, vote.kind), vote)
            return vote
        if block_id is not None:
            if type(oldest) is BlockRecord:
                self._bodies.add(block_id)
            else:
                self._finals[block_id] = True
                self._durable_final_height = max(self._durable_final_height, height)
        return None

    def crash(self, *, journal_lost: bool, height: int | None) -> None:
        """Forget what was not durable; promises that were stay, even if the disk is gone."""
        for record, block_id, _ in self._pending:
            if type(record) is VoteRecord:
                vote = record.vote
                key = (vote.epoch, vote.view, vote.kind)
                if key not in self.durable:
                    self._promised.pop(key, None)
            elif block_id is not None and self._finals.get(block_id) is False:
                # Not durable by an earlier record either.
                del self._finals[block_id]
        self._pending.clear()
        self.is_fetching = False
        if height is not None:
            self.height = height
        if journal_lost:
            self._bodies.clear()
            self._finals.clear()
            self._recoverable.clear()
            self._durable_final_height = 0
        self.final_height = max(self.height, self._durable_final_height)

    def commit(self, height: int) -> None:
        """Note a block as committed."""
        self.height = height
        self.final_height = max(self.final_height, height)

    def require_depth(self, header: Header) -> None:
        """Raise ``C12`` if the node supports a full block too far above what it knows final."""
        if header.height <= self.final_height + DEPTH_MAX:
            return
        if header.tx_root != EMPTY_ROOT or header.evidence_root != EMPTY_ROOT:
            raise Violation(
                "C12",
                f"node {self.index}, view {header.view}: a block of height {header.height} that "
                f"carries something, above final height {self.final_height}",
            )

    # Durable before sent

    def require_durable(self, vote: Vote) -> None:
        """Raise ``Q12`` unless this vote of the node is durable in its journal."""
        durable = self.durable.get((vote.epoch, vote.view, vote.kind))
        if durable is vote or durable == vote:
            return
        raise Violation(
            "Q12",
            f"node {self.index}, view {vote.view}: {KIND_NAMES[vote.kind]} for "
            f"{short(vote.block_id)} left before it was durable",
        )

    def require_bodies(self, block_id: bytes, tree: BlockTree, committed: list[bytes]) -> None:
        """Raise ``Q12`` unless the body of a block it votes to finalise is durable (C4).

        So must be those of all its ancestors down to one that the node knows to be final.
        ``committed`` are the ids of the final chain by height.
        """
        walked = []
        ancestor = block_id
        while ancestor not in self._recoverable:
            if ancestor not in self._bodies:
                raise Violation(
                    "Q12",
                    f"node {self.index}: FINALIZE for {short(block_id)} left before the body of "
                    f"{short(ancestor)} was durable",
                )
            walked.append(ancestor)
            ancestor = tree.headers[ancestor].parent_id
            if ancestor in self._finals or self._has_committed(ancestor, tree, committed):
                break
        self._recoverable.update(walked)

    def _has_committed(self, block_id: bytes, tree: BlockTree, committed: list[bytes]) -> bool:
        header = tree.headers.get(block_id)
        if header is None:
            return True  # the genesis block, which has no header
        return header.height <= self.height and committed[header.height - 1] == block_id
