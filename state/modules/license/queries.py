"""What can be asked about licences, and the derived rows behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from chain.application import Job
from chain.codec import U32, U64, Record, encode_amount
from chain.errors import Rejected
from chain.fields import Amount, Denom, listing
from chain.ids import ID_BYTES, AnyId, Holder, IpId, LotId, TermsId, format_id

from ...layout import after
from ...module import Event, EventPlace, IndexRow, QueryContext
from ...paging import Limit, page
from ..ip import require_registered
from . import derivatives, lots, rows
from . import messages as m
from .messages import Config, Terms
from .terms import offer_of

HOLDER_LOTS = b"license\0h"


class TermsView(Record):
    """Registered terms; ``number`` is for display only."""

    id: TermsId
    number: U64
    terms: Terms


class TermsPage(Record):
    """Some terms and where the next page begins (absent at the end)."""

    items: list[TermsView]
    cursor: TermsId | None


class OfferView(Record):
    """Terms an IP is offered under, and what it asks."""

    terms: TermsId
    inherited: bool
    config: Config | None
    minting_fee: Amount
    rev_share: U32
    currency: Denom | None
    disabled: bool


class OfferPage(Record):
    """Some offers and where the next page begins (absent at the end)."""

    items: list[OfferView]
    cursor: TermsId | None


class LotView(Record):
    """Licences minted together."""

    lot: LotId
    licensor: IpId
    terms: TermsId
    rev_share: U32
    transferable: bool
    amount: U64


class HoldingView(Record):
    """Licences somebody holds."""

    lot: LotId
    licensor: IpId
    terms: TermsId
    amount: U64


class HoldingPage(Record):
    """Some holdings and where the next page begins (absent at the end)."""

    items: list[HoldingView]
    cursor: LotId | None


class QuoteView(Record):
    """What a mint or a derivative would cost now."""

    fee: Amount
    currency: Denom | None
    rev_share: U32


def get(query: QueryContext, *, terms: TermsId) -> TermsView:
    """Return registered terms."""
    row = rows.TERMS.get(query.state, terms)
    if row is None:
        raise Rejected("license/LicenseTermsNotExists", f"no terms {format_id(terms)}")
    return TermsView(terms, row.number, row.terms)


def list_terms(
    query: QueryContext, *, cursor: TermsId | None = None, limit: Limit = 50
) -> Job[TermsPage]:
    """Return registered terms in the order of their ids."""
    candidates = (
        (key, TermsView(key, row.number, row.terms))
        for key, row in rows.TERMS.scan(query.state, start=cursor or b"")
    )
    return TermsPage(*(yield from page(query, candidates, limit)))


def offers(
    query: QueryContext, *, ip: IpId, cursor: TermsId | None = None, limit: Limit = 50
) -> Job[OfferPage]:
    """Return the terms an IP is offered under, with what it asks."""
    require_registered(query.state, ip)
    attached = rows.ATTACHMENTS.scan(query.state, start=ip + (cursor or b""), within=ip)
    candidates = ((key[ID_BYTES:], _offer_view(query, key, row)) for key, row in attached)
    return OfferPage(*(yield from page(query, candidates, limit)))


def _offer_view(query: QueryContext, key: bytes, row: rows.Attachment) -> OfferView:
    ip, terms = key[:ID_BYTES], key[ID_BYTES:]
    offer = offer_of(query.state, ip, terms)
    return OfferView(
        terms, row.inherited, row.config, encode_amount(offer.fee), offer.share,
        offer.terms.currency, offer.disabled,
    )  # fmt: skip


def lot(query: QueryContext, *, lot: LotId) -> LotView:
    """Return a lot."""
    row = rows.require_lot(query.state, lot)
    return LotView(lot, row.licensor, row.terms, row.rev_share, row.transferable, row.amount)


def holdings(
    query: QueryContext, *, holder: Holder, cursor: LotId | None = None, limit: Limit = 50
) -> Job[HoldingPage]:
    """Return the licences a holder has, in the order of their lots."""
    prefix = HOLDER_LOTS + holder
    found = query.index.scan(prefix + (cursor or b""), after(prefix))
    candidates = (
        (key[len(prefix) :], _holding_view(query, key[len(prefix) :], holder)) for key, _ in found
    )
    return HoldingPage(*(yield from page(query, candidates, limit)))


def _holding_view(query: QueryContext, lot: bytes, holder: bytes) -> HoldingView | None:
    """Return what a holder has of a lot; None if it has been burnt, consumed or moved on."""
    amount = rows.held(query.state, lot, holder)
    row = rows.LOTS.get(query.state, lot)
    if not amount or row is None:
        return None
    return HoldingView(lot, row.licensor, row.terms, amount)


def quote(
    query: QueryContext,
    *,
    sender: Holder,
    licensor: IpId | None = None,
    terms: TermsId | None = None,
    amount: U64 = 1,
    receiver: Holder | None = None,
    child: AnyId | None = None,
    parents: Annotated[list[m.Parent], listing(m.PARENTS_DECODED_MAX)] | None = None,
) -> QuoteView:
    """Return the exact fee, or the exact refusal, that a message would meet now (N-license.9).

    With ``licensor`` and ``terms``: of ``license.mint``; with ``child`` and ``parents``: of
    ``license.register_derivative``.
    """
    if licensor is not None and terms is not None:
        mint = m.Mint(licensor, terms, amount, receiver if receiver is not None else sender)
        plan = lots.plan_mint(query.state, query.time_ms, sender, mint)
        return QuoteView(encode_amount(plan.fee), plan.offer.terms.currency, plan.offer.share)
    if child is not None and parents is not None:
        message = m.RegisterDerivative(child, parents)
        planned = derivatives.plan_derivative(None, query.state, query.time_ms, sender, message)
        share = sum(parent.share for parent in planned.parents)
        currency = planned.parents[0].terms.currency
        return QuoteView(encode_amount(planned.fee), currency, share)
    raise Rejected("license/QuoteWhat", "give licensor and terms for a mint, or child and parents")


def index(place: EventPlace, event: Event) -> Iterator[IndexRow]:
    """Derived rows: lots by holder (kept when empty; the state says how many are left)."""
    if isinstance(event, m.Minted):
        yield HOLDER_LOTS + event.receiver + event.lot, b""
    elif isinstance(event, m.Moved):
        yield HOLDER_LOTS + event.to + event.lot, b""
