"""The state machine: what a block must say, candidates beside each other, proofs one block back."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from chain.application import CertifyFault, Placement, finish
from chain.block import Block
from chain.certificate import Certificate
from chain.codec import encode_amount
from chain.crypto import SigningKey
from chain.errors import Corruption, Misuse, Rejected
from chain.finality import FinalityProof
from chain.genesis import Genesis, GenesisModule
from chain.ids import address_of
from chain.params import ModuleVersion
from chain.state_proof import verify_state_proof
from chain.transaction import ENVELOPE
from chain.vote import vote_message
from colophon.maintenance import check, export
from colophon.testnet.make import local_params, new_genesis
from colophon.wallet import Draft, Wallet
from state import finalised, layout
from state import machine as machine_module
from state.families import REGISTRY
from state.machine import StateMachine
from state.module import Message
from state.modules import bank
from state.modules.account import ACCOUNTS
from state.modules.bank import Send
from state.modules.ip.asset import IpKind
from state.modules.ip.messages import Precommit, Register
from state.modules.ip.precommits import commitment_of
from state.queries import ChainReader
from state.registry import Registry, Transaction
from state.row_cache import ROW_BYTES, RowCache
from tests.state.memory_store import MemoryStore
from tests.state.root_checker import state_root

KEY = SigningKey(b"\5" * 32)
START_MS = 1_700_000_000_000


class World:
    """A machine over memory, and words for making blocks."""

    def __init__(
        self, registry: Registry = REGISTRY, genesis: Genesis | None = None, **params: Any
    ) -> None:
        changed = msgspec.structs.replace(local_params(dev=False), **params)
        rich = [address_of(KEY.public_key)]
        self.genesis = genesis or new_genesis("test", START_MS, [KEY], rich, changed)
        self.store = MemoryStore()
        self.machine = StateMachine(self.store, self.genesis, registry)
        self.wallet = Wallet(KEY, self.machine.genesis_hash)
        self.seq = 0

    def transfer(self, to: int = 9) -> Transaction:
        """Return the sender's next transaction."""
        return self.send(Send(b"\0" + to.to_bytes(20, "big"), b"", encode_amount(5)))

    def send(self, message: Message) -> Transaction:
        """Return the sender's next transaction with this message."""
        draft = Draft(messages=[message])
        signed = self.wallet.sign(draft, seq=self.seq, base_fee=10**7)
        self.seq += 1
        envelope = ENVELOPE.decode(signed.envelope)
        return REGISTRY.read(
            envelope.body, envelope.signatures, self.machine.genesis_hash, self.machine.params
        )

    def block(self, *transactions: Transaction, above: bytes | None = None, later_ms: int = 100,
              view: int = 0) -> Block:  # fmt: skip
        """Return a block above the head, or above an executed block."""
        tip = self.machine.tip(above or self.machine.head.block_id)
        placement = Placement(
            epoch=0, view=view or tip.height + 1, height=tip.height + 1, kind=0,
            parent_view=tip.height, parent_id=tip.block_id,
            parent_certificate=self.certificate(tip.height, tip.block_id) if tip.height else None,
            time_ms=tip.time_ms + later_ms, proposer_index=0,
        )  # fmt: skip
        return self.machine.make_block(placement, list(transactions), [])

    def execute(self, block: Block, *transactions: Transaction) -> None:
        """Authorise and execute a block."""
        finish(self.machine.authorise(block, list(transactions)))
        finish(self.machine.execute(block.id))

    def execute_chain(self, length: int) -> list[Block]:
        """Make and execute blocks above the head, each with a transfer; return them, ascending."""
        chain: list[Block] = []
        for _ in range(length):
            tx = self.transfer()
            chain.append(self.block(tx, above=chain[-1].id if chain else None))
            self.execute(chain[-1], tx)
        return chain

    def certificate(self, view: int, block_id: bytes) -> Certificate:
        """Return the finalization that the one validator signs."""
        message = vote_message(2, self.machine.genesis_hash, 0, view, block_id)
        return Certificate(2, 0, view, block_id, b"\1", [KEY.sign(message)])

    def proof(self, block: Block) -> FinalityProof:
        """Return the finality proof of a block."""
        return FinalityProof(self.certificate(block.header.view, block.id), [block.header])

    def commit(self, block: Block) -> None:
        """Make an executed child of the head final."""
        self.machine.write(finish(self.machine.commit_batch(block.id, self.proof(block))))
        finish(self.machine.adopt(block.id))

    def finalise(self, *transactions: Transaction) -> Block:
        """Make, execute and commit the next block."""
        block = self.block(*transactions)
        self.execute(block, *transactions)
        self.commit(block)
        return block


def refused(world: World, block: Block, *transactions: Transaction) -> str:
    """Return the code with which a block is refused."""
    with pytest.raises(Rejected) as caught:
        finish(world.machine.authorise(block, list(transactions)))
    return caught.value.code


@pytest.mark.parametrize(
    "change",
    [
        {"base_fee": 7}, {"units_limit_used": 1}, {"parent_state_root": bytes(32)},
        {"parent_receipts_root": b"\1" * 32}, {"params_hash": bytes(32)},
        {"next_committee_hash": b"\1" * 32},
    ],
)  # fmt: skip
def test_a_header_says_what_follows_and_nothing_else(change: dict[str, Any]) -> None:
    world = World()
    block = world.block()
    changed = Block(msgspec.structs.replace(block.header, **change), block.body)

    assert refused(world, changed) == "block/Derived"


def test_time_goes_on_and_blocks_have_limits() -> None:
    world = World(block_units_max=150, tx_units_max=150)
    tx, other = world.transfer(), world.transfer()

    still = world.block(later_ms=0)
    assert refused(world, still) == "block/Time"
    full = world.block(tx, other)
    assert refused(world, full, tx, other) == "block/TooManyUnits"
    narrow = World(block_bytes_max=65_536)
    many = [narrow.transfer() for _ in range(400)]
    assert refused(narrow, narrow.block(*many), *many) == "block/TooManyUnits"


def test_one_bad_transaction_makes_a_block_invalid_and_changes_nothing() -> None:
    world = World()
    skipped, tx = world.transfer(), world.transfer()

    assert refused(world, world.block(tx), tx) == "tx/WrongSeq"

    world.finalise(skipped, tx)


def test_a_machine_holds_a_bounded_number_of_candidates() -> None:
    world = World()
    for view in range(1, 65):
        finish(world.machine.authorise(world.block(view=view, later_ms=view), []))

    assert refused(world, world.block(view=99, later_ms=99)) == "block/TooDeep"


def test_siblings_do_not_see_each_other_and_the_loser_is_dropped() -> None:
    world = World()
    tx = world.transfer()
    empty, full = world.block(view=1, later_ms=1), world.block(tx, view=2, later_ms=2)
    world.execute(empty)
    world.execute(full, tx)
    child = world.block(above=full.id, view=3)
    world.execute(child)
    assert world.machine.tip(empty.id).state_root != world.machine.tip(full.id).state_root

    for block in (full, child):
        world.commit(block)

    assert not world.machine.is_executed(empty.id)
    assert world.machine.balance(b"\0" + (9).to_bytes(20, "big")) == 5
    with pytest.raises(Misuse):
        world.machine.tip(empty.id)


def test_only_an_executed_child_of_the_head_can_be_committed() -> None:
    world = World()
    first = world.block()
    finish(world.machine.authorise(first, []))

    with pytest.raises(Misuse):
        finish(world.machine.commit_batch(first.id, world.proof(first)))


def test_a_batch_is_made_in_steps_and_only_written_by_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """plyvel gives the interpreter lock away at every put: nothing is put in the disk's thread."""
    monkeypatch.setattr(machine_module, "STEP_ROWS", 3)
    world = World()
    txs = [world.transfer() for _ in range(4)]
    block = world.block(*txs)
    world.execute(block, *txs)
    before = dict(world.store.scan(b"", None))

    job = world.machine.commit_batch(block.id, world.proof(block))
    steps = 0
    while True:
        try:
            next(job)
        except StopIteration as stop:
            batch = stop.value
            break
        steps += 1

    assert steps >= 5
    assert dict(world.store.scan(b"", None)) == before
    monkeypatch.setattr(type(batch), "add", None)
    world.machine.write(batch)
    finish(world.machine.adopt(block.id))
    assert check(world.machine, {})["ok"] and world.machine.head.height == 1


def test_blocks_of_one_batch_become_final_together() -> None:
    """One sync for a chain of blocks; the store is what block by block would have made it."""
    together = World()
    apart = World(genesis=together.genesis)
    machine, chain = together.machine, together.execute_chain(3)
    batch = None
    for block in chain:
        batch = finish(machine.commit_batch(block.id, together.proof(block), behind=batch))
    assert batch is not None and machine.head.height == 0

    machine.write(batch)
    for block in chain:
        finish(machine.adopt(block.id))
    for block in apart.execute_chain(3):
        apart.commit(block)

    assert machine.head == apart.machine.head and machine.head.height == 3
    assert dict(together.store.scan(b"", None)) == dict(apart.store.scan(b"", None))
    with pytest.raises(Rejected, match="state/NotProvableYet"):
        machine.prove_before_head(b"")
    assert check(machine, {})["ok"]


def test_a_batch_goes_on_with_a_child_of_its_last_block_only() -> None:
    world = World()
    first, _, third = world.execute_chain(3)
    batch = finish(world.machine.commit_batch(first.id, world.proof(first)))

    with pytest.raises(Misuse):
        finish(world.machine.commit_batch(third.id, world.proof(third), behind=batch))


def test_a_restart_finds_the_same_state_and_refuses_another_network() -> None:
    world = World()
    world.finalise(world.transfer())
    head = world.machine.head

    again = StateMachine(world.store, world.genesis, REGISTRY)

    assert again.head == head
    with pytest.raises(Rejected, match="store/OtherNetwork"):
        StateMachine(world.store, World().genesis, REGISTRY)
    world.store.write([(layout.STATE + b"x", b"y")], sync=True)
    with pytest.raises(Corruption, match="node check"):
        StateMachine(world.store, world.genesis, REGISTRY)


@pytest.mark.parametrize("version", [None, 1, 99])
def test_a_network_made_for_another_version_of_a_family_is_refused(version: int | None) -> None:
    """Its rows would be read wrong: here those of an older, a later and no ``ip``."""
    genesis = World().genesis
    modules = [entry for entry in genesis.params.modules if entry.name != "ip"]
    if version is not None:
        modules = sorted([*modules, ModuleVersion("ip", version)])
    params = msgspec.structs.replace(genesis.params, modules=modules)

    with pytest.raises(Rejected, match=r"store/ModuleVersions.*start the release that made"):
        StateMachine(MemoryStore(), msgspec.structs.replace(genesis, params=params), REGISTRY)


def test_a_proof_is_about_the_state_the_head_names() -> None:
    world = World()
    reader = ChainReader(world.machine)
    key = ACCOUNTS.prefix + world.wallet.address
    with pytest.raises(Rejected, match="state/NotProvableYet"):
        reader.prove(key)
    world.finalise(world.transfer())
    before = world.store.get(layout.STATE + key)
    head = world.finalise(world.transfer())

    proven = reader.prove(key)
    absent = reader.prove(b"account\0\1" + b"\0" * 21)

    assert proven.value == before and proven.height == 1
    verify_state_proof(head.header.parent_state_root, key, proven.value, proven.proof)
    verify_state_proof(
        head.header.parent_state_root, b"account\0\1" + b"\0" * 21, None, absent.proof
    )
    with pytest.raises(Rejected, match="proof/KeyPresent"):
        verify_state_proof(head.header.parent_state_root, key, None, proven.proof)
    with pytest.raises(Rejected, match="proof/RootMismatch"):
        verify_state_proof(bytes(32), key, proven.value, proven.proof)


def test_the_root_follows_from_a_dump_alone() -> None:
    world = World()
    for _ in range(3):
        world.finalise(world.transfer(), world.transfer())

    dump = export(world.machine, {})

    pairs = [(bytes.fromhex(k[2:]), bytes.fromhex(v[2:])) for k, v in dump["pairs"]]
    assert "0x" + state_root(pairs).hex() == dump["state_root"]


def test_the_check_finds_what_is_broken() -> None:
    world = World()
    block = world.finalise(world.transfer())
    assert check(world.machine, {})["ok"]
    place = layout.TX_PLACE + block.transaction_ids[0]
    kept = world.store.get(place)

    world.store.write([(place, None)], sync=True)

    report = check(world.machine, {})
    assert not report["ok"] and "not indexed" in report["problems"][0]
    assert kept is not None


def test_history_answers_for_the_heights_that_are_there() -> None:
    world = World()
    block = world.finalise(world.transfer())
    reader = ChainReader(world.machine)

    assert reader.block(1).id == block.id and reader.height_of(block.id) == 1
    with pytest.raises(Rejected, match="chain/BlockNotFound"):
        reader.height_of(bytes(32))
    for height in (0, 2):
        with pytest.raises(Rejected, match="chain/NoSuchHeight"):
            reader.block(height)


def test_a_bug_in_a_rule_undoes_the_block_and_names_its_transaction() -> None:
    def broken(ctx: Any, message: Any) -> None:
        raise ZeroDivisionError

    module = with_changes(bank.MODULE, messages={**bank.MODULE.messages, Send: broken})
    modules = tuple(module if each.name == "bank" else each for each in REGISTRY.modules)
    world = World(Registry(modules))
    tx = world.transfer()
    block = world.block(tx)
    finish(world.machine.authorise(block, [tx]))

    with pytest.raises(CertifyFault) as caught:
        finish(world.machine.execute(block.id))

    assert caught.value.tx_id == tx.id
    assert world.machine.candidate(block.id) is None
    world.finalise()


def with_changes(module: Any, **changes: Any) -> Any:
    """Return a module with some fields changed."""
    return dataclasses.replace(module, **changes)


def test_a_genesis_names_only_families_that_take_state() -> None:
    world = World()
    for name, code in (("bank", "genesis/NoModuleState"), ("license", "genesis/NoModuleState"),
                       ("zoo", "genesis/UnknownModule")):  # fmt: skip
        bad = msgspec.structs.replace(world.genesis, modules=[GenesisModule(name, b"")])
        with pytest.raises(Rejected, match=code):
            StateMachine(MemoryStore(), bad, REGISTRY)


@pytest.mark.parametrize("is_small", [True, False])
def test_what_is_read_from_memory_is_what_the_store_holds(
    is_small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finalised, "SLICE_ROWS", 3)
    world = World()
    machine = world.machine
    if is_small:  # so small that they forget all the time
        machine._state._accounts = RowCache(2 * ROW_BYTES)
        machine._state._others = RowCache(3 * ROW_BYTES)
    sender, salt = address_of(KEY.public_key), bytes(32)
    seen: set[bytes] = set()
    for round_ in range(12):
        lost = world.transfer(to=100)
        loser = world.block(lost, later_ms=7)
        world.execute(loser, lost)
        world.seq -= 1
        content, later = (bytes([number]) * 32 for number in (round_ + 1, round_ + 2))
        making = Register(IpKind.TEXT, content, salt=salt if round_ else None)
        promise = commitment_of(machine.genesis_hash, sender, IpKind.TEXT, later, salt)
        paying = [world.transfer(to=round_), world.send(making), world.send(Precommit(promise))]
        won = world.block(*paying)
        world.execute(won, *paying)
        above = world.block(above=won.id)
        world.execute(above)

        machine.write(finish(machine.commit_batch(won.id, world.proof(won))))

        for _ in machine.adopt(won.id):
            pairs = dict(machine.state_pairs())
            for key in seen - pairs.keys():
                assert machine._state.get(key) is None
            for key, value in pairs.items():
                assert machine._state.get(key) == value
                absent = key[:-1] + bytes([key[-1] ^ 255])
                assert machine._state.get(absent) == world.store.get(b"s" + absent)
            seen |= pairs.keys()
        world.commit(above)
