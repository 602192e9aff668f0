"""``bench execute``: pre-signed blocks through the whole state machine, one process and workers.

Measured per message type: decode, canonical check, signatures (in workers, at most two blocks
ahead), authorise, execute, receipts, tree, indexes, one synced LevelDB batch a block, written in
a thread while the next block is executed above it, as a node does. Every transaction comes from
another account; the state is filled with ``keys`` accounts before. The clock starts when the
first block is done: before that the worker processes start.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from chain.application import Placement, finish
from chain.certificate import Certificate
from chain.codec import encode, encode_amount
from chain.crypto import SigningKey
from chain.finality import FinalityProof
from chain.genesis import Genesis, GenesisValidator
from chain.ids import NCOLO, address_of
from chain.params import ModuleVersion, Params
from chain.transaction import ENVELOPE, Body, sign_body
from colophon.memory import settle
from colophon.signatures import SignatureWorkers, default_workers
from state import layout
from state.families import MODULES, REGISTRY
from state.machine import StateMachine
from state.module import Message
from state.modules.account import ACCOUNTS, SUPPLIES, Account, Supply
from state.opening import head_row
from state.registry import Transaction
from state.store import Store
from state.tree import Tree

from .measure import Report, Row, machine, measure_check, measure_limit
from .workloads import WORKLOADS, Make, signer

BALANCE = 10**15
BLOCKS = 16
SENDERS = 40_000
"""Accounts that have keys; no workload sends more transactions than that."""
AHEAD = 2
"""Blocks whose signatures are being checked while one is executed."""


def run(
    keys: int = 1_000_000,
    blocks: int = BLOCKS,
    only: tuple[str, ...] = (),
    progress: Callable[[str], None] = lambda line: None,
) -> Report:
    """Measure every workload (or ``only`` some) at ``keys`` accounts."""
    progress("measuring the limit V")
    limits = [measure_limit()]
    rows = []
    names = [name for name in WORKLOADS if not only or name in only]
    for name in names:
        progress(f"{name}: filling {keys} accounts")
        home = Path(tempfile.mkdtemp(prefix="colophon-bench-"))
        try:
            with _Setup(home, keys) as setup:
                before = measure_limit()
                rate, checks, units = setup.measure(name, blocks, progress)
                after = measure_limit()
        finally:
            shutil.rmtree(home)
        limits += [before, after]
        v = (before[1] + after[1]) / 2
        rows.append(Row(name, round(rate), "tx/s", "V", round(rate / v, 3)))
        rows.append(Row(f"{name} cost", round(1e6 / rate / units, 3), "µs/unit", "1", 0.0))
        rows.append(Row(f"{name} main thread", round(checks, 2), "checks/tx", "1", 0.0))
    return Report("execute", machine(), _mean(limits, 0), _mean(limits, 1), rows)


def _mean(limits: list[tuple[float, float]], which: int) -> int:
    return round(sum(limit[which] for limit in limits) / len(limits))


class _Setup:
    """A filled state and a validator of its own."""

    def __init__(self, home: Path, keys: int) -> None:
        self.keys = keys
        self.validator = SigningKey(bytes(31) + b"\x01")
        params = Params(
            modules=sorted(ModuleVersion(module.name, module.version) for module in MODULES)
        )
        self.genesis = Genesis(
            1, "bench", 1_700_000_000_000, bytes(16), params,
            [GenesisValidator(self.validator.public_key, 1)], [], [],
        )  # fmt: skip
        self.store = Store.open(home / "db", create=True)
        machine = StateMachine(self.store, self.genesis, REGISTRY)
        _fill(self.store, machine, keys)
        self.machine = StateMachine(self.store, self.genesis, REGISTRY)
        self.workers = SignatureWorkers(default_workers())
        self._disk = ThreadPoolExecutor(max_workers=1)
        self._tip = self.machine.head.block_id
        self._writing: tuple[bytes, Future[None]] | None = None

    def __enter__(self) -> _Setup:
        return self

    def __exit__(self, *error: object) -> None:
        self.workers.close()
        self._disk.shutdown()
        self.store.close()

    def measure(
        self, name: str, blocks: int, progress: Callable[[str], None]
    ) -> tuple[float, float, int]:
        """Return transactions per second, the processor time of one, and its units.

        The time is this thread's alone, in signature checks of just now, so it means the same on
        a busy machine. The first block is left out.
        """
        workload = WORKLOADS[name]
        units = self._units(workload.make)
        total = min(self._per_block(units) * (blocks + 1), SENDERS, self.keys)
        per_block = min(self._per_block(units), total // 2)
        if workload.setup is not None:
            progress(f"{name}: preparing {total} senders")
            preparing = self._per_block(self._units(workload.setup))
            for _ in self._apply(self._sign_all(workload.setup, total), preparing):
                pass
        progress(f"{name}: signing {total} transactions")
        envelopes = self._sign_all(workload.make, total)
        progress(f"{name}: blocks of {per_block}")
        settle()
        running = self._apply(envelopes, per_block)
        warm = next(running)  # the workers have started and are ahead
        check_us = measure_check()
        started, began_s = time.perf_counter(), time.thread_time()
        rest = sum(running)
        busy_s = time.thread_time() - began_s
        rate = rest / (time.perf_counter() - started)
        assert warm + rest == total
        check_us = (check_us + measure_check()) / 2
        return rate, busy_s * 10**6 / rest / check_us, units

    def _per_block(self, units: int) -> int:
        return self.genesis.params.block_units_max // units

    def _units(self, make: Make) -> int:
        raw = self._sign(0, make(self.genesis.hash(), 0))
        return REGISTRY.read(*_split(raw), self.genesis.hash(), self.genesis.params).units

    def _sign_all(self, make: Make, total: int) -> list[bytes]:
        genesis_hash = self.genesis.hash()
        return [self._sign(number, make(genesis_hash, number)) for number in range(total)]

    def _sign(self, number: int, messages: list[Message]) -> bytes:
        key = signer(number)
        body: Body[Message] = Body(
            1, self.genesis.hash(), address_of(key.public_key), [key.public_key], 0,
            self.machine.next_seq(address_of(key.public_key), 0), 0,
            encode_amount(10**12), b"", None, messages,
        )  # fmt: skip
        return sign_body(body, [key], [])

    def _apply(self, envelopes: list[bytes], per_block: int) -> Iterator[int]:
        """Take envelopes through decode, verify, authorise, execute and commit.

        Yields the number of transactions of each block; the last is committed at the end.
        """
        slices = [
            envelopes[start : start + per_block] for start in range(0, len(envelopes), per_block)
        ]
        for transactions in self._read_ahead(slices):
            self._finalise(transactions)
            yield len(transactions)
        self._commit_written()

    def _read_ahead(self, slices: list[list[bytes]]) -> Iterator[list[Transaction]]:
        waiting: list[tuple[list[Transaction], list[Future[list[bool]]]]] = []
        for envelopes in [*slices, *[[]] * AHEAD]:
            if envelopes:
                transactions = [
                    REGISTRY.read(*_split(raw), self.machine.genesis_hash, self.machine.params)
                    for raw in envelopes
                ]
                waiting.append((transactions, self.workers.submit_all(transactions)))
            if len(waiting) > AHEAD or not envelopes:
                if not waiting:
                    continue
                transactions, futures = waiting.pop(0)
                for future in futures:
                    if not all(future.result()):
                        raise AssertionError("a signature the bench made does not verify")
                yield transactions

    def _finalise(self, transactions: list[Transaction]) -> None:
        """Build, authorise and execute a block above the one whose batch is being written."""
        tip = self.machine.tip(self._tip)
        placement = Placement(
            epoch=0,
            view=tip.height + 1,
            height=tip.height + 1,
            kind=0,
            parent_view=tip.height,
            parent_id=tip.block_id,
            parent_certificate=None if tip.height == 0 else certificate(tip.block_id),
            time_ms=tip.time_ms + 1_000,
            proposer_index=0,
        )
        block = self.machine.make_block(placement, transactions, [])
        finish(self.machine.authorise(block, transactions))
        executed = finish(self.machine.execute(block.id))
        if executed.refusals:
            raise AssertionError(str(next(iter(executed.refusals.values()))))
        self._commit_written()
        proof = FinalityProof(certificate(block.id), [block.header])
        batch = finish(self.machine.commit_batch(block.id, proof))
        self._writing = (block.id, self._disk.submit(self.machine.write, batch))
        self._tip = block.id

    def _commit_written(self) -> None:
        """Adopt the block whose batch was being written, as the node does."""
        if self._writing is not None:
            block_id, written = self._writing
            written.result()
            finish(self.machine.adopt(block_id))
            self._writing = None


def certificate(block_id: bytes) -> Certificate:
    """Return a certificate of one signer; its signature is no part of this measurement."""
    return Certificate(2, 0, 1, block_id, b"\x01", [bytes(64)])


def _split(raw: bytes) -> tuple[bytes, list[bytes]]:
    envelope = ENVELOPE.decode(raw)
    return envelope.body, envelope.signatures


def _fill(store: Store, machine: StateMachine, keys: int) -> None:
    """Write ``keys`` accounts with money, the first of them those that will send."""
    row = encode(Account(1, encode_amount(BALANCE), 0, None))
    batch: list[tuple[bytes, bytes | None]] = []
    senders = min(keys, SENDERS)
    for number in range(keys):
        if number < senders:
            address = address_of(signer(number).public_key)
        else:
            address = b"\x00" + number.to_bytes(20, "big")
        batch.append((layout.STATE + ACCOUNTS.prefix + address, row))
        if len(batch) == 20_000:
            store.write(batch, sync=False)
            batch = []
    store.write(batch, sync=False)
    adopt_rows(store, machine, supply=BALANCE * keys)


def adopt_rows(store: Store, machine: StateMachine, *, supply: int) -> None:
    """Make the head that of the rows that were written beside it, with so many ncolo in all."""
    total = encode(Supply(encode_amount(supply)))
    place = layout.STATE + SUPPLIES.prefix + NCOLO.ljust(21, b"\0")
    store.write([(place, total)], sync=True)
    pairs = store.scan(layout.STATE, layout.after(layout.STATE))
    root = Tree.build((key[1:], value) for key, value in pairs).root
    head = head_row(machine.head)
    changed = layout.Head(
        head.height, head.block_id, head.time_ms, head.base_fee, head.units, root,
        head.receipts_root,
    )  # fmt: skip
    store.write([(layout.META_HEAD, encode(changed))], sync=True)
    store.compact()  # a bulk load leaves a backlog that no running node has
