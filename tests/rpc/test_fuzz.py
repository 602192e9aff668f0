"""Whatever comes in, the dispatcher answers by the rules: never an exception, never -32603.

Hypothesis makes bytes, JSON values, calls with arbitrary parameters, and examples of real calls
with one value exchanged; all run against a chain with objects of every family.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rpc.examples import Samples
from rpc.jsonrpc import ERRORS, Dispatcher, RpcError
from rpc.methods import arguments_from_text
from rpc.table import make_table
from tests.rpc.world import make_world

WORLD = make_world()
TABLE = make_table(WORLD)
DISPATCHER = Dispatcher(TABLE, batch_max=5, content=WORLD.reader.blob)
SAMPLES = Samples(WORLD.reader)
KNOWN = [
    sample
    for entry in TABLE.values()
    for example in SAMPLES.params(entry)
    for sample in example.values()
]
NAMES = sorted(set(TABLE) - {"tx.submit_and_wait"})  # it would wait

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.text(), st.sampled_from(KNOWN), st.sampled_from([0, 1, -1, 2**53, 2**63, 2**64, 10**40]),
    st.sampled_from(["", "0x", "0x0", "0xzz", "ncolo", "royalty/", "token/x", "-1", "1e9", "٣"]),
    st.binary(max_size=40).map(lambda data: "0x" + data.hex()),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def check(raw: bytes) -> None:
    """Ask, and hold the answer to the specification."""
    answer = asyncio.run(DISPATCHER.answer(raw))
    if answer is None:
        return
    decoded = json.loads(answer)
    for item in decoded if isinstance(decoded, list) else [decoded]:
        assert item["jsonrpc"] == "2.0"
        assert ("result" in item) != ("error" in item)
        if "error" in item:
            assert item["error"]["code"] in ERRORS
            assert item["error"]["code"] != -32603, (raw, item)
            assert len(item["error"]["message"]) < 1_000


@FUZZ
@given(st.binary(max_size=200))
def test_bytes(raw: bytes) -> None:
    check(raw)


@FUZZ
@given(VALUES)
def test_json_values(value: Any) -> None:
    check(msgspec.json.encode(value))


@FUZZ
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "jsonrpc": st.just("2.0") | VALUES,
            "method": st.sampled_from(NAMES) | VALUES,
            "params": VALUES,
            "id": VALUES,
        },
    )
)
def test_call_shapes(request: Any) -> None:
    check(msgspec.json.encode(request))


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(NAMES))
    params = {key: draw(VALUES) for key in TABLE[name].params if draw(st.booleans())}
    return {"jsonrpc": "2.0", "id": 1, "method": name, "params": params}


@FUZZ
@given(st.lists(calls(), min_size=1, max_size=5))
def test_calls_with_arbitrary_parameters(batch: Any) -> None:
    check(msgspec.json.encode(batch))


@st.composite
def nearly_right(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(NAMES))
    params = dict(SAMPLES.params(TABLE[name])[0])
    if TABLE[name].params:
        params[draw(st.sampled_from(sorted(TABLE[name].params)))] = draw(VALUES)
    return {"jsonrpc": "2.0", "id": 1, "method": name, "params": params}


@FUZZ
@given(nearly_right())
def test_examples_with_one_value_exchanged(request: Any) -> None:
    check(msgspec.json.encode(request))


@FUZZ
@given(st.sampled_from(NAMES), st.data())
def test_parameters_from_urls(name: str, data: st.DataObject) -> None:
    texts = st.lists(st.text(max_size=20) | st.sampled_from(list(map(str, KNOWN))), min_size=1)
    keys = st.sampled_from([*TABLE[name].params, "unknown"])
    query = data.draw(st.dictionaries(keys, texts, max_size=4))

    params = arguments_from_text(TABLE[name], query)
    try:
        asyncio.run(DISPATCHER.call(name, params))
    except RpcError as error:
        assert error.code != -32603
