"""``colophon verify``: check an exported bundle without a network."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click

from .output import Session


@click.command("verify")
@click.argument("bundle", metavar="BUNDLE.json")
@click.option("--genesis", metavar="FILE", help="Genesis document: network and first committee.")
@click.option("--trust", metavar="HASH", help="Genesis hash; compare the committee yourself.")
@click.pass_obj
def command(session: Session, /, bundle: str, genesis: str | None, trust: str | None) -> None:
    """Verify an exported bundle offline, and say what it proves and what it does not.

    Only --genesis settles whom you believe. With --trust, or without both, everything is checked
    all the same, but relative to the committee that the bundle itself names: whoever made the
    bundle could have made that up, so compare what is printed under `trust` with what you know.
    """
    from chain.errors import Rejected
    from colophon.verify import InvalidBundle, verify_file

    if genesis is not None and trust is not None:
        raise click.UsageError("give --genesis or --trust, not both")
    try:
        path = Path(bundle).expanduser()
        verdict = verify_file(path, _trusted_hash(trust), _trusted_start(genesis))
    except InvalidBundle as refusal:
        code = getattr(refusal, "code", "") or "verify/Invalid"
        raise Rejected(str(code), f"{bundle} proves nothing: {refusal}") from None
    except OSError as error:
        raise Rejected("file/NotFound", f"cannot read {bundle}: {error.strerror}") from None
    _tell(session, verdict)


def _trusted_start(genesis: str | None) -> dict[str, Any] | None:
    """Return what a genesis document fixes: network, epoch length, the committee of epoch 0."""
    from chain.codec import encode
    from chain.finality import genesis_light_client
    from colophon.home import read_genesis

    if genesis is None:
        return None
    client = genesis_light_client(read_genesis(Path(genesis).expanduser()))
    return {
        "genesis_hash": client.genesis_hash,
        "epoch_length": client.epoch_length,
        "epoch": client.epoch,
        "committee": encode(list(client.committee.members)),
    }


def _trusted_hash(trust: str | None) -> bytes | None:
    from chain.errors import Rejected

    if trust is None:
        return None
    try:
        digest = bytes.fromhex(trust.removeprefix("0x"))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise Rejected("verify/BadHash", f"--trust is {trust!r}, expected 0x and 64 hex digits")
    return digest


def _tell(session: Session, verdict: Any) -> None:
    """Print what was proved, both sentences, and what all of it rests on."""
    from chain.bundle import DOES_NOT_PROVE, PROVES

    value = {item.name: _plain(getattr(verdict, item.name)) for item in fields(verdict)}
    value = {"valid": True, **value}
    value.setdefault("proves", PROVES)
    value.setdefault("does_not_prove", DOES_NOT_PROVE)
    session.show(value)


def _plain(value: Any) -> Any:
    """Return a verdict's value as JSON: ids as text, other bytes as hex."""
    from chain.ids import ID_BYTES, format_id

    if isinstance(value, bytes):
        return format_id(value) if len(value) == ID_BYTES else "0x" + value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    return value
