"""node.toml: defaults and file agree, the environment overrides, mistakes are named."""

from __future__ import annotations

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from chain.errors import Rejected
from colophon.config import Config, load_config, parse_address

NODE_TOML = Path(__file__).parents[2] / "node.toml"


def code_of(path, environment=None):
    with pytest.raises(Rejected) as caught:
        load_config(path, environment or {})
    return caught.value.code, caught.value.message


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "node.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_commented_file_is_exactly_the_defaults():
    form = tomllib.loads(NODE_TOML.read_text(encoding="utf-8"))

    assert form == msgspec.to_builtins(Config())


def test_every_setting_of_the_file_has_a_comment():
    lines = NODE_TOML.read_text(encoding="utf-8").splitlines()

    for above, line in pairwise(lines):
        if re.match(r"[a-z_]+ = ", line):
            assert above.startswith("# "), f"{line} has no comment"


def test_no_file_means_defaults():
    assert load_config(None, {}) == Config()


def test_a_file_may_say_little(written):
    config = load_config(written("[rpc]\nbatch_max = 7\n"), {})

    assert config.rpc.batch_max == 7
    assert config.mempool == Config().mempool


def test_the_environment_overrides_the_file(written):
    path = written('[node]\nname = "file"\n')
    environment = {
        "COLOPHON_NODE__NAME": "environment",
        "COLOPHON_RPC__BATCH_MAX": "9",
        "COLOPHON_CONSENSUS__QUARANTINE": "true",
        "COLOPHON_RPC__ALLOWED_ORIGINS": '["https://example.org"]',
        "COLOPHON_HOME": "ignored",
        "PATH": "ignored",
    }

    config = load_config(path, environment)

    assert config.node.name == "environment"
    assert config.rpc.batch_max == 9
    assert config.consensus.quarantine is True
    assert config.rpc.allowed_origins == ["https://example.org"]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("[rcp]\n", "config/UnknownKey", "did you mean rpc?"),
        ("[rpc]\nlisten_on = 1\n", "config/UnknownKey", "did you mean rpc.listen?"),
        ("rpc = 3\n", "config/WrongValue", "must be a section"),
        ('[rpc]\nbatch_max = "7"\n', "config/WrongValue", "rpc.batch_max"),
        ("[rpc]\nbatch_max = 0\n", "config/WrongValue", "rpc.batch_max"),
        ('[node]\nlog_level = "loud"\n', "config/WrongValue", "node.log_level"),
        ('[rpc]\nlisten = "here"\n', "config/WrongValue", "host:port"),
        ("[rpc\n", "config/NotToml", "node.toml"),
    ],
)
def test_a_mistake_names_file_and_key(written, text, code, words):
    found, message = code_of(written(text))

    assert found == code
    assert words in message


def test_a_missing_file_is_named(tmp_path):
    code, message = code_of(tmp_path / "absent.toml")

    assert code == "config/NoFile"
    assert "absent.toml" in message


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("COLOPHON_RPC__BATCH", "1", "config/UnknownKey"),
        ("COLOPHON_RPC__BATCH_MAX", "many", "config/WrongValue"),
        ("COLOPHON_RPC__BATCH_MAX", "0", "config/WrongValue"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(name, value, code):
    found, message = code_of(None, {name: value})

    assert found == code
    assert name in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:26657", ("::1", 26657)), ("h:1", ("h", 1))],
)
def test_an_address_is_host_and_port(text, expected):
    assert parse_address(text, "x") == expected


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:x", "host:65536"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(Rejected):
        parse_address(text, "x")
