"""The transactions that benchmarks send: one entry per message type.

Every transaction has a sender of its own and touches objects of its own. What they need is made
by one setup transaction of each sender, before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from chain.codec import encode_amount
from chain.crypto import SigningKey
from chain.ids import NCOLO, Kind, address_of, derive_id
from chain.record import Facets
from state.module import Message
from state.modules.anchor.messages import RecordInteraction
from state.modules.bank import Send
from state.modules.ip.asset import IpKind
from state.modules.ip.messages import Register
from state.modules.license.messages import Attach, Mint, Parent, RegisterDerivative
from state.modules.license.rows import terms_id_of
from state.modules.license.terms import FLAVOURS
from state.modules.royalty.messages import Claim, Pay

REMIX = terms_id_of(FLAVOURS[2])
PAYMENT = encode_amount(1_000)

Make = Callable[[bytes, int], list[Message]]
"""Genesis hash and number of the transaction → its messages."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is measured, and what each sender needs for it."""

    make: Make
    setup: Make | None = None


def signer(number: int) -> SigningKey:
    """Return the key of the ``number``-th transaction's sender."""
    return SigningKey((number + 1_000).to_bytes(32, "big"))


def _content(number: int, nth: int = 0) -> bytes:
    return sha256(nth.to_bytes(1, "big") + number.to_bytes(8, "big")).digest()


def _made(genesis_hash: bytes, number: int, message: int) -> bytes:
    """Return the id of the IP that a message of a sender's setup transaction registers."""
    sender = address_of(signer(number).public_key)
    return derive_id(Kind.IP, genesis_hash, sender, 0, 0, [message], 0)


def _send(genesis_hash: bytes, number: int) -> list[Message]:
    target = b"\x00" + (70_000 + number).to_bytes(20, "big")
    return [Send(target, NCOLO, encode_amount(1_000 + number))]


def _register(genesis_hash: bytes, number: int) -> list[Message]:
    return [Register(IpKind.TEXT, _content(number))]


def _record(genesis_hash: bytes, number: int) -> list[Message]:
    return [RecordInteraction(_content(number), 4, Facets(), [])]


def _offered(genesis_hash: bytes, number: int) -> list[Message]:
    ip = _made(genesis_hash, number, 0)
    return [*_register(genesis_hash, number), Attach(ip, REMIX)]


def _mint(genesis_hash: bytes, number: int) -> list[Message]:
    licensor = _made(genesis_hash, number, 0)
    return [Mint(licensor, REMIX, 1, address_of(signer(number).public_key))]


def _family(genesis_hash: bytes, number: int) -> list[Message]:
    """A parent on offer (message 0) and a child to be (message 2)."""
    return [*_offered(genesis_hash, number), Register(IpKind.TEXT, _content(number, 1))]


def _derive(genesis_hash: bytes, number: int) -> list[Message]:
    parent, child = _made(genesis_hash, number, 0), _made(genesis_hash, number, 2)
    return [RegisterDerivative(child, [Parent(parent, REMIX)], max_units=100)]


def _pay(genesis_hash: bytes, number: int) -> list[Message]:
    return [Pay(_made(genesis_hash, number, 0), NCOLO, PAYMENT)]


def _earning(genesis_hash: bytes, number: int) -> list[Message]:
    child = _made(genesis_hash, number, 2)
    derived = [*_family(genesis_hash, number), *_derive(genesis_hash, number)]
    return [*derived, Pay(child, NCOLO, PAYMENT)]


def _claim(genesis_hash: bytes, number: int) -> list[Message]:
    parent, child = _made(genesis_hash, number, 0), _made(genesis_hash, number, 2)
    return [Claim(parent, [NCOLO], [child], [], max_units=100)]


WORKLOADS: dict[str, Workload] = {
    "bank.send": Workload(_send),
    "ip.register": Workload(_register),
    "anchor.record": Workload(_record),
    "license.mint": Workload(_mint, _offered),
    "license.register_derivative": Workload(_derive, _family),
    "royalty.pay": Workload(_pay, _register),
    "royalty.claim": Workload(_claim, _earning),
}
