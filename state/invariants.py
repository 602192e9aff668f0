"""What must hold of every finalised state (protocol.md N-account.5 and each family's own)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from chain.errors import Corruption
from chain.ids import NCOLO, Kind
from chain.types import ROYALTY_UNITS

from .module import Scanner
from .modules.account import BALANCES, SUPPLIES
from .modules.ip import IPS
from .registry import Registry


def broken_invariants(registry: Registry, state: Scanner) -> Iterator[str]:
    """Yield a sentence for every invariant the state breaks."""
    yield from _money(registry, state)
    for module in registry.modules:
        for name, check in module.invariants.items():
            problem = check(state)
            if problem is not None:
                yield f"{name}: {problem}"


def check_state(registry: Registry, state: Scanner) -> None:
    """Raise ``Corruption`` with the first broken invariant."""
    for problem in broken_invariants(registry, state):
        raise Corruption(problem)


def _money(registry: Registry, state: Scanner) -> Iterator[str]:
    """Per denomination, everything held equals the supply (N-account.5)."""
    held: Counter[bytes] = Counter()
    for module in registry.modules:
        if module.money is not None:
            for denom, amount in module.money(state):
                held[denom] += amount
    for key, supply in SUPPLIES.scan(state):
        denom = NCOLO if not any(key) else key
        total = held.pop(denom, 0)
        if total != int.from_bytes(supply.amount, "big"):
            yield (
                f"money: {total} of denomination {denom.hex() or 'ncolo'} is held, the supply is "
                f"{int.from_bytes(supply.amount, 'big')}"
            )
    yield from _royalty_units(state, held)


def _royalty_units(state: Scanner, held: Counter[bytes]) -> Iterator[str]:
    """The units of an IP sum to 100 000 000; those never moved are implicit."""
    for denom, total in held.items():
        if denom[:1] != bytes((Kind.IP,)):
            yield f"money: {total} of an unknown denomination {denom.hex() or 'ncolo'} is held"
            continue
        if not IPS.has(state, denom):
            yield f"money: royalty units of an unknown IP {denom.hex()}"
        if BALANCES.get(state, denom + denom) is None:
            total += ROYALTY_UNITS
        if total != ROYALTY_UNITS:
            yield f"money: the royalty units of {denom.hex()} sum to {total}"
