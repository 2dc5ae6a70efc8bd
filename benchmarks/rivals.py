"""
Measure pirate beside what people choose instead, in one run: ``python benchmarks/rivals.py``.

See ``README.rst``, in this folder.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from speed import describe, heading
from suite.rivals import RIVALS, SCENARIOS, Rival, describeRivals, measureRival
from suite.scenario import Figures
from suite.stage import Failed, TestBed
from suite.table import render, renderThreads, toObject


def parse(arguments: Sequence[str]) -> Namespace:
    """The command line."""
    parser = ArgumentParser(description="Measure pirate beside what people choose instead, in one run.")
    keys = [each.contestant.key for each in RIVALS]
    parser.add_argument("--contestant", nargs="+", choices=keys, default=keys, metavar="NAME", help=", ".join(keys))
    parser.add_argument("--runs", type=int, default=5, help="how often each is measured; default 5")
    parser.add_argument("--seconds", type=float, default=3, help="how long each part is measured; default 3")
    parser.add_argument("--quick", action="store_true", help="one run of half a second each: an impression")
    parser.add_argument(
        "--options", default="", help="further options of every pirate, as in --options='--prefetch 64'"
    )
    parser.add_argument("--threads", action="store_true", help="also show what each thread used at the peak")
    parser.add_argument("--json", metavar="FILE", help="write every figure of every run there")
    options = parser.parse_args(arguments)
    if options.quick:
        options.runs, options.seconds = 1, 0.5
    return options


def main(arguments: Sequence[str]) -> int:
    """
    Do what the command line says.

    :return: 1 if something could not be measured.
    """
    options = parse(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    facts = describe(options)
    chosen = [each for each in RIVALS if each.contestant.key in options.contestant]
    present = tuple(each for each in chosen if not each.lacks())
    print(heading(facts))
    print(describeRivals(present))
    for each in chosen:
        if each not in present:
            print(f"left out: {each.name}: {each.lacks()}")
    print(flush=True)
    runs, failures = measure(present, options)
    for scenario in SCENARIOS:
        print(render(scenario, runs), end="\n\n", flush=True)
    if options.threads:
        print(renderThreads(runs), end="\n\n", flush=True)
    if options.json:
        results = {each.name: toObject(each, runs) for each in SCENARIOS}
        Path(options.json).write_text(json.dumps({**facts, "scenarios": results}, indent=1) + "\n")
    return 1 if failures else 0


def measure(rivals: Sequence[Rival], options: Namespace) -> tuple[dict[str, list[Figures]], int]:
    """
    Measure every contestant once, then every one again, and so on.

    :return: the runs of each by its name, and how many failed.
    """
    runs: dict[str, list[Figures]] = {each.name: [] for each in rivals}
    failures = 0
    for number in range(options.runs):
        # Each is once the first, so that nobody always comes when the machine is at its warmest.
        at = number % max(len(rivals), 1)
        for each in (*rivals[at:], *rivals[:at]):
            print(f"run {number + 1} of {options.runs}: {each.name}", file=sys.stderr, flush=True)
            try:
                with TestBed(options=shlex.split(options.options)) as stage:
                    runs[each.name].append(measureRival(each, stage, options.seconds))
            except (Failed, subprocess.TimeoutExpired) as error:
                print(f"failed: {error}", file=sys.stderr, flush=True)
                failures += 1
    return runs, failures


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
