"""From a parent's state and a list of transactions to the next state (protocol.md B4–B7, R1–R3).

``execute`` is the whole story: authorise all, begin rules, messages, end rules. It is written as
steps, so that the node's loop can serve consensus in between (protocol.md C19).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from chain import fees
from chain.application import CertifyFault, Job
from chain.codec import U32, Record, encode, encode_amount
from chain.errors import Rejected
from chain.fields import Amount
from chain.genesis import Genesis
from chain.hashing import tagged_hash
from chain.ids import NCOLO, SYSTEM, TREASURY
from chain.merkle import list_root
from chain.params import Params
from chain.types import PERCENT

from .authorise import authorise
from .context import BlockContext, Context
from .deposits import pay_deposits
from .module import Event, Message, Steps
from .modules import account
from .overlay import Overlay
from .pace import Pace
from .registry import Registry, Transaction

STEP_AUTHORISED = 256
"""Transactions authorised between two yields: 10 µs each."""

OK, FAILED = 0, 1

BlockRule = Callable[[BlockContext], None]


E = TypeVar("E")


class Receipt(Record, Generic[E]):
    """What a transaction did; committed in the receipts root (R1)."""

    tx_id: bytes
    status: int
    message_index: U32
    """Index of the message that failed; 0 on success."""
    code: str
    """``family/Reason`` of the failure; empty on success."""
    units: int
    fee: Amount
    events: list[E]


@dataclass(frozen=True, slots=True)
class Environment:
    """What a block's header says to its execution."""

    genesis_hash: bytes
    params: Params
    height: int
    time_ms: int
    base_fee: int


@dataclass(slots=True)
class Executed:
    """The result of a block."""

    overlay: Overlay
    receipts: list[bytes] = field(default_factory=list)
    events: list[list[Event]] = field(default_factory=list)
    """Typed events of each transaction, for the indexes."""
    refusals: dict[int, Rejected] = field(default_factory=dict)
    """Why a transaction failed, with its sentence and values, for RPC only."""

    @property
    def receipts_root(self) -> bytes:
        """``list_root`` over ``H("receipt", receipt)`` (R2)."""
        return list_root([tagged_hash("receipt", receipt) for receipt in self.receipts])


class Executor:
    """Runs blocks; holds the registry and nothing of the chain."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._apply = registry.apply
        self._begin = [module.begin for module in registry.modules if module.begin]
        self._end = [module.end for module in registry.modules if module.end]

    def open_block(self, overlay: Overlay, environment: Environment) -> BlockContext:
        """Return the context of a block over ``overlay``."""
        return BlockContext(
            state=overlay,
            genesis_hash=environment.genesis_hash,
            height=environment.height,
            time_ms=environment.time_ms,
            params=environment.params,
            base_fee=environment.base_fee,
            dispatch=self._dispatch,
            read_nested=self.registry.read_nested,
        )

    def authorise_all(
        self, overlay: Overlay, environment: Environment, transactions: Iterable[Transaction]
    ) -> Job[None]:
        """Authorise every transaction in order (B4), in steps; raises the first refusal.

        ``overlay`` then holds the debits; on a refusal it must be thrown away.
        """
        block = self.open_block(overlay, environment)
        for done, tx in enumerate(transactions, start=1):
            authorise(block, tx)
            overlay.commit()
            if done % STEP_AUTHORISED == 0:
                yield

    def execute(
        self, overlay: Overlay, environment: Environment, transactions: list[Transaction]
    ) -> Job[Executed]:
        """Run the messages of authorised transactions (B5), yielding every few milliseconds.

        Raises ``CertifyFault`` if a rule breaks; ``overlay`` must then be thrown away.
        """
        block = self.open_block(overlay, environment)
        executed = Executed(overlay)
        self._run_rules(self._begin, block, overlay)
        pace = Pace()
        for index, tx in enumerate(transactions):
            try:
                counted = 0
                for done in self._run(block, overlay, tx, index, executed):
                    counted += done
                    if pace.is_over(done):
                        yield
            except Exception as cause:
                raise CertifyFault(
                    tx.id, f"a rule broke on transaction {tx.id.hex()}: {cause!r}"
                ) from cause
            if pace.is_over(max(tx.units - counted, 0)):
                yield
        self._run_rules([*self._end, _settle_fees], block, overlay)
        overlay.forget_reads()
        return executed

    def _run_rules(self, rules: list[BlockRule], block: BlockContext, overlay: Overlay) -> None:
        for rule in rules:
            try:
                rule(block)
            except Exception as cause:
                raise CertifyFault(None, f"a block rule broke: {cause!r}") from cause
            overlay.commit()

    def _run(
        self, block: BlockContext, overlay: Overlay, tx: Transaction, index: int, out: Executed
    ) -> Steps:
        """Run one transaction, all or nothing, and append its receipt (B5, R1).

        Yields the units done between its messages, and inside those that come in steps.
        """
        body = tx.body
        ctx = Context(block, body.sender, body.lane, body.seq, index)
        status, at, code = OK, 0, ""
        last = len(body.messages) - 1
        try:
            for at, message in enumerate(body.messages):
                ctx.begin_message(at, message.metered())
                steps = self._apply[type(message)](ctx, message)
                if steps is not None:
                    yield from steps
                pay_deposits(ctx)
                if steps is None and at < last:
                    yield message.units()
            at = 0
        except Rejected as refusal:
            overlay.rollback()
            status, code = FAILED, refusal.code
            ctx.events = []
            out.refusals[index] = refusal
        else:
            overlay.commit()
            block.deposits += ctx.deposits
            for denom, amount in ctx.flows.items():
                block.flows[denom] = block.flows.get(denom, 0) + amount
        units, fee = _settle_units(block, overlay, tx, ctx.units_used)
        out.events.append(ctx.events)
        out.receipts.append(
            encode((tx.id, status, at, code, units, encode_amount(fee), ctx.events))
        )

    def _dispatch(self, ctx: Context, message: Message) -> Steps:
        """Run a nested message whole."""
        steps = self._apply[type(message)](ctx, message)
        if steps is None:
            yield message.units()
        else:
            yield from steps
        pay_deposits(ctx)

    def genesis(self, overlay: Overlay, genesis: Genesis) -> None:
        """Write the genesis state (G4)."""
        environment = Environment(
            genesis.hash(), genesis.params, 0, genesis.time_ms, genesis.params.base_fee_genesis
        )
        block = self.open_block(overlay, environment)
        supply = 0
        for entry in genesis.accounts:
            amount = int.from_bytes(entry.balance, "big")
            account.credit(overlay, entry.address, NCOLO, amount)
            supply += amount
        account.change_supply(overlay, NCOLO, supply)
        states = {module.name: module.state for module in genesis.modules}
        for module in self.registry.modules:
            state = states.pop(module.name, None)
            if module.genesis is not None:
                ctx = Context(block, SYSTEM, 0, 0, 0)
                ctx.begin_message(0, 0)
                module.genesis(ctx, state)
            elif state is not None:
                raise Rejected("genesis/NoModuleState", f"{module.name} takes no genesis state")
        if states:
            raise Rejected("genesis/UnknownModule", f"no modules {sorted(states)}")
        overlay.commit()


def _settle_units(
    block: BlockContext, overlay: Overlay, tx: Transaction, used: int
) -> tuple[int, int]:
    """Return (units charged, fee) and give the unused part back (F4)."""
    charged = tx.units
    base = fees.base_part(charged, block.base_fee)
    declared = tx.metered
    if declared:
        unspent = declared - max(min(used, declared), declared // 2)
        charged = max(tx.work - unspent, tx.bytes_units)
        unused = base - fees.base_part(charged, block.base_fee)
        base -= unused
        if unused:
            account.credit(overlay, tx.body.sender, NCOLO, unused)
            overlay.commit()
    block.base_fees += base
    tip = int.from_bytes(tx.body.tip, "big")
    block.tips += tip
    return charged, base + tip


def _settle_fees(block: BlockContext) -> None:
    """Burn a share of the base fees, give the rest and the tips to the treasury (F5)."""
    if block.deposits > 0:
        account.credit(block.state, account.DEPOSITS, NCOLO, block.deposits)
    elif block.deposits < 0:
        account.debit(block.state, account.DEPOSITS, NCOLO, -block.deposits)
    for denom, amount in block.flows.items():
        account.credit(block.state, TREASURY, denom, amount)
    burned = block.base_fees * block.params.fee_burn // PERCENT
    earned = block.base_fees - burned + block.tips
    if earned:
        account.credit(block.state, TREASURY, NCOLO, earned)
    if burned:
        account.change_supply(block.state, NCOLO, -burned)
