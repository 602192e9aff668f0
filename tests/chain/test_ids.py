"""Ids: kinds, derivation, bech32m text that finds every typing error of one character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.errors import Misuse, Rejected
from chain.ids import (
    PREFIX,
    TREASURY,
    Kind,
    address_of,
    derive_id,
    format_id,
    module_id,
    parse_id,
)

RAW = st.builds(
    lambda kind, body: bytes((kind,)) + body,
    st.sampled_from(list(Kind)),
    st.binary(min_size=20, max_size=20),
)


@given(RAW)
def test_text_comes_back_and_names_its_kind(raw: bytes) -> None:
    text = format_id(raw)

    assert parse_id(text) == raw
    assert text.startswith(PREFIX[Kind(raw[0])] + "1")
    assert parse_id(text, Kind(raw[0])) == raw


@given(RAW, st.integers(0, 60), st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
def test_one_wrong_character_is_always_found(raw: bytes, place: int, char: str) -> None:
    text = format_id(raw)
    place %= len(text)
    wrong = text[:place] + char + text[place + 1 :]
    if wrong == text:
        return

    with pytest.raises(Rejected, match="id/Malformed"):
        parse_id(wrong)


@given(st.text(max_size=100))
def test_any_text_is_an_id_or_refused(text: str) -> None:
    try:
        raw = parse_id(text)
    except Rejected:
        return
    assert format_id(raw) == text


def test_the_prefix_must_fit_the_kind_inside() -> None:
    account = format_id(bytes(21))

    with pytest.raises(Rejected, match="id/Malformed"):
        parse_id("ip" + account[4:])
    with pytest.raises(Rejected, match="id/WrongKind"):
        parse_id(account, Kind.IP)
    with pytest.raises(Rejected, match="id/Malformed"):
        parse_id(account.upper())


def test_ids_differ_in_everything_they_are_made_of() -> None:
    base = (Kind.IP, bytes(32), bytes(21), 0, 0, [0], 0)
    changes = [
        (Kind.LOT, *base[1:]),
        (base[0], b"\1" * 32, *base[2:]),
        (*base[:2], b"\1" * 21, *base[3:]),
        (*base[:3], 1, *base[4:]),
        (*base[:4], 1, *base[5:]),
        (*base[:5], [0, 0], 0),
        (*base[:6], 1),
    ]

    ids = {derive_id(*parts) for parts in [base, *changes]}  # type: ignore[arg-type]  # a tuple

    assert len(ids) == len(changes) + 1


def test_an_address_does_not_depend_on_the_network() -> None:
    assert address_of(bytes(32)) == address_of(bytes(32))
    assert address_of(bytes(32))[0] == Kind.ACCOUNT


def test_modules_have_readable_ids() -> None:
    assert b"\x01treasury" + bytes(12) == TREASURY
    with pytest.raises(Misuse):
        module_id("x" * 21)


def test_only_ids_are_formatted() -> None:
    with pytest.raises(Misuse):
        format_id(b"\x63" + bytes(20))
    with pytest.raises(Misuse):
        format_id(bytes(20))
