"""Lineages at their limits, exactly: what just fits, and what is one too many (N-royalty.2)."""

from __future__ import annotations

from chain.types import PERCENT
from state.modules.license import messages as lm
from state.modules.royalty.rows import lineage_of
from state.modules.royalty.shares import Policy
from tests.state.modules.lineages import Lineages


def test_an_ip_counts_its_own_edges_and_those_of_its_ancestors() -> None:
    net = Lineages()
    terms = net.terms(share=0)
    first, second = net.ip(), net.ip()
    for ip in (first, second):
        net.offer(ip, terms)
    child = net.child_of((first, terms), (second, terms))
    grandchild = net.child_of((child, terms), (first, terms))

    assert (lineage_of(net.state, child).ancestors, lineage_of(net.state, child).edges) == (2, 2)
    found = lineage_of(net.state, grandchild)
    assert (found.ancestors, found.edges) == (3, 4)


def test_a_stack_of_exactly_100_percent_is_taken_and_one_above_refused() -> None:
    for policy in (Policy.LAP, Policy.LRP):
        net = Lineages()
        half = net.terms(policy=policy, share=PERCENT // 2)
        parents = [net.ip() for _ in range(3)]
        for ip in parents:
            net.offer(ip, half)

        child = net.child_of(*((ip, half) for ip in parents[:2]))

        assert lineage_of(net.state, child).stack == PERCENT
        three = [lm.Parent(ip, half) for ip in parents]
        refused = net.refused(0, lm.RegisterDerivative(net.ip(), three))
        assert refused == "royalty/AboveMaxPercent"


def test_a_licence_that_would_fill_the_stack_exactly_can_be_minted() -> None:
    net = Lineages()
    half = net.terms(share=PERCENT // 2)
    parent = net.ip()
    net.offer(parent, half)
    child = net.child_of((parent, half))

    net.ok(1, lm.Mint(child, half, 1, net.addresses[1]))
    net.ok(0, lm.Configure(child, half, lm.Config(rev_share=PERCENT // 2 + 1)))

    refused = net.refused(1, lm.Mint(child, half, 1, net.addresses[1]))
    assert refused == "royalty/AboveMaxPercent"
