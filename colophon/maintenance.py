"""Work on a node's database: check, export, re-index, erase (docs/operating.md).

Each command takes the open state machine and plain arguments and returns plain values, so it
runs the same inside a node (through its admin socket) and on a stopped node's database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from chain.errors import Rejected
from chain.finality import LightClient
from chain.json_form import parse_hex
from state import layout
from state.indexes import block_rows
from state.invariants import broken_invariants
from state.machine import StateMachine
from state.queries import ChainReader
from state.tree import Tree

Command = Callable[[StateMachine, dict[str, Any]], Any]


def check(machine: StateMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """Verify the database: state root, supply, every invariant, every block and its finality."""
    reader = ChainReader(machine)
    problems = list(_broken_state(machine, reader))
    problems += list(_broken_history(machine, reader))
    return {"height": machine.head.height, "ok": not problems, "problems": problems[:100]}


def _broken_state(machine: StateMachine, reader: ChainReader) -> Iterator[str]:
    root = Tree.build(machine.state_pairs()).root
    if root != machine.head.state_root:
        yield f"the state has root {root.hex()}, the head names {machine.head.state_root.hex()}"
    with reader.context() as context:
        yield from broken_invariants(machine.registry, context.state)


def _broken_history(machine: StateMachine, reader: ChainReader) -> Iterator[str]:
    """Every block links to its parent, is proved final, and has its receipts and places."""
    parent_id = machine.genesis_hash
    client = LightClient(machine.genesis_hash, machine.params.epoch_length, 0, machine.committee)
    for height in range(1, machine.head.height + 1):
        try:
            block = reader.block(height)
            proof = reader.finality(height)
            if proof.finalization.epoch == client.epoch:
                client.verify(proof)
            receipts = reader.raw_receipts(height)
        except Rejected as refusal:
            yield f"block {height}: {refusal}"
            return
        if block.header.parent_id != parent_id or block.header.height != height:
            yield f"block {height} does not stand on block {height - 1}"
        if proof.target.id() != block.id:
            yield f"the finality proof of block {height} is of another block"
        if len(receipts) != len(block.transaction_ids):
            yield f"block {height} has {len(receipts)} receipts"
        for index, tx_id in enumerate(block.transaction_ids):
            place = machine.store.get(layout.TX_PLACE + tx_id)
            if place != layout.encode_place(height, index):
                yield f"transaction {tx_id.hex()} is not indexed at {height}/{index}"
        parent_id = block.id
    if parent_id != machine.head.block_id:
        yield "the head is not the last block"


def export(machine: StateMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the whole state as (key, value) pairs in hex, with height and root."""
    pairs = [["0x" + key.hex(), "0x" + value.hex()] for key, value in machine.state_pairs()]
    return {
        "height": machine.head.height,
        "state_root": "0x" + machine.head.state_root.hex(),
        "pairs": pairs,
    }


def reindex(machine: StateMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """Make the indexes again from blocks and receipts.

    Sentences of failed transactions stay as they are: they cannot be made again.
    """
    reader = ChainReader(machine)
    dropped = 0
    for letter in (layout.INDEX, layout.TX_PLACE, layout.ACCOUNT_TX):
        stale = [(key, None) for key, _ in machine.store.scan(letter, layout.after(letter))]
        machine.store.write(stale, sync=True)
        dropped += len(stale)
    made = 0
    for height in range(1, machine.head.height + 1):
        block = reader.block(height)
        transactions = [machine.read_transaction(signed) for signed in block.body.transactions]
        events = [receipt.events for receipt in reader.receipts(height)]
        rows = block_rows(machine.registry, height, block.header.time_ms, transactions, events, {})
        batch = machine.store.batch(sync=False)
        made += batch.add(rows)
        batch.write()
    machine.store.write([], sync=True)
    return {"dropped": dropped, "made": made}


def erase(machine: StateMachine, arguments: dict[str, Any]) -> dict[str, Any]:
    """Erase the content and salt behind a blob's hash; no root changes."""
    digest = parse_hex(arguments.get("hash"), "hash")
    if machine.store.get(layout.BLOB + digest) is None:
        raise Rejected("node/NoBlob", f"no content is stored under {digest.hex()}")
    machine.forget_before_head()
    machine.store.erase(layout.BLOB + digest)
    return {"erased": "0x" + digest.hex()}


COMMANDS: dict[str, Command] = {
    "check": check,
    "export": export,
    "reindex": reindex,
    "erase": erase,
}
"""What the admin socket answers."""
