"""Noise_XX_25519_ChaChaPoly_SHA256 without a network (protocol.md W2; noiseprotocol.org, rev. 34).

Two sides exchange three messages; then each knows the other's static key, and both share two
ciphers that nobody else has. Bytes in, bytes out: the caller moves the messages.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from struct import Struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from chain.errors import Misuse, Rejected

PROTOCOL_NAME = b"Noise_XX_25519_ChaChaPoly_SHA256"
"""Exactly 32 bytes, so it is the first value of the handshake hash as it stands."""

MESSAGES = (("e",), ("e", "ee", "s", "es"), ("s", "se"))
"""The pattern: what the three messages carry. The first letter of a pair is the initiator's key."""

KEY_BYTES = 32
TAG_BYTES = 16
MESSAGE_BYTES_MAX = 65_535
"""No Noise message is longer."""
NONCE_LIMIT = 2**63
"""A key seals so many messages at most. Noise allows twice that; no connection lives so long, so
a counter that gets here is a fault of ours and nothing more may leave under the key."""

_NONCE = Struct("<4xQ")


class Cipher:
    """One direction's key with its counter; what is sealed in order must be opened in order."""

    __slots__ = ("_aead", "nonce")

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self.nonce = 0
        """How many messages were sealed or opened; the next one's counter."""

    def seal(self, plaintext: bytes | memoryview, associated: bytes | None = None) -> bytes:
        """Return ciphertext and tag. Raises ``Rejected`` with ``p2p/KeyUsedUp``."""
        nonce = self.nonce
        if nonce >= NONCE_LIMIT:
            raise _used_up()
        self.nonce = nonce + 1
        return self._aead.encrypt(_NONCE.pack(nonce), plaintext, associated)

    def open(self, sealed: bytes | memoryview, associated: bytes | None = None) -> bytes:
        """Return the plaintext; the counter moves only if the tag fits.

        Raises ``Rejected`` with ``p2p/Corrupt`` or ``p2p/KeyUsedUp``.
        """
        nonce = self.nonce
        if nonce >= NONCE_LIMIT:
            raise _used_up()
        try:
            plaintext = self._aead.decrypt(_NONCE.pack(nonce), sealed, associated)
        except InvalidTag:
            raise Rejected(
                "p2p/Corrupt", f"sealed message {nonce} does not open: its bytes were changed"
            ) from None
        self.nonce = nonce + 1
        return plaintext

    def skip(self) -> None:
        """Pass over one message without opening it: its bytes are thrown away unread."""
        self.nonce += 1


class Handshake:
    """One side of a handshake: ``write`` and ``read`` take turns, the initiator writes first.

    After an error the handshake is of no use any more.
    """

    def __init__(
        self,
        *,
        initiator: bool,
        static_key: X25519PrivateKey,
        prologue: bytes,
        ephemeral_key: X25519PrivateKey | None = None,
    ) -> None:
        """``prologue`` must be equal on both sides; ``ephemeral_key`` is given only by tests."""
        self.remote_static = b""
        """The other side's static key, 32 bytes; proved once the handshake is finished."""
        self._initiator = initiator
        self._static = static_key
        self._ephemeral = ephemeral_key or X25519PrivateKey.generate()
        self._remote_ephemeral = b""
        self._symmetric = _Symmetric(prologue)
        self._step = 0

    @property
    def finished(self) -> bool:
        """Whether all three messages have passed."""
        return self._step == len(MESSAGES)

    @property
    def handshake_hash(self) -> bytes:
        """Names this handshake: equal on both sides, never equal for two handshakes."""
        return self._symmetric.hash

    def write(self, payload: bytes = b"") -> bytes:
        """Return the next message; its payload is in clear in the first one only."""
        parts = []
        for token in self._take_turn(writing=True):
            match token:
                case "e":
                    public = self._ephemeral.public_key().public_bytes_raw()
                    self._symmetric.mix_hash(public)
                    parts.append(public)
                case "s":
                    parts.append(self._symmetric.seal(self._static.public_key().public_bytes_raw()))
                case _:
                    self._symmetric.mix_key(self._exchange(token))
        parts.append(self._symmetric.seal(payload))
        return b"".join(parts)

    def read(self, message: bytes) -> bytes:
        """Return the payload of the other side's message.

        Raises ``Rejected`` with ``p2p/BadHandshake``: cut short, changed on the way, made for
        another prologue, or with a key that leads to a known secret.
        """
        for token in self._take_turn(writing=False):
            match token:
                case "e":
                    self._remote_ephemeral, message = _split(message, KEY_BYTES)
                    self._symmetric.mix_hash(self._remote_ephemeral)
                case "s":
                    sealed, message = _split(message, KEY_BYTES + TAG_BYTES)
                    self.remote_static = self._symmetric.open(sealed)
                case _:
                    self._symmetric.mix_key(self._exchange(token))
        return self._symmetric.open(message)

    def split(self) -> tuple[Cipher, Cipher]:
        """Return the ciphers to send and to receive with; only once finished."""
        if not self.finished:
            raise Misuse("the handshake is not finished")
        first, second = self._symmetric.split()
        return (first, second) if self._initiator else (second, first)

    def _take_turn(self, *, writing: bool) -> tuple[str, ...]:
        mine = (self._step % 2 == 0) == self._initiator
        if self.finished or mine != writing:
            raise Misuse(f"it is not the turn to {'write' if writing else 'read'}")
        self._step += 1
        return MESSAGES[self._step - 1]

    def _exchange(self, token: str) -> bytes:
        """Return the shared secret of a pair of keys, named from the initiator's side."""
        mine, theirs = (token[0], token[1]) if self._initiator else (token[1], token[0])
        private = self._ephemeral if mine == "e" else self._static
        public = self._remote_ephemeral if theirs == "e" else self.remote_static
        try:
            return private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:  # the library refuses an all-zero secret: a public key of small order
            raise Rejected(
                "p2p/BadHandshake", f"key {public.hex()} leads to a secret that everybody knows"
            ) from None


class _Symmetric:
    """The running hash and chaining key of a handshake (Noise, section 5.2)."""

    def __init__(self, prologue: bytes) -> None:
        self.hash = PROTOCOL_NAME
        self._chaining_key = PROTOCOL_NAME
        self._cipher: Cipher | None = None
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        self.hash = sha256(self.hash + data).digest()

    def mix_key(self, secret: bytes) -> None:
        self._chaining_key, key = _derive(self._chaining_key, secret)
        self._cipher = Cipher(key)

    def seal(self, plaintext: bytes) -> bytes:
        sealed = plaintext if self._cipher is None else self._cipher.seal(plaintext, self.hash)
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed: bytes) -> bytes:
        plaintext = sealed
        if self._cipher is not None:
            try:
                plaintext = self._cipher.open(sealed, self.hash)
            except Rejected:
                raise Rejected(
                    "p2p/BadHandshake",
                    "a handshake message does not open: changed, or not meant for this network",
                ) from None
        self.mix_hash(sealed)
        return plaintext

    def split(self) -> tuple[Cipher, Cipher]:
        first, second = _derive(self._chaining_key, b"")
        return Cipher(first), Cipher(second)


def _derive(chaining_key: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """Return two keys (HKDF with HMAC-SHA-256; Noise, section 4.3)."""
    temporary = hmac.digest(chaining_key, secret, "sha256")
    first = hmac.digest(temporary, b"\x01", "sha256")
    return first, hmac.digest(temporary, first + b"\x02", "sha256")


def _split(message: bytes, count: int) -> tuple[bytes, bytes]:
    if len(message) < count:
        raise Rejected("p2p/BadHandshake", f"a handshake message lacks {count} bytes of a key")
    return message[:count], message[count:]


def _used_up() -> Rejected:
    return Rejected("p2p/KeyUsedUp", f"a key has sealed {NONCE_LIMIT} messages, no more may follow")
