"""``colophon key``: account keys."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import click

from .output import Session

PASSPHRASE = "COLOPHON_PASSPHRASE"
"""Environment variable that answers the passphrase question, for scripts."""


@click.group("key")
def command() -> None:
    """Account keys: encrypted on disk, recoverable from 24 words."""


def keystore(session: Session) -> Any:
    """Return the keystore of the home."""
    from colophon.home import Home
    from colophon.keystore import Keystore

    return Keystore(Home(session.home_path).keys)


def ask_passphrase(*, confirm: bool = False) -> str:
    """Return the passphrase: from the environment, else asked."""
    given = os.environ.get(PASSPHRASE)
    if given is not None:
        return given
    answer: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return answer


@command.command("new")
@click.argument("name")
@click.pass_obj
def new(session: Session, name: str) -> None:
    """Make a key and show its 24 recovery words once."""
    from colophon.home import new_key
    from colophon.keystore import words_of

    key = new_key()
    info = keystore(session).add(name, key, ask_passphrase(confirm=True))
    words = words_of(key)
    session.note("Write these words down; they are the only backup, and are not shown again:\n")
    session.show({**asdict(info), "words": words}, f"{words}\n\n{info.name}  {info.address}")


@command.command("list")
@click.pass_obj
def list_keys(session: Session) -> None:
    """List the keys of the home."""
    keys = keystore(session).list()
    rows = [(key.name, key.address) for key in keys]
    session.table(("name", "address"), rows, [asdict(key) for key in keys])


@command.command("show")
@click.argument("name")
@click.pass_obj
def show(session: Session, name: str) -> None:
    """Show one key's address and public key."""
    session.show(asdict(keystore(session).show(name)))


@command.command("import")
@click.argument("name")
@click.option("--words", prompt="24 words", hide_input=True, help="The recovery words.")
@click.pass_obj
def import_key(session: Session, name: str, words: str) -> None:
    """Store a key from its 24 recovery words."""
    from colophon.keystore import key_from_words

    key = key_from_words(words)
    info = keystore(session).add(name, key, ask_passphrase(confirm=True))
    session.show(asdict(info), f"{info.name}  {info.address}")


@command.command("export")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask whether anybody is looking.")
@click.pass_obj
def export(session: Session, name: str, yes: bool) -> None:
    """Show a key's 24 recovery words."""
    from colophon.keystore import words_of

    if not yes:
        click.confirm("Whoever sees the words owns the account. Show them?", abort=True, err=True)
    key = keystore(session).unlock(name, ask_passphrase())
    words = words_of(key)
    session.show({"name": name, "words": words}, words)
