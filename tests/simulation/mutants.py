"""Bugs to be planted in consensus; the simulator has to find each of them.

A mutant is a list of edits of source text, made while the module is being imported; so it must be
planted before anything of ours is. This file therefore imports nothing of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace ``old``, which must stand in the module exactly once, by ``new``."""

    module: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug, and the profile that finds it soonest."""

    profile: str
    edits: tuple[Edit, ...]
    first: int = 0
    """The seed to begin with: some bugs need a rare run."""


_UNPROMISING = (
    Edit("consensus.promises", "    assert kind not in promised\n", ""),
    Edit(
        "consensus.promises",
        "    assert kind == NULLIFY or NULLIFY not in promised\n",
        "",
    ),
    Edit(
        "consensus.promises",
        "    assert kind != NULLIFY or FINALIZE not in promised\n",
        "",
    ),
)
"""Takes away the second check that would stop a broken promise with an assertion."""

MUTANTS: dict[str, Mutant] = {
    "abandoned-under-the-present-proposal": Mutant(
        "divided",
        (
            Edit(
                "consensus.certifying",
                "        heirs.append(present.block.header.parent_id)\n",
                "        pass\n",
            ),
        ),
    ),
    "whose-turns-fail-is-waited-for": Mutant(
        "keeper",
        (
            Edit(
                "consensus.turns",
                "        if self._credit[leader] > 0 or self._is_trial(leader, height):\n",
                "        if True:\n",
            ),
        ),
    ),
    "a-time-ahead-costs-nothing": Mutant(
        "ahead",
        (
            Edit(
                "consensus.voting",
                "        shared.turn_failed(round_.leader, round_.view)  # Its parent did not force this time.\n",
                "        pass\n",
            ),
        ),
    ),
    "memory-grows-while-ranges-come": Mutant(
        "absent",
        (
            Edit(
                "consensus.finalising",
                "        if certificate.view - VIEWS_KEPT > shared.floor:\n",
                "        if False:\n",
            ),
        ),
    ),
    "quorum-off-by-one": Mutant(
        "faulty",
        (
            Edit(
                "consensus.votebook",
                "not self._committee.is_quorum(power)",
                "not self._committee.is_quorum(power + 1)",
            ),
            Edit(
                "chain.certificate",
                "    if not committee.is_quorum(committee.power_of(signers)):\n        raise Misuse",
                "    if not signers:\n        raise Misuse",
            ),
            Edit(
                "chain.certificate",
                "    if not committee.is_quorum(power):\n",
                "    if not committee.is_quorum(power + 1):\n",
            ),
        ),
    ),
    "signer-counted-twice": Mutant(
        "weather",
        (
            Edit(
                "consensus.votebook",
                "        if first is not None and first.block_id == vote.block_id:\n"
                "            return None, None\n",
                "",
            ),
            Edit(
                "consensus.votebook",
                "        if vote.signer in self.votes[vote.kind]:\n            return None, evidence\n",
                "",
            ),
            Edit(
                "chain.certificate",
                "    if not committee.is_quorum(committee.power_of(signers)):\n        raise Misuse",
                "    if not signers:\n        raise Misuse",
            ),
        ),
    ),
    "parent-certificate-not-verified": Mutant(
        "war",
        (
            Edit(
                "consensus.learning",
                "    if certificate.view < shared.head.view - VIEWS_KEPT:\n"
                '        raise Rejected("block/Stale", "the parent lies far below what is final")\n'
                "    if certificate.view < shared.floor:\n"
                "        verify_certificate("
                "certificate, shared.committee, shared.genesis_hash, shared.verifier)\n"
                "        return\n"
                "    learn_certificate(shared, certificate)\n",
                "    take_certificate(shared, certificate)\n",
            ),
        ),
    ),
    "gap-not-checked": Mutant(
        "faulty",
        (
            Edit(
                "consensus.voting",
                "    if not _gap_is_nullified(shared, header):\n        return False\n",
                "",
            ),
        ),
    ),
    "placement-not-checked": Mutant(
        "faulty",
        (Edit("consensus.voting", "    require_placement(shared, header, parent)\n", ""),),
    ),
    "block-of-a-stranger": Mutant(
        "everything",
        (
            Edit(
                "consensus.learning",
                "    if header.proposer_index != shared.leader(view):\n",
                "    if header.proposer_index >= len(shared.committee):\n",
            ),
        ),
        first=150,
    ),
    "leader-over-a-gap": Mutant(
        "weather",
        (
            Edit(
                "consensus.views",
                "        if not round_.nullified:\n            return None, below\n",
                "",
            ),
        ),
    ),
    "finalize-after-nullify": Mutant(
        "weather",
        (
            Edit(
                "consensus.certifying",
                "        and NULLIFY not in round_.promised\n",
                "",
            ),
            *_UNPROMISING,
        ),
    ),
    "nullify-after-finalize": Mutant(
        "weather",
        (
            Edit(
                "consensus.voting",
                "    if NULLIFY in round_.promised or FINALIZE in round_.promised:\n"
                "        return False\n    hopeless",
                "    if NULLIFY in round_.promised:\n        return False\n    hopeless",
            ),
            # As it is, FINALIZE and entering the next view are one step: nothing is left to nullify.
            Edit("consensus.certifying", "    shared.allow_view(round_.view + 1)\n", ""),
            *_UNPROMISING,
        ),
    ),
    "notarize-after-nullify": Mutant(
        "weather",
        (
            Edit(
                "consensus.voting",
                "    if round_.promised or round_.refusal is not None",
                "    if NOTARIZE in round_.promised or round_.refusal is not None",
            ),
            *_UNPROMISING,
        ),
    ),
    "votes-forgotten-at-restart": Mutant(
        "crashes",
        (
            Edit(
                "consensus.startup",
                "                _restore_vote(shared, record.vote)\n",
                "                pass\n",
            ),
        ),
    ),
    "sent-before-durable": Mutant(
        "crashes",
        (
            Edit(
                "consensus.voting",
                "        shared.pace.timer_nullified()\n"
                "    shared.emit_durable(Broadcast(VoteMessage(nullification)))\n",
                "        shared.pace.timer_nullified()\n"
                "    shared.emit(Broadcast(VoteMessage(nullification)))\n",
            ),
        ),
    ),
    "body-not-journalled": Mutant(
        "crashes",
        (
            Edit(
                "consensus.certifying",
                "        bodies = _bodies_to_journal(shared, entry)\n",
                "        bodies: list[JournalRecord] = []\n",
            ),
        ),
    ),
    "ancestors-not-journalled": Mutant(
        "storm",
        (
            Edit(
                "consensus.certifying",
                "        below = shared.entries.get(below.header.parent_id)\n    return records",
                "        below = None\n    return records",
            ),
        ),
    ),
    "finalize-before-executed": Mutant(
        "weather",
        (
            Edit(
                "consensus.certifying",
                "        elif entry.execution is DONE:\n",
                "        elif entry.block is not None and shared.is_executed(entry.header.parent_id):\n",
            ),
        ),
    ),
    "growth-reset-by-notarization": Mutant(
        "sweep",
        (
            Edit(
                "consensus.learning",
                "    if view > shared.head.view:\n        shared.candidates[view] = None\n",
                "    if view > shared.head.view:\n        shared.candidates[view] = None\n"
                "    shared.pace.delta_now_ms = shared.params.delta_ms\n",
            ),
        ),
    ),
    "flat-timers": Mutant(
        "sweep",
        (
            Edit(
                "consensus.timers",
                "        grown = -(-self.delta_now_ms * 3 // 2)\n",
                "        grown = self.delta_now_ms\n",
            ),
        ),
    ),
    "notarization-demanded-beside-finalization": Mutant(
        "weather",
        (
            Edit(
                "consensus.round",
                "        return notarization or finalization\n",
                "        return notarization\n",
            ),
        ),
    ),
    "own-votes-not-resent": Mutant(
        "weather",
        (
            Edit(
                "consensus.retry",
                "        for vote in durable_votes(shared, view):\n"
                "            shared.emit(Broadcast(VoteMessage(vote)))\n",
                "        pass\n",
            ),
            Edit(
                "consensus.retry",
                "        for vote in durable_votes(shared, view):\n"
                "            shared.emit(Send(peer, VoteMessage(vote)))\n",
                "        pass\n",
            ),
        ),
    ),
    "depth-is-validity": Mutant(
        "weather",
        (
            Edit(
                "consensus.voting",
                "    if _is_too_deep(shared, round_, header):\n",
                "    if _is_too_deep(shared, round_, header):\n"
                '        raise Rejected("block/TooDeep", "too far above what is final")\n'
                "    if _is_too_deep(shared, round_, header):\n",
            ),
        ),
    ),
    "one-bad-signature": Mutant(
        "war",
        (
            Edit(
                "chain.certificate",
                "    for index, signature in zip(signers, certificate.signatures, strict=True):\n"
                "        verifier(",
                "    for index, signature in zip(signers[:-1], certificate.signatures, strict=False):\n"
                "        verifier(",
            ),
        ),
    ),
    "old-epochs-not-answered": Mutant(
        "storm",
        (
            Edit(
                "consensus.core",
                "            retry.answer_old_epoch(shared, peer, epoch)\n",
                "            pass\n",
            ),
        ),
    ),
    "time-not-checked": Mutant(
        "war",
        (
            Edit(
                "consensus.voting",
                "    return _time_has_come(shared, round_, header, parent)\n",
                "    return True\n",
            ),
            Edit(
                "consensus.voting",
                "        if header.time_ms <= parent.time_ms:\n",
                "        if header.time_ms < parent.time_ms:\n",
            ),
        ),
    ),
    "quarantine-too-short": Mutant(
        "amnesia",
        (
            Edit(
                "consensus.lookback",
                "    shared.quarantine_until = newest + shared.views_ahead\n",
                "    shared.quarantine_until = 0\n",
            ),
        ),
    ),
    "silent-leaders-waited-for": Mutant(
        "absent",
        (
            Edit(
                "consensus.shared",
                "            self.hearing.is_silent(leader, self.view) or self.turns",
                "            self.turns",
            ),
        ),
    ),
    "nothing-heard-is-carried-on": Mutant(
        "absent",
        (
            Edit(
                "consensus.views",
                "    return shared.hearing.next_epoch(committee, shared.open_view - 1)\n",
                "    return Hearing(committee)\n",
            ),
        ),
    ),
    "way-not-cleared": Mutant(
        "orphans", (Edit("consensus.core", "    voting.clear_way,  # C6\n", ""),)
    ),
    "far-parent-is-blamed": Mutant(
        "crashes",
        (
            Edit(
                "consensus.learning",
                "    if certificate.view < shared.head.view - VIEWS_KEPT:\n",
                "    if certificate.view < shared.finalised_view - VIEWS_KEPT:\n",
            ),
        ),
        first=300,
    ),
    "a-new-epoch-makes-keys-new": Mutant(
        "amnesia",
        (
            Edit(
                "consensus.lookback",
                "(shared.finalised_view > 0 or shared.start.base_height > 0)",
                "shared.finalised_view > 0",
            ),
        ),
    ),
    "begun-journal-counts-as-lost": Mutant(
        "amnesia",
        (
            Edit(
                "consensus.journal",
                "        case BegunRecord() | VoteRecord():\n",
                "        case VoteRecord():\n",
            ),
        ),
    ),
    "lost-votes-sent-again": Mutant(
        "amnesia",
        (
            Edit(
                "consensus.promises",
                "    return [vote for vote in round_.book.votes_of(shared.me) "
                "if promised.get(vote.kind) == vote]\n",
                "    return round_.book.votes_of(shared.me)\n",
            ),
        ),
    ),
}


class _Planter(MetaPathFinder):
    """Finds the modules that have edits, and loads them with these made."""

    def __init__(self, edits: Sequence[Edit]) -> None:
        self._edits = edits

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        edits = [edit for edit in self._edits if edit.module == name]
        spec = PathFinder.find_spec(name, path) if edits else None
        if spec is None or spec.origin is None:
            return None
        loader: Loader = _Edited(name, spec.origin, edits)
        return ModuleSpec(name, loader, origin=spec.origin)


class _Edited(SourceFileLoader):
    """Loads a module from edited source; never from, nor into, cached bytecode."""

    def __init__(self, name: str, path: str, edits: Sequence[Edit]) -> None:
        super().__init__(name, path)
        self._own_edits = edits

    def get_code(self, fullname: str) -> object:
        text = self.get_data(self.path).decode()
        for edit in self._own_edits:
            if text.count(edit.old) != 1:
                raise LookupError(
                    f"{edit.module} has {text.count(edit.old)} times what a mutant edits: "
                    f"{edit.old!r}"
                )
            text = text.replace(edit.old, edit.new)
        return compile(text, self.path, "exec")


def plant(name: str) -> None:
    """Plant a mutant; its modules must not be imported yet."""
    plant_edits(MUTANTS[name].edits)


def plant_edits(edits: Sequence[Edit]) -> None:
    """Make edits while their modules are imported; none may be imported yet."""
    early = [edit.module for edit in edits if edit.module in sys.modules]
    if early:
        raise LookupError(f"{early} are imported already")
    sys.meta_path.insert(0, _Planter(edits))
