"""``rpc.discover``: the OpenRPC 1.3 document of this node, made from the table of methods.

Nothing in it is written by hand but the table of errors, so it is as true as the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from chain.application import finish
from chain.errors import Rejected
from chain.json_form import Content, no_content
from chain.json_schema import json_schema, record_schema
from state.queries import ChainReader
from state.registry import Registry

from .examples import Samples
from .jsonrpc import ERRORS, bind
from .methods import Method

OPENRPC = "1.3.2"
RESULT_BYTES_MAX = 4_096
"""Longer results are left out of examples: the document is read by people too."""

JsonObject = dict[str, Any]


class _Components:
    """The schemas that the document names once and refers to."""

    def __init__(self, registry: Registry) -> None:
        self.schemas: JsonObject = {}
        for base, kinds in (("Event", registry.events), ("Message", registry.messages)):
            members = [self.refer(record_schema(kinds[name])) for name in sorted(kinds)]
            self.schemas[base] = {"title": base, "oneOf": members}

    def refer(self, schema: Any) -> Any:
        """Return the schema with every named object in it replaced by a reference."""
        if isinstance(schema, list):
            return [self.refer(part) for part in schema]
        if not isinstance(schema, dict):
            return schema
        flat = {key: self.refer(value) for key, value in schema.items()}
        if "properties" not in flat or not isinstance(flat.get("title"), str):
            return flat
        return {"$ref": "#/components/schemas/" + self._place(flat)}

    def _place(self, schema: JsonObject) -> str:
        """Return the name of an object's schema; two different ones never share it."""
        title = name = schema["title"]
        if title in ("Event", "Message"):
            return str(title)  # the base class stands for all of them
        number = 1
        while self.schemas.setdefault(name, schema) != schema:
            number += 1
            name = f"{title}{number}"
        return str(name)


def make_document(
    table: Mapping[str, Method],
    reader: ChainReader,
    *,
    version: str,
    content: Content = no_content,
) -> JsonObject:
    """Return the document; examples use what is on the chain now."""
    components = _Components(reader.machine.registry)
    samples = Samples(reader)
    methods = [_method(entry, components, samples, content) for entry in table.values()]
    return {
        "openrpc": OPENRPC,
        "info": {
            "title": "Colophon",
            "version": version,
            "description": "A blockchain node for AI-native assets. Binary values are 0x hex, "
            "ids and addresses bech32m text, amounts and integers above 2^53 decimal strings; "
            "unknown parameters are errors.",
        },
        "methods": methods,
        "components": {"schemas": components.schemas, "errors": _errors()},
    }


def _errors() -> JsonObject:
    return {
        f"E{-code}": {"code": code, "message": name, "data": sentence}
        for code, (name, sentence) in ERRORS.items()
    }


def _method(
    method: Method, components: _Components, samples: Samples, content: Content
) -> JsonObject:
    params = [
        {
            "name": name,
            "required": param.required,
            "schema": components.refer(json_schema(param.kind)),
        }
        for name, param in method.params.items()
    ]
    return {
        "name": method.name,
        "summary": method.summary,
        "tags": [{"name": method.name.partition(".")[0]}],
        "paramStructure": "either",
        "params": params,
        "result": {"name": "result", "schema": components.refer(json_schema(method.result))},
        "errors": [{"$ref": f"#/components/errors/E{-code}"} for code in ERRORS],
        "examples": [_example(method, given, content) for given in samples.params(method)],
        "x-get": method.reads,
    }


def _example(method: Method, given: JsonObject, content: Content) -> JsonObject:
    pairing: JsonObject = {
        "name": method.name,
        "params": [{"name": name, "value": value} for name, value in given.items()],
    }
    if method.reads and not method.waits and method.name != "rpc.discover":
        try:
            answer = method.function(**bind(method, given))
            result = method.write(finish(answer) if method.steps else answer, content)
        except Rejected:
            return pairing  # the chain has nothing to show yet
        if len(msgspec.json.encode(result)) <= RESULT_BYTES_MAX:
            pairing["result"] = {"name": "result", "value": result}
    return pairing
