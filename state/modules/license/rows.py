"""What the chain keeps of licences: terms, attachments, lots, holdings, approvals."""

from __future__ import annotations

import msgspec

from chain.codec import U8, U32, U64, Record, encode
from chain.errors import Rejected
from chain.fields import Amount
from chain.hashing import tagged_hash
from chain.ids import Holder, IpId, Kind, TermsId, format_id

from ...module import Reader, Table
from .messages import Config, Terms


class TermsRow(Record):
    """Registered terms."""

    version: U8
    number: U64
    terms: Terms
    payer: Holder
    deposit: Amount


class Counter(Record):
    """How many terms are registered."""

    terms: U64


class Attachment(Record):
    """Terms an IP is offered under."""

    version: U8
    inherited: bool
    config: Config | None
    payer: Holder
    deposit: Amount


class Licensing(Record):
    """What an IP's licences have come to; flags never reset."""

    attached: U32
    ever_minted: bool


class Lot(Record):
    """Licences minted together; the share is fixed at mint."""

    version: U8
    licensor: IpId
    terms: TermsId
    rev_share: U32
    transferable: bool
    amount: U64
    """Units not yet burned or consumed."""
    payer: Holder
    deposit: Amount


class Holding(Record):
    """Units of a lot one holder has."""

    amount: U64


class Approval(Record):
    """A parent's consent to one child; void when the parent's owner changed."""

    owner_epoch: U32
    payer: Holder
    deposit: Amount


TERMS = Table("license", 1, TermsRow, key_bytes=21)
COUNTERS = Table("license", 2, Counter, key_bytes=0)
ATTACHMENTS = Table("license", 3, Attachment, key_bytes=42)
LICENSINGS = Table("license", 4, Licensing, key_bytes=21)
LOTS = Table("license", 5, Lot, key_bytes=21)
HOLDINGS = Table("license", 6, Holding, key_bytes=42)
APPROVALS = Table("license", 7, Approval, key_bytes=63)

NO_LICENSING = Licensing(0, False)
NO_CONFIG = Config()


def terms_id_of(terms: Terms) -> bytes:
    """Return ``kind ‖ H("terms", encoding without legal)[:20]`` (N-license.1)."""
    covered = msgspec.structs.replace(terms, legal=None)
    return bytes((Kind.TERMS,)) + tagged_hash("terms", encode(covered))[:20]


def require_terms(state: Reader, terms: bytes) -> Terms:
    """Return registered terms, or refuse with ``license/LicenseTermsNotExists``."""
    row = TERMS.get(state, terms)
    if row is None:
        raise Rejected("license/LicenseTermsNotExists", f"no terms {format_id(terms)}", terms=terms)
    return row.terms


def require_lot(state: Reader, lot: bytes) -> Lot:
    """Return a lot, or refuse with ``license/NoLicenseToken``."""
    row = LOTS.get(state, lot)
    if row is None:
        raise Rejected("license/NoLicenseToken", f"no lot {format_id(lot)}", lot=lot)
    return row


def licensing_of(state: Reader, ip: bytes) -> Licensing:
    """Return an IP's licensing row; without one it is empty."""
    return LICENSINGS.get(state, ip) or NO_LICENSING


def held(state: Reader, lot: bytes, holder: bytes) -> int:
    """Return the units of a lot a holder has."""
    row = HOLDINGS.get(state, lot + holder)
    return 0 if row is None else row.amount
