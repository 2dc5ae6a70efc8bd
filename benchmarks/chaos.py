"""
A server under full load while its workers are killed, stopped, reloaded and starved: is any request lost or doubled?

Run it with ``python benchmarks/chaos.py --seconds 60``; the exit status is 0 if the account of every request is clean.
"""

from __future__ import annotations

import argparse
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from pirate.test.integration.chaos import Chaos


async def run(reactor: Any, options: argparse.Namespace) -> None:
    """One run, and its table."""
    reactor.suggestThreadPoolSize(options.native + options.plain + 10)
    report = await Chaos(
        reactor,
        seconds=options.seconds,
        rate=options.rate,
        native=options.native,
        plain=options.plain,
        seed=options.seed,
    ).run()
    for name, value in report.rows():
        print(f"{name:36} {value:>28}")
    faults = report.faultsFound()
    print("\n".join(faults) or "clean")
    if faults:
        raise SystemExit(1)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long the faults go on")
    parser.add_argument("--rate", type=float, default=6, help="faults a second")
    parser.add_argument("--native", type=int, default=6, help="native clients, each with four requests outstanding")
    parser.add_argument("--plain", type=int, default=4, help="plain clients")
    parser.add_argument("--seed", type=int, default=1, help="what chance is made from")
    options = parser.parse_args()
    react(lambda reactor: Deferred.fromCoroutine(run(reactor, options)))


if __name__ == "__main__":
    main()
