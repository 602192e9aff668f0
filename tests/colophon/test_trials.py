"""Quotes and simulations: made in steps of bounded work, of one block's state, held no longer.

The rows touched between two steps are counted, on the deepest lineage and on the
longest transactions; a block becomes final between two steps, and the answer stays what it was.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, TypeVar

import pytest

from chain.application import Job, finish
from chain.codec import encode, encode_amount
from chain.errors import Rejected
from chain.genesis import Genesis, GenesisAccount, GenesisValidator
from chain.ids import NCOLO, SYSTEM, Kind
from chain.params import ModuleVersion, Params
from chain.transaction import Body
from colophon.bench.scene import NOW_MS, Scene
from colophon.bench.workloads import signer
from colophon.bench.worst_cases import CASES
from rpc.methods import family_methods
from state import layout
from state.executor import Executed
from state.families import MODULES, REGISTRY
from state.machine import StateMachine
from state.module import Message
from state.modules.account import DEPOSITS, balance_of
from state.modules.bank import Send
from state.modules.ip import messages as im
from state.modules.ip.asset import IpKind
from state.modules.ip.rows import IPS
from state.modules.license import messages as lm
from state.modules.license import queries
from state.overlay import Overlay
from state.pace import STEP_UNITS
from state.queries import ChainReader
from state.view import View
from tests.rpc.world import World, make_world
from tests.state.memory_store import MemoryStore

ROWS_MAX = 1_500
"""Rows read or written in one step, of the many thousands that the longest of these need."""

T = TypeVar("T")


class Stage:
    """A state with what some messages need, and the sender of them."""

    def __init__(self) -> None:
        params = Params(modules=sorted(ModuleVersion(m.name, m.version) for m in MODULES))
        rich = [GenesisAccount(SYSTEM, encode_amount(10**30))]  # Fees are burnt from the supply.
        validators = [GenesisValidator(signer(0).public_key, 1)]
        self.genesis = Genesis(1, "trials", NOW_MS, bytes(16), params, validators, rich, [])
        self.scene = Scene(self.genesis.hash())
        self.scene.plain(DEPOSITS)
        self.sender = self.scene.account([signer(1).public_key])

    def reader(self) -> ChainReader:
        """Return the reader of a machine above these rows."""
        store = MemoryStore()
        machine = StateMachine(store, self.genesis, REGISTRY)
        store.write([(layout.STATE + k, row) for k, row in self.scene.rows.items()], sync=True)
        return ChainReader(machine, lambda: NOW_MS + 1)


class Touched:
    """Rows of the state that overlays have read or written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows = 0
        for name in ("get", "put", "delete"):
            monkeypatch.setattr(Overlay, name, self._counted(getattr(Overlay, name)))

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any) -> Any:
            self.rows += 1
            return method(*arguments)

        return counted

    def in_steps_of(self, job: Job[T]) -> tuple[list[int], T]:
        """Return the rows touched in each step of a job, and what it returns."""
        seen = [self.rows]
        while True:
            try:
                next(job)
            except StopIteration as stop:
                seen.append(self.rows)
                return [later - earlier for earlier, later in pairwise(seen)], stop.value
            seen.append(self.rows)


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> Touched:
    return Touched(monkeypatch)


def test_a_quote_of_the_deepest_lineage_is_made_in_bounded_steps(touched: Touched) -> None:
    stage = Stage()
    message = CASES["license.register_derivative, deep"](stage.scene, stage.sender)

    with stage.reader().context() as context:
        job = queries.quote(context, sender=stage.sender, message=message)
        steps, view = touched.in_steps_of(job)

    assert view.units > 3 * STEP_UNITS
    assert len(steps) > view.units // (2 * STEP_UNITS) and max(steps) <= ROWS_MAX


LONG = ("bank.multi_send", "license.register_derivative", "royalty.claim", "royalty.claim, deep")


@pytest.mark.parametrize("name", LONG)
def test_a_simulation_is_made_in_bounded_steps(name: str, touched: Touched) -> None:
    stage = Stage()
    messages = [CASES[name](stage.scene, stage.sender) for _ in range(3)]
    reader = stage.reader()
    tx = transaction(reader.machine, stage.sender, messages[:1] if name == LONG[2] else messages)

    steps, executed = touched.in_steps_of(reader.simulate(tx))

    assert not executed.refusals
    assert len(steps) > tx.work // (2 * STEP_UNITS) and max(steps) <= ROWS_MAX


def transaction(machine: StateMachine, sender: bytes, messages: list[Message]) -> Any:
    body: Body[Message] = Body(
        1, machine.genesis_hash, sender, [signer(1).public_key], 0, 0, 0,
        encode_amount(10**12), b"", None, messages,
    )  # fmt: skip
    return REGISTRY.read(encode(body), [bytes(64)], machine.genesis_hash, machine.params)


# --- one block's state --------------------------------------------------------------------------


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a chain on which every piece of work is a step."""
    monkeypatch.setattr("state.pace.STEP_UNITS", 1)
    return make_world()


def simulation(world: World, *messages: Message) -> Any:
    body: Body[Message] = Body(
        1, world.machine.genesis_hash, world.addresses[0], [world.keys[0].public_key], 0,
        world.next_seq(0), 0, encode_amount(10**12), b"", None, list(messages),
    )  # fmt: skip
    signatures, genesis = [bytes(64)], world.machine.genesis_hash
    tx = REGISTRY.read(encode(body), signatures, genesis, world.machine.params)
    return world.reader.simulate(tx)


def outcome(executed: Executed) -> tuple[list[bytes], list[str]]:
    return executed.receipts, [refusal.code for refusal in executed.refusals.values()]


def test_a_block_between_two_steps_does_not_change_a_simulation(world: World) -> None:
    everything = balance_of(world.machine.overlay_above(world.machine.head.block_id),
                            world.addresses[0], NCOLO)  # fmt: skip
    sends = [Send(SYSTEM[:1] + bytes(19) + b"\1", NCOLO, encode_amount(everything // 2))] * 2
    undisturbed = outcome(finish(simulation(world, *sends)))

    job = simulation(world, *sends)
    next(job)
    world.pay(everything // 3)
    world.block()

    assert outcome(finish(job)) == undisturbed
    assert outcome(finish(simulation(world, Send(world.addresses[1], NCOLO, b"\1"))))[1] == []


def test_a_block_between_two_steps_does_not_change_a_quote(world: World) -> None:
    derivative, sender = next_derivative(world)
    quote = quotes(world)
    undisturbed = finish(quote(sender=sender, message=derivative))

    job = quote(sender=sender, message=derivative)
    next(job)
    world.send(1, derivative)
    world.block()

    assert finish(job) == undisturbed
    with pytest.raises(Rejected):  # It has its parents now.
        finish(quote(sender=sender, message=derivative))


def quotes(world: World) -> Any:
    methods = family_methods(world.machine.registry, world.reader)
    return next(method for method in methods if method.name == "license.quote").function


def next_derivative(world: World) -> tuple[lm.RegisterDerivative, bytes]:
    """Register an IP; return the message that derives it from the first work, and its owner."""
    with world.reader.context() as context:
        works = [ip for ip, _ in IPS.scan(context.state)]
        offers = {ip: finish(queries.offers(context, ip=ip)).items for ip in works}
    parent = next(ip for ip in works if offers[ip] and not offers[ip][0].inherited)
    child = world.next_id(Kind.IP, 1)
    world.send(1, im.Register(IpKind.TEXT, bytes(31) + b"\1"))
    world.block()
    parents = [lm.Parent(parent, offers[parent][0].terms)]
    return lm.RegisterDerivative(child, parents, max_units=10_000), world.addresses[1]


# --- and no longer ------------------------------------------------------------------------------


@pytest.fixture
def views(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Return the list to which all views that answers read from are added, without a hold."""
    found: list[Any] = []
    newest = world.machine.newest

    def noted() -> tuple[Any, View]:
        tip, view = newest()
        found.append(weakref.ref(view))
        return tip, view

    monkeypatch.setattr(world.machine, "newest", noted)
    yield found
    assert found and not any(view() for view in found)


def test_an_answer_holds_the_state_until_it_is_made(world: World, views: list[Any]) -> None:
    derivative, sender = next_derivative(world)
    job = quotes(world)(sender=sender, message=derivative)
    next(job)
    assert views[-1]() is not None

    finish(job)


def test_a_refused_answer_holds_the_state_no_longer(world: World, views: list[Any]) -> None:
    derivative, _ = next_derivative(world)

    with pytest.raises(Rejected) as refusal:
        finish(quotes(world)(sender=world.addresses[2], message=derivative))

    assert refusal.value.code and not views[-1]()


def test_an_answer_given_up_holds_the_state_no_longer(world: World, views: list[Any]) -> None:
    job = simulation(world, *[Send(world.addresses[1], NCOLO, b"\1")] * 3)
    next(job)

    job.close()
