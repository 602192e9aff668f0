"""From what programs know of a model call to a record's fields and facets (docs/record.md).

Short names become OpenTelemetry's GenAI names; fractions become decimal text, because a record
knows integers only. Nothing is trimmed or normalised besides.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from chain.errors import Rejected
from chain.jcs import INTEGER_MAX, JsonValue
from chain.json_form import record_from_json
from chain.record import NAME, NO_FACETS, Facets

FIELD_NAMES = {
    "model": "gen_ai.request.model",
    "response_model": "gen_ai.response.model",
    "response_id": "gen_ai.response.id",
    "provider": "gen_ai.provider.name",
    "operation": "gen_ai.operation.name",
    "messages": "gen_ai.input.messages",
    "output_messages": "gen_ai.output.messages",
    "system": "gen_ai.system_instructions",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "seed": "gen_ai.request.seed",
    "max_tokens": "gen_ai.request.max_tokens",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "finish_reasons": "gen_ai.response.finish_reasons",
    "conversation_id": "gen_ai.conversation.id",
    "agent_id": "gen_ai.agent.id",
    "tools": "gen_ai.tool.definitions",
}
"""Short name → name in the record; every other legal name stands for itself."""

FACETS = "facets"
"""Key whose object holds facets: model, agent, owner, digital_source_type, time, schema, …"""
NEEDED = (("prompt", "gen_ai.input.messages"), ("output", "gen_ai.output.messages"),
          ("gen_ai.request.model", "gen_ai.response.model"))  # fmt: skip
"""An interaction has at least one of each pair."""


def fields_of(form: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Return a record's fields from short or full names; ``interaction/…`` says what is wrong."""
    fields: dict[str, JsonValue] = {}
    for key, value in form.items():
        if key == FACETS or value is None:
            continue
        name = FIELD_NAMES.get(key, key)
        if NAME.fullmatch(name) is None:
            raise Rejected(
                "interaction/BadName",
                f"{key[:80]!r} is no field name: 1 to 64 of a-z 0-9 _ . without a leading _",
            )
        if name in fields:
            raise Rejected("interaction/NameTwice", f"{key} and another name both mean {name}")
        fields[name] = recordable(value, key)
    for pair in NEEDED:
        if not any(name in fields for name in pair):
            short = [key for key, name in FIELD_NAMES.items() if name == pair[0]]
            raise Rejected(
                "interaction/Incomplete", f"an interaction needs {(short or pair)[0]}: none given"
            )
    return fields


def facets_of(defaults: Mapping[str, Any], given: Any = None) -> Facets:
    """Return facets from their JSON form: ``given`` above ``defaults``."""
    if given is not None and not isinstance(given, Mapping):
        raise Rejected("interaction/BadFacets", "facets must be an object")
    form = {**defaults, **(given or {})}
    if not form:
        return NO_FACETS
    facets: Facets = record_from_json(Facets, form, FACETS)
    return facets


def recordable(value: Any, where: str) -> JsonValue:
    """Return ``value`` as a record can hold it: fractions and large integers as decimal text."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= INTEGER_MAX else str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Rejected("interaction/NotJson", f"{where} holds {value}, which is no number")
        return repr(value)
    if isinstance(value, list | tuple):
        return [recordable(item, where) for item in value]
    if isinstance(value, Mapping):
        return {str(key): recordable(item, where) for key, item in value.items()}
    raise Rejected("interaction/NotJson", f"{where} holds a {type(value).__name__}, expected JSON")


def parse_interaction(raw: bytes) -> dict[str, Any]:
    """Return the object in one line of a file; fractions keep the digits they were written with."""
    try:
        form = json.loads(
            raw, parse_float=str, parse_constant=_refuse_constant, object_pairs_hook=_distinct
        )
    except (ValueError, RecursionError) as error:
        raise Rejected("interaction/NotJson", f"not JSON: {error}") from None
    if not isinstance(form, dict):
        raise Rejected("interaction/NotJson", "not an object")
    return form


def _refuse_constant(text: str) -> NoReturn:
    raise Rejected("interaction/NotJson", f"{text} is no JSON number")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    form = dict(pairs)
    if len(form) != len(pairs):
        raise Rejected("interaction/NotJson", "an object has the same key twice")
    return form
