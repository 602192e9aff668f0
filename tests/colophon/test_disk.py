"""The disk of this machine: what it asks the system for, and what it says of a refusal."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chain.errors import DiskFault
from colophon.disk import Disk, File
from colophon.home import new_key, write_key
from colophon.keystore import Keystore

from .recording_disk import RecordingDisk


def test_written_bytes_are_asked_to_be_durable_in_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fdatasync", lambda file: synced.append(os.pread(file, 100, 0)))
    disk = Disk()
    file = disk.open(tmp_path / "file")

    disk.write(file, b"promise", 2)
    disk.sync(file)

    assert synced == [b"\0\0promise"]
    disk.close(file)


def test_names_are_asked_to_be_durable_in_every_directory_that_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))

    Disk().make_directory(tmp_path / "data" / "journal")
    Disk().sync_directory(tmp_path / "data" / "journal")

    places = (tmp_path, tmp_path / "data", tmp_path / "data" / "journal")
    assert synced == [place.stat().st_ino for place in places]


def test_a_write_that_the_system_cuts_short_is_carried_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: whole(file, data[:3], at))
    disk = Disk()
    file = disk.open(tmp_path / "file")

    disk.write(file, b"0123456789", 0)

    assert disk.read(tmp_path / "file") == b"0123456789"
    disk.close(file)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "home/DiskFull"),
        (errno.EDQUOT, "home/DiskFull"),
        (errno.EROFS, "home/DiskRefused"),
        (errno.EIO, "home/DiskRefused"),
        (errno.EACCES, "home/DiskRefused"),
    ],
)
@pytest.mark.parametrize(
    ("call", "act"),
    [
        ("open", lambda disk, file: disk.open(file.path)),
        ("ftruncate", lambda disk, file: disk.cut(file, 0)),
        ("pwrite", lambda disk, file: disk.write(file, b"promise", 0)),
        ("fdatasync", lambda disk, file: disk.sync(file)),
        ("fsync", lambda disk, file: disk.sync_directory(file.path.parent)),
        ("mkdir", lambda disk, file: disk.make_directory(file.path.parent / "new")),
        ("unlink", lambda disk, file: disk.remove(file.path)),
        ("replace", lambda disk, file: disk.rename(file.path, file.path)),
        ("link", lambda disk, file: disk.link(file.path, file.path)),
    ],
)
def test_a_refusal_names_the_file_and_its_code(
    call: str, act: object, number: int, code: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    disk = Disk()
    file = disk.open(tmp_path / "file")
    monkeypatch.setattr(os, call, refuse)

    with pytest.raises(DiskFault) as fault:
        act(disk, File(file.path, file.descriptor))  # type: ignore[operator]

    assert fault.value.code == code
    assert str(tmp_path) in fault.value.message
    monkeypatch.undo()
    disk.close(file)


class PowerCut(Exception):
    """Nothing happens after it."""


class CutShort(RecordingDisk):
    """A disk whose machine loses power at one of the operations."""

    left = 1_000

    def _begin(self, what: str, path: Path) -> None:
        super()._begin(what, path)
        self.left -= 1
        if self.left < 0:
            raise PowerCut


PATH = Path("/home/file")


def outcomes(act: Callable[[Disk], None], before: dict[Path, bytes]) -> list[bytes]:
    """Return what a power cut at each operation leaves of the file, then what the whole leaves."""
    found = []
    for left in itertools.count():
        disk = CutShort(before)
        disk.left = left
        with contextlib.suppress(PowerCut):
            act(disk)
            return [*found, disk.after_power_cut().read(PATH)]
        found.append(disk.after_power_cut().read(PATH))
    raise AssertionError


def test_a_power_cut_leaves_the_old_file_or_the_new_one() -> None:
    found = outcomes(lambda disk: disk.put(PATH, b"new"), {PATH: b"old"})

    assert set(found) == {b"old", b"new"}
    assert found[-1] == b"new", "what was reported is durable"


def test_a_power_cut_leaves_no_part_of_a_new_file() -> None:
    found = outcomes(lambda disk: disk.put_new(PATH, b"new"), {})

    assert set(found) == {b"", b"new"}
    assert found[-1] == b"new", "what was reported is durable"


def test_a_new_file_takes_no_others_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")

    with pytest.raises(FileExistsError):
        Disk().put_new(tmp_path / "file", b"new")

    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_a_key_that_was_reported_survives_a_power_cut() -> None:
    disk, key = RecordingDisk(), new_key()

    write_key(PATH, key, disk)
    Keystore(PATH.parent, disk).add("alice", key, "pass")

    left = disk.after_power_cut()
    assert key.seed.hex() in left.read(PATH).decode()
    assert key.public_key.hex() in left.read(PATH.parent / "alice.json").decode()
