"""A proof in one file that an interaction is anchored (protocol.md X11, X12).

It is checked without a node. The chain of reasoning, from what the reader trusts to what the
reader learns: a committee → the committees after it → a final header → the state root in it → a
log's checkpoint → a batch → a record's leaf → the fields shown. An interaction anchored by itself
goes from the state root to its leaf at once. How a bundle is written as JSON: ``bundle_json.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from .anchored import ANCHORED, LOG, anchored_key, log_key
from .committee import Member
from .crypto import verify_signature
from .disclosure import Disclosure, Statement, open_disclosure
from .errors import Rejected
from .finality import FinalityProof, LightClient
from .header import Header
from .ids import Kind
from .merkle import verify_log_inclusion
from .record import Batch
from .state_proof import StateProof, verify_state_proof
from .vote import Verifier

HOPS_MAX = 1_024
"""Epochs a bundle may lead through; a reader who trusts a later committee needs fewer."""
ROW_VERSION = 1
"""Version of the state rows this code can read."""

PROVES = (
    "This proves: an authorised account of this log (or the actor itself) bound exactly these "
    "fields at this place, no later than the header's time, and nothing else can stand there."
)
DOES_NOT_PROVE = (
    "This does not prove: that the fields are true, that a model ran, the order inside a batch, "
    "or that this is the only record of its interaction."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlace:
    """Where a record stands in a log."""

    batch: Batch
    index: int
    """Place of the record in its batch, from 0."""
    leaf_path: tuple[bytes, ...]
    """From the record's leaf to the batch's root."""
    batch_path: tuple[bytes, ...]
    """From the batch's hash to the checkpoint's root."""
    size: int
    """Batches under the checkpoint; it must be the one in the proven state."""
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StateValue:
    """One key of the state after some block, with its proof (A6)."""

    key: bytes
    value: bytes
    proof: StateProof


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """The last block of an epoch is final, and these are the members it names (V15)."""

    finality: FinalityProof
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Everything a reader needs besides a committee to trust; nothing in it is checked yet."""

    trust: LightClient
    """The committee the bundle begins at. A reader compares it with one known otherwise."""
    record: Disclosure
    place: LogPlace | None
    """None for an interaction anchored by itself."""
    state: StateValue
    finality: FinalityProof
    """Its target is the header whose ``parent_state_root`` the state proof leads to."""
    hops: tuple[Hop, ...]
    """From ``trust``'s epoch to the target's, one each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchoring:
    """What a bundle proves under a trusted committee."""

    statement: Statement
    context: bytes
    """The log, or the actor that anchored the interaction itself."""
    index: int | None
    """Place among all records of the log; None for an interaction anchored by itself."""
    header: Header
    """The final header: the record was anchored before it."""
    trust: LightClient
    """The committee all this rests on."""


def verify_bundle(
    bundle: Bundle, trust: LightClient, verifier: Verifier = verify_signature
) -> Anchoring:
    """Return what ``bundle`` proves to somebody who trusts ``trust`` (X12).

    ``trust`` may be of any epoch the bundle leads through. Raises ``Rejected`` with the code of
    the first rule that is broken: ``bundle/…``, ``finality/…``, ``proof/…``, ``merkle/…``,
    ``record/…``.
    """
    client = _follow(bundle, trust, verifier)
    client.verify(bundle.finality, verifier)
    header = bundle.finality.target
    state = bundle.state
    verify_state_proof(header.parent_state_root, state.key, state.value, state.proof)
    statement = open_disclosure(bundle.record, trust.genesis_hash)
    if bundle.place is None:
        _require_own_leaf(bundle, statement.leaf)
        index = None
    else:
        _require_place(bundle, bundle.place, statement.leaf)
        index = bundle.place.batch.first_index + bundle.place.index
    return Anchoring(
        statement=statement,
        context=bundle.record.context,
        index=index,
        header=header,
        trust=trust,
    )


def _follow(bundle: Bundle, trust: LightClient, verifier: Verifier) -> LightClient:
    """Return the client of the last epoch the hops lead to, from the reader's own one."""
    claimed = bundle.trust
    if claimed.genesis_hash != trust.genesis_hash:
        raise Rejected(
            "bundle/WrongNetwork",
            f"the bundle is of network {claimed.genesis_hash.hex()}, trusted is "
            f"{trust.genesis_hash.hex()}",
        )
    skipped = trust.epoch - claimed.epoch
    if not 0 <= skipped <= len(bundle.hops) or len(bundle.hops) > HOPS_MAX:
        raise Rejected(
            "bundle/OtherEpoch",
            f"the bundle leads from epoch {claimed.epoch} to {claimed.epoch + len(bundle.hops)}, "
            f"trusted is the committee of epoch {trust.epoch}",
        )
    client = trust
    for hop in bundle.hops[skipped:]:
        client = client.hop(hop.finality, list(hop.members), verifier)
    return client


def _require_own_leaf(bundle: Bundle, leaf: bytes) -> None:
    """The proven row is of an interaction anchored by itself, with this leaf."""
    state, context = bundle.state, bundle.record.context
    prefix = anchored_key(b"")
    if context[0] == Kind.LOG or not state.key.startswith(prefix + bytes((Kind.RECORD,))):
        raise Rejected("bundle/WrongKey", "the proven state is not that of an anchored record")
    row = ANCHORED.decode(state.value)
    _require_version(row.version)
    if row.leaf != leaf:
        raise Rejected(
            "bundle/OtherRecord",
            f"the state holds leaf {row.leaf.hex()}, the fields shown make {leaf.hex()}",
        )


def _require_place(bundle: Bundle, place: LogPlace, leaf: bytes) -> None:
    """The proven row is the record's log, and the paths lead to its checkpoint."""
    state, context = bundle.state, bundle.record.context
    if context[0] != Kind.LOG or state.key != log_key(context) or place.batch.log != context:
        raise Rejected("bundle/WrongKey", "the proven state is not that of the record's log")
    row = LOG.decode(state.value)
    _require_version(row.version)
    if len(row.peaks) != row.batches.bit_count():
        raise Rejected("bundle/Malformed", "the log's row has peaks of another size")
    checkpoint = row.checkpoint()
    if (checkpoint.size, checkpoint.root()) != (place.size, place.root):
        raise Rejected(
            "bundle/OtherCheckpoint",
            f"the state has {checkpoint.size} batches under {checkpoint.root().hex()}, the "
            f"bundle {place.size} under {place.root.hex()}",
        )
    batch = place.batch
    verify_log_inclusion(place.root, batch.hash(), batch.batch_no, place.size, place.batch_path)
    verify_log_inclusion(batch.root, leaf, place.index, batch.count, place.leaf_path)


def _require_version(version: int) -> None:
    if version != ROW_VERSION:
        raise Rejected("bundle/Version", f"a state row of version {version}, known is 1")
