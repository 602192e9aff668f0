"""Transactions that wait for a block (protocol.md C16).

The pool knows nothing of what a transaction does: it sees the few numbers of a ``Waiting`` and
is told, or asks the application through ``PoolView``, where the finalised state has lanes, money
and the base fee. It never decides what is valid, only what is worth keeping.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from chain.application import PoolView, Standing
from chain.errors import Rejected
from chain.params import Params

from .departures import Departures
from .heads import Heads
from .waiting import Kept, Lane, Used, Waiting

SEQ_WINDOW = 64
"""A lane's pending sequence numbers lie in [next, next + 64): nobody parks more."""
SHORT_MS = 60_000
"""How long a transaction may stay with its payer short or its max_fee below the base fee."""
SWEEP_MAX = 512
"""Transactions a sweep looks at: 3 ms. A full pool is gone through in 40 sweeps."""
AGE_MS_MAX = 600_000
"""After ten minutes a transaction leaves in any case; its sender can send it again."""
COUNT_MAX = 20_000
BYTES_MAX = 64 * 1024 * 1024
"""Bounds of the pool; beyond them the worst payers leave."""
PARKED_PART = 2
"""Above a half of its bounds a pool takes nothing that has to wait for an earlier transaction: what
no block can take must never keep out what blocks could."""

FULL = "the pool is full of better paying transactions"
PARKED = "the pool is half full: a transaction may not wait for an earlier one of its lane"


@dataclass(slots=True)
class _LaneQueue:
    """Pending transactions of a lane by sequence number."""

    following: int
    """Next sequence number by the finalised state; only commits change it."""
    by_seq: dict[int, Kept] = field(default_factory=dict)


class Mempool:
    """Bounded, ordered by tip per unit, fair to lanes."""

    def __init__(
        self,
        view: PoolView,
        params: Params,
        *,
        count_max: int = COUNT_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        self._view = view
        self._floor = params.base_fee_floor
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._by_id: dict[bytes, Kept] = {}
        self._by_short_id: dict[bytes, list[bytes]] = {}
        self._lanes: dict[Lane, _LaneQueue] = {}
        self._heads = Heads()
        """The transactions with their lane's next sequence number by the finalised state."""
        self._owed: dict[bytes, int] = {}
        """Sum of pending max_fee by payer."""
        self._departures = Departures(self._by_id)
        self._unswept: list[bytes] = []
        """Ids that this round of sweeps has not looked at; the oldest stands last."""
        self._order = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, tx_id: bytes) -> bool:
        return tx_id in self._by_id

    def get(self, tx_id: bytes) -> Waiting | None:
        """Return a pending transaction."""
        kept = self._by_id.get(tx_id)
        return None if kept is None else kept.tx

    def with_short_id(self, short_id: bytes) -> list[Waiting]:
        """Return the pending transactions whose ids begin with these 8 bytes."""
        return [self._by_id[tx_id].tx for tx_id in self._by_short_id.get(short_id, ())]

    def arrived_after(self, order: int, count: int) -> list[Kept]:
        """Return the first transactions whose number of arrival is above ``order``."""
        later = (kept for kept in self._by_id.values() if kept.order > order)
        return list(islice(later, count))

    # Admission

    def require_hope(self, tx: Waiting, standing: Standing, wall_ms: int) -> None:
        """Refuse at little cost what ``add`` would refuse now; raises as ``add`` does.

        For what is not verified yet: what passes may still be refused, what is refused here need
        not be verified.
        """
        following = standing.following
        self._require_admissible(tx, following, wall_ms)
        old = self._in_slot(tx)
        if old is not None:
            self._require_better(tx, old.tx)
            return
        self._require_turn(tx, following)
        if len(self._by_id) >= self._count_max or self.bytes >= self._bytes_max:
            worst = self._departures.take_worst()
            self._departures.put_back()
            if worst is None or worst.rank >= tx.rank:
                raise Rejected("pool/Full", FULL)

    def add(self, tx: Waiting, standing: Standing, now_ms: int, wall_ms: int) -> list[bytes]:
        """Admit a transaction; return the ids that had to leave for it.

        ``standing`` is that of its lane and payer in the finalised state. Raises ``Rejected`` with
        a ``pool/…`` code; then the pool is as it was. A refusal depends on the state and is no
        fault of the peer that relayed the transaction.
        """
        following, spendable = standing
        self._require_admissible(tx, following, wall_ms)
        old = self._in_slot(tx)
        if old is not None:
            self._require_better(tx, old.tx)
        else:
            self._require_turn(tx, following)
        owed = self._owed.get(tx.payer, 0)
        if old is not None and old.tx.payer == tx.payer:
            owed -= old.tx.max_fee
        if owed + tx.max_fee > spendable:
            raise Rejected(
                "pool/PayerShort",
                f"pending fees would be {owed + tx.max_fee} ncolo, the payer has {spendable}",
                pending=owed + tx.max_fee,
                spendable=spendable,
            )
        leaving = [] if old is None else [old.tx.id]
        leaving += self._find_room(tx, old)
        for tx_id in leaving:
            self._drop(tx_id)
        self._keep(tx, following, now_ms)
        return leaving

    def _require_admissible(self, tx: Waiting, following: int, wall_ms: int) -> None:
        if tx.id in self._by_id:
            raise Rejected("pool/Known", "the transaction is pending already")
        if tx.valid_until and tx.valid_until < wall_ms:
            raise Rejected("pool/Expired", f"valid until {tx.valid_until} ms, now is {wall_ms}")
        if tx.seq < following:
            raise Rejected(
                "pool/SeqUsed",
                f"sequence number {tx.seq} in lane {tx.lane} is used, the next is {following}",
                found=tx.seq,
                expected=following,
            )
        if tx.seq >= following + SEQ_WINDOW:
            raise Rejected(
                "pool/SeqTooFar",
                f"sequence number {tx.seq} in lane {tx.lane}, the next is {following} and "
                f"{SEQ_WINDOW} may wait",
                found=tx.seq,
                expected=following,
            )
        fee = tx.fee_at(self._view.base_fee())
        if tx.max_fee < fee:
            raise Rejected(
                "pool/FeeTooLow",
                f"max_fee is {tx.max_fee} ncolo, the next block asks {fee}",
                max_fee=tx.max_fee,
                fee=fee,
            )

    def _require_turn(self, tx: Waiting, following: int) -> None:
        """Refuse what waits for a transaction that is not here in a pool more than half full."""
        is_crowded = (
            PARKED_PART * len(self._by_id) > self._count_max
            or PARKED_PART * self.bytes > self._bytes_max
        )
        if is_crowded and tx.seq > following:
            queue = self._lanes.get((tx.sender, tx.lane))
            here = {} if queue is None else queue.by_seq
            if any(seq not in here for seq in range(following, tx.seq)):
                raise Rejected("pool/Full", PARKED)

    def _require_better(self, tx: Waiting, old: Waiting) -> None:
        """Replacement: tip ≥ old·11/10 + units·floor/10^6, in exact integers."""
        wanted = 11 * 10**5 * old.tip + tx.units * self._floor
        if 10**6 * tx.tip < wanted:
            raise Rejected(
                "pool/Underpriced",
                f"a transaction waits for this sequence number; to replace it the tip must be "
                f"at least {-(-wanted // 10**6)} ncolo",
                tip=tx.tip,
                wanted=-(-wanted // 10**6),
            )

    def _find_room(self, tx: Waiting, old: Kept | None) -> list[bytes]:
        """Return the worst transactions that leave for a better one (``pool/Full`` if none)."""
        count = len(self._by_id) - (old is not None)
        size = self.bytes - (0 if old is None else old.tx.size)
        if count < self._count_max and size + tx.size <= self._bytes_max:
            return []
        leaving: dict[bytes, None] = {}
        try:
            while count + 1 > self._count_max or size + tx.size > self._bytes_max:
                worst = self._departures.take_worst()
                if worst is None or worst.rank >= tx.rank:
                    raise Rejected("pool/Full", FULL)
                for kept in self._followers(worst.tx):
                    if kept.tx.id in leaving or kept is old:
                        continue
                    if (kept.tx.sender, kept.tx.lane) == (tx.sender, tx.lane):
                        raise Rejected("pool/Full", "the pool is full; only its own lane is worse")
                    leaving[kept.tx.id] = None
                    count -= 1
                    size -= kept.tx.size
        finally:
            self._departures.put_back()
        return list(leaving)

    def _followers(self, tx: Waiting) -> list[Kept]:
        """Return a transaction and those of its lane that have to wait for it."""
        queue = self._lanes[tx.sender, tx.lane].by_seq
        return [queue[seq] for seq in sorted(queue) if seq >= tx.seq]

    def _with_followers(self, tx_id: bytes) -> list[bytes]:
        """Return a transaction's id and those of its followers; nothing if it is not here."""
        kept = self._by_id.get(tx_id)
        return [] if kept is None else [each.tx.id for each in self._followers(kept.tx)]

    # Leaving

    def committed(self, used: Iterable[Used], time_ms: int) -> list[bytes]:
        """A block was committed: drop used sequence numbers and what expired; return the ids.

        What waits behind a transaction that expired leaves with it.
        """
        gone: list[bytes] = []
        for slot in used:
            queue = self._lanes.get((slot.sender, slot.lane))
            if queue is not None:
                self._move_on(queue, slot.seq + 1)
                gone += [kept.tx.id for seq, kept in queue.by_seq.items() if seq <= slot.seq]
        for tx_id in self._departures.take_expired(time_ms):
            gone += self._with_followers(tx_id)
        return self._drop_all(gone)

    def sweep(self, now_ms: int) -> list[bytes]:
        """Drop what has been unpayable for a minute or here for ten, and what waits behind it.

        Returns the ids.
        Call it about once per second; it looks at ``SWEEP_MAX`` transactions, in turn.
        """
        base_fee = self._view.base_fee()
        gone = []
        self._unswept = self._unswept or list(reversed(self._by_id))
        for tx_id in self._unswept[-SWEEP_MAX:]:
            kept = self._by_id.get(tx_id)
            if kept is None:
                continue
            payer = kept.tx.payer
            short = self._owed[payer] > self._view.spendable(payer)
            if not short and base_fee <= kept.base_fee_max:
                kept.bad_since_ms = None
            elif kept.bad_since_ms is None:
                kept.bad_since_ms = now_ms
            is_bad = kept.bad_since_ms is not None and now_ms - kept.bad_since_ms >= SHORT_MS
            if is_bad or now_ms - kept.since_ms >= AGE_MS_MAX:
                gone += self._with_followers(tx_id)
        del self._unswept[-SWEEP_MAX:]
        return self._drop_all(gone)

    def set_aside(self, tx_id: bytes) -> None:
        """Keep a transaction out of my own blocks: executing it met a bug (C4)."""
        kept = self._by_id.get(tx_id)
        if kept is not None:
            kept.aside = True

    # Reading

    def heads(self, following: dict[Lane, int], time_ms: int) -> Iterator[Kept]:
        """Return, for each lane, its next transaction if that may go into a block now.

        Best payers come first. ``following`` overrides the finalised state's next sequence
        number of a lane where un-finalised blocks have used some, and stays as it is. What comes
        into the pool or leaves it afterwards changes nothing of what is returned.
        """
        base_fee = self._view.base_fee()
        here = list(self._heads)
        untouched = (kept for kept in here if (kept.tx.sender, kept.tx.lane) not in following)
        touched = [self._at(lane, seq) for lane, seq in following.items()]
        heads = heapq.merge(
            untouched,
            sorted((kept for kept in touched if kept is not None), key=_by_rank),
            key=_by_rank,
        )
        return (kept for kept in heads if kept.is_ready(base_fee, time_ms))

    def _at(self, lane: Lane, seq: int) -> Kept | None:
        queue = self._lanes.get(lane)
        return None if queue is None else queue.by_seq.get(seq)

    def next_of(self, lane: Lane, seq: int, time_ms: int) -> Kept | None:
        """Return a lane's transaction with this sequence number if a block may take it now."""
        kept = self._at(lane, seq)
        if kept is None or not kept.is_ready(self._view.base_fee(), time_ms):
            return None
        return kept

    def has_ready(self, time_ms: int) -> bool:
        """Tell whether the next block could take anything: the core's TransactionsAvailable."""
        base_fee = self._view.base_fee()
        return any(kept.is_ready(base_fee, time_ms) for kept in self._heads)

    # Bookkeeping

    def _in_slot(self, tx: Waiting) -> Kept | None:
        return self._at((tx.sender, tx.lane), tx.seq)

    def _move_on(self, queue: _LaneQueue, following: int) -> None:
        """A lane's sequence numbers below ``following`` are used by the finalised state.

        What has them is dropped with the same block, and so leaves the heads.
        """
        if following <= queue.following:
            return
        queue.following = following
        head = queue.by_seq.get(following)
        if head is not None:
            self._heads.put(head)

    def _keep(self, tx: Waiting, following: int, now_ms: int) -> None:
        self._order += 1
        kept = Kept(tx, now_ms, self._order, tx.rank, tx.base_fee_max)
        self._by_id[tx.id] = kept
        self._by_short_id.setdefault(tx.id[:8], []).append(tx.id)
        lane = self._lanes.setdefault((tx.sender, tx.lane), _LaneQueue(following))
        lane.by_seq[tx.seq] = kept
        if tx.seq == lane.following:
            self._heads.put(kept)
        self._owed[tx.payer] = self._owed.get(tx.payer, 0) + tx.max_fee
        self.bytes += tx.size
        self._departures.add(kept)

    def _drop_all(self, tx_ids: Iterable[bytes]) -> list[bytes]:
        """Drop those that are still here; return them."""
        here = [tx_id for tx_id in dict.fromkeys(tx_ids) if tx_id in self._by_id]
        for tx_id in here:
            self._drop(tx_id)
        self._departures.compact()
        return here

    def _drop(self, tx_id: bytes) -> None:
        kept = self._by_id.pop(tx_id)
        self._heads.remove(kept)
        tx = kept.tx
        twins = self._by_short_id[tx_id[:8]]
        twins.remove(tx_id)
        if not twins:
            del self._by_short_id[tx_id[:8]]
        queue = self._lanes[tx.sender, tx.lane]
        del queue.by_seq[tx.seq]
        if not queue.by_seq:
            del self._lanes[tx.sender, tx.lane]
        self._owed[tx.payer] -= tx.max_fee
        if not self._owed[tx.payer]:
            del self._owed[tx.payer]
        self.bytes -= tx.size


def _by_rank(kept: Kept) -> int:
    """Order the best payers first."""
    return -kept.rank
