"""
A server that is attacked in every way that there is while a good client works: does it stand, does the client notice?

Run it with ``python benchmarks/fuzz.py --seconds 60``; the exit status is 0 if nothing was found.
"""

from __future__ import annotations

import argparse
import os

from pirate.test.integration.fuzz import Fuzz


def standBack() -> None:
    """Let the server and the good client go first: a real attacker has a machine of its own."""
    os.nice(15)


def main() -> None:
    """Parse the command line, run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long the attacks go on")
    parser.add_argument("--quiet", type=float, default=10, help="how long the good client works undisturbed before")
    options = parser.parse_args()
    report = Fuzz(options.seconds, options.quiet, standBack=standBack).run()
    print("\n".join(report.rows()))
    print("\n".join(report.faults) or "clean")
    if report.faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
