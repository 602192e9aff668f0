"""What happens to royalties (N-royalty.1 – N-royalty.8).

Revenue is one rising number per IP and denomination. Who may have how much of it follows from
shares fixed at the link and from who holds royalty units when; nothing is ever pooled between
IPs, and what a division leaves over waits inside the number.
"""

from __future__ import annotations

from collections.abc import Container, Generator

import msgspec

from chain import fees
from chain.codec import encode_amount
from chain.errors import Rejected
from chain.ids import NCOLO, Kind, format_id
from chain.types import PERCENT, ROYALTY_UNITS

from ...context import Context
from ...deposits import put_kept
from ...module import Reader, Steps
from ..account import balance_of, credit, debit, denom_name, move_balance
from ..ip import is_expired, require_exists, require_owner, require_registered, store
from . import messages as m
from . import rows
from .shares import WHOLE, Edges, Policy, net_shares

MOVES_MAX = 1_280
"""Settlements and payments of one claim: (sources + holders) times denominations."""
NODE_UNITS = 4
"""Metered units per ancestor visited when a net share is computed for the first time."""
EDGE_UNITS = 1
MOVE_UNITS = m.MOVE_WEIGHT + fees.KEY_WRITE_UNITS * m.MOVE_WRITES

# --- denominations ----------------------------------------------------------------------------


def apply_accept(ctx: Context, message: m.Accept) -> None:
    """N-royalty.1: the owner adds denominations; none is ever removed."""
    row = require_owner(ctx, message.ip)
    for denom in message.denoms:
        require_payable(denom)
    added = accept_denoms(ctx, message.ip, message.denoms)
    store(ctx, message.ip, row)
    ctx.emit(m.Accepted(message.ip, added))


def require_payable(denom: bytes) -> None:
    """Refuse denominations no IP can be paid in."""
    if denom[:1] == bytes((Kind.IP,)):
        raise Rejected(
            "royalty/NotWhitelistedRoyaltyToken",
            f"{denom_name(denom)} can be held, but not paid as royalty",
            denom=denom,
        )
    if denom != NCOLO:
        raise Rejected("bank/UnknownDenom", f"no token {format_id(denom)}", denom=denom)


def accept_denoms(ctx: Context, ip: bytes, denoms: list[bytes]) -> list[bytes]:
    """Add denominations to an IP's list and return those that were new."""
    accepted = rows.accepted_denoms(ctx.state, ip)
    new = [denom for denom in denoms if denom not in accepted]
    if len(accepted) + len(new) > m.DENOMS_MAX:
        raise Rejected(
            "royalty/TooManyDenominations",
            f"{format_id(ip)} accepts {len(accepted)} denominations, {len(new)} more are too many",
            limit=m.DENOMS_MAX,
        )
    if new:
        put_kept(ctx, rows.DENOMS, ip, rows.Denoms(accepted + new))
    return new


# --- lineage ----------------------------------------------------------------------------------


def ancestor_graph(
    ctx: Context, start: bytes, known: Container[bytes] = ()
) -> Generator[int, None, dict[bytes, Edges]]:
    """Return the edges of ``start`` and of all its ancestors, those in ``known`` left out.

    The walk is metered (F4), in steps; its size is bounded by the limits at the link.
    """
    graph: dict[bytes, Edges] = {}
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node in graph or node in known:
            continue
        edges = rows.links_of(ctx.state, node)
        units = NODE_UNITS + EDGE_UNITS * len(edges)
        ctx.spend(units)
        yield units
        graph[node] = edges
        waiting.extend(parent for parent, _ in edges)
    return graph


def link(
    ctx: Context, child: bytes, policy: Policy, links: list[rows.Link], graph_size: tuple[int, int]
) -> None:
    """Join ``child`` to its parents, once and for ever (N-royalty.2).

    The caller has checked the licence side and counted the ancestors and edges (``graph_size``).
    Raises ``royalty/UnitsOutside``, ``royalty/RoyaltyPolicyMismatch``, ``royalty/AboveMaxPercent``.
    """
    if balance_of(ctx.state, child, child) != ROYALTY_UNITS:
        raise Rejected(
            "royalty/UnitsOutside",
            f"some royalty units of {format_id(child)} are held by others",
            ip=child,
        )
    parents = [rows.lineage_of(ctx.state, edge.parent) for edge in links]
    stack = _stack(policy, links, parents)
    ancestors, edges = graph_size
    own = rows.lineage_of(ctx.state, child)
    packed = rows.pack_links(links)
    lineage = rows.Lineage(1, policy, stack, ancestors, edges, own.children, packed)
    put_kept(ctx, rows.LINEAGES, child, lineage)
    for denom in rows.accepted_denoms(ctx.state, child):
        vault = rows.vault_of(ctx.state, child, denom)
        if vault.received:
            rows.put_vault(
                ctx.state, child, denom, msgspec.structs.replace(vault, base=vault.received)
            )
    for edge, parent in zip(links, parents, strict=True):
        larger = msgspec.structs.replace(parent, children=parent.children + 1)
        put_kept(ctx, rows.LINEAGES, edge.parent, larger)
    shares = [edge.share for edge in links]
    ctx.emit(m.Linked(child, policy, [edge.parent for edge in links], shares))


def _stack(policy: Policy, links: list[rows.Link], parents: list[rows.Lineage]) -> int:
    """Return the child's stack; no part of a payment can be promised twice."""
    stack = 0
    for edge, parent in zip(links, parents, strict=True):
        if parent.derives and parent.policy != policy:
            raise Rejected(
                "royalty/RoyaltyPolicyMismatch",
                f"{format_id(edge.parent)} stands in a lineage of {parent.policy.name}, "
                f"not {policy.name}",
                parent=edge.parent,
            )
        stack += edge.share + (parent.stack if policy is Policy.LAP else 0)
    if stack > PERCENT:
        raise Rejected(
            "royalty/AboveMaxPercent",
            f"the shares above sum to {stack}, at most {PERCENT}",
            found=stack,
            limit=PERCENT,
        )
    return stack


# --- paying -----------------------------------------------------------------------------------


def apply_pay(ctx: Context, message: m.Pay) -> None:
    """N-royalty.5: O(1) whatever the lineage; the protocol fee may not floor to 0."""
    if message.payer_ip is not None:
        require_owner(ctx, message.payer_ip)
    pay(ctx, message.ip, message.denom, int.from_bytes(message.amount, "big"), message.payer_ip,
        message.reference)  # fmt: skip


def pay(
    ctx: Context,
    ip: bytes,
    denom: bytes,
    amount: int,
    payer_ip: bytes | None = None,
    reference: bytes | None = None,
) -> None:
    """Pay an IP as ``royalty.pay`` does, for families that pay as part of something else."""
    fee = amount * ctx.params.royalty_fee // PERCENT
    if ctx.params.royalty_fee and fee == 0 and amount:
        raise Rejected(
            "royalty/PaymentAmountIsTooLow",
            f"the protocol fee on {amount} floors to 0",
            amount=amount,
        )
    _receive(ctx, ip, denom, amount, fee, payer_ip, reference)


def pay_license_fee(ctx: Context, licensor: bytes, denom: bytes, amount: int) -> None:
    """Pay a minting fee: licensor's revenue; a protocol fee that floors to 0 is 0."""
    fee = amount * ctx.params.royalty_fee // PERCENT
    _receive(ctx, licensor, denom, amount, fee, None, None)


def _receive(
    ctx: Context,
    ip: bytes,
    denom: bytes,
    amount: int,
    fee: int,
    payer_ip: bytes | None,
    reference: bytes | None,
) -> None:
    if amount == 0:
        raise Rejected("royalty/ZeroAmount", "the amount is 0")
    row = require_registered(ctx.state, ip)
    if is_expired(row.expires_at, ctx.time_ms):
        raise Rejected("royalty/IpExpired", f"{format_id(ip)} has expired", ip=ip)
    if denom not in rows.accepted_denoms(ctx.state, ip):
        raise Rejected(
            "royalty/NotWhitelistedRoyaltyToken",
            f"{format_id(ip)} does not accept {denom_name(denom)}",
            ip=ip,
            denom=denom,
        )
    debit(ctx.state, ctx.actor, denom, amount)
    if fee:
        ctx.treasury_gets(denom, fee)
    vault = rows.vault_of(ctx.state, ip, denom)
    received = rows.add_counter(vault.received, amount - fee)
    rows.put_vault(ctx.state, ip, denom, msgspec.structs.replace(vault, received=received))
    ctx.emit(
        m.Paid(
            ip, ctx.actor, payer_ip, denom, encode_amount(amount), encode_amount(amount - fee),
            reference,
        )
    )  # fmt: skip


# --- settling ---------------------------------------------------------------------------------


def _keep_net_share(ctx: Context, source: bytes, ip: bytes) -> Generator[int, None, int]:
    """Return ``net(source, ip)`` in 1e-16 and keep it for the next time (N-royalty.3, 4)."""
    graph = yield from ancestor_graph(ctx, source)
    policy = rows.lineage_of(ctx.state, source).policy
    edges = sum(map(len, graph.values()))
    yield edges  # of a large graph, the arithmetic alone is a step
    share = net_shares(policy, graph, source).get(ip)
    yield edges
    if share is None:
        raise Rejected(
            "royalty/ZeroClaimableRoyalty",
            f"{format_id(source)} is no descendant of {format_id(ip)}",
            source=source,
        )
    rows.NET_SHARES.put(ctx.state, source + ip, rows.NetShare(share))
    return share


def own_share(lineage: rows.Lineage) -> int:
    """Return ``net(x,x)``: under LAP and LRP alike what the stack leaves (N-royalty.3, 4).

    Known without a walk, so moving units and paying holders is O(1) in ancestors.
    """
    return WHOLE - PERCENT * lineage.stack


def own_part(vault: rows.Vault, share: int) -> int:
    """Return what an IP keeps of its own revenue: always current (N-royalty.6)."""
    base = int.from_bytes(vault.base, "big")
    return base + (int.from_bytes(vault.received, "big") - base) * share // WHOLE


def due(state: Reader, source: bytes, ip: bytes, denom: bytes, share: int) -> int:
    """Return what ``source`` still owes its ancestor ``ip`` (N-royalty.6)."""
    settled = rows.SETTLEMENTS.get(state, source + ip + rows.wide(denom))
    return _owed(rows.vault_of(state, source, denom), settled or rows.UNSETTLED, share)


def _owed(vault: rows.Vault, settled: rows.Settlement, share: int) -> int:
    revenue = int.from_bytes(vault.received, "big") - int.from_bytes(vault.base, "big")
    return revenue * share // WHOLE - int.from_bytes(settled.amount, "big")


def _settle(ctx: Context, source: bytes, ip: bytes, denom: bytes, share: int) -> int:
    key = source + ip + rows.wide(denom)
    giver = rows.vault_of(ctx.state, source, denom)
    settled = rows.SETTLEMENTS.get(ctx.state, key) or rows.UNSETTLED
    amount = _owed(giver, settled, share)
    assert amount >= 0, "entitlements only rise"
    if amount == 0:
        return 0
    rows.SETTLEMENTS.put(ctx.state, key, rows.Settlement(rows.add_counter(settled.amount, amount)))
    outflow = rows.add_counter(giver.outflow, amount)
    rows.put_vault(ctx.state, source, denom, msgspec.structs.replace(giver, outflow=outflow))
    taker = rows.vault_of(ctx.state, ip, denom)
    inflow = rows.add_counter(taker.inflow, amount)
    rows.put_vault(ctx.state, ip, denom, msgspec.structs.replace(taker, inflow=inflow))
    ctx.emit(m.Settled(source, ip, denom, encode_amount(amount)))
    return amount


# --- units and claims -------------------------------------------------------------------------


def accrued(state: Reader, ip: bytes, denom: bytes) -> int:
    """Return ``A(ip) = in + own``: all that ever entered the vault for unit holders."""
    return _accrued_in(rows.vault_of(state, ip, denom), rows.lineage_of(state, ip))


def _accrued_in(vault: rows.Vault, lineage: rows.Lineage) -> int:
    return int.from_bytes(vault.inflow, "big") + own_part(vault, own_share(lineage))


def claimable(state: Reader, ip: bytes, holder: bytes, denom: bytes, total: int) -> int:
    """Return what a holder may claim when ``total`` has accrued (N-royalty.6)."""
    return _unclaimed(balance_of(state, holder, ip), rows.get_debt(state, ip, holder, denom), total)


def _unclaimed(units: int, debt: int, total: int) -> int:
    return (total * units - debt) // ROYALTY_UNITS


def move_units(ctx: Context, ip: bytes, source: bytes, target: bytes, units: int) -> None:
    """Move royalty units: what they have earned so far stays with the giver (N-royalty.6)."""
    require_exists(ctx.state, ip)
    move_balance(ctx.state, source, target, ip, units)
    for denom in rows.accepted_denoms(ctx.state, ip):
        moved = accrued(ctx.state, ip, denom) * units
        if moved:
            for holder, change in ((source, -moved), (target, moved)):
                debt = rows.get_debt(ctx.state, ip, holder, denom)
                rows.put_debt(ctx.state, ip, holder, denom, debt + change)
    ctx.emit(m.UnitsMoved(ip, source, target, encode_amount(units)))


def apply_claim(ctx: Context, message: m.Claim) -> Steps:
    """N-royalty.7: open to everyone; each holder is paid into its own balance."""
    row = require_registered(ctx.state, message.ip)
    denoms = list(dict.fromkeys(message.denoms))
    sources = list(dict.fromkeys(message.sources))
    holders = list(dict.fromkeys(message.holders))
    if (len(sources) + len(holders)) * len(denoms) > MOVES_MAX:
        raise Rejected(
            "royalty/TooManySettlements",
            f"{len(sources)} sources and {len(holders)} holders in {len(denoms)} denominations",
            limit=MOVES_MAX,
        )
    if not holders:
        holders = [ctx.actor]
        if row.owner == ctx.actor:
            holders.append(message.ip)
    moved = yield from _settle_sources(ctx, message.ip, sources, denoms)
    for denom in denoms:
        moved += yield from _pay_holders(ctx, message.ip, denom, holders)
    if moved == 0 and not message.may_be_empty:
        raise Rejected(
            "royalty/NoClaimableTokens", f"nothing to claim from {format_id(message.ip)}"
        )


def _settle_sources(
    ctx: Context, ip: bytes, sources: list[bytes], denoms: list[bytes]
) -> Generator[int, None, int]:
    accepted = rows.accepted_denoms(ctx.state, ip)
    settled = 0
    for source in sources:
        if source == ip:
            raise Rejected("royalty/SameIpTransfer", f"{format_id(ip)} owes itself nothing")
        kept = rows.NET_SHARES.get(ctx.state, source + ip)
        share = kept.share if kept else (yield from _keep_net_share(ctx, source, ip))
        for denom in denoms:
            if denom in accepted:
                settled += _settle(ctx, source, ip, denom, share)
        yield MOVE_UNITS * len(denoms)
    return settled


def _pay_holders(
    ctx: Context, ip: bytes, denom: bytes, holders: list[bytes]
) -> Generator[int, None, int]:
    vault = rows.vault_of(ctx.state, ip, denom)
    total = _accrued_in(vault, rows.lineage_of(ctx.state, ip))
    paid = 0
    for holder in holders:
        debt = rows.get_debt(ctx.state, ip, holder, denom)
        amount = _unclaimed(balance_of(ctx.state, holder, ip), debt, total)
        if amount > 0:
            rows.put_debt(ctx.state, ip, holder, denom, debt + amount * ROYALTY_UNITS)
            credit(ctx.state, holder, denom, amount)
            ctx.emit(m.Claimed(ip, holder, denom, encode_amount(amount)))
            paid += amount
        yield MOVE_UNITS
    if paid:
        claimed = rows.add_counter(vault.claimed, paid)
        rows.put_vault(ctx.state, ip, denom, msgspec.structs.replace(vault, claimed=claimed))
    return paid
