"""Bugs to be planted in what keeps promises durable; the tests named beside each have to find it.

``python -m tests.colophon.planted NAME`` plants one and runs these tests. The core has its own
list (``tests/simulation/mutants.py``); this one is of what the simulator does not run, or judges by
no history. Imports nothing of ours, so that nothing is imported before it is edited.
"""

from __future__ import annotations

import sys

import pytest

from tests.simulation.mutants import plant_edits

from .planted_rules import RULES
from .planting import Planted, planted

DURABILITY = "tests/colophon/test_durability.py"
GUARD_FILE = "tests/colophon/test_guard_file.py"
JOURNAL_FILE = "tests/colophon/test_journal_file.py"


_WRITE = "            await loop.run_in_executor(self._disk, self._journal.write, data)\n"
_TAKE = """            waiting, self._waiting = self._waiting, []
            data, last_seq = self._journal.take()
"""
_NOTE = """            if self._guard.note(record for item in waiting for record in item.records):
                await loop.run_in_executor(self._disk, self._guard.write)
"""
_LEAVE = """            for item in waiting:
                self._perform(item.effects)
                self.post(ev.Durable, token=item.token)
"""

PLANTED: dict[str, Planted] = {
    "effects-do-not-wait-for-the-journal": planted(
        DURABILITY,
        "colophon.host",
        "                    self._wants_sync.set()\n                    return\n",
        "                    self._wants_sync.set()\n",
    ),
    "the-journal-is-not-waited-for": planted(
        DURABILITY, "colophon.host", _WRITE, _WRITE.replace("await ", "")
    ),
    "what-came-meanwhile-does-not-wait": planted(
        DURABILITY,
        "colophon.host",
        _TAKE + _WRITE,
        "            data, last_seq = self._journal.take()\n"
        + _WRITE
        + "            waiting, self._waiting = self._waiting, []\n",
    ),
    "the-guard-knows-only-the-first-that-waited": planted(
        DURABILITY, "colophon.host", _NOTE, _NOTE.replace("in waiting", "in waiting[:1]")
    ),
    "the-guard-knows-only-the-last-that-waited": planted(
        DURABILITY, "colophon.host", _NOTE, _NOTE.replace("in waiting", "in waiting[-1:]")
    ),
    "effects-before-the-guard": planted(
        DURABILITY, "colophon.host", _NOTE + _LEAVE, _LEAVE + _NOTE
    ),
    "the-guard-is-not-waited-for": planted(
        DURABILITY, "colophon.host", _NOTE, _NOTE.replace("await ", "")
    ),
    "the-guard-is-not-written": planted(DURABILITY, "colophon.host", _NOTE, ""),
    "own-votes-count-before-the-journal": planted(
        DURABILITY,
        "colophon.host",
        "                    self._wants_sync.set()\n",
        "                    self._wants_sync.set()\n"
        "                    self.post(ev.Durable, token=effect.token)\n",
    ),
    "no-sync-of-the-journal": planted(
        DURABILITY,
        "colophon.journal_file",
        "        self._disk.sync(self._file)\n        self._size += len(data)\n",
        "        self._size += len(data)\n",
    ),
    "no-sync-of-a-kept-part": planted(
        JOURNAL_FILE,
        "colophon.journal_file",
        "        self._size = size\n        self._disk.sync(self._file)\n",
        "        self._size = size\n",
    ),
    "no-sync-of-the-guard": planted(
        DURABILITY,
        "colophon.guard_file",
        "        if self._must_sync:\n",
        "        if False:\n",
    ),
    "no-sync-of-the-journals-directory": planted(
        DURABILITY,
        "colophon.journal_file",
        "        self._disk.sync_directory(self._directory)\n",
        "",
    ),
    "no-sync-of-the-guards-directory": planted(
        GUARD_FILE, "colophon.guard_file", "            disk.sync_directory(path.parent)\n", ""
    ),
    "no-sync-in-the-disk": planted(
        "tests/colophon/test_disk.py",
        "colophon.disk",
        "            os.fdatasync(file.descriptor)\n",
        "            pass\n",
    ),
    "no-sync-of-directories-in-the-disk": planted(
        "tests/colophon/test_disk.py",
        "colophon.disk",
        "                os.fsync(descriptor)\n",
        "                pass\n",
    ),
    "errors-of-the-guard-are-swallowed": planted(
        DURABILITY,
        "colophon.host",
        "                await loop.run_in_executor(self._disk, self._guard.write)\n",
        "                with contextlib.suppress(Exception):\n"
        "                    await loop.run_in_executor(self._disk, self._guard.write)\n",
    ),
    "errors-of-the-journal-are-swallowed": planted(
        DURABILITY,
        "colophon.host",
        _WRITE,
        "            with contextlib.suppress(Exception):\n    " + _WRITE,
    ),
    "a-file-goes-while-its-promises-bind": planted(
        JOURNAL_FILE,
        "colophon.journal_file",
        "        while self._closed and self._closed[0].newest <= limit:\n",
        "        while self._closed:\n",
    ),
    "a-file-is-judged-by-its-last-record": planted(
        JOURNAL_FILE,
        "colophon.journal_file",
        "        self._newest = max(self._newest, place_of(record))\n",
        "        self._newest = place_of(record)\n",
    ),
    "the-quarantine-record-goes-early": planted(
        JOURNAL_FILE,
        "colophon.journal_file",
        "            return Place(epoch, U64_MAX)  # stays as long as the epoch's votes may\n",
        "            return Place(epoch, 0)\n",
    ),
    "the-begun-record-of-a-new-file-is-not-synced": planted(
        JOURNAL_FILE,
        "colophon.journal_file",
        "            self.append([BegunRecord()])\n            self.sync()\n",
        "            self.append([BegunRecord()])\n",
    ),
    "the-guard-outlives-a-quarantine": planted(
        GUARD_FILE,
        "colophon.guard_file",
        "            self.entry = None\n            return True\n",
        "            return False\n",
    ),
    "half-the-guard-outlives-a-quarantine": planted(
        GUARD_FILE,
        "colophon.guard_file",
        "            self._disk.write(self._file, bytes(GUARD_BYTES), 0)\n",
        "            self._disk.write(self._file, bytes(GUARD_BYTES // 2), 0)\n",
    ),
    "the-guard-notes-the-first-of-several": planted(
        GUARD_FILE, "consensus.guard", "    vote = guarded[-1]\n", "    vote = guarded[0]\n"
    ),
    "the-guard-knows-no-notarize": planted(
        GUARD_FILE,
        "consensus.guard",
        "    guarded = [record.vote for record in records if isinstance(record, VoteRecord)]\n",
        "    guarded = [r.vote for r in records if isinstance(r, VoteRecord) and r.vote.kind]\n",
    ),
    "the-guard-may-lose-both-slots": planted(
        "tests/consensus/test_guard.py",
        "consensus.guard",
        "(2 if last.kind == NOTARIZE else 1)",
        "1",
    ),
    "a-slow-clock-does-not-wait": planted(
        "tests/consensus/test_core.py",
        "consensus.voting",
        "    if too_far and not slow_clock:\n",
        "    if too_far:\n",
    ),
    "certificates-in-ranges-are-not-verified": planted(
        "tests/consensus/test_catchup.py",
        "consensus.catchup",
        "    verify_certificate(certificate, client.committee, client.genesis_hash, verifier)\n",
        "",
    ),
    "headers-of-an-epochs-end-are-not-verified": planted(
        "tests/consensus/test_core.py",
        "consensus.finalising",
        "    verify_finality(proof, shared.committee, shared.genesis_hash, shared.verifier)\n",
        "",
    ),
    "refused-proposals-are-not-told": planted(
        "tests/colophon/test_health.py",
        "colophon.host",
        "                self.reports.proposal_refused(effect)\n",
        "                pass\n",
    ),
    "refusals-outlive-blocks": planted(
        "tests/colophon/test_health.py",
        "colophon.host",
        "        application.listeners.append(lambda *_: self.reports.block_final())\n",
        "",
    ),
    "a-hello-of-any-version": planted(
        "tests/p2p/test_identity.py",
        "p2p.identity",
        "    if found.version != HELLO_VERSION:\n",
        "    if False:\n",
    ),
    **RULES,
}


def main(name: str) -> int:
    """Plant a bug and run the tests that have to find it; 1 if they do."""
    bug = PLANTED[name]
    plant_edits([bug.edit])
    return pytest.main(["-x", "-q", "-p", "no:cacheprovider", bug.tests])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
