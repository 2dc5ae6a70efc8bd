"""A ``JobServer`` in a program of its own: on another transport, or with somebody who watches the reactor."""

from __future__ import annotations

import gc
from argparse import ArgumentParser, Namespace
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from pirate.service import JobServer
from pirate.settings.limits import PoolLimits

reactor: Any = _reactor


class Watch:
    """
    Finds out how long the reactor is busy with one thing.

    :param interval: seconds between two looks.
    """

    def __init__(self, clock: IReactorTime, interval: float = 0.001) -> None:
        self._clock = clock
        self._interval = interval
        self._call = LoopingCall(self._look)
        self._call.clock = clock
        self._longest = 0.0

    def start(self) -> None:
        """Look from now on."""
        self._last = self._clock.seconds()
        self._call.start(self._interval, now=False)

    def report(self) -> None:
        """Print the longest time, seconds, that a look was late."""
        self._look()
        print("longest stall", self._longest, flush=True)

    def _look(self) -> None:
        now = self._clock.seconds()
        self._longest = max(self._longest, now - self._last - self._interval)
        self._last = now


def makeServer(options: Namespace) -> JobServer:
    """The server that the options describe."""
    transport = None
    if options.stock:
        from stocktransport import StockTransport

        transport = StockTransport
    return JobServer(
        reactor,
        frontend=options.frontend,
        backend=options.backend,
        app="job.work",
        limits=PoolLimits(minServers=options.workers, maxServers=options.workers),
        transport=transport,
    )


def parse() -> Namespace:
    """The command line."""
    parser = ArgumentParser(description="Run a job server.")
    parser.add_argument("frontend")
    parser.add_argument("backend")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stock", action="store_true", help="read and send as txZMQ does")
    parser.add_argument("--watch", action="store_true", help="print the longest stall of the reactor at the end")
    return parser.parse_args()


def main(options: Namespace) -> None:
    """Serve until told to end."""
    server = makeServer(options)
    # As the plugin does.
    gc.collect()
    gc.freeze()
    watch = Watch(reactor)

    def ready(ignored: object) -> None:
        print("ready", flush=True)
        if options.watch:
            watch.start()
            reactor.addSystemEventTrigger("before", "shutdown", watch.report)

    server.startService()
    server.whenReady().addCallback(ready)
    reactor.addSystemEventTrigger("before", "shutdown", server.stopService)
    reactor.run()


if __name__ == "__main__":
    main(parse())
