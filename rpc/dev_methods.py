"""``dev.*``: money from nothing and time travel, where the genesis says ``params.dev``."""

from __future__ import annotations

from typing import Annotated

import msgspec

from chain.codec import U64, Record, encode_amount
from chain.fields import Amount
from chain.ids import Holder
from chain.types import COLO, DURATION_MAX_MS

from .backend import Backend
from .methods import Method, method
from .tx_methods import Submitted

FAUCET_DEFAULT = encode_amount(1_000 * COLO)


class Advanced(Record):
    """The development clock after it was moved."""

    time_ms: U64
    """Unix ms."""


class DevMethods:
    """The methods of the namespace, over one node."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def methods(self) -> list[Method]:
        """Return their descriptions."""
        return [
            method("dev.faucet", self.faucet, reads=False),
            method("dev.advance", self.advance, reads=False),
        ]

    async def faucet(self, *, address: Holder, amount: Amount = FAUCET_DEFAULT) -> Submitted:
        """Send ncolo of the development faucet to somebody, by default 1 000 COLO."""
        value = int.from_bytes(amount, "big")
        return Submitted(await self._backend.faucet(address, value))

    def advance(
        self, *, duration_ms: Annotated[int, msgspec.Meta(ge=1, le=DURATION_MAX_MS)]
    ) -> Advanced:
        """Move the clock of a network of one validator on; the next block has the new time."""
        return Advanced(self._backend.advance(duration_ms))
