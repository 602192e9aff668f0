"""Who a node is to others: its Ed25519 key, bound to the key of its handshakes (protocol.md W3)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from chain.codec import U8, Decoder, Hash, Record, Signature, encode
from chain.crypto import SigningKey, verify_signature
from chain.errors import Misuse, Rejected
from chain.hashing import tagged_hash

HELLO_VERSION = 1
HELLO_BYTES_MAX = 359
"""A hello with an address of 255 bytes; a longer address makes it longer than this."""
ADDRESS_FORM = re.compile(r"[0-9A-Za-z.:\[\]_-]{0,255}")
"""What a listening address may consist of: it is shown and logged, so nothing else may be in it."""


class Hello(Record):
    """What the second and third handshake message say of their sender."""

    version: U8
    public_key: Hash
    signature: Signature
    """Of the genesis hash and the sender's Noise static key, by the Ed25519 key."""
    address: str
    """Where the sender listens, ``host:port``; a hint that nobody vouches for; may be empty."""


_HELLO = Decoder(Hello, bytes_max=HELLO_BYTES_MAX, what="hello of a peer")


@dataclass(frozen=True, slots=True)
class Identity:
    """This node: its permanent key, and the Noise static key of this process.

    The static key lives in memory only: the signature in the hello is what makes it the node's.
    """

    key: SigningKey
    static_key: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)

    @property
    def peer_id(self) -> bytes:
        """The Ed25519 public key, 32 bytes: what peers call this node."""
        return self.key.public_key

    def hello(self, genesis_hash: bytes, address: str = "") -> bytes:
        """Return the payload that introduces this node on one network."""
        if not ADDRESS_FORM.fullmatch(address):
            raise Misuse(f"{address!r} is no address to tell peers")
        static = self.static_key.public_key().public_bytes_raw()
        signature = self.key.sign(_what_is_signed(genesis_hash, static))
        return encode(Hello(HELLO_VERSION, self.peer_id, signature, address))


@dataclass(frozen=True, slots=True)
class Remote:
    """Who is at the other end, proved; ``address`` is only what it says of itself."""

    peer_id: bytes
    address: str


def recognise(hello: bytes, genesis_hash: bytes, static_key: bytes) -> Remote:
    """Return who introduced itself with ``hello`` in a handshake with ``static_key``.

    Raises ``Rejected`` with ``p2p/BadIdentity``: malformed, another version, or not signed by
    the key it names for this network and this static key.
    """
    try:
        found = _HELLO.decode(hello)
    except Rejected as refusal:
        raise Rejected("p2p/BadIdentity", refusal.message) from None
    if found.version != HELLO_VERSION:
        raise Rejected(
            "p2p/BadIdentity", f"hello of version {found.version}, this node knows {HELLO_VERSION}"
        )
    if not ADDRESS_FORM.fullmatch(found.address):
        raise Rejected("p2p/BadIdentity", "the address in the hello has forbidden characters")
    try:
        verify_signature(
            found.public_key, _what_is_signed(genesis_hash, static_key), found.signature
        )
    except Rejected:
        raise Rejected(
            "p2p/BadIdentity",
            f"the hello is not signed by the key it names, {found.public_key.hex()}",
        ) from None
    return Remote(peer_id=found.public_key, address=found.address)


def _what_is_signed(genesis_hash: bytes, static_key: bytes) -> bytes:
    return tagged_hash("peer", genesis_hash + static_key)
