"""What can be asked about licences, and the derived rows behind it."""

from __future__ import annotations

from collections.abc import Iterator

from chain.application import Job
from chain.codec import U32, U64, Record, encode_amount
from chain.errors import Misuse, Rejected
from chain.fields import Amount, Denom, Share
from chain.ids import ID_BYTES, Holder, IpId, LotId, TermsId, format_id

from ...layout import after
from ...module import Event, EventPlace, IndexRow, QueryContext
from ...paging import Limit, page
from ...trial import run_message
from ..ip import require_registered
from ..royalty.messages import Linked
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
    """What a mint or a derivative would cost now, besides the transaction's own fee."""

    fee: Amount
    currency: Denom | None
    shares: list[Share]
    """Of revenue, for the licence minted or for each parent in the order named."""
    deposit: Amount
    """ncolo held while what is made exists, less what is freed."""
    units: U64
    """Metered units it uses: the least ``max_units`` that is enough."""


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
    query: QueryContext, *, sender: Holder, message: m.Mint | m.RegisterDerivative
) -> Job[QuoteView]:
    """Return what a message would cost, or how it would be refused, if it ran now (N-license.9)."""
    if isinstance(message, m.Mint):
        ctx = yield from run_message(query, sender, message, lots.apply_mint, 0)
    else:
        ctx = yield from run_message(
            query, sender, message, derivatives.apply_register_derivative, message.max_units
        )
    fee, terms, shares = _price(ctx.events)
    currency = rows.require_terms(query.state, terms).currency
    return QuoteView(fee, currency, shares, encode_amount(max(ctx.deposits, 0)), ctx.units_used)


def _price(events: list[Event]) -> tuple[bytes, bytes, list[int]]:
    """Return fee, terms and shares from the events of a mint or a link."""
    shares: list[int] = []
    for event in events:
        if isinstance(event, Linked):
            shares = event.shares
        elif isinstance(event, m.Minted):
            return event.fee, event.terms, [event.rev_share]
        elif isinstance(event, m.DerivativeRegistered):
            return event.fee, event.terms[0], shares
    raise Misuse("a mint or a link has its event")


def index(place: EventPlace, event: Event) -> Iterator[IndexRow]:
    """Derived rows: lots by holder (kept when empty; the state says how many are left)."""
    if isinstance(event, m.Minted):
        yield HOLDER_LOTS + event.receiver + event.lot, b""
    elif isinstance(event, m.Moved):
        yield HOLDER_LOTS + event.to + event.lot, b""
