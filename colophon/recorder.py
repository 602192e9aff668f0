"""Recording AI interactions into a log: keep, batch, anchor (docs/sdk.md, docs/record.md).

``Session`` decides and remembers, the flows say what to ask the node; ``Recorder`` and
``AsyncRecorder`` only carry. A record is written when ``record`` returns and synced to disk before
its batch is sent; nothing is ever anchored twice, because a batch names its place in the log.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from chain.errors import Rejected
from chain.ids import Kind, parse_id
from chain.merkle import log_root
from chain.record import SECRET_BYTES, Facets, Recording

from .flows import Call, Flow, Outcome, TransactionFailed, next_seq_flow, send_flow
from .interactions import FACETS, facets_of, fields_of
from .receipts import Place, ReceiptStore, write_own_receipt
from .wallet import Draft, Wallet

T = TypeVar("T")
BATCH_RECORDS_MAX = 65_536
"""Records of one batch here: some 3 s of hashing and 100 MB of receipts, redone at most once."""
ATTEMPTS = 8
"""Times a batch is sent anew when another writer of the log was faster."""
RETRIED = ("anchor/WrongPlace", "anchor/BadTimeRange")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderOptions:
    """How a recorder batches."""

    records_max: int = BATCH_RECORDS_MAX
    """A batch is anchored as soon as it has so many records."""
    age_ms_max: int = 0
    """Or when its first record is so old, looked at with each new one; 0: half of the log's
    max_merge_delay."""
    facets: Mapping[str, Any] = field(default_factory=dict)
    """Facets of every record, in JSON form; a record's own stand above them."""
    lane: int = 0
    """Lane of the transactions, so that a recorder and its account do not wait for each other."""


DEFAULTS = RecorderOptions()


@dataclass(frozen=True, slots=True)
class Noted:
    """A record that is kept and will be anchored."""

    number: int
    """Number among all records of the directory, from 0; for ``colophon anchor export``."""
    leaf: bytes


class Session:
    """A writer's records of one log on their way to the chain."""

    def __init__(
        self, wallet: Wallet, log: str, store: ReceiptStore, options: RecorderOptions,
        age_ms_max: int, clock: Callable[[], int],
    ) -> None:  # fmt: skip
        self.wallet = wallet
        self.log = log
        self.store = store
        self._context = parse_id(log, Kind.LOG)
        self._options = options
        self._age_ms_max = age_ms_max
        self._clock = clock

    def note(self, form: Mapping[str, Any], source: str = "") -> Noted:
        """Keep one interaction, given by short or full names, ``facets`` among them."""
        recording = Recording(
            genesis_hash=self.wallet.genesis_hash,
            context=self._context,
            secret=secrets.token_bytes(SECRET_BYTES),
            fields=fields_of(form),
            facets=facets_of(self._options.facets, form.get(FACETS)),
        )
        return Noted(self.store.add(recording, self._clock(), source), recording.leaf)

    def is_due(self) -> bool:
        """Tell whether the waiting records should be anchored now."""
        store = self.store
        if store.waiting >= self._options.records_max:
            return True
        return store.waiting > 0 and self._clock() - store.oldest_ms >= self._age_ms_max

    def flush_flow(self) -> Flow[list[Place]]:
        """Make a batch of what waits, anchor every batch that is not yet; return their places."""
        self.store.seal()
        places = []
        for batch in self.store.unanchored():
            places.append((yield from self._anchor_flow(batch)))
        return places

    def _anchor_flow(self, batch: int) -> Flow[Place]:
        leaves, taken_ms = self.store.leaves(batch)
        sent = self.store.place(batch)
        for _ in range(ATTEMPTS):
            view = yield Call("anchor.get", {"log": self.log})
            found = yield from self._find_flow(sent, view)
            if found is not None:
                self.store.save_place(batch, found)
                return found
            status = yield Call("chain.status", {})
            sent = _next_place(view, int(status["block_time_ms"]), leaves, taken_ms)
            self.store.save_place(batch, sent)
            try:
                outcome = yield from send_flow(
                    self.wallet, _append(self.log, sent), lane=self._options.lane
                )
            except TransactionFailed as failure:
                if failure.code not in RETRIED:
                    raise
                continue
            final = replace(sent, height=outcome.height, tx=outcome.id)
            self.store.save_place(batch, final)
            return final
        raise Rejected(
            "recorder/Crowded",
            f"other writers of {self.log} were faster {ATTEMPTS} times; nothing is lost, run again",
        )

    def _find_flow(self, sent: Place | None, view: dict[str, Any]) -> Flow[Place | None]:
        """Return the place of a batch that an earlier attempt got through, if it did."""
        if sent is None or int(view["batches"]) <= sent.batch_no:
            return None
        batch = yield Call("anchor.batch", {"log": self.log, "batch_no": sent.batch_no})
        if batch["root"] != sent.root:
            return None
        return replace(
            sent,
            begin_ms=int(batch["from"]),
            end_ms=int(batch["to"]),
            height=int(batch["height"]),
            tx=batch["tx_id"],
        )


def _next_place(
    view: dict[str, Any], now_ms: int, leaves: tuple[bytes, ...], taken_ms: int
) -> Place:
    """Return the place of the log's next batch; ``now_ms`` is the chain's, so no clock can err."""
    return Place(
        batch_no=int(view["batches"]),
        first_index=int(view["leaves"]),
        count=len(leaves),
        root="0x" + log_root(leaves).hex(),
        begin_ms=max(int(view["last_to"]), min(taken_ms, now_ms)),
        end_ms=max(int(view["last_to"]), now_ms),
    )


def _append(log: str, place: Place) -> Draft:
    form = {
        "type": "anchor.append", "log": log, "batch_no": place.batch_no,
        "first_index": place.first_index, "count": place.count, "root": place.root,
        "from": place.begin_ms, "to": place.end_ms,
    }  # fmt: skip
    return Draft().add_form(form)


def wall_ms() -> int:
    """Return Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def begin_flow(
    log: str, wallet: Wallet, directory: Path, options: RecorderOptions,
    clock: Callable[[], int] = wall_ms,
) -> Flow[Session]:  # fmt: skip
    """Open the directory for a log that exists and takes more; returns the session."""
    view = yield Call("anchor.get", {"log": log})
    if int(view["closed_at"]):
        raise Rejected("anchor/LogClosed", f"{log} is closed")
    age_ms_max = options.age_ms_max or max(int(view["max_merge_delay"]) // 2, 1)
    store = ReceiptStore(directory, log, wallet.genesis_hash)
    return Session(wallet, log, store, options, age_ms_max, clock)


def record_flow(
    wallet: Wallet, form: Mapping[str, Any], receipt: Path, *, facets: Mapping[str, Any],
    parents: list[str] | None = None, license: str | None = None,
    payment: Mapping[str, Any] | None = None,
) -> Flow[Outcome]:  # fmt: skip
    """Anchor one interaction by itself; its receipt is written before it is sent.

    ``form`` holds fields by short or full names, ``facets`` (public for ever) their JSON form,
    ``payment`` ``{"denom", "amount"}`` for the model. The record's id is in ``created``.
    """
    seq = yield from next_seq_flow(wallet)
    parsed: Facets = facets_of(facets, form.get(FACETS))
    recording = Recording(
        genesis_hash=wallet.genesis_hash,
        context=wallet.address,
        secret=secrets.token_bytes(SECRET_BYTES),
        fields=fields_of(form),
        facets=parsed,
    )
    record = wallet.next_id(Kind.RECORD, seq)
    write_own_receipt(receipt, recording, record)
    draft = Draft().add(
        "anchor.record",
        content_root="0x" + recording.content_root.hex(),
        fields=len(recording.hashes),
        facets={**facets, **(form.get(FACETS) or {})},
        parents=parents or [],
        license=license,
        payment=payment,
    )
    return (yield from send_flow(wallet, draft, seq=seq, created=[record]))


class Run(Protocol):
    """Drives a workflow to its end."""

    def __call__(self, flow: Flow[T], /) -> T:
        """Return what the workflow returns."""
        ...


class Recorder:
    """Records interactions; leaving the ``with`` block anchors what is left.

    After an exception what waits stays in the directory and is anchored next time.
    """

    def __init__(self, run: Run, begin: Flow[Session]) -> None:
        self._run = run
        self._begin = begin
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The session behind it; ``recorder/NotOpen`` outside of the ``with`` block."""
        return require_session(self._session)

    def __enter__(self) -> Self:
        self._session = self._run(self._begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        session = self.session
        try:
            if kind is None:
                self._run(session.flush_flow())
        finally:
            session.store.close()

    def record(self, form: Mapping[str, Any] | None = None, /, **fields: Any) -> Noted:
        """Keep one interaction, and anchor what waits when it is due."""
        session = self.session
        noted = session.note({**(form or {}), **fields})
        if session.is_due():
            self._run(session.flush_flow())
        return noted

    def flush(self) -> list[Place]:
        """Anchor everything now."""
        return self._run(self.session.flush_flow())


def require_session(session: Session | None) -> Session:
    """Return the session of an opened recorder; ``recorder/NotOpen`` otherwise."""
    if session is None:
        raise Rejected("recorder/NotOpen", "use the recorder in a `with` block")
    return session
