"""
Where the broker's time goes under a load of tiny jobs: ``python benchmarks/profile.py``.

With py-spy, which looks at the broker from outside 500 times a second and costs it little, if it is installed; else
with cProfile, which makes every call of a Python function look longer than it is.
"""

from __future__ import annotations

import pstats
import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from pathlib import Path
from typing import Any

from suite.contestants import Running, pirate
from suite.measure import Load, measure
from suite.stage import Failed, TestBed
from suite.table import layOut

#: How long a broker has to write its profile when it ends, seconds.
_PATIENCE = 60.0

#: A function, its own time and the time with those that it calls, as shares of the whole.
Row = tuple[str, float, float]


def spy() -> str | None:
    """The program py-spy: the one beside this interpreter, or the one on the path."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


def withSpy(stage: TestBed, running: Running, load: Load, seconds: float, program: str) -> list[Row]:
    """The profile by py-spy."""
    samples = stage.path("samples")
    command = [program, "record", "--pid", str(running.broker.pid), "--duration", str(max(int(seconds), 1))]
    command += ["--rate", "500", "--format", "raw", "--function", "--output", str(samples)]
    recorder = stage.start("py-spy", *command)
    _load(stage, running, load, seconds)
    recorder.wait(_PATIENCE)
    if not samples.exists():
        raise Failed("py-spy says: " + "; ".join(recorder.lines()))
    return fromSamples(samples.read_text().splitlines())


def fromSamples(lines: list[str]) -> list[Row]:
    """The rows of a py-spy record: each line has the functions, outermost first, and how often it was like that."""
    own: Counter[str] = Counter()
    cumulative: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        functions = stack.split(";")
        own[functions[-1]] += int(count)
        cumulative.update(dict.fromkeys(functions, int(count)))
    whole = own.total() or 1
    return [(name, count / whole, cumulative[name] / whole) for name, count in own.most_common()]


def withProfiler(stage: TestBed, load: Load, options: Namespace) -> list[Row]:
    """The profile by cProfile, within the broker."""
    dump = stage.path("profile")
    before = ("--profile", str(dump), "--profiler", "cprofile", "--savestats")
    running = pirate(stage, options.workers, *_prefetch(options), before=before)
    _load(stage, running, load, options.seconds)
    running.broker.terminate()
    running.broker.wait(_PATIENCE)
    return fromStats(pstats.Stats(str(dump)))


def fromStats(stats: Any) -> list[Row]:
    """The rows of a cProfile dump.  Waiting for events is left out: the profiler takes it for work."""
    busy = {function: times for function, times in stats.stats.items() if "'poll' of 'select.epoll'" not in function[2]}
    whole = sum(own for _, _, own, _, _ in busy.values()) or 1
    ordered = sorted(busy.items(), key=lambda pair: -pair[1][2])
    return [
        (f"{name} ({Path(file).name}:{line})", own / whole, min(cumulative / whole, 1))
        for (file, line, name), (_, _, own, cumulative, _) in ordered
    ]


def _load(stage: TestBed, running: Running, load: Load, seconds: float) -> None:
    figures = measure(stage, running, load, seconds)
    print(f"{figures['rate']:,.0f} requests/s, {figures['cpu']:.4f} s of broker CPU for 1,000 requests\n")


def _prefetch(options: Namespace) -> list[str]:
    return ["--prefetch", options.prefetch]


def parse() -> Namespace:
    """The command line."""
    parser = ArgumentParser(description="Show where the broker's time goes under a load of tiny jobs.")
    parser.add_argument("--profiler", choices=["py-spy", "cprofile"], default="py-spy" if spy() else "cprofile")
    parser.add_argument("--prefetch", default="auto")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--outstanding", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--top", type=int, default=25, help="how many functions are shown")
    return parser.parse_args()


def main() -> int:
    """Do what the command line says."""
    options = parse()
    load = Load(options.clients, options.outstanding)
    program = spy()
    try:
        with TestBed() as stage:
            if options.profiler == "cprofile":
                rows = withProfiler(stage, load, options)
            elif program is None:
                raise Failed("py-spy is not installed")
            else:
                running = pirate(stage, options.workers, *_prefetch(options))
                rows = withSpy(stage, running, load, options.seconds, program)
    except (Failed, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)
        return 1
    cells = [[name, f"{own:.1%}", f"{cumulative:.1%}"] for name, own, cumulative in rows[: options.top]]
    print(layOut([["", "own", "with callees"], *cells]))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
