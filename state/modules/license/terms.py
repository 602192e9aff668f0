"""Which terms may exist, and what an IP asks under them (N-license.1 – N-license.4)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from chain.codec import encode_amount
from chain.errors import Rejected
from chain.ids import NCOLO, SYSTEM, format_id
from chain.types import DURATION_MAX_MS, PERCENT

from ...context import Context, record_bytes
from ...deposits import put_kept, put_paid, take_deposit
from ...module import Reader
from .. import royalty
from ..ip import Ip, is_expired, require_owner, store
from ..royalty import Policy
from ..royalty.rows import lineage_of
from . import messages as m
from . import rows
from .messages import Config, Ownership, Terms

# --- what terms may say -----------------------------------------------------------------------

_COMMERCIAL_ONLY = ("commercial_attribution", "rev_share", "royalty_policy")
_DERIVATIVE_ONLY = ("derivatives_attribution", "derivatives_approval", "derivatives_reciprocal")


def check_terms(terms: Terms) -> None:
    """Refuse terms that contradict themselves (N-license.1)."""
    _require_known(terms)
    if terms.rev_share > PERCENT:
        raise Rejected(
            "license/InvalidRoyaltyPercent",
            f"rev_share is {terms.rev_share}, at most {PERCENT}",
            found=terms.rev_share,
        )
    if terms.royalty_policy is not Policy.NONE and terms.currency is None:
        raise Rejected(
            "license/RoyaltyPolicyRequiresCurrencyToken", "a royalty policy needs a currency"
        )
    if terms.currency not in (None, NCOLO):
        raise Rejected(
            "license/CurrencyTokenNotWhitelisted", "the currency is not ncolo or an existing token"
        )
    if terms.minting_fee and terms.royalty_policy is Policy.NONE:
        raise Rejected(
            "license/MintingFeeRequiresRoyaltyPolicy", "a minting fee needs a royalty policy"
        )
    _check_commercial(terms)
    _check_derivatives(terms)
    if terms.output_share > PERCENT or (
        terms.output_share and terms.output_ownership is not Ownership.SHARED
    ):
        raise Rejected(
            "license/InvalidOutputShare", "output_share goes with shared ownership, up to 100 %"
        )
    if terms.expiration > DURATION_MAX_MS // 1000:
        raise Rejected("license/ExpirationTooLong", "expiration exceeds 100 years of seconds")


def _require_known(terms: Terms) -> None:
    """Refuse what no rule enforces yet: recorded but ignored would be a lie."""
    if terms.commercializer is not None:
        raise Rejected("license/GateNotActive", "conditions are not active on this network")
    if terms.rev_ceiling or terms.derivative_rev_ceiling:
        raise Rejected("license/CeilingNotActive", "revenue ceilings are not active here")


def _check_commercial(terms: Terms) -> None:
    if terms.commercial_use:
        if terms.royalty_policy is Policy.NONE:
            raise Rejected(
                "license/CommercialUseRequiresRoyaltyPolicy", "commercial use needs a policy"
            )
        return
    for name in _COMMERCIAL_ONLY:
        if getattr(terms, name):
            raise Rejected("license/CommercialDisabled", f"{name} needs commercial_use", field=name)


def _check_derivatives(terms: Terms) -> None:
    if terms.derivatives_allowed:
        return
    for name in _DERIVATIVE_ONLY:
        if getattr(terms, name):
            raise Rejected(
                "license/DerivativesDisabled", f"{name} needs derivatives_allowed", field=name
            )


def apply_register_terms(ctx: Context, message: m.RegisterTerms) -> None:
    """N-license.2: known terms succeed and change nothing."""
    check_terms(message.terms)
    terms_id = rows.terms_id_of(message.terms)
    if not rows.TERMS.has(ctx.state, terms_id):
        _add_terms(ctx, terms_id, message.terms, free=False)


def _add_terms(ctx: Context, terms_id: bytes, terms: Terms, *, free: bool) -> None:
    counter = rows.COUNTERS.get(ctx.state, b"") or rows.Counter(0)
    number = counter.terms + 1
    row = rows.TermsRow(1, number, terms, ctx.actor, b"")
    if not free:
        deposit = take_deposit(ctx, record_bytes(rows.TERMS.prefix + terms_id, row))
        row = msgspec.structs.replace(row, deposit=encode_amount(deposit))
    rows.TERMS.put(ctx.state, terms_id, row)
    rows.COUNTERS.put(ctx.state, b"", rows.Counter(number))
    ctx.emit(m.TermsRegistered(terms_id, number, ctx.actor))


# --- genesis flavours -------------------------------------------------------------------------

_REMIX = Terms(
    royalty_policy=Policy.LAP,
    commercial_use=True,
    commercial_attribution=True,
    derivatives_allowed=True,
    derivatives_attribution=True,
    derivatives_reciprocal=True,
    currency=NCOLO,
)

FLAVOURS = (
    Terms(derivatives_allowed=True, derivatives_attribution=True, derivatives_reciprocal=True),
    Terms(
        royalty_policy=Policy.LAP,
        commercial_use=True,
        commercial_attribution=True,
        currency=NCOLO,
    ),
    msgspec.structs.replace(_REMIX, rev_share=10_000_000),
    _REMIX,
)
"""Numbers 1 to 4: non-commercial social remixing, commercial use, commercial remix, CC-BY."""


def genesis(ctx: Context, state: bytes | None) -> None:
    """Register the four flavours; the family takes no genesis state of its own."""
    if state is not None:
        raise Rejected("genesis/NoModuleState", "license takes no genesis state")
    ctx.actor = SYSTEM
    for terms in FLAVOURS:
        check_terms(terms)
        _add_terms(ctx, rows.terms_id_of(terms), terms, free=True)


# --- what an IP asks --------------------------------------------------------------------------


class Offer(NamedTuple):
    """What one licence of an IP under terms costs now."""

    terms: Terms
    fee: int
    share: int
    disabled: bool
    attached: bool


def offer_of(state: Reader, ip: bytes, terms_id: bytes) -> Offer:
    """Return the fee and share an IP asks under terms: its config, else the terms."""
    terms = rows.require_terms(state, terms_id)
    attachment = rows.ATTACHMENTS.get(state, ip + terms_id)
    config = rows.NO_CONFIG
    if attachment is not None and attachment.config is not None:
        config = attachment.config
    fee = terms.minting_fee if config.minting_fee is None else config.minting_fee
    share = terms.rev_share if config.rev_share is None else config.rev_share
    return Offer(terms, int.from_bytes(fee, "big"), share, config.disabled, attachment is not None)


def check_config(terms: Terms, config: Config) -> None:
    """N-license.4: never below the terms, never a share without commercial use."""
    if config.rev_share is not None:
        if config.rev_share > PERCENT:
            raise Rejected(
                "license/InvalidRoyaltyPercent", f"rev_share is {config.rev_share}, at most 100 %"
            )
        if config.rev_share < terms.rev_share or (config.rev_share and not terms.commercial_use):
            raise Rejected(
                "license/CurrentLicenseNotAllowOverrideRoyaltyPercent",
                f"rev_share {config.rev_share} cannot replace the terms' {terms.rev_share}",
            )
    if config.minting_fee is not None:
        fee, least = (int.from_bytes(raw, "big") for raw in (config.minting_fee, terms.minting_fee))
        if fee < least:
            raise Rejected(
                "license/LicensingConfigMintingFeeBelowLicenseTerms",
                f"the fee {fee} is below the terms' {least}",
                fee=fee,
                least=least,
            )
        if fee and terms.royalty_policy is Policy.NONE:
            raise Rejected(
                "license/MintingFeeRequiresRoyaltyPolicy", "a minting fee needs a royalty policy"
            )


def apply_attach(ctx: Context, message: m.Attach) -> None:
    """N-license.3: terms exist, IP not expired, not attached yet, no derivative."""
    row = require_owner(ctx, message.ip)
    if not rows.TERMS.has(ctx.state, message.terms):
        raise Rejected("license/LicenseTermsNotFound", f"no terms {format_id(message.terms)}")
    terms = rows.require_terms(ctx.state, message.terms)
    require_alive(row, ctx.time_ms, message.ip)
    key = message.ip + message.terms
    if rows.ATTACHMENTS.get(ctx.state, key) is not None:
        raise Rejected("license/LicenseTermsAlreadyAttached", "these terms are attached already")
    if lineage_of(ctx.state, message.ip).derives:
        raise Rejected(
            "license/DerivativesCannotAddLicenseTerms", "a derivative has its parents' terms only"
        )
    if message.config is not None:
        check_config(terms, message.config)
    add_attachment(ctx, message.ip, message.terms, message.config, inherited=False)
    if terms.currency is not None:
        royalty.accept_denoms(ctx, message.ip, [terms.currency])
    store(ctx, message.ip, row)
    ctx.emit(m.Attached(message.ip, message.terms))


def add_attachment(
    ctx: Context, ip: bytes, terms_id: bytes, config: Config | None, *, inherited: bool
) -> None:
    """Store an attachment and count it."""
    key = ip + terms_id
    put_paid(ctx, rows.ATTACHMENTS, key, rows.Attachment(1, inherited, config, ctx.actor, b""))
    licensing = rows.licensing_of(ctx.state, ip)
    counted = rows.Licensing(licensing.attached + 1, licensing.ever_minted)
    put_kept(ctx, rows.LICENSINGS, ip, counted)


def require_alive(row: Ip, now_ms: int, ip: bytes) -> None:
    """Refuse an IP whose licence has run out: ``license/IpExpired``."""
    if is_expired(row.expires_at, now_ms):
        raise Rejected("license/IpExpired", f"{format_id(ip)} has expired", ip=ip)


def apply_configure(ctx: Context, message: m.Configure) -> None:
    """N-license.4: of attached terms, inherited ones too; absent config clears."""
    row = require_owner(ctx, message.ip)
    terms = rows.require_terms(ctx.state, message.terms)
    key = message.ip + message.terms
    attachment = rows.ATTACHMENTS.get(ctx.state, key)
    if attachment is None:
        raise Rejected(
            "license/IpHasNoLicenseTerms", "configure terms after they are attached", ip=message.ip
        )
    config = message.config
    if config is not None:
        check_config(terms, config)
    rows.ATTACHMENTS.put(ctx.state, key, msgspec.structs.replace(attachment, config=config))
    store(ctx, message.ip, row)
    shown = config if config is not None else rows.NO_CONFIG
    ctx.emit(
        m.Configured(message.ip, message.terms, shown.minting_fee, shown.rev_share, shown.disabled)
    )
