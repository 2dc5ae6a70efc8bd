"""
Measure pirate beside others, in one run: ``python benchmarks/speed.py``.

See ``README.rst``, in this folder.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import zmq

from suite import growth, life, rates
from suite.contestants import CONTESTANTS, CURVE, LISTED, TRACED
from suite.scenario import Case, Figures, Scenario
from suite.stage import Failed, TestBed
from suite.table import render, renderThreads, toObject

SCENARIOS = (
    *(rates.TINY, rates.ONE_EACH, rates.ONE, rates.TURNS, rates.MILLISECONDS, rates.MIXED, rates.ASYNC, rates.LARGE),
    *(rates.KEYS, growth.CLIENTS, growth.WORKERS, life.START, life.IDLE, life.FLOOD, growth.MEMORY),
)

#: How every pirate is started, but for what its row adds: as the project's README does, with so many workers.
README_COMMAND = "twistd -n pirate --frontend F --backend B --app job.work --workers N"


def parse(arguments: Sequence[str]) -> Namespace:
    """The command line."""
    parser = ArgumentParser(description="Measure pirate beside others, in one run.")
    names = [each.name for each in SCENARIOS]
    keys = [*(each.key for each in (*CONTESTANTS, TRACED, CURVE, LISTED)), life.BARE.key]
    parser.add_argument("--scenario", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--contestant", nargs="+", choices=keys, default=keys, metavar="NAME", help=", ".join(keys))
    parser.add_argument("--runs", type=int, default=5, help="how often each is measured; default 5")
    parser.add_argument("--seconds", type=float, default=3, help="how long each is measured; default 3")
    parser.add_argument("--ipc", action="store_true", help="over UNIX sockets; else over TCP")
    parser.add_argument(
        "--options", default="", help="further options of every pirate, as in --options='--prefetch 64'"
    )
    parser.add_argument("--threads", action="store_true", help="also show what each thread used, where it is measured")
    parser.add_argument("--json", metavar="FILE", help="write every figure of every run there")
    parser.add_argument("--list", action="store_true", help="only show which scenarios there are")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """
    Do what the command line says.

    :return: 1 if something could not be measured.
    """
    options = parse(arguments)
    chosen = [_only(each, options.contestant) for each in SCENARIOS if each.name in options.scenario]
    if options.list:
        print("\n".join(f"{each.name:8} {each.about}" for each in chosen))
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    growth.raiseLimit()
    facts = describe(options)
    print(heading(facts), flush=True)
    results, failures = {}, 0
    for scenario in chosen:
        runs, failed = measure(scenario, options)
        failures += failed
        results[scenario.name] = toObject(scenario, runs)
        print(render(scenario, runs), end="\n\n", flush=True)
        if options.threads and (threads := renderThreads(runs)):
            print(threads, end="\n\n", flush=True)
        if options.json:
            Path(options.json).write_text(json.dumps({**facts, "scenarios": results}, indent=1) + "\n")
    return 1 if failures else 0


def measure(scenario: Scenario, options: Namespace) -> tuple[dict[str, list[Figures]], int]:
    """
    Measure every case once, then every case again, and so on.

    :return: the runs of each case by its label, and how many failed.
    """
    runs: dict[str, list[Figures]] = {case.label: [] for case in scenario.cases}
    failures = 0
    for number in range(options.runs):
        for case in scenario.cases:
            print(f"{scenario.name}, run {number + 1} of {options.runs}: {case.label}", file=sys.stderr, flush=True)
            figures = _once(case, options)
            if figures is None:
                failures += 1
            else:
                runs[case.label].append(figures)
    return runs, failures


def _once(case: Case, options: Namespace) -> Figures | None:
    try:
        with TestBed(options.ipc, shlex.split(options.options)) as stage:
            return case.run(stage, options.seconds)
    except (Failed, subprocess.TimeoutExpired) as error:
        print(f"failed: {error}", file=sys.stderr, flush=True)
        return None


def _only(scenario: Scenario, keys: Sequence[str]) -> Scenario:
    return replace(scenario, cases=tuple(each for each in scenario.cases if each.contestant.key in keys))


def heading(facts: Mapping[str, Any]) -> str:
    """The first lines of what is printed: the machine, and how pirate is started."""
    return f"{facts['machine']}; {facts['versions']}; {facts['date']}\npirate: {facts['command']}\n"


def describe(options: Namespace) -> dict[str, Any]:
    """Where and with what it is measured."""
    versions = [f"{name} {version(name)}" for name in ("pirate", "twisted", "txzmq", "pyzmq")]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, load average {os.getloadavg()[0]:.1f}",
        "versions": ", ".join([f"Python {platform.python_version()}", *versions, f"libzmq {zmq.zmq_version()}"]),
        "command": " ".join(filter(None, (README_COMMAND, options.options))),
        "runs": options.runs,
        "seconds": options.seconds,
    }


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
