"""JSON-RPC 2.0 in bytes: the specification's own examples (section 7), and every malformed shape.

A dispatcher over three toy methods is asked directly, without a network.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from chain.application import Job
from chain.codec import U64
from chain.errors import Rejected
from rpc.backend import Busy, TimedOut
from rpc.jsonrpc import ERRORS, Dispatcher, RpcError
from rpc.methods import method
from state.queries import NotFound, Unavailable

BATCH_MAX = 10


def subtract(*, minuend: U64, subtrahend: U64) -> int:
    """Return the difference."""
    return minuend - subtrahend


def total(*, a: U64, b: U64, c: U64) -> int:
    """Return the sum."""
    return a + b + c


def get_data() -> list[str]:
    """Return something."""
    return ["hello", "5"]


async def later(*, value: U64 = 7) -> int:
    """Return a value after a turn of the loop."""
    await asyncio.sleep(0)
    return value


def refuse(*, how: str) -> int:
    """Raise a refusal of a kind."""
    kinds = {"not found": NotFound, "unavailable": Unavailable, "busy": Busy, "late": TimedOut}
    kind = kinds.get(how, Rejected)
    raise kind("ip/Reason", "a sentence", message_index=2, hash=b"\1", large=2**60, small=[1, True])


def unknown_object() -> int:
    """Raise what a query raises about an object that does not exist."""
    raise Rejected("anchor/UnknownLog", "no such log")


def broken() -> int:
    """Have a bug."""
    raise ZeroDivisionError("a secret of the inside")


METHODS = [
    method("subtract", subtract), method("sum", total), method("get_data", get_data),
    method("later", later), method("refuse", refuse), method("broken", broken),
    method("unknown_object", unknown_object),
    method("refuse_change", unknown_object, reads=False),
]  # fmt: skip


def answer(raw: bytes | str) -> Any:
    """Return the decoded answer to a request; None if there is none."""
    table = {entry.name: entry for entry in METHODS}
    raw = raw.encode() if isinstance(raw, str) else raw
    given = asyncio.run(Dispatcher(table, batch_max=BATCH_MAX).answer(raw))
    return None if given is None else msgspec.json.decode(given)


def ask(name: str, params: Any = None, identity: Any = 1) -> Any:
    request = {"jsonrpc": "2.0", "method": name, "id": identity}
    return answer(json.dumps(request if params is None else {**request, "params": params}))


# --- section 7 of the specification -----------------------------------------------------------


@pytest.mark.parametrize(
    ("request_text", "expected"),
    [
        (
            '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
            {"jsonrpc": "2.0", "result": 19, "id": 1},
        ),
        (
            '{"jsonrpc": "2.0", "method": "subtract", "params": '
            '{"subtrahend": 23, "minuend": 42}, "id": 3}',
            {"jsonrpc": "2.0", "result": 19, "id": 3},
        ),
        (
            '{"jsonrpc": "2.0", "method": "subtract", "params": '
            '{"minuend": 42, "subtrahend": 23}, "id": 4}',
            {"jsonrpc": "2.0", "result": 19, "id": 4},
        ),
        ('{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4]}', None),
        ('{"jsonrpc": "2.0", "method": "foobar"}', None),
    ],
)
def test_the_examples_that_succeed(request_text: str, expected: Any) -> None:
    assert answer(request_text) == expected


@pytest.mark.parametrize(
    ("request_text", "code", "identity"),
    [
        ('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', -32601, "1"),
        ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', -32700, None),
        ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', -32600, None),
        (
            '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},'
            ' {"jsonrpc": "2.0", "method"]',
            -32700,
            None,
        ),
        ("[]", -32600, None),
    ],
)
def test_the_examples_that_fail(request_text: str, code: int, identity: Any) -> None:
    given = answer(request_text)

    assert given["error"]["code"] == code
    assert given["id"] == identity
    assert "result" not in given


def test_the_examples_of_invalid_batches() -> None:
    assert [item["error"]["code"] for item in answer("[1]")] == [-32600]
    assert [item["error"]["code"] for item in answer("[1,2,3]")] == [-32600] * 3


def test_the_example_of_a_mixed_batch() -> None:
    given = answer(
        """[
        {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
        {"jsonrpc": "2.0", "method": "later", "params": [7]},
        {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
        ]"""
    )

    assert [item["id"] for item in given] == ["1", "2", None, "5", "9"]
    assert [item.get("result") for item in given] == [7, 19, None, None, ["hello", "5"]]
    assert [item.get("error", {}).get("code") for item in given] == [
        None, None, -32600, -32601, None,
    ]  # fmt: skip


def test_the_example_of_a_batch_of_notifications() -> None:
    text = """[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4]},
               {"jsonrpc": "2.0", "method": "later", "params": [7]}]"""

    assert answer(text) is None


# --- malformed shapes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"", b" ", b"\xff", b'{"a": "\xed\xa0\x80"}', b'"\\ud800"', b"\xef\xbb\xbf{}", b"NaN",
        b"1e400", b"{" * 100, b"[" * 60_000, b"[" * 60_000 + b"]" * 60_000, b"9" * 5_000,
        b'{"jsonrpc":"2.0","method":"sum","id":1e400}', b"{'jsonrpc': '2.0'}", b"nul",
    ],
)  # fmt: skip
def test_what_is_no_json_is_a_parse_error(raw: bytes) -> None:
    given = answer(raw)

    assert given["error"]["code"] == -32700
    assert given["id"] is None


@pytest.mark.parametrize(
    "raw",
    [
        "null", "true", "7", '"text"', "1.5", "{}", '{"jsonrpc": "1.0", "method": "sum"}',
        '{"jsonrpc": 2.0, "method": "sum"}', '{"jsonrpc": "2.0"}',
        '{"jsonrpc": "2.0", "method": null, "id": 1}', '{"jsonrpc": "2.0", "method": ["sum"]}',
        '{"jsonrpc": "2.0", "method": "sum", "params": null, "id": 1}',
        '{"jsonrpc": "2.0", "method": "sum", "params": 5, "id": 1}',
        '{"jsonrpc": "2.0", "method": "sum", "params": "bar", "id": 1}',
    ],
)  # fmt: skip
def test_json_that_is_no_call_is_an_invalid_request(raw: str) -> None:
    assert answer(raw)["error"]["code"] == -32600


@pytest.mark.parametrize("identity", ["1.5", "true", "false", "[]", "[1]", "{}", '{"a": [[]]}'])
def test_an_id_of_another_type_is_refused_and_not_echoed(identity: str) -> None:
    given = answer('{"jsonrpc": "2.0", "method": "get_data", "id": ' + identity + "}")

    assert given["error"]["code"] == -32600
    assert given["id"] is None


@pytest.mark.parametrize("identity", [0, -1, 2**53, 2**64, 10**40, "", "ä", None])
def test_an_id_comes_back_as_it_came(identity: Any) -> None:
    given = ask("get_data", identity=identity)

    assert given == {"jsonrpc": "2.0", "id": identity, "result": ["hello", "5"]}


def test_an_id_of_null_is_no_notification() -> None:
    assert answer('{"jsonrpc": "2.0", "method": "get_data", "id": null}')["id"] is None


def test_a_batch_has_a_largest_length() -> None:
    one = '{"jsonrpc": "2.0", "method": "get_data", "id": 1}'

    assert len(answer(f"[{','.join([one] * BATCH_MAX)}]")) == BATCH_MAX
    assert answer(f"[{','.join([one] * (BATCH_MAX + 1))}]")["error"]["code"] == -32600


def test_a_batch_of_garbage_is_answered_item_by_item() -> None:
    given = answer('[null, true, 1.5, "x", [], [[]], {}, {"jsonrpc": "2.0", "id": 3}]')

    assert [item["error"]["code"] for item in given] == [-32600] * 8
    assert [item["id"] for item in given] == [None] * 7 + [3]


def test_a_notification_is_never_answered_not_even_with_an_error() -> None:
    assert answer('{"jsonrpc": "2.0", "method": "broken"}') is None
    assert answer('{"jsonrpc": "2.0", "method": "sum", "params": [1]}') is None


# --- parameters -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"minuend": 1, "subtrahend": 2, "x": 3}, "rpc/UnknownParam"),
        ({"minuend": 1}, "rpc/MissingParam"),
        ([], "rpc/MissingParam"),
        ([1, 2, 3], "rpc/TooManyParams"),
        ([1, None], "json/WrongType"),
        ([1, True], "json/WrongType"),
        ([1, 1.5], "json/WrongType"),
        ([1, "-1"], "json/WrongType"),
        ([1, -1], "json/OutOfRange"),
        ([1, 2**64], "json/OutOfRange"),
        ([1, 10**300], "json/OutOfRange"),
        ([1, "9" * 5_000], "json/WrongType"),
        ([1, [[[[]]]]], "json/WrongType"),
        ([1, {"a": {"b": {}}}], "json/WrongType"),
    ],
)
def test_wrong_parameters_are_named(params: Any, reason: str) -> None:
    error = ask("subtract", params)["error"]

    assert error["code"] == -32602
    assert error["data"]["code"] == reason
    assert len(error["message"]) < 300


def test_deeply_nested_parameters_are_refused_as_any_other() -> None:
    deep = b"[" * 900 + b"]" * 900
    raw = b'{"jsonrpc":"2.0","method":"sum","id":1,"params":[1,2,' + deep + b"]}"

    assert answer(raw)["error"]["code"] == -32602


def test_an_integer_may_come_as_decimal_text() -> None:
    assert ask("subtract", ["18446744073709551615", 1])["result"] == "18446744073709551614"


def test_a_parameter_with_a_default_may_be_left_out() -> None:
    assert ask("later")["result"] == 7


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("refused", -32000), ("not found", -32001), ("unavailable", -32002), ("busy", -32003),
        ("late", -32004),
    ],
)  # fmt: skip
def test_a_refusal_has_its_code_reason_place_and_values(how: str, code: int) -> None:
    error = ask("refuse", [how])["error"]

    assert error == {
        "code": code,
        "message": "a sentence",
        "data": {
            "code": "ip/Reason",
            "message_index": 2,
            "details": {"hash": "0x01", "large": str(2**60), "small": [1, True]},
        },
    }


def test_an_object_that_is_not_there_is_not_found_for_a_reader_only() -> None:
    assert ask("unknown_object")["error"]["code"] == -32001
    assert ask("refuse_change")["error"]["code"] == -32000


def test_a_bug_shows_nothing_of_the_inside(caplog: pytest.LogCaptureFixture) -> None:
    error = ask("broken")["error"]

    assert error["code"] == -32603
    assert "secret" not in json.dumps(error)
    assert "ZeroDivisionError" in caplog.text


def test_every_error_code_is_in_the_table() -> None:
    standard = {-32700, -32600, -32601, -32602, -32603}
    assert set(ERRORS) == standard | set(range(-32004, -31999))


def test_calls_are_counted_by_outcome() -> None:
    dispatcher = Dispatcher({entry.name: entry for entry in METHODS}, batch_max=BATCH_MAX)
    for name in ("get_data", "get_data", "unknown_object", "no such", "nor this"):
        request = {"jsonrpc": "2.0", "id": 1, "method": name}
        asyncio.run(dispatcher.answer(msgspec.json.encode(request)))

    assert dispatcher.outcomes == {
        ("get_data", "ok"): 2,
        ("unknown_object", "-32001"): 1,
        ("unknown", "-32601"): 2,
    }


def test_a_long_answer_gives_way_between_its_steps_and_is_ended_by_a_refusal() -> None:
    order: list[str] = []

    def count(*, to: U64) -> Job[int]:
        """Count in steps."""
        try:
            for number in range(to):
                order.append(f"step {number}")
                yield
                if number == 2:
                    raise Rejected("test/TooFar", "three is too far")
            return to
        finally:
            order.append("closed")

    async def give_way() -> None:
        order.append("others")

    dispatcher = Dispatcher({"count": method("count", count)}, batch_max=1, give_way=give_way)

    assert asyncio.run(dispatcher.call("count", {"to": 2})) == 2
    assert order == ["step 0", "others", "step 1", "others", "closed"]
    with pytest.raises(RpcError, match="too far"):
        asyncio.run(dispatcher.call("count", {"to": 9}))
    assert order[-3:] == ["step 2", "others", "closed"]
