"""Minting, moving and burning licences (N-license.5 – N-license.6)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from chain.codec import encode_amount
from chain.errors import Rejected
from chain.ids import Kind, format_id
from chain.types import PERCENT

from ...context import Context
from ...deposits import put_kept, put_paid, return_deposit
from ...module import Reader
from .. import royalty
from ..ip import IPS, is_expired, require_exists, require_registered, store
from ..royalty import Policy
from ..royalty.rows import lineage_of
from . import messages as m
from . import rows
from .terms import Offer, offer_of

ANCESTORS_MAX = 1_024
"""Distinct ancestors of one IP."""


class MintPlan(NamedTuple):
    """What a mint will do: the one answer for ``mint`` and ``quote``."""

    offer: Offer
    fee: int
    by_owner: bool


def plan_mint(state: Reader, now_ms: int, actor: bytes, message: m.Mint) -> MintPlan:
    """Check a mint in the order of N-license.5 and return its fee; raises ``Rejected``."""
    if message.amount == 0:
        raise Rejected("license/MintAmountZero", "the amount is 0")
    row = IPS.get(state, message.licensor)
    if row is None:
        raise Rejected("license/LicensorIpNotRegistered", f"no IP {format_id(message.licensor)}")
    if message.receiver[0] == Kind.IP:
        require_exists(state, message.receiver)
    by_owner = actor in (row.owner, message.licensor)
    if is_expired(row.expires_at, now_ms):
        raise Rejected("license/ParentIpExpired", f"{format_id(message.licensor)} has expired")
    offer = offer_of(state, message.licensor, message.terms)
    if not by_owner and not offer.attached:
        raise Rejected(
            "license/LicensorIpHasNoLicenseTerms",
            f"{format_id(message.licensor)} is not offered under {format_id(message.terms)}",
        )
    _check_lineage(state, message.licensor, offer)
    fee = offer.fee * message.amount if offer.terms.royalty_policy is not Policy.NONE else 0
    require_fee_within(fee, message.max_minting_fee)
    if message.max_rev_share is not None and offer.share > message.max_rev_share:
        raise Rejected(
            "license/CommercialRevenueShareExceedMaxRevenueShare",
            f"the share is {offer.share}, at most {message.max_rev_share} was allowed",
            found=offer.share,
            limit=message.max_rev_share,
        )
    return MintPlan(offer, fee, by_owner)


def _check_lineage(state: Reader, licensor: bytes, offer: Offer) -> None:
    """Checks 4 to 7 of a mint: ancestors, disabled, stack, reciprocity of a derivative."""
    lineage = lineage_of(state, licensor)
    if offer.terms.derivatives_allowed and lineage.ancestors >= ANCESTORS_MAX:
        raise Rejected(
            "license/TooManyAncestorsForMintingLicenseTokenAllowRegisterDerivative",
            f"{format_id(licensor)} has {lineage.ancestors} ancestors",
            limit=ANCESTORS_MAX,
        )
    if offer.disabled:
        raise Rejected("license/LicenseDisabled", "its owner has disabled these terms")
    stack = offer.share + (lineage.stack if offer.terms.royalty_policy is Policy.LAP else 0)
    if stack > PERCENT:
        raise Rejected(
            "royalty/AboveMaxPercent", f"the shares above would sum to {stack}", found=stack
        )
    if lineage.derives and not (offer.attached and offer.terms.derivatives_reciprocal):
        raise Rejected(
            "license/LicenseDenyMintLicenseToken",
            "a derivative licenses under its inherited, reciprocal terms only",
        )


def require_fee_within(fee: int, limit: bytes | None) -> None:
    """Refuse a fee above what the sender allowed; absent means no limit."""
    if limit is not None and fee > int.from_bytes(limit, "big"):
        most = int.from_bytes(limit, "big")
        raise Rejected(
            "license/MintingFeeExceedMaxMintingFee",
            f"the minting fee is {fee}, at most {most} was allowed",
            found=fee,
            limit=most,
        )


def apply_mint(ctx: Context, message: m.Mint) -> None:
    """N-license.5: pay, then one lot whatever the amount."""
    plan = plan_mint(ctx.state, ctx.time_ms, ctx.actor, message)
    terms = plan.offer.terms
    if plan.fee:
        assert terms.currency is not None, "a policy needs a currency"
        royalty.pay_license_fee(ctx, message.licensor, terms.currency, plan.fee)
    lot = ctx.new_id(Kind.LOT)
    row = rows.Lot(
        1, message.licensor, message.terms, plan.offer.share, terms.transferable, message.amount,
        ctx.actor, b"",
    )  # fmt: skip
    put_paid(ctx, rows.LOTS, lot, row)
    rows.HOLDINGS.put(ctx.state, lot + message.receiver, rows.Holding(message.amount))
    licensing = rows.licensing_of(ctx.state, message.licensor)
    if not licensing.ever_minted:
        minted = rows.Licensing(licensing.attached, True)
        put_kept(ctx, rows.LICENSINGS, message.licensor, minted)
    if plan.by_owner and not plan.offer.attached:
        store(ctx, message.licensor, require_registered(ctx.state, message.licensor))
    ctx.emit(
        m.Minted(
            lot, message.licensor, message.terms, message.amount, message.receiver,
            plan.offer.share, encode_amount(plan.fee),
        )
    )  # fmt: skip


def apply_transfer(ctx: Context, message: m.Transfer) -> None:
    """N-license.6: a lot that may not move can still be moved by its licensor."""
    row = rows.require_lot(ctx.state, message.lot)
    if message.to == ctx.actor:
        raise Rejected("license/SelfTransfer", "the receiver holds them already")
    if message.to[0] == Kind.IP:
        require_exists(ctx.state, message.to)
    if not row.transferable and ctx.actor != row.licensor:
        raise Rejected("license/NotTransferable", "licences of this lot do not move")
    take_units(ctx, message.lot, ctx.actor, message.amount)
    there = rows.held(ctx.state, message.lot, message.to)
    rows.HOLDINGS.put(ctx.state, message.lot + message.to, rows.Holding(there + message.amount))
    ctx.emit(m.Moved(message.lot, ctx.actor, message.to, message.amount))


def take_units(ctx: Context, lot: bytes, holder: bytes, amount: int) -> None:
    """Take units of a lot from a holder; ``license/NotLicenseTokenOwner`` if short."""
    if amount == 0:
        raise Rejected("license/ZeroAmount", "the amount is 0")
    held = rows.held(ctx.state, lot, holder)
    if held < amount:
        raise Rejected(
            "license/NotLicenseTokenOwner",
            f"{format_id(holder)} holds {held} of this lot, {amount} are needed",
            held=held,
            needed=amount,
        )
    if held == amount:
        rows.HOLDINGS.delete(ctx.state, lot + holder)
    else:
        rows.HOLDINGS.put(ctx.state, lot + holder, rows.Holding(held - amount))


def apply_burn(ctx: Context, message: m.Burn) -> None:
    """N-license.6: own units only."""
    row = rows.require_lot(ctx.state, message.lot)
    burn_units(ctx, message.lot, row, ctx.actor, message.amount)


def burn_units(ctx: Context, lot: bytes, row: rows.Lot, holder: bytes, amount: int) -> None:
    """Destroy units of a holder; the last unit removes the lot and returns its deposit."""
    take_units(ctx, lot, holder, amount)
    left = row.amount - amount
    assert left >= 0, "holdings of a lot sum to its amount"
    if left:
        rows.LOTS.put(ctx.state, lot, msgspec.structs.replace(row, amount=left))
    else:
        rows.LOTS.delete(ctx.state, lot)
        return_deposit(ctx, row.payer, int.from_bytes(row.deposit, "big"))
    ctx.emit(m.Burned(lot, holder, amount))
