"""Whether a transaction may stand in a block: the one place for rule T4 (protocol.md T4, B4)."""

from __future__ import annotations

from chain import fees
from chain.codec import encode_amount
from chain.errors import Rejected
from chain.ids import format_id

from .context import BlockContext
from .modules.account import ACCOUNTS, LANES, Account, Lane, next_seq, require_keys
from .registry import Transaction


def authorise(block: BlockContext, tx: Transaction) -> None:
    """Take the sequence number and debit the whole fee, or raise ``Rejected``.

    The state must be the parent's with only earlier transactions of this block authorised: keys,
    balances and sequence numbers that messages of this block change count from the next block
    on. Nothing is written when it raises.
    """
    body = tx.body
    params = block.params
    if tx.units > params.tx_units_max:
        raise Rejected(
            "tx/TooManyUnits",
            f"the transaction declares {tx.units} units, at most {params.tx_units_max}",
            found=tx.units,
            limit=params.tx_units_max,
        )
    require_not_expired(body.valid_until, block.time_ms)
    fee = require_fee(tx, block.base_fee)
    account = ACCOUNTS.get(block.state, body.sender)
    if account is None:
        raise Rejected("tx/FeeUnpaid", f"{format_id(body.sender)} has no balance to pay {fee}")
    require_keys(body.sender, account, body.keys)
    expected = next_seq(block.state, account, body.sender, body.lane)
    if body.seq != expected:
        raise Rejected(
            "tx/WrongSeq",
            f"sequence number {body.seq} in lane {body.lane}, the next is {expected}",
            found=body.seq,
            expected=expected,
            lane=body.lane,
        )
    held = int.from_bytes(account.balance, "big")
    if held < fee:
        raise Rejected(
            "tx/FeeUnpaid",
            f"the fee is {fee} ncolo, {format_id(body.sender)} has {held}",
            fee=fee,
            held=held,
        )
    seq = account.seq
    if body.lane == 0:
        seq += 1
    else:
        LANES.put(block.state, body.sender + bytes((body.lane,)), Lane(body.seq + 1))
    ACCOUNTS.put(block.state, body.sender, Account(1, encode_amount(held - fee), seq, account.keys))


def require_not_expired(valid_until: int, time_ms: int) -> None:
    """Refuse a transaction whose ``valid_until`` lies before the block's time (T4)."""
    if valid_until and valid_until < time_ms:
        raise Rejected(
            "tx/Expired",
            f"valid until {valid_until} ms, the block's time is {time_ms}",
            valid_until=valid_until,
            time_ms=time_ms,
        )


def require_fee(tx: Transaction, base_fee: int) -> int:
    """Return the fee F at this base fee; ``tx/FeeTooLow`` if ``max_fee`` is below it (F2)."""
    fee = fees.base_part(tx.units, base_fee) + int.from_bytes(tx.body.tip, "big")
    max_fee = int.from_bytes(tx.body.max_fee, "big")
    if max_fee < fee:
        raise Rejected(
            "tx/FeeTooLow",
            f"max_fee is {max_fee} ncolo, this block asks {fee}",
            max_fee=max_fee,
            fee=fee,
        )
    return fee
