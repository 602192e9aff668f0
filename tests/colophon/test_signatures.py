"""Every waiter gets the verdict on its own signatures, however they are packed together."""

from __future__ import annotations

import asyncio

import pytest

from chain.crypto import SigningKey
from colophon.gate import Gate
from colophon.signatures import CHUNK, BatchVerifier, Item, SignatureWorkers, verify_items


def item(number: int, *, good: bool = True) -> Item:
    key, message = SigningKey(bytes([number % 256]) * 32), number.to_bytes(32, "big")
    signature = key.sign(message if good else bytes(32))
    return key.public_key + message + signature


def test_each_item_is_judged_by_itself() -> None:
    items = [item(n + 1, good=n % 3 != 1) for n in range(9)]

    assert verify_items(b"".join(items)) == [n % 3 != 1 for n in range(9)]
    assert verify_items(b"") == []


@pytest.mark.parametrize("waiters", [1, 5, CHUNK + 40])
def test_each_waiter_hears_of_its_own_items(waiters: int) -> None:
    bad = {0, waiters // 2, waiters - 1} if waiters > 1 else set[int]()

    async def run() -> list[bool]:
        verifier = BatchVerifier(SignatureWorkers(0), Gate())
        asked = [
            verifier.verify([item(3 * n + 1), item(3 * n + 2, good=n not in bad)])
            for n in range(waiters)
        ]
        return list(await asyncio.gather(*asked))

    assert asyncio.run(run()) == [n not in bad for n in range(waiters)]
