"""What the chain keeps for royalties: lineage edges, vaults, settlements, debts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import starmap
from struct import Struct
from typing import NamedTuple

from chain.codec import U8, U32, U64, CounterBytes, Record, encode_amount
from chain.errors import Rejected
from chain.fields import Denom
from chain.ids import NCOLO
from chain.types import U192_MAX

from ...module import Reader, Scanner, Table, Writer
from .shares import Policy


class Link(NamedTuple):
    """One edge to a parent, fixed for ever; the share in 1e-8."""

    parent: bytes
    share: int


class Lineage(Record):
    """An IP's place among its relatives."""

    version: U8
    policy: Policy
    stack: U64
    """Sum of shares above, in 1e-8 (N-royalty.2)."""
    ancestors: U32
    edges: U32
    """Edges in the graph of its ancestors, its own included."""
    children: U32
    links: bytes
    """Its edges to its parents, as ``pack_links`` makes them: only walks unpack them."""

    @property
    def derives(self) -> bool:
        """Whether the IP has parents."""
        return self.edges > 0


class Vault(Record):
    """An IP's revenue in one denomination; all counters only rise."""

    received: CounterBytes
    base: CounterBytes
    """``received`` when the IP joined its lineage: what came before is all its own."""
    inflow: CounterBytes
    """Settled from descendants."""
    outflow: CounterBytes
    """Settled to ancestors."""
    claimed: CounterBytes


class Settlement(Record):
    """What a descendant has settled to an ancestor in one denomination."""

    amount: CounterBytes


class NetShare(Record):
    """An ancestor's net share of a descendant's revenue, kept from its first use."""

    share: U64


class Denoms(Record):
    """Denominations an IP accepts, in the order they came."""

    denoms: list[Denom]


class Debt(Record):
    """What a holder's units had already earned before it held them, times the units."""

    negative: bool
    magnitude: CounterBytes


LINEAGES = Table("royalty", 1, Lineage, key_bytes=21)
VAULTS = Table("royalty", 2, Vault, key_bytes=42)
SETTLEMENTS = Table("royalty", 3, Settlement, key_bytes=63)
NET_SHARES = Table("royalty", 4, NetShare, key_bytes=42)
DENOMS = Table("royalty", 5, Denoms, key_bytes=21)
DEBTS = Table("royalty", 6, Debt, key_bytes=63)

_LINK = Struct(">21sQ")
NO_LINEAGE = Lineage(1, Policy.NONE, 0, 0, 0, 0, b"")
EMPTY_VAULT = Vault(b"", b"", b"", b"", b"")
UNSETTLED = Settlement(b"")


def wide(denom: bytes) -> bytes:
    """Return a denomination as 21 bytes, for keys."""
    return denom.ljust(21, b"\0")


def lineage_of(state: Reader, ip: bytes) -> Lineage:
    """Return an IP's lineage; without links it is empty."""
    return LINEAGES.get(state, ip) or NO_LINEAGE


def links_of(state: Reader, ip: bytes) -> list[Link]:
    """Return an IP's edges to its parents, in the order they were named."""
    return [Link(*edge) for edge in _LINK.iter_unpack(lineage_of(state, ip).links)]


def pack_links(links: Iterable[Link]) -> bytes:
    """Return edges as a lineage keeps them: for each the parent's id and the share as u64."""
    return b"".join(starmap(_LINK.pack, links))


def vault_of(state: Reader, ip: bytes, denom: bytes) -> Vault:
    """Return an IP's vault in a denomination; unused ones are empty."""
    return VAULTS.get(state, ip + wide(denom)) or EMPTY_VAULT


def put_vault(state: Writer, ip: bytes, denom: bytes, vault: Vault) -> None:
    """Store a vault."""
    VAULTS.put(state, ip + wide(denom), vault)


def accepted_denoms(state: Reader, ip: bytes) -> list[bytes]:
    """Return the denominations an IP may be paid in, ``ncolo`` first."""
    row = DENOMS.get(state, ip)
    return [NCOLO] if row is None else row.denoms


def add_counter(raw: bytes, amount: int) -> bytes:
    """Return a counter with ``amount`` added; ``royalty/CounterOverflow`` past its width."""
    total = int.from_bytes(raw, "big") + amount
    if total > U192_MAX:
        raise Rejected("royalty/CounterOverflow", "a revenue counter would pass 2^192-1")
    return encode_amount(total)


def get_debt(state: Reader, ip: bytes, holder: bytes, denom: bytes) -> int:
    """Return a holder's signed debt (N-royalty.6)."""
    row = DEBTS.get(state, ip + holder + wide(denom))
    if row is None:
        return 0
    magnitude = int.from_bytes(row.magnitude, "big")
    return -magnitude if row.negative else magnitude


def put_debt(state: Writer, ip: bytes, holder: bytes, denom: bytes, debt: int) -> None:
    """Store a holder's signed debt; ``royalty/CounterOverflow`` past 255 bits."""
    if debt.bit_length() > 255:
        raise Rejected("royalty/CounterOverflow", "a debt would pass 2^255-1")
    key = ip + holder + wide(denom)
    if debt == 0:
        DEBTS.delete(state, key)
    else:
        DEBTS.put(state, key, Debt(debt < 0, encode_amount(abs(debt))))


def vault_money(state: Scanner) -> Iterator[tuple[bytes, int]]:
    """Yield (denomination, amount) of the money that lies in vaults (N-account.5)."""
    for key, row in VAULTS.scan(state):
        held = (
            int.from_bytes(row.received, "big")
            + int.from_bytes(row.inflow, "big")
            - int.from_bytes(row.outflow, "big")
            - int.from_bytes(row.claimed, "big")
        )
        yield key[21:] if any(key[21:]) else NCOLO, held
