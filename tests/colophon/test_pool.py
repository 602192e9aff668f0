"""How much of a pool the clients of one node may take (docs/operating.md)."""

from __future__ import annotations

import pytest

from colophon.config import MempoolSection
from colophon.network.intake import INTAKE_MAX
from colophon.pool import CLIENTS_MIN, share_of_clients

DEFAULT = MempoolSection().transactions_max


@pytest.mark.parametrize(
    ("transactions_max", "validators", "share"),
    [
        (DEFAULT, 1, DEFAULT),
        (DEFAULT, 4, DEFAULT // 8),
        (DEFAULT, 100, CLIENTS_MIN),
        (600, 4, 600),
    ],
)
def test_the_clients_of_all_fill_half_a_pool(
    transactions_max: int, validators: int, share: int
) -> None:
    assert share_of_clients(transactions_max, validators) == share


@pytest.mark.parametrize("validators", [2, 3, 4, 5])
def test_what_the_clients_of_all_others_have_waits_here_unread_if_it_must(validators: int) -> None:
    assert (validators - 1) * share_of_clients(DEFAULT, validators) <= INTAKE_MAX
