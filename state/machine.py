"""The state machine: blocks in, states out (docs/architecture.md, protocol.md B4–B9, A1).

It holds the finalised state on disk, its tree in memory, and above it the chain of executed but
un-finalised blocks. It knows nothing of votes. A block passes through it in four steps:
``authorise`` (may it be voted for), ``execute`` (what does it do), ``commit_batch`` and ``write``
(it is final), ``adopt`` (it is the head).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice

from chain.application import Derived, Job, Placement, Standing, make_filler, make_header
from chain.block import Block, Body
from chain.certificate import Evidence
from chain.codec import encode
from chain.committee import Committee, genesis_committee
from chain.errors import Corruption, Misuse, Rejected
from chain.finality import FinalityProof
from chain.genesis import Genesis
from chain.header import HEADER, Header
from chain.ids import NCOLO
from chain.state_proof import StateProof
from chain.transaction import Envelope, SignedBody

from . import layout
from .candidate import Candidate, Selection
from .executor import Environment, Executed, Executor
from .finalised import FinalisedState
from .headers import Tip, base_fee_above, derive, require_derived
from .indexes import block_rows
from .modules.account import ACCOUNTS, Account, balance_of, next_seq
from .opening import head_row, open_database
from .overlay import Overlay, Writes
from .registry import Registry, Transaction
from .store import Batch, KeyValueStore
from .tree import Tree, TreeDiff, prove, update, update_in_slices
from .view import View

STEP_ROWS = 1_000
"""Rows put into a batch between two yields: 1-2 ms."""

DEPTH_MAX = 64
"""Un-finalised blocks held; leaders stop filling blocks at 8, so this is never met in order."""


class StateMachine:
    """One node's application state; single owner, no concurrency inside."""

    def __init__(self, store: KeyValueStore, genesis: Genesis, registry: Registry) -> None:
        """Open the state in ``store``, writing the genesis state if it is new (G4).

        Raises ``Rejected`` (another genesis, a later schema) or ``Corruption``.
        """
        self.genesis = genesis
        self.genesis_hash = genesis.hash()
        self.params = genesis.params
        self.registry = registry
        self.committee: Committee = genesis_committee(genesis)
        self._committee_hash = self.committee.hash
        self.store = store
        self.executor = Executor(registry)
        self._candidates: dict[bytes, Candidate] = {}
        self._last_diff: TreeDiff | None = None
        # The tree stays one block behind the head: proofs are about the state that the head's
        # header names. ``_before_head`` is the store as it was then.
        self._before_head: View | None = None
        self._before_write: View | None = None
        # The store at the head, from a batch's making until its first block is adopted.
        self._in_batch: list[bytes] = []
        # Blocks of the batch made last, ascending.
        self.head = open_database(store, genesis, self.executor)
        self._newest = self.head.block_id
        # The block that the store is after, once something of its batch is adopted.
        self._state = FinalisedState(store)
        self._tree = Tree.build(self._state.load())
        if self._tree.root != self.head.state_root:
            raise Corruption(
                f"the stored state has root {self._tree.root.hex()}, the head names "
                f"{self.head.state_root.hex()}; run `colophon node check`"
            )
        self._state.advance(self._tree, {})

    # --- reading ------------------------------------------------------------------------------

    def state_pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key and value under the root, in key order."""
        return self._state.pairs()

    def read_transaction(
        self, signed: SignedBody | Envelope, tx_id: bytes | None = None
    ) -> Transaction:
        """Return a transaction that passes every check its bytes allow; raises ``Rejected``.

        ``tx_id`` is its id, if the caller has made it from these bytes already.
        """
        return self.registry.read(
            signed.body, signed.signatures, self.genesis_hash, self.params, tx_id=tx_id
        )

    def next_seq(self, sender: bytes, lane: int) -> int:
        """Return the next sequence number of a lane in the finalised state."""
        account = ACCOUNTS.get(self._state, sender)
        return next_seq(self._state, account, sender, lane)

    def standing(self, account: Account | None, sender: bytes, lane: int, payer: bytes) -> Standing:
        """Return where a lane of ``sender`` stands, and what ``payer`` has for fees.

        ``account`` is the sender's row in the finalised state.
        """
        following = next_seq(self._state, account, sender, lane)
        if payer != sender:
            return Standing(following, self.balance(payer))
        return Standing(following, 0 if account is None else int.from_bytes(account.balance, "big"))

    def balance(self, holder: bytes) -> int:
        """Return a holder's ncolo in the finalised state."""
        return balance_of(self._state, holder, NCOLO)

    def account(self, sender: bytes) -> Account | None:
        """Return the account row in the finalised state, or None."""
        return ACCOUNTS.get(self._state, sender)

    def base_fee_at(self, time_ms: int) -> int:
        """Return the base fee of a child of the head at this time (F3)."""
        return base_fee_above(self.head, self.params, max(time_ms, self.head.time_ms + 1))

    def newest(self) -> tuple[Tip, View]:
        """Return the newest final block whose state can be read as a whole, and the store then.

        At the head, but while several blocks written together are adopted one by one: then after
        the last of them. What is read stays the same, whatever becomes final meanwhile.
        """
        before = self._before_write
        if before is not None:
            return self.head, before
        return self.tip(self._newest), self.store.snapshot()

    # --- tips ---------------------------------------------------------------------------------

    def tip(self, block_id: bytes) -> Tip:
        """Return what a child needs of an executed block; ``Misuse`` if it is not executed."""
        if block_id == self.head.block_id:
            return self.head
        candidate = self._candidates.get(block_id)
        if candidate is None or candidate.tip is None:
            raise Misuse(f"block {block_id.hex()} is not executed here")
        return candidate.tip

    def is_executed(self, block_id: bytes) -> bool:
        """Tell whether children of a block can be built or checked here."""
        if block_id == self.head.block_id:
            return True
        candidate = self._candidates.get(block_id)
        return candidate is not None and candidate.tip is not None

    def candidate(self, block_id: bytes) -> Candidate | None:
        """Return an un-finalised block this machine holds."""
        return self._candidates.get(block_id)

    def derive(self, parent_id: bytes, time_ms: int, units: int) -> Derived:
        """Return what the header of a child must name (B7)."""
        return derive(self.tip(parent_id), self.params, self._committee_hash, time_ms, units)

    def overlay_above(self, parent_id: bytes) -> Overlay:
        """Return a fresh overlay whose parent state is that after ``parent_id``."""
        if parent_id == self.head.block_id:
            return Overlay(self._state.get)
        return self._candidates[parent_id].overlay.child()

    # --- building and checking ----------------------------------------------------------------

    def selection(self, parent_id: bytes, time_ms: int) -> Selection:
        """Return what a leader fills a block with, above an executed parent."""
        environment = self.environment(self.tip(parent_id), time_ms)
        return Selection(self.executor, self.overlay_above(parent_id), environment)

    def propose(self, placement: Placement, selection: Selection) -> Block:
        """Return the block of a selection; it counts as authorised here."""
        block = self.make_block(placement, selection.chosen, [])
        self._candidates[block.id] = Candidate(
            block, selection.chosen, selection.environment, selection.overlay
        )
        return block

    def make_filler(self, placement: Placement) -> Block:
        """Return the boundary filler of a place (B8): it repeats what stands below it."""
        tip = self.tip(placement.parent_id)
        header = self._header_of(placement.parent_id)
        return make_filler(self.genesis_hash, placement, header, tip.state_root, tip.receipts_root)

    def accept_filler(self, block: Block, expected: Block) -> None:
        """Take a filler as executed: it runs no rules and is never committed (B8).

        Raises ``Rejected`` if it is not the one filler of its place.
        """
        if block.id != expected.id:
            raise Rejected("block/Filler", "the filler does not repeat the epoch's last block")
        below = self.tip(block.header.parent_id)
        overlay = self.overlay_above(block.header.parent_id)
        environment = self.environment(below, block.header.time_ms)
        self._candidates[block.id] = Candidate(
            block,
            [],
            environment,
            overlay,
            Executed(overlay),
            update(self._tree_view(block.header.parent_id), {}),
            replace(below, block_id=block.id),
        )

    def _header_of(self, block_id: bytes) -> Header:
        candidate = self._candidates.get(block_id)
        if candidate is not None:
            return candidate.block.header
        raw = self.store.get(layout.height_key(layout.BLOCK, self.head.height))
        if raw is None:
            raise Misuse("a filler stands above the last block of an epoch")
        return HEADER.decode_own(layout.STORED_BLOCK.decode_own(raw).header)

    def authorise(self, block: Block, transactions: list[Transaction]) -> Job[None]:
        """Accept a block as valid above its executed parent, or raise ``Rejected`` (B4–B6, C19).

        ``transactions`` are the block's, read by ``read_transaction``, signatures verified.
        """
        header = block.header
        if block.id in self._candidates:
            return
        if len(self._candidates) >= DEPTH_MAX:
            raise Rejected("block/TooDeep", f"{DEPTH_MAX} un-finalised blocks are held")
        tip = self.tip(header.parent_id)
        if header.time_ms <= tip.time_ms:
            raise Rejected(
                "block/Time", f"time {header.time_ms} is not after the parent's {tip.time_ms}"
            )
        units = sum(tx.units for tx in transactions)
        if units > self.params.block_units_max:
            raise Rejected(
                "block/TooManyUnits", f"{units} units, at most {self.params.block_units_max}"
            )
        require_derived(header, self.derive(header.parent_id, header.time_ms, units))
        overlay = self.overlay_above(header.parent_id)
        environment = self.environment(tip, header.time_ms)
        yield from self.executor.authorise_all(overlay, environment, transactions)
        self._candidates[block.id] = Candidate(block, transactions, environment, overlay)

    def make_block(
        self, placement: Placement, transactions: list[Transaction], evidence: list[Evidence]
    ) -> Block:
        """Return the block of these transactions at a place above an executed parent."""
        signed = [SignedBody(tx.raw_body, tx.signatures) for tx in transactions]
        body = Body(placement.parent_certificate, signed, evidence)
        units = sum(tx.units for tx in transactions)
        derived = self.derive(placement.parent_id, placement.time_ms, units)
        ids = [tx.id for tx in transactions]
        header = make_header(self.genesis_hash, placement, derived, body, ids)
        return Block.made(header, body, ids)

    def environment(self, tip: Tip, time_ms: int) -> Environment:
        """Return what a block at ``time_ms`` above ``tip`` says to its execution (B7)."""
        base_fee = base_fee_above(tip, self.params, time_ms)
        return Environment(self.genesis_hash, self.params, tip.height + 1, time_ms, base_fee)

    def execute(self, block_id: bytes) -> Job[Executed]:
        """Execute an authorised block in steps of a few milliseconds (B5, C19).

        Raises ``CertifyFault`` if a rule breaks; the candidate is then gone.
        """
        candidate = self._candidates[block_id]
        if candidate.executed is not None:
            return candidate.executed
        try:
            executed = yield from self.executor.execute(
                candidate.overlay, candidate.environment, candidate.transactions
            )
            diff = yield from update_in_slices(
                self._tree_view(candidate.block.header.parent_id), candidate.overlay.writes
            )
        except BaseException:
            self._candidates.pop(block_id, None)
            raise
        header = candidate.block.header
        candidate.executed = executed
        candidate.diff = diff
        candidate.tip = Tip(
            block_id, header.height, header.time_ms, header.base_fee, header.units_limit_used,
            diff.root, executed.receipts_root,
        )  # fmt: skip
        return executed

    def _tree_view(self, parent_id: bytes) -> Tree | TreeDiff:
        if parent_id == self.head.block_id:
            return self._last_diff if self._last_diff is not None else self._tree
        diff = self._candidates[parent_id].diff
        if diff is None:
            raise Misuse("the parent is not executed")
        return diff

    # --- finality -----------------------------------------------------------------------------

    def commit_batch(
        self,
        block_id: bytes,
        proof: FinalityProof,
        blobs: Iterable[tuple[bytes, bytes]] = (),
        *,
        behind: Batch | None = None,
    ) -> Job[Batch]:
        """Make the one batch that makes an executed child of the head final.

        State, block, proof, receipts, indexes, blobs and the new head stand in it together, so
        there is never half a height on disk. ``behind`` is the batch made last, for the parent:
        then this block goes into it too, and one sync makes both durable.
        """
        candidate = self._candidates[block_id]
        executed, tip = candidate.executed, candidate.tip
        below = self.head.block_id if behind is None else self._in_batch[-1]
        if executed is None or tip is None or candidate.block.header.parent_id != below:
            raise Misuse("only an executed child of the head can be committed")
        if behind is None:
            self._in_batch, self._before_write = [], self.store.snapshot()
        self._in_batch.append(block_id)
        rows = chain(
            ((layout.STATE + key, value) for key, value in candidate.overlay.writes.items()),
            candidate.history_rows(proof),
            block_rows(
                self.registry, tip.height, tip.time_ms, candidate.transactions, executed.events,
                executed.refusals,
            ),
            ((layout.BLOB + digest, content) for digest, content in blobs),
            [(layout.META_HEAD, encode(head_row(tip)))],
        )  # fmt: skip
        batch = self.store.batch(sync=True) if behind is None else behind
        while batch.add(islice(rows, STEP_ROWS)) == STEP_ROWS:
            yield
        return batch

    def write(self, batch: Batch) -> None:
        """Write the batch made last, durably; in a thread, where it stays in C."""
        batch.write()

    def adopt(self, block_id: bytes) -> Job[Executed]:
        """Make a block whose batch is written the head; drop what can no longer be final.

        The blocks of one batch are adopted one by one, ascending.
        All of that happens before the first yield; what follows is the rest of the tree's merge
        and the filling of caches, during which both already read as after it. Run it to its end
        before the next.

        Nothing can be proved under a head that was written together with others: the store was
        never as it was just before it.
        """
        candidate = self._candidates.pop(block_id)
        executed, diff, tip = candidate.executed, candidate.diff, candidate.tip
        assert executed is not None and diff is not None and tip is not None
        merging = None
        if self._last_diff is not None:
            merging = self._tree.merge_in_slices(self._last_diff)
            next(merging, None)
        self._last_diff = diff
        self._before_head = self._before_write if len(self._in_batch) == 1 else None
        self._before_write = None
        self._newest = self._in_batch[-1]
        self.head = tip
        self._state.advance(diff, candidate.overlay.writes)
        self._drop_stale(candidate.overlay.writes)
        if merging is not None:
            yield from merging
        yield from self._state.settle()
        return executed

    def _drop_stale(self, finalised: Writes) -> None:
        """Keep only candidates above the head; their overlays now end at the store."""
        alive = {self.head.block_id}
        for block_id, candidate in sorted(
            self._candidates.items(), key=lambda item: item[1].block.header.height
        ):
            if candidate.block.header.parent_id in alive:
                alive.add(block_id)
                candidate.overlay.forget_below(finalised)
            else:
                del self._candidates[block_id]

    def discard(self, block_id: bytes) -> None:
        """Forget an un-finalised block (its view was nullified, or a rule broke on it)."""
        self._candidates.pop(block_id, None)

    def prove_before_head(self, key: bytes) -> tuple[bytes | None, StateProof]:
        """Return the value of a key after the head's parent, and its proof under that root.

        The head's header carries this root, so the pair can be shown to anyone at once.
        """
        view = self._before_head
        if self._last_diff is None or view is None:
            raise Rejected(
                "state/NotProvableYet",
                "the node has just started or erased something; ask again after a block",
            )
        return view.get(layout.STATE + key), prove(self._tree, key)

    def forget_before_head(self) -> None:
        """Let go of the store as it was before the head: what was deleted since can now vanish.

        Nothing can be proved until the next block is final.
        """
        self._before_head = self._before_write = None
