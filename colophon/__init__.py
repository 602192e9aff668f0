"""Colophon: a standalone blockchain node for AI-native assets.

``Client`` (and ``AsyncClient``) talk to a node, ``Wallet`` and ``Draft`` make transactions,
``verify_file`` checks exported bundles offline; docs/sdk.md describes them all. The command line
is ``colophon``. Names are loaded when they are first used, so that ``import colophon`` and the
command line start fast; ``__init__.pyi`` tells type checkers what they are.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "AsyncClient": "colophon.async_client",
    "AsyncRecorder": "colophon.async_client",
    "Client": "colophon.client",
    "ColophonError": "chain.errors",
    "Draft": "colophon.wallet",
    "InvalidBundle": "colophon.verify",
    "Keystore": "colophon.keystore",
    "Kind": "chain.ids",
    "Noted": "colophon.recorder",
    "Outcome": "colophon.flows",
    "Recorder": "colophon.recorder",
    "RecorderOptions": "colophon.recorder",
    "Rejected": "chain.errors",
    "RpcFailed": "colophon.flows",
    "Signed": "colophon.wallet",
    "SigningKey": "chain.crypto",
    "TransactionFailed": "colophon.flows",
    "Unreachable": "colophon.flows",
    "Verdict": "colophon.verify",
    "Wallet": "colophon.wallet",
    "export_bundle_flow": "colophon.export",
    "find_receipt": "colophon.receipts",
    "format_id": "chain.ids",
    "key_from_words": "colophon.keystore",
    "new_key": "colophon.home",
    "parse_amount": "colophon.amounts",
    "parse_id": "chain.ids",
    "read_own_receipt": "colophon.receipts",
    "record_flow": "colophon.recorder",
    "show_amount": "colophon.amounts",
    "verify_file": "colophon.verify",
    "words_of": "colophon.keystore",
    "write_bundle": "chain.bundle_json",
}
"""Public name → the module that defines it."""

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'colophon' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return list(__all__)
