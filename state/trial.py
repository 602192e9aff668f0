"""One message run as it would run now, and forgotten: what quotes answer from (N-license.9).

The same function applies it as in a block, over a scratch overlay; so a trial refuses exactly
where the message does, with the same code and values. The transaction around it (its fee, keys,
sequence number) is not part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from chain.errors import Misuse, Rejected

from .context import BlockContext, Context
from .deposits import pay_deposits
from .module import Message, QueryContext, Steps
from .overlay import Overlay

UNITS_MAX = 20_000
"""Metered units a trial may use: about 10 ms, and more than any lineage within limits needs."""

M = TypeVar("M", bound=Message)


def run_trial(
    query: QueryContext,
    sender: bytes,
    message: M,
    apply: Callable[[Context, M], Steps | None],
    units: int,
) -> Context:
    """Return the context after ``message``: its events, deposits and units; else ``Rejected``.

    ``units``: what the message declares as ``max_units``; 0 if it has none.
    """
    if units > query.params.tx_units_max:
        raise Rejected(
            "tx/TooManyUnits",
            f"max_units {units}, a transaction has at most {query.params.tx_units_max}",
        )
    block = BlockContext(
        state=Overlay(query.state.get),
        genesis_hash=query.genesis_hash,
        height=query.height + 1,
        time_ms=query.time_ms,
        params=query.params,
        base_fee=0,
        dispatch=_no_nesting,
        read_nested=_no_nesting,
    )
    ctx = Context(block, sender, 0, 0, 0)
    ctx.begin_message(0, min(units, UNITS_MAX))
    for _ in apply(ctx, message) or ():
        pass
    pay_deposits(ctx)
    return ctx


def _no_nesting(*_: Any) -> Any:
    raise Misuse("only messages that carry no others can be tried")
