"""Turning messages into signed transactions (docs/sdk.md).

No network: the wallet is told the genesis hash, sequence numbers and the base fee, and gives
back envelope bytes. ``message`` and ``Draft`` accept what people write (JSON forms).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from chain import fees
from chain.codec import encode, encode_amount
from chain.crypto import SigningKey
from chain.errors import Rejected
from chain.fields import Blob
from chain.ids import Kind, address_of, derive_id, format_id
from chain.json_form import record_from_json
from chain.params import Params
from chain.transaction import (
    ENVELOPE,
    Attachment,
    Body,
    make_blob,
    sign_body,
    transaction_id,
)
from state.families import REGISTRY
from state.module import Message

FEE_HEADROOM = 2
"""``max_fee`` is this many times today's fee; only what is used is charged."""


@dataclass(slots=True)
class Draft:
    """Messages on their way into a transaction, with the content of their blobs."""

    messages: list[Message] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)

    def add(self, name: str, **fields: Any) -> Draft:
        """Add a message from plain values: ids as text, amounts as numbers, blobs as text."""
        return self.add_form({"type": name, **fields})

    def add_form(self, form: dict[str, Any]) -> Draft:
        """Add a message from its JSON form; raises ``Rejected`` naming the field."""
        self.messages.append(message_from_form(form, self.attach))
        return self

    def attach(self, content: bytes) -> Blob:
        """Return the blob field for ``content`` and keep the attachment; the salt is fresh."""
        blob, attachment = make_blob(secrets.token_bytes(16), content)
        self.attachments.append(attachment)
        return blob


def message_from_form(
    form: dict[str, Any], attach: Callable[[bytes], Blob] | None = None
) -> Message:
    """Return the message a JSON form describes; nested ones of ``ip.execute`` included."""
    name = form.get("type")
    kind = REGISTRY.messages.get(name) if isinstance(name, str) else None
    if kind is None:
        raise Rejected("tx/UnknownMessage", f"message {name!r} is not known", name=str(name))
    if "nested" in form and isinstance(form["nested"], list):
        nested = [
            "0x" + encode(message_from_form(item, attach)).hex() if isinstance(item, dict) else item
            for item in form["nested"]
        ]
        form = {**form, "nested": nested}
    message: Message = record_from_json(kind, form, "", attach)
    return message


USUAL_PARAMS = Params(modules=[])
"""Prices of a network whose genesis chose none of its own."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction ready to be submitted."""

    id: bytes
    envelope: bytes
    units: int
    max_fee: int


class Wallet:
    """One account's key and what it needs to sign for a network."""

    def __init__(self, key: SigningKey, genesis_hash: bytes, params: Params = USUAL_PARAMS) -> None:
        """``params`` are the network's: what its bytes cost (F1) goes into the fee offered."""
        self.key = key
        self.genesis_hash = genesis_hash
        self.params = params
        self.address = address_of(key.public_key)

    @property
    def address_text(self) -> str:
        """The account's id as text, ``colo1…``."""
        return format_id(self.address)

    def next_id(self, kind: Kind, seq: int, *, lane: int = 0, path: Sequence[int] = (0,),
                n: int = 0) -> bytes:  # fmt: skip
        """Return the id of what a message of the transaction (lane, seq) will make (I2)."""
        return derive_id(kind, self.genesis_hash, self.address, lane, seq, list(path), n)

    def body(
        self, messages: Sequence[Message], *, seq: int, lane: int = 0, max_fee: int = 0,
        tip: int = 0, valid_until: int = 0,
    ) -> Body[Any]:  # fmt: skip
        """Return an unsigned body."""
        return Body(
            1, self.genesis_hash, self.address, [self.key.public_key], lane, seq, valid_until,
            encode_amount(max_fee), encode_amount(tip), None, list(messages),
        )  # fmt: skip

    def units(self, draft: Draft) -> int:
        """Return the units a transaction of this draft declares (F1), whatever is offered."""
        rough = self.body(draft.messages, seq=2**63, max_fee=2**127, tip=2**127, valid_until=2**63)
        return REGISTRY.read(encode(rough), [bytes(64)], self.genesis_hash, self.params).units

    def sign(
        self, draft: Draft, *, seq: int, base_fee: int, lane: int = 0, tip: int = 0,
        valid_until: int = 0, max_fee: int | None = None,
    ) -> Signed:  # fmt: skip
        """Return the signed transaction; without ``max_fee`` twice today's fee is offered."""
        rough = self.body(draft.messages, seq=seq, lane=lane, max_fee=2**127, tip=tip,
                          valid_until=valid_until)  # fmt: skip
        units = REGISTRY.read(encode(rough), [bytes(64)], self.genesis_hash, self.params).units
        if max_fee is None:
            max_fee = FEE_HEADROOM * fees.base_part(units, base_fee) + tip
        body = self.body(draft.messages, seq=seq, lane=lane, max_fee=max_fee, tip=tip,
                         valid_until=valid_until)  # fmt: skip
        envelope = sign_body(body, [self.key], _distinct(draft.attachments))
        return Signed(_id_of(envelope), envelope, units, max_fee)


def _distinct(attachments: list[Attachment]) -> list[Attachment]:
    return list(dict.fromkeys(attachments))


def _id_of(envelope: bytes) -> bytes:
    parsed = ENVELOPE.decode(envelope)
    return transaction_id(parsed.body, parsed.signatures)
