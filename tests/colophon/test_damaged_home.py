"""Each small file of a home, damaged in every way that one fault of a disk can damage it.

Every truncation, every flipped bit and every byte replaced is either refused in one sentence or
read as something that is right: never a traceback, and never another key or forgotten promise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chain.errors import Corruption, Rejected
from chain.vote import FINALIZE, NOTARIZE, NULLIFY, Vote
from colophon import keystore
from colophon.config import Config, load_config
from colophon.guard_file import GuardFile
from colophon.home import Home, keep_key, read_genesis, read_key, running_at, say_running
from colophon.journal_file import JournalFile
from colophon.keystore import Keystore
from colophon.testnet.layout import marker, open_layout
from colophon.testnet.make import make_dev_home, make_network
from colophon.testnet.process import NodeProcess
from consensus.guard import check_guard
from consensus.journal import SEGMENT_BYTES, BegunRecord, VoteRecord

from .recording_disk import RecordingDisk

JOURNAL = Path("/data/journal")
EVERY_BIT_UP_TO = 256
"""Bytes of a file of which each bit is flipped; of a longer one, one bit of each byte."""


def damaged(data: bytes) -> Iterator[bytes]:
    """Yield what a disk may make of a file."""
    for at, byte in enumerate(data):
        yield data[:at]
        flipped = [byte ^ 1 << bit for bit in range(8)]
        for other in [*flipped, 0, 0xFF] if len(data) <= EVERY_BIT_UP_TO else [flipped[at % 8]]:
            yield bytes([*data[:at], other, *data[at + 1 :]])


def outcome(read: Callable[[], Any]) -> Any:
    """Return what was read, or None if it was refused in a sentence."""
    try:
        return read()
    except (Rejected, Corruption) as refusal:
        sentence = str(refusal)
        assert sentence and "\n" not in sentence
        return None


def outcomes(path: Path, read: Callable[[], Any]) -> list[Any]:
    """Return what is read of a file, whole and then with each damage."""
    whole = path.read_bytes()
    found = [outcome(read)]
    for data in damaged(whole):
        path.write_bytes(data)
        found.append(outcome(read))
    path.write_bytes(whole)
    assert found[0] is not None
    return found


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_dev_home(tmp_path / "home", 1_700_000_000_000)


def test_a_damaged_key_is_never_another_key(home: Home) -> None:
    for path in (home.validator_key, home.faucet_key):
        found = outcomes(path, lambda path=path: read_key(path).seed)

        assert set(found) == {found[0], None}


def test_a_damaged_account_key_is_never_another_key(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keystore, "SCRYPT_N", 2)
    store = Keystore(home.keys)
    store.add("alice", keep_key(home.validator_key), "pass")

    seeds = outcomes(home.keys / "alice.json", lambda: store.unlock("alice", "pass").seed)
    infos = outcomes(home.keys / "alice.json", lambda: tuple(store.list()))

    assert set(seeds) == {seeds[0], None}
    assert set(infos) == {infos[0], None}


def test_a_damaged_genesis_is_never_taken_for_the_same_network(home: Home) -> None:
    whole = read_genesis(home.genesis)

    found = outcomes(home.genesis, lambda: read_genesis(home.genesis))

    assert all(genesis in (None, whole) or genesis.hash() != whole.hash() for genesis in found)


def test_damaged_settings_are_settings_or_refused(home: Home) -> None:
    home.config.write_text('[node]\nname = "ä"\n[p2p]\npeers = ["a:1"]\n[verify]\nworkers = 0\n')

    found = outcomes(home.config, lambda: load_config(home.config, {}))

    assert all(isinstance(config, Config | None) for config in found)


def test_a_damaged_note_of_a_running_node_is_a_place_or_nothing(home: Home) -> None:
    with home.lock():
        say_running(home, pid=12, rpc="http://127.0.0.1:1", p2p="")
        process = NodeProcess(home)

        found = outcomes(home.running, lambda: (running_at(home), process.running()))

    assert all(isinstance(form["rpc"], str) for form, _ in found if form is not None)
    assert all((form is None) == (running is None) for form, running in found)


def test_a_damaged_network_is_one_or_refused(tmp_path: Path) -> None:
    layout = make_network(tmp_path / "net", 1, 1)

    found = outcomes(marker(layout.root), lambda: open_layout(layout.root))
    seeds = outcomes(
        layout.accounts / "alice.key", lambda: read_key(layout.accounts / "alice.key").seed
    )

    assert layout in found
    assert set(seeds) == {seeds[0], None}


def vote(kind: int, view: int) -> VoteRecord:
    block_id = None if kind == NULLIFY else bytes([view]) * 32
    return VoteRecord(Vote(kind, 0, view, block_id, 1, bytes(64)))


PROMISES = [vote(NOTARIZE, 1), vote(FINALIZE, 1), vote(NOTARIZE, 2), vote(NULLIFY, 3)]


def start(files: dict[Path, bytes]) -> tuple[Any, ...]:
    """Return the records a node starts with; refused if it must not sign."""
    disk = RecordingDisk(files)
    journal = JournalFile(JOURNAL, disk, segment_bytes=SEGMENT_BYTES)
    guard = GuardFile(JOURNAL / "guard", disk, quarantine=False)
    check_guard(guard.entry, journal.records, 0, 0)
    return journal.records


def promised() -> dict[Path, bytes]:
    """Return the files of a validator that has promised something."""
    disk = RecordingDisk()
    journal = JournalFile(JOURNAL, disk, segment_bytes=SEGMENT_BYTES)
    guard = GuardFile(JOURNAL / "guard", disk, quarantine=False)
    for record in (BegunRecord(), *PROMISES):
        journal.append([record])
        journal.sync()
        if guard.note([record]):
            guard.write()
    paths = (*disk.files(JOURNAL, ".journal"), JOURNAL / "guard")
    return {path: disk.read(path) for path in paths}


def test_a_damaged_journal_or_guard_forgets_no_promise() -> None:
    files = promised()
    assert start(files) == (BegunRecord(), *PROMISES)

    found = {
        outcome(lambda path=path, data=data: start({**files, path: data}))
        for path, whole in files.items()
        for data in damaged(whole)
    }

    assert found == {(BegunRecord(), *PROMISES), None}


def test_the_files_looked_at_here_are_those_of_a_home(home: Home) -> None:
    names = {str(path.relative_to(home.root)) for path in home.root.rglob("*") if path.is_file()}

    assert names == {
        "node.toml", "genesis.json", "validator.key", "faucet.key",
        f"data/journal/{1:020d}.journal",
    }  # fmt: skip
    assert json.loads(home.genesis.read_bytes())
