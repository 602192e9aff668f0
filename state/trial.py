"""Messages run as they would run now, and forgotten: what quotes and simulations answer from.

The same functions apply them as in a block, in the same steps (C19), over a scratch overlay; so a
trial refuses exactly where the message does, with the same code and values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from chain.application import Job
from chain.errors import Misuse, Rejected

from .context import BlockContext, Context
from .deposits import pay_deposits
from .executor import Environment, Executed, Executor
from .module import Message, QueryContext, Reader, Steps
from .overlay import Overlay
from .pace import Pace
from .registry import Transaction

UNITS_MAX = 20_000
"""Metered units a quote may use: more than any lineage within limits needs."""

M = TypeVar("M", bound=Message)


def run_transaction(
    executor: Executor, state: Reader, environment: Environment, tx: Transaction
) -> Job[Executed]:
    """Return what a transaction does in a block of its own; else ``Rejected`` (B4).

    Its signatures do not matter.
    """
    overlay = Overlay(state.get)
    yield from executor.authorise_all(overlay, environment, [tx])
    return (yield from executor.execute(overlay, environment, [tx]))


def run_message(
    query: QueryContext,
    sender: bytes,
    message: M,
    apply: Callable[[Context, M], Steps | None],
    units: int,
) -> Job[Context]:
    """Return the context after ``message``: its events, deposits and units; else ``Rejected``.

    The transaction around it (its fee, keys, sequence number) is not part of it (N-license.9).
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
    pace = Pace()
    for done in apply(ctx, message) or ():
        if pace.is_over(done):
            yield
    pay_deposits(ctx)
    return ctx


def _no_nesting(*_: Any) -> Any:
    raise Misuse("only messages that carry no others can be tried")
