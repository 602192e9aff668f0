"""What happens to IP: one function per message (N-ip.2 – N-ip.9)."""

from __future__ import annotations

from typing import Any

import msgspec

from chain.codec import Record, encode, encode_amount
from chain.errors import Rejected
from chain.ids import Holder, Kind, format_id
from chain.types import PERCENT

from ...context import Context, record_bytes
from ...deposits import drop_paid, put_kept, put_new, put_paid, take_deposit
from ...module import Steps, Table
from ..account import requires_acceptance
from . import asset, rows
from . import messages as m
from .precommits import use_precommit
from .rows import IPS, Ip, require_exists, require_owner, require_registered

OFFER_LIFE_MS = 7 * 24 * 3_600_000
"""Life of a transfer offer."""
PLACES_MAX = 16
"""Registrations kept for one content; more would only be squatters of squatters."""
RELATIONS_OF_IP_MAX = 1_024
OWNER_STEPS_MAX = 8
"""How far ownership is walked up: as deep as ``ip.execute`` nests."""
ZERO_HASH = bytes(32)


def store(ctx: Context, ip: bytes, row: Ip, **changes: object) -> Ip:
    """Store a row with ``state`` raised by one and ``changes`` made."""
    changed = msgspec.structs.replace(row, state=row.state + 1, **changes)
    IPS.put(ctx.state, ip, changed)
    return changed


# --- registration -----------------------------------------------------------------------------


def apply_register(ctx: Context, message: m.Register) -> None:
    """N-ip.2: one content, one first place."""
    if message.content_hash == ZERO_HASH:
        raise Rejected("ip/ZeroContentHash", "content_hash is zero", field="content_hash")
    if message.kind == asset.IpKind.COLLECTION:
        raise Rejected("ip/KindNotAllowed", "collections have a message of their own")
    if message.creators:
        _check_creators(ctx, message)
    if message.ai is not None:
        _check_disclosure(ctx, message.ai)
    block = ctx.block
    height, index = block.height, ctx.index
    if message.salt is not None:
        height, index = use_precommit(ctx, message, message.salt)
    ip = ctx.new_id(Kind.IP)
    content = _with_place(ctx, message.content_hash, rows.Place(height, index, ip, ctx.actor))
    raw = encode(message)
    is_short = len(raw) <= rows.SHORT_BYTES_MAX
    row = Ip(
        1, ctx.actor, 0, 0, message.kind, message.content_hash, height, index, block.time_ms, 0,
        False, 0, len(message.relations), 0, 0, raw if is_short else b"",
    )  # fmt: skip
    fresh: list[tuple[Table[Any], bytes, Record]] = [(IPS, ip, row)]
    if not is_short:
        fresh.append((rows.REGISTRATIONS, ip, rows.Registration(raw)))
    if len(content.places) == 1:
        fresh.append((rows.CONTENTS, message.content_hash, content))
    else:
        put_kept(ctx, rows.CONTENTS, message.content_hash, content)
    put_new(ctx, fresh, message)
    ctx.emit(m.Registered(ip, ctx.actor, message.kind, message.content_hash, True))
    for edge in message.relations:
        _add_edge(ctx, ip, edge.relation, edge.target)


def _check_creators(ctx: Context, message: m.Register) -> None:
    total = 0
    for index, creator in enumerate(message.creators):
        if (creator.id is None) == (creator.name is None):
            raise Rejected(
                "ip/CreatorIdentity",
                f"creator {index} needs an id or a name, not both",
                index=index,
            )
        if creator.id is not None and creator.id[0] == Kind.IP:
            require_exists(ctx.state, creator.id)
        total += creator.contribution
    if total not in (0, PERCENT):
        raise Rejected(
            "ip/ContributionSum",
            f"contributions sum to {total}, expected none or exactly {PERCENT}",
            found=total,
        )


def _check_disclosure(ctx: Context, disclosure: asset.AiDisclosure) -> None:
    if disclosure.model is not None:
        require_exists(ctx.state, disclosure.model)
    for source in disclosure.inputs:
        require_exists(ctx.state, source)


def _with_place(ctx: Context, content_hash: bytes, place: rows.Place) -> rows.Content:
    """Return the content's list with a new first place; only an older commitment may displace one.

    Who was displaced stays, so one account has one place, and when all are taken, none is given.
    """
    content = rows.CONTENTS.get(ctx.state, content_hash)
    places = [] if content is None else content.places
    for taken in places:
        if taken is places[0] and (place.height, place.index) >= (taken.height, taken.index):
            raise _registered_already(taken)
        if taken.account == place.account:
            raise _registered_already(taken)
    if len(places) >= PLACES_MAX:
        raise Rejected(
            "ip/TooManyPlaces",
            f"{len(places)} accounts have registered this content",
            limit=PLACES_MAX,
        )
    return rows.Content([place, *places])


def _registered_already(taken: rows.Place) -> Rejected:
    return Rejected(
        "ip/ContentAlreadyRegistered",
        f"this content is registered as {format_id(taken.ip)}",
        ip=taken.ip,
    )


def apply_accept_credit(ctx: Context, message: m.AcceptCredit) -> None:
    """N-ip.3: only the creator named by id, once."""
    row = require_registered(ctx.state, message.ip)
    creators = rows.registration_of(ctx.state, message.ip, row).creators
    if message.index >= len(creators) or creators[message.index].id is None:
        raise Rejected("ip/NoSuchCreator", f"no creator {message.index} named by id")
    creator: Holder = creators[message.index].id or b""
    if creator != ctx.actor:
        raise Rejected(
            "ip/NotCreator", f"creator {message.index} is {format_id(creator)}", creator=creator
        )
    key = message.ip + bytes((message.index,))
    if rows.CREDITS.get(ctx.state, key) is not None:
        raise Rejected("ip/CreditAlreadyAccepted", f"credit {message.index} is accepted already")
    put_kept(ctx, rows.CREDITS, key, rows.Credit(ctx.height))
    ctx.emit(m.CreditAccepted(message.ip, message.index, ctx.actor))


# --- revisions --------------------------------------------------------------------------------


def apply_set_rights(ctx: Context, message: m.SetRights) -> None:
    """N-ip.4: a change of rights is a revision; freezing metadata does not forbid it."""
    row = _require_updater(ctx, message.ip, asset.Scope.RIGHTS)
    revision = rows.Revision(
        ctx.height, ctx.time_ms, ctx.actor, None, None, message.rights, message.reason, b""
    )
    _revise(ctx, message.ip, row, revision, rights_at=row.revisions + 1)


def apply_update_metadata(ctx: Context, message: m.UpdateMetadata) -> None:
    """N-ip.4: refused once frozen."""
    row = _require_updater(ctx, message.ip, asset.Scope.METADATA)
    if row.frozen:
        raise Rejected("ip/MetadataAlreadyFrozen", f"{format_id(message.ip)} is frozen")
    revision = rows.Revision(
        ctx.height, ctx.time_ms, ctx.actor, message.metadata, message.metadata_hash, None,
        message.reason, b"",
    )  # fmt: skip
    _revise(ctx, message.ip, row, revision, metadata_at=row.revisions + 1)


def _revise(ctx: Context, ip: bytes, row: Ip, revision: rows.Revision, **changes: object) -> None:
    key = rows.revision_key(ip, row.revisions)
    deposit = take_deposit(ctx, record_bytes(rows.REVISIONS.prefix + key, revision))
    revision = msgspec.structs.replace(revision, deposit=encode_amount(deposit))
    rows.REVISIONS.put(ctx.state, key, revision)
    store(ctx, ip, row, revisions=row.revisions + 1, **changes)
    ctx.emit(m.Revised(ip, row.revisions, ctx.actor, revision.rights is not None))


def _require_updater(ctx: Context, ip: bytes, scope: asset.Scope) -> Ip:
    """Return the row if the actor owns the IP or may update this part of it (N-ip.5)."""
    row = require_registered(ctx.state, ip)
    if ctx.actor in (row.owner, ip):
        return row
    updater = rows.UPDATERS.get(ctx.state, ip + ctx.actor)
    if (
        updater is None
        or updater.owner_epoch != row.owner_epoch
        or rows.is_expired(updater.expires_at, ctx.time_ms)
        or updater.scope not in (scope, asset.Scope.BOTH)
    ):
        raise Rejected(
            "ip/NotOwner", f"{format_id(ctx.actor)} may not update {format_id(ip)}", ip=ip
        )
    return row


def apply_freeze_metadata(ctx: Context, message: m.FreezeMetadata) -> None:
    """N-ip.4: irreversible."""
    row = require_owner(ctx, message.ip)
    if row.frozen:
        raise Rejected("ip/MetadataAlreadyFrozen", f"{format_id(message.ip)} is frozen already")
    store(ctx, message.ip, row, frozen=True)
    ctx.emit(m.Frozen(message.ip))


def apply_set_updater(ctx: Context, message: m.SetUpdater) -> None:
    """N-ip.5: ``scope`` absent removes the updater."""
    row = require_owner(ctx, message.ip)
    key = message.ip + message.who
    if message.who in (row.owner, message.ip):
        raise Rejected("ip/UpdaterIsOwner", "the owner updates without being an updater")
    if message.scope is None:
        drop_paid(ctx, rows.UPDATERS, key)
    else:
        if message.who[0] == Kind.IP:
            require_exists(ctx.state, message.who)
        updater = rows.Updater(message.scope, message.expires_at, row.owner_epoch, ctx.actor, b"")
        put_paid(ctx, rows.UPDATERS, key, updater)
    store(ctx, message.ip, row)
    ctx.emit(m.UpdaterSet(message.ip, message.who, message.scope, message.expires_at))


# --- relations --------------------------------------------------------------------------------


def _edge_key(source: bytes, relation: int, target: bytes) -> bytes:
    return source + bytes((relation,)) + target


def _add_edge(ctx: Context, source: bytes, relation: asset.Relation, target: bytes) -> None:
    if source == target:
        raise Rejected("ip/SelfRelation", f"{format_id(source)} cannot relate to itself")
    require_exists(ctx.state, target)
    key = _edge_key(source, relation, target)
    if rows.EDGES.get(ctx.state, key) is not None:
        raise Rejected("ip/RelationExists", f"{relation.name} to {format_id(target)} exists")
    put_paid(ctx, rows.EDGES, key, rows.Edge(False, ctx.height, ctx.actor, b""))
    ctx.emit(m.Related(source, relation, target))


def apply_relate(ctx: Context, message: m.Relate) -> None:
    """N-ip.6: at most 1 024 edges of one source."""
    row = require_owner(ctx, message.ip)
    if row.relations >= RELATIONS_OF_IP_MAX:
        raise Rejected(
            "ip/TooManyRelations", f"{row.relations} relations", limit=RELATIONS_OF_IP_MAX
        )
    _add_edge(ctx, message.ip, message.relation, message.target)
    store(ctx, message.ip, row, relations=row.relations + 1)


def apply_remove_relation(ctx: Context, message: m.RemoveRelation) -> None:
    """N-ip.6: the deposit goes back to whoever paid it."""
    row = require_owner(ctx, message.ip)
    key = _edge_key(message.ip, message.relation, message.target)
    _require_edge(ctx, key)
    drop_paid(ctx, rows.EDGES, key)
    store(ctx, message.ip, row, relations=row.relations - 1)
    ctx.emit(m.RelationRemoved(message.ip, message.relation, message.target))


def apply_accept_relation(ctx: Context, message: m.AcceptRelation) -> None:
    """N-ip.6: by the target's owner."""
    target = require_owner(ctx, message.target)
    key = _edge_key(message.source, message.relation, message.target)
    edge = _require_edge(ctx, key)
    if edge.accepted:
        raise Rejected("ip/RelationAlreadyAccepted", "the relation is accepted already")
    rows.EDGES.put(ctx.state, key, msgspec.structs.replace(edge, accepted=True))
    store(ctx, message.target, target)
    ctx.emit(m.RelationAccepted(message.source, message.relation, message.target))


def _require_edge(ctx: Context, key: bytes) -> rows.Edge:
    edge = rows.EDGES.get(ctx.state, key)
    if edge is None:
        raise Rejected("ip/NoSuchRelation", "there is no such relation")
    return edge


# --- ownership --------------------------------------------------------------------------------


def apply_transfer(ctx: Context, message: m.Transfer) -> None:
    """N-ip.7: an offer if the receiver asks to be asked, else at once."""
    row = require_owner(ctx, message.ip)
    _require_state(row, message.if_state)
    if message.to == row.owner:
        raise Rejected("ip/SelfTransfer", f"{format_id(message.to)} owns it already")
    _check_receiver(ctx, message.ip, message.to)
    if message.to[0] == Kind.ACCOUNT and requires_acceptance(ctx.state, message.to):
        expires_at = ctx.time_ms + OFFER_LIFE_MS
        offer = rows.Offer(message.to, expires_at, row.owner_epoch, ctx.actor, b"")
        put_paid(ctx, rows.OFFERS, message.ip, offer)
        store(ctx, message.ip, row)
        ctx.emit(m.TransferOffered(message.ip, row.owner, message.to, expires_at))
        return
    _move(ctx, message.ip, row, message.to)


def _require_state(row: Ip, expected: int | None) -> None:
    if expected is not None and expected != row.state:
        raise Rejected(
            "ip/StateChanged",
            f"the IP's state is {row.state}, the message asks for {expected}",
            found=row.state,
            expected=expected,
        )


def _check_receiver(ctx: Context, ip: bytes, to: bytes) -> None:
    """Walk up from the receiver: never into the moved IP, never more than 8 steps."""
    holder = to
    for _ in range(OWNER_STEPS_MAX + 1):
        if holder == ip:
            raise Rejected("ip/OwnershipCycle", f"{format_id(ip)} would own itself", ip=ip)
        if holder[0] != Kind.IP:
            return
        holder = require_registered(ctx.state, holder).owner
    raise Rejected(
        "ip/OwnershipTooDeep", f"more than {OWNER_STEPS_MAX} owners above", limit=OWNER_STEPS_MAX
    )


def _move(ctx: Context, ip: bytes, row: Ip, to: bytes) -> None:
    drop_paid(ctx, rows.OFFERS, ip)
    store(ctx, ip, row, owner=to, owner_epoch=row.owner_epoch + 1)
    ctx.emit(m.Transferred(ip, row.owner, to))


def apply_accept_transfer(ctx: Context, message: m.AcceptTransfer) -> None:
    """N-ip.7: by the named receiver, within 7 days, from the same owner."""
    row = require_registered(ctx.state, message.ip)
    offer = _require_offer(ctx, message.ip, row)
    if offer.to != ctx.actor:
        raise Rejected("ip/NotReceiver", f"the offer is for {format_id(offer.to)}", to=offer.to)
    if rows.is_expired(offer.expires_at, ctx.time_ms):
        raise Rejected("ip/OfferExpired", "the offer has expired", expires_at=offer.expires_at)
    _require_state(row, message.if_state)
    _check_receiver(ctx, message.ip, offer.to)
    _move(ctx, message.ip, row, offer.to)


def apply_withdraw_transfer(ctx: Context, message: m.WithdrawTransfer) -> None:
    """N-ip.7: the owner takes the offer back."""
    row = require_owner(ctx, message.ip)
    offer = _require_offer(ctx, message.ip, row)
    drop_paid(ctx, rows.OFFERS, message.ip)
    store(ctx, message.ip, row)
    ctx.emit(m.TransferWithdrawn(message.ip, offer.to))


def _require_offer(ctx: Context, ip: bytes, row: Ip) -> rows.Offer:
    offer = rows.OFFERS.get(ctx.state, ip)
    if offer is None or offer.owner_epoch != row.owner_epoch:
        raise Rejected("ip/NoOffer", f"{format_id(ip)} is not on offer", ip=ip)
    return offer


def apply_execute(ctx: Context, message: m.Execute) -> Steps:
    """N-ip.9: the nested messages run with the IP as their actor."""
    row = require_owner(ctx, message.ip)
    store(ctx, message.ip, row)
    by = ctx.actor
    nested = ctx.block.read_nested(message)

    def require_same_owner() -> None:
        if require_registered(ctx.state, message.ip).owner_epoch != row.owner_epoch:
            raise Rejected(
                "ip/NotOwner",
                f"{format_id(message.ip)} has another owner since, who alone acts as it now",
                ip=message.ip,
            )

    yield from ctx.run_nested(message.ip, nested, require_same_owner)
    ctx.emit(m.Executed(message.ip, by, len(nested)))
