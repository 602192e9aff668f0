"""How much is done between two steps of an execution (protocol.md C19).

Rows are counted, not units or time: every read and every write of the state between two yields
of the executor, for each message at the limits of its lists, alone, undone at its end, inside
``ip.execute``, and for transactions of as many messages as there may be.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from chain.codec import encode
from chain.ids import NCOLO, address_of
from chain.transaction import MESSAGES_MAX
from colophon.bench.scene import NOW_MS, Scene
from colophon.bench.workloads import signer
from colophon.bench.worst_cases import CASES
from state.executor import STEP_AUTHORISED, Environment, Executed, Executor
from state.families import REGISTRY
from state.module import Message
from state.modules.account import DEPOSITS
from state.modules.bank import Send
from state.modules.ip.messages import Execute
from state.overlay import Overlay
from state.pace import STEP_UNITS
from state.registry import Transaction
from tests.state.ledger import Ledger

ROWS_MAX = 1_500
"""Rows read or written in one step, of the 15 000 that the longest claim needs."""


class CountingOverlay(Overlay):
    """Counts what is read and written."""

    rows = 0

    def get(self, key: bytes) -> bytes | None:
        self.rows += 1
        return super().get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self.rows += 1
        super().put(key, value)

    def delete(self, key: bytes) -> None:
        self.rows += 1
        super().delete(key)


class Stage:
    """A state and transactions that need it."""

    def __init__(self) -> None:
        self.net = Ledger()
        self.scene = Scene(self.net.hash)
        self.sender = address_of(signer(0).public_key)
        self.scene.plain(DEPOSITS)
        self.scene.fatten(self.sender, [signer(0).public_key])

    def transaction(self, *messages: Message) -> Transaction:
        body = self.net.body(0, messages, sender=self.sender, keys=[signer(0).public_key])
        return REGISTRY.read(encode(body), [bytes(64)], self.net.hash, self.net.params)

    def rows_of_steps(self, *transactions: Transaction) -> tuple[list[int], Executed]:
        """Return the rows touched in each step of the execution of a block."""
        state = {**self.net.state.rows, **self.scene.rows}
        overlay = CountingOverlay(state.get)
        environment = Environment(self.net.hash, self.net.params, 1, NOW_MS, 1)
        job = Executor(REGISTRY).execute(overlay, environment, list(transactions))
        seen = [0]
        while True:
            try:
                next(job)
            except StopIteration as stop:
                seen.append(overlay.rows)
                return [later - earlier for earlier, later in pairwise(seen)], stop.value
            seen.append(overlay.rows)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("undone", [False, True])
def test_a_message_at_its_limits_is_done_in_bounded_steps(name: str, undone: bool) -> None:
    stage = Stage()
    messages = [CASES[name](stage.scene, stage.sender)]
    if undone:
        messages.append(Send(stage.sender, NCOLO, b"\1"))

    steps, executed = stage.rows_of_steps(stage.transaction(*messages))

    codes = {refusal.code for refusal in executed.refusals.values()}
    assert codes == ({"bank/SelfSend"} if undone else set())
    assert max(steps) <= ROWS_MAX


MANY = (
    "bank.multi_send",
    "bank.send",
    "license.mint",
    "license.register_derivative",
    "royalty.claim",
    "royalty.claim, deep",
)


def many(stage: Stage, name: str, actor: bytes) -> list[Message]:
    """Return as many messages of a kind as a transaction with one around them can hold."""
    one = CASES[name](stage.scene, actor)
    room = (stage.net.params.tx_units_max - 2_500) // one.units()
    bytes_room = (stage.net.params.tx_bytes_max - 500) // len(encode(one))
    count = min(MESSAGES_MAX - 1, room, bytes_room)
    return [one, *(CASES[name](stage.scene, actor) for _ in range(count - 1))]


@pytest.mark.parametrize("name", MANY)
def test_many_messages_of_one_transaction_are_done_in_bounded_steps(name: str) -> None:
    stage = Stage()

    tx = stage.transaction(*many(stage, name, stage.sender))

    steps, executed = stage.rows_of_steps(tx)

    assert not executed.refusals
    assert len(steps) > tx.work // (2 * STEP_UNITS) and max(steps) <= ROWS_MAX


@pytest.mark.parametrize("name", MANY)
def test_many_messages_inside_an_execute_are_done_in_bounded_steps(name: str) -> None:
    stage = Stage()
    ip = stage.scene.ip(stage.sender)
    stage.scene.fatten(ip, [])
    tx = stage.transaction(Execute(ip, [encode(inner) for inner in many(stage, name, ip)]))

    steps, executed = stage.rows_of_steps(tx)

    assert not executed.refusals
    assert len(steps) > tx.work // (2 * STEP_UNITS) and max(steps) <= ROWS_MAX


def test_a_block_of_short_transactions_is_done_in_bounded_steps() -> None:
    stage = Stage()
    sends = [stage.transaction(Send(stage.scene.account(), NCOLO, b"\1")) for _ in range(200)]

    steps, executed = stage.rows_of_steps(*sends)

    assert not executed.refusals
    assert len(steps) == 200 * sends[0].units // STEP_UNITS + 1


def test_a_block_is_authorised_in_bounded_steps() -> None:
    net = Ledger()
    messages = [Send(net.addresses[1], NCOLO, b"\1")]
    bodies = [net.body(0, tuple(messages), seq=seq) for seq in range(2 * STEP_AUTHORISED + 1)]
    txs = [REGISTRY.read(encode(body), [bytes(64)], net.hash, net.params) for body in bodies]
    environment = Environment(net.hash, net.params, 1, NOW_MS, 1)

    overlay = CountingOverlay(net.state.get)
    rows = [overlay.rows for _ in net.executor.authorise_all(overlay, environment, txs)]

    assert rows == [2 * STEP_AUTHORISED, 4 * STEP_AUTHORISED]
