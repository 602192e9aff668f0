"""A local network's directory: what lies where, and who may change it (docs/operating.md).

::

    DIR/network.json          says that `testnet up` made this, and how many nodes there are
    DIR/genesis.json          the network, for whoever verifies a bundle
    DIR/accounts/NAME.key     keys of accounts that begin with money, mode 0600
    DIR/node0 … DIR/nodeN-1   one home each, with node.toml, all keys and node.log
    DIR/LOCK                  held by the command that starts, stops or wipes the network
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chain.errors import Rejected
from colophon.disk import PUBLIC, Disk
from colophon.home import Home
from state.disk_fault import refusals

FORMAT = 1
"""Version of the directory's form; another one is refused."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one local network."""

    root: Path
    validators: int

    @property
    def genesis(self) -> Path:
        """genesis.json."""
        return self.root / "genesis.json"

    @property
    def accounts(self) -> Path:
        """The directory of keys that own money."""
        return self.root / "accounts"

    def home(self, index: int) -> Home:
        """Return the home of a node; ``testnet/NoSuchNode`` if there is none."""
        if not 0 <= index < self.validators:
            raise Rejected(
                "testnet/NoSuchNode",
                f"there is no node {index}: this network has {self.validators}, counted from 0",
            )
        return Home(self.root / f"node{index}")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the network; ``testnet/Busy`` if another command does."""
        path = self.root / "LOCK"
        with refusals(path, "testnet/NotWritable"):
            file = open(path, "a+", encoding="ascii")  # noqa: SIM115 - closed below
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Rejected(
                    "testnet/Busy",
                    f"another command is changing the network in {self.root}; try again after it",
                ) from None
            yield

    def wipe(self) -> list[str]:
        """Remove what `testnet up` made; returns the names of other things, which stay.

        The directory itself goes if nothing else is in it. The caller holds the lock and has
        stopped the nodes. ``network.json`` goes last, so that an interrupted wipe can be repeated.
        """
        for index in range(self.validators):
            shutil.rmtree(self.home(index).root, ignore_errors=True)
        shutil.rmtree(self.accounts, ignore_errors=True)
        for path in (self.genesis, self.root / "LOCK", marker(self.root)):
            path.unlink(missing_ok=True)
        left = sorted(path.name for path in self.root.iterdir())
        if not left:
            self.root.rmdir()
        return left


def marker(root: Path) -> Path:
    """Return the file that says what a directory is."""
    return root / "network.json"


def is_network(root: Path) -> bool:
    """Tell whether `testnet up` made this directory."""
    return marker(root.expanduser()).exists()


def write_marker(layout: Layout) -> None:
    """Say that the directory is a local network."""
    form = {"format": FORMAT, "validators": layout.validators}
    Disk().put(marker(layout.root), json.dumps(form).encode() + b"\n", PUBLIC)


def open_layout(root: Path) -> Layout:
    """Return the network in a directory; ``testnet/NoNetwork`` if `testnet up` made none there."""
    root = root.expanduser().absolute()
    try:
        form = json.loads(marker(root).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise Rejected(
            "testnet/NoNetwork",
            f"there is no local network in {root}; `colophon testnet up --dir {root}` makes one",
        ) from None
    except ValueError:
        form = None
    match form:
        case {"format": int(form_version), "validators": int(validators)} if (
            form_version == FORMAT and validators >= 1
        ):
            return Layout(root, validators)
    raise Rejected(
        "testnet/UnknownForm", f"{marker(root)} was not written by this release of `testnet up`"
    )
