"""The genesis document: where a network begins (protocol.md G1–G3)."""

from __future__ import annotations

from typing import Annotated

from .codec import U8, U64, Bytes16, Decoder, Record, encode
from .crypto import require_public_key
from .errors import Rejected
from .fields import Amount, checker, listing, text
from .hashing import tagged_hash
from .ids import AccountId
from .params import Params, check_params
from .transaction import PublicKey
from .types import AMOUNT_MAX

VERSION = 1
GENESIS_BYTES_MAX = 16 * 1024 * 1024
"""A genesis document is read whole; 16 MiB is some 300 000 accounts."""
POWER_MAX = 2**60
"""Total power of a committee; keeps ``3·power`` inside 64 bits for other implementations."""


class GenesisValidator(Record):
    """A member of the first committee."""

    public_key: PublicKey
    power: U64


class GenesisAccount(Record):
    """A balance in ncolo that exists from the start."""

    address: AccountId
    balance: Amount


class GenesisModule(Record):
    """A native family's own genesis state, in that family's encoding."""

    name: Annotated[str, text(20)]
    state: bytes


class Genesis(Record):
    """The whole document; its hash is in everything signed and in every id (G1)."""

    version: U8
    chain_id: Annotated[str, text(64)]
    time_ms: U64
    nonce: Bytes16
    params: Params
    validators: Annotated[list[GenesisValidator], listing(100, items_min=1)]
    accounts: Annotated[list[GenesisAccount], listing(300_000)]
    modules: Annotated[list[GenesisModule], listing(64)]

    def hash(self) -> bytes:
        """Return ``genesis_hash = H("genesis", encoding)`` (G1)."""
        return tagged_hash("genesis", encode(self))


GENESIS = Decoder(Genesis, bytes_max=GENESIS_BYTES_MAX, what="genesis document")


def check_genesis(genesis: Genesis) -> None:
    """Refuse a document no network can start from (``genesis/…``, G3)."""
    if genesis.version != VERSION:
        raise Rejected(
            "genesis/Version", f"genesis has version {genesis.version}, this node knows {VERSION}"
        )
    check = checker(Genesis)
    if check is not None:
        check(genesis, "")
    check_params(genesis.params)
    keys = [validator.public_key for validator in genesis.validators]
    if len(set(keys)) != len(keys):
        raise Rejected("genesis/DuplicateValidator", "a validator key stands twice in genesis")
    for validator in genesis.validators:
        require_public_key(validator.public_key)
        if validator.power == 0:
            raise Rejected("genesis/ZeroPower", "a genesis validator has power 0")
    if sum(validator.power for validator in genesis.validators) > POWER_MAX:
        raise Rejected("genesis/TooMuchPower", "the validators' powers exceed 2^60 together")
    addresses = [account.address for account in genesis.accounts]
    if addresses != sorted(set(addresses)):
        raise Rejected("genesis/AccountOrder", "accounts must be sorted by address, each once")
    supply = sum(int.from_bytes(account.balance, "big") for account in genesis.accounts)
    if supply > AMOUNT_MAX:
        raise Rejected("genesis/SupplyOverflow", "the balances exceed 2^128-1 together")
    names = [module.name for module in genesis.modules]
    if names != sorted(set(names)):
        raise Rejected("genesis/ModuleOrder", "module states must be sorted by name, each once")
