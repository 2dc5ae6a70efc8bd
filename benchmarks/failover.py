"""
How long does it take until a request whose worker was killed is begun by another?

Run it with ``python benchmarks/failover.py``: fifty times, a worker is killed with SIGKILL in the middle of a request,
and the time is taken until the next worker begins it.
"""

from __future__ import annotations

import argparse
import os
import signal
from statistics import median
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

from pirate.service import JobServer
from pirate.settings import Limits
from pirate.test.integration.gate import Gate
from pirate.test.integration.load import ask


async def run(reactor: Any, rounds: int) -> None:
    """Kill, and take the time."""
    limits = Limits(minServers=3, maxServers=3)
    server = JobServer(
        reactor,
        frontend="tcp://127.0.0.1:*",
        backend="tcp://127.0.0.1:*",
        app="pirate.test.integration.apps.meet",
        limits=limits,
        logLevel=0,
    )
    gate = Gate()
    server.startService()
    await server.whenReady()
    times = []
    for _ in range(rounds):
        answer = deferToThread(ask, server.endpoints.frontend[0], gate.path)
        first = await deferToThread(gate.next)
        killed = monotonic()
        os.kill(first.pid, signal.SIGKILL)
        second = await deferToThread(gate.next)
        times.append((monotonic() - killed) * 1000)
        second.tell(b"pid")
        await answer
    gate.close()
    await server.stopService()
    times.sort()
    print(
        f"{rounds} workers killed: the next began after {median(times):.1f} ms (median), {times[-1]:.1f} ms (longest)"
    )


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50, help="workers to kill")
    options = parser.parse_args()
    react(lambda reactor: Deferred.fromCoroutine(run(reactor, options.rounds)))


if __name__ == "__main__":
    main()
