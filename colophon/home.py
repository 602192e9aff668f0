"""A node's directory: what lies where, who may use it, how it begins (docs/operating.md).

::

    HOME/node.toml            settings
    HOME/genesis.json         the network
    HOME/validator.key        this validator's consensus key, mode 0600
    HOME/faucet.key           the faucet of a development network, mode 0600
    HOME/data/db              LevelDB
    HOME/data/journal         consensus journal, guard
    HOME/keys                 accounts, encrypted
    HOME/admin.sock           commands to the running node
    HOME/running.json         process and RPC address while it runs
    HOME/LOCK                 held by the running node
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chain.crypto import SEED_BYTES, SigningKey
from chain.errors import DiskFault, Rejected
from chain.genesis import Genesis, check_genesis
from chain.json_form import record_from_json, record_to_json
from state.disk_fault import refusals

from .disk import PUBLIC, Disk
from .journal_file import begin_journal

LOCK_ATTEMPTS = 10
LOCK_PAUSE_S = 0.01
"""Between two attempts to take a home's lock."""


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one node."""

    root: Path

    @property
    def config(self) -> Path:
        """node.toml."""
        return self.root / "node.toml"

    @property
    def genesis(self) -> Path:
        """genesis.json."""
        return self.root / "genesis.json"

    @property
    def validator_key(self) -> Path:
        """The consensus key."""
        return self.root / "validator.key"

    @property
    def faucet_key(self) -> Path:
        """The key of a development network's faucet."""
        return self.root / "faucet.key"

    @property
    def database(self) -> Path:
        """The LevelDB directory."""
        return self.root / "data" / "db"

    @property
    def journal(self) -> Path:
        """The directory of journal segments and the guard."""
        return self.root / "data" / "journal"

    @property
    def keys(self) -> Path:
        """The keystore."""
        return self.root / "keys"

    @property
    def admin_socket(self) -> Path:
        """Where a running node takes commands."""
        return self.root / "admin.sock"

    @property
    def running(self) -> Path:
        """What a running node says of itself."""
        return self.root / "running.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the home; ``home/InUse`` if another process does."""
        self.make_root()
        path = self.root / "LOCK"
        with refusals(path, "home/NotWritable"):
            file = open(path, "a+", encoding="ascii")  # noqa: SIM115 - closed below
        with file:
            if not _take(file.fileno()):
                raise Rejected(
                    "home/InUse",
                    f"another node runs in {self.root}; stop it or choose another --home",
                )
            yield

    def make_root(self) -> None:
        """Make the directory, unless it is there; raises ``home/NotWritable`` or ``DiskFault``."""
        with refusals(self.root, "home/NotWritable"):
            self.root.mkdir(parents=True, exist_ok=True)
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise Rejected("home/NotWritable", f"{self.root} is not writable")


def _take(descriptor: int) -> bool:
    """Take a lock; whoever only asks whether it is held has it for a moment, and is waited for."""
    for _ in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)
    return False


def genesis_text(genesis: Genesis) -> bytes:
    """Return a genesis document as readable JSON."""
    return json.dumps(record_to_json(genesis), indent=2).encode() + b"\n"


def write_genesis(path: Path, genesis: Genesis) -> None:
    """Write a genesis document, durably, in place of what is there."""
    Disk().put(path, genesis_text(genesis), PUBLIC)


def read_genesis(path: Path) -> Genesis:
    """Read and check a genesis document; raises ``Rejected`` naming the file."""
    try:
        with refusals(path):
            form = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Rejected(
            "home/NoGenesis",
            f"there is no {path}; run `colophon node init --genesis FILE` first",
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Rejected("home/BadGenesis", f"{path}: not JSON: {error}") from None
    try:
        genesis: Genesis = record_from_json(Genesis, form, "")
        check_genesis(genesis)
    except Rejected as refusal:
        raise Rejected(refusal.code, f"{path}: {refusal.message}", **refusal.details) from None
    return genesis


def write_key(path: Path, key: SigningKey, disk: Disk | None = None) -> None:
    """Write a consensus key, durably, readable by its owner only; never over an existing one."""
    form = {"public_key": "0x" + key.public_key.hex(), "seed": "0x" + key.seed.hex()}
    try:
        (disk or Disk()).put_new(path, json.dumps(form, indent=2).encode() + b"\n")
    except FileExistsError:
        raise _key_exists(path) from None


def _key_exists(path: Path) -> Rejected:
    return Rejected("home/KeyExists", f"{path} exists; a key is never overwritten")


def make_validator(home: Home, key: SigningKey) -> None:
    """Give a home its consensus key, and a journal that says it has signed nothing (C15, J2).

    ``key`` must have been made just now: about one that may have signed elsewhere the journal
    would lie. Nothing else may begin a journal.

    The journal comes first: a power cut leaves one that can be moved away, and never a key
    without one, which could never vote. Where the disk refuses, neither is left.
    """
    if home.validator_key.exists():
        raise _key_exists(home.validator_key)
    if any(home.journal.glob("*")):
        raise Rejected(
            "home/JournalExists",
            f"{home.journal} holds what another key signed; move it away, then make the key",
        )
    disk = Disk()
    try:
        begin_journal(home.journal, disk)
        write_key(home.validator_key, key, disk)
    except DiskFault:
        for path in disk.files(home.journal, ""):
            disk.remove(path)
        raise


def keep_validator(home: Home) -> SigningKey:
    """Return the home's consensus key, made if it has none: what was cut short can go on."""
    if not home.validator_key.exists():
        make_validator(home, new_key())
    return read_key(home.validator_key)


def keep_key(path: Path) -> SigningKey:
    """Return the key in a file, made if there is none."""
    if not path.exists():
        write_key(path, new_key())
    return read_key(path)


def read_key(path: Path) -> SigningKey:
    """Read a consensus key; raises ``Rejected`` with ``home/NoKey`` or ``home/BadKey``."""
    try:
        with refusals(path):
            form: dict[str, Any] = json.loads(path.read_text(encoding="ascii"))
        key = SigningKey(bytes.fromhex(form["seed"].removeprefix("0x")))
    except FileNotFoundError:
        raise Rejected(
            "home/NoKey", f"there is no key in {path}; run `colophon node init`"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Rejected("home/BadKey", f"{path} holds no valid key") from None
    if form.get("public_key") != "0x" + key.public_key.hex():
        raise Rejected("home/BadKey", f"{path}: the public key does not belong to the seed")
    return key


def new_key() -> SigningKey:
    """Return a fresh key."""
    return SigningKey(secrets.token_bytes(SEED_BYTES))


def is_held(home: Home) -> bool:
    """Tell whether a process holds the home's lock: a node, or maintenance of a stopped one."""
    try:
        with open(home.root / "LOCK", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def say_running(home: Home, **form: object) -> None:
    """Write down where the running node is found."""
    with refusals(home.running):
        home.running.write_text(json.dumps(form), encoding="utf-8")


def announced(home: Home) -> dict[str, Any] | None:
    """Return what running.json says; its process may be long dead, or just writing it."""
    try:
        form = json.loads(home.running.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    match form:
        case {"pid": int(), "rpc": str()}:
            return dict(form)
    return None


def running_at(home: Home) -> dict[str, Any] | None:
    """Return what the running node said of itself, or None if none runs."""
    return announced(home) if is_held(home) else None


def reset_home(home: Home) -> None:
    """Remove the chain's data and keep keys, settings and genesis."""
    shutil.rmtree(home.root / "data", ignore_errors=True)
