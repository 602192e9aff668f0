"""``bench execute --worst``: what each message costs at its dearest, beside ``bank.send``.

Of every message, at the limits of its lists and on the largest rows, once succeeding and once
undone by the last message of its transaction: the processor time of the whole path (decode, check,
signature, authorise, execute, tree, batch, commit) on one thread, per unit charged, over that of
plain ``bank.send``, measured before and after. Above 2.0 a unit is too cheap.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from chain.application import Placement, finish
from chain.codec import encode, encode_amount
from chain.fields import Blob
from chain.finality import FinalityProof
from chain.genesis import Genesis, GenesisValidator
from chain.ids import NCOLO, Kind, address_of
from chain.params import ModuleVersion, Params
from chain.transaction import ENVELOPE, Attachment, Body, check_attachments, sign_body, verify_body
from state import layout
from state.families import MODULES, REGISTRY
from state.machine import StateMachine
from state.module import Message
from state.modules.account import DEPOSITS
from state.modules.bank import Send
from state.registry import Transaction
from state.store import Store

from .execute import adopt_rows, certificate
from .measure import Report, Row, machine, measure_limit
from .scene import NOW_MS, Scene
from .workloads import signer
from .worst_cases import CASES, Case

BLOCKS = 3
"""Blocks of one measurement; the first is not counted."""
TRANSACTIONS_MAX = 400
"""Of one block: enough for a mean, and few enough to prepare."""


def run(
    only: tuple[str, ...] = (),
    progress: Callable[[str], None] = lambda line: None,
    *,
    transactions_max: int = TRANSACTIONS_MAX,
) -> Report:
    """Measure every case (or those of ``only`` some messages)."""
    cases = [name for name in CASES if not only or name.split(",")[0] in only]
    before = _measure(_plain_send, False, transactions_max)
    found = {}
    for name in cases:
        for undone in (False, True):
            progress(f"{name}{', undone' if undone else ''}")
            found[name, undone] = _measure(CASES[name], undone, transactions_max)
    send = (before + _measure(_plain_send, False, transactions_max)) / 2
    rows = [Row("bank.send, plain", round(send, 3), "µs/unit", "1", 1.0)]
    for (name, undone), cost in found.items():
        what = f"{name}{', undone' if undone else ''}"
        rows.append(Row(what, round(cost, 3), "µs/unit", "bank.send", round(cost / send, 2)))
    v1, v = measure_limit(rounds=1)
    return Report("worst", machine(), round(v1), round(v), rows)


def _plain_send(scene: Scene, sender: bytes) -> Message:
    return Send(scene.name(Kind.ACCOUNT), NCOLO, encode_amount(1_000))


def _measure(case: Case, undone: bool, transactions_max: int) -> float:
    """Return the µs of processor time per unit of a case."""
    home = Path(tempfile.mkdtemp(prefix="colophon-worst-"))
    try:
        stage = _Stage(home, case, undone, transactions_max)
        try:
            return stage.run()
        finally:
            stage.store.close()
    finally:
        shutil.rmtree(home)


class _Stage:
    """A state with what the transactions of one case need, and these transactions, signed."""

    def __init__(self, home: Path, case: Case, undone: bool, transactions_max: int) -> None:
        validator = signer(0)
        params = Params(modules=sorted(ModuleVersion(m.name, m.version) for m in MODULES))
        self.undone = undone
        self.genesis = Genesis(
            1, "bench", NOW_MS, bytes(16), params,
            [GenesisValidator(validator.public_key, 1)], [], [],
        )  # fmt: skip
        scene = Scene(self.genesis.hash())
        scene.plain(DEPOSITS)
        first = self._envelope(case, scene, 0)
        units = self._read(first).units
        per_block = max(1, min(params.block_units_max // units, transactions_max))
        rest = (self._envelope(case, scene, n) for n in range(1, per_block * BLOCKS))
        envelopes = [first, *rest]
        self.blocks = [
            envelopes[start : start + per_block] for start in range(0, len(envelopes), per_block)
        ]
        self.store = Store.open(home / "db", create=True)
        fresh = StateMachine(self.store, self.genesis, REGISTRY)
        _fill(self.store, fresh, scene.rows)
        self.machine = StateMachine(self.store, self.genesis, REGISTRY)

    def _envelope(self, case: Case, scene: Scene, number: int) -> bytes:
        key = signer(number + 1)
        sender = address_of(key.public_key)
        if case is _plain_send:
            scene.plain(sender)
        else:
            scene.fatten(sender, [key.public_key])
        scene.attachments = []
        messages = [case(scene, sender)]
        if self.undone:
            messages.append(Send(sender, NCOLO, b"\1"))
        body: Body[Message] = Body(
            1, self.genesis.hash(), sender, [key.public_key], 0, 0, 0,
            encode_amount(10**12), b"", None, messages,
        )  # fmt: skip
        return sign_body(body, [key], scene.attachments)

    def _read(self, raw: bytes) -> Transaction:
        envelope = ENVELOPE.decode(raw)
        return REGISTRY.read(
            envelope.body, envelope.signatures, self.genesis.hash(), self.genesis.params
        )

    def run(self) -> float:
        """Return the µs of processor time per unit, of all blocks but the first."""
        gc.collect()
        gc.disable()
        try:
            self._finalise(self.blocks[0])
            units, started = 0, time.thread_time()
            for envelopes in self.blocks[1:]:
                units += self._finalise(envelopes)
            return (time.thread_time() - started) * 10**6 / units
        finally:
            gc.enable()

    def _finalise(self, envelopes: list[bytes]) -> int:
        """Take envelopes through everything a node does with a block; return their units."""
        transactions: list[Transaction] = []
        blobs: list[tuple[Blob, Attachment]] = []
        for raw in envelopes:
            envelope = ENVELOPE.decode(raw)
            tx = self.machine.read_transaction(envelope)
            verify_body(tx.body.keys, tx.raw_body, tx.signatures)
            check_attachments(tx.blobs, envelope.attachments)
            blobs += zip(tx.blobs, envelope.attachments, strict=True)
            transactions.append(tx)
        tip = self.machine.head
        placement = Placement(
            epoch=0, view=tip.height + 1, height=tip.height + 1, kind=0, parent_view=tip.height,
            parent_id=tip.block_id,
            parent_certificate=None if tip.height == 0 else certificate(tip.block_id),
            time_ms=tip.time_ms + 1_000, proposer_index=0,
        )  # fmt: skip
        block = self.machine.make_block(placement, transactions, [])
        finish(self.machine.authorise(block, transactions))
        executed = finish(self.machine.execute(block.id))
        refusals = {refusal.code for refusal in executed.refusals.values()}
        if refusals != ({"bank/SelfSend"} if self.undone else set()):
            raise AssertionError(str(next(iter(executed.refusals.values()), "nothing refused")))
        proof = FinalityProof(certificate(block.id), [block.header])
        kept = [(named.hash, encode(attachment)) for named, attachment in blobs]
        self.machine.write(finish(self.machine.commit_batch(block.id, proof, kept)))
        finish(self.machine.adopt(block.id))
        return block.header.units_limit_used


def _fill(store: Store, machine: StateMachine, rows: dict[bytes, bytes]) -> None:
    """Write a scene's rows under the genesis state's, as if it had always been there."""
    store.write([(layout.STATE + key, value) for key, value in rows.items()], sync=False)
    adopt_rows(store, machine, supply=10**30)
