"""The HTTP side: the GET form, limits, origins, /health, /metrics and the page.

A server on a free port over a real chain; limits are set low and met exactly.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from chain.ids import format_id
from rpc.limits import ADDRESSES_MAX, Limits, RateLimit
from rpc.server import RpcServer
from tests.rpc.world import Serving, World, call, make_world


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def serve(
    check: Callable[[Serving], Awaitable[None]], world: World | None = None, **limits: Any
) -> None:
    async def run() -> None:
        async with Serving(world or make_world(), Limits(**limits)) as node:
            await check(node)

    asyncio.run(run())


async def get(node: Serving, path: str, **headers: str) -> tuple[int, Any]:
    async with node.session.get(path, headers=headers) as response:
        return response.status, await response.json(content_type=None)


# --- the GET form -----------------------------------------------------------------------------


def test_every_reading_method_answers_get_as_it_answers_post() -> None:
    async def check(node: Serving) -> None:
        document = await node.result("rpc.discover")
        for entry in document["methods"]:
            params = {item["name"]: item["value"] for item in entry["examples"][0]["params"]}
            texts = {
                name: json.dumps(value) if isinstance(value, dict) else value
                for name, value in params.items()
            }
            status, answer = await get(node, f"/{entry['name']}?{urlencode(texts)}")
            if entry["x-get"]:
                assert (status, answer["result"]) == (
                    200,
                    await node.result(entry["name"], **params),
                )
            else:
                assert (status, answer["error"]["code"]) == (404, -32601)

    serve(check)


def test_get_reads_booleans_numbers_enumerations_and_lists() -> None:
    async def check(node: Serving) -> None:
        address = format_id(node.world.addresses[1])
        terms = (await node.result("license.list"))["items"][-1]["id"]
        ip = (await node.result("royalty.list"))["items"][0]["parents"][0]
        child = (await node.result("royalty.list"))["items"][0]["ip"]
        parents = [{"ip": ip, "terms": terms}]
        message = {"type": "license.register_derivative", "child": child, "parents": parents}
        query = urlencode({"sender": address, "message": json.dumps(message)})

        numbers = await get(node, "/chain.blocks?from=2&to=3")
        kind = await get(node, "/ip.list?kind=model&limit=1")
        listed = await get(node, f"/license.quote?{query}")

        assert [block["height"] for block in numbers[1]["result"]] == [2, 3]
        assert kind[1]["result"]["items"][0]["kind"] == "model"
        assert listed[1]["error"]["data"]["code"].startswith("license/")

    serve(check)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nothing.here", 404, -32601), ("/favicon.ico", 404, -32601),
        ("/tx.submit?tx=0x00", 404, -32601), ("/chain.block?height=-1", 400, -32602),
        ("/chain.block?depth=1", 400, -32602), ("/chain.block?height=%ff", 400, -32602),
        ("/chain.block?height=99", 404, -32002), ("/chain.block?height=1&height=99", 404, -32002),
        ("/tx.get", 400, -32602), ("/tx.get?id=0x" + "00" * 32, 404, -32001),
    ],
)  # fmt: skip
def test_get_errors_have_a_status_and_the_same_code(path: str, status: int, code: int) -> None:
    async def check(node: Serving) -> None:
        found, answer = await get(node, path)

        assert (found, answer["error"]["code"]) == (status, code)

    serve(check)


# --- limits -----------------------------------------------------------------------------------


def test_a_body_over_the_limit_is_413_and_one_at_the_limit_is_not() -> None:
    async def check(node: Serving) -> None:
        request = json.dumps(call("chain.status")).encode()
        for size, status in ((2_000, 200), (2_001, 413)):
            async with node.session.post("/", data=request.ljust(size)) as response:
                assert response.status == status
                answer = await response.json()
        assert answer["error"]["code"] == -32600
        assert "2000 bytes" in answer["error"]["message"]

    serve(check, body_bytes_max=2_000)


def test_a_chunked_body_is_limited_as_well() -> None:
    async def chunks() -> Any:
        for _ in range(10):
            yield b" " * 1_000

    async def check(node: Serving) -> None:
        async with node.session.post("/", data=chunks()) as response:
            assert response.status == 413

    serve(check, body_bytes_max=2_000)


def test_the_batch_limit_is_the_servers() -> None:
    async def check(node: Serving) -> None:
        async with node.session.post("/", json=[call("chain.status")] * 3) as response:
            assert (await response.json())["error"]["code"] == -32600

    serve(check, batch_max=2)


def test_notifications_are_answered_with_no_content() -> None:
    async def check(node: Serving) -> None:
        note = {"jsonrpc": "2.0", "method": "chain.status"}
        async with node.session.post("/", json=note) as response:
            assert (response.status, await response.read()) == (204, b"")

    serve(check)


def test_a_connection_too_many_is_refused_and_a_closed_one_makes_room() -> None:
    async def ask(node: Serving, port: int) -> tuple[bytes, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        return await reader.readline(), writer

    async def check(node: Serving) -> None:
        port = int(node.url.rpartition(":")[2])
        first, one = await ask(node, port)
        second, two = await ask(node, port)
        third, three = await ask(node, port)
        assert (first, second) == (b"HTTP/1.1 200 OK\r\n",) * 2
        assert third == b"HTTP/1.1 503 Service Unavailable\r\n"
        one.close()
        await one.wait_closed()
        status = b""
        while not status.startswith(b"HTTP/1.1 200"):  # the server notices in its own time
            status, again = await ask(node, port)
            again.close()
        for writer in (two, three):
            writer.close()

    serve(check, connections_max=2)


def test_an_address_that_asks_too_often_is_told_when_to_come_again() -> None:
    clock = Clock()

    async def run() -> None:
        limits = Limits(requests_per_second=2)
        async with Serving(make_world(), limits, clock=clock) as node:
            statuses = []
            for _ in range(21):
                async with node.session.post("/", json=call("chain.status")) as response:
                    statuses.append(response.status)
                    answer = await response.json()
            assert statuses == [200] * 20 + [429]
            assert answer["error"]["code"] == -32003
            assert answer["error"]["data"]["details"] == {"retry_after_ms": 500}
            clock.now += 0.5
            async with node.session.post("/", json=call("chain.status")) as response:
                assert response.status == 200

    asyncio.run(run())


def test_the_rate_limit_forgets_addresses_that_are_quiet() -> None:
    clock = Clock()
    limit = RateLimit(1, clock)
    for number in range(ADDRESSES_MAX):
        limit.take(str(number))
    clock.now += 10

    assert limit.take("one more") == 0
    assert limit.take("another") == 0
    assert len(limit._buckets) == 2


# --- browsers ---------------------------------------------------------------------------------


def test_pages_of_foreign_origins_may_not_call() -> None:
    async def check(node: Serving) -> None:
        headers = {"Origin": "https://evil.example"}
        async with node.session.post("/", json=call("chain.status"), headers=headers) as response:
            assert response.status == 403
        async with node.session.get("/chain.status", headers=headers) as response:
            assert response.status == 403
        async with node.session.options("/", headers=headers) as response:
            assert response.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await node.session.ws_connect("/ws", headers=headers)
        assert refused.value.status == 403

    serve(check)


def test_pages_of_allowed_origins_and_the_nodes_own_page_may() -> None:
    async def check(node: Serving) -> None:
        for origin in ("https://app.example", node.url):
            headers = {"Origin": origin}
            async with node.session.options("/", headers=headers) as response:
                assert response.status == 204
                assert response.headers["Access-Control-Allow-Origin"] == origin
            async with node.session.post(
                "/", json=call("chain.status"), headers=headers
            ) as response:
                assert response.status == 200
                assert response.headers["Access-Control-Allow-Origin"] == origin
            async with node.session.ws_connect("/ws", headers=headers) as socket:
                await socket.send_json(call("chain.status"))
                assert "result" in await socket.receive_json()

    serve(check, allowed_origins=("https://app.example",))


def test_a_star_allows_every_origin() -> None:
    assert Limits(allowed_origins=("*",)).allows_origin("https://any.example", "node")
    assert not Limits().allows_origin("null", "node")
    assert not Limits().allows_origin("http://[", "node")


# --- health, metrics, page --------------------------------------------------------------------


def test_health_is_one_sentence_and_503_says_why_not() -> None:
    async def check(node: Serving) -> None:
        async with node.session.get("/health") as response:
            assert (response.status, await response.text()) == (200, "healthy at height 8\n")
        node.world.healthy = False
        async with node.session.get("/health") as response:
            assert (response.status, await response.text()) == (503, "no block for 60 s\n")

    serve(check)


def test_metrics_are_prometheus_text() -> None:
    async def check(node: Serving) -> None:
        await node.result("chain.status")
        await node.call("nothing.here")
        async with node.session.get("/metrics") as response:
            lines = (await response.text()).splitlines()
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")

        assert "# TYPE colophon_height gauge" in lines
        assert "colophon_height 8.0" in lines
        assert "# TYPE colophon_blocks_total counter" in lines
        assert 'colophon_views_given_up_total{leader="ab"} 2.0' in lines
        assert 'colophon_views_given_up_total{leader="cd"} 1.0' in lines
        assert 'colophon_rpc_requests_total{method="chain.status",outcome="ok"} 1.0' in lines
        assert 'colophon_rpc_requests_total{method="unknown",outcome="-32601"} 1.0' in lines

    serve(check)


def test_a_browser_gets_the_page_and_it_loads_nothing_from_elsewhere() -> None:
    async def check(node: Serving) -> None:
        async with node.session.get("/", headers={"Accept": "text/html"}) as response:
            page = await response.text()
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        async with node.session.get("/") as response:
            signpost = await response.text()

        assert page.startswith("<!doctype html>")
        for outside in ("http://", "https://", "//cdn", "@import", "<link", " src="):
            assert outside not in page
        assert "rpc.discover" in signpost

    serve(check)


# --- starting and stopping --------------------------------------------------------------------


def test_stopping_twice_or_before_the_start_is_harmless() -> None:
    async def run() -> None:
        unstarted = RpcServer(make_world(), Limits())
        await unstarted.stop()
        node = Serving(make_world())
        async with node:
            assert node.world.listeners
        await node.server.stop()
        assert node.world.listeners == []

    asyncio.run(run())


def test_a_taken_port_is_an_os_error() -> None:
    async def check(node: Serving) -> None:
        other = RpcServer(make_world(), Limits())
        with pytest.raises(OSError):
            await other.start("127.0.0.1", int(node.url.rpartition(":")[2]))
        await other.stop()

    serve(check)
