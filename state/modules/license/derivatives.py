"""Registering derivatives (N-license.7 – N-license.8)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from chain import fees
from chain.codec import encode_amount
from chain.errors import Rejected
from chain.ids import format_id

from ...context import Context
from ...deposits import drop_paid, put_paid
from ...module import Reader, Steps
from .. import royalty
from ..ip import IPS, Ip, is_expired, require_exists, require_owner, store
from ..royalty import Policy
from ..royalty.rows import Link, lineage_of
from . import messages as m
from . import rows
from .lots import ANCESTORS_MAX, burn_units, require_fee_within
from .messages import Terms
from .terms import add_attachment, offer_of

EDGES_MAX = 8_192
"""Edges of the graph a derivative joins, its own included: bounds every later walk."""
PAYING_UNITS = m.PARENT_WEIGHT + 3 * fees.KEY_WRITE_UNITS
"""Of what a parent costs, all that is done when it is paid."""
ATTACHING_UNITS = 2 * fees.KEY_WRITE_UNITS


@dataclass(frozen=True, slots=True)
class ParentPlan:
    """One parent of a derivative, checked and priced."""

    ip: bytes
    row: Ip
    terms_id: bytes
    terms: Terms
    fee: int
    share: int
    lot: bytes | None


@dataclass(frozen=True, slots=True)
class DerivativePlan:
    """What a registration will do."""

    parents: list[ParentPlan]
    fee: int
    policy: Policy
    ancestors: int
    edges: int
    expires_at: int


def _plan(ctx: Context, message: m.RegisterDerivative) -> Generator[int, None, DerivativePlan]:
    """Check a registration in the order of N-license.8; raises ``Rejected``."""
    if not message.parents:
        raise Rejected("license/NoParentIp", "a derivative needs a parent")
    state, now_ms = ctx.state, ctx.time_ms
    parents = [_plan_parent(state, now_ms, ctx.actor, message.child, it) for it in message.parents]
    _check_compatible(state, message.child, parents)
    _check_child(state, message.child, len(parents))
    names = [parent.ip for parent in parents]
    if len(set(names)) != len(names):
        raise Rejected("license/DuplicateParentIp", "a parent stands twice in the list")
    ancestors, edges = yield from _measure_graph(ctx, names)
    policy = _require_one_policy(parents)
    fee = _check_maxima(parents, message)
    return DerivativePlan(parents, fee, policy, ancestors, edges, _earliest_expiry(now_ms, parents))


def _plan_parent(
    state: Reader, now_ms: int, actor: bytes, child: bytes, parent: m.Parent
) -> ParentPlan:
    if parent.ip == child:
        raise Rejected("license/DerivativeIsParent", f"{format_id(child)} would be its own parent")
    row = IPS.get(state, parent.ip)
    if row is None:
        raise Rejected("license/ParentIpNotRegistered", f"no IP {format_id(parent.ip)}")
    if is_expired(row.expires_at, now_ms):
        raise Rejected("license/ParentIpExpired", f"{format_id(parent.ip)} has expired")
    if (parent.terms is None) == (parent.lot is None):
        raise Rejected("license/TermsOrLot", "a parent is named with its terms or with a lot")
    if parent.lot is not None:
        return _plan_lot(state, actor, child, parent.ip, row, parent.lot)
    assert parent.terms is not None
    offer = offer_of(state, parent.ip, parent.terms)
    if not offer.attached:
        raise Rejected(
            "license/ParentIpHasNoLicenseTerms",
            f"{format_id(parent.ip)} is not offered under {format_id(parent.terms)}",
        )
    if offer.disabled:
        raise Rejected("license/LicenseDisabled", f"{format_id(parent.ip)} disabled these terms")
    fee = offer.fee if offer.terms.royalty_policy is not Policy.NONE else 0
    return ParentPlan(parent.ip, row, parent.terms, offer.terms, fee, offer.share, None)


def _plan_lot(
    state: Reader, actor: bytes, child: bytes, ip: bytes, row: Ip, lot_id: bytes
) -> ParentPlan:
    """A unit of a lot: terms and share as minted, no fee now."""
    lot = rows.require_lot(state, lot_id)
    if lot.licensor != ip:
        raise Rejected("license/LotOfOtherIp", f"the lot is of {format_id(lot.licensor)}")
    if not (rows.held(state, lot_id, actor) or rows.held(state, lot_id, child)):
        raise Rejected(
            "license/CallerAndChildIPNotTokenOwner", "neither sender nor child holds the licence"
        )
    terms = rows.require_terms(state, lot.terms)
    return ParentPlan(ip, row, lot.terms, terms, 0, lot.rev_share, lot_id)


def _check_compatible(state: Reader, child: bytes, parents: list[ParentPlan]) -> None:
    """Terms that may stand together, each allowing this child (reference rules of PIL)."""
    first = parents[0].terms
    for parent in parents:
        terms = parent.terms
        lineage = lineage_of(state, parent.ip)
        problem = ""
        if not terms.derivatives_allowed:
            problem = "do not allow derivatives"
        elif terms.commercial_use != first.commercial_use:
            problem = "differ in commercial use from the first parent's"
        elif terms.derivatives_reciprocal != first.derivatives_reciprocal:
            problem = "differ in reciprocity from the first parent's"
        elif terms.derivatives_reciprocal and parent.terms_id != parents[0].terms_id:
            problem = "are reciprocal and not the first parent's"
        elif lineage.derives and not terms.derivatives_reciprocal:
            problem = "are of a derivative and not reciprocal"
        elif terms.derivatives_approval and not _is_approved(state, parent, child):
            problem = "ask for an approval that was not given"
        if problem:
            raise Rejected(
                "license/LicenseNotCompatibleForDerivative",
                f"the terms of {format_id(parent.ip)} {problem}",
                parent=parent.ip,
            )


def _is_approved(state: Reader, parent: ParentPlan, child: bytes) -> bool:
    approval = rows.APPROVALS.get(state, parent.ip + parent.terms_id + child)
    return approval is not None and approval.owner_epoch == parent.row.owner_epoch


def _check_child(state: Reader, child: bytes, parents: int) -> None:
    licensing = rows.licensing_of(state, child)
    lineage = lineage_of(state, child)
    if licensing.ever_minted:
        raise Rejected(
            "license/DerivativeAlreadyHasBeenMintedLicenseTokens",
            f"{format_id(child)} has minted licences",
        )
    if parents > m.PARENTS_MAX:
        raise Rejected(
            "license/TooManyParents",
            f"{parents} parents, at most {m.PARENTS_MAX}",
            found=parents,
            limit=m.PARENTS_MAX,
        )
    if lineage.derives:
        raise Rejected(
            "license/DerivativeAlreadyRegistered", f"{format_id(child)} is a derivative already"
        )
    if lineage.children:
        raise Rejected(
            "license/DerivativeIpAlreadyHasChild", f"{format_id(child)} has derivatives itself"
        )
    if licensing.attached:
        raise Rejected(
            "license/DerivativeIpAlreadyHasLicense", f"{format_id(child)} has terms of its own"
        )


def _measure_graph(ctx: Context, parents: list[bytes]) -> Generator[int, None, tuple[int, int]]:
    """Return (distinct ancestors, edges) of the child; refuse a graph past the limits."""
    graph: dict[bytes, object] = {}
    edges = len(parents)
    for parent in parents:
        if parent in graph:
            continue
        found = yield from royalty.ancestor_graph(ctx, parent, known=graph)
        edges += sum(len(links) for links in found.values())
        graph.update(found)
        if len(graph) > ANCESTORS_MAX:
            raise Rejected(
                "license/TooManyAncestors",
                f"more than {ANCESTORS_MAX} distinct ancestors",
                limit=ANCESTORS_MAX,
            )
        if edges > EDGES_MAX:
            raise Rejected(
                "license/TooManyEdges",
                f"{edges} edges in the graph of ancestors, at most {EDGES_MAX}",
                found=edges,
                limit=EDGES_MAX,
            )
    return len(graph), edges


def _require_one_policy(parents: list[ParentPlan]) -> Policy:
    first = parents[0].terms
    for parent in parents:
        if parent.terms.royalty_policy != first.royalty_policy:
            raise Rejected("license/RoyaltyPolicyMismatch", "the parents' policies differ")
        if parent.terms.currency != first.currency:
            raise Rejected("license/CurrencyMismatch", "the parents' currencies differ")
    return first.royalty_policy


def _check_maxima(parents: list[ParentPlan], message: m.RegisterDerivative) -> int:
    """Return the whole fee; refuse when fee or share exceed what the sender allowed."""
    fee = share = 0
    for parent in parents:
        fee += parent.fee
        require_fee_within(fee, message.max_minting_fee)
    for parent in parents:
        share += parent.share
        if message.max_rev_share is not None and share > message.max_rev_share:
            raise Rejected(
                "license/ExceedMaxRevenueShare",
                f"the shares sum to {share}, at most {message.max_rev_share} was allowed",
                parent=parent.ip,
                found=share,
                limit=message.max_rev_share,
            )
    return fee


def _earliest_expiry(now_ms: int, parents: list[ParentPlan]) -> int:
    """Return the earliest end among parents and their terms; 0 if none ends."""
    ends = [parent.row.expires_at for parent in parents]
    ends += [
        now_ms + parent.terms.expiration * 1000 for parent in parents if parent.terms.expiration
    ]
    return min((end for end in ends if end), default=0)


def apply_register_derivative(ctx: Context, message: m.RegisterDerivative) -> Steps:
    """N-license.8: pay every parent, consume lots, inherit the terms, join the lineage."""
    child = require_owner(ctx, message.child)
    plan = yield from _plan(ctx, message)
    for parent in plan.parents:
        if parent.lot is not None:
            _consume(ctx, message.child, parent.lot)
        if parent.fee:
            assert parent.terms.currency is not None, "a policy needs a currency"
            royalty.pay_license_fee(ctx, parent.ip, parent.terms.currency, parent.fee)
        yield PAYING_UNITS
    links = [Link(parent.ip, parent.share) for parent in plan.parents]
    currency = plan.parents[0].terms.currency
    if currency is not None:
        royalty.accept_denoms(ctx, message.child, [currency])
    royalty.link(ctx, message.child, plan.policy, links, (plan.ancestors, plan.edges))
    terms_ids = list(dict.fromkeys(parent.terms_id for parent in plan.parents))
    for terms_id in terms_ids:
        add_attachment(ctx, message.child, terms_id, None, inherited=True)
        yield ATTACHING_UNITS
    store(ctx, message.child, child, expires_at=plan.expires_at)
    ctx.emit(
        m.DerivativeRegistered(
            message.child,
            [parent.ip for parent in plan.parents],
            terms_ids,
            encode_amount(plan.fee),
            plan.expires_at,
        )
    )


def _consume(ctx: Context, child: bytes, lot_id: bytes) -> None:
    lot = rows.require_lot(ctx.state, lot_id)
    holder = ctx.actor if rows.held(ctx.state, lot_id, ctx.actor) else child
    burn_units(ctx, lot_id, lot, holder, 1)


def apply_approve_derivative(ctx: Context, message: m.ApproveDerivative) -> None:
    """N-license.7: by the parent's owner; withdrawing returns the deposit."""
    row = require_owner(ctx, message.parent)
    rows.require_terms(ctx.state, message.terms)
    require_exists(ctx.state, message.child)
    key = message.parent + message.terms + message.child
    if message.approved:
        put_paid(ctx, rows.APPROVALS, key, rows.Approval(row.owner_epoch, ctx.actor, b""))
    else:
        drop_paid(ctx, rows.APPROVALS, key)
    store(ctx, message.parent, row)
    ctx.emit(m.DerivativeApproved(message.parent, message.terms, message.child, message.approved))
