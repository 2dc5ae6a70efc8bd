"""
How long does it take until a request whose worker was killed is begun by another?

Run it with ``python benchmarks/failover.py``: fifty times, a worker is killed with SIGKILL in the middle of a request,
and the time is taken until the next worker begins it.
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import zmq

from suite.stage import Failed, TestBed
from trials.served import LOOK, PATIENCE, Server

#: The server's workers.
WORKERS = 3


def failover(server: Server, log: Path, number: int) -> float:
    """
    Kill the worker of one request, with all others idle.

    :return: seconds until another began it.
    """
    if not server.until(lambda stats: list(stats["pids"].values()) == ["waiting"] * WORKERS):
        raise Failed("the workers that were killed have not been replaced")
    with zmq.Context() as context, context.socket(zmq.REQ) as req:
        req.linger = 0
        req.connect(server.frontend)
        req.send(b"%d" % number)
        first = _attempt(log, number, 0)
        killed = monotonic()
        os.kill(int(first[1]), signal.SIGKILL)
        second = _attempt(log, number, 1)
        if not req.poll(int(PATIENCE * 1000)):
            raise Failed(f"request {number} has not been answered")
    return float(second[2]) - killed


def _attempt(log: Path, number: int, which: int) -> list[str]:
    """
    Wait for an attempt at a request.

    :return: its number, the process id, and when it was begun.
    """
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        found = [words for words in lines if len(words) == 3 and words[0] == str(number)]
        if len(found) > which:
            return found[which]
        sleep(LOOK / 10)
    raise Failed(f"attempt {which + 1} at request {number} has not been begun")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50, help="workers to kill")
    options = parser.parse_args()
    with TestBed() as stage:
        log = stage.path("begun")
        environment = {"PIRATE_TRIAL_LOG": str(log)}
        server = Server(stage, WORKERS, "--app=held.begin", "--max-requests=0", environment=environment).running()
        times = sorted(failover(server, log, number) * 1000 for number in range(options.rounds))
    print(
        f"{options.rounds} workers killed: the next began after {median(times):.1f} ms (median), "
        f"{times[-1]:.1f} ms (longest)"
    )


if __name__ == "__main__":
    main()
