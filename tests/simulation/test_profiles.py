"""Seeded runs of every profile; the same seed gives the same run in another process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from consensus.timers import DELTA_GROWTH_MAX

from . import speed
from .application import PARAMS
from .cluster import Cluster
from .node import Delays
from .profiles import PROFILES
from .run import run

SEEDS = 200
LONG_SEEDS = 400
CHUNK = 50
"""Seeds of one test: the runner shares tests out, not seeds."""
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("first", range(0, LONG_SEEDS, CHUNK))
@pytest.mark.parametrize("profile", PROFILES)
def test_seeded_runs_keep_every_rule_and_finalise_in_the_end(
    profile: str, first: int, request: pytest.FixtureRequest
) -> None:
    if first >= SEEDS and not request.config.getoption("--long"):
        pytest.skip("only with --long")
    for seed in range(first, first + CHUNK):
        try:
            outcome = run(seed, profile)
        except AssertionError as failure:
            failure.add_note(f"again: python -m tests.simulation {profile} {seed}")
            raise
        assert outcome.heights > 0


@pytest.mark.parametrize(
    ("profile", "seed"),
    [
        # far-parent-is-blamed: a block far below what is known final was asked for by id; its
        # sender was blamed for it.
        ("crashes", 45),
        ("crashes", 355),
        # a-new-epoch-makes-keys-new: in the first view of an epoch no peer could prove a height,
        # and a lost journal seemed new.
        ("amnesia", 72),
        ("amnesia", 164),
        # begun-journal-counts-as-lost: a crash before the first vote was durable left an empty
        # journal, which counted as lost.
        ("everything", 33),
        ("amnesia", 45),
        ("amnesia", 269),
        # lost-votes-sent-again: a vote that only a certificate still knew was sent again after the
        # journal was lost.
        ("amnesia", 54),
        ("amnesia", 64),
        # a finalization covered more than its proof could show.
        ("storm", 600_166),
        # what passes was remembered until the event after the one in which ranges were asked for.
        ("amnesia", 500_026),
        ("absent", 233),
        ("absent", 271),
        # one dead member made Δ_now grow for all.
        ("absent", 76),
        ("absent", 131),
        ("absent", 170),
        ("absent", 193),
        ("absent", 204),
        ("absent", 383),
        # abandoned-under-the-present-proposal: honest members had executed different siblings, and
        # none executed the one below the proposal in hand: nothing became final any more.
        ("war", 500_049),
    ],
)
def test_a_run_that_once_found_a_bug(profile: str, seed: int) -> None:
    """Each fails with the mutant it is named after; a change of the rules may make it any run."""
    assert run(seed, profile).heights > 0


def digest_in_a_new_process(profile: str, seed: int, hash_seed: str) -> str:
    """Return what the command says of a run; ``hash_seed`` scrambles the order of sets."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", profile, str(seed)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[0]


@pytest.mark.parametrize("profile", ["everything", "amnesia"])
def test_a_seed_is_one_run_whatever_the_process(profile: str) -> None:
    here = str(run(3, profile))

    assert digest_in_a_new_process(profile, 3, "1") == here
    assert digest_in_a_new_process(profile, 3, "2") == here


@pytest.mark.parametrize("halves", [1, 2, 3, 4, 5, 7, 10, 14, 20])
def test_a_constant_delay_of_any_length_finalises(halves: int) -> None:
    """From 0.5 to 10 Δ, without jitter: the published timers stand still between 1.5 and 2 Δ."""
    hop = PARAMS.delta_ms * halves // 2
    cluster = Cluster([1] * 4, delays=Delays(hop=hop))
    cluster.keep_busy()

    cluster.run_to_height(15, limit_ms=DELTA_GROWTH_MAX * PARAMS.delta_ms * 60)

    cluster.check()


def test_the_speed_is_told_beside_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"ROUNDS": 1, "HEIGHTS": 8, "SEEDS": [1], "SIGNATURES": 8}
    for name, value in small.items():
        monkeypatch.setattr(speed, name, value)

    line = speed.measure()

    assert re.fullmatch(r"clean \d+ heights/s, everything \d+ heights/s, V1 \d+ signatures/s", line)
