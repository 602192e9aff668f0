"""Golden vectors: today's bytes are those that were frozen; names are never lost or renamed."""

from __future__ import annotations

import json
from pathlib import Path

from state.families import REGISTRY
from tests.vector_chain import vectors

FROZEN = json.loads((Path(__file__).parent / "vectors" / "chain.json").read_text("ascii"))


def test_every_byte_is_as_it_was_frozen() -> None:
    today = vectors()

    for name in ("genesis", "genesis_hash", "primitives", "names"):
        assert today[name] == FROZEN[name]
    assert len(today["transactions"]) == len(FROZEN["transactions"])
    for now, then in zip(today["transactions"], FROZEN["transactions"], strict=True):
        assert now == then


def test_the_history_uses_every_message() -> None:
    used = {name for row in FROZEN["transactions"] for name in row["messages"]}

    assert used == set(REGISTRY.messages)


def test_the_history_has_failures_too() -> None:
    failed = [row for row in FROZEN["transactions"] if bytes.fromhex(row["receipt"])[35] == 1]

    assert failed
