"""Fees per time and the genesis document: arithmetic against exact models, refusals by code."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import fees
from chain.codec import encode
from chain.crypto import SigningKey
from chain.errors import Rejected
from chain.genesis import (
    GENESIS,
    Genesis,
    GenesisAccount,
    GenesisModule,
    GenesisValidator,
    check_genesis,
)
from chain.json_form import record_from_json, record_to_json
from chain.params import ModuleVersion, Params

KEY = SigningKey(bytes(31) + b"\1").public_key
PARAMS = Params(modules=[ModuleVersion("bank", 1)])


def genesis(**changes: Any) -> Genesis:
    """Return a good document with some fields changed."""
    good = Genesis(
        1, "test", 0, bytes(16), PARAMS, [GenesisValidator(KEY, 1)],
        [GenesisAccount(bytes(21), b"\1")], [],
    )  # fmt: skip
    return msgspec.structs.replace(good, **changes)


def params(**changes: Any) -> Genesis:
    """Return a document with parameters changed."""
    return genesis(params=msgspec.structs.replace(PARAMS, **changes))


BAD = {
    "genesis/Version": genesis(version=2),
    "genesis/DuplicateValidator": genesis(validators=[GenesisValidator(KEY, 1)] * 2),
    "genesis/ZeroPower": genesis(validators=[GenesisValidator(KEY, 0)]),
    "genesis/TooMuchPower": genesis(validators=[GenesisValidator(KEY, 2**61)]),
    "genesis/AccountOrder": genesis(accounts=[GenesisAccount(bytes(21), b"\1")] * 2),
    "genesis/SupplyOverflow": genesis(
        accounts=[GenesisAccount(bytes(21), b"\xff" * 16),
                  GenesisAccount(bytes(20) + b"\1", b"\1")]
    ),
    "genesis/ModuleOrder": genesis(modules=[GenesisModule("b", b""), GenesisModule("a", b"")]),
    "crypto/WeakKey": genesis(validators=[GenesisValidator(bytes(32), 1)]),
    "field/WrongKind": genesis(accounts=[GenesisAccount(b"\2" + bytes(20), b"\1")]),
}  # fmt: skip


def test_a_good_document_passes_and_comes_back_from_bytes_and_json() -> None:
    document = genesis()

    check_genesis(document)

    assert GENESIS.decode(encode(document)) == document
    assert record_from_json(Genesis, record_to_json(document), "") == document


@pytest.mark.parametrize("code", BAD)
def test_a_bad_document_is_refused_by_its_code(code: str) -> None:
    with pytest.raises(Rejected) as caught:
        check_genesis(BAD[code])

    assert caught.value.code == code


@pytest.mark.parametrize(
    "changes",
    [
        {"tx_units_max": 10**9},
        {"tx_bytes_max": 70_000},
        {"block_bytes_max": 1_000},
        {"block_bytes_max": 2**25},
        {"base_fee_genesis": 1},
        {"units_per_second": 0},
        {"delta_ms": 0},
        {"block_interval_ms_min": 0},
        {"heartbeat_ms": 10},
    ],
)
def test_parameters_that_contradict_each_other_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(Rejected, match="genesis/BadParams"):
        check_genesis(params(**changes))


def test_every_field_is_in_the_hash() -> None:
    changed = [
        genesis(chain_id="other"), genesis(time_ms=1), genesis(nonce=b"\1" * 16),
        params(dev=True), genesis(accounts=[]),
    ]  # fmt: skip

    assert len({document.hash() for document in [genesis(), *changed]}) == 6


@given(st.integers(0, 10**6), st.integers(0, 10**12))
def test_the_base_part_rounds_up(units: int, base_fee: int) -> None:
    exact = Fraction(units * base_fee, 10**6)

    assert exact <= fees.base_part(units, base_fee) < exact + 1


@given(st.integers(1, 10**4), st.integers(0, 10**8), st.integers(-(10**4), 10**6))
def test_the_highest_base_fee_that_an_amount_pays_for(
    units: int, base_fee: int, ncolo: int
) -> None:
    within = fees.base_part(units, base_fee) <= ncolo

    assert within == (base_fee <= fees.base_fee_within(units, ncolo))


FEES = st.integers(PARAMS.base_fee_floor, 10**15)


@given(FEES, st.integers(0, 250_000), st.integers(1, 10**7))
def test_the_base_fee_moves_at_most_an_eighth_and_never_below_the_floor(
    fee: int, used: int, elapsed_ms: int
) -> None:
    after = fees.next_base_fee(PARAMS, fee, used, elapsed_ms)

    assert abs(after - fee) <= max(fee // 8, 1)
    assert after >= PARAMS.base_fee_floor
    target = PARAMS.units_per_second * min(elapsed_ms, fees.FEE_WINDOW_MS) // 1000
    if used > target:
        assert after > fee
    if used <= target:
        assert after <= fee


def test_the_fee_is_per_time_not_per_block() -> None:
    fast = slow = 10**9
    for _ in range(50):
        fast = fees.next_base_fee(PARAMS, fast, 200_000, 100)
    for _ in range(4):
        slow = fees.next_base_fee(PARAMS, slow, 250_000, 1_250)

    assert 10**9 < fast < 2 * 10**9
    assert slow < 10**9
