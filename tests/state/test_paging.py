"""Lists come in pages of bounded work, whichever family they are of (docs/rpc.md)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args, get_origin

import pytest

from chain.application import finish
from chain.errors import Misuse
from chain.fields import fields_of
from chain.ids import Kind
from rpc.methods import Method, method
from state.families import REGISTRY
from state.module import QueryContext
from state.modules.account import BALANCES, get_balances
from state.modules.license.queries import HOLDER_LOTS, holdings
from state.paging import PAGE_MAX, page
from state.visits import ROWS_MAX, ROWS_NEVER, STEP_ROWS
from tests.state.ledger import Ledger

QUERIES = {
    verb if "." in verb else f"{module.name}.{verb}": method(verb, query)
    for module in REGISTRY.modules
    for verb, query in module.queries.items()
}


def lists(entry: Method) -> bool:
    return get_origin(entry.result) is list or "items" in fields_of(entry.result)


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_query_that_answers_a_list_has_a_cursor_and_a_limit_and_runs_in_steps(name: str) -> None:
    entry = QUERIES[name]

    assert get_origin(entry.result) is not list
    if lists(entry):
        assert {"items", "cursor"} == set(fields_of(entry.result))
        assert {"cursor", "limit"} <= set(entry.params)
        (bounds,) = get_args(entry.params["limit"].kind)[1:]
        assert (bounds.ge, bounds.le) == (1, PAGE_MAX)
        assert entry.steps


def test_the_families_have_lists() -> None:
    assert {name for name, entry in QUERIES.items() if lists(entry)} >= {
        "account.balances", "anchor.batches", "anchor.list", "anchor.records", "ip.by_content",
        "ip.children", "ip.list", "ip.relations", "ip.revisions", "license.holdings",
        "license.list", "license.offers", "royalty.flows", "royalty.list", "royalty.sources",
    }  # fmt: skip


def test_lots_that_are_gone_end_the_answer_with_a_cursor_and_not_the_list() -> None:
    net = Ledger()
    holder = net.addresses[0]
    for number in range(5_000):
        lot = bytes((Kind.LOT,)) + number.to_bytes(20, "big")
        net.index.rows[HOLDER_LOTS + holder + lot] = b""
    context = net.query

    answer = finish(holdings(context, holder=holder))

    assert answer.items == []
    assert answer.cursor is not None
    assert context.visits.rows <= ROWS_MAX + 5
    pages = 1
    while answer.cursor is not None:
        answer = net.ask(holdings, holder=holder, cursor=answer.cursor)
        pages += 1
    assert pages == -(-5_000 * 3 // ROWS_MAX)


def test_a_page_pauses_at_least_every_so_many_rows() -> None:
    context = rows_of(1_000)
    visited = [0]
    job = page(context, ((key, key) for key, _ in context.state.scan(b"", b"\xff")), 10**6)

    for _ in job:
        visited.append(context.visits.rows)

    assert max(later - earlier for earlier, later in pairwise(visited)) <= STEP_ROWS
    assert len(visited) == 1_001 // STEP_ROWS + 1


def test_a_query_that_never_stops_is_stopped() -> None:
    context = rows_of(ROWS_NEVER)

    with pytest.raises(Misuse):
        list(context.state.scan(b"", b"\xff"))
    with pytest.raises(Misuse):
        context.state.get(b"key")


def rows_of(count: int) -> QueryContext:
    net = Ledger()
    net.state.rows = {number.to_bytes(4, "big"): b"" for number in range(count)}
    return net.query


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
def test_balances_of_an_ip_come_in_order_with_the_units_it_never_moved(limit: int) -> None:
    net = Ledger()
    ip = bytes((Kind.IP,)) + bytes([5]) * 20
    denoms = [bytes((Kind.IP,)) + bytes([number]) * 20 for number in (1, 3, 7, 9)]
    for denom in denoms:
        net.state.apply({BALANCES.prefix + ip + denom: b"\x91\xc4\x01\x05"})

    found: list[Any] = []
    cursor = None
    while True:
        answer = net.ask(get_balances, address=ip, cursor=cursor, limit=limit)
        found += answer.items
        cursor = answer.cursor
        if cursor is None:
            break

    assert [view.denom for view in found] == [*denoms[:2], ip, *denoms[2:]]
    assert int.from_bytes(found[2].amount, "big") == 100_000_000
