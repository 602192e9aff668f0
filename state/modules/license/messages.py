"""What users say about licences: payloads and events of the family (docs/license.md)."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from msgspec import field

from chain.codec import U32, U64, Hash, Record
from chain.fields import Amount, Blob, Denom, blob, data, listing, text
from chain.ids import Holder, IpId, LotId, TermsId

from ...module import Event, Message
from ..ip.asset import Use
from ..royalty.shares import Policy

PARENTS_MAX = 64
PARENTS_DECODED_MAX = 256
"""A decoder takes more than the rule, so that the refusal can name the rule."""
PARENT_WEIGHT = 45
"""Units of checking, paying and linking one parent, besides its rows."""
LEGAL_BYTES_MAX = 16_384


class Ownership(IntEnum):
    """Whose an AI's output made under the licence is."""

    USER = 0
    LICENSOR = 1
    SHARED = 2


class Terms(Record):
    """Programmable licence terms: the 17 PIL fields and the AI fields (N-license.1).

    Colophon PIL profile 1 over PIL v1.4. The id covers every field but ``legal``.
    """

    transferable: bool = True
    royalty_policy: Policy = Policy.NONE
    minting_fee: Amount = b""
    expiration: U64 = 0
    """Seconds a derivative may use them from its registration; 0 = for ever."""
    commercial_use: bool = False
    commercial_attribution: bool = False
    commercializer: Annotated[bytes, data(1_024)] | None = None
    """An encoded condition on who may commercialise; refused until gates are active."""
    rev_share: U32 = 0
    """Share of a derivative's revenue, 1e-8."""
    rev_ceiling: Amount = b""
    derivatives_allowed: bool = False
    derivatives_attribution: bool = False
    derivatives_approval: bool = False
    derivatives_reciprocal: bool = False
    derivative_rev_ceiling: Amount = b""
    currency: Denom | None = None
    legal: Annotated[Blob | None, blob(LEGAL_BYTES_MAX)] = None
    legal_hash: Hash | None = None
    ai_training: Use = Use.UNSET
    ai_inference: Use = Use.UNSET
    output_ownership: Ownership = Ownership.USER
    output_share: U32 = 0
    """The licensor's part of outputs in 1e-8 where ownership is shared."""
    territory: Annotated[list[Annotated[str, text(16)]], listing(64, ascending=True)] = field(
        default_factory=list
    )
    field_of_use: Annotated[list[Annotated[str, text(64)]], listing(16, ascending=True)] = field(
        default_factory=list
    )
    exclusive: bool = False
    sublicensable: bool = False
    attribution: Annotated[Blob | None, blob(256)] = None


class Config(Record):
    """What an IP asks under attached terms; absent fields follow the terms (N-license.4)."""

    minting_fee: Amount | None = None
    rev_share: U32 | None = None
    disabled: bool = False


class Parent(Record):
    """A parent and the licence it is used under: attached terms, or a unit of a lot."""

    ip: IpId
    terms: TermsId | None = None
    lot: LotId | None = None


class RegisterTerms(Message, tag="license.register_terms"):
    """Register terms, once for everyone (N-license.2)."""

    terms: Terms

    WEIGHT = 30


class Attach(Message, tag="license.attach"):
    """Offer an IP under terms (N-license.3)."""

    ip: IpId
    terms: TermsId
    config: Config | None = None

    WEIGHT = 30
    WRITES = 3


class Configure(Message, tag="license.configure"):
    """Set the fee, share or disabling of attached terms; ``config`` absent clears (N-license.4)."""

    ip: IpId
    terms: TermsId
    config: Config | None

    WEIGHT = 25


class Mint(Message, tag="license.mint"):
    """Mint licences of an IP under terms, as one lot (N-license.5)."""

    licensor: IpId
    terms: TermsId
    amount: U64
    receiver: Holder
    max_minting_fee: Amount | None = None
    max_rev_share: U32 | None = None

    WEIGHT = 45
    WRITES = 5


class Transfer(Message, tag="license.transfer"):
    """Move licences of a lot to another holder (N-license.6)."""

    lot: LotId
    to: Holder
    amount: U64


class Burn(Message, tag="license.burn"):
    """Destroy own licences; the last one returns the lot's deposit (N-license.6)."""

    lot: LotId
    amount: U64

    WRITES = 3


class ApproveDerivative(Message, tag="license.approve_derivative"):
    """Allow one child under terms that ask for approval (N-license.7)."""

    parent: IpId
    terms: TermsId
    child: IpId
    approved: bool

    WRITES = 3


class RegisterDerivative(Message, tag="license.register_derivative"):
    """Register an IP as derivative of all its parents, once (N-license.8)."""

    child: IpId
    parents: Annotated[list[Parent], listing(PARENTS_DECODED_MAX)]
    max_minting_fee: Amount | None = None
    max_rev_share: U32 | None = None
    max_units: U64 = 1_000

    WEIGHT = 60

    def weight(self) -> int:
        """Each parent is checked, paid and linked."""
        return self.WEIGHT + PARENT_WEIGHT * len(self.parents)

    def writes(self) -> int:
        """Child: ip, lineage, links, licensing, denominations; a parent: six with a lot's."""
        return 6 + 6 * len(self.parents)


class TermsRegistered(Event, tag="license.terms_registered"):
    """New terms exist; ``number`` is for display only."""

    terms: TermsId
    number: U64
    by: Holder


class Attached(Event, tag="license.attached"):
    """An IP is offered under terms."""

    ip: IpId
    terms: TermsId


class Configured(Event, tag="license.configured"):
    """An IP asks other conditions under attached terms."""

    ip: IpId
    terms: TermsId
    minting_fee: Amount | None
    rev_share: U32 | None
    disabled: bool


class Minted(Event, tag="license.minted"):
    """A lot of licences exists."""

    lot: LotId
    licensor: IpId
    terms: TermsId
    amount: U64
    receiver: Holder
    rev_share: U32
    fee: Amount


class Moved(Event, tag="license.moved"):
    """Licences changed hands."""

    lot: LotId
    source: Holder
    to: Holder
    amount: U64


class Burned(Event, tag="license.burned"):
    """Licences were destroyed or consumed by a derivative."""

    lot: LotId
    holder: Holder
    amount: U64


class DerivativeApproved(Event, tag="license.derivative_approved"):
    """A parent's owner allowed, or no longer allows, one child."""

    parent: IpId
    terms: TermsId
    child: IpId
    approved: bool


class DerivativeRegistered(Event, tag="license.derivative_registered"):
    """An IP is a derivative from now on."""

    child: IpId
    parents: list[IpId]
    terms: list[TermsId]
    fee: Amount
    expires_at: U64
