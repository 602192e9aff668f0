"""The table of methods: the node's own below, and one per query of every native family.

A method is a function with keyword parameters; names, types, defaults and the sentence in
``rpc.discover`` come from its signature and docstring, so the table cannot lie.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

import msgspec

from chain.errors import Rejected
from chain.fields import Check, checker
from state.module import Query
from state.queries import ChainReader
from state.registry import Registry


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter: its annotated type, whether it must be given, how it is checked."""

    kind: Any
    required: bool
    default: Any
    check: Check | None


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC method."""

    name: str
    function: Callable[..., Any]
    params: dict[str, Param]
    result: Any
    """Annotated type of the result, for its JSON form and schema."""
    summary: str
    reads: bool
    """Only reading methods are served over GET."""


def method(name: str, function: Callable[..., Any], *, reads: bool = True) -> Method:
    """Describe a function as a method; its keyword-only parameters are the method's."""
    hints = get_type_hints(function, include_extras=True)
    params = {}
    for entry in inspect.signature(function).parameters.values():
        if entry.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        kind = hints[entry.name]
        required = entry.default is inspect.Parameter.empty
        params[entry.name] = Param(
            kind, required, None if required else entry.default, _check_of(kind)
        )
    summary = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
    return Method(name, function, params, hints.get("return"), summary, reads)


def _check_of(kind: Any) -> Check | None:
    """Return a check of lengths and ranges, then of what the type cannot say."""
    convert = msgspec.msgpack.Decoder(kind)
    rules = checker(kind)
    from_value = msgspec.msgpack.encode

    def check(value: Any, where: str) -> None:
        try:
            convert.decode(from_value(value))
        except msgspec.ValidationError as error:
            raise Rejected("rpc/OutOfRange", f"{where}: {error}", field=where) from None
        if rules is not None and value is not None:
            rules(value, where)

    return check


def family_methods(registry: Registry, reader: ChainReader) -> dict[str, Method]:
    """Return a method for every query of every active family."""
    table = {}
    for module in registry.modules:
        for verb, query in module.queries.items():
            name = verb if "." in verb else f"{module.name}.{verb}"
            table[name] = _query_method(name, query, reader)
    return table


def _query_method(name: str, query: Query, reader: ChainReader) -> Method:
    described = method(name, query)

    def run(**values: Any) -> Any:
        return query(reader.context(), **values)

    return Method(name, run, described.params, described.result, described.summary, True)
