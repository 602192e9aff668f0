"""A served world and a home with two keys, for the tests of clients and commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from colophon import keystore
from tests.colophon.served import ALICE, BOB, Node, make_keys


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as served:
        yield served


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home with the keys alice and bob; scrypt is cheap in tests."""
    monkeypatch.setattr(keystore, "SCRYPT_N", 2)
    make_keys(tmp_path / "home", alice=ALICE, bob=BOB)
    return tmp_path / "home"
