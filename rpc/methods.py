"""What a method is, and the methods that come from the native families' queries.

A method is a function with keyword parameters; names, types, defaults and the sentence in
``rpc.discover`` come from its signature and docstring, so the table cannot lie.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from chain.application import Job
from chain.errors import Misuse, Rejected
from chain.fields import Check, checker
from chain.json_form import Write, json_writer
from chain.json_schema import json_schema
from state.module import Query
from state.queries import ChainReader
from state.registry import Registry


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter: its annotated type, whether it must be given, how it is checked."""

    kind: Any
    argument: str
    """Name in the function; differs where Python reserves a word (``from_``)."""
    required: bool
    default: Any
    check: Check


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC method."""

    name: str
    function: Callable[..., Any]
    params: dict[str, Param]
    result: Any
    """Annotated type of the result, for its schema."""
    write: Write
    """Makes the JSON form of a result."""
    summary: str
    reads: bool
    """Whether it changes nothing: only such methods are served over GET."""
    waits: bool
    """Whether the function is a coroutine."""
    steps: bool = False
    """Whether the function returns a ``Job`` that makes the result."""
    examples: tuple[dict[str, Any], ...] = ()
    """Parameters of examples in their JSON form, where types alone do not say enough."""


def method(
    name: str,
    function: Callable[..., Any],
    *,
    reads: bool = True,
    examples: Iterable[dict[str, Any]] = (),
) -> Method:
    """Describe a function as a method; its keyword-only parameters are the method's."""
    hints = get_type_hints(function, include_extras=True)
    params = {}
    for entry in inspect.signature(function).parameters.values():
        if entry.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        kind = hints[entry.name]
        required = entry.default is inspect.Parameter.empty
        default = None if required else entry.default
        params[entry.name.rstrip("_")] = Param(kind, entry.name, required, default, _check_of(kind))
    summary = (inspect.getdoc(function) or "").split("\n\n")[0]
    summary = summary.replace("\n", " ").replace("``", "`")
    result, steps = hints["return"], False
    if get_origin(result) is Generator:
        result, steps = get_args(result)[2], True
    waits = inspect.iscoroutinefunction(function)
    write = json_writer(result)
    return Method(
        name, function, params, result, write, summary, reads, waits, steps, tuple(examples)
    )


def _check_of(kind: Any) -> Check:
    """Return a check of lengths and ranges, then of what the type cannot say."""
    decode = msgspec.msgpack.Decoder(kind).decode
    encode = msgspec.msgpack.Encoder().encode
    rules = checker(kind)

    def check(value: Any, where: str) -> None:
        try:
            decode(encode(value))
        except msgspec.ValidationError as error:
            raise Rejected("rpc/OutOfRange", f"{where}: {error}", field=where) from None
        if rules is not None and value is not None:
            rules(value, where)

    return check


def table_of(methods: Iterable[Method]) -> dict[str, Method]:
    """Return methods by name, in alphabetical order; two of one name are ``Misuse``."""
    table: dict[str, Method] = {}
    for entry in sorted(methods, key=lambda item: item.name):
        if entry.name in table:
            raise Misuse(f"two RPC methods are called {entry.name}")
        table[entry.name] = entry
    return table


def family_methods(registry: Registry, reader: ChainReader) -> list[Method]:
    """Return a method for every query of every native family."""
    return [
        _query_method(verb if "." in verb else f"{module.name}.{verb}", query, reader)
        for module in registry.modules
        for verb, query in module.queries.items()
    ]


def _query_method(name: str, query: Query, reader: ChainReader) -> Method:
    described = method(name, query)
    run = _run_steps if described.steps else _run_at_once
    return replace(described, function=partial(run, query, reader))


def _run_at_once(query: Query, reader: ChainReader, **values: Any) -> Any:
    with reader.context() as context:
        return query(context, **values)


def _run_steps(query: Query, reader: ChainReader, **values: Any) -> Job[Any]:
    with reader.context() as context:
        return (yield from query(context, **values))


def arguments_from_text(method: Method, query: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the JSON parameters that the query part of a URL means (``/block?height=5``).

    A list is a parameter given several times, or JSON; true and false are these words; the rest
    is read by the rules of the POST form, where numbers may be text anyway.
    """
    return {
        name: _from_text(method.params[name].kind if name in method.params else str, texts)
        for name, texts in query.items()
    }


def _shape_of(kind: Any) -> str:
    """Return the JSON type of a parameter, that of ``T`` for ``T | None``."""
    schema = json_schema(kind)
    inner = schema["anyOf"][0] if "anyOf" in schema else schema
    shape = inner.get("type", "")
    return shape if isinstance(shape, str) else ""


def _from_text(kind: Any, texts: list[str]) -> Any:
    shape = _shape_of(kind)
    if shape in ("array", "object") and len(texts) == 1 and texts[0][:1] in ("[", "{"):
        try:
            return msgspec.json.decode(texts[0])
        except (msgspec.DecodeError, RecursionError):
            return texts[0]
    if shape == "array":
        return texts
    last = texts[-1]
    if shape == "boolean":
        return {"true": True, "1": True, "false": False, "0": False}.get(last, last)
    return last
