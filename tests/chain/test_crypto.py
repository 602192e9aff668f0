"""Signatures: the one strict rule, its self-test, weak keys."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import crypto
from chain.crypto import SigningKey, require_public_key, self_test, verify_signature
from chain.ed25519_cases import CASES
from chain.errors import Corruption, Rejected

KEY = SigningKey(bytes(range(32)))
FIELD = 2**255 - 19
EXTRA_DATA = "COLOPHON_EXTRA_DATA"
"""Environment variable: a directory with the complete public data, where it is at hand."""


def test_the_library_draws_the_line_where_the_protocol_does() -> None:
    self_test()


def test_a_library_that_draws_it_elsewhere_stops_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crypto, "verify_signature", lambda *parts: None)

    with pytest.raises(Corruption, match="edge case 0"):
        self_test()


def test_only_case_three_is_valid() -> None:
    assert [number for number, case in enumerate(CASES) if case.valid] == [3]


@given(st.binary(max_size=100), st.integers(0, 511))
def test_a_flipped_bit_anywhere_in_a_signature_is_found(message: bytes, bit: int) -> None:
    signature = bytearray(KEY.sign(message))
    verify_signature(KEY.public_key, message, bytes(signature))

    signature[bit // 8] ^= 1 << bit % 8

    with pytest.raises(Rejected, match="BadSignature"):
        verify_signature(KEY.public_key, message, bytes(signature))


def test_a_signature_with_the_group_order_added_is_refused() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    signature = KEY.sign(b"x")
    s = int.from_bytes(signature[32:], "little") + order

    with pytest.raises(Rejected):
        verify_signature(KEY.public_key, b"x", signature[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_wrong_lengths_are_refusals_no_crashes(length: int) -> None:
    with pytest.raises(Rejected):
        verify_signature(bytes(length), b"", KEY.sign(b""))
    with pytest.raises(Rejected):
        verify_signature(KEY.public_key, b"", bytes(length))


SMALL_ORDER = sorted(crypto._SMALL_ORDER_Y)


@pytest.mark.parametrize("y", SMALL_ORDER)
@pytest.mark.parametrize("sign", [0, 1])
def test_points_of_small_order_are_no_keys(y: int, sign: int) -> None:
    key = (y | sign << 255).to_bytes(32, "little")

    with pytest.raises(Rejected, match="WeakKey"):
        require_public_key(key)


@pytest.mark.parametrize("y", [FIELD, FIELD + 1, 2**255 - 1])
def test_keys_that_are_not_canonical_are_refused(y: int) -> None:
    with pytest.raises(Rejected, match="WeakKey"):
        require_public_key(y.to_bytes(32, "little"))


@given(st.integers(2, FIELD - 2), st.integers(0, 1))
def test_a_key_is_a_point_exactly_if_its_x_has_a_root(y: int, sign: int) -> None:
    """x² = (y² − 1) / (d·y² + 1) is a square iff numerator times denominator is (Euler)."""
    d = -121665 * pow(121666, -1, FIELD) % FIELD
    on_curve = pow((y * y - 1) * (d * y * y + 1) % FIELD, (FIELD - 1) // 2, FIELD) == 1
    key = (y | sign << 255).to_bytes(32, "little")

    if on_curve:
        require_public_key(key)
    else:
        with pytest.raises(Rejected, match="no point"):
            require_public_key(key)


def test_the_small_order_points_are_those_of_order_one_two_four_and_eight() -> None:
    d = -121665 * pow(121666, -1, FIELD) % FIELD

    def double(y: int) -> int:
        """Return y of 2P by the curve equation; x² follows from y."""
        xx = (y * y - 1) * pow(d * y * y + 1, -1, FIELD) % FIELD
        return (y * y + xx) * pow(2 + xx - y * y, -1, FIELD) % FIELD

    for y in SMALL_ORDER:
        assert double(double(double(y))) == 1


def test_an_ordinary_key_is_accepted() -> None:
    require_public_key(KEY.public_key)


def test_the_shipped_cases_are_the_public_ones() -> None:
    given = os.environ.get(EXTRA_DATA)
    if given is None:
        pytest.skip(f"set {EXTRA_DATA} to a directory with ed25519/speccheck_cases.json")
    path = Path(given) / "ed25519" / "speccheck_cases.json"
    public = json.loads(path.read_text(encoding="ascii"))

    shipped = [(case.message, case.public_key, case.signature) for case in CASES]

    assert shipped == [(item["message"], item["pub_key"], item["signature"]) for item in public]
