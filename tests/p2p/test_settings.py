"""Settings that could never work are refused where they are made."""

from __future__ import annotations

from typing import Any

import pytest

from chain.errors import Misuse
from p2p.settings import Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"inbound_max": 0},
        {"handshake_ms": -1},
        {"dial_retry_ms_min": 2, "dial_retry_ms_max": 1},
        {"ping_ms": 5, "idle_ms": 5},
    ],
)
def test_a_setting_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Misuse, match=r"p2p\."):
        Settings(**wrong)
