"""The one tagged hash of the protocol and its table of tags (protocol.md H1, H2)."""

from __future__ import annotations

from hashlib import sha256

TAGS = (
    "tx", "tx-sign", "block", "certificate", "facets", "vote-notarize", "vote-nullify",
    "vote-finalize", "committee", "leader", "params", "evidence", "receipt", "id", "address",
    "terms", "blob", "state-value", "state-leaf", "state-branch", "list-leaf", "list-branch",
    "possession", "peer", "genesis", "precommit", "promise", "field", "record", "batch",
)  # fmt: skip
"""Every domain in which something is hashed; a tag is never used for two things."""

TAG_PREFIX = {tag: bytes([len(tag)]) + tag.encode("ascii") for tag in TAGS}
"""What is hashed before the data: the tag's length as one byte, then the tag."""

EMPTY_ROOT = bytes(32)
"""Root of an empty list and of an empty state tree."""


def tagged_hash(tag: str, data: bytes) -> bytes:
    """Return ``H(tag, data) = SHA-256(u8 len(tag) ‖ tag ‖ data)``, 32 bytes (protocol.md H1)."""
    return sha256(TAG_PREFIX[tag] + data).digest()
