"""
Compare two checkouts in interleaved pairs: ``python benchmarks/pairs.py BEFORE AFTER``.

Each argument is the interpreter of an environment in which one version is installed.  Every pair runs the same case of
this checkout's ``speed.py`` once with each, in alternating order, so that a drift of the machine's speed hits both.
The result is the median of the ratios after/before, and the interval that contains the true median with a confidence of
at least 95 %, taken from the order statistics of the ratios.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from math import comb
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

#: The command that measures; the interpreter decides which version it measures.
_SPEED = str(Path(__file__).with_name("speed.py"))


def interval(values: list[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """
    Return an interval for the median, from order statistics.

    :return: its ends, and its exact confidence.
    """
    ordered, count = sorted(values), len(values)
    rank, covered = 0, 1 - 2 * 0.5**count
    while rank + 1 < count / 2:
        tail = sum(comb(count, k) for k in range(rank + 2)) * 0.5**count
        if 1 - 2 * tail < confidence:
            break
        rank, covered = rank + 1, 1 - 2 * tail
    return ordered[rank], ordered[-1 - rank], covered


def summary(ratios: list[float]) -> str:
    """Return the median of the ratios, and the interval for it, as one line."""
    low, high, covered = interval(ratios)
    result = f"median ratio {median(ratios):.3f}, {covered:.1%} interval {low:.3f} to {high:.3f}"
    return f"{result}, {len(ratios)} pairs"


def run(python: str, options: argparse.Namespace) -> dict[str, float]:
    """Run the case once, and return the figures asked for."""
    with TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        case = ["--scenario", options.scenario, "--contestant", options.contestant, "--runs", "1"]
        case += [f"--options={options.options}", "--seconds", str(options.seconds), "--json", str(result)]
        subprocess.run([python, _SPEED, *case], capture_output=True, check=True)
        scenarios = json.loads(result.read_text())["scenarios"]
    cases = scenarios[options.scenario]["runs"]
    figures = next(iter(cases.values()))[0]
    return {name: float(figures[name]) for name in options.figure}


def main() -> None:
    """Measure the pairs, and print each and the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", help="the interpreter of the first environment")
    parser.add_argument("after", help="the interpreter of the second environment")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--scenario", default="tiny")
    parser.add_argument("--contestant", default="auto")
    parser.add_argument("--options", default="", help="further options of both servers, as of speed.py")
    parser.add_argument(
        "--figure",
        nargs="+",
        default=["rate", "cpu", "worker"],
        help="figures of speed.py's JSON (default: rate cpu worker, the last two in CPU seconds for 1,000 requests)",
    )
    options = parser.parse_args()
    ratios: dict[str, list[float]] = {name: [] for name in options.figure}
    for number in range(options.pairs):
        order = (options.before, options.after) if number % 2 == 0 else (options.after, options.before)
        figures = {python: run(python, options) for python in order}
        shown = []
        for name, found in ratios.items():
            before, after = figures[options.before][name], figures[options.after][name]
            # Of a very short run the system may count no CPU time at all.
            found.append(after / before if before else float("nan"))
            shown.append(f"{name} {before:.6g} to {after:.6g}, ratio {found[-1]:.3f}")
        print(f"pair {number + 1}: {'; '.join(shown)}", flush=True)
    for name, found in ratios.items():
        print(f"{name}: {summary(found)}")


if __name__ == "__main__":
    sys.exit(main())
