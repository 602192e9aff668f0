"""Making a bundle from receipts and a node's answers: one file that proves an interaction.

The node is not trusted: what it answers is put together and verified as any reader would before
it is returned (docs/record.md, protocol.md X11, X12).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chain.anchored import FAMILY, LOG, anchored_key, log_key
from chain.bundle import Bundle, Hop, LogPlace, StateValue, verify_bundle
from chain.committee import Committee, Member
from chain.disclosure import disclose
from chain.errors import Rejected
from chain.finality import FINALITY_PROOF, FinalityProof, LightClient
from chain.header import epoch_of
from chain.ids import format_id
from chain.json_form import from_json
from chain.merkle import LogTree
from chain.record import Batch, Recording
from chain.state_proof import LeafEntry, StateProof

from .flows import UNAVAILABLE, Call, Flow, Pause, RpcFailed
from .receipts import OwnReceipt, Place, Receipt

PAUSE_MS = 500
PAUSES_MAX = 60
"""Half a minute: the state before the head is provable one block later, which is a heartbeat."""


def export_bundle_flow(
    receipt: Receipt | OwnReceipt, names: Iterable[str], *, facets: bool = True
) -> Flow[Bundle]:
    """Return a verified bundle that shows the fields ``names`` of a record.

    Waits, at most half a minute, until the node can prove a state that holds the record. Raises
    ``Rejected`` with ``export/…`` or, for a node that answers wrongly, with the rule it breaks.
    """
    recording = receipt.recording
    unknown = sorted(set(names) - set(recording.fields))
    if unknown:
        raise Rejected(
            "export/UnknownField",
            f"the record has no field {unknown[0]}; it has {', '.join(sorted(recording.fields))}",
        )
    trust = yield from trust_flow()
    if trust.genesis_hash != recording.genesis_hash:
        raise Rejected("export/OtherNetwork", "the receipt is of another network than the node")
    if isinstance(receipt, OwnReceipt):
        state, finality = yield from _state_flow(anchored_key(receipt.record), 0)
        place = None
    else:
        key = log_key(recording.context)
        state, finality = yield from _state_flow(key, receipt.place.batch_no + 1)
        place = yield from _place_flow(recording, receipt, state)
    hops = yield from _hops_flow(trust, finality)
    bundle = Bundle(
        trust=trust,
        record=disclose(recording, names, facets=facets),
        place=place,
        state=state,
        finality=finality,
        hops=hops,
    )
    verify_bundle(bundle, trust)
    return bundle


def trust_flow() -> Flow[LightClient]:
    """Return the network's first committee, as the node tells it."""
    genesis = yield Call("chain.genesis", {})
    members = [_member(item) for item in genesis["validators"]]
    return LightClient(
        genesis_hash=_raw(genesis["hash"]),
        epoch_length=int(genesis["params"]["epoch_length"]),
        epoch=0,
        committee=Committee(members),
    )


def _state_flow(key: bytes, batches: int) -> Flow[tuple[StateValue, FinalityProof]]:
    """Return the proven row of a key once it is there and, for a log, has so many batches."""
    params = {"module": FAMILY, "key": "0x" + key.hex()}
    for _ in range(PAUSES_MAX):
        try:
            answer = yield Call("state.proof", params)
        except RpcFailed as failure:
            if failure.code != UNAVAILABLE:
                raise
            answer = {"value": None}
        if answer["value"] is not None:
            value = _raw(answer["value"])
            if not batches or LOG.decode(value).batches >= batches:
                proof = _state_proof(answer["proof"])
                finality: FinalityProof = from_json(FinalityProof, answer["finality"], "finality")
                return StateValue(key=key, value=value, proof=proof), finality
        yield Pause(PAUSE_MS)
    raise Rejected(
        "export/NotProvable", "the node cannot prove the record yet; is the network making blocks?"
    )


def _place_flow(recording: Recording, receipt: Receipt, state: StateValue) -> Flow[LogPlace]:
    """Return where the record stands under the checkpoint that the proven row has."""
    at, log = receipt.place, format_id(recording.context)
    size = LOG.decode(state.value).batches
    answer = yield Call("anchor.proof", {"log": log, "batch_no": at.batch_no, "size": size})
    tree = LogTree(receipt.leaves)
    return LogPlace(
        batch=_batch(recording.context, at),
        index=receipt.index,
        leaf_path=tuple(tree.inclusion_proof(receipt.index)),
        batch_path=tuple(_raw(item) for item in answer["path"]),
        size=size,
        root=_raw(answer["checkpoint"]["root"]),
    )


def _batch(log: bytes, place: Place) -> Batch:
    return Batch(
        log=log,
        batch_no=place.batch_no,
        first_index=place.first_index,
        count=place.count,
        begin_ms=place.begin_ms,
        end_ms=place.end_ms,
        root=_raw(place.root),
    )


def _hops_flow(trust: LightClient, finality: FinalityProof) -> Flow[tuple[Hop, ...]]:
    """Return one hop per epoch from genesis to that of the proved header."""
    length = trust.epoch_length
    hops = []
    for epoch in range(epoch_of(finality.target.height, length)):
        last = (epoch + 1) * length
        proof = yield Call("chain.certificate", {"height": last})
        following = yield Call("chain.validators", {"height": last + 1})
        members = tuple(_member(item) for item in following["members"])
        hops.append(Hop(finality=FINALITY_PROOF.decode(_raw(proof["raw"])), members=members))
    return tuple(hops)


def _state_proof(form: dict[str, Any]) -> StateProof:
    entries = [LeafEntry(_raw(item["path"]), _raw(item["value_hash"])) for item in form["leaf"]]
    return StateProof(tuple(_raw(level) for level in form["levels"]), tuple(entries))


def _member(form: dict[str, Any]) -> Member:
    return Member(_raw(form["public_key"]), int(form["power"]))


def _raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
