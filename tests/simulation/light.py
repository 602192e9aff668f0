"""Finality proofs judged a second time, and the light client held against it (V12–V15)."""

from __future__ import annotations

from itertools import islice

from chain.committee import Committee
from chain.errors import Rejected
from chain.finality import FinalityProof, LightClient
from chain.header import KIND_BLOCK, KIND_FILLER, Header
from chain.vote import Verifier

from .block_tree import BlockTree
from .history import History
from .ledger_of_votes import FINALIZE
from .violation import Violation, short

SAMPLES = 200
"""So many proofs, and so many headers that are not final, are shown to the light client."""


def refusal_of(
    proof: FinalityProof, tree: BlockTree, genesis_hash: bytes, epoch_length: int
) -> str | None:
    """Return why a proof proves nothing, its signatures apart; None if it stands (V13)."""
    finalization, headers = proof.finalization, proof.headers
    if finalization.kind != FINALIZE:
        return "its certificate is no finalization"
    if not 1 <= len(headers) <= 64:
        return f"it has {len(headers)} headers"
    named, view, child = finalization.block_id, finalization.view, None
    for header in headers:
        if tree.add(header) != named or header.view != view:
            return f"the header of view {header.view} is not the one named above it"
        if header.version != 1 or header.genesis_hash != genesis_hash:
            return "a header is of another version or network"
        if header.epoch != finalization.epoch:
            return f"a header of epoch {header.epoch} stands in it"
        if child is not None and not _descends(child, header):
            return f"height {header.height} stands below height {child.height}"
        named, view, child = header.parent_id, header.parent_view, header
    target = headers[-1]
    if target.kind != KIND_BLOCK:
        return "its target is no block"
    if (target.height - 1) // epoch_length != finalization.epoch:
        return f"height {target.height} is not of epoch {finalization.epoch}"
    return None


def _descends(child: Header, parent: Header) -> bool:
    if child.kind == KIND_BLOCK:
        return parent.kind == KIND_BLOCK and parent.height == child.height - 1
    return parent.kind in (KIND_BLOCK, KIND_FILLER) and parent.height == child.height


class LightReader:
    """Shows the product's light client what is final and what only looks like it."""

    def __init__(
        self,
        genesis_hash: bytes,
        committee: Committee,
        verifier: Verifier,
        tree: BlockTree,
        history: History,
    ) -> None:
        self._genesis_hash = genesis_hash
        self._committee = committee
        self._verifier = verifier
        self._tree = tree
        self._history = history

    def require_exact(self) -> None:
        """Raise ``Q17`` unless the client takes proofs of final headers and no others."""
        proofs = self._history.proofs
        stride = max(1, len(proofs) // SAMPLES)
        for height, proof in islice(proofs.items(), 0, None, stride):
            refusal = self._refusal(proof)
            if refusal is not None:
                raise Violation("Q17", f"the light client refuses height {height}: {refusal}")
        for rival in islice(self._rivals(), SAMPLES):
            for forgery in self._forgeries(rival):
                if self._refusal(forgery) is None:
                    raise Violation(
                        "Q17",
                        f"the light client takes {short(rival.id())} of view {rival.view} and "
                        f"height {rival.height}, which is not final",
                    )
        self._require_hops()

    def _client(self, epoch: int) -> LightClient:
        return LightClient(self._genesis_hash, self._tree.epoch_length, epoch, self._committee)

    def _refusal(self, proof: FinalityProof) -> str | None:
        try:
            self._client(proof.finalization.epoch).verify(proof, self._verifier)
        except Rejected as refusal:
            return str(refusal)
        return None

    def _rivals(self) -> list[Header]:
        """Return headers that were proposed at heights that went to others, fillers included."""
        chain = self._history.chain
        return [
            header
            for block_id, header in self._tree.headers.items()
            if 1 <= header.height <= len(chain) and chain[header.height - 1] != block_id
        ]

    def _forgeries(self, rival: Header) -> list[FinalityProof]:
        """Return what a liar could make of the true proof of the rival's height."""
        proof = self._history.proofs.get(rival.height)
        if proof is None:
            return []
        kept = proof.headers[:63]
        return [
            FinalityProof(proof.finalization, [rival]),
            FinalityProof(proof.finalization, [*kept[:-1], rival]),
            FinalityProof(proof.finalization, [*kept, rival]),
        ]

    def _require_hops(self) -> None:
        """Raise ``Q17`` unless each epoch's last proof leads to the next epoch's client (V15)."""
        length = self._tree.epoch_length
        members = list(self._committee.members)
        epochs = len(self._history.chain) // length
        stride = max(1, epochs // SAMPLES)
        for epoch in range(0, epochs, stride):
            proof = self._history.proofs.get((epoch + 1) * length)
            if proof is None:
                continue
            try:
                self._client(epoch).hop(proof, members, self._verifier)
            except Rejected as refusal:
                raise Violation(
                    "Q17", f"the light client cannot leave epoch {epoch}: {refusal}"
                ) from refusal
