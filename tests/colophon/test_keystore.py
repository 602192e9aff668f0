"""The keystore: encrypted files, 24 words, and refusals that say what to do."""

from __future__ import annotations

import json

import pytest

from chain.errors import Rejected
from colophon import keystore
from colophon.home import new_key
from colophon.keystore import Keystore, key_from_words, words_of

ABANDON = " ".join(["abandon"] * 23 + ["art"])
"""The test vector of BIP-39 for 32 zero bytes."""


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(keystore, "SCRYPT_N", 2)
    return Keystore(tmp_path / "keys")


def test_a_key_comes_back_with_its_passphrase(store):
    key = new_key()

    info = store.add("alice", key, "pass")

    assert store.unlock("alice", "pass").seed == key.seed
    assert store.list() == [info] == [store.show("alice")]


def test_the_seed_is_not_in_the_file(store, tmp_path):
    key = new_key()
    store.add("alice", key, "pass")
    path = tmp_path / "keys" / "alice.json"

    assert key.seed.hex() not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_keys_are_listed_by_name(store):
    for name in ("bob", "alice"):
        store.add(name, new_key(), "pass")

    assert [info.name for info in store.list()] == ["alice", "bob"]


def test_the_work_factor_is_no_toy():
    assert keystore.SCRYPT_N == 2**15


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (lambda s: s.unlock("alice", "Pass"), "key/WrongPassphrase"),
        (lambda s: s.unlock("nobody", "pass"), "key/NotFound"),
        (lambda s: s.show("nobody"), "key/NotFound"),
        (lambda s: s.add("alice", new_key(), "pass"), "key/Exists"),
        (lambda s: s.add("../alice", new_key(), "pass"), "key/BadName"),
        (lambda s: s.add("", new_key(), "pass"), "key/BadName"),
        (lambda s: s.show("a/b"), "key/BadName"),
    ],
)
def test_a_refusal_has_its_code(store, act, code):
    store.add("alice", new_key(), "pass")

    with pytest.raises(Rejected) as caught:
        act(store)

    assert caught.value.code == code


@pytest.mark.parametrize(
    ("content", "code"),
    [("nonsense", "key/Damaged"), ('{"version": 2}', "key/Version")],
)
def test_a_file_that_is_no_key_is_named(store, tmp_path, content, code):
    store.add("alice", new_key(), "pass")
    (tmp_path / "keys" / "alice.json").write_text(content)

    with pytest.raises(Rejected) as caught:
        store.show("alice")

    assert caught.value.code == code


def test_a_changed_file_does_not_unlock(store, tmp_path):
    store.add("alice", new_key(), "pass")
    path = tmp_path / "keys" / "alice.json"
    form = json.loads(path.read_text())
    form["public_key"] = "0x" + new_key().public_key.hex()
    path.write_text(json.dumps(form))

    with pytest.raises(Rejected) as caught:
        store.unlock("alice", "pass")

    assert caught.value.code == "key/Damaged"


def test_words_are_the_seed():
    key = new_key()

    assert len(words_of(key).split()) == 24
    assert key_from_words("  " + words_of(key).replace(" ", "\n")).seed == key.seed
    assert key_from_words(ABANDON).seed == bytes(32)


@pytest.mark.parametrize(
    "words",
    ["", "abandon", ABANDON.replace("art", "zoo"), ABANDON.replace("art", "colophon"),
     " ".join(["abandon"] * 11 + ["about"])],
)  # fmt: skip
def test_words_that_are_none_are_refused(words):
    with pytest.raises(Rejected) as caught:
        key_from_words(words)

    assert caught.value.code == "key/BadWords"
