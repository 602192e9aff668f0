"""Accounts: who may sign, and what every holder owns.

An account starts at its first transaction or first credit. Its id is the address of its first
key for ever; ``account.set_keys`` rotates keys and makes multisigs. The ledger below is what all
other families move money with; it keeps the sender's balance, nonce and keys in one row, because
every transaction changes all three.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from chain.application import Job
from chain.codec import U8, U64, CounterBytes, Record, encode_amount
from chain.crypto import require_public_key
from chain.errors import Rejected
from chain.fields import Amount, Denom, listing
from chain.ids import NCOLO, AccountId, Holder, Kind, address_of, format_id, module_id
from chain.transaction import KEYS_MAX, PublicKey
from chain.types import AMOUNT_MAX, ROYALTY_UNITS

from ..context import Context
from ..module import Event, Message, Module, QueryContext, Reader, Scanner, Table, Writer
from ..paging import Limit, page

DEPOSITS = module_id("deposits")
"""Holds every object's deposit until the object is removed."""

WEIGHTS_MAX = 65_535
"""Largest weight of a key and largest threshold; sums stay far from any width."""

KEY_CHECK_UNITS = 12
"""Work of checking one public key, measured."""

# --- messages and events ---------------------------------------------------------------------


class KeyWeight(Record):
    """One key of an account and what its signature counts."""

    public_key: PublicKey
    weight: Annotated[int, msgspec.Meta(ge=1, le=WEIGHTS_MAX)]


class SetKeys(Message, tag="account.set_keys"):
    """Replace the keys of the sender's account; its id stays (N-account.1)."""

    keys: Annotated[list[KeyWeight], listing(KEYS_MAX, items_min=1)]
    threshold: Annotated[int, msgspec.Meta(ge=1, le=WEIGHTS_MAX)]

    WEIGHT = 30
    WRITES = 1

    def weight(self) -> int:
        """Each key is checked to be a point of the curve."""
        return self.WEIGHT + KEY_CHECK_UNITS * len(self.keys)


class RequireAcceptance(Message, tag="account.require_acceptance"):
    """From now on an IP given to this account is an offer until accepted (N-account.2)."""

    required: bool

    WEIGHT = 10
    WRITES = 1


class KeysSet(Event, tag="account.keys_set"):
    """An account has new keys."""

    account: AccountId
    keys: list[PublicKey]
    threshold: int


class AcceptanceRequired(Event, tag="account.acceptance_required"):
    """An account asks (or no longer asks) to be asked."""

    account: AccountId
    required: bool


# --- rows ------------------------------------------------------------------------------------


class KeySet(Record):
    """Keys in ascending order and the weight that must sign together."""

    keys: list[KeyWeight]
    threshold: int


class Account(Record):
    """Balance in ncolo, next sequence number of lane 0, keys once ``set_keys`` was used."""

    version: U8
    balance: Amount
    seq: U64
    keys: KeySet | None


class Lane(Record):
    """Next sequence number of a lane other than 0."""

    seq: U64


class Balance(Record):
    """Units of one other denomination."""

    amount: Amount


class Supply(Record):
    """Units of a denomination that exist."""

    amount: CounterBytes


class Preference(Record):
    """What an account asks of others."""

    requires_acceptance: bool


ACCOUNTS = Table("account", 1, Account, key_bytes=21)
LANES = Table("account", 2, Lane, key_bytes=22)
BALANCES = Table("account", 3, Balance, key_bytes=42)
SUPPLIES = Table("account", 4, Supply, key_bytes=21)
PREFERENCES = Table("account", 5, Preference, key_bytes=21)

EMPTY = Account(1, b"", 0, None)

# --- the ledger ------------------------------------------------------------------------------


def balance_of(state: Reader, holder: bytes, denom: bytes = NCOLO) -> int:
    """Return what ``holder`` has of ``denom``; an IP's own unsold royalty units are implicit."""
    if denom == NCOLO:
        account = ACCOUNTS.get(state, holder)
        return 0 if account is None else int.from_bytes(account.balance, "big")
    row = BALANCES.get(state, holder + denom)
    if row is None:
        return ROYALTY_UNITS if holder == denom else 0
    return int.from_bytes(row.amount, "big")


def credit(state: Writer, holder: bytes, denom: bytes, amount: int) -> None:
    """Add to a balance. The caller has checked that the holder exists and taken the amount."""
    if denom == NCOLO:
        account = ACCOUNTS.get(state, holder) or EMPTY
        total = int.from_bytes(account.balance, "big") + amount
        ACCOUNTS.put(state, holder, Account(1, encode_amount(total), account.seq, account.keys))
        return
    _set_balance(state, holder, denom, balance_of(state, holder, denom) + amount)


def debit(state: Writer, holder: bytes, denom: bytes, amount: int) -> None:
    """Take from a balance; ``bank/InsufficientFunds`` says what is there."""
    if denom != NCOLO:
        held = balance_of(state, holder, denom)
        _require_funds(holder, denom, held, amount)
        _set_balance(state, holder, denom, held - amount)
        return
    account = ACCOUNTS.get(state, holder) or EMPTY
    held = int.from_bytes(account.balance, "big")
    _require_funds(holder, denom, held, amount)
    ACCOUNTS.put(state, holder, Account(1, encode_amount(held - amount), account.seq, account.keys))


def move_balance(state: Writer, source: bytes, target: bytes, denom: bytes, amount: int) -> None:
    """Move an amount between two existing holders."""
    debit(state, source, denom, amount)
    credit(state, target, denom, amount)


def _require_funds(holder: bytes, denom: bytes, held: int, amount: int) -> None:
    if held < amount:
        raise Rejected(
            "bank/InsufficientFunds",
            f"{format_id(holder)} has {held} {denom_name(denom)}, {amount} are needed",
            holder=holder,
            denom=denom,
            held=held,
            needed=amount,
        )


def _set_balance(state: Writer, holder: bytes, denom: bytes, amount: int) -> None:
    key = holder + denom
    implicit = ROYALTY_UNITS if holder == denom else 0
    if amount == implicit:
        BALANCES.delete(state, key)
    else:
        BALANCES.put(state, key, Balance(encode_amount(amount)))


def denom_name(denom: bytes) -> str:
    """Return how a denomination is called in sentences and JSON."""
    if denom == NCOLO:
        return "ncolo"
    return ("royalty/" if denom[0] == Kind.IP else "token/") + format_id(denom)


def supply_of(state: Reader, denom: bytes) -> int:
    """Return the units of a denomination that exist."""
    row = SUPPLIES.get(state, _supply_key(denom))
    return 0 if row is None else int.from_bytes(row.amount, "big")


def change_supply(state: Writer, denom: bytes, change: int) -> None:
    """Record a mint (positive) or a burn (negative); ``bank/SupplyOverflow`` past 2^128-1."""
    total = supply_of(state, denom) + change
    if not 0 <= total <= AMOUNT_MAX:
        raise Rejected("bank/SupplyOverflow", f"the supply would become {total}", supply=total)
    SUPPLIES.put(state, _supply_key(denom), Supply(encode_amount(total)))


def _supply_key(denom: bytes) -> bytes:
    return denom.ljust(21, b"\0")


# --- keys and sequence numbers ---------------------------------------------------------------


def require_keys(sender: bytes, account: Account, keys: list[bytes]) -> None:
    """Require that ``keys`` may act for ``sender`` (T4); ``tx/NotAuthorised`` otherwise."""
    keyset = account.keys
    if keyset is None:
        if len(keys) != 1 or address_of(keys[0]) != sender:
            raise Rejected(
                "tx/NotAuthorised",
                f"the key does not belong to {format_id(sender)}",
                sender=sender,
            )
        return
    weights = {entry.public_key: entry.weight for entry in keyset.keys}
    foreign = [key.hex() for key in keys if key not in weights]
    if foreign:
        raise Rejected(
            "tx/NotAuthorised", f"keys {foreign} are not of {format_id(sender)}", sender=sender
        )
    total = sum(weights[key] for key in keys)
    if total < keyset.threshold:
        raise Rejected(
            "tx/BelowThreshold",
            f"the keys weigh {total} together, {keyset.threshold} are needed",
            weight=total,
            threshold=keyset.threshold,
        )


def next_seq(state: Reader, account: Account | None, sender: bytes, lane: int) -> int:
    """Return the next sequence number of a lane; the first is 0."""
    if lane == 0:
        return 0 if account is None else account.seq
    row = LANES.get(state, sender + bytes((lane,)))
    return 0 if row is None else row.seq


def apply_set_keys(ctx: Context, message: SetKeys) -> None:
    """N-account.1: keys ascending, each strong, reachable threshold."""
    keys = [entry.public_key for entry in message.keys]
    if keys != sorted(set(keys)):
        raise Rejected("account/KeyOrder", "keys must be in ascending order, each once")
    for key in keys:
        require_public_key(key)
    total = sum(entry.weight for entry in message.keys)
    if message.threshold > total:
        raise Rejected(
            "account/ThresholdTooHigh",
            f"the threshold {message.threshold} exceeds the keys' weights {total} together",
            threshold=message.threshold,
            weights=total,
        )
    account = ACCOUNTS.get(ctx.state, ctx.actor) or EMPTY
    keyset = KeySet(message.keys, message.threshold)
    ACCOUNTS.put(ctx.state, ctx.actor, Account(1, account.balance, account.seq, keyset))
    ctx.emit(KeysSet(ctx.actor, keys, message.threshold))


def apply_require_acceptance(ctx: Context, message: RequireAcceptance) -> None:
    """N-account.2: a wish of the account, kept until changed."""
    PREFERENCES.put(ctx.state, ctx.actor, Preference(message.required))
    ctx.emit(AcceptanceRequired(ctx.actor, message.required))


def requires_acceptance(state: Reader, holder: bytes) -> bool:
    """Tell whether a transfer to ``holder`` must be accepted by it."""
    row = PREFERENCES.get(state, holder)
    return row is not None and row.requires_acceptance


# --- queries ---------------------------------------------------------------------------------


class AccountView(Record):
    """An account as RPC shows it."""

    address: Holder
    balance: Amount
    seq: U64
    keys: list[KeyWeight]
    threshold: int


class BalanceView(Record):
    """One balance of a holder."""

    denom: Denom
    amount: Amount


class BalancePage(Record):
    """Some balances and where the next page begins (absent at the end)."""

    items: list[BalanceView]
    cursor: Denom | None


class NonceView(Record):
    """The next sequence number of a lane."""

    lane: int
    next: U64


def get_account(query: QueryContext, *, address: Holder) -> AccountView:
    """Return balance, next nonce and keys of an account; unknown accounts are empty."""
    row = ACCOUNTS.get(query.state, address) or EMPTY
    keys = row.keys.keys if row.keys else []
    return AccountView(address, row.balance, row.seq, keys, row.keys.threshold if row.keys else 1)


def get_balances(
    query: QueryContext, *, address: Holder, cursor: Denom | None = None, limit: Limit = 50
) -> Job[BalancePage]:
    """Return the balances of a holder that are not zero, ncolo first."""
    balances = _balances(query, address, cursor or NCOLO)
    candidates = (
        (denom, BalanceView(denom, encode_amount(amount)) if amount else None)
        for denom, amount in balances
    )
    return BalancePage(*(yield from page(query, candidates, limit)))


def _balances(query: QueryContext, holder: bytes, start: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield (denomination, amount) in order; royalty units never moved are implicit."""
    if start == NCOLO:
        yield NCOLO, balance_of(query.state, holder)
    is_implicit = (
        holder[0] == Kind.IP
        and start <= holder
        and BALANCES.get(query.state, holder + holder) is None
    )
    for key, row in BALANCES.scan(query.state, start=holder + start, within=holder):
        if is_implicit and key[21:] > holder:
            is_implicit = False
            yield holder, ROYALTY_UNITS
        yield key[21:], int.from_bytes(row.amount, "big")
    if is_implicit:
        yield holder, ROYALTY_UNITS


def get_nonce(
    query: QueryContext, *, address: AccountId, lane: Annotated[int, msgspec.Meta(ge=0, le=63)] = 0
) -> NonceView:
    """Return the next sequence number of an account's lane."""
    row = ACCOUNTS.get(query.state, address)
    return NonceView(lane, next_seq(query.state, row, address, lane))


def all_balances(state: Scanner) -> Iterator[tuple[bytes, int]]:
    """Yield (denomination, amount) of every balance, for the conservation check (N-account.5).

    Royalty units that were never moved are implicit and stand outside this list.
    """
    for _, account in ACCOUNTS.scan(state):
        yield NCOLO, int.from_bytes(account.balance, "big")
    for key, row in BALANCES.scan(state):
        yield key[21:], int.from_bytes(row.amount, "big")


MODULE = Module(
    name="account",
    version=3,
    messages={SetKeys: apply_set_keys, RequireAcceptance: apply_require_acceptance},
    events=(KeysSet, AcceptanceRequired),
    tables=(ACCOUNTS, LANES, BALANCES, SUPPLIES, PREFERENCES),
    queries={"get": get_account, "balances": get_balances, "nonce": get_nonce},
    money=all_balances,
)
