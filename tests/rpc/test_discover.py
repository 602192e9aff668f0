"""``rpc.discover`` is complete and true: every method is called with its own examples.

The world has something of every native family, so every example of a reading method has a
result; parameters and results are checked against the document's own schemas.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rpc.table import make_table
from tests.rpc.schema import problems
from tests.rpc.world import Serving, World, call, make_world

NAMES = Path(__file__).parents[1] / "vectors" / "rpc_methods.json"


def discover(world: World) -> Any:
    return make_table(world)["rpc.discover"].function()


@pytest.fixture(scope="module")
def document() -> Any:
    return discover(make_world())


def given(example: Any) -> dict[str, Any]:
    return {param["name"]: param["value"] for param in example["params"]}


def test_the_names_of_methods_are_the_golden_list(document: Any) -> None:
    golden = json.loads(NAMES.read_text())

    assert [entry["name"] for entry in document["methods"]] == golden


def test_development_methods_exist_only_where_the_genesis_says_so() -> None:
    names = {entry["name"] for entry in discover(make_world(dev=False))["methods"]}

    assert {"dev.faucet", "dev.advance"} & names == set()


def test_the_document_says_what_openrpc_asks(document: Any) -> None:
    assert document["openrpc"] == "1.3.2"
    assert set(document["info"]) >= {"title", "version"}
    for entry in document["methods"]:
        assert entry["summary"].endswith("."), entry["name"]
        assert entry["examples"], entry["name"]
        optional = [not param["required"] for param in entry["params"]]
        assert optional == sorted(optional), "required parameters come first"


def test_every_reference_leads_somewhere(document: Any) -> None:
    names = set(document["components"]["schemas"]) | set(document["components"]["errors"])
    text = json.dumps(document)

    found = {part.partition('"')[0].rpartition("/")[2] for part in text.split('"$ref": "')[1:]}

    assert found <= names


def test_examples_fit_the_schemas(document: Any) -> None:
    for entry in document["methods"]:
        schemas = {param["name"]: param["schema"] for param in entry["params"]}
        for example in entry["examples"]:
            for name, value in given(example).items():
                assert problems(schemas[name], value, document, entry["name"]) == []


def test_every_method_can_be_called_with_its_own_examples() -> None:
    async def check() -> None:
        async with Serving(make_world()) as node, node.session.ws_connect("/ws") as socket:
            document = await node.result("rpc.discover")
            readers_first = sorted(document["methods"], key=lambda entry: not entry["x-get"])
            for entry in readers_first:
                for example in entry["examples"]:
                    params = given(example)
                    if entry["name"].startswith("events."):
                        result = await ask_socket(socket, entry["name"], params)
                    else:
                        result = await node.result(entry["name"], **params)
                    wrong = problems(entry["result"]["schema"], result, document, entry["name"])
                    assert wrong == []
                    if "result" in example:
                        assert example["result"]["value"] == result

    asyncio.run(check())


async def ask_socket(
    socket: aiohttp.ClientWebSocketResponse, name: str, params: dict[str, Any]
) -> Any:
    await socket.send_json(call(name, identity=name, **params))
    while True:
        answer = await socket.receive_json()
        if answer.get("id") == name:
            return answer["result"]


def test_reading_methods_show_a_result_in_their_example(document: Any) -> None:
    without = [
        entry["name"]
        for entry in document["methods"]
        if entry["x-get"] and any("result" not in example for example in entry["examples"])
    ]

    assert without == ["rpc.discover"]


def test_a_fresh_chain_can_be_discovered_too() -> None:
    document = discover(World())

    assert len(document["methods"]) > 40
