"""Hypothesis strategies derived from message classes: new families are fuzzed without a line."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from chain.codec import Record, encode_amount
from chain.fields import Blob, fields_of, optional_of, split_annotation
from state.families import REGISTRY


def _metas(kind: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while hasattr(kind, "__metadata__"):
        for meta in kind.__metadata__:
            if isinstance(meta, msgspec.Meta):
                for name in ("ge", "gt", "le", "lt", "min_length", "max_length"):
                    value = getattr(meta, name)
                    if value is not None:
                        found.setdefault(name, value)
        kind = get_args(kind)[0]
    return found


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values that decode as ``kind``."""
    bare, extras = split_annotation(kind)
    limits = _metas(kind)
    inner = optional_of(bare)
    if inner is not None:
        return st.none() | values(inner)
    if get_origin(bare) is list:
        items = st.lists(
            values(get_args(bare)[0]),
            min_size=limits.get("min_length", 0),
            max_size=min(limits.get("max_length", 3), limits.get("min_length", 0) + 3),
        )
        return items.map(_ascending) if extras.get("ascending") else items
    return _scalar(bare, extras, limits)


def _ascending(items: list[Any]) -> list[Any]:
    return [item for n, item in enumerate(sorted(items)) if n == 0 or item != sorted(items)[n - 1]]


def _scalar(bare: Any, extras: dict[str, Any], limits: dict[str, Any]) -> st.SearchStrategy[Any]:
    if extras.get("kinds"):
        kinds = st.sampled_from(sorted(extras["kinds"]))
        return st.tuples(kinds, st.binary(min_size=20, max_size=20)).map(
            lambda pair: bytes((pair[0],)) + pair[1]
        )
    if extras.get("id"):
        return st.binary(min_size=20, max_size=20).map(lambda body: b"\0" + body)
    if extras.get("amount"):
        return st.integers(0, 2**128 - 1).map(encode_amount)
    if extras.get("denom"):
        return st.just(b"") | st.binary(min_size=20, max_size=20).map(lambda body: b"\2" + body)
    if bare is bool:
        return st.booleans()
    if isinstance(bare, type) and issubclass(bare, IntEnum):
        return st.sampled_from(list(bare))
    if bare is int:
        low = limits.get("ge", limits.get("gt", -1) + 1 if "gt" in limits else 0)
        high = limits.get("le", limits.get("lt", 2**64) - 1)
        return st.integers(low, high)
    if bare is str:
        return st.text("abc é", max_size=min(limits.get("max_length", 5), 5) // 2)
    if bare is bytes:
        least = limits.get("min_length", 0)
        return st.binary(min_size=least, max_size=min(limits.get("max_length", 40), least + 40))
    if bare is Blob:
        return st.builds(Blob, st.binary(min_size=32, max_size=32), st.integers(0, 200))
    if isinstance(bare, type) and issubclass(bare, Record):
        return records(bare)
    raise AssertionError(f"no strategy for {bare!r}")


def records(record: type[Record]) -> st.SearchStrategy[Any]:
    """Return a strategy for records of a type."""
    return st.builds(record, **{name: values(kind) for name, kind in fields_of(record).items()})


def messages() -> st.SearchStrategy[Any]:
    """Return a strategy for any message of any family."""
    return st.sampled_from(sorted(REGISTRY.messages)).flatmap(
        lambda name: records(REGISTRY.messages[name])
    )
