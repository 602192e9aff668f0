"""The store: LevelDB, its double in memory, and the double that crashes.

What the interface promises is run against all three. What a directory can be (missing, somebody
else's, locked, damaged, not writable) is made for real in a temporary directory; permissions are
simulated, because tests may run as root. Cut and damaged logs show which writes survive.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import state.store
from chain.errors import Corruption, DiskFault, Rejected
from state.store import MARKER, MARKER_NAME, NICENESS, KeyValueStore, Put, Store, prefix_end
from tests.state.faulty_store import Crash, FaultyStore, SimulatedCrash
from tests.state.memory_store import MemoryStore

short = st.binary(max_size=2)
batches = st.lists(st.lists(st.tuples(short, st.none() | short), max_size=6), max_size=8)


@pytest.fixture(params=["leveldb", "memory", "faulty"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeyValueStore]:
    makers: dict[str, Callable[[], KeyValueStore]] = {
        "leveldb": lambda: Store.open(tmp_path / "db", create=True),
        "memory": MemoryStore,
        "faulty": FaultyStore,
    }
    opened = makers[request.param]()
    yield opened
    opened.close()


def everything(store: KeyValueStore) -> list[tuple[bytes, bytes]]:
    return list(store.scan(b"", None))


def refusal(path: Path, *, create: bool) -> Rejected:
    with pytest.raises(Rejected) as caught:
        Store.open(path, create=create)
    return caught.value


def filled(path: Path, writes: int) -> None:
    with Store.open(path, create=True) as store:
        for n in range(writes):
            store.write([(b"%04d" % n, bytes([n % 256]) * 50)], sync=True)


def log_of(path: Path) -> Path:
    """The one log file that the last open has written to."""
    return max(path.glob("*.log"))


# What every store does.


def test_a_written_value_is_read_and_a_deleted_one_is_gone(store: KeyValueStore) -> None:
    store.write([(b"a", b"1"), (b"b", b""), (b"", b"empty key")], sync=True)
    store.write([(b"a", None), (b"never there", None)], sync=False)

    assert [store.get(key) for key in (b"a", b"b", b"", b"c")] == [None, b"", b"empty key", None]


def test_the_last_of_equal_keys_in_a_batch_counts(store: KeyValueStore) -> None:
    store.write([(b"a", b"1"), (b"a", None), (b"a", b"2"), (b"b", b"1"), (b"b", None)], sync=True)

    assert everything(store) == [(b"a", b"2")]


def test_a_batch_whose_maker_fails_writes_nothing(store: KeyValueStore) -> None:
    def puts() -> Iterator[Put]:
        yield b"a", b"1"
        raise KeyError

    with pytest.raises(KeyError):
        store.write(puts(), sync=True)

    assert everything(store) == []


def test_a_scan_is_ordered_by_bytes_and_half_open(store: KeyValueStore) -> None:
    keys = [b"", b"\x00", b"a", b"a\x00", b"ab", b"b", b"\xff", b"\xff\xff"]
    store.write([(key, key) for key in reversed(keys)], sync=True)

    assert [key for key, _ in store.scan(b"", None)] == keys
    assert [key for key, _ in store.scan(b"a", b"b")] == [b"a", b"a\x00", b"ab"]
    assert [key for key, _ in store.scan(b"a", b"b", reverse=True)] == [b"ab", b"a\x00", b"a"]
    assert [key for key, _ in store.scan(b"aa", None, reverse=True)] == keys[:3:-1]
    assert list(store.scan(b"b", b"a")) == []


def test_a_scan_shows_the_store_as_it_was_at_the_call(store: KeyValueStore) -> None:
    store.write([(b"a", b"1"), (b"b", b"1")], sync=True)
    scan = store.scan(b"", None)
    store.write([(b"a", b"2"), (b"b", None), (b"c", b"2")], sync=True)

    assert list(scan) == [(b"a", b"1"), (b"b", b"1")]


def test_a_snapshot_reads_the_store_as_it_was(store: KeyValueStore) -> None:
    store.write([(b"a", b"1"), (b"b", b"1")], sync=True)
    view = store.snapshot()
    store.write([(b"a", b"2"), (b"b", None), (b"c", b"2")], sync=True)
    store.compact()

    assert [view.get(key) for key in (b"a", b"b", b"c")] == [b"1", b"1", None]
    assert list(view.scan(b"", None)) == [(b"a", b"1"), (b"b", b"1")]
    assert list(view.scan(b"", b"b", reverse=True)) == [(b"a", b"1")]
    assert [store.get(key) for key in (b"a", b"b", b"c")] == [b"2", None, b"2"]


def test_compaction_keeps_everything(store: KeyValueStore) -> None:
    store.write([(b"%d" % n, b"x") for n in range(100)], sync=True)
    store.write([(b"%d" % n, None) for n in range(90)], sync=True)

    store.compact()

    assert [key for key, _ in everything(store)] == [b"%d" % n for n in range(90, 100)]


def test_what_is_erased_is_in_no_file(tmp_path: Path) -> None:
    others = [(b"%d" % n, b"kept") for n in range(100)]
    with Store.open(tmp_path, create=True) as store:
        for secret in (b"still in memory", b"in a file", b"deep below"):
            store.write([*others, (b"5x", secret)], sync=True)
            if secret != b"still in memory":
                store.compact()
            assert any(secret in path.read_bytes() for path in tmp_path.iterdir())

            store.erase(b"5x")

            assert store.get(b"5x") is None
            assert not any(secret in path.read_bytes() for path in tmp_path.iterdir())
            assert everything(store) == sorted(others)


@given(batches, short, short)
@settings(deadline=None)
def test_the_doubles_hold_what_a_dict_holds(
    batches: list[list[Put]], start: bytes, stop: bytes
) -> None:
    model: dict[bytes, bytes] = {}
    memory, faulty = MemoryStore(), FaultyStore()
    for puts in batches:
        memory.write(puts, sync=False)
        faulty.write(puts, sync=False)
        model = {k: v for k, v in {**model, **dict(puts)}.items() if v is not None}

        assert everything(memory) == everything(faulty) == sorted(model.items())

    expected = [(key, model[key]) for key in sorted(model) if start <= key < stop]
    assert list(memory.scan(start, stop)) == expected


@given(batches=batches)
@settings(deadline=None, max_examples=15)
def test_leveldb_holds_what_a_dict_holds_after_every_restart(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Put]]
) -> None:
    path = tmp_path_factory.mktemp("db")
    memory = MemoryStore()
    for puts in batches:
        memory.write(puts, sync=False)
        with Store.open(path, create=True) as store:
            store.write(puts, sync=False)

            assert everything(store) == everything(memory)


@given(st.binary(max_size=3), st.binary(max_size=4))
def test_prefix_end_is_right_after_the_prefix(prefix: bytes, key: bytes) -> None:
    end = prefix_end(prefix)

    assert (prefix <= key and (end is None or key < end)) == key.startswith(prefix)


# What a directory can be.


def test_a_store_is_there_after_a_restart(tmp_path: Path) -> None:
    filled(tmp_path / "new" / "db", 3)

    with Store.open(tmp_path / "new" / "db", create=False) as store:
        assert len(everything(store)) == 3


def test_nothing_is_made_where_nothing_is_unless_asked_for(tmp_path: Path) -> None:
    error = refusal(tmp_path / "db", create=False)

    assert error.code == "store/NotADatabase"
    assert str(tmp_path / "db") in error.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("create", [False, True])
def test_somebody_elses_directory_is_left_alone(tmp_path: Path, create: bool) -> None:
    (tmp_path / "thesis.txt").write_text("mine")

    assert refusal(tmp_path, create=create).code == "store/NotADatabase"
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("create", [False, True])
def test_a_file_is_not_a_database(tmp_path: Path, create: bool) -> None:
    (tmp_path / "file").write_bytes(b"")

    assert refusal(tmp_path / "file", create=create).code == "store/NotADatabase"
    assert refusal(tmp_path / "file" / "db", create=create).code == "store/NotADatabase"


@pytest.mark.parametrize("release", [2, 10, 999])
def test_a_database_of_another_release_is_refused(tmp_path: Path, release: int) -> None:
    filled(tmp_path, 1)
    (tmp_path / MARKER_NAME).write_bytes(b"colophon store %d\n" % release)

    error = refusal(tmp_path, create=True)

    assert error.code == "store/NotADatabase"
    assert "another release" in error.message


@pytest.mark.parametrize("written", [b"", MARKER[:5]])
def test_a_crash_while_the_marker_was_written_does_no_harm(tmp_path: Path, written: bytes) -> None:
    (tmp_path / MARKER_NAME).write_bytes(written)

    with Store.open(tmp_path, create=True) as store:
        assert everything(store) == []

    assert (tmp_path / MARKER_NAME).read_bytes() == MARKER


@pytest.mark.parametrize(
    "content",
    [bytes([*MARKER[:at], MARKER[at] ^ 1 << bit, *MARKER[at + 1 :]])
     for at in range(len(MARKER)) for bit in range(8)]
    + [MARKER[:size] for size in range(len(MARKER))]
    + [MARKER + b"\n", bytes(len(MARKER)), b"\xff" * 100],
)  # fmt: skip
def test_a_damaged_marker_is_said_to_be_damaged(tmp_path: Path, content: bytes) -> None:
    filled(tmp_path, 1)
    (tmp_path / MARKER_NAME).write_bytes(content)

    with pytest.raises(Corruption, match="is damaged") as caught:
        Store.open(tmp_path, create=True)

    assert "\n" not in str(caught.value)
    assert (tmp_path / MARKER_NAME).read_bytes() == content


def test_a_file_of_that_name_alone_makes_no_database(tmp_path: Path) -> None:
    (tmp_path / MARKER_NAME).write_bytes(b"Set in Garamond.")

    assert refusal(tmp_path, create=True).code == "store/NotADatabase"
    assert (tmp_path / MARKER_NAME).read_bytes() == b"Set in Garamond."


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness per thread")
def test_leveldbs_thread_gives_way_and_the_caller_does_not(tmp_path: Path) -> None:
    """LevelDB has one thread in a process, which an earlier test may have begun: ask another."""
    script = (
        "import os, sys; from contextlib import suppress; from pathlib import Path\n"
        "from state.store import Store\n"
        "with Store.open(Path(sys.argv[1]), create=True):\n"
        "    for thread in sorted(map(int, os.listdir('/proc/self/task'))):\n"
        "        with suppress(ProcessLookupError):  # the thread that opened is ending\n"
        "            print(os.getpriority(os.PRIO_PROCESS, thread))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "store")]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)

    first, *others = map(int, answer.stdout.split())
    assert set(others) == {first + NICENESS}


def test_a_second_opener_is_refused_and_does_not_break_the_firsts_lock(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from chain.errors import Rejected\n"
        "from state.store import Store\n"
        "try: Store.open(Path(sys.argv[1]), create=False)\n"
        "except Rejected as error: print(error.code)\n"
    )
    with Store.open(tmp_path, create=True) as store:
        assert refusal(tmp_path, create=False).code == "store/Locked"

        other = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )

        assert other.stdout == "store/Locked\n"
        store.write([(b"still", b"mine")], sync=True)

    with Store.open(tmp_path, create=False) as store:
        assert store.get(b"still") == b"mine"
        store.close()
        store.close()


def test_a_directory_that_cannot_be_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)

    error = refusal(tmp_path / "db", create=True)

    assert error.code == "store/NotWritable"
    assert "Permission denied" in error.message


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "home/DiskFull"),
        (errno.EDQUOT, "home/DiskFull"),
        (errno.EIO, "home/DiskRefused"),
        (errno.EROFS, "home/DiskRefused"),
    ],
)
def test_a_disk_that_says_no_when_the_store_is_opened_is_told_by_its_code(
    number: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refused)

    with pytest.raises(DiskFault) as fault:
        Store.open(tmp_path / "db", create=True)

    assert fault.value.code == code


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from state.store import Store
from chain.errors import DiskFault
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store.open(Path(sys.argv[1]), create=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    for number in range(100):
        store.write([(bytes([number]), bytes(1_000))], sync=True)
except DiskFault as fault:
    print(fault.code, fault)
"""


def test_a_write_that_the_disk_refuses_is_a_fault_of_the_disk(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "db")],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip

    assert done.stdout.startswith("home/DiskRefused the disk refused"), done.stdout
    assert "File too large" in done.stdout


def test_leveldbs_own_refusal_to_write_says_so_and_unlocks(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    (tmp_path / "LOCK").unlink()
    (tmp_path / "LOCK").mkdir()

    assert refusal(tmp_path, create=False).code == "store/NotWritable"
    (tmp_path / "LOCK").rmdir()
    Store.open(tmp_path, create=False).close()


def test_a_missing_plyvel_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state.store, "plyvel", None)

    error = refusal(tmp_path / "db", create=True)

    assert error.code == "store/PlyvelMissing"
    assert "libleveldb-dev" in error.message


# What a crash or a bad disk leaves.


@pytest.mark.parametrize("lost", [1, 7, 30, 90, 400])
def test_a_torn_end_of_the_log_loses_the_newest_writes_only(tmp_path: Path, lost: int) -> None:
    filled(tmp_path, 20)
    log = log_of(tmp_path)
    os.truncate(log, log.stat().st_size - lost)

    with Store.open(tmp_path, create=False) as store:
        keys = [key for key, _ in everything(store)]

    assert keys == [b"%04d" % n for n in range(len(keys))]
    assert 10 < len(keys) < 20


def test_a_damaged_log_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    filled(tmp_path, 20)
    log = log_of(tmp_path)
    raw = bytearray(log.read_bytes())
    raw[len(raw) // 2] ^= 1
    log.write_bytes(raw)

    with pytest.raises(Corruption, match="damaged"):
        Store.open(tmp_path, create=False)


def test_a_damaged_table_stops_every_read(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        store.write([(b"%04d" % n, os.urandom(50)) for n in range(2000)], sync=True)
        store.compact()
    table = max(tmp_path.glob("*.ldb"))
    raw = bytearray(table.read_bytes())
    raw[50] ^= 1
    table.write_bytes(raw)

    with Store.open(tmp_path, create=False) as store:
        with pytest.raises(Corruption, match="reading the database"):
            store.get(b"0000")
        with pytest.raises(Corruption, match="reading the database"):
            store.snapshot().get(b"0000")
        with pytest.raises(Corruption, match="reading the database"):
            list(store.snapshot().scan(b"", None))
        with pytest.raises(Corruption, match="reading the database"):
            everything(store)


def test_a_lost_table_of_contents_does_not_begin_an_empty_database(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    (tmp_path / "CURRENT").unlink()

    with pytest.raises(Corruption, match="CURRENT"):
        Store.open(tmp_path, create=True)


# The store that crashes.


@pytest.mark.parametrize(("after", "survive"), [(False, [b"1"]), (True, [b"1", b"2"])])
def test_a_crash_at_a_synced_write_comes_before_or_after_it(
    after: bool, survive: list[bytes]
) -> None:
    store = FaultyStore(Crash(write=2, after=after))
    store.write([(b"1", b"")], sync=True)

    with pytest.raises(SimulatedCrash):
        store.write([(b"2", b"")], sync=True)
    with pytest.raises(SimulatedCrash):
        store.get(b"1")

    assert [key for key, _ in everything(store.reopen())] == survive


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_unsynced_batches_are_lost_from_the_end(kept: int) -> None:
    store = FaultyStore()
    store.write([(b"1", b"")], sync=False)
    store.write([(b"2", b"")], sync=True)
    store.write([(b"3", b"")], sync=False)
    store.write([(b"4", b""), (b"1", None)], sync=False)
    store.crash()

    left = [key for key, _ in everything(store.reopen(kept=kept))]

    assert left == [[b"1", b"2"], [b"1", b"2", b"3"], [b"2", b"3", b"4"], [b"2", b"3", b"4"]][kept]


def test_writes_and_syncs_are_counted_from_the_last_restart() -> None:
    store = FaultyStore()
    store.write([(b"1", b"")], sync=True)

    store = store.reopen(crash=Crash(write=2))
    store.write([(b"2", b"")], sync=False)

    assert (store.writes, store.syncs, store.unsynced) == (1, 0, 1)
    with pytest.raises(SimulatedCrash):
        store.write([], sync=True)
