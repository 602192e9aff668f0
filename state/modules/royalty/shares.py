"""How a payment divides over a lineage: pure arithmetic on a graph (N-royalty.3, N-royalty.4).

Net shares are in units of 1e-16 and always sum to exactly ``WHOLE``, so nothing is lost and
nothing is paid twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

from chain.types import PERCENT

WHOLE = 10**16
"""All of a payment, in the units of net shares."""
PATHS_MAX = PERCENT + 1
"""Path counts saturate here: one more than any stack that passes could pay for."""

Edges = Sequence[tuple[bytes, int]]
"""(parent, rev_share in 1e-8) of one node's links."""


class Policy(IntEnum):
    """How revenue shares compose along a lineage. Numbers are permanent."""

    NONE = 0
    LAP = 1
    """Absolute: every ancestor gets its share of the whole payment."""
    LRP = 2
    """Relative: every node passes a share of what it gets on to its parents."""


def descending_order(graph: Mapping[bytes, Edges], start: bytes) -> list[bytes]:
    """Return the nodes above ``start``, itself first, every node after all its descendants.

    ``graph`` holds the edges of ``start`` and of all its ancestors.
    """
    waiting: dict[bytes, int] = {}
    for edges in graph.values():
        for parent, _ in edges:
            waiting[parent] = waiting.get(parent, 0) + 1
    order = [start]
    for node in order:
        for parent, _ in graph[node]:
            waiting[parent] -= 1
            if waiting[parent] == 0:
                order.append(parent)
    assert len(order) == len(graph), "a lineage has no cycle and one start"
    return order


def net_shares(policy: Policy, graph: Mapping[bytes, Edges], start: bytes) -> dict[bytes, int]:
    """Return what ``start`` and each of its ancestors keep of a payment to ``start``."""
    order = descending_order(graph, start)
    shares = _relative(graph, order) if policy is Policy.LRP else _absolute(graph, order)
    assert sum(shares.values()) == WHOLE, "net shares sum to the whole"
    assert min(shares.values()) >= 0, "no net share is negative"
    return shares


def _absolute(graph: Mapping[bytes, Edges], order: list[bytes]) -> dict[bytes, int]:
    """``net(x,a) = 1e8 · Σ paths(x→n)·e(n,a)`` over edges n→a; x keeps the rest."""
    paths = dict.fromkeys(order, 0)
    shares = dict.fromkeys(order, 0)
    paths[order[0]] = 1
    for node in order:
        for parent, share in graph[node]:
            shares[parent] += PERCENT * paths[node] * share
            paths[parent] = min(paths[parent] + paths[node], PATHS_MAX)
    shares[order[0]] = WHOLE - sum(shares.values())
    return shares


def _relative(graph: Mapping[bytes, Edges], order: list[bytes]) -> dict[bytes, int]:
    """``v[a] += floor(v[n]·e(n,a)/1e8)``; each node keeps what it does not pass on."""
    inflow = dict.fromkeys(order, 0)
    shares = dict.fromkeys(order, 0)
    inflow[order[0]] = WHOLE
    for node in order:
        kept = inflow[node]
        for parent, share in graph[node]:
            passed = inflow[node] * share // PERCENT
            inflow[parent] += passed
            kept -= passed
        shares[node] = kept
    return shares
