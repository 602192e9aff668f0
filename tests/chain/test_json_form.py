"""JSON forms: every message comes back from its own JSON; wrong JSON is refused by field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.errors import Rejected
from chain.fields import Blob
from chain.json_form import (
    from_json,
    parse_amount,
    parse_denom,
    parse_integer,
    record_from_json,
    record_to_json,
    to_json,
)
from chain.json_schema import json_schema
from chain.transaction import make_blob
from state.families import REGISTRY
from state.modules.bank import Send
from state.modules.ip.asset import IpKind
from tests.strategies import messages


@settings(max_examples=200)
@given(messages())
def test_every_message_comes_back_from_its_json(message: Any) -> None:
    form = record_to_json(message)

    assert form["type"] in REGISTRY.messages
    assert record_from_json(type(message), form, "") == message


def refused(kind: Any, form: Any) -> str:
    """Return the code with which a form is refused."""
    with pytest.raises(Rejected) as caught:
        from_json(kind, form, "x")
    return caught.value.code


SEND = {"to": "colo1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqe489vu", "denom": "ncolo", "amount": "5"}


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ([], "json/WrongType"),
        ({**SEND, "colour": 1}, "json/UnknownField"),
        ({"to": SEND["to"]}, "json/MissingField"),
        ({**SEND, "amount": -1}, "json/WrongType"),
        ({**SEND, "amount": "1e3"}, "json/WrongType"),
        ({**SEND, "amount": 1.5}, "json/WrongType"),
        ({**SEND, "amount": True}, "json/WrongType"),
        ({**SEND, "amount": str(2**128)}, "json/WrongType"),
        ({**SEND, "amount": "٣"}, "json/WrongType"),
        ({**SEND, "to": 5}, "json/WrongType"),
        ({**SEND, "to": "colo1x"}, "id/Malformed"),
        ({**SEND, "denom": SEND["to"]}, "id/WrongKind"),
        ({**SEND, "denom": None}, "json/WrongType"),
    ],
)
def test_wrong_forms_name_their_problem(form: Any, code: str) -> None:
    assert refused(Send, form) == code


def test_scalars_of_every_kind() -> None:
    assert refused(bool, 1) == "json/WrongType"
    assert refused(str, 1) == "json/WrongType"
    assert refused(bytes, "zz") == "json/WrongType"
    assert refused(bytes, "0xz") == "json/WrongType"
    assert refused(IpKind, "novel") == "json/WrongType"
    assert refused(list[int], 3) == "json/WrongType"
    assert refused(int, "9" * 30) == "json/OutOfRange"
    assert refused(Blob, "text") == "json/NoAttachment"
    assert refused(Blob, 3) == "json/WrongType"
    assert from_json(IpKind, "model", "x") is IpKind.MODEL
    assert parse_integer("12", "x") == 12 and parse_amount(12, "x") == 12
    assert parse_denom("ncolo", "x") == b""


def test_large_integers_are_text_and_blobs_show_their_content() -> None:
    blob, attachment = make_blob(bytes(16), "héllo".encode())

    assert to_json(int, 2**53) == 2**53
    assert to_json(int, 2**53 + 1) == str(2**53 + 1)
    shown = to_json(Blob, blob, lambda digest: attachment.data if digest == blob.hash else None)
    assert shown == {"hash": "0x" + blob.hash.hex(), "length": 6, "text": "héllo"}
    assert "text" not in to_json(Blob, blob)
    assert to_json(Blob, blob, lambda digest: b"\xff")["hex"] == "0xff"


def test_a_blob_may_be_given_as_text_hex_or_ready_made() -> None:
    made: list[bytes] = []

    def attach(content: bytes) -> Blob:
        made.append(content)
        return make_blob(bytes(16), content)[0]

    from_json(Blob, "text", "x", attach)
    from_json(Blob, {"hex": "0x00ff"}, "x", attach)
    ready = from_json(Blob, {"hash": "0x" + "11" * 32, "length": 4}, "x")

    assert made == [b"text", b"\x00\xff"] and ready == Blob(b"\x11" * 32, 4)


def test_every_message_and_event_has_a_schema() -> None:
    for kind in [*REGISTRY.messages.values(), *REGISTRY.events.values()]:
        schema = json_schema(kind)
        assert schema["type"] == "object" and schema["properties"] is not None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_json_is_a_message_or_refused(form: Any) -> None:
    for kind in REGISTRY.messages.values():
        try:
            record_from_json(kind, form, "")
        except Rejected:
            continue
