"""What stops a start: each cause gives one helpful sentence, exit code 1, and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import urllib.error
import urllib.request
from pathlib import Path

import msgspec
import pytest

import rpc
from chain.codec import encode
from chain.genesis import GenesisValidator
from colophon.home import Home, new_key, read_genesis, write_genesis, write_key
from colophon.testnet.make import make_dev_home
from state import layout
from state.store import Store
from tests.functional.processes import Node, run_cli


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Return the home of a development node that has never run."""
    return make_dev_home(tmp_path / "home", 1_700_000_000_000)


def start_fails(home: Home, *words: str, directory: Path | None = None) -> str:
    """Run `node start`, expect failure in one line, and return it."""
    finished = run_cli("--home", str(home.root), "node", "start", directory=directory)
    lines = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert finished.returncode == 1, finished
    assert len(lines) == 1 and "Traceback" not in finished.stderr, finished.stderr
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


def test_no_genesis(tmp_path: Path) -> None:
    start_fails(Home(tmp_path / "empty"), "genesis.json", "node init", "home/NoGenesis")


def test_a_genesis_that_is_no_json_or_no_genesis(home: Home) -> None:
    home.genesis.write_text("{", encoding="ascii")
    start_fails(home, "genesis.json", "home/BadGenesis")
    home.genesis.write_text('{"version": 1}', encoding="ascii")
    start_fails(home, "genesis.json", "json/MissingField")


def test_no_key_and_a_wrong_key(home: Home) -> None:
    raw = json.loads(home.validator_key.read_text(encoding="ascii"))
    home.validator_key.write_text(json.dumps({**raw, "seed": "0x00"}), encoding="ascii")
    start_fails(home, "validator.key", "home/BadKey")
    home.validator_key.write_text(json.dumps({**raw, "seed": "0x" + "00" * 32}), encoding="ascii")
    start_fails(home, "public key", "home/BadKey")
    home.validator_key.unlink()
    start_fails(home, "validator.key", "node init", "home/NoKey")


def test_an_occupied_port(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("COLOPHON_RPC__LISTEN", f"127.0.0.1:{port}")
        start_fails(home, str(port), "node/PortInUse")


def test_a_data_directory_that_cannot_be_used(home: Home) -> None:
    home.database.write_text("a file", encoding="ascii")
    start_fails(home, "data/db", "store/NotADatabase")
    home.database.unlink()
    home.database.mkdir()
    (home.database / "notes.txt").write_text("mine", encoding="ascii")
    start_fails(home, "data/db", "store/NotADatabase")
    assert (home.database / "notes.txt").read_text(encoding="ascii") == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_an_unwritable_home(home: Home) -> None:
    home.root.chmod(0o500)
    start_fails(home, "home/NotWritable")


def test_a_home_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="ascii")

    start_fails(Home(tmp_path / "file" / "home"), "home/NotWritable")


def test_another_genesis_than_the_database_was_made_for(home: Home) -> None:
    with Node(home.root) as node:
        node.start()
        assert node.stop() == 0
    genesis = read_genesis(home.genesis)
    other = make_dev_home(home.root.parent / "other", 1_700_000_000_000)
    write_genesis(home.genesis, read_genesis(other.genesis))

    start_fails(home, "another genesis", "store/OtherNetwork")

    write_genesis(home.genesis, genesis)
    with Node(home.root) as node:
        node.start()
        assert node.stop() == 0


def test_a_database_of_a_later_release(home: Home) -> None:
    with Node(home.root) as node:
        node.start()
        assert node.stop() == 0
    with Store.open(home.database, create=False) as store:
        later = encode(layout.SchemaRow(layout.SCHEMA + 1))
        store.write([(layout.META_SCHEMA, later)], sync=True)

    start_fails(home, f"schema {layout.SCHEMA + 1}", "store/Schema")


def test_a_damaged_database(home: Home) -> None:
    with Node(home.root) as node:
        node.start()
        assert node.stop() == 0
    with Store.open(home.database, create=False) as store:
        key, value = next(iter(store.scan(layout.STATE, layout.after(layout.STATE))))
        store.write([(key, value[:-1] + bytes([value[-1] ^ 1]))], sync=True)

    start_fails(home, "root", "node check")
    assert run_cli("--home", str(home.root), "node", "check").returncode == 1


def test_a_second_node_in_the_same_home(home: Home) -> None:
    with Node(home.root) as node:
        client = node.start()

        start_fails(home, "another node", "home/InUse")

        assert client.call("chain.status")["healthy"]
        assert node.stop() == 0


def test_an_old_journal_is_found_by_the_guard(home: Home) -> None:
    with Node(home.root) as node:
        client = node.start()
        wallet = client.wallet(new_key())
        client.call("dev.faucet", address=wallet.address_text, amount="1")
        node.kill()
    for path in home.journal.glob("*.journal"):
        path.write_bytes(b"")
    for path in sorted((home.database).iterdir()):
        path.unlink()
    home.database.rmdir()

    start_fails(home, "view", "--quarantine")

    with Node(home.root) as node:
        client = node.start("--quarantine")  # alone, it has nobody to wait for
        wallet = client.wallet(new_key())
        client.call("dev.faucet", address=wallet.address_text, amount="1")
        assert client.call("chain.status")["height"] >= 1
        assert node.stop() == 0
    with Node(home.root) as node:
        node.start()
        assert node.stop() == 0


def test_wrong_settings_name_file_key_and_expectation(home: Home) -> None:
    home.config.write_text("[rpc]\nlissten = 'x'\n", encoding="ascii")
    start_fails(home, "node.toml", "rpc.lissten", "rpc.listen", "config/UnknownKey")
    home.config.write_text("[rpc]\nbatch_max = 'many'\n", encoding="ascii")
    start_fails(home, "node.toml", "batch_max", "config/WrongValue")
    home.config.write_text("[rpc\n", encoding="ascii")
    start_fails(home, "node.toml", "config/NotToml")


def test_a_package_of_another_project(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "rpc"
    foreign.mkdir()
    source = Path(rpc.__file__ or "").parent
    for path in source.iterdir():
        if path.is_file():
            shutil.copy(path, foreign)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    words = ("rpc", "virtual environment", "node/ForeignPackage")
    start_fails(home, *words, directory=tmp_path)


def test_without_its_committee_a_node_answers_and_says_why_nothing_is_final(home: Home) -> None:
    genesis = read_genesis(home.genesis)
    others = [GenesisValidator(new_key().public_key, 1) for _ in range(3)]
    more = msgspec.structs.replace(genesis, validators=[*genesis.validators, *others])
    write_genesis(home.genesis, more)

    with Node(home.root) as node:
        status = node.start().call("chain.status")
        assert (status["healthy"], status["height"], status["peers"]) == (False, 0, 0)
        assert "validators with 1 of 4 votes are connected" in status["reason"]
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{node.url}/health")
        assert refused.value.code == 503
        refused.value.close()


def test_a_key_is_never_overwritten(home: Home) -> None:
    finished = run_cli("--home", str(home.root), "node", "init")

    assert finished.returncode == 1 and "never overwritten" in finished.stderr


SECRET = "a title that somebody regrets"


def files_with(directory: Path, text: str) -> list[Path]:
    return [path for path in directory.iterdir() if text.encode() in path.read_bytes()]


def test_maintenance_on_a_running_and_on_a_stopped_node(home: Home) -> None:
    with Node(home.root) as node:
        client = node.start()
        wallet = client.wallet(new_key())
        client.call("dev.faucet", address=wallet.address_text, amount=str(10**15))
        made = client.register(wallet, kind="text", content_hash="0x" + "11" * 32, title=SECRET)
        title = client.call("ip.get", ip=made.ids[0])["title"]
        assert title["text"] == SECRET
        assert files_with(home.database, SECRET)
        base = ("--home", str(home.root), "--json", "node")
        assert json.loads(run_cli(*base, "check").stdout)["ok"]
        before = run_cli(*base, "export").stdout
        assert json.loads(run_cli(*base, "erase", title["hash"]).stdout)["erased"] == title["hash"]
        assert "text" not in client.call("ip.get", ip=made.ids[0])["title"]
        assert files_with(home.database, SECRET) == []
        missing = run_cli(*base, "erase", title["hash"])
        assert json.loads(missing.stdout)["error"]["code"] == "node/NoBlob"
        assert json.loads(run_cli(*base, "reindex").stdout)["made"] > 0
        listed = client.call("ip.list", owner=wallet.address_text)["items"]
        assert [item["ip"] for item in listed] == made_ids(made.ids)
        assert node.stop() == 0
    assert json.loads(run_cli(*base, "check").stdout)["ok"]
    assert json.loads(before)["pairs"]


def made_ids(ids: tuple[str, ...]) -> list[str]:
    """Return ids as a list."""
    return list(ids)


def test_reset_keeps_keys_and_the_next_start_begins_anew(home: Home) -> None:
    with Node(home.root) as node:
        node.start()
        assert node.stop() == 0

    done = run_cli("--home", str(home.root), "node", "reset", "--keep-keys", "--yes")

    assert done.returncode == 0 and home.validator_key.exists()
    assert not home.database.exists()


def test_init_makes_a_home_that_starts(home: Home, tmp_path: Path) -> None:
    fresh = Home(tmp_path / "fresh")
    made = run_cli("--home", str(fresh.root), "--json", "node", "init")
    key = json.loads(made.stdout)["public_key"]
    genesis = tmp_path / "genesis.json"
    new = run_cli("genesis", "new", "--chain-id", "mine", "--validator", key, "--dev",
                  "--out", str(genesis))  # fmt: skip
    assert new.returncode == 0, new.stderr
    write_genesis(fresh.genesis, read_genesis(genesis))

    with Node(fresh.root) as node:
        assert node.start().call("chain.status")["chain_id"] == "mine"
        assert node.stop() == 0


def test_write_key_refuses_to_replace(tmp_path: Path) -> None:
    write_key(tmp_path / "key", new_key())

    with pytest.raises(Exception, match="home/KeyExists"):
        write_key(tmp_path / "key", new_key())
