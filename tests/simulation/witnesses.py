"""Who was accused, and who should have been (Q13).

Soundness is judged at once. Completeness needs to know what an honest node was given
(``received``), and is judged only where the rules leave no doubt that the node had to notice.
"""

from __future__ import annotations

from collections import defaultdict

from chain.certificate import Evidence
from chain.codec import encode
from chain.vote import Vote

from .honest_node import HonestNode
from .ledger_of_votes import FINALIZE, NOTARIZE, NULLIFY, VoteLedger
from .violation import Violation, short

Fault = tuple[int, int, int]
"""Epoch, view and signer (V10)."""

WINDOW = 20
"""Votes so far above the finalised view are taken by every node (C8)."""
PATIENCE = 50
"""A node that was given so many messages since has had its time to report."""


def excludes(one: Vote, other: Vote) -> bool:
    """Tell whether no honest key signs both of two votes of one view (V10)."""
    if one.kind == other.kind:
        return one.kind != NULLIFY and one.block_id != other.block_id
    return {one.kind, other.kind} == {NULLIFY, FINALIZE}


class Witnesses:
    """Accusations of a run and the cases that call for one."""

    def __init__(self, ledger: VoteLedger, honest: frozenset[int], epoch_length: int) -> None:
        self._ledger = ledger
        self._honest = honest
        self._epoch_length = epoch_length
        self._judged: set[Fault] = set()
        """Faults that an honest node reported with good evidence."""
        self._received: defaultdict[int, int] = defaultdict(int)
        """Messages given to each node, counted."""
        self._seen: defaultdict[int, dict[Fault, list[Vote]]] = defaultdict(dict)
        self._cases: defaultdict[int, dict[Fault, int]] = defaultdict(dict)
        """By node, the conflicts it was shown and when, as a count of messages."""

    # Soundness

    def accuse(self, node: int, evidence: Evidence) -> None:
        """Raise ``Q13`` unless the evidence really convicts a faulty key (V10, V11)."""
        one, other = evidence.first, evidence.second
        where = f"node {node}, view {one.view}: evidence against member {one.signer}"
        if one.signer in self._honest:
            raise Violation("Q13", f"{where}, who is honest")
        if (one.epoch, one.view, one.signer) != (other.epoch, other.view, other.signer):
            raise Violation("Q13", f"{where} is about two views or members")
        if not excludes(one, other):
            raise Violation("Q13", f"{where} shows votes that do not conflict")
        if encode(one) >= encode(other):
            raise Violation("Q13", f"{where} is not in its one order")
        if not (self._ledger.verifies(one) and self._ledger.verifies(other)):
            raise Violation("Q13", f"{where} holds a signature that does not verify")
        self._judged.add((one.epoch, one.view, one.signer))

    def blame(self, node: int, peer: int, code: str) -> None:
        """Raise ``Q13`` if an honest node blames an honest one."""
        if peer in self._honest:
            raise Violation("Q13", f"node {node} blames node {peer}, who is honest, for {code}")

    # Completeness

    def receive(self, node: HonestNode, vote: Vote, final_height: int) -> None:
        """Note a vote that an honest node was given in a message of its own.

        ``final_height`` is the highest height that anybody committed.
        """
        self._received[node.index] += 1
        if vote.signer in self._honest or not self._is_certain(node, vote, final_height):
            return
        if not self._ledger.record_faulty(vote):
            return
        fault = (vote.epoch, vote.view, vote.signer)
        seen = self._seen[node.index].setdefault(fault, [])
        if vote in seen:
            return
        if any(excludes(earlier, vote) for earlier in seen):
            self._cases[node.index].setdefault(fault, self._received[node.index])
        seen.append(vote)

    def crash(self, node: int) -> None:
        """Forget what a node was shown: its memory is gone as well."""
        self._seen.pop(node, None)
        self._cases.pop(node, None)

    def require_complete(self) -> None:
        """Raise ``Q13`` if a conflict was shown to a node and nobody reported it."""
        for node, cases in self._cases.items():
            for fault, when in cases.items():
                if fault in self._judged or self._received[node] < when + PATIENCE:
                    continue
                epoch, view, signer = fault
                raise Violation(
                    "Q13",
                    f"node {node} was shown conflicting votes of member {signer} in view {view} "
                    f"of epoch {epoch}, and nobody reported them: "
                    + ", ".join(map(_describe, self._seen[node][fault])),
                )

    def _is_certain(self, node: HonestNode, vote: Vote, final_height: int) -> bool:
        """Tell whether the node surely is in the vote's epoch and takes votes of its view (C8).

        While it fetches ranges its store is ahead of its core: to that the vote may be of the
        next epoch, and so beyond the few messages that are kept for it (C11), or of a far view.
        """
        epoch = vote.epoch
        if node.is_fetching:
            return False
        if not node.height // self._epoch_length == epoch == final_height // self._epoch_length:
            return False
        own = node.final_view[1] if node.final_view[0] == epoch else 0
        return self._ledger.newest_final.get(epoch, 0) < vote.view <= own + WINDOW


def _describe(vote: Vote) -> str:
    name = {NOTARIZE: "NOTARIZE", NULLIFY: "NULLIFY", FINALIZE: "FINALIZE"}[vote.kind]
    return f"{name} {short(vote.block_id)}"
