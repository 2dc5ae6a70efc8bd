#!/usr/bin/env python3
"""
Run simulated worlds, each from a seed, and say which invariants did not hold.

::

    benchmarks/world.py --seeds 1000 --jobs 2
    benchmarks/world.py --seeds 1000 --twice      # each world twice, to compare the hashes of their journals
    benchmarks/world.py --story 17                # what happens in the world of this seed
    benchmarks/world.py --plan failed.json        # a world from a plan that --keep has written
    benchmarks/world.py --shrink 17               # the same with as little in it as still fails
    benchmarks/world.py --seeds 1000 --keep here  # writes, of each seed that fails, as little as still does

The exit status is 1 if an invariant did not hold, or a seed gave two different journals.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

from twisted.logger import globalLogBeginner

from pirate.testing.world.plan import Plan, draw
from pirate.testing.world.run import Outcome, run
from pirate.testing.world.shrink import shrink
from pirate.testing.world.story import describe, tell


def main() -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="how many seeds (100)")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="S", help="the first seed (0)")
    parser.add_argument("--first-failure", action="store_true", help="stop at the first seed that fails")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="how many processes to use (1)")
    parser.add_argument("--twice", action="store_true", help="run each twice, and compare the hashes")
    parser.add_argument("--story", type=int, metavar="SEED", help="tell what happens with this seed")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="tell what happens with the plan in this file")
    parser.add_argument("--shrink", type=int, metavar="SEED", help="tell the least that still fails with this seed")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="shrink the plan of each seed that fails, and write it here"
    )
    parser.add_argument("--all", action="store_true", help="with a story: every event, as it is in the journal")
    arguments = parser.parse_args()
    beginLogging()
    if arguments.story is not None or arguments.plan is not None:
        plan = draw(arguments.story) if arguments.plan is None else Plan.decode(arguments.plan.read_text())
        return story(plan, arguments.all)
    if arguments.shrink is not None:
        return shrunk(draw(arguments.shrink), arguments.all)
    return runSeeds(range(arguments.first, arguments.first + arguments.seeds), arguments)


@cache
def beginLogging() -> None:
    """Drop what is logged: otherwise Twisted keeps the last events, and writes the worst to the standard error."""
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)


def shrunk(plan: Plan, every: bool) -> int:
    """Shrink a plan, print what is left of it, and tell what happens; return the exit status."""
    violations = run(plan).violations
    if not violations:
        print("every invariant holds")
        return 0
    small = shrink(plan, violations[0].number)
    print(small.encode())
    status = story(small, every)
    print(f"{len(plan)} choices were shrunk to {len(small)}")
    return status


def story(plan: Plan, every: bool) -> int:
    """Print the story of a world; return the exit status."""
    outcome = run(plan)
    for line in (*describe(plan), "", *(outcome.world.journal.story() if every else tell(outcome.world.journal))):
        print(line)
    for violation in outcome.violations:
        print(violation)
    print(f"journal {outcome.digest}")
    return 1 if outcome.violations else 0


def keep(outcome: Outcome, folder: Path) -> None:
    """Shrink the plan of a world that has failed, and write it to a file."""
    plan, (first, *_) = outcome.world.plan, outcome.violations
    small = replace(shrink(plan, first.number), about=f"Seed {plan.seed}: {first}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{plan.seed}.json").write_text(small.encode())
    print(f"    {len(plan)} choices were shrunk to {len(small)}", flush=True)


@dataclass(frozen=True)
class Judged:
    """
    What came of a seed.

    :ivar told: what did not hold; empty if everything did.
    :ivar seconds: how many seconds passed in its world.
    """

    seed: int
    told: tuple[str, ...]
    requests: int
    faults: int
    events: int
    seconds: float


def judge(seed: int, twice: bool) -> Judged:
    """Run a seed, perhaps twice."""
    beginLogging()
    plan = draw(seed)
    outcome = run(plan)
    # The first of each invariant.
    told = [str(each) for each in {each.number: each for each in reversed(outcome.violations)}.values()][::-1]
    if twice and run(plan).digest != outcome.digest:
        told.append("the same seed has given two different journals")
    events = len(outcome.world.journal.events)
    return Judged(seed, tuple(told), outcome.requests, outcome.faults, events, outcome.seconds)


def runSeeds(seeds: range, arguments: argparse.Namespace) -> int:
    """Run several seeds, and print what failed and a summary; return the exit status."""
    began = perf_counter()
    failed = requests = faults = events = 0
    simulated = 0.0
    with ExitStack() as stack:
        each = partial(judge, twice=arguments.twice)
        judged: Iterable[Judged] = map(each, seeds)
        if arguments.jobs > 1:
            pool = stack.enter_context(get_context("spawn").Pool(arguments.jobs))
            judged = pool.imap(each, seeds, chunksize=10)
        for one in judged:
            if one.told:
                failed += 1
                print("\n    ".join([f"seed {one.seed}:", *one.told[:10]]), flush=True)
                outcome = run(draw(one.seed)) if arguments.keep is not None else None
                if outcome is not None and outcome.violations:
                    keep(outcome, arguments.keep)
                if arguments.first_failure:
                    return 1
            requests += one.requests
            faults += one.faults
            events += one.events
            simulated += one.seconds
    took = perf_counter() - began
    print(
        f"{len(seeds)} seeds in {took:.1f} s: {failed} failed; {simulated / 3600:.1f} simulated hours, "
        f"{requests} calls, {faults} faults, {events} events"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
