"""What rows under the root cost whoever causes them (N-account.4).

Every family stores its rows through one of two functions: ``put_paid`` for rows that can be removed
and remember their deposit, ``put_kept`` for those that stay for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from chain.codec import Record, encode, encode_amount
from chain.errors import Rejected
from chain.ids import NCOLO, format_id

from .context import Context, blob_bytes, record_bytes
from .module import Table
from .modules import account

R = TypeVar("R", bound=Record)


def put_paid(ctx: Context, table: Table[R], key: bytes, row: R) -> None:
    """Store a row whose ``payer`` is the actor and whose ``deposit`` is empty; take the deposit.

    One that stood there gets its own back first.
    """
    drop_paid(ctx, table, key)
    amount = take_deposit(ctx, record_bytes(table.prefix + key, row))
    table.put(ctx.state, key, msgspec.structs.replace(row, deposit=encode_amount(amount)))


def drop_paid(ctx: Context, table: Table[R], key: bytes) -> R | None:
    """Remove such a row if it is there; its deposit goes back to whoever paid it."""
    row = table.get(ctx.state, key)
    if row is not None:
        table.delete(ctx.state, key)
        paid = int.from_bytes(row.deposit, "big")  # type: ignore[attr-defined]  # such rows have it
        return_deposit(ctx, row.payer, paid)  # type: ignore[attr-defined]
    return row


def put_kept(ctx: Context, table: Table[R], key: bytes, row: R) -> None:
    """Store a row that is never removed; the actor pays for what it grows by."""
    full = table.prefix + key
    old = ctx.state.get(full)
    raw = encode(row)
    ctx.state.put(full, raw)
    grown = len(raw) - len(old) if old else len(full) + len(raw) + blob_bytes(row)
    if grown > 0:
        take_deposit(ctx, grown)


def put_new(ctx: Context, fresh: Iterable[tuple[Table[Any], bytes, Record]], about: Record) -> None:
    """Store such rows under keys that are known to be free; the blobs they name are ``about``'s."""
    size = blob_bytes(about)
    for table, key, row in fresh:
        full, raw = table.prefix + key, encode(row)
        ctx.state.put(full, raw)
        size += len(full) + len(raw)
    take_deposit(ctx, size)


def take_deposit(ctx: Context, size_bytes: int) -> int:
    """Charge the actor ``deposit_per_byte · size``; return it for the object to remember.

    All that a message charges is taken when it ends (``pay_deposits``).
    """
    amount = ctx.params.deposit_per_byte * size_bytes
    ctx.owed += amount
    return amount


def pay_deposits(ctx: Context) -> None:
    """Take what the message that ends owes from its actor (N-account.4).

    Raises ``bank/DepositUnpaid`` when the balance is short.
    """
    amount = ctx.owed
    if not amount:
        return
    row = account.ACCOUNTS.get(ctx.state, ctx.actor) or account.EMPTY
    held = int.from_bytes(row.balance, "big")
    if held < amount:
        raise Rejected(
            "bank/DepositUnpaid",
            f"the deposit for what the message stores is {amount} ncolo, "
            f"{format_id(ctx.actor)} has {held}",
            deposit=amount,
            held=held,
        )
    left = account.Account(1, encode_amount(held - amount), row.seq, row.keys)
    account.ACCOUNTS.put(ctx.state, ctx.actor, left)
    ctx.deposits += amount
    ctx.owed = 0


def return_deposit(ctx: Context, payer: bytes, amount: int) -> None:
    """Give an object's deposit back to whoever paid it."""
    account.credit(ctx.state, payer, NCOLO, amount)
    ctx.deposits -= amount
