"""Royalties: revenue flows up the lineage by shares fixed at the link (docs/royalty.md).

shares.py: the arithmetic; messages.py: what users say; rows.py: what is kept; rules.py: what
happens; queries.py: what can be asked.
"""

from __future__ import annotations

from ...module import Module, Scanner
from . import messages as m
from . import queries, rows, rules
from .rules import accept_denoms, ancestor_graph, link, move_units, pay, pay_license_fee
from .shares import Policy

__all__ = [
    "MODULE",
    "Policy",
    "accept_denoms",
    "ancestor_graph",
    "link",
    "move_units",
    "pay",
    "pay_license_fee",
]


def check_policies(state: Scanner) -> str | None:
    """LAP and LRP never meet inside one lineage (N-royalty.2)."""
    for child, lineage in rows.LINEAGES.scan(state):
        for above, _ in rows.links_of(state, child):
            parent = rows.lineage_of(state, above)
            if parent.derives and parent.policy != lineage.policy:
                return f"{child.hex()} and its parent {above.hex()} differ in policy"
    return None


def check_vaults(state: Scanner) -> str | None:
    """No vault has paid out more than came in (N-royalty.8)."""
    for denom, held in rows.vault_money(state):
        if held < 0:
            return f"a vault in {denom.hex() or 'ncolo'} is short by {-held}"
    return None


MODULE = Module(
    name="royalty",
    version=3,
    messages={m.Pay: rules.apply_pay, m.Accept: rules.apply_accept, m.Claim: rules.apply_claim},
    events=(m.Paid, m.Accepted, m.Settled, m.Claimed, m.UnitsMoved, m.Linked),
    tables=(
        rows.LINEAGES,
        rows.VAULTS,
        rows.SETTLEMENTS,
        rows.NET_SHARES,
        rows.DENOMS,
        rows.DEBTS,
    ),
    queries={
        "get": queries.get,
        "list": queries.list_royalties,
        "claimable": queries.claimable,
        "sources": queries.sources,
        "flows": queries.flows,
        "ip.lineage": queries.lineage,
        "ip.children": queries.children,
    },
    index=queries.index,
    invariants={"royalty/policies": check_policies, "royalty/vaults": check_vaults},
    money=rows.vault_money,
)
