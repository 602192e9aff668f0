"""A local network without its processes: directory, settings, ports, refusals, JSON.

Networks are made in temporary directories. Where a process is needed, it is one that holds a home's
lock and is no node.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chain.errors import Rejected
from chain.ids import address_of
from colophon.admin import SOCKET_NAME_BYTES_MAX, _short, listener_pid
from colophon.config import load_config
from colophon.home import Home, is_held, read_genesis, read_key
from colophon.testnet.layout import Layout, is_network, marker, open_layout
from colophon.testnet.make import ACCOUNTS, free_ports, make_network
from colophon.testnet.network import Network, require_ports
from colophon.testnet.process import NodeProcess, node_environment, wait_until
from colophon.testnet.status import Common, NodeStatus, compare
from tests.colophon.served import Node, colophon

TIME_MS = 1_700_000_000_000


def refused(act: Callable[[], object]) -> Rejected:
    with pytest.raises(Rejected) as caught:
        act()
    return caught.value


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make_network(tmp_path / "net", 4, TIME_MS)


# --- making -----------------------------------------------------------------------------------


def test_a_network_has_a_home_for_each_validator_of_one_genesis(layout: Layout) -> None:
    genesis = read_genesis(layout.genesis)

    homes = [layout.home(index) for index in range(4)]

    assert [read_genesis(home.genesis).hash() for home in homes] == [genesis.hash()] * 4
    keys = [read_key(home.validator_key).public_key for home in homes]
    assert [validator.public_key for validator in genesis.validators] == keys
    assert {validator.power for validator in genesis.validators} == {1}
    assert [home.faucet_key.exists() for home in homes] == [True, False, False, False]
    assert genesis.params.dev


def test_every_node_knows_its_own_ports_and_all_others(layout: Layout) -> None:
    homes = [layout.home(index) for index in range(4)]
    configs = [load_config(home.config, {}) for home in homes]
    names = [
        f"{read_key(home.validator_key).public_key.hex()}@{config.p2p.listen}"
        for home, config in zip(homes, configs, strict=True)
    ]

    listens = [config.rpc.listen for config in configs] + [c.p2p.listen for c in configs]

    assert len(set(listens)) == 8 and all(text.startswith("127.0.0.1:") for text in listens)
    for index, config in enumerate(configs):
        assert config.p2p.peers == [name for other, name in enumerate(names) if other != index]
        assert config.node.name == f"node{index}"
        assert config.verify.workers == 0


def test_the_accounts_own_money_and_their_keys_are_for_the_owner_only(layout: Layout) -> None:
    rich = {account.address for account in read_genesis(layout.genesis).accounts}

    paths = sorted(layout.accounts.iterdir())

    assert tuple(path.stem for path in paths) == ACCOUNTS
    assert all(address_of(read_key(path).public_key) in rich for path in paths)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in paths)
    assert layout.root.stat().st_mode & 0o077 == 0


def test_two_networks_are_never_the_same(tmp_path: Path) -> None:
    first, second = (make_network(tmp_path / name, 1, TIME_MS) for name in "ab")

    assert read_genesis(first.genesis).hash() != read_genesis(second.genesis).hash()


def test_a_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all my work")

    assert refused(lambda: make_network(tmp_path, 1, TIME_MS)).code == "testnet/NotEmpty"

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_empty_directory_is_filled_and_a_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")

    assert make_network(tmp_path / "empty", 1, TIME_MS).home(0).config.exists()
    assert refused(lambda: make_network(tmp_path / "file", 1, TIME_MS)).code == "testnet/NotEmpty"
    below = refused(lambda: make_network(tmp_path / "file" / "net", 1, TIME_MS))
    assert below.code == "testnet/NotWritable"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]


def test_ports_are_different_and_free() -> None:
    ports = free_ports(20)

    assert len(set(ports)) == 20
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))


# --- directory --------------------------------------------------------------------------------


def test_a_network_is_found_again(layout: Layout) -> None:
    assert open_layout(layout.root) == layout


def test_what_is_no_network_is_refused_with_what_to_do(tmp_path: Path) -> None:
    absent = refused(lambda: open_layout(tmp_path / "absent"))

    assert absent.code == "testnet/NoNetwork" and "testnet up" in absent.message
    for text in ("", "[]", '{"format": 2, "validators": 4}', '{"format": 1, "validators": 0}'):
        marker(tmp_path).write_text(text)
        assert refused(lambda: open_layout(tmp_path)).code == "testnet/UnknownForm", text


def test_nodes_count_from_0(layout: Layout) -> None:
    for index in (-1, 4):
        assert refused(lambda index=index: Network(layout).node(index)).code == "testnet/NoSuchNode"


def test_one_command_changes_a_network_at_a_time(layout: Layout) -> None:
    with layout.lock():
        assert refused(lambda: Network(layout).stop()).code == "testnet/Busy"
    assert Network(layout).stop() == []


def test_wiping_removes_what_was_made_and_nothing_else(layout: Layout) -> None:
    (layout.root / "receipts").mkdir()

    assert Network(layout).wipe(force=False) == ["receipts"]

    assert [path.name for path in layout.root.iterdir()] == ["receipts"]
    assert not is_network(layout.root)


def test_wiping_follows_no_link_out_of_the_network(layout: Layout, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    layout.home(3).root.rename(precious)
    layout.home(3).root.symlink_to(precious)

    Network(layout).wipe(force=False)

    assert (precious / "validator.key").exists()


# --- processes --------------------------------------------------------------------------------


@pytest.fixture
def impostor(layout: Layout) -> Iterator[Home]:
    """Return a home whose running.json names this process and whose lock another one holds."""
    home = layout.home(0)
    code = (
        "import sys; from pathlib import Path; from colophon.home import Home\n"
        "with Home(Path(sys.argv[1])).lock(): print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(home.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        holder.stdout.readline()
        # Maintenance of a stopped home, over what a killed node left: its number is another's now.
        home.running.write_text(json.dumps({"pid": holder.pid, "rpc": "http://127.0.0.1:1"}))
        yield home
        assert holder.poll() is None, "the process was ended, and it is no node"
        holder.stdin.close()


def test_a_process_that_is_not_proven_to_be_the_node_is_never_ended(impostor: Home) -> None:
    process = NodeProcess(impostor)

    assert process.is_there()
    assert process.kill() is False
    assert refused(lambda: process.stop(grace_s=0)).code == "testnet/Unproven"


def test_a_home_that_is_held_is_not_wiped(impostor: Home) -> None:
    network = Network(open_layout(impostor.root.parent))

    assert refused(lambda: network.wipe(force=False)).code == "testnet/Running"
    assert refused(lambda: network.up(attached=True)).code == "testnet/Running"
    assert refused(lambda: network.start([0])).code == "testnet/Running"
    assert impostor.validator_key.exists()


def test_a_left_over_file_names_no_node(layout: Layout) -> None:
    layout.home(0).running.write_text('{"pid": 1, "rpc": "http://127.0.0.1:1"}')
    process = NodeProcess(layout.home(0))

    assert (process.running(), process.is_there(), process.kill(), process.stop()) == (
        None, False, False, False,
    )  # fmt: skip


def test_asking_whether_a_home_is_held_does_not_keep_a_node_from_taking_it(layout: Layout) -> None:
    home = layout.home(0)
    with home.lock():
        assert is_held(home)
    assert not is_held(home)


def test_the_kernel_says_who_listens_however_deep_the_socket_lies(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * SOCKET_NAME_BYTES_MAX)
    deep.mkdir()
    path = deep / "admin.sock"
    assert listener_pid(path) is None
    with socket.socket(socket.AF_UNIX) as server:
        with _short(path) as name:
            server.bind(name)
        assert path.exists() and listener_pid(path) is None, "bound, but nobody listens"
        server.listen()
        assert listener_pid(path) is not None
    assert listener_pid(path) is None, "a left-over socket"


@pytest.mark.parametrize("setting", ["rpc", "p2p"])
def test_a_port_that_somebody_has_is_named_with_what_to_do(layout: Layout, setting: str) -> None:
    config = load_config(layout.home(2).config, {})
    listen: str = getattr(config, setting).listen
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(listen.rpartition(":")[2])))
        taken.listen()
        refusal = refused(lambda: require_ports(Network(layout).nodes))

    assert refusal.code == "testnet/PortTaken"
    for word in (listen, f"{setting}.listen", "node2", "node.toml"):
        assert word in refusal.message
    require_ports(Network(layout).nodes)


def test_a_node_is_not_started_with_what_belongs_to_one_node() -> None:
    environment = {
        "PATH": "/bin", "COLOPHON_RPC__LISTEN": "127.0.0.1:1", "COLOPHON_P2P__PEERS": "[]",
        "COLOPHON_NODE": "http://x", "COLOPHON_HOME": "/x", "COLOPHON_PASSPHRASE": "secret",
        "COLOPHON_NODE__NAME": "x", "COLOPHON_NODE__LOG_LEVEL": "debug", "RPC__LISTEN": "kept",
    }  # fmt: skip

    assert node_environment(environment) == {
        "PATH": "/bin", "COLOPHON_NODE__LOG_LEVEL": "debug", "RPC__LISTEN": "kept",
    }  # fmt: skip


def test_waiting_ends_with_the_condition_or_at_the_deadline() -> None:
    results = iter([None, None, 7])

    assert wait_until(lambda: next(results), time.monotonic() + 60) == 7
    assert wait_until(lambda: None, time.monotonic()) is None


# --- status -----------------------------------------------------------------------------------


def stopped(index: int) -> NodeStatus:
    return NodeStatus(index, "http://127.0.0.1:1", None, None)


def answering(index: int, node: Node, height: int) -> NodeStatus:
    with node.client() as client:
        status = client.call("chain.status")
    return NodeStatus(index, node.url, 1, {**status, "height": height})


def test_nodes_are_compared_below_the_lowest_height_of_those_that_answer(node: Node) -> None:
    with node.client() as client:
        header = client.call("chain.header", height=1)["header"]

    common = compare([answering(0, node, 2), stopped(1), answering(2, node, 1)])

    assert common is not None and common.agree and common.height == 0
    below = (header["parent_id"], header["parent_state_root"])
    assert common.blocks == {0: below, 2: below}


def test_without_an_answer_there_is_nothing_to_compare(node: Node) -> None:
    assert compare([]) is None
    assert compare([stopped(0)]) is None
    assert compare([answering(0, node, 0)]) is None


def test_a_difference_is_told() -> None:
    form = Common(7, {0: ("0xa", "0xb"), 1: ("0xa", "0xc")}).form()

    assert (form["agree"], form["block_id"], form["state_root"]) == (False, None, None)
    assert form["nodes"][1] == {"index": 1, "block_id": "0xa", "state_root": "0xc"}


# --- commands ---------------------------------------------------------------------------------


def run(layout: Layout, *arguments: str) -> Any:
    return colophon("testnet", *arguments, "--dir", str(layout.root), home=layout.root / "none")


def test_the_status_of_a_stopped_network_is_json_for_programs(layout: Layout) -> None:
    done = run(layout, "status", "--json")

    form = json.loads(done.stdout)
    assert done.exit_code == 0
    assert [node["index"] for node in form["nodes"]] == [0, 1, 2, 3]
    for node in form["nodes"]:
        assert node["rpc"].startswith("http://127.0.0.1:")
        assert (node["running"], node["height"], node["pid"]) == (False, None, None)
    assert [account["name"] for account in form["accounts"]] == list(ACCOUNTS)
    key = read_key(Path(form["accounts"][0]["key_file"]))
    assert form["accounts"][0]["seed"] == "0x" + key.seed.hex()
    assert form["common"] is None


def test_the_status_of_a_stopped_network_is_a_table_for_people(layout: Layout) -> None:
    done = run(layout, "status")

    assert done.stdout.count("not running") == 4 and "agree" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("kill", "0"), "testnet/NotRunning"),
        (("stop",), "testnet/NotRunning"),
        (("stop", "3"), "testnet/NotRunning"),
        (("stop", "0", "3"), "testnet/NotRunning"),
        (("kill", "1", "0"), "testnet/NotRunning"),
        (("kill", "4"), "testnet/NoSuchNode"),
        (("kill", "0", "4"), "testnet/NoSuchNode"),
        (("stop", "0", "4"), "testnet/NoSuchNode"),
        (("start", "0", "4"), "testnet/NoSuchNode"),
        (("start", "4"), "testnet/NoSuchNode"),
        (("logs", "9"), "testnet/NoSuchNode"),
        (("up", "--validators", "7"), "testnet/OtherSize"),
    ],
)
def test_a_refusal_has_a_code_and_exit_code_1(
    layout: Layout, arguments: tuple[str, ...], code: str
) -> None:
    done = run(layout, *arguments, "--json")

    assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (1, code)


@pytest.mark.parametrize(
    "arguments",
    [
        ("up", "--validators", "0"),
        ("start", "some"),
        ("start", "0", "all"),
        ("kill",),
        ("stop", "0", "some"),
        ("logs", "0", "--follow"),
    ],
)
def test_wrong_usage_is_exit_code_2(layout: Layout, arguments: tuple[str, ...]) -> None:
    assert run(layout, *arguments, "--json").exit_code == 2


def test_wiping_asks_first(layout: Layout) -> None:
    assert run(layout, "wipe").exit_code == 1
    assert is_network(layout.root)

    assert run(layout, "wipe", "--yes").exit_code == 0
    assert not layout.root.exists()


def test_the_last_lines_of_a_log_are_shown(layout: Layout) -> None:
    log = NodeProcess(layout.home(1)).log
    log.write_text("".join(f"line {number}\n" for number in range(100)) + "\n")

    assert run(layout, "logs", "1", "--lines", "2").stdout == "line 98\nline 99\n"
    form = json.loads(run(layout, "logs", "1", "--lines", "1", "--json").stdout)
    assert form == {"node": 1, "file": str(log), "lines": ["line 99"]}
    assert json.loads(run(layout, "logs", "0", "--json").stdout)["lines"] == []


def test_a_faucet_is_asked_where_it_is(layout: Layout) -> None:
    done = run(layout, "faucet", "colo1x")

    assert done.exit_code == 1 and "no node answers" in done.stderr
