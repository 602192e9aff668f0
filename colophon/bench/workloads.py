"""The transactions that benchmarks send: one entry per message type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from chain.codec import encode_amount
from state.module import Message
from state.modules.bank import Send
from state.modules.ip.messages import IpKind, Register


@dataclass(frozen=True, slots=True)
class Workload:
    """Makes the messages of the ``n``-th transaction; ``setup`` prepares what they need."""

    make: Callable[[bytes, int], list[Message]]
    setup: Callable[[Any, int], list[list[Message]]] | None = None


def _send(genesis_hash: bytes, number: int) -> list[Message]:
    target = b"\x00" + (70_000 + number).to_bytes(20, "big")
    return [Send(target, b"", encode_amount(1_000 + number))]


def _register(genesis_hash: bytes, number: int) -> list[Message]:
    return [Register(IpKind.TEXT, sha256(number.to_bytes(8, "big")).digest())]


WORKLOADS: dict[str, Workload] = {
    "bank.send": Workload(_send),
    "ip.register": Workload(_register),
}
