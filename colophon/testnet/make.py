"""Making networks on one machine: genesis, keys, homes, ports (docs/operating.md)."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from chain.codec import encode_amount
from chain.crypto import SigningKey
from chain.errors import Rejected
from chain.genesis import Genesis, GenesisAccount, GenesisValidator
from chain.ids import address_of
from chain.params import ModuleVersion, Params
from chain.types import COLO
from colophon.disk import PUBLIC, Disk
from colophon.home import (
    Home,
    keep_key,
    keep_validator,
    make_validator,
    new_key,
    write_genesis,
    write_key,
)
from state.disk_fault import refusals
from state.families import MODULES

from .layout import Layout, write_marker

VALIDATORS = 4
"""Validators of a local network unless told otherwise: the fewest that survive the loss of one."""
ACCOUNT_COLO = 1_000_000_000
"""COLO that the faucet and each account of a local network begin with."""
ACCOUNTS = ("alice", "bob", "carol", "dave")
"""Who begins with money in a local network."""
LOOPBACK = "127.0.0.1"
DEV_SETTINGS = """# Written by `colophon testnet dev`.
[p2p]
# One validator alone: nobody has to reach it, and it takes no port.
listen = ""
"""


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
    share = encode_amount(ACCOUNT_COLO * COLO)
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


def make_validator_home(home: Home, genesis: Genesis, key: SigningKey, settings: str) -> None:
    """Make the home of a validator that has never signed; ``settings`` is its node.toml."""
    home.make_root()
    make_validator(home, key)
    Disk().put(home.config, settings.encode(), PUBLIC)
    write_genesis(home.genesis, genesis)


def make_dev_home(root: Path, time_ms: int) -> Home:
    """Make the home of a development node: one validator, a faucet, a genesis of their own.

    The genesis comes last: without it the home is not made yet, and the next call goes on with
    what is there. Raises ``home/Exists`` if all of it is.
    """
    home = Home(root)
    if home.genesis.exists():
        raise Rejected("home/Exists", f"{root} holds a network already")
    home.make_root()
    validator, faucet = keep_validator(home), keep_key(home.faucet_key)
    if not home.config.exists():
        Disk().put(home.config, DEV_SETTINGS.encode(), PUBLIC)
    rich = [address_of(faucet.public_key)]
    genesis = new_genesis("colophon-dev", time_ms, [validator], rich, local_params(dev=True))
    write_genesis(home.genesis, genesis)
    return home


def make_network(
    root: Path,
    validators: int,
    time_ms: int,
    *,
    params: Params | None = None,
    rich: Sequence[bytes] = (),
) -> Layout:
    """Make a network of equal validators, each with a home and ports of its own.

    ``params`` are its parameters, if not those of ``local_params``; ``rich`` are addresses that
    begin with money beside the network's own accounts. Node 0 has the faucet. The directory
    appears whole or not at all. Raises ``Rejected`` with ``testnet/NotEmpty`` or
    ``testnet/NotWritable``.
    """
    root = root.expanduser().absolute()
    with refusals(root, "testnet/NotWritable"):
        is_taken = root.exists() and (not root.is_dir() or any(root.iterdir()))
    if is_taken:
        raise Rejected(
            "testnet/NotEmpty",
            f"{root} is no empty directory and no local network; choose another --dir",
        )
    with refusals(root, "testnet/NotWritable"), ExitStack() as cleaning:
        root.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
        cleaning.callback(shutil.rmtree, building, ignore_errors=True)
        _fill(Layout(building, validators), time_ms, params or local_params(dev=True), rich)
        building.rename(root)  # over an empty directory this is allowed
        cleaning.pop_all()
        Disk().sync_directory(root.parent)
    return Layout(root, validators)


def _fill(layout: Layout, time_ms: int, params: Params, others: Sequence[bytes]) -> None:
    """Write everything a network consists of."""
    keys = [new_key() for _ in range(layout.validators)]
    faucet = new_key()
    accounts = {name: new_key() for name in ACCOUNTS}
    own = [address_of(key.public_key) for key in (faucet, *accounts.values())]
    genesis = new_genesis("colophon-local", time_ms, keys, [*own, *others], params)
    ports = free_ports(2 * layout.validators)
    rpc, p2p = ports[: layout.validators], ports[layout.validators :]
    names = [
        f"{key.public_key.hex()}@{LOOPBACK}:{port}" for key, port in zip(keys, p2p, strict=True)
    ]
    for index, key in enumerate(keys):
        peers = [name for other, name in enumerate(names) if other != index]
        settings = node_settings(f"node{index}", rpc[index], p2p[index], peers)
        make_validator_home(layout.home(index), genesis, key, settings)
    write_key(layout.home(0).faucet_key, faucet)
    layout.accounts.mkdir(mode=0o700)
    for name, key in accounts.items():
        write_key(layout.accounts / f"{name}.key", key)
    write_genesis(layout.genesis, genesis)
    write_marker(layout)


def node_settings(name: str, rpc_port: int, p2p_port: int, peers: list[str]) -> str:
    """Return the node.toml of one node; a JSON list of plain text is a TOML list too."""
    return (
        f'# Written by `colophon testnet up`.\n[node]\nname = "{name}"\n\n'
        f'[rpc]\nlisten = "{LOOPBACK}:{rpc_port}"\n\n'
        f'[p2p]\nlisten = "{LOOPBACK}:{p2p_port}"\npeers = {json.dumps(peers, indent=2)}\n\n'
        "[verify]\n# Several nodes share the cores of this machine.\nworkers = 0\n"
    )


def free_ports(count: int) -> list[int]:
    """Return different ports that nobody has on the loopback address now; the system chooses."""
    with ExitStack() as sockets:
        bound = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in bound:
            each.bind((LOOPBACK, 0))
        return [int(each.getsockname()[1]) for each in bound]
