"""Every command that writes says in one sentence, with a code, why a file cannot be written.

The disk refuses as the system does: with its own errors, at each of the calls that files need.
Names that are no place for a file are real ones.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from colophon import keystore
from colophon.home import write_genesis
from tests.colophon.served import colophon
from tests.state.ledger import Ledger

VALIDATOR = "0x" + "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
WORDS = " ".join(["abandon"] * 23 + ["art"])

COMMANDS: dict[str, tuple[str, ...]] = {
    "key-new": ("key", "new", "alice"),
    "key-import": ("key", "import", "alice", "--words", WORDS),
    "node-init": ("node", "init"),
    "node-init-genesis": ("node", "init", "--genesis", "GENESIS"),
    "genesis-new": ("genesis", "new", "--chain-id", "x", "--validator", VALIDATOR, "--out", "DIR"),
    "testnet-up": ("testnet", "up", "--detach", "--dir", "DIR"),
    "testnet-dev": ("testnet", "dev", "--dir", "DIR"),
    "node-reset": ("node", "reset", "--keep-keys", "--yes"),
}
"""Commands that write below a directory, the home or DIR; GENESIS lies beside it."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a passphrase take no time, and nodes not be started."""
    monkeypatch.setattr(keystore, "SCRYPT_N", 2)
    monkeypatch.setattr("colophon.cli.node.run_in_foreground", lambda *_, **__: None)
    monkeypatch.setattr("colophon.testnet.network.Network.up", lambda *_, **__: None)


class Said(NamedTuple):
    """What a command ended with."""

    exit_code: int
    code: str
    sentence: str


def say(command: str, place: Path) -> Said:
    """Run a command with its files below ``place``; a traceback fails the test."""
    files = {"DIR": str(place), "GENESIS": str(place.parent / "genesis.json")}
    arguments = [files.get(word, word) for word in COMMANDS[command]]
    done = colophon("--json", *arguments, home=place)
    assert isinstance(done.exception, SystemExit | None), done.exception
    error = {} if done.exit_code == 0 else json.loads(done.stdout)["error"]
    return Said(done.exit_code, error.get("code", ""), error.get("message", ""))


def file_above(root: Path) -> Path:
    (root / "file").write_text("")
    return root / "file" / "below"


def name_too_long(root: Path) -> Path:
    return root / ("x" * 300)


def path_too_long(root: Path) -> Path:
    return root.joinpath(*["x" * 200] * 30)


def loop(root: Path) -> Path:
    (root / "loop").symlink_to(root / "loop")
    return root / "loop" / "below"


@pytest.mark.parametrize("place", [file_above, name_too_long, path_too_long, loop])
@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"node-init-genesis"}))
def test_a_name_that_is_no_place_is_refused(
    command: str, place: Callable[[Path], Path], tmp_path: Path
) -> None:
    chosen = place(tmp_path)

    said = say(command, chosen)

    assert said.exit_code == 1
    assert said.code.endswith(("/NotWritable", "/Refused", "/DiskRefused")), said
    assert str(tmp_path) in said.sentence and "\n" not in said.sentence


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("key-new", "keys"),
        ("node-init", "data"),
        ("testnet-dev", "data"),
        ("testnet-dev", "faucet.key/below"),
        ("node-init", "validator.key/below"),
        ("genesis-new", "below"),
    ],
)
def test_another_thing_where_a_file_or_a_directory_shall_be_is_named(
    command: str, name: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / name).parent.mkdir(parents=True)
    (home / name).write_text("")

    said = say(command, home)

    assert said.exit_code == 1 and said.code, said
    assert str(home) in said.sentence and "\n" not in said.sentence


class Disk:
    """The system's calls about files, of which one can fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    @contextmanager
    def refusing(self, call: str, number: int, after: int) -> Iterator[None]:
        """Fail with an error at a call from its n-th time on."""
        real, times = getattr(os, call), itertools.count()

        def fail(*arguments: Any, **options: Any) -> Any:
            is_read = call == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR)
            if is_read or next(times) < after:
                return real(*arguments, **options)
            raise OSError(number, os.strerror(number))

        with self._monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            yield


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "home/DiskFull"), (errno.EROFS, "home/DiskRefused")]
)
@pytest.mark.parametrize(
    ("command", "call"),
    [
        *itertools.product(("key-new", "key-import"), ("open", "mkdir", "pwrite", "fdatasync",
                                                       "fsync", "link")),
        *itertools.product(("node-init-genesis", "testnet-dev", "testnet-up"),
                           ("open", "mkdir", "pwrite", "fdatasync", "fsync", "link", "replace")),
    ],
)  # fmt: skip
def test_wherever_the_disk_refuses_it_is_said_and_the_same_again_succeeds(
    command: str, call: str, number: int, code: str, tmp_path: Path, disk: Disk
) -> None:
    write_genesis(tmp_path / "genesis.json", Ledger().genesis)

    for after in itertools.count():
        home = tmp_path / str(after)
        with disk.refusing(call, number, after):
            said = say(command, home)
        if said.exit_code == 0:
            break
        assert (said.exit_code, said.code) == (1, code), said
        assert str(tmp_path) in said.sentence and "\n" not in said.sentence
        again = say(command, home)
        assert again.exit_code == 0, again

    assert after > 0, "the command never needs this call"


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_an_output_that_is_full_is_said_on_the_error_stream(
    json_option: list[str], tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "colophon",
        *json_option,
        "--home",
        str(tmp_path),
        "key",
        "list",
    ]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith("[home/DiskFull]")
