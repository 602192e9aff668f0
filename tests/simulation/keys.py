"""Keys and signatures of simulated validators: keyed hashes, checked for real.

A missing check is found as with real signatures, at a fiftieth of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

from chain.committee import Committee, Member
from chain.errors import Rejected


def key_of(index: int) -> bytes:
    """Return a test validator's public key."""
    return blake2b(b"key" + bytes([index]), digest_size=31).digest() + b"\0"


@lru_cache(maxsize=1_024)
def fake_sign(public_key: bytes, message: bytes) -> bytes:
    """Sign with a key anybody could derive; good enough where nobody forges on purpose."""
    return blake2b(message, key=public_key, digest_size=64).digest()


def fake_verify(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Check a fake signature for real."""
    if fake_sign(public_key, message) != signature:
        raise Rejected("crypto/BadSignature", "the fake signature does not verify")


def make_committee(powers: Sequence[int]) -> Committee:
    """Return a committee of test validators."""
    return Committee([Member(key_of(i), power) for i, power in enumerate(powers)])
