"""Licences: what may be done with an IP, at what price, and what follows (docs/license.md).

messages.py: what users say; rows.py: what is kept; terms.py, lots.py, derivatives.py: what
happens; queries.py: what can be asked.
"""

from __future__ import annotations

from ...module import Module, Scanner
from . import derivatives, lots, queries, rows, terms
from . import messages as m

__all__ = ["MODULE"]


def check_lots(state: Scanner) -> str | None:
    """The holdings of a lot sum to its amount (N-license.6)."""
    sums: dict[bytes, int] = {}
    for key, holding in rows.HOLDINGS.scan(state):
        sums[key[:21]] = sums.get(key[:21], 0) + holding.amount
    for lot, row in rows.LOTS.scan(state):
        if sums.pop(lot, 0) != row.amount:
            return f"the holdings of lot {lot.hex()} do not sum to its amount {row.amount}"
    return f"holdings of missing lots {sorted(lot.hex() for lot in sums)}" if sums else None


MODULE = Module(
    name="license",
    version=3,
    messages={
        m.RegisterTerms: terms.apply_register_terms,
        m.Attach: terms.apply_attach,
        m.Configure: terms.apply_configure,
        m.Mint: lots.apply_mint,
        m.Transfer: lots.apply_transfer,
        m.Burn: lots.apply_burn,
        m.ApproveDerivative: derivatives.apply_approve_derivative,
        m.RegisterDerivative: derivatives.apply_register_derivative,
    },
    events=(
        m.TermsRegistered,
        m.Attached,
        m.Configured,
        m.Minted,
        m.Moved,
        m.Burned,
        m.DerivativeApproved,
        m.DerivativeRegistered,
    ),
    tables=(
        rows.TERMS,
        rows.COUNTERS,
        rows.ATTACHMENTS,
        rows.LICENSINGS,
        rows.LOTS,
        rows.HOLDINGS,
        rows.APPROVALS,
    ),
    genesis=terms.genesis,
    queries={
        "get": queries.get,
        "list": queries.list_terms,
        "offers": queries.offers,
        "lot": queries.lot,
        "holdings": queries.holdings,
        "quote": queries.quote,
    },
    index=queries.index,
    invariants={"license/lots": check_lots},
)
