"""What the chain keeps of an IP asset: rows, and the small rules everyone asks them by."""

from __future__ import annotations

from chain.codec import U8, U32, U64, Decoder, Hash, Record
from chain.errors import Rejected
from chain.fields import Amount, Blob
from chain.ids import Holder, IpId, format_id
from chain.transaction import TX_BYTES_MAX

from ...context import Context
from ...module import Reader, Table
from .asset import IpKind, Rights, Scope
from .messages import Register


class Ip(Record):
    """An IP asset: the small row that everybody reads.

    It is never removed, so its deposit need not be remembered.
    """

    version: U8
    owner: Holder
    state: U64
    """Rises with every message on the owner's, a grantee's or an updater's authority."""
    owner_epoch: U32
    """Rises with every change of owner; what an old owner granted carries the old one."""
    kind: IpKind
    content_hash: Hash
    height: U64
    """Priority of the registration: block and index of the commitment or of itself."""
    index: U32
    registered_ms: U64
    expires_at: U64
    """Unix ms after which the IP may no longer earn or license; 0 = never."""
    frozen: bool
    revisions: U32
    relations: U32
    metadata_at: U32
    """Metadata is that of the revision before this number; 0: of the registration."""
    rights_at: U32
    """The same for the declared rights."""
    registration: bytes
    """The encoded message that registered it, if it is short; else empty: it lies apart."""


class Registration(Record):
    """A long message that registered an IP; read by who asks for it only."""

    message: bytes


class Place(Record):
    """One entry of a content's list: who registered it, and with what priority."""

    height: U64
    index: U32
    ip: IpId
    account: Holder
    """Who registered it: one place each (N-ip.2)."""


class Content(Record):
    """All registrations of one content hash, the first place first."""

    places: list[Place]


class PrecommitRow(Record):
    """An open commitment."""

    height: U64
    index: U32
    time_ms: U64
    deposit: Amount


class PrecommitQueue(Record):
    """An account's commitments in order of age: numbers ``head`` up to ``tail``."""

    head: U64
    tail: U64
    open: U32


class QueuedCommitment(Record):
    """One number of the queue."""

    commitment: Hash


class Revision(Record):
    """One dated change of metadata or rights."""

    height: U64
    time_ms: U64
    by: Holder
    metadata: Blob | None
    metadata_hash: Hash | None
    rights: Rights | None
    reason: Blob | None
    deposit: Amount


class Updater(Record):
    """Who may update, what, until when; void when the owner changed."""

    scope: Scope
    expires_at: U64
    owner_epoch: U32
    payer: Holder
    deposit: Amount


class Edge(Record):
    """A typed edge and whether its target's owner agreed."""

    accepted: bool
    height: U64
    payer: Holder
    deposit: Amount


class Offer(Record):
    """A transfer that waits for its receiver."""

    to: Holder
    expires_at: U64
    owner_epoch: U32
    payer: Holder
    deposit: Amount


class Credit(Record):
    """A creator accepted the credit at this height."""

    height: U64


IPS = Table("ip", 1, Ip, key_bytes=21)
CONTENTS = Table("ip", 2, Content, key_bytes=32)
PRECOMMITS = Table("ip", 3, PrecommitRow, key_bytes=53)
QUEUES = Table("ip", 4, PrecommitQueue, key_bytes=21)
QUEUED = Table("ip", 5, QueuedCommitment, key_bytes=29)
REVISIONS = Table("ip", 6, Revision, key_bytes=25)
UPDATERS = Table("ip", 7, Updater, key_bytes=42)
EDGES = Table("ip", 8, Edge, key_bytes=43)
OFFERS = Table("ip", 9, Offer, key_bytes=21)
CREDITS = Table("ip", 10, Credit, key_bytes=22)
REGISTRATIONS = Table("ip", 11, Registration, key_bytes=21)

SHORT_BYTES_MAX = 512
"""Longest registration that lies in the IP's own row: one key less under the root for most."""
_REGISTER = Decoder(Register, bytes_max=TX_BYTES_MAX, what="registration")


def require_registered(state: Reader, ip: bytes) -> Ip:
    """Return the row of an IP, or refuse with ``ip/NotRegistered``."""
    row = IPS.get(state, ip)
    if row is None:
        raise Rejected("ip/NotRegistered", f"no IP {format_id(ip)}", ip=ip)
    return row


def require_exists(state: Reader, ip: bytes) -> None:
    """Refuse an IP that is not there with ``ip/NotRegistered``; its row is not decoded."""
    if not IPS.has(state, ip):
        raise Rejected("ip/NotRegistered", f"no IP {format_id(ip)}", ip=ip)


def registration_of(state: Reader, ip: bytes, row: Ip) -> Register:
    """Return the message that registered an IP whose row is ``row``."""
    raw = row.registration
    if not raw:
        apart = REGISTRATIONS.get(state, ip)
        assert apart is not None, "every IP has its registration"
        raw = apart.message
    return _REGISTER.decode_own(raw)


def revision_key(ip: bytes, number: int) -> bytes:
    """Return the key of an IP's revision; numbers count from 0."""
    return ip + number.to_bytes(4, "big")


def require_owner(ctx: Context, ip: bytes) -> Ip:
    """Return the row if the actor is the IP's owner or the IP itself, else refuse.

    Authority is the direct owner only (N-ip.8): ``ip/NotOwner``.
    """
    row = require_registered(ctx.state, ip)
    if ctx.actor not in (row.owner, ip):
        raise Rejected(
            "ip/NotOwner",
            f"{format_id(ctx.actor)} does not own {format_id(ip)}",
            ip=ip,
            owner=row.owner,
        )
    return row


def is_expired(expires_at: int, now_ms: int) -> bool:
    """Tell whether a time has passed; 0 never does."""
    return expires_at != 0 and expires_at < now_ms
