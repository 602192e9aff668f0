"""A chain without consensus for testing rules: send messages, look at receipts and state.

``Ledger`` runs every transaction in a block of its own through the real executor, with the real
authorise, and checks after each block that money is conserved and every family's invariants
hold. Keys, times and fees are fixed, so a test is a few lines that say what it means.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterator
from typing import Any

import msgspec

from chain.application import finish
from chain.codec import encode, encode_amount
from chain.crypto import SigningKey
from chain.genesis import Genesis, GenesisAccount, GenesisValidator, check_genesis
from chain.ids import NCOLO, TREASURY, address_of, derive_id
from chain.params import ModuleVersion, Params
from chain.transaction import ENVELOPE, Body, sign_body
from state import layout
from state.executor import OK, Environment, Executed, Executor, Receipt
from state.families import MODULES, REGISTRY
from state.indexes import block_rows
from state.invariants import check_state
from state.module import Message, Query, QueryContext
from state.modules.account import ACCOUNTS, DEPOSITS, LANES, SUPPLIES, balance_of, next_seq
from state.overlay import Overlay
from state.registry import Transaction

START_MS = 1_700_000_000_000
RICH = 10**18
"""ncolo of every account a ledger starts with."""


def key_of(number: int) -> SigningKey:
    """Return the test key with this number."""
    return SigningKey(number.to_bytes(32, "big"))


class MemoryState:
    """A finalised state in a dict, in key order when scanned."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self._order: list[bytes] | None = None

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        if self._order is None:
            self._order = sorted(self.rows)
        first, last = bisect_left(self._order, start), bisect_left(self._order, stop)
        for key in self._order[first:last]:
            yield key, self.rows[key]

    def apply(self, writes: dict[bytes, bytes | None]) -> None:
        self._order = None
        for key, value in writes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value


class Refused(AssertionError):
    """A transaction failed where the test expected it to succeed."""


class Ledger:
    """Accounts 1..n with money, and blocks of one transaction each."""

    def __init__(self, accounts: int = 5, **params: Any) -> None:
        self.keys = [key_of(number) for number in range(1, accounts + 1)]
        self.addresses = [address_of(key.public_key) for key in self.keys]
        versions = sorted(ModuleVersion(module.name, module.version) for module in MODULES)
        self.params = Params(modules=versions, **params)
        rich = [GenesisAccount(a, encode_amount(RICH)) for a in sorted(self.addresses)]
        self.genesis = Genesis(
            1, "test", START_MS, bytes(16), self.params,
            [GenesisValidator(self.keys[0].public_key, 1)], rich, [],
        )  # fmt: skip
        check_genesis(self.genesis)
        self.hash = self.genesis.hash()
        self.state = MemoryState()
        self.index = MemoryState()
        self.executor = Executor(REGISTRY)
        overlay = Overlay(self.state.get)
        self.executor.genesis(overlay, self.genesis)
        self.state.apply(overlay.writes)
        self.height = 0
        self.now_ms = START_MS
        self.check_every_block = True

    # --- looking ------------------------------------------------------------------------------

    def balance(self, holder: bytes, denom: bytes = NCOLO) -> int:
        return balance_of(self.state, holder, denom)

    def seq(self, who: int, lane: int = 0) -> int:
        account = ACCOUNTS.get(self.state, self.addresses[who])
        return next_seq(self.state, account, self.addresses[who], lane)

    def next_id(self, kind: int, who: int, path: list[int] | None = None, n: int = 0) -> bytes:
        """Return the id of what the next transaction of ``who`` makes."""
        return derive_id(kind, self.hash, self.addresses[who], 0, self.seq(who), path or [0], n)

    @property
    def query(self) -> QueryContext:
        return QueryContext(
            self.state, self.index, self.hash, self.height, self.now_ms, self.params
        )

    def ask(self, query: Query, **arguments: Any) -> Any:
        """Return the answer of a query at once, whether it comes in steps or not."""
        answer = query(self.query, **arguments)
        return finish(answer) if isinstance(answer, Generator) else answer

    # --- sending ------------------------------------------------------------------------------

    def body(self, who: int, messages: tuple[Message, ...], **changes: Any) -> Body[Any]:
        body: Body[Any] = Body(
            1, self.hash, self.addresses[who], [self.keys[who].public_key], 0, self.seq(who), 0,
            encode_amount(10**15), b"", None, list(messages),
        )  # fmt: skip
        return msgspec.structs.replace(body, **changes)

    def send(self, who: int, *messages: Message, **changes: Any) -> Receipt[Any]:
        """Run one transaction in a block of its own and return its receipt."""
        body = self.body(who, messages, **changes)
        envelope = ENVELOPE.decode(sign_body(body, [self.keys[who]], []))
        tx = REGISTRY.read(envelope.body, envelope.signatures, self.hash, self.params)
        self.height += 1
        self.now_ms += 100
        environment = Environment(
            self.hash, self.params, self.height, self.now_ms, self.params.base_fee_genesis
        )
        overlay = Overlay(self.state.get)
        finish(self.executor.authorise_all(overlay, environment, [tx]))
        executed = finish(self.executor.execute(overlay, environment, [tx]))
        self.state.apply(overlay.writes)
        self._index(tx, executed)
        receipt: Receipt[Any] = msgspec.msgpack.Decoder(Receipt[REGISTRY.event_union]).decode(
            executed.receipts[0]
        )
        self.last_refusal = executed.refusals.get(0)
        self._check_bound(tx, set(overlay.writes))
        if self.check_every_block:
            check_state(REGISTRY, self.state)
        return receipt

    def _check_bound(self, tx: Transaction, written: set[bytes]) -> None:
        """No message writes more keys than it pays for (F1)."""
        written -= {ACCOUNTS.prefix + holder for holder in (tx.body.sender, TREASURY, DEPOSITS)}
        written -= {
            SUPPLIES.prefix + bytes(21),
            LANES.prefix + tx.body.sender + bytes([tx.body.lane]),
        }
        bound = self._bound(tx.body.messages)
        assert len(written) <= bound, (
            f"{len(written)} keys written, {bound} paid: {tx.body.messages}"
        )

    def _bound(self, messages: list[Message]) -> int:
        bound = 0
        for message in messages:
            bound += message.writes()
            if hasattr(message, "nested"):
                bound += self._bound(REGISTRY.read_nested(message))
        return bound

    def _index(self, tx: Transaction, executed: Executed) -> None:
        rows = block_rows(
            REGISTRY, self.height, self.now_ms, [tx], executed.events, executed.refusals
        )
        letter = layout.INDEX
        self.index.apply({key[len(letter) :]: row for key, row in rows if key[:1] == letter})

    def ok(self, who: int, *messages: Message, **changes: Any) -> Receipt[Any]:
        """Send and require success."""
        receipt = self.send(who, *messages, **changes)
        if receipt.status != OK:
            raise Refused(str(self.last_refusal))
        return receipt

    def refused(self, who: int, *messages: Message, **changes: Any) -> str:
        """Send, require failure, require that only the fee moved, and return the code."""
        before = dict(self.state.rows)
        receipt = self.send(who, *messages, **changes)
        assert receipt.status != OK, "the transaction succeeded"
        assert receipt.events == []
        changed = {key for key, value in self.state.rows.items() if before.get(key) != value}
        changed |= {key for key in before if key not in self.state.rows}
        assert all(key.startswith(b"account\0") for key in changed), "something else changed"
        return receipt.code

    def encoded(self, *messages: Message) -> list[bytes]:
        """Return messages as ``ip.execute`` carries them."""
        return [encode(message) for message in messages]
