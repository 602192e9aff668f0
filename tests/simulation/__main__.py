"""``python -m tests.simulation PROFILE FIRST [LAST]``: play runs again, by seed.

``--mutant NAME`` plants one of the bugs of ``mutants.py`` first. The exit code is 1 at the first
run that fails; the line above it names the seed. ``python -m tests.simulation --speed`` prints how
many heights per second it plays, beside the speed of the machine.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time

from . import mutants


def main() -> int:
    """Play the runs of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("profile", nargs="?", help="one of tests/simulation/profiles.py")
    parser.add_argument("first", type=int, nargs="?", help="a seed")
    parser.add_argument("last", type=int, nargs="?")
    parser.add_argument("--mutant", help="a planted bug")
    parser.add_argument("--speed", action="store_true", help="measure heights per second")
    arguments = parser.parse_args()
    if arguments.speed:
        print(importlib.import_module(".speed", __package__).measure())
        return 0
    if arguments.profile is None or arguments.first is None:
        parser.error("name a profile and a seed, or --speed")
    if arguments.mutant:
        mutants.plant(arguments.mutant)
    # Only now: a bug is planted while its module is being imported.
    run = importlib.import_module(".run", __package__).run
    last = arguments.first if arguments.last is None else arguments.last
    heights, began = 0, time.process_time()
    for seed in range(arguments.first, last + 1):
        try:
            outcome = run(seed, arguments.profile)
        except Exception as error:
            print(f"seed {seed} of {arguments.profile}: {type(error).__name__}: {error}")
            if last == arguments.first:
                raise
            return 1
        heights += outcome.heights
        if last == arguments.first:
            print(outcome)
    seconds = time.process_time() - began
    print(
        f"{last - arguments.first + 1} runs, {heights} heights, {heights / seconds:.0f} heights/s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
