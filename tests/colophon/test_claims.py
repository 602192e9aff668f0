"""``claim_all`` collects everything, however many descendants there are and however far below.

The workflow runs against a real chain in memory: its calls go through the RPC's dispatcher, and
every transaction it submits gets a block.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from chain.application import finish
from chain.codec import encode_amount
from chain.errors import Rejected
from chain.ids import NCOLO, Kind, format_id
from colophon.flows import Call, Flow, Outcome, claim_all_flow, result_of
from colophon.wallet import Wallet
from rpc.jsonrpc import Dispatcher
from rpc.table import make_table
from state import layout
from state.module import Message
from state.modules.ip.asset import IpKind
from state.modules.ip.messages import Register
from state.modules.license.messages import (
    Attach,
    Parent,
    RegisterDerivative,
    RegisterTerms,
    Terms,
)
from state.modules.license.rows import terms_id_of
from state.modules.royalty import rows
from state.modules.royalty.messages import Pay
from state.modules.royalty.queries import sources
from state.modules.royalty.shares import Policy
from state.store import KeyValueStore
from state.visits import STEP_ROWS
from tests.rpc.world import World

CHILDREN = 1_100
DEPTH = 1_000
PAYMENT = 1_000_000
SHARE = 100_000
"""A tenth of a percent: a thousand of them fill the stack."""
TERMS = Terms(
    royalty_policy=Policy.LAP, commercial_use=True, rev_share=SHARE, derivatives_allowed=True,
    derivatives_reciprocal=True, currency=NCOLO,
)  # fmt: skip


class StateRows:
    """The finalised state, as rules read it."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store

    def get(self, key: bytes) -> bytes | None:
        return self._store.get(layout.STATE + key)


class Family:
    """One IP of account 0 with descendants, each of which has been paid."""

    def __init__(self) -> None:
        self.world = World()
        self.dispatcher = Dispatcher(make_table(self.world), batch_max=1)
        self.wallet = Wallet(self.world.keys[0], self.world.machine.genesis_hash)
        self.sizes: list[int] = []
        self.units: list[int] = []
        self._contents = 0
        self._send(RegisterTerms(TERMS))
        self.terms = terms_id_of(TERMS)
        self.top = self._register()
        self._send(Attach(self.top, self.terms))

    @property
    def state(self) -> StateRows:
        """The state at the head."""
        return StateRows(self.world.machine.store)

    def _send(self, *messages: Message) -> None:
        self.world.send(0, *messages)
        if sum(tx.units for tx, _ in self.world.pool) > 150_000 or len(self.world.pool) > 40:
            self.world.block()

    def _register(self, *parents: bytes) -> bytes:
        self._contents += 1
        ip = self.world.next_id(Kind.IP, 0)
        messages: list[Message] = [
            Register(IpKind.TEXT, sha256(self._contents.to_bytes(4, "big")).digest())
        ]
        if parents:
            named = [Parent(parent, self.terms) for parent in parents]
            messages.append(RegisterDerivative(ip, named, max_units=8_000))
        self._send(*messages)
        return ip

    def child(self, *parents: bytes) -> bytes:
        """Register a derivative and pay it."""
        ip = self._register(*parents)
        self._send(Pay(ip, NCOLO, encode_amount(PAYMENT)))
        return ip

    def flush(self) -> None:
        """Make what waits final."""
        if self.world.pool:
            self.world.block()

    def claim_all(self) -> list[Outcome]:
        """Run the workflow."""
        self.flush()
        return asyncio.run(self._drive(claim_all_flow(self.wallet, format_id(self.top))))

    async def _drive(self, flow: Flow[Any]) -> Any:
        answer = None
        while True:
            try:
                call = flow.send(answer)
            except StopIteration as stop:
                return stop.value
            assert isinstance(call, Call)
            answer = await self._ask(call)

    async def _ask(self, call: Call) -> Any:
        if call.method == "tx.submit_and_wait":
            tx_id = self.world.admit(bytes.fromhex(call.params["tx"][2:]))
            self.units.append(self.world.pool[-1][0].units)
            self.world.block()
            call = Call("tx.get", {"id": "0x" + tx_id.hex()})
        result = await self.dispatcher.call(call.method, call.params)
        if call.method == "royalty.sources":
            self.sizes.append(len(result["items"]))
        return result_of({"result": msgspec.json.decode(msgspec.json.encode(result))})

    def require_all_is_settled(self, descendants: list[bytes]) -> None:
        """Every descendant's debt is paid to the unit, and nothing but that has arrived."""
        state = self.state
        due = 0
        for ip in descendants:
            received = int.from_bytes(rows.vault_of(state, ip, NCOLO).received, "big")
            settled = rows.SETTLEMENTS.get(state, ip + self.top + rows.wide(NCOLO))
            assert settled is not None
            assert int.from_bytes(settled.amount, "big") == received * SHARE // 10**8
            due += received * SHARE // 10**8
        vault = rows.vault_of(state, self.top, NCOLO)
        assert int.from_bytes(vault.inflow, "big") == due > 0
        assert vault.claimed == vault.inflow


def test_a_thousand_and_one_hundred_children_are_claimed_to_the_unit() -> None:
    family = Family()
    children = [family.child(family.top) for _ in range(CHILDREN)]

    outcomes = family.claim_all()

    assert len(outcomes) > 1
    assert max(family.units) <= family.world.machine.params.tx_units_max
    assert sum(family.sizes) == CHILDREN
    family.require_all_is_settled(children)
    assert family.claim_all() == []


def test_a_lineage_a_thousand_deep_is_claimed_to_the_unit() -> None:
    family = Family()
    line = [family.top]
    for _ in range(DEPTH):
        line.append(family.child(line[-1]))

    require_small_steps(family, line)
    family.claim_all()

    assert max(family.units) <= family.world.machine.params.tx_units_max
    assert sum(family.sizes) == DEPTH
    family.require_all_is_settled(line[1:])
    assert family.claim_all() == []


def require_small_steps(family: Family, line: list[bytes]) -> None:
    """Rows between two pauses and rows of a whole answer are bounded, also far below."""
    family.flush()
    rows_at = [0]
    with family.world.reader.context() as context:
        job = sources(context, ip=family.top, cursor=line[-2] + line[-1], limit=200)
        while True:
            try:
                next(job)
            except StopIteration as stop:
                assert [view.source for view in stop.value.items] == [line[-1]]
                break
            rows_at.append(context.visits.rows)
    steps = [later - earlier for earlier, later in pairwise(rows_at)]
    assert max(steps) <= STEP_ROWS + 10
    assert DEPTH < context.visits.rows <= 3 * DEPTH + 10


def test_a_descendant_of_many_paths_is_one_source() -> None:
    family = Family()
    left, right = family.child(family.top), family.child(family.top)
    both = family.child(left, right)
    below = [family.child(both, left, family.top) for _ in range(3)]

    family.claim_all()

    assert family.sizes == [6]
    vault = rows.vault_of(family.state, family.top, NCOLO)
    assert int.from_bytes(vault.inflow, "big") == sum(
        PAYMENT * SHARE * paths // 10**8 for paths in (1, 1, 2, *[4] * len(below))
    )


def test_a_place_that_is_not_below_the_ip_is_refused() -> None:
    family = Family()
    child = family.child(family.top)
    stranger = family.child(child)
    family.flush()

    with family.world.reader.context() as context:
        with pytest.raises(Rejected, match="royalty/ZeroClaimableRoyalty"):
            finish(sources(context, ip=child, cursor=family.top + child))
        for garbage in (bytes(42), b"\x59" * 42, b"\xff" * 42, b"\x02" + bytes(41)):
            with pytest.raises(Rejected, match="royalty/ZeroClaimableRoyalty"):
                finish(sources(context, ip=child, cursor=garbage))
        page = finish(sources(context, ip=child, cursor=child + stranger))

    assert [view.source for view in page.items] == [stranger]
