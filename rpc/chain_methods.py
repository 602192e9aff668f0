"""``chain.*`` and ``state.proof``: blocks, headers, proofs, validators, parameters, supply."""

from __future__ import annotations

from typing import Annotated

from chain.application import Job
from chain.certificate import Certificate, Evidence
from chain.codec import U32, U64, Hash, Record, encode, encode_amount
from chain.committee import Member
from chain.errors import Rejected
from chain.fields import Amount, Denom, data, text
from chain.finality import FinalityProof
from chain.genesis import GenesisValidator
from chain.header import Header, epoch_of
from chain.ids import NCOLO, Kind
from chain.params import Params
from chain.types import ROYALTY_UNITS
from state.modules.account import supply_of
from state.modules.ip import require_registered
from state.queries import RANGE_MAX, ChainReader, NotFound, ProvenValue, Unavailable

from .backend import Backend, Status
from .methods import Method, method

GENESIS_PART_BYTES = 1_048_576
"""Bytes of the genesis document in one answer; a network of some 20 000 accounts fits one."""
RECENT_BLOCKS = 20
"""Blocks that ``chain.blocks`` returns if it is not told which."""
KEY_BYTES_MAX = 256
"""No state key is longer: a family's name, a table and fixed-width fields."""


class HeaderView(Record):
    """A final block's header; ``raw`` are the bytes whose tagged hash is ``id`` (B1)."""

    height: U64
    id: Hash
    header: Header
    raw: bytes


class BlockView(Record):
    """A final block: its header and what stands under the header's roots."""

    height: U64
    id: Hash
    header: Header
    parent_certificate: Certificate | None
    transactions: list[Hash]
    """Ids, in order; ``tx.get`` tells the rest."""
    evidence: list[Evidence]
    raw_header: bytes


class BlockSummary(Record):
    """One line of a list of blocks."""

    height: U64
    id: Hash
    time_ms: U64
    proposer_index: U32
    transactions: U32
    units: U64
    """Declared units of its transactions."""
    base_fee: U64
    """µncolo per unit."""


class FinalityView(Record):
    """That a block is final (V12); ``raw`` is the encoded proof, for offline verifiers."""

    height: U64
    block_id: Hash
    proof: FinalityProof
    raw: bytes


class GenesisView(Record):
    """The genesis document: its summary, and its encoding in parts of at most 1 MiB."""

    hash: Hash
    chain_id: str
    time_ms: U64
    params: Params
    validators: list[GenesisValidator]
    accounts: U32
    """How many accounts have money from the start."""
    size: U64
    """Bytes of the whole encoding."""
    part: U32
    parts: U32
    raw: bytes
    """This part; all parts in order are what ``hash`` is the tagged hash of (G1)."""


class ValidatorsView(Record):
    """The committee of an epoch; votes and certificates name members by their index here."""

    height: U64
    epoch: U64
    hash: Hash
    total_power: U64
    members: list[Member]


class SupplyView(Record):
    """Units of a denomination that exist."""

    height: U64
    denom: Denom
    amount: Amount


class ChainMethods:
    """The methods of the namespace, over one node."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._reader: ChainReader = backend.reader
        self._genesis = encode(backend.reader.machine.genesis)

    def methods(self) -> list[Method]:
        """Return their descriptions."""
        return [
            method("chain.status", self.status),
            method("chain.genesis", self.genesis),
            method("chain.params", self.params),
            method("chain.block", self.block),
            method("chain.blocks", self.blocks),
            method("chain.header", self.header),
            method("chain.certificate", self.certificate),
            method("chain.validators", self.validators),
            method("chain.supply", self.supply),
            method("state.proof", self.proof),
        ]

    def status(self) -> Status:
        """Return what the node says of itself: network, head, health, load."""
        return self._backend.status()

    def genesis(self, *, part: U32 = 0) -> GenesisView:
        """Return the genesis document: a summary, and its encoding in parts of 1 MiB."""
        genesis, raw = self._reader.machine.genesis, self._genesis
        parts = -(-len(raw) // GENESIS_PART_BYTES)
        if part >= parts:
            raise NotFound("chain/NoSuchPart", f"the document has {parts} parts", parts=parts)
        start = part * GENESIS_PART_BYTES
        return GenesisView(
            self._reader.machine.genesis_hash, genesis.chain_id, genesis.time_ms, genesis.params,
            genesis.validators, len(genesis.accounts), len(raw), part, parts,
            raw[start : start + GENESIS_PART_BYTES],
        )  # fmt: skip

    def params(self) -> Params:
        """Return the network's parameters."""
        return self._reader.machine.params

    def block(self, *, height: U64 | None = None, hash: Hash | None = None) -> BlockView:
        """Return a final block by height or by id; the newest if neither is given."""
        block = self._reader.block(self._height(height, hash))
        header, body = block.header, block.body
        return BlockView(
            header.height, block.id, header, body.parent_certificate, block.transaction_ids,
            body.evidence, encode(header),
        )  # fmt: skip

    def blocks(self, *, from_: U64 | None = None, to: U64 | None = None) -> Job[list[BlockSummary]]:
        """Return a line about each block from one height to another, at most 100, ascending.

        Without parameters the newest 20; ``to`` beyond the head means the head.
        """
        head = self._reader.machine.head.height
        last = head if to is None else min(to, head)
        first = max(last - RECENT_BLOCKS + 1, 1) if from_ is None else from_
        if last - first >= RANGE_MAX:
            raise Rejected(
                "rpc/RangeTooWide",
                f"{last - first + 1} blocks, at most {RANGE_MAX} in one answer",
                limit=RANGE_MAX,
            )
        if from_ is not None and not 1 <= from_ <= head:
            raise Unavailable(
                "chain/NoSuchHeight",
                f"no block {from_}; heights 1 to {head} are there",
                first=1,
                last=head,
            )
        summaries = []
        for height in range(first, last + 1):
            summaries.append(self._summary(height))
            yield  # a full block and its receipts take 0.2 ms to read
        return summaries

    def _summary(self, height: int) -> BlockSummary:
        header = self._reader.header(height)
        return BlockSummary(
            height, header.id(), header.time_ms, header.proposer_index,
            len(self._reader.raw_receipts(height)), header.units_limit_used, header.base_fee,
        )  # fmt: skip

    def header(self, *, height: U64 | None = None, hash: Hash | None = None) -> HeaderView:
        """Return the header of a final block by height or by id; the newest by default."""
        header = self._reader.header(self._height(height, hash))
        return HeaderView(header.height, header.id(), header, encode(header))

    def certificate(self, *, height: U64 | None = None) -> FinalityView:
        """Return the finality proof of a block, by default of the newest (V12)."""
        proof = self._reader.finality(self._height(height, None))
        target = proof.target
        return FinalityView(target.height, target.id(), proof, encode(proof))

    def validators(self, *, height: U64 | None = None) -> ValidatorsView:
        """Return the committee that agrees on a height, by default on the next one."""
        machine = self._reader.machine
        wanted = machine.head.height + 1 if height is None else height
        epoch = epoch_of(wanted, machine.params.epoch_length)
        committee = machine.committee
        return ValidatorsView(
            wanted, epoch, committee.hash, committee.total, list(committee.members)
        )

    def supply(self, *, denom: Denom = NCOLO) -> SupplyView:
        """Return how many units of a denomination exist, by default of ncolo."""
        with self._reader.context() as context:
            amount = supply_of(context.state, denom)
            if denom[:1] == bytes((Kind.IP,)):
                require_registered(context.state, denom)
                amount = ROYALTY_UNITS
            return SupplyView(context.height, denom, encode_amount(amount))

    def proof(
        self,
        *,
        module: Annotated[str, text(20)],
        key: Annotated[bytes, data(KEY_BYTES_MAX)],
        height: U64 | None = None,
    ) -> ProvenValue:
        """Prove what a state key holds, or that it is absent, under a final header (A6, V12).

        ``key`` is the whole key (A2), ``module`` the family it begins with. The state is the one
        that the newest header names, so ``height`` may only be that of the head's parent.
        """
        if not key.startswith(module.encode() + b"\0"):
            raise Rejected(
                "state/KeyOfOtherModule",
                f"the key does not begin with {module!r} and a zero byte",
                module=module,
            )
        provable = max(self._reader.machine.head.height - 1, 0)
        if height is not None and height != provable:
            raise Unavailable(
                "state/NotProvableThere",
                f"this node proves the state after height {provable}, not after {height}",
                first=provable,
                last=provable,
            )
        return self._reader.prove(key)

    def _height(self, height: int | None, block_id: bytes | None) -> int:
        if height is not None and block_id is not None:
            raise Rejected("chain/HeightOrHash", "give height or hash, not both")
        if block_id is not None:
            return self._reader.height_of(block_id)
        return self._reader.machine.head.height if height is None else height
