"""A node's directory: keys, genesis, the lock, and what a running node says of itself."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import msgspec
import pytest

from chain.errors import DiskFault, Rejected
from colophon.disk import Disk
from colophon.home import (
    Home,
    make_validator,
    new_key,
    read_genesis,
    read_key,
    reset_home,
    running_at,
    write_genesis,
    write_key,
)
from colophon.journal_file import JournalFile
from colophon.testnet.make import make_dev_home
from consensus.journal import BegunRecord
from tests.colophon.served import colophon
from tests.state.ledger import Ledger


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def code_of(act):
    with pytest.raises(Rejected) as caught:
        act()
    return caught.value.code


def test_a_genesis_document_comes_back_with_its_hash(tmp_path):
    genesis = Ledger().genesis
    path = tmp_path / "genesis.json"

    write_genesis(path, genesis)

    assert read_genesis(path) == genesis
    assert read_genesis(path).hash() == genesis.hash()


def test_a_genesis_that_is_none_is_refused_with_the_files_name(tmp_path):
    path = tmp_path / "genesis.json"
    assert code_of(lambda: read_genesis(path)) == "home/NoGenesis"
    path.write_text("nonsense")
    assert code_of(lambda: read_genesis(path)) == "home/BadGenesis"
    write_genesis(path, Ledger().genesis)
    form = json.loads(path.read_text())
    path.write_text(json.dumps({**form, "version": 2}))

    with pytest.raises(Rejected, match=r"genesis\.json"):
        read_genesis(path)


def test_a_key_comes_back_and_is_for_its_owner_only(tmp_path):
    key, path = new_key(), tmp_path / "validator.key"

    write_key(path, key)

    assert read_key(path).seed == key.seed
    assert path.stat().st_mode & 0o777 == 0o600
    assert code_of(lambda: write_key(path, new_key())) == "home/KeyExists"
    assert read_key(path).seed == key.seed


def journal_of(home):
    journal = JournalFile(home.journal, Disk(), segment_bytes=4_096)
    journal.close()
    return journal.records


def test_a_new_validator_has_a_journal_that_has_begun(home):
    home.root.mkdir()
    key = new_key()

    make_validator(home, key)

    assert read_key(home.validator_key).seed == key.seed
    assert journal_of(home) == (BegunRecord(),)


def test_a_validator_is_made_once_whatever_became_of_its_journal(home):
    home.root.mkdir()
    make_validator(home, new_key())
    reset_home(home)

    assert code_of(lambda: make_validator(home, new_key())) == "home/KeyExists"
    assert journal_of(home) == (), "a reset and a second try begin nothing"


def test_a_new_key_does_not_take_over_the_journal_of_another(home):
    home.root.mkdir()
    make_validator(home, new_key())
    home.validator_key.unlink()

    assert code_of(lambda: make_validator(home, new_key())) == "home/JournalExists"
    assert not home.validator_key.exists()


def test_a_development_home_and_its_reset(tmp_path):
    home = make_dev_home(tmp_path / "dev", 1)
    assert journal_of(home) == (BegunRecord(),)

    reset_home(home)

    assert journal_of(home) == ()


def test_a_home_that_has_a_key_takes_a_genesis_and_keeps_its_key(home, tmp_path):
    home.root.mkdir()
    make_validator(home, new_key())
    key = read_key(home.validator_key)
    write_genesis(tmp_path / "genesis.json", Ledger().genesis)
    init = ("--json", "node", "init", "--genesis", str(tmp_path / "genesis.json"))

    made = [colophon(*init, home=home.root) for _ in range(2)]

    assert [done.exit_code for done in made] == [0, 0], "it may be said twice"
    assert read_key(home.validator_key).seed == key.seed
    assert read_genesis(home.genesis) == Ledger().genesis
    other = colophon(*init[:3], home=home.root)
    assert "home/KeyExists" in other.stdout
    write_genesis(home.genesis, msgspec.structs.replace(Ledger().genesis, chain_id="other"))
    assert "home/KeyExists" in colophon(*init, home=home.root).stdout


def test_a_development_home_that_was_cut_short_is_finished(tmp_path):
    home = make_dev_home(tmp_path / "dev", 1)
    keys = [read_key(path).seed for path in (home.validator_key, home.faucet_key)]
    home.genesis.unlink()
    home.config.write_text("# mine")

    make_dev_home(home.root, 1)

    assert [read_key(path).seed for path in (home.validator_key, home.faucet_key)] == keys
    assert (
        read_genesis(home.genesis).validators[0].public_key
        == read_key(home.validator_key).public_key
    )
    assert home.config.read_text() == "# mine", "settings that are there stay"
    assert code_of(lambda: make_dev_home(home.root, 1)) == "home/Exists"


@pytest.mark.parametrize(
    "content",
    ["", "{}", '{"seed": 5}', '{"seed": "0x12"}', '{"seed": "0x' + "00" * 32 + '"}', "[]"],
)
def test_a_key_file_that_is_none_is_refused(tmp_path, content):
    path = tmp_path / "validator.key"
    path.write_text(content)

    assert code_of(lambda: read_key(path)) == "home/BadKey"


def test_a_missing_key_says_what_to_do(tmp_path):
    with pytest.raises(Rejected, match="colophon node init"):
        read_key(tmp_path / "absent")


def test_a_home_is_held_by_one_process(home):
    with home.lock():
        other = (
            "import sys; from pathlib import Path; from colophon.home import Home\n"
            "with Home(Path(sys.argv[1])).lock(): pass"
        )
        done = subprocess.run(
            [sys.executable, "-c", other, str(home.root)], capture_output=True, text=True
        )

    assert "home/InUse" in done.stderr
    with home.lock():
        pass


def test_a_home_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")

    def take():
        with Home(tmp_path / "file" / "home").lock():
            pass

    assert code_of(take) == "home/NotWritable"


def refuse(number):
    """Return a call of the system that fails."""

    def call(*_args, **_options):
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "home/DiskFull"),
        (errno.EROFS, "home/DiskRefused"),
        (errno.EIO, "home/DiskRefused"),
    ],
)
def test_a_home_the_disk_has_no_place_for_is_the_disks_fault(home, monkeypatch, number, code):
    monkeypatch.setattr(os, "mkdir", refuse(number))

    with pytest.raises(DiskFault) as fault:
        home.make_root()

    assert fault.value.code == code


@pytest.mark.parametrize("call", ["pwrite", "fdatasync", "ftruncate", "link"])
def test_after_a_full_disk_a_validator_can_be_made(home, monkeypatch, call):
    home.make_root()
    with monkeypatch.context() as full:
        full.setattr(os, call, refuse(errno.ENOSPC))
        with pytest.raises(DiskFault):
            make_validator(home, new_key())

    key = new_key()
    make_validator(home, key)

    assert read_key(home.validator_key).seed == key.seed
    journal = journal_of(home)
    assert journal == (BegunRecord(),)


def test_a_full_disk_takes_no_key_that_was_there(home, monkeypatch):
    home.make_root()
    key = new_key()
    make_validator(home, key)
    monkeypatch.setattr(os, "pwrite", refuse(errno.ENOSPC))

    assert code_of(lambda: make_validator(home, new_key())) == "home/KeyExists"

    assert read_key(home.validator_key).seed == key.seed


def test_a_running_node_is_found_until_its_process_is_gone(home):
    home.root.mkdir()
    assert running_at(home) is None
    form = {"pid": os.getpid(), "rpc": "http://127.0.0.1:1"}
    with home.lock():
        assert running_at(home) is None, "it is just starting"
        home.running.write_text(json.dumps(form))
        assert running_at(home)["rpc"] == "http://127.0.0.1:1"

    assert running_at(home) is None, "a left-over file says nothing, whoever has the pid now"


def test_a_torn_running_file_means_no_node(home):
    home.root.mkdir()
    home.running.write_text('{"pid"')

    assert running_at(home) is None
