"""``colophon genesis``: the document a network begins with."""

from __future__ import annotations

import time
from pathlib import Path

import click

from .output import Session


@click.group("genesis")
def command() -> None:
    """Make the document a network begins with."""


@command.command("new")
@click.option("--chain-id", required=True, help="Name for display, up to 64 bytes.")
@click.option(
    "--validator",
    "validators",
    multiple=True,
    required=True,
    help="Consensus public key (0x…); repeat for each.",
)
@click.option("--account", "accounts", multiple=True, help="ADDRESS=NCOLO; repeat for each.")
@click.option("--dev", is_flag=True, help="A development network: faucet and time travel.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("genesis.json"), show_default=True
)
@click.pass_obj
def new(
    session: Session, chain_id: str, validators: tuple[str, ...], accounts: tuple[str, ...],
    dev: bool, out: Path,
) -> None:  # fmt: skip
    """Write a genesis document with a fresh nonce."""
    import secrets

    from chain.codec import encode_amount
    from chain.genesis import Genesis, GenesisAccount, GenesisValidator, check_genesis
    from chain.ids import Kind, parse_id
    from chain.json_form import parse_amount, parse_hex
    from colophon.home import genesis_text
    from colophon.testnet.make import local_params

    from .values import write_file

    rich = []
    for entry in accounts:
        address, separator, amount = entry.partition("=")
        if not separator:
            raise click.UsageError(f"{entry!r}: give accounts as ADDRESS=NCOLO")
        raw = encode_amount(parse_amount(amount, "amount"))
        rich.append(GenesisAccount(parse_id(address, Kind.ACCOUNT), raw))
    genesis = Genesis(
        1,
        chain_id,
        time.time_ns() // 1_000_000,
        secrets.token_bytes(16),
        local_params(dev=dev),
        [GenesisValidator(parse_hex(key, "validator"), 1) for key in validators],
        sorted(rich, key=lambda account: account.address),
        [],
    )
    check_genesis(genesis)
    write_file(str(out), genesis_text(genesis))
    session.show({"file": str(out), "genesis_hash": "0x" + genesis.hash().hex()})


@command.command("show")
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.pass_obj
def show(session: Session, file: Path) -> None:
    """Check a genesis document and show its hash."""
    from colophon.home import read_genesis

    genesis = read_genesis(file)
    session.show(
        {
            "chain_id": genesis.chain_id,
            "genesis_hash": "0x" + genesis.hash().hex(),
            "validators": len(genesis.validators),
            "accounts": len(genesis.accounts),
            "dev": genesis.params.dev,
        }
    )
