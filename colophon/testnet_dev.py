"""Making local networks: genesis, homes and faucet of a development node (docs/operating.md)."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from chain.codec import encode_amount
from chain.crypto import SigningKey
from chain.errors import Rejected
from chain.genesis import Genesis, GenesisAccount, GenesisValidator
from chain.ids import address_of
from chain.params import ModuleVersion, Params
from chain.types import COLO
from state.families import MODULES

from .home import Home, make_validator, new_key, write_genesis, write_key

FAUCET_COLO = 1_000_000_000
"""COLO that the faucet of a development network begins with."""


def local_params(*, dev: bool) -> Params:
    """Return the parameters of a network on one machine."""
    versions = sorted(ModuleVersion(module.name, module.version) for module in MODULES)
    return Params(modules=versions, dev=dev)


def new_genesis(
    chain_id: str,
    time_ms: int,
    validators: list[SigningKey],
    rich: list[bytes],
    params: Params,
) -> Genesis:
    """Return a genesis with equal validators; every address in ``rich`` gets the same balance."""
    share = encode_amount(FAUCET_COLO * COLO)
    return Genesis(
        1,
        chain_id,
        time_ms,
        secrets.token_bytes(16),
        params,
        [GenesisValidator(key.public_key, 1) for key in validators],
        [GenesisAccount(address, share) for address in sorted(rich)],
        [],
    )


def make_dev_home(root: Path, time_ms: int) -> Home:
    """Make the home of a development node: one validator, a faucet, a genesis of their own."""
    home = Home(root)
    if home.genesis.exists():
        raise Rejected("home/Exists", f"{root} holds a network already")
    root.mkdir(parents=True, exist_ok=True)
    validator, faucet = new_key(), new_key()
    params = local_params(dev=True)
    genesis = new_genesis(
        "colophon-dev", time_ms, [validator], [address_of(faucet.public_key)], params
    )
    make_validator(home, validator)
    write_genesis(home.genesis, genesis)
    write_key(home.faucet_key, faucet)
    return home


def reset_home(home: Home) -> None:
    """Remove the chain's data and keep keys, settings and genesis.

    The journal goes and none is begun: the key may have signed, and others may have heard (C15).
    """
    shutil.rmtree(home.root / "data", ignore_errors=True)
