"""``tx.*`` and ``account.transactions``: sending transactions and following them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from chain.application import Job
from chain.codec import U32, U64, Hash, Record
from chain.errors import Rejected
from chain.fields import Amount, data, listing
from chain.finality import FinalityProof
from chain.ids import AccountId
from chain.json_form import record_to_json
from chain.transaction import ENVELOPE, TX_BYTES_MAX
from state.module import Event, Message
from state.queries import ChainReader, NotFound, TxView, Unavailable

from .backend import Backend, Busy, FeeView, PendingPage, Simulated, TxState
from .jsonrpc import refused
from .methods import Method, method

SUBMIT_MAX = 1_000
"""Transactions of one ``submit_batch``; the body limit usually binds first."""
WAIT_MS_MAX = 60_000
"""Longest ``submit_and_wait``; longer silences are cut by proxies anyway."""
PAGE_MAX = 200
"""Rows of one answer."""
HORIZON_MAX = 1_000
"""Blocks a fee can be asked for; a base fee that far away is a guess at best."""
PLACE_BYTES = 12
"""A cursor in a list of transactions: height and index of the last one seen."""

EnvelopeBytes = Annotated[bytes, data(TX_BYTES_MAX)]
"""A signed transaction with its attachments (T3)."""
Limit = Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX)]
Cursor = Annotated[bytes, msgspec.Meta(min_length=PLACE_BYTES, max_length=PLACE_BYTES)]


class Submitted(Record):
    """A transaction that waits for a block, or is already final."""

    id: Hash


class SubmitOutcome(Record):
    """What became of one transaction of a batch: an id, or the error ``tx.submit`` would give."""

    id: Hash | None
    error: dict[str, Any] | None


class ReceiptView(Record):
    """What a transaction did (R1)."""

    tx_id: Hash
    status: U32
    """0: done; 1: failed, and nothing but the fee moved."""
    message_index: U32
    """The message that failed."""
    code: str
    """``family/Reason`` of the failure; empty on success."""
    units: U64
    fee: Amount
    """ncolo paid."""
    events: list[Event]


class TxResult(Record, kw_only=True):
    """A transaction and where it stands; all but id and state only once it is final."""

    id: Hash
    state: TxState
    height: U64 | None = None
    index: U32 | None = None
    time_ms: U64 | None = None
    body: dict[str, Any] | None = None
    """What was signed (T1), messages as objects with a ``type``."""
    receipt: ReceiptView | None = None
    message: str = ""
    """Why it failed, in one sentence."""
    details: dict[str, Any] | None = None
    """The values that broke the rule."""


class TxProof(Record):
    """That a receipt, and with it the transaction, stands in the chain (R2).

    The leaf is ``H("receipt", receipt)``; ``path`` leads from it to ``parent_receipts_root`` of
    the header that ``finality`` proves, which is that of the next height.
    """

    id: Hash
    height: U64
    index: U32
    count: U32
    """Receipts of the block."""
    receipt: bytes
    path: list[Hash]
    finality: FinalityProof


class PlacedTx(Record):
    """A final transaction and its place."""

    id: Hash
    height: U64
    index: U32


class PlacedTxPage(Record):
    """Some transactions, newest first, and where the next page begins (absent at the end)."""

    items: list[PlacedTx]
    cursor: Cursor | None


class TxMethods:
    """The methods of the namespace, over one node."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._reader: ChainReader = backend.reader

    def methods(self) -> list[Method]:
        """Return their descriptions."""
        return [
            method("tx.submit", self.submit, reads=False),
            method("tx.submit_batch", self.submit_batch, reads=False),
            method("tx.submit_and_wait", self.submit_and_wait, reads=False),
            method("tx.get", self.get),
            method("tx.proof", self.proof),
            method("tx.simulate", self.simulate, reads=False),
            method("tx.recent", self.recent),
            method("tx.pending", self.pending),
            method("tx.fee", self.fee),
            method("account.transactions", self.transactions),
        ]

    async def submit(self, *, tx: EnvelopeBytes) -> Submitted:
        """Check a signed transaction and take it into the pool; repeating is harmless."""
        return Submitted(await self._backend.submit(tx))

    async def submit_batch(
        self, *, txs: Annotated[list[EnvelopeBytes], listing(SUBMIT_MAX, items_min=1)]
    ) -> list[SubmitOutcome]:
        """Submit many transactions; each has its own id or error, in their order.

        While the node is busy, all of them are answered so unread.
        """
        try:
            self._backend.require_room()
        except Busy as busy:
            return [SubmitOutcome(None, refused(busy, False).form())] * len(txs)
        return [
            SubmitOutcome(None, refused(outcome, False).form())
            if isinstance(outcome, Rejected)
            else SubmitOutcome(outcome, None)
            for outcome in await self._backend.submit_all(txs)
        ]

    async def submit_and_wait(
        self,
        *,
        tx: EnvelopeBytes,
        timeout_ms: Annotated[int, msgspec.Meta(ge=1, le=WAIT_MS_MAX)] = 10_000,
    ) -> TxResult:
        """Submit a transaction and return its receipt once it is final.

        Error -32004 after ``timeout_ms``: it may still become final, ``tx.get`` tells.
        """
        tx_id = await self._backend.submit(tx)
        await self._backend.wait_final(tx_id, timeout_ms)
        return self.get(id=tx_id)

    def get(self, *, id: Hash) -> TxResult:
        """Return where a transaction stands and, once it is final, what it did."""
        try:
            view = self._reader.transaction(id)
        except NotFound:
            state = self._backend.tx_state(id)
            if state is TxState.UNKNOWN:
                raise
            return TxResult(id=id, state=state)
        return self._final(view)

    def _final(self, view: TxView) -> TxResult:
        receipt = view.receipt
        state = TxState.FAILED
        if receipt.status == 0:
            proven = view.height < self._reader.machine.head.height
            state = TxState.PROVEN if proven else TxState.FINAL
        return TxResult(
            id=view.tx.id,
            state=state,
            height=view.height,
            index=view.index,
            time_ms=self._reader.header(view.height).time_ms,
            body=self._body_form(view),
            receipt=ReceiptView(
                receipt.tx_id, receipt.status, receipt.message_index, receipt.code,
                receipt.units, receipt.fee, receipt.events,
            ),
            message=view.message,
            details=msgspec.json.decode(view.details) if receipt.status else None,
        )  # fmt: skip

    def _body_form(self, view: TxView) -> dict[str, Any]:
        body = view.tx.body
        form = record_to_json(body, self._reader.blob)
        form["messages"] = [self._message_form(message) for message in body.messages]
        return form

    def _message_form(self, message: Message) -> dict[str, Any]:
        """Return a message as an object; the messages inside ``ip.execute`` as objects too."""
        form = record_to_json(message, self._reader.blob)
        if "nested" in form:
            inner = self._reader.machine.registry.read_nested(message)
            form["nested"] = [self._message_form(part) for part in inner]
        return form

    def proof(self, *, id: Hash) -> TxProof:
        """Prove that a transaction and its receipt are final, one block after it."""
        reader = self._reader
        place = reader.place_of(id)
        head = reader.machine.head.height
        if place.height >= head:
            raise Unavailable(
                "tx/NotProvableYet",
                f"provable once block {place.height + 1} is final; the head is {head}",
                first=1,
                last=head - 1,
            )
        receipts = reader.raw_receipts(place.height)
        return TxProof(
            id, place.height, place.index, len(receipts), receipts[place.index],
            reader.receipt_proof(place.height, place.index), reader.finality(place.height + 1),
        )  # fmt: skip

    def simulate(
        self, *, tx: EnvelopeBytes | None = None, body: EnvelopeBytes | None = None
    ) -> Job[Simulated]:
        """Run a transaction (``tx``) or an unsigned body (``body``) and forget it: fee, outcome."""
        if tx is not None and body is None:
            return (yield from self._backend.simulate(ENVELOPE.decode(tx).body))
        if body is not None and tx is None:
            return (yield from self._backend.simulate(body))
        raise Rejected("tx/SimulateWhat", "give tx or body, one of them")

    def pending(self, *, cursor: U64 = 0, limit: Limit = 50) -> PendingPage:
        """Return transactions that wait in this node's pool, in the order they came."""
        return self._backend.pending(cursor, limit)

    def fee(self, *, horizon: Annotated[int, msgspec.Meta(ge=1, le=HORIZON_MAX)] = 10) -> FeeView:
        """Return what to offer to be taken within ``horizon`` blocks."""
        return self._backend.fee(horizon)

    def transactions(
        self, *, address: AccountId, cursor: Cursor | None = None, limit: Limit = 50
    ) -> PlacedTxPage:
        """Return the final transactions an account sent, newest first."""
        return _page(self._reader.account_transactions(address, cursor, limit + 1), limit)

    def recent(self, *, cursor: Cursor | None = None, limit: Limit = 50) -> PlacedTxPage:
        """Return the chain's final transactions, newest first, however long ago they came."""
        return _page(self._reader.recent_transactions(cursor, limit + 1), limit)


def _page(rows: list[tuple[bytes, bytes]], limit: int) -> PlacedTxPage:
    """Return the first ``limit`` of (cursor, tx id) rows, and where they end if there are more."""
    items = [
        PlacedTx(tx_id, int.from_bytes(place[:8], "big"), int.from_bytes(place[8:], "big"))
        for place, tx_id in rows[:limit]
    ]
    return PlacedTxPage(items, rows[limit - 1][0] if len(rows) > limit else None)
