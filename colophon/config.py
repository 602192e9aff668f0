"""node.toml: every setting with type, default and effect; environment variables override.

The commented file at the repository's root is the reference; a test holds both together.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from chain.errors import Rejected

ENVIRONMENT_PREFIX = "COLOPHON_"

Positive = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[int, msgspec.Meta(ge=0)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the file's sections."""


class NodeSection(Section, frozen=True):
    """Name and log."""

    name: Annotated[str, msgspec.Meta(max_length=64)] = "node"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class RpcSection(Section, frozen=True):
    """Where and how much the node answers."""

    listen: str = "127.0.0.1:26657"
    body_bytes_max: Positive = 1_048_576
    batch_max: Positive = 100
    connections_max: Positive = 1_000
    subscriptions_max: Positive = 32
    queue_max: Positive = 1_000
    requests_per_second: NotNegative = 0
    allowed_origins: list[str] = msgspec.field(default_factory=list)


class P2pSection(Section, frozen=True):
    """Where other nodes are, and how many may come."""

    listen: str = "127.0.0.1:26656"
    address: Annotated[str, msgspec.Meta(max_length=255)] = ""
    peers: list[str] = msgspec.field(default_factory=list)
    inbound_max: Positive = 64
    per_address_max: Positive = 16
    queue_bytes_max: Positive = 8_388_608
    dial_retry_ms_max: Positive = 30_000
    ping_ms: Positive = 5_000
    idle_ms: Positive = 20_000
    ban_ms: Positive = 3_600_000


class MempoolSection(Section, frozen=True):
    """How much may wait for a block."""

    transactions_max: Positive = 20_000
    bytes_max: Positive = 33_554_432


class VerifySection(Section, frozen=True):
    """Where signatures are checked."""

    workers: Annotated[int, msgspec.Meta(ge=-1, le=256)] = -1


class ConsensusSection(Section, frozen=True):
    """How the node takes part."""

    quarantine: bool = False


class StorageSection(Section, frozen=True):
    """Files of the node."""

    journal_segment_bytes: Annotated[int, msgspec.Meta(ge=1_048_576)] = 67_108_864


class Config(Section, frozen=True):
    """The whole file."""

    node: NodeSection = NodeSection()
    rpc: RpcSection = RpcSection()
    p2p: P2pSection = P2pSection()
    mempool: MempoolSection = MempoolSection()
    verify: VerifySection = VerifySection()
    consensus: ConsensusSection = ConsensusSection()
    storage: StorageSection = StorageSection()


def load_config(path: Path | None, environment: Mapping[str, str]) -> Config:
    """Read the file (absent: all defaults) and apply the environment.

    Raises ``Rejected`` with ``config/…``, naming file, key and what was expected.
    """
    raw: dict[str, Any] = {}
    where = "the environment"
    if path is not None:
        where = str(path)
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise Rejected("config/NoFile", f"there is no file {path}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Rejected("config/NotToml", f"{path}: {error}") from None
    _require_known(raw, where)
    for name, value in environment.items():
        _override(raw, name, value)
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise Rejected("config/WrongValue", f"{where}: {error}") from None
    parse_address(config.rpc.listen, "rpc.listen")
    if config.p2p.listen:
        parse_address(config.p2p.listen, "p2p.listen")
    return config


def _sections() -> dict[str, type[Section]]:
    return {field.name: field.type for field in msgspec.structs.fields(Config)}


def _require_known(raw: Mapping[str, Any], where: str) -> None:
    """Refuse unknown sections and keys, with the nearest known name."""
    sections = _sections()
    for section, keys in raw.items():
        if section not in sections:
            raise _unknown(where, section, list(sections))
        if not isinstance(keys, dict):
            raise Rejected("config/WrongValue", f"{where}: [{section}] must be a section")
        known = sections[section].__struct_fields__
        for key in keys:
            if key not in known:
                raise _unknown(where, f"{section}.{key}", [f"{section}.{name}" for name in known])


def _unknown(where: str, name: str, known: list[str]) -> Rejected:
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
    return Rejected("config/UnknownKey", f"{where}: unknown setting {name}{hint}")


def _override(raw: dict[str, Any], name: str, value: str) -> None:
    """Apply one environment variable ``COLOPHON_SECTION__KEY``."""
    if not name.startswith(ENVIRONMENT_PREFIX) or "__" not in name:
        return
    section, _, key = name[len(ENVIRONMENT_PREFIX) :].lower().partition("__")
    sections = _sections()
    if section not in sections or key not in sections[section].__struct_fields__:
        known = [f"{s}.{k}" for s, kind in sections.items() for k in kind.__struct_fields__]
        raise _unknown(f"environment variable {name}", f"{section}.{key}", known)
    kinds = {field.name: field.type for field in msgspec.structs.fields(sections[section])}
    try:
        parsed: Any = msgspec.convert(value, kinds[key], strict=False)
    except msgspec.ValidationError:
        try:
            parsed = msgspec.convert(tomllib.loads(f"v = {value}")["v"], kinds[key])
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise Rejected(
                "config/WrongValue", f"environment variable {name} is {value!r}: {error}"
            ) from None
    raw.setdefault(section, {})[key] = parsed


def parse_address(text: str, where: str) -> tuple[str, int]:
    """Return host and port of ``host:port``; raises ``config/WrongValue``."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65_535:
        raise Rejected(
            "config/WrongValue", f"{where} is {text!r}, expected host:port such as 127.0.0.1:26657"
        )
    return host, int(port)
