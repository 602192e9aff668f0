"""The native transaction families of this release, in the order they may import each other."""

from __future__ import annotations

from .module import Module
from .modules import account, anchor, bank, ip, license, royalty
from .registry import Registry

MODULES: tuple[Module, ...] = (
    account.MODULE,
    ip.MODULE,
    royalty.MODULE,
    bank.MODULE,
    license.MODULE,
    anchor.MODULE,
)
"""Adding a family is one file in ``modules/`` and one line here (docs/architecture.md)."""

REGISTRY = Registry(MODULES)
