"""What can be asked about royalties and lineages, and the derived rows behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from chain.codec import U32, U64, Record, encode_amount
from chain.fields import Amount, Denom, Share
from chain.ids import NCOLO, Holder, IpId

from ...module import Event, EventPlace, IndexRow, QueryContext
from ..account import balance_of
from ..ip import IPS, require_registered
from . import messages as m
from . import rows, rules
from .shares import WHOLE, Policy, net_shares

RELATIVES_MAX = 1_000
"""Relatives one answer looks at; the cursorless queries say so when they stop there."""
CHILDREN = b"royalty\0c"

Depth = Annotated[int, msgspec.Meta(ge=0, le=64)]


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


class FlowView(Record):
    """How an IP's revenue divides: one row per receiver, itself included."""

    receiver: IpId
    denom: Denom
    share: U64
    """Net share in 1e-16."""
    entitled: Amount
    settled: Amount


class RelativeView(Record):
    """One edge of a lineage."""

    child: IpId
    parent: IpId
    share: Share
    depth: U32


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


def sources(query: QueryContext, *, ip: IpId, denom: Denom = NCOLO) -> list[SourceView]:
    """Return the descendants (at most 1 000 looked at) that owe the IP something."""
    require_registered(query.state, ip)
    edges, _ = _descendants(query, ip, 64)
    found = []
    for source in dict.fromkeys(edge.child for edge in edges):
        share = rules.net_share(None, query.state, source, ip)
        amount = rules.due(query.state, source, ip, denom, share or 0)
        if amount:
            found.append(SourceView(source, denom, encode_amount(amount)))
    return found


def flows(query: QueryContext, *, ip: IpId, denom: Denom = NCOLO) -> list[FlowView]:
    """Return who gets which part of an IP's revenue, and how much of it has arrived."""
    require_registered(query.state, ip)
    lineage = rows.lineage_of(query.state, ip)
    vault = rows.vault_of(query.state, ip, denom)
    graph = rules.ancestor_graph(None, query.state, ip)
    shares = net_shares(lineage.policy, graph, ip)
    earned = int.from_bytes(vault.received, "big") - int.from_bytes(vault.base, "big")
    views: list[FlowView] = []
    for receiver, share in shares.items():
        if receiver == ip:
            own = rules.own_part(vault, share)
            views.append(FlowView(ip, denom, share, encode_amount(own), encode_amount(own)))
            continue
        entitled = earned * share // WHOLE
        settled = entitled - rules.due(query.state, ip, receiver, denom, share)
        views.append(
            FlowView(receiver, denom, share, encode_amount(entitled), encode_amount(settled))
        )
    return views


def lineage(query: QueryContext, *, ip: IpId, depth: Depth = 8) -> LineageView:
    """Return the edges above and below an IP, at most ``depth`` steps away."""
    require_registered(query.state, ip)
    above, whole_above = _ancestors(query, ip, depth)
    below, whole_below = _descendants(query, ip, depth)
    return LineageView(ip, above, below, whole_above and whole_below)


def _ancestors(query: QueryContext, ip: bytes, depth: int) -> tuple[list[RelativeView], bool]:
    edges: list[RelativeView] = []
    seen = {ip}
    level = [ip]
    for step in range(1, depth + 1):
        above: list[bytes] = []
        for node in level:
            for link in rows.links_of(query.state, node):
                edges.append(RelativeView(node, link.parent, link.share, step))
                if link.parent not in seen:
                    seen.add(link.parent)
                    above.append(link.parent)
        if len(edges) > RELATIVES_MAX:
            return edges[:RELATIVES_MAX], False
        level = above
    return edges, not any(rows.lineage_of(query.state, node).derives for node in level)


def _descendants(query: QueryContext, ip: bytes, depth: int) -> tuple[list[RelativeView], bool]:
    edges: list[RelativeView] = []
    seen = {ip}
    level = [ip]
    for step in range(1, depth + 1):
        below: list[bytes] = []
        for node in level:
            prefix = CHILDREN + node
            for key, _ in query.index.scan(prefix, prefix + b"\xff" * 22):
                child = key[len(prefix) :]
                links = rows.links_of(query.state, child)
                share = next((link.share for link in links if link.parent == node), 0)
                edges.append(RelativeView(child, node, share, step))
                if len(edges) >= RELATIVES_MAX:
                    return edges, False
                if child not in seen:
                    seen.add(child)
                    below.append(child)
        level = below
    return edges, not level


def index(place: EventPlace, event: Event) -> Iterator[IndexRow]:
    """Derived rows: children by parent."""
    if isinstance(event, m.Linked):
        for parent in event.parents:
            yield CHILDREN + parent + event.ip, b""


def list_royalties(
    query: QueryContext,
    *,
    cursor: IpId | None = None,
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50,
) -> list[RoyaltyView]:
    """Return links and revenue of IP assets in the order of their ids, after ``cursor``."""
    views: list[RoyaltyView] = []
    for ip, _ in IPS.scan(query.state, start=cursor or b""):
        if ip == cursor:
            continue
        if len(views) == limit:
            break
        views.append(get(query, ip=ip))
    return views
