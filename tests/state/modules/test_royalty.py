"""Royalties: the scenarios of the reference system, then an exact model against random histories.

The model knows no floors and no rows: it keeps fractions. Colophon's integers must lie at most
the documented remainder below it and never above.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.codec import encode, encode_amount
from chain.ids import Kind
from chain.types import PERCENT
from state.modules.bank import Send
from state.modules.ip import messages as im
from state.modules.license import messages as lm
from state.modules.royalty import messages as rm
from state.modules.royalty import queries, rows
from state.modules.royalty.shares import PATHS_MAX, WHOLE, Policy, descending_order, net_shares
from tests.state.modules.lineages import Lineages

TEN = 10_000_000

# --- scenarios --------------------------------------------------------------------------------


def test_r01_three_parents_get_their_absolute_shares() -> None:
    net = Lineages()
    parents = [net.ip() for _ in range(3)]
    terms = [net.terms(share=share, derivatives_reciprocal=False)
             for share in (10_000_000, 15_000_000, 20_000_000)]  # fmt: skip
    for parent, its_terms in zip(parents, terms, strict=True):
        net.offer(parent, its_terms)
    child = net.child_of(*zip(parents, terms, strict=True))

    net.pay(child, 100_000_000)
    net.settle(parents[0], child)

    assert rows.lineage_of(net.state, child).stack == 45_000_000
    assert net.claimable(parents[0]) == 10_000_000
    shares = {view.receiver: view.share for view in net.ask(queries.flows, ip=child).items}
    assert [shares[parent] for parent in parents] == [10_000_000, 15_000_000, 20_000_000]


def test_r01b_r01c_the_ip_itself_and_strangers_are_no_sources() -> None:
    net = Lineages()
    ip, stranger = net.ip(), net.ip()

    assert net.refused(0, rm.Claim(ip, [b""], [ip], [])) == "royalty/SameIpTransfer"
    assert net.refused(0, rm.Claim(ip, [b""], [stranger], [])) == "royalty/ZeroClaimableRoyalty"


@pytest.mark.parametrize("policy", [Policy.LAP, Policy.LRP])
def test_r03_r06_r07_revenue_and_minting_fees_flow_one_step(policy: Policy) -> None:
    net = Lineages()
    terms = net.terms(policy=policy, fee=100)
    first = net.ip()
    net.offer(first, terms)
    second = net.child_of((first, terms), who=1)
    third = net.child_of((second, terms), who=2)

    net.pay(second, 1_000)
    net.settle(first, second)

    assert net.claimable(second) == 990
    assert net.claimable(first) == 210
    assert third != second


def test_r04_relative_shares_pass_from_step_to_step() -> None:
    net = Lineages()
    terms = net.terms(policy=Policy.LRP, fee=100)
    first = net.ip()
    net.offer(first, terms)
    second = net.child_of((first, terms), who=1)
    third = net.child_of((second, terms), who=2)

    net.pay(third, 1_000)
    net.settle(second, third)
    net.settle(first, third, second)

    assert (net.claimable(third), net.claimable(second), net.claimable(first)) == (
        900,
        180 + 90 - 90,
        120,
    )


def test_r09_a_derivative_may_raise_the_share_its_children_owe() -> None:
    net = Lineages()
    terms = net.terms(share=1_000_000)
    first = net.ip()
    net.offer(first, terms)
    second = net.child_of((first, terms))
    net.ok(0, lm.Configure(second, terms, lm.Config(rev_share=TEN)))
    third = net.child_of((second, terms))

    net.pay(third, 1_000)
    net.settle(second, third)
    net.settle(first, third)

    assert (net.claimable(second), net.claimable(first), net.claimable(third)) == (100, 10, 890)


def test_r11_r12_the_protocol_fee_goes_to_the_treasury_and_never_floors_to_nothing() -> None:
    net = Lineages(royalty_fee=50_000)
    ip = net.ip()

    assert net.refused(4, rm.Pay(ip, b"", encode_amount(1_999))) == "royalty/PaymentAmountIsTooLow"
    receipt = net.ok(4, rm.Pay(ip, b"", encode_amount(2_000)))

    assert int.from_bytes(receipt.events[0].net, "big") == 1_999
    assert net.claimable(ip) == 1_999


def test_r13_r22_refused_payments() -> None:
    net = Lineages()
    ip = net.ip()
    token = bytes((Kind.TOKEN,)) + bytes(20)

    assert net.refused(4, rm.Pay(ip, b"", b"")) == "royalty/ZeroAmount"
    assert net.refused(4, rm.Pay(ip, token, b"\1")) == "royalty/NotWhitelistedRoyaltyToken"
    assert net.refused(4, rm.Pay(ip, ip, b"\1")) == "royalty/NotWhitelistedRoyaltyToken"
    missing = bytes((Kind.IP,)) + bytes(20)
    assert net.refused(4, rm.Pay(missing, b"", b"\1")) == "ip/NotRegistered"
    assert net.refused(4, rm.Pay(ip, b"", b"\1", payer_ip=ip)) == "ip/NotOwner"


def test_r14_an_ip_without_lineage_is_simply_paid() -> None:
    net = Lineages()
    ip = net.ip()

    net.pay(ip, 500)

    assert net.claimable(ip) == 500


def test_r22_an_expired_derivative_earns_no_more() -> None:
    net = Lineages()
    terms = net.terms(expiration=1)
    parent = net.ip()
    net.offer(parent, terms)
    child = net.child_of((parent, terms))
    net.now_ms += 2_000

    assert net.refused(4, rm.Pay(child, b"", b"\1")) == "royalty/IpExpired"


def test_d01_a_diamond_pays_its_top_once_per_path() -> None:
    net = Lineages()
    terms = net.terms()
    a, c = net.ip(), net.ip()
    net.offer(a, terms)
    net.offer(c, terms)
    b = net.child_of((a, terms))
    with pytest.raises(AssertionError):
        net.derive(net.ip(), (a, terms), (a, terms))
    left, right = net.child_of((b, terms)), net.child_of((b, terms), (c, terms))

    child = net.child_of((left, terms), (right, terms))

    shares = {view.receiver: view.share for view in net.ask(queries.flows, ip=child).items}
    assert sum(shares.values()) == PERCENT
    assert shares[a] == shares[b] == 20_000_000 and shares[c] == 10_000_000


def test_d03_ten_absolute_steps_fill_the_stack_and_the_eleventh_is_refused() -> None:
    net = Lineages()
    net.check_every_block = False
    terms = net.terms()
    ip = net.ip()
    net.offer(ip, terms)
    for _ in range(10):
        ip = net.child_of((ip, terms))

    last = net.ip()
    refused = net.refused(0, lm.RegisterDerivative(last, [lm.Parent(ip, terms)]))

    assert rows.lineage_of(net.state, ip).stack == PERCENT
    assert refused == "royalty/AboveMaxPercent"


def test_relative_chains_have_no_such_end() -> None:
    net = Lineages()
    net.check_every_block = False
    terms = net.terms(policy=Policy.LRP)
    ip = net.ip()
    net.offer(ip, terms)
    for _ in range(15):
        ip = net.child_of((ip, terms))

    assert rows.lineage_of(net.state, ip).stack == TEN


def test_thirty_payments_of_seven_give_a_tenth_its_twenty_one() -> None:
    net = Lineages()
    net.check_every_block = False
    terms = net.terms()
    parent = net.ip()
    net.offer(parent, terms)
    child = net.child_of((parent, terms))

    for _ in range(30):
        net.pay(child, 7)
        net.settle(parent, child)

    assert net.claimable(parent) == 21


def test_what_was_earned_before_the_link_stays_with_the_child() -> None:
    net = Lineages()
    terms = net.terms()
    parent, child = net.ip(), net.ip()
    net.offer(parent, terms)
    net.pay(child, 1_000)

    net.derive(child, (parent, terms))
    net.pay(child, 100)
    net.settle(parent, child)

    assert net.claimable(parent) == 10
    assert net.claimable(child) == 1_090


# --- units ------------------------------------------------------------------------------------


def move(net: Lineages, ip: bytes, to: bytes, units: int) -> None:
    """Let the IP's account send some of its royalty units."""
    net.ok(0, im.Execute(ip, net.encoded(Send(to, ip, encode_amount(units)))))


def test_v01_v02_v03_v06_past_revenue_stays_with_the_seller() -> None:
    net = Lineages()
    ip, alice = net.ip(), net.addresses[1]
    big = 100_000_000_000

    net.pay(ip, big)
    move(net, ip, alice, 30_000_000)
    assert (net.claimable(ip), net.claimable(ip, alice)) == (big, 0)
    net.ok(0, rm.Claim(ip, [b""], [], [ip]))
    net.pay(ip, big)
    assert (net.claimable(ip), net.claimable(ip, alice)) == (7 * big // 10, 3 * big // 10)
    move(net, ip, alice, 20_000_000)
    assert (net.claimable(ip), net.claimable(ip, alice)) == (7 * big // 10, 3 * big // 10)
    net.ok(3, rm.Claim(ip, [b""], [], [ip, alice]))
    assert (net.claimable(ip), net.claimable(ip, alice)) == (0, 0)


def test_v08_v09_v10_refused_moves_and_empty_claims() -> None:
    net = Lineages()
    ip = net.ip()

    own = net.encoded(Send(ip, ip, b"\1"))
    assert net.refused(0, im.Execute(ip, own)) == "bank/SelfSend"
    assert net.refused(2, Send(net.addresses[1], ip, b"\1")) == "bank/InsufficientFunds"
    assert net.refused(2, rm.Claim(ip, [b""], [], [])) == "royalty/NoClaimableTokens"
    net.ok(2, rm.Claim(ip, [b""], [], [], may_be_empty=True))


def test_an_ip_whose_units_are_outside_cannot_be_linked() -> None:
    net = Lineages()
    terms = net.terms()
    parent, child = net.ip(), net.ip()
    net.offer(parent, terms)
    move(net, child, net.addresses[1], 1)

    refused = net.refused(0, lm.RegisterDerivative(child, [lm.Parent(parent, terms)]))

    assert refused == "royalty/UnitsOutside"


def test_denominations_are_accepted_by_the_owner_and_only_payable_ones() -> None:
    net = Lineages()
    ip = net.ip()
    token = bytes((Kind.TOKEN,)) + bytes(20)

    assert net.refused(1, rm.Accept(ip, [b""])) == "ip/NotOwner"
    assert net.refused(0, rm.Accept(ip, [token])) == "bank/UnknownDenom"
    assert net.refused(0, rm.Accept(ip, [ip])) == "royalty/NotWhitelistedRoyaltyToken"
    net.ok(0, rm.Accept(ip, [b""]))


def test_a_claim_is_limited_and_metered() -> None:
    net = Lineages(tx_units_max=10**6, block_units_max=10**6)
    net.check_every_block = False
    ip = net.ip()
    many = [bytes((Kind.IP,)) + n.to_bytes(20, "big") for n in range(1_024)]
    tokens = [bytes((Kind.TOKEN,)) + n.to_bytes(20, "big") for n in range(5)]

    claim = rm.Claim(ip, tokens, many, [])
    assert net.refused(0, claim) == "royalty/TooManySettlements"
    assert net.refused(0, rm.Claim(ip, [b""], many[:1], [], max_units=0)) == "tx/OutOfUnits"


def test_counters_and_lists_have_widths_that_are_never_passed() -> None:
    net = Lineages()
    ip = net.ip()
    full = rows.Vault(encode_amount(2**192 - 1), b"", b"", b"", b"")
    net.check_every_block = False
    net.state.rows[rows.VAULTS.prefix + ip + bytes(21)] = encode(full)
    assert net.refused(4, rm.Pay(ip, b"", b"\1")) == "royalty/CounterOverflow"

    tokens = [bytes((Kind.TOKEN,)) + n.to_bytes(20, "big") for n in range(15)]
    net.state.rows[rows.DENOMS.prefix + ip] = encode(rows.Denoms([*tokens, b"\x09" * 21]))
    assert net.refused(0, rm.Accept(ip, [b""])) == "royalty/TooManyDenominations"


# --- arithmetic -------------------------------------------------------------------------------

GRAPHS = st.integers(1, 9).flatmap(
    lambda size: st.lists(
        st.lists(st.tuples(st.integers(0, 8), st.integers(0, 30_000_000)), max_size=3),
        min_size=size,
        max_size=size,
    )
)


def graph_of(spec: list[list[tuple[int, int]]]) -> dict[bytes, list[tuple[bytes, int]]]:
    """Return a lineage whose node 0 is the newest; node i may derive from higher ones only."""
    size = len(spec)
    graph: dict[bytes, list[tuple[bytes, int]]] = {}
    for child, edges in enumerate(spec):
        parents = {
            child + 1 + offset % max(size - child - 1, 1): share
            for offset, share in edges
            if child + 1 < size
        }
        graph[bytes([child])] = [(bytes([p]), e) for p, e in sorted(parents.items())]
    alive, waiting = set(), [b"\0"]
    while waiting:
        node = waiting.pop()
        if node not in alive:
            alive.add(node)
            waiting += [parent for parent, _ in graph[node]]
    return {node: edges for node, edges in graph.items() if node in alive}


def exact_absolute(graph: dict[bytes, list[tuple[bytes, int]]]) -> dict[bytes, Fraction]:
    """Return LAP shares by walking every path."""
    shares = dict.fromkeys(graph, Fraction(0))

    def walk(node: bytes) -> None:
        for parent, share in graph[node]:
            shares[parent] += Fraction(share, PERCENT)
            walk(parent)

    walk(b"\0")
    shares[b"\0"] = 1 - sum(shares.values())
    return shares


def exact_relative(graph: dict[bytes, list[tuple[bytes, int]]]) -> dict[bytes, Fraction]:
    """Return LRP shares by walking every path."""
    shares = dict.fromkeys(graph, Fraction(0))

    def walk(node: bytes, inflow: Fraction) -> None:
        kept = inflow
        for parent, share in graph[node]:
            passed = inflow * Fraction(share, PERCENT)
            kept -= passed
            walk(parent, passed)
        shares[node] += kept

    walk(b"\0", Fraction(1))
    return shares


@given(GRAPHS)
def test_absolute_shares_equal_the_exact_model(spec: list[list[tuple[int, int]]]) -> None:
    graph = graph_of(spec)
    exact = exact_absolute(graph)
    if exact[b"\0"] < 0:
        return  # the stack passes 100 %: such a link is refused

    shares = net_shares(Policy.LAP, graph, b"\0")

    assert {node: Fraction(share, WHOLE) for node, share in shares.items()} == exact


@given(GRAPHS)
def test_relative_shares_stay_within_their_floors(spec: list[list[tuple[int, int]]]) -> None:
    graph = graph_of(spec)
    exact = exact_relative(graph)

    shares = net_shares(Policy.LRP, graph, b"\0")

    assert sum(shares.values()) == WHOLE
    floors = sum(len(edges) for edges in graph.values()) + 1
    for node, share in shares.items():
        assert abs(Fraction(share, WHOLE) - exact[node]) * WHOLE <= floors


def test_path_counts_saturate_instead_of_growing() -> None:
    rungs = 40
    graph: dict[bytes, list[tuple[bytes, int]]] = {}
    for rung in range(rungs):
        top = [(bytes([rung + 1, 0]), 0), (bytes([rung + 1, 1]), 0)] if rung + 1 < rungs else []
        graph[bytes([rung, 0])] = list(top)
        graph[bytes([rung, 1])] = list(top)
    del graph[bytes([0, 1])]

    shares = net_shares(Policy.LAP, graph, bytes([0, 0]))

    assert shares[bytes([0, 0])] == WHOLE
    assert len(descending_order(graph, bytes([0, 0]))) == len(graph)
    assert PATHS_MAX > PERCENT


# --- histories --------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pay"), st.integers(0, 3), st.integers(1, 5_000)),
        st.tuples(st.just("settle"), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("claim"), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("move"), st.integers(0, 3), st.integers(1, 40_000_000)),
    ),
    max_size=14,
)


@settings(max_examples=40)
@given(STEPS, st.sampled_from([Policy.LAP, Policy.LRP]))
def test_no_history_pays_anyone_more_than_the_exact_model(
    steps: list[tuple[str, int, int]], policy: Policy
) -> None:
    """A ladder of four IPs; revenue, settlements, claims and sales of units in any order."""
    net = Lineages()
    net.check_every_block = False
    terms = net.terms(policy=policy, share=12_345_678)
    ips = [net.ip()]
    net.offer(ips[0], terms)
    for _ in range(3):
        ips.append(net.child_of((ips[-1], terms)))
    revenue = [Fraction(0)] * 4
    for kind, which, number in steps:
        if kind == "pay":
            net.pay(ips[which], number)
            revenue[which] += number
        elif kind == "settle" and number > which:
            net.settle(ips[which], ips[number])
        elif kind == "claim":
            net.send(3, rm.Claim(ips[which], [b""], [], [ips[which], net.addresses[1]]))
        elif kind == "move":
            sale = net.encoded(Send(net.addresses[1], ips[which], encode_amount(number)))
            net.send(0, im.Execute(ips[which], sale))
    net.check_every_block = True
    for which, ip in enumerate(ips):
        net.settle(ip, *ips[which + 1 :])

    for which, ip in enumerate(ips):
        exact = Fraction(0)
        for source in range(which, 4):
            graph = {i: [(e.parent, e.share) for e in rows.links_of(net.state, i)]
                     for i in ips[: source + 1]}  # fmt: skip
            share = net_shares(policy, graph, ips[source])[ip]
            exact += revenue[source] * Fraction(share, WHOLE)
        vault = rows.vault_of(net.state, ip, b"")
        paid = int.from_bytes(vault.claimed, "big")
        owed = paid + net.claimable(ip) + net.claimable(ip, net.addresses[1])
        sources = 4 - which
        assert exact - sources - 16 <= owed <= exact + 1
