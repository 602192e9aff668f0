"""A transaction on the wire: body, envelope, attachments (protocol.md T1–T7).

The body is what is signed, and its bytes are what is hashed, sent and stored; nothing is ever
re-encoded. Which messages exist is known only to the state machine, so ``Body`` is generic over
them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Generic, TypeVar

import msgspec

from .codec import U8, U64, Bytes16, Decoder, Hash, Record, Signature, encode
from .crypto import SIGNATURE_BYTES, SigningKey, verify_signature
from .errors import Rejected
from .fields import Amount, Blob, listing
from .hashing import tagged_hash
from .ids import AccountId, AnyId

VERSION = 1
LANES = 64
"""Lanes of one account: 64 independent streams are more than any agent runs at once."""
MESSAGES_MAX = 64
"""Messages of one transaction, nested ones counted; bounds the work a failure throws away."""
KEYS_MAX = 16
SALT_BYTES = 16
TX_BYTES_MAX = 65_536
"""Bytes of one envelope with its attachments (T3); also the cap before decoding."""

M = TypeVar("M")

PublicKey = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Lane = Annotated[int, msgspec.Meta(ge=0, lt=LANES)]


class Body(Record, Generic[M]):
    """What the sender signs (T1)."""

    version: U8
    genesis_hash: Hash
    sender: AccountId
    keys: Annotated[list[PublicKey], listing(KEYS_MAX, items_min=1, ascending=True)]
    lane: Lane
    seq: U64
    valid_until: U64
    max_fee: Amount
    tip: Amount
    sponsor: AnyId | None
    messages: Annotated[list[M], listing(MESSAGES_MAX, items_min=1)]


class Attachment(Record):
    """The erasable content of a blob: ``H("blob", salt ‖ data)`` is the blob's hash (T5)."""

    salt: Bytes16
    data: bytes


class SignedBody(Record):
    """A transaction as it stands in a block: without attachments (T3)."""

    body: bytes
    signatures: Annotated[list[Signature], listing(KEYS_MAX, items_min=1)]


class Envelope(Record):
    """A transaction as it is submitted and gossiped (T3)."""

    body: bytes
    signatures: Annotated[list[Signature], listing(KEYS_MAX, items_min=1)]
    attachments: list[Attachment]


ENVELOPE = Decoder(Envelope, bytes_max=TX_BYTES_MAX, what="transaction")


def signing_hash(body: bytes) -> bytes:
    """Return the 32 bytes every key signs: ``H("tx-sign", body)`` (T2)."""
    return tagged_hash("tx-sign", body)


def transaction_id(body: bytes, signatures: list[bytes]) -> bytes:
    """Return ``H("tx", msgpack[body, signatures])`` (T3)."""
    return tagged_hash("tx", encode((body, signatures)))


def sign_body(body: Body[M], keys: Iterable[SigningKey], attachments: list[Attachment]) -> bytes:
    """Return the envelope's bytes, signed by ``keys`` in ascending order of public key."""
    raw = encode(body)
    digest = signing_hash(raw)
    ordered = sorted(keys, key=lambda key: key.public_key)
    signatures = [key.sign(digest) for key in ordered]
    return encode(Envelope(raw, signatures, attachments))


def verify_body(keys: list[bytes], body: bytes, signatures: list[bytes]) -> None:
    """Verify each signature under the key beside it; raises ``Rejected`` (T2)."""
    if len(keys) != len(signatures):
        raise Rejected(
            "tx/SignatureCount",
            f"{len(signatures)} signatures for {len(keys)} keys, expected one for each",
        )
    digest = signing_hash(body)
    for key, signature in zip(keys, signatures, strict=True):
        verify_signature(key, digest, signature)


def make_blob(salt: bytes, content: bytes) -> tuple[Blob, Attachment]:
    """Return the blob field and the attachment for ``content``; ``salt`` is 16 fresh bytes."""
    return Blob(blob_hash(salt, content), len(content)), Attachment(salt, content)


def blob_hash(salt: bytes, content: bytes) -> bytes:
    """Return ``H("blob", salt ‖ content)`` (T5)."""
    return tagged_hash("blob", salt + content)


def counted_bytes(body: bytes, signatures: int, blobs: list[Blob]) -> int:
    """Return the bytes a transaction counts, in fees and in blocks: a function of its body (T5).

    Body, signatures, and the attachments its distinct blobs ask for, salt and content.
    """
    size = len(body) + SIGNATURE_BYTES * signatures
    if blobs:
        for _, length in distinct_blobs(blobs):
            size += SALT_BYTES + length
    return size


def distinct_blobs(blobs: list[Blob]) -> list[tuple[bytes, int]]:
    """Return (hash, length) of each distinct blob in order of first appearance."""
    return list(dict.fromkeys((item.hash, item.length) for item in blobs))


def check_attachments(blobs: list[Blob], attachments: list[Attachment]) -> None:
    """Require the body's distinct blobs, in order of first appearance, and nothing else (T5).

    Raises ``Rejected`` with ``tx/Attachments``.
    """
    if not blobs and not attachments:
        return  # as almost always
    wanted = distinct_blobs(blobs)
    if len(wanted) != len(attachments):
        raise Rejected(
            "tx/Attachments",
            f"{len(attachments)} attachments, expected the body's {len(wanted)} distinct blobs",
            found=len(attachments),
            expected=len(wanted),
        )
    for index, ((digest, length), attachment) in enumerate(zip(wanted, attachments, strict=True)):
        if len(attachment.data) != length or digest != blob_hash(attachment.salt, attachment.data):
            raise Rejected(
                "tx/Attachments",
                f"attachment {index} is not the content of the body's blob {digest.hex()}",
                index=index,
            )
