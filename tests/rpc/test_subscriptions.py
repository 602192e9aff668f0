"""Events over WebSocket: filters, cursors, replay without gap or duplicate, slow readers.

Blocks are made by the test while clients listen; what a client got is compared with the receipts.
"""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
import pytest

from chain.errors import Corruption
from chain.ids import format_id
from rpc.event_methods import EventFilter
from rpc.limits import Limits
from rpc.subscriptions import BLOCKS_KEPT, BlockEvents, Hub, Subscription
from rpc.websocket import CALLS_MAX, CLOSE_SLOW, Outbox
from tests.rpc.world import Serving, World, call, make_world

Socket = aiohttp.ClientWebSocketResponse


def serve(
    check: Callable[[Serving, Socket], Awaitable[None]], world: World | None = None, **limits: Any
) -> None:
    async def run() -> None:
        node = Serving(world or make_world(), Limits(**limits))
        async with node, node.session.ws_connect("/ws") as socket:
            await check(node, socket)

    asyncio.run(run())


async def ask(socket: Socket, name: str, **params: Any) -> Any:
    """Call a method and return its answer, which is the next message."""
    await socket.send_json(call(name, **params))
    return await socket.receive_json()


async def subscribe(socket: Socket, **params: Any) -> dict[str, Any]:
    answer = await ask(socket, "events.subscribe", **params)
    assert "result" in answer, answer
    result: dict[str, Any] = answer["result"]
    return result


async def events_until(socket: Socket, height: int) -> list[dict[str, Any]]:
    """Return the events that come, up to the ``chain.block`` of a height."""
    found = []
    while True:
        message = await socket.receive_json()
        assert message["method"] == "events.event"
        found.append(message["params"]["result"])
        if found[-1]["event"]["type"] == "chain.block" and found[-1]["height"] == height:
            return found


def names(events: list[dict[str, Any]]) -> list[str]:
    return [item["event"]["type"] for item in events]


# --- live -------------------------------------------------------------------------------------


def test_the_same_methods_work_over_websocket() -> None:
    async def check(node: Serving, socket: Socket) -> None:
        answer = await ask(socket, "chain.status")
        unknown = await ask(socket, "nothing.here")
        await socket.send_str("{")
        garbage = await socket.receive_json()
        await socket.send_bytes(msgspec.json.encode([call("chain.status")]))
        batch = await socket.receive_json()

        assert answer["result"] == await node.result("chain.status")
        assert unknown["error"]["code"] == -32601
        assert (garbage["error"]["code"], garbage["id"]) == (-32700, None)
        assert batch == [answer]

    serve(check)


def test_events_come_with_height_index_transaction_and_cursor_and_then_their_block() -> None:
    async def check(node: Serving, socket: Socket) -> None:
        assert await subscribe(socket) == {"subscription": "1", "next_height": 9}
        tx_id = node.world.pay(5)
        block = node.world.block()

        paid, done = await events_until(socket, 9)

        assert paid["tx_id"] == "0x" + tx_id.hex()
        assert (paid["height"], paid["index"], paid["event"]["amount"]) == (9, 0, "5")
        assert done["event"] == {
            "type": "chain.block", "height": 9, "block_id": "0x" + block.block_id.hex(),
            "time_ms": block.time_ms, "transactions": 1,
        }  # fmt: skip
        assert paid["cursor"] < done["cursor"]

    serve(check)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"module": "license"},
         ["license.terms_registered", "license.attached", "license.derivative_registered",
          "license.minted"]),
        ({"event": "ip.registered"}, ["ip.registered", "ip.registered"]),
        ({"module": "ip", "event": "bank.sent"}, []),
        ({"module": "chain"}, ["chain.block"] * 8),
        ({"event": "nothing.like_this"}, []),
    ],
)  # fmt: skip
def test_a_filter_names_module_or_event(wanted: Any, expected: list[str]) -> None:
    assert names(matching(make_world(), EventFilter(**wanted))) == expected


def matching(world: World, wanted: EventFilter) -> list[dict[str, Any]]:
    """Return what a subscriber from the first block on would get."""
    hub, subscription = Hub(world), Subscription("1", wanted, 1)
    messages: list[bytes] = []
    for height in range(1, world.machine.head.height + 1):
        messages += subscription.take(hub.block(height))
    return [msgspec.json.decode(message)["params"]["result"] for message in messages]


def test_a_filter_names_an_address_or_an_id_that_stands_in_the_event() -> None:
    world = make_world()
    work = world.reader.receipts(1)[0].events[0].ip

    about_work = matching(world, EventFilter(id=work))
    to_receiver = matching(world, EventFilter(address=world.addresses[1], module="bank"))
    to_nobody = matching(world, EventFilter(address=world.addresses[2]))

    assert names(about_work) == [
        "ip.registered", "license.attached", "royalty.linked",
        "license.derivative_registered", "license.minted",
    ]  # fmt: skip
    assert names(to_receiver) == ["bank.sent", "bank.sent"]
    assert to_nobody == []


def test_a_filter_is_applied_over_the_wire() -> None:
    async def check(node: Serving, socket: Socket) -> None:
        address = format_id(node.world.addresses[1])
        await subscribe(socket, filter={"address": address, "event": "bank.sent"})
        node.world.pay(3)
        node.world.block()
        node.world.pay(4)
        node.world.block()

        amounts = [
            (await socket.receive_json())["params"]["result"]["event"]["amount"] for _ in range(2)
        ]
        assert amounts == ["3", "4"]

    serve(check)


def test_an_event_is_encoded_once_for_all_subscribers() -> None:
    world = make_world()
    block = Hub(world).block(3)
    one = Subscription("1", EventFilter(), 3)
    two = Subscription("2", EventFilter(), 3)

    first, second = one.take(block), two.take(block)

    assert block.entries[0].payload is block.entries[0].payload
    assert [item.replace(b'"1"', b'"2"', 1) for item in first] == second


# --- the past ---------------------------------------------------------------------------------


def all_events(world: World) -> list[str]:
    """Return the names of everything that happened, from the receipts."""
    found = []
    for height in range(1, world.machine.head.height + 1):
        block = Hub(world).block(height)
        found += [entry.name for entry in block.entries]
    return found


def test_a_replay_from_a_height_goes_on_live_without_gap_or_duplicate() -> None:
    async def check(node: Serving, socket: Socket) -> None:
        await subscribe(socket, from_height=1)
        for _ in range(5):  # while the replay is under way
            node.world.pay()
            node.world.block()
            await asyncio.sleep(0)

        found = await events_until(socket, 13)

        assert names(found) == all_events(node.world)
        cursors = [item["cursor"] for item in found]
        assert cursors == sorted(set(cursors))

    serve(check)


def test_a_client_resumes_after_any_event_and_misses_nothing() -> None:
    world = make_world()

    async def check(node: Serving, socket: Socket) -> None:
        await subscribe(socket, from_height=1)
        whole = await events_until(socket, 8)
        for at in range(0, len(whole) - 1, 3):
            async with node.session.ws_connect("/ws") as other:
                await subscribe(other, cursor=whole[at]["cursor"])
                assert await events_until(other, 8) == whole[at + 1 :]

    serve(check, world)


def test_a_cursor_at_the_head_waits_for_the_next_block() -> None:
    async def check(node: Serving, socket: Socket) -> None:
        await subscribe(socket, from_height=8)
        last = (await events_until(socket, 8))[-1]["cursor"]
        async with node.session.ws_connect("/ws") as other:
            await subscribe(other, cursor=last)
            node.world.block()
            found = await events_until(other, 9)

        assert [item["height"] for item in found] == [9]

    serve(check)


def test_blocks_older_than_those_in_memory_are_read_from_the_store() -> None:
    async def check(node: Serving, socket: Socket) -> None:
        for _ in range(BLOCKS_KEPT + 3):
            node.world.block()
        await subscribe(socket, filter={"module": "chain"}, from_height=1)
        found = await events_until(socket, node.world.machine.head.height)

        assert [item["height"] for item in found] == list(range(1, 8 + BLOCKS_KEPT + 4))

    serve(check)


@pytest.mark.parametrize("params", [{"from_height": 0}, {"from_height": 10}])
def test_a_height_that_is_not_there_is_refused_with_the_range(params: Any) -> None:
    async def check(node: Serving, socket: Socket) -> None:
        error = (await ask(socket, "events.subscribe", **params))["error"]

        assert error["code"] == -32002
        assert error["data"]["details"] == {"first": 1, "last": 8}

    serve(check)


def test_malformed_subscriptions_are_refused() -> None:
    async def check(node: Serving, socket: Socket) -> None:
        for params in (
            {"filter": {"modul": "ip"}}, {"filter": []}, {"filter": {"id": "ip1"}},
            {"cursor": "0x00"}, {"cursor": 5}, {"from_height": "x"}, {"filter": {"module": 5}},
        ):  # fmt: skip
            assert (await ask(socket, "events.subscribe", **params))["error"]["code"] == -32602
        both = await ask(socket, "events.subscribe", from_height=1, cursor="0x" + "00" * 16)
        assert both["error"]["data"]["code"] == "events/HeightOrCursor"

    serve(check)


# --- ends -------------------------------------------------------------------------------------


def test_after_unsubscribe_nothing_comes() -> None:
    async def check(node: Serving, socket: Socket) -> None:
        await subscribe(socket, filter={"module": "chain"})
        ended = await ask(socket, "events.unsubscribe", subscription="1")
        again = await ask(socket, "events.unsubscribe", subscription="1")
        node.world.block()

        status = await ask(socket, "chain.status")

        assert (ended["result"], again["result"]) == (True, False)
        assert status["result"]["height"] == 9

    serve(check)


def test_subscriptions_of_a_connection_are_limited() -> None:
    async def check(node: Serving, socket: Socket) -> None:
        await subscribe(socket)
        await subscribe(socket)
        refused = await ask(socket, "events.subscribe")
        await ask(socket, "events.unsubscribe", subscription="1")

        assert refused["error"]["data"]["code"] == "events/TooManySubscriptions"
        assert (await subscribe(socket))["subscription"] == "3"

    serve(check, subscriptions_max=2)


def test_over_http_subscribing_points_to_the_websocket() -> None:
    async def check(node: Serving, socket: Socket) -> None:
        error = (await node.call("events.subscribe"))["error"]

        assert (error["code"], error["data"]["code"]) == (-32000, "events/WebSocketOnly")

    serve(check)


def test_a_message_over_the_limit_closes_with_its_code() -> None:
    async def check(node: Serving, socket: Socket) -> None:
        await socket.send_str(" " * 2_001)
        message = await socket.receive()

        assert message.type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1009

    serve(check, body_bytes_max=2_000)


def test_a_stopping_node_says_goodbye() -> None:
    async def check(node: Serving, socket: Socket) -> None:
        await subscribe(socket)
        stopping = asyncio.create_task(node.server.stop())
        message = await socket.receive()
        await stopping

        assert message.type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1001

    serve(check)


def test_many_calls_at_once_are_all_answered() -> None:
    async def check(node: Serving, socket: Socket) -> None:
        for number in range(CALLS_MAX * 4):
            await socket.send_json(call("chain.status", identity=number))
        answers = [await socket.receive_json() for _ in range(CALLS_MAX * 4)]

        assert sorted(answer["id"] for answer in answers) == list(range(CALLS_MAX * 4))

    serve(check)


def test_a_slow_reader_is_told_once_and_closed_while_others_go_on() -> None:
    async def run() -> None:
        world = make_world()
        async with Serving(world, Limits(queue_max=20)) as node:
            slow = await raw_socket(node)
            async with node.session.ws_connect("/ws") as quick:
                await subscribe(quick, filter={"event": "chain.block"})
                await make_blocks_until_dropped(world, quick)
            words = await read_all(slow)

        assert words.count(b"events.dropped") == 1
        assert CLOSE_SLOW.to_bytes(2, "big") + b"too slow" in words
        assert words.index(b"events.dropped") < words.index(b"too slow")

    asyncio.run(run())


async def raw_socket(node: Serving) -> asyncio.StreamReader:
    """Return a WebSocket that has subscribed 20 times and is not read."""
    plain = sockets.socket()
    plain.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
    plain.setblocking(False)
    host, _, port = node.url.removeprefix("http://").partition(":")
    await asyncio.get_running_loop().sock_connect(plain, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=plain, limit=1_024)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    text = msgspec.json.encode([call("events.subscribe") for _ in range(20)])
    masked = bytes((0x81, 0x80 | 126)) + len(text).to_bytes(2, "big") + bytes(4) + text
    writer.write(masked)
    await writer.drain()
    reader._keep = writer  # type: ignore[attr-defined]  # a writer that is collected closes
    return reader


async def make_blocks_until_dropped(world: World, quick: Socket) -> None:
    """Make blocks until the only subscriber left is the one that reads."""
    height = world.machine.head.height
    hub = world.listeners[0].__self__  # type: ignore[attr-defined]  # a bound method
    while len(hub._live) < 21:
        await asyncio.sleep(0)
    while len(hub._live) > 1:
        for _ in range(20):
            world.pay()
        world.block()
        height += 1
        await events_until(quick, height)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    words = b""
    while chunk := await reader.read(65_536):
        words += chunk
        if b"too slow" in words:
            break
    reader._keep.close()  # type: ignore[attr-defined]  # see raw_socket
    return words


def test_a_connection_whose_replay_breaks_is_closed_as_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Hub, height: int) -> BlockEvents:
        raise Corruption("a row is missing")

    async def check(node: Serving, socket: Socket) -> None:
        await subscribe(socket, from_height=1)
        message = await socket.receive()

        assert message.type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1011

    monkeypatch.setattr(Hub, "block", broken)
    serve(check)
    assert "a row is missing" in caplog.text


# --- the queue --------------------------------------------------------------------------------


def test_a_queue_takes_one_block_of_any_size_and_overflows_with_the_next() -> None:
    async def run() -> None:
        outbox = Outbox(2)
        outbox.put([b"1", b"2", b"3", b"4"])
        assert not outbox.overflowed
        assert await outbox.get() == b"1"
        outbox.put([b"5"])

        assert outbox.overflowed
        assert await outbox.get() is None

    asyncio.run(run())


def test_room_is_made_by_reading_and_by_overflow() -> None:
    async def run() -> None:
        outbox = Outbox(2)
        outbox.put([b"1", b"2"])
        waiting = asyncio.create_task(outbox.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        await outbox.get()
        await waiting

        outbox.put([b"3", b"4", b"5"])
        outbox.put([b"6"])
        await outbox.room()

    asyncio.run(run())


def test_the_hub_ignores_blocks_it_has_told_of_already() -> None:
    world = make_world()
    hub = Hub(world)
    told: list[int] = []

    async def run() -> None:
        subscription = Subscription("1", EventFilter(), 9)

        async def room() -> None:
            return

        def deliver(subscription: Subscription, block: BlockEvents) -> None:
            subscription.take(block)
            told.append(block.height)

        await hub.follow(subscription, room, deliver)
        block = world.block()
        hub._hear(block)

    asyncio.run(run())
    assert told == [9]
