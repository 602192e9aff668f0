"""What can be asked about royalties and lineages, and the derived rows behind it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from itertools import dropwhile
from typing import Annotated

import msgspec

from chain.application import Job
from chain.codec import U32, U64, Record, encode_amount
from chain.fields import Amount, Denom, Share
from chain.ids import ID_BYTES, NCOLO, Holder, IpId
from chain.types import PERCENT

from ...module import Event, EventPlace, IndexRow, QueryContext
from ...paging import Candidate, Limit, page
from ..account import balance_of
from ..ip import IPS, require_registered
from . import messages as m
from . import rows, rules
from .descent import CHILDREN, Descent, children_of
from .shares import WHOLE, Policy

RELATIVES_MAX = 1_000
"""Edges of each side in one picture of a lineage; ``ip.children`` lists on."""
SHARE_UNIT = WHOLE // PERCENT
"""Net shares are computed in 1e-16 and shown in 1e-8, as all shares are."""

Depth = Annotated[int, msgspec.Meta(ge=0, le=64)]
PlaceCursor = Annotated[bytes, msgspec.Meta(min_length=2 * ID_BYTES, max_length=2 * ID_BYTES)]
"""A cursor in a walk over descendants: the edge it goes on with."""


class VaultView(Record):
    """An IP's revenue in one denomination."""

    denom: Denom
    received: Amount
    inflow: Amount
    outflow: Amount
    claimed: Amount
    accrued: Amount
    """All that ever accrued to the holders of its units."""


class RoyaltyView(Record):
    """An IP's place in its lineage and its revenue."""

    ip: IpId
    policy: Policy
    parents: list[IpId]
    shares: list[Share]
    stack: U64
    ancestors: U32
    children: U32
    vaults: list[VaultView]


class RoyaltyPage(Record):
    """Some IPs' links and revenue, and where the next page begins (absent at the end)."""

    items: list[RoyaltyView]
    cursor: IpId | None


class ClaimableView(Record):
    """What a holder may claim now, without what descendants still owe the IP."""

    ip: IpId
    holder: Holder
    denom: Denom
    units: Amount
    amount: Amount


class SourceView(Record):
    """A descendant that owes an IP something."""

    source: IpId
    denom: Denom
    due: Amount
    units: U32
    """Metered units that a claim needs for it now (N-royalty.7); 0 once its share is kept."""


class SourcePage(Record):
    """Some sources and where the next page begins (absent at the end)."""

    items: list[SourceView]
    cursor: PlaceCursor | None


class FlowView(Record):
    """How an IP's revenue divides: one row per receiver, itself included."""

    receiver: IpId
    denom: Denom
    share: Share
    """Net share in 1e-8, rounded down; the amounts follow from the exact one."""
    entitled: Amount
    settled: Amount


class FlowPage(Record):
    """Some receivers and where the next page begins (absent at the end)."""

    items: list[FlowView]
    cursor: IpId | None


class RelativeView(Record):
    """One edge of a lineage."""

    child: IpId
    parent: IpId
    share: Share
    depth: U32


class ChildView(Record):
    """A direct derivative and what it passes on."""

    child: IpId
    share: Share


class ChildPage(Record):
    """Some derivatives and where the next page begins (absent at the end)."""

    items: list[ChildView]
    cursor: IpId | None


class LineageView(Record):
    """Ancestors and descendants of an IP, edge by edge; ``complete`` is false at the limit."""

    ip: IpId
    ancestors: list[RelativeView]
    descendants: list[RelativeView]
    complete: bool


def get(query: QueryContext, *, ip: IpId) -> RoyaltyView:
    """Return an IP's links and revenue."""
    require_registered(query.state, ip)
    lineage = rows.lineage_of(query.state, ip)
    links = rows.links_of(query.state, ip)
    vaults = []
    for denom in rows.accepted_denoms(query.state, ip):
        vault = rows.vault_of(query.state, ip, denom)
        total = rules.accrued(query.state, ip, denom)
        vaults.append(
            VaultView(
                denom, vault.received, vault.inflow, vault.outflow, vault.claimed,
                encode_amount(total),
            )
        )  # fmt: skip
    return RoyaltyView(
        ip,
        lineage.policy,
        [link.parent for link in links],
        [link.share for link in links],
        lineage.stack,
        lineage.ancestors,
        lineage.children,
        vaults,
    )


def claimable(
    query: QueryContext, *, ip: IpId, holder: Holder | None = None, denom: Denom = NCOLO
) -> ClaimableView:
    """Return what a holder (default: the IP's own account) may claim without settling first."""
    require_registered(query.state, ip)
    who = holder if holder is not None else ip
    total = rules.accrued(query.state, ip, denom)
    amount = rules.claimable(query.state, ip, who, denom, total)
    units = balance_of(query.state, who, ip)
    return ClaimableView(ip, who, denom, encode_amount(units), encode_amount(max(amount, 0)))


def sources(
    query: QueryContext,
    *,
    ip: IpId,
    denom: Denom = NCOLO,
    cursor: PlaceCursor | None = None,
    limit: Limit = 50,
) -> Job[SourcePage]:
    """Return the descendants, however far below, that owe the IP something."""
    require_registered(query.state, ip)
    candidates = _sources(query, ip, denom, cursor)
    return SourcePage(*(yield from page(query, candidates, limit)))


def _sources(
    query: QueryContext, ip: bytes, denom: bytes, cursor: bytes | None
) -> Iterator[Candidate[bytes, SourceView]]:
    descent = Descent(query, ip)
    for found in descent.places(cursor):
        if found is None:
            yield None
            continue
        place, source = found
        view = None
        if source is not None and rules.due(query.state, source, ip, denom, WHOLE):
            # Else it owes nothing, whatever its share.
            view = yield from _source_view(query, descent, source, ip, denom)
        yield place, view


def _source_view(
    query: QueryContext, descent: Descent, source: bytes, ip: bytes, denom: bytes
) -> Generator[None, None, SourceView | None]:
    kept = rows.NET_SHARES.get(query.state, source + ip)
    units = 0
    if kept is not None:
        share = kept.share
    else:
        shares, edges = yield from descent.shares_of(source)
        share = shares[ip]
        units = rules.NODE_UNITS * len(shares) + rules.EDGE_UNITS * edges
    due = rules.due(query.state, source, ip, denom, share)
    return SourceView(source, denom, encode_amount(due), units) if due else None


def flows(
    query: QueryContext,
    *,
    ip: IpId,
    denom: Denom = NCOLO,
    cursor: IpId | None = None,
    limit: Limit = 50,
) -> Job[FlowPage]:
    """Return who gets which part of an IP's revenue, and how much of it has arrived."""
    require_registered(query.state, ip)
    shares, _ = yield from Descent(query, ip).shares_of(ip)
    begun = dropwhile(lambda entry: cursor not in (None, entry[0]), shares.items())
    candidates = (
        (receiver, _flow_view(query, ip, denom, receiver, share)) for receiver, share in begun
    )
    return FlowPage(*(yield from page(query, candidates, limit)))


def _flow_view(
    query: QueryContext, ip: bytes, denom: bytes, receiver: bytes, share: int
) -> FlowView:
    vault = rows.vault_of(query.state, ip, denom)
    if receiver == ip:
        entitled = settled = rules.own_part(vault, share)
    else:
        earned = int.from_bytes(vault.received, "big") - int.from_bytes(vault.base, "big")
        entitled = earned * share // WHOLE
        settled = entitled - rules.due(query.state, ip, receiver, denom, share)
    return FlowView(
        receiver, denom, share // SHARE_UNIT, encode_amount(entitled), encode_amount(settled)
    )


def children(
    query: QueryContext, *, ip: IpId, cursor: IpId | None = None, limit: Limit = 50
) -> Job[ChildPage]:
    """Return the direct derivatives of an IP in the order of their ids."""
    require_registered(query.state, ip)
    candidates = (
        (child, ChildView(child, _edge_share(query, child, ip)))
        for child in children_of(query, ip, cursor or b"")
    )
    return ChildPage(*(yield from page(query, candidates, limit)))


def _edge_share(query: QueryContext, child: bytes, parent: bytes) -> int:
    links = rows.links_of(query.state, child)
    return next(link.share for link in links if link.parent == parent)


def lineage(query: QueryContext, *, ip: IpId, depth: Depth = 8) -> Job[LineageView]:
    """Return the edges above and below an IP, at most ``depth`` steps away and 1 000 a side."""
    require_registered(query.state, ip)
    above, whole_above = yield from _relatives(query, ip, depth, _edges_up)
    below, whole_below = yield from _relatives(query, ip, depth, _edges_down)
    return LineageView(ip, above, below, whole_above and whole_below)


Edge = tuple[bytes, bytes, int]
"""child, parent, share"""


def _edges_up(query: QueryContext, node: bytes) -> Iterator[Edge]:
    for link in rows.links_of(query.state, node):
        yield node, link.parent, link.share


def _edges_down(query: QueryContext, node: bytes) -> Iterator[Edge]:
    for child in children_of(query, node):
        yield child, node, _edge_share(query, child, node)


def _relatives(
    query: QueryContext,
    ip: bytes,
    depth: int,
    edges_of: Callable[[QueryContext, bytes], Iterator[Edge]],
) -> Job[tuple[list[RelativeView], bool]]:
    """Return the edges of one direction, level by level, and whether these are all."""
    edges: list[RelativeView] = []
    steps = {ip: 0}
    waiting = [ip]
    for node in waiting:
        for child, parent, share in edges_of(query, node):
            if steps[node] == depth or len(edges) == RELATIVES_MAX:
                return edges, False
            edges.append(RelativeView(child, parent, share, steps[node] + 1))
            other = parent if child == node else child
            if other not in steps:
                steps[other] = steps[node] + 1
                waiting.append(other)
            if query.visits.step_is_over():
                yield
    return edges, True


def index(place: EventPlace, event: Event) -> Iterator[IndexRow]:
    """Derived rows: children by parent."""
    if isinstance(event, m.Linked):
        for parent in event.parents:
            yield CHILDREN + parent + event.ip, b""


def list_royalties(
    query: QueryContext, *, cursor: IpId | None = None, limit: Limit = 50
) -> Job[RoyaltyPage]:
    """Return links and revenue of IP assets in the order of their ids."""
    candidates = ((ip, get(query, ip=ip)) for ip, _ in IPS.scan(query.state, start=cursor or b""))
    return RoyaltyPage(*(yield from page(query, candidates, limit)))
