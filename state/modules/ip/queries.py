"""What can be asked about IP, and the derived rows lists are read from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from chain.application import Job
from chain.codec import U32, U64, Hash, Record
from chain.fields import Blob
from chain.ids import ID_BYTES, Holder, IpId

from ...module import Event, EventPlace, IndexRow, QueryContext
from ...paging import Limit, page
from . import messages as m
from . import rows
from .asset import (
    AiDisclosure,
    Creator,
    Identifier,
    IpKind,
    Media,
    ModelFacts,
    Relation,
    Rights,
    SoftBinding,
)
from .rows import IPS, Ip, require_registered

EDGE_BYTES = 1 + ID_BYTES
EdgeCursor = Annotated[bytes, msgspec.Meta(min_length=EDGE_BYTES, max_length=EDGE_BYTES)]
"""A cursor in an IP's edges: relation and target."""

BY_OWNER = b"ip\0o"
BY_KIND = b"ip\0k"
"""One row for each kind and block: the ids registered in it, in order."""


class IpView(Record):
    """An IP asset as RPC shows it."""

    ip: IpId
    owner: Holder
    state: U64
    kind: IpKind
    content_hash: Hash
    first: bool
    """Whether this registration holds the first place for its content."""
    height: U64
    registered_ms: U64
    expires_at: U64
    frozen: bool
    revisions: U32
    relations: U32
    title: Blob | None
    metadata: Blob | None
    metadata_hash: Hash | None
    rights: Rights
    media: Media | None
    creators: list[Creator]
    ai: AiDisclosure | None
    facts: ModelFacts | None
    soft_bindings: list[SoftBinding]
    identifiers: list[Identifier]
    created_at: U64
    offered_to: Holder | None


class IpPage(Record):
    """Some IP assets and where the next page begins (absent at the end)."""

    items: list[IpView]
    cursor: IpId | None


class PlaceView(Record):
    """One registration of a content."""

    ip: IpId
    height: U64
    index: U32


class PlacePage(Record):
    """Some registrations, and the number of the next page's first one (absent at the end)."""

    items: list[PlaceView]
    cursor: U32 | None


class RevisionView(Record):
    """One dated change."""

    revision: U32
    height: U64
    time_ms: U64
    by: Holder
    metadata: Blob | None
    metadata_hash: Hash | None
    rights: Rights | None
    reason: Blob | None


class RevisionPage(Record):
    """Some changes, and the number of the next page's first one (absent at the end)."""

    items: list[RevisionView]
    cursor: U32 | None


class EdgeView(Record):
    """One typed edge."""

    source: IpId
    relation: Relation
    target: IpId
    accepted: bool


class EdgePage(Record):
    """Some edges and where the next page begins (absent at the end)."""

    items: list[EdgeView]
    cursor: EdgeCursor | None


def _view(query: QueryContext, ip: bytes, row: Ip) -> IpView:
    content = rows.CONTENTS.get(query.state, row.content_hash)
    offer = rows.OFFERS.get(query.state, ip)
    asset = rows.registration_of(query.state, ip, row)
    metadata = _revision(query, ip, row.metadata_at) or asset
    rights = _revision(query, ip, row.rights_at) or asset
    return IpView(
        ip, row.owner, row.state, row.kind, row.content_hash,
        content is not None and content.places[0].ip == ip,
        row.height, row.registered_ms, row.expires_at, row.frozen, row.revisions, row.relations,
        asset.title, metadata.metadata, metadata.metadata_hash, rights.rights or asset.rights,
        asset.media, asset.creators, asset.ai, asset.facts, asset.soft_bindings,
        asset.identifiers, asset.created_at,
        offer.to if offer is not None and offer.owner_epoch == row.owner_epoch else None,
    )  # fmt: skip


def _revision(query: QueryContext, ip: bytes, number: int) -> rows.Revision | None:
    """Return the revision before a number, None for 0."""
    return rows.REVISIONS.get(query.state, rows.revision_key(ip, number - 1)) if number else None


def get(query: QueryContext, *, ip: IpId) -> IpView:
    """Return an IP asset."""
    return _view(query, ip, require_registered(query.state, ip))


def list_ips(
    query: QueryContext,
    *,
    owner: Holder | None = None,
    kind: IpKind | None = None,
    cursor: IpId | None = None,
    limit: Limit = 50,
) -> Job[IpPage]:
    """Return IP assets, all or of one owner by id, or of one kind, oldest first."""
    candidates = (
        (ip, _view_of_kind(query, ip, kind)) for ip in _candidates(query, owner, kind, cursor)
    )
    return IpPage(*(yield from page(query, candidates, limit)))


def _view_of_kind(query: QueryContext, ip: bytes, kind: IpKind | None) -> IpView | None:
    row = IPS.get(query.state, ip)
    if row is None or (kind is not None and row.kind != kind):
        return None
    return _view(query, ip, row)


def _candidates(
    query: QueryContext, owner: bytes | None, kind: IpKind | None, cursor: bytes | None
) -> Iterator[bytes]:
    """Yield what may be listed, from ``cursor`` on."""
    if owner is not None:
        prefix = BY_OWNER + owner
        for key, _ in query.index.scan(prefix + (cursor or b""), prefix + b"\xff" * 22):
            yield key[len(prefix) :]
    elif kind is not None:
        yield from _of_kind(query, kind, cursor)
    else:
        for key, _ in IPS.scan(query.state, start=cursor or b""):
            yield key


def _of_kind(query: QueryContext, kind: IpKind, cursor: bytes | None) -> Iterator[bytes]:
    since = 0 if cursor is None else require_registered(query.state, cursor).registered_ms
    waiting = cursor is not None
    rows_of_kind = query.index.scan(_kind_key(kind, since), BY_KIND + bytes((kind + 1,)))
    for _, joined in rows_of_kind:
        for at in range(0, len(joined), ID_BYTES):
            ip = joined[at : at + ID_BYTES]
            waiting = waiting and ip != cursor
            if not waiting:
                yield ip


def _kind_key(kind: int, time_ms: int) -> bytes:
    return BY_KIND + bytes((kind,)) + time_ms.to_bytes(8, "big")


def by_content(
    query: QueryContext, *, hash: Hash, cursor: U32 = 0, limit: Limit = 50
) -> Job[PlacePage]:
    """Return who registered a content hash, the first place first."""
    content = rows.CONTENTS.get(query.state, hash)
    places = content.places if content is not None else []
    candidates = (
        (number, PlaceView(place.ip, place.height, place.index))
        for number, place in enumerate(places)
        if number >= cursor
    )
    return PlacePage(*(yield from page(query, candidates, limit)))


def revisions(
    query: QueryContext, *, ip: IpId, cursor: U32 = 0, limit: Limit = 50
) -> Job[RevisionPage]:
    """Return the dated changes of an IP, oldest first, from revision ``cursor`` on."""
    require_registered(query.state, ip)
    start = ip + cursor.to_bytes(4, "big")
    candidates = (
        (int.from_bytes(key[ID_BYTES:], "big"), _revision_view(key, row))
        for key, row in rows.REVISIONS.scan(query.state, start=start, within=ip)
    )
    return RevisionPage(*(yield from page(query, candidates, limit)))


def _revision_view(key: bytes, row: rows.Revision) -> RevisionView:
    return RevisionView(
        int.from_bytes(key[ID_BYTES:], "big"), row.height, row.time_ms, row.by, row.metadata,
        row.metadata_hash, row.rights, row.reason,
    )  # fmt: skip


def relations(
    query: QueryContext, *, ip: IpId, cursor: EdgeCursor | None = None, limit: Limit = 50
) -> Job[EdgePage]:
    """Return the edges that begin at an IP."""
    require_registered(query.state, ip)
    start = ip + (cursor or b"")
    candidates = (
        (
            key[ID_BYTES:],
            EdgeView(ip, Relation(key[ID_BYTES]), key[ID_BYTES + 1 :], row.accepted),
        )
        for key, row in rows.EDGES.scan(query.state, start=start, within=ip)
    )
    return EdgePage(*(yield from page(query, candidates, limit)))


def index(place: EventPlace, event: Event) -> Iterator[IndexRow]:
    """Derived rows: IP by owner and by kind."""
    if isinstance(event, m.Registered):
        yield BY_OWNER + event.owner + event.ip, b""
        yield _kind_key(event.kind, place.time_ms), event.ip
    elif isinstance(event, m.Transferred):
        yield BY_OWNER + event.owner + event.ip, None
        yield BY_OWNER + event.to + event.ip, b""
