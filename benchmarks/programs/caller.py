"""
One client of one kind, which asks a server so many times.

It asks a few times to begin with, and then prints one line of JSON: ``rate`` (requests a second), ``load`` (seconds of
CPU for 1,000 requests), and ``p50`` (milliseconds a request, on average).
"""

from __future__ import annotations

import asyncio
import json
import threading
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from time import perf_counter, process_time
from typing import Any

import zmq
from job import HEAD, SIZE

PAYLOAD = HEAD.pack(0, 0) + bytes(SIZE - HEAD.size)
#: Requests before it is measured.
WARM = 500

#: Measures something, given how many requests that is.
Measure = Callable[[int, Callable[[], object]], dict[str, float]]


def measured(count: int, act: Callable[[], object]) -> dict[str, float]:
    """What so many requests cost."""
    began, cpu = perf_counter(), process_time()
    act()
    seconds, cpu = perf_counter() - began, process_time() - cpu
    return {"rate": count / seconds, "load": cpu / count * 1000, "p50": seconds / count * 1000}


def inTurn(count: int, ask: Callable[[bytes], Any]) -> dict[str, float]:
    """One request after the other."""

    def run(count: int) -> None:
        for _ in range(count):
            if ask(PAYLOAD) != PAYLOAD:
                raise SystemExit("a wrong reply")

    run(WARM)
    return measured(count, lambda: run(count))


def req(endpoint: str, count: int, several: int) -> dict[str, float]:
    """A bare REQ socket."""
    socket = zmq.Context().socket(zmq.REQ)
    socket.connect(endpoint)

    def ask(payload: bytes) -> bytes:
        socket.send(payload)
        return bytes(socket.recv())

    return inTurn(count, ask)


def call(endpoint: str, count: int, several: int) -> dict[str, float]:
    """``Client.call``."""
    from pirate.client import Client

    with Client(endpoint) as client:
        return inTurn(count, client.call)


def batch(endpoint: str, count: int, several: int) -> dict[str, float]:
    """``Client.map``."""
    from pirate.client import Client

    with Client(endpoint) as client:

        def run(count: int) -> None:
            payloads = (PAYLOAD for _ in range(count))
            if sum(reply == PAYLOAD for reply in client.map(payloads, concurrency=several)) != count:
                raise SystemExit("a wrong reply")

        run(WARM)
        return measured(count, lambda: run(count))


def threads(endpoint: str, count: int, several: int) -> dict[str, float]:
    """``Client.call`` in so many threads, which share one client."""
    from pirate.client import Client

    with Client(endpoint) as client:

        def run(count: int) -> None:
            for _ in range(count):
                client.call(PAYLOAD)

        def together(count: int) -> None:
            each = [threading.Thread(target=run, args=(count // several,)) for _ in range(several)]
            for thread in each:
                thread.start()
            for thread in each:
                thread.join()

        together(WARM)
        return measured(count // several * several, lambda: together(count))


def executor(endpoint: str, count: int, several: int) -> dict[str, float]:
    """``Executor``, so many futures at a time."""
    from pirate.client import Executor

    with Executor(endpoint) as pool:

        def run(count: int) -> None:
            for _ in range(count // several):
                list(pool.map([PAYLOAD] * several))

        run(WARM)
        return measured(count // several * several, lambda: run(count))


def shared(count: int) -> Iterator[int]:
    """As many as are left, for whoever asks."""
    yield from range(count)


def coroutines(endpoint: str, count: int, several: int) -> dict[str, float]:
    """``AsyncClient.call`` in so many tasks."""
    from pirate.client import AsyncClient

    async def main() -> dict[str, float]:
        async with AsyncClient(endpoint) as client:

            async def ask(left: Iterator[int]) -> None:
                for _ in left:
                    await client.call(PAYLOAD)

            async def run(count: int) -> None:
                left = shared(count)
                await asyncio.gather(*(ask(left) for _ in range(several)))

            await run(WARM)
            began, cpu = perf_counter(), process_time()
            await run(count)
            seconds, cpu = perf_counter() - began, process_time() - cpu
            return {"rate": count / seconds, "load": cpu / count * 1000, "p50": seconds / count * 1000}

    return asyncio.run(main())


def deferreds(endpoint: str, count: int, several: int) -> dict[str, float]:
    """``TwistedClient.call``, so many Deferreds at a time."""
    from twisted.internet.defer import Deferred, gatherResults
    from twisted.internet.task import react

    from pirate.client import TwistedClient

    told: dict[str, float] = {}

    async def main(reactor: Any) -> None:
        client = TwistedClient(reactor, endpoint)

        async def ask(left: Iterator[int]) -> None:
            for _ in left:
                await client.call(PAYLOAD)

        async def run(count: int) -> None:
            left = shared(count)
            await gatherResults([Deferred.fromCoroutine(ask(left)) for _ in range(several)])

        await run(WARM)
        began, cpu = perf_counter(), process_time()
        await run(count)
        seconds, cpu = perf_counter() - began, process_time() - cpu
        told.update({"rate": count / seconds, "load": cpu / count * 1000, "p50": seconds / count * 1000})
        await client.close()

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit as end:
        if end.code:
            raise
    return told


KINDS = {each.__name__: each for each in (req, call, batch, threads, executor, coroutines, deferreds)}

if __name__ == "__main__":
    parser = ArgumentParser(description="Ask a server with one kind of client.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("endpoint")
    parser.add_argument("--count", type=int, default=10_000, help="requests")
    parser.add_argument("--several", type=int, default=1, help="how many are under way at a time")
    options = parser.parse_args()
    print(json.dumps(KINDS[options.kind](options.endpoint, options.count, options.several)), flush=True)
