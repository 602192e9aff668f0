"""Sending money: the native coin, and royalty units of an IP."""

from __future__ import annotations

from typing import Annotated

from chain.codec import Record
from chain.errors import Rejected
from chain.fields import Amount, Denom, listing
from chain.ids import Holder, Kind, format_id

from ..context import Context
from ..module import Event, Message, Module, Steps
from . import account, ip, royalty

OUTPUTS_MAX = 256
"""Receivers of one ``multi_send``; bounds its work to about 6 ms."""
ROYALTY_OUTPUTS_MAX = 128
"""Those of them that move royalty units: as many as one transaction can pay for."""
ROYALTY_DENOMS = 16
"""A move of royalty units settles up to this many denominations; it is priced for all of them."""


class Send(Message, tag="bank.send"):
    """Send an amount to a holder (N-bank.1)."""

    to: Holder
    denom: Denom
    amount: Amount

    WEIGHT = 15
    WRITES = 2

    def weight(self) -> int:
        """A move of royalty units touches one debt per denomination for both sides."""
        return self.WEIGHT if not _is_royalty(self.denom) else self.WEIGHT + 4 * ROYALTY_DENOMS

    def writes(self) -> int:
        """See ``weight``."""
        return self.WRITES if not _is_royalty(self.denom) else self.WRITES + 2 * ROYALTY_DENOMS


class Output(Record):
    """One receiver of a ``multi_send``."""

    to: Holder
    denom: Denom
    amount: Amount


class MultiSend(Message, tag="bank.multi_send"):
    """Send to up to 256 holders, all or nothing (N-bank.2)."""

    outputs: Annotated[list[Output], listing(OUTPUTS_MAX, items_min=1)]

    def weight(self) -> int:
        """The sum of the sends it stands for."""
        return sum(Send(item.to, item.denom, item.amount).weight() for item in self.outputs)

    def writes(self) -> int:
        """The sum of the sends it stands for."""
        return sum(Send(item.to, item.denom, item.amount).writes() for item in self.outputs)


class Sent(Event, tag="bank.sent"):
    """Money has moved."""

    sender: Holder
    to: Holder
    denom: Denom
    amount: Amount


def _is_royalty(denom: bytes) -> bool:
    return denom[:1] == b"\x02"


def apply_send(ctx: Context, message: Send) -> None:
    """N-bank.1: not zero, not to oneself, to somebody who exists."""
    _send(ctx, message.to, message.denom, message.amount)


def apply_multi_send(ctx: Context, message: MultiSend) -> Steps:
    """N-bank.2: every output as a send, in order; at most 128 move royalty units."""
    royal = sum(_is_royalty(output.denom) for output in message.outputs)
    if royal > ROYALTY_OUTPUTS_MAX:
        raise Rejected(
            "bank/TooManyRoyaltySends",
            f"{royal} outputs of royalty units, at most {ROYALTY_OUTPUTS_MAX}",
            found=royal,
            limit=ROYALTY_OUTPUTS_MAX,
        )
    for output in message.outputs:
        _send(ctx, output.to, output.denom, output.amount)
        yield Send(output.to, output.denom, output.amount).units()


def _send(ctx: Context, to: bytes, denom: bytes, raw_amount: bytes) -> None:
    amount = int.from_bytes(raw_amount, "big")
    if amount == 0:
        raise Rejected("bank/ZeroAmount", "the amount is 0")
    if to == ctx.actor:
        raise Rejected("bank/SelfSend", f"{format_id(to)} cannot send to itself")
    if to[0] == Kind.IP:
        ip.require_exists(ctx.state, to)
    if denom == b"":
        account.move_balance(ctx.state, ctx.actor, to, denom, amount)
    elif denom[0] == Kind.IP:
        royalty.move_units(ctx, denom, ctx.actor, to, amount)
    else:
        raise Rejected("bank/UnknownDenom", f"no token {format_id(denom)}", denom=denom)
    ctx.emit(Sent(ctx.actor, to, denom, raw_amount))


MODULE = Module(
    name="bank",
    version=2,
    messages={Send: apply_send, MultiSend: apply_multi_send},
    events=(Sent,),
    tables=(),
)
