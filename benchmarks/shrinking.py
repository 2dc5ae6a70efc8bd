#!/usr/bin/env python3
"""
Plant defects, let a simulated world find each, and shrink what has found it.

::

    benchmarks/shrinking.py                       # all of benchmarks/mutants.py
    benchmarks/shrinking.py --only charge --keep pirate/test/testing/plans

It prints how many choices each plan had and has, and the median.  The exit status is 1 if that is more than 30.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from mutants import MUTANTS, Mutant
from pirate.testing.world.plan import Plan

#: Seconds that finding and shrinking one may take, and the choices that the median may have.
PATIENCE, GOAL = 180.0, 30
ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--seeds", type=int, default=60, metavar="N", help="how many seeds to try (60)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only those whose names contain this")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write what is left of each plan here")
    arguments = parser.parse_args()
    sizes: list[int] = []
    for mutant in MUTANTS:
        if arguments.only in mutant.name:
            sizes.extend(shrunk(mutant, arguments.seeds, arguments.keep))
    if not sizes:
        return 1
    print(f"{len(sizes)} failures; a median of {median(sizes):g} choices, at most {max(sizes)}")
    return 1 if median(sizes) > GOAL else 0


def shrunk(mutant: Mutant, seeds: int, keep: Path | None) -> list[int]:
    """Print and return the choices that finding a defect needs; nothing if no seed finds it."""
    with TemporaryDirectory() as folder:
        package = Path(folder) / "pirate"
        shutil.copytree(ROOT / "pirate", package, ignore=shutil.ignore_patterns("test", "__pycache__"))
        path = package / mutant.file
        path.write_text(path.read_text().replace(mutant.old, mutant.new))
        program = [sys.executable, "-P", str(ROOT / "benchmarks" / "world.py"), f"--seeds={seeds}", "--first-failure"]
        environment = {**os.environ, "PYTHONPATH": folder}
        began = perf_counter()
        try:
            done = subprocess.run(
                [*program, f"--keep={folder}"], env=environment, capture_output=True, text=True, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            print(f"{mutant.name}: not found and shrunk in {PATIENCE:g} s", flush=True)
            return []
        took = perf_counter() - began
        said = re.search(r"(\d+) choices were shrunk to (\d+)", done.stdout)
        if said is None:
            print(f"{mutant.name}: not found in {took:.0f} s {done.stderr[-200:]}", flush=True)
            return []
        print(f"{mutant.name}: {said[1]} choices were shrunk to {said[2]} ({took:.0f} s)", flush=True)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (written,) = Path(folder).glob("*.json")
            text = Plan.decode(written.read_text())
            name = re.sub(r"\W+", "-", mutant.name)
            (keep / f"{name}.json").write_text(named(text, mutant).encode())
    return [int(said[2])]


def named(plan: Plan, mutant: Mutant) -> Plan:
    """Return a plan that says which defect it finds."""
    fields = {name: getattr(plan, name) for name in Plan.__slots__}
    return Plan(**{**fields, "about": f"It finds that {mutant.name}.  {plan.about}"})


if __name__ == "__main__":
    sys.exit(main())
