"""A walk over everything below one IP, in an order that can be taken up at any place.

What is above an IP is fixed when it is linked (N-royalty.2), so every descendant has one parent
it is met under for ever: the first of its links that leads to the top. The walk follows these
only, child by child in the order of ids, and needs no memory of what it has passed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from chain.errors import Rejected
from chain.ids import ID_BYTES, format_id

from ...layout import after
from ...module import QueryContext
from . import rows
from .shares import Edges, net_shares

CHILDREN = b"royalty\0c"
"""parent ‖ child → nothing"""

Place = bytes
"""parent ‖ child: an edge below the top, met before all places that follow it."""


def children_of(query: QueryContext, parent: bytes, start: bytes = b"") -> Iterator[bytes]:
    """Yield the derivatives of an IP in the order of their ids, from ``start`` on."""
    prefix = CHILDREN + parent
    for key, _ in query.index.scan(prefix + start, after(prefix)):
        yield key[len(prefix) :]


class Descent:
    """The walk below ``top``; what it has read it keeps."""

    def __init__(self, query: QueryContext, top: bytes) -> None:
        self._query = query
        self._top = top
        self._lineages: dict[bytes, rows.Lineage] = {}
        self._links: dict[bytes, list[rows.Link]] = {}
        self._is_below = {top: True}

    def lineage(self, ip: bytes) -> rows.Lineage:
        """Return an IP's lineage, read once."""
        if ip not in self._lineages:
            self._lineages[ip] = rows.lineage_of(self._query.state, ip)
        return self._lineages[ip]

    def links(self, ip: bytes) -> list[rows.Link]:
        """Return an IP's edges to its parents, read once."""
        if ip not in self._links:
            self._links[ip] = rows.links_of(self._query.state, ip)
        return self._links[ip]

    def places(self, cursor: Place | None) -> Iterator[tuple[Place, bytes | None] | None]:
        """Yield every edge's place from ``cursor`` on, with its child where it is met first.

        None where the walk may pause. Raises ``royalty/ZeroClaimableRoyalty`` if the cursor is
        no place below the top.
        """
        waiting = [(self._top, b"")]
        if cursor is not None:
            waiting = yield from self._take_up(cursor)
        while waiting:
            node, start = waiting.pop()
            if self._query.visits.step_is_over():
                yield None
            for child in children_of(self._query, node, start):
                is_first = (yield from self._parent_of(child)) == node
                yield node + child, child if is_first else None
                if is_first and self.lineage(child).children:
                    waiting += [(node, child + b"\0"), (child, b"")]
                    break

    def _take_up(self, cursor: Place) -> Generator[None, None, list[tuple[bytes, bytes]]]:
        """Return what is still to be walked from a place on, the nearest last."""
        node, start = cursor[:ID_BYTES], cursor[ID_BYTES:]
        waiting = [(node, start)]
        while node != self._top:
            parent = yield from self._parent_of(node)
            if parent is None:
                raise Rejected(
                    "royalty/ZeroClaimableRoyalty",
                    f"0x{node.hex()} of the cursor is no descendant of {format_id(self._top)}",
                    source=node,
                )
            waiting.append((parent, node + b"\0"))
            node = parent
            if self._query.visits.step_is_over():
                yield
        return waiting[::-1]

    def _parent_of(self, node: bytes) -> Generator[None, None, bytes | None]:
        """Return the parent that a descendant is met under; None for any other IP."""
        for link in self.links(node):
            if (yield from self._descends(link.parent)):
                return link.parent
        return None

    def _descends(self, node: bytes) -> Generator[None, None, bool]:
        """Tell whether an IP is the top or below it."""
        waiting = [node]
        while waiting:
            at = waiting[-1]
            if at in self._is_below:
                waiting.pop()
                continue
            parents = [link.parent for link in self.links(at)]
            unknown = [parent for parent in parents if parent not in self._is_below]
            if any(self._is_below.get(parent) for parent in parents):
                self._is_below[at] = True
            elif not unknown:
                self._is_below[at] = False
            else:
                waiting += unknown
            if self._query.visits.step_is_over():
                yield
        return self._is_below[node]

    def graph_above(self, start: bytes) -> Generator[None, None, dict[bytes, Edges]]:
        """Return the edges of an IP and of all its ancestors, as ``rules.ancestor_graph``."""
        graph: dict[bytes, Edges] = {}
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if node in graph:
                continue
            self._query.visits.count()
            graph[node] = [(link.parent, link.share) for link in self.links(node)]
            waiting += [parent for parent, _ in graph[node]]
            if self._query.visits.step_is_over():
                yield
        return graph

    def shares_of(self, source: bytes) -> Generator[None, None, tuple[dict[bytes, int], int]]:
        """Return the net shares of an IP's revenue (1e-16) and the edges they follow from."""
        graph = yield from self.graph_above(source)
        yield
        shares = net_shares(self.lineage(source).policy, graph, source)
        yield
        return shares, sum(len(edges) for edges in graph.values())
