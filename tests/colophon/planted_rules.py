"""Bugs in the core's rules that no history shows soon enough; one test each finds them."""

from __future__ import annotations

from .planting import Planted, planted

CORE = "tests/consensus/test_core.py"
TURNS = "tests/consensus/test_turns.py"
COPIES = "tests/consensus/test_two_copies.py"

RULES: dict[str, Planted] = {
    "one-bad-leader-slows-all": planted(
        TURNS,
        "consensus.voting",
        "    if not hopeless and shared.turns.is_slow_for_all(round_.leader):\n",
        "    if not hopeless:\n",
    ),
    "notarized-late-is-a-good-turn": planted(
        TURNS,
        "consensus.views",
        "        if round_.timed_out or (round_.nullified and round_.notarized_id is None):\n",
        "        if round_.nullified and round_.notarized_id is None:\n",
    ),
    "nobody-is-forgiven": planted(
        TURNS,
        "consensus.turns",
        "                self._credit[leader] = min(self._credit[leader] + 1, CREDIT_MAX)\n",
        "                pass\n",
    ),
    "a-third-may-be-passed-over": planted(
        TURNS,
        "consensus.turns",
        "        return not self._hold_honest(passed_over)\n",
        "        return True\n",
    ),
    "anybody-brings-the-dead-back": planted(
        "tests/consensus/test_silence.py",
        "consensus.votebook",
        "        if from_signer and certificate is not None and",
        "        if certificate is not None and",
    ),
    "silence-counts-without-anybody": planted(
        CORE,
        "consensus.lookback",
        "    if committee.is_quorum(answered) and shared.lookback_since_ms is None:\n",
        "    if shared.lookback_since_ms is None:\n",
    ),
    "answers-are-counted-by-heads": planted(
        CORE,
        "consensus.lookback",
        "    elif committee.has_honest(committee.power_of(shared.lookback_settled)):\n",
        "    elif 3 * shared.lookback_settled.bit_count() > len(committee):\n",
    ),
    "answers-of-another-epoch-count": planted(
        CORE,
        "consensus.lookback",
        "or answer.epoch != shared.epoch or member is None",
        "or member is None",
    ),
    "an-epoch-begins-silence-anew": planted(
        CORE,
        "consensus.lookback",
        "    shared.lookback_answered = shared.lookback_settled = shared.lookback_view = 0\n",
        "    shared.lookback_answered = shared.lookback_settled = shared.lookback_view = 0\n"
        "    shared.lookback_since_ms = None\n",
    ),
    "answers-outlive-their-epoch": planted(
        CORE,
        "consensus.lookback",
        "    shared.lookback_answered = shared.lookback_settled = shared.lookback_view = 0\n",
        "",
    ),
    "who-comes-by-ranges-does-not-look-back": planted(
        CORE,
        "consensus.lookback",
        "    if synced or (shared.me is not None and not was_member):\n",
        "    if shared.me is not None and not synced and not was_member:\n",
    ),
    "who-becomes-a-member-does-not-look-back": planted(
        CORE,
        "consensus.lookback",
        "    if synced or (shared.me is not None and not was_member):\n",
        "    if synced:\n",
    ),
    "an-emptied-home-is-stopped": planted(
        CORE,
        "consensus.lookback",
        "    if not shared.journal_intact:\n        lose_journal(shared)\n        shared",
        "    if shared.journal_lost:\n        lose_journal(shared)\n        shared",
    ),
    "another-copy-is-not-noticed": planted(
        COPIES,
        "consensus.learning",
        "    _require_own(shared, round_, vote)\n    shared",
        "    shared",
    ),
    "another-copy-in-a-certificate-is-not-noticed": planted(
        COPIES,
        "consensus.learning",
        "    if shared.me is not None and certificate.signers >> shared.me & 1:\n",
        "    if False:\n",
    ),
    "in-quarantine-another-copy-is-not-noticed": planted(
        COPIES,
        "consensus.lookback",
        "    shared.own_from = max(newest, shared.view) + 1\n",
        "    shared.own_from = 2**63\n",
    ),
    "what-is-deep-does-not-slow-down": planted(
        "tests/consensus/test_cluster.py",
        "consensus.views",
        "    return is_idle, depth >= DEPTH_MAX\n",
        "    return is_idle, False\n",
    ),
    "wants-of-a-view-stay": planted(CORE, "consensus.views", "    forget_view_wants(shared)\n", ""),
    "bodies-of-what-is-given-up-are-asked-for": planted(
        CORE,
        "consensus.certifying",
        "                shared.wants.pop(block_id, None)\n                continue\n",
        "                pass\n",
    ),
    "who-is-slow-is-asked-first": planted(
        "tests/colophon/network/test_catching_up.py",
        "colophon.network.catching_up",
        "        if loop.time() - began_s > SLOW_S:\n",
        "        if False:\n",
    ),
}
