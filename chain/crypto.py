"""Ed25519 keys and the single strict signature rule (protocol.md S1–S3).

A signature is valid exactly if libsodium's ``crypto_sign_verify_detached`` accepts it: canonical
S, canonical and not small-order A and R, cofactorless. Libraries differ on 165 of 914 public
edge cases, so no other library and no batch verification may ever stand in for this function.
"""

from __future__ import annotations

from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError
from nacl.exceptions import RuntimeError as NaclRuntimeError

from .ed25519_cases import CASES
from .errors import Corruption, Rejected

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
SEED_BYTES = 32

_FIELD = 2**255 - 19
_NEUTRAL = b"\1" + bytes(31)
_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        _FIELD - 1,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)
"""The y coordinates of the eight points of small order (RFC 7748 §6, edwards form)."""


class SigningKey:
    """An Ed25519 private key; ``seed`` is what is stored, 32 bytes."""

    __slots__ = ("_secret", "public_key", "seed")

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self.public_key, self._secret = crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of ``message``; deterministic (RFC 8032)."""
        return crypto_sign(message, self._secret)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"SigningKey(public_key={self.public_key.hex()})"


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Return if ``signature`` of ``message`` verifies under ``public_key``, else raise.

    Raises ``Rejected`` with ``crypto/BadSignature`` (protocol.md S1).
    """
    if len(signature) == SIGNATURE_BYTES and len(public_key) == PUBLIC_KEY_BYTES:
        try:
            crypto_sign_open(signature + message, public_key)
            return
        except BadSignatureError:
            pass
    raise Rejected(
        "crypto/BadSignature",
        f"the signature does not verify under key {public_key.hex()}",
        public_key=public_key,
    )


def require_public_key(public_key: bytes) -> None:
    """Refuse a key to be registered that is weak or no point of the curve (protocol.md S2).

    Anybody could sign with the first, nobody with the second; ``crypto/WeakKey`` says which.
    """
    require_strong_key(public_key)
    try:
        crypto_core_ed25519_add(public_key, _NEUTRAL)  # reads the point, far cheaper than a check
    except NaclRuntimeError:
        raise Rejected(
            "crypto/WeakKey", f"key {public_key.hex()} is no point of the curve"
        ) from None


def require_strong_key(public_key: bytes) -> None:
    """Refuse a key that is not canonical or of small order: cheap, for keys registered before."""
    y = int.from_bytes(public_key, "little") & (2**255 - 1)
    if len(public_key) != PUBLIC_KEY_BYTES or y >= _FIELD:
        raise Rejected("crypto/WeakKey", f"key {public_key.hex()} is not in canonical form")
    if y in _SMALL_ORDER_Y:
        raise Rejected("crypto/WeakKey", f"key {public_key.hex()} is a point of small order")


def self_test() -> None:
    """Run the edge cases through ``verify_signature``; raise ``Corruption`` on a difference.

    A node calls this before anything else: a library that draws the line elsewhere would split
    it from the network (protocol.md S3).
    """
    for number, case in enumerate(CASES):
        try:
            verify_signature(
                bytes.fromhex(case.public_key),
                bytes.fromhex(case.message),
                bytes.fromhex(case.signature),
            )
            accepted = True
        except Rejected:
            accepted = False
        if accepted != case.valid:
            raise Corruption(
                f"the Ed25519 library judges edge case {number} differently from the protocol "
                f"({'accepted' if accepted else 'refused'}); reinstall pynacl 1.6"
            )
