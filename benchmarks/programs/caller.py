"""
One client of one kind, which sends requests to a server, alone or with several at a time, and checks each reply.

It connects and warms up.  Then, for each part that it is told to do, it prints ``measuring`` and the name of the part,
does it, and prints one line of JSON: ``part``, ``requests``, ``seconds``, ``rate`` (requests a second), ``load``
(seconds of CPU for 1,000 requests), ``mean``, ``p50``, ``p99`` and ``p99.9`` (milliseconds from a request to its
reply).  The parts:

``peak``
    so many requests at a time, each as soon as another has its reply.
``alone``
    one request at a time.
``open``
    requests at regular times, a share of the rate of ``peak``; ``offered`` is how many a second.

It stays until it is ended, so that what it has used can be read.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
from argparse import ArgumentParser, Namespace
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from itertools import islice
from time import perf_counter, process_time, sleep
from typing import Any, Protocol

import zmq
from asking import Pace, Requests, quantiles

#: Requests to warm up with, where a number of requests is measured.
WARM = 500
#: Seconds between two parts, in which the end of one is noticed before the next begins.
PAUSE = 0.1
#: Seconds that a request may take.
TIMEOUT = 30.0


class Caller(Protocol):
    """
    A client of one kind.

    A coroutine is returned where the client has a loop, which must run it.
    """

    def send(self, requests: Requests, several: int) -> Any:
        """Send requests, so many at a time, and check the replies."""

    def sendPaced(self, pace: Pace) -> Any:
        """Send requests when they are due, and check the replies."""


class Plain:
    """A client whose calls wait for the reply; several at a time are as many threads."""

    def __init__(self, ask: Callable[[bytes], object]) -> None:
        self._ask = ask

    def send(self, requests: Requests, several: int) -> None:
        """See :class:`Caller`."""
        if several == 1:
            self._sendEach(requests)
            return
        each = [threading.Thread(target=self._sendEach, args=(requests,)) for _ in range(several)]
        for thread in each:
            thread.start()
        for thread in each:
            thread.join()

    def _sendEach(self, requests: Requests) -> None:
        ask, check = self._ask, requests.check
        for payload in requests:
            check(payload, ask(payload))

    def sendPaced(self, pace: Pace) -> None:
        """It cannot."""
        raise SystemExit("this client waits for each reply")


class Pipe(Protocol):
    """A socket to which several requests are sent before their replies come."""

    def send(self, payloads: Iterable[bytes]) -> None:
        """Send requests."""

    def receive(self, wait: float | None) -> list[tuple[bytes, bytes]]:
        """Return requests and their replies; see :class:`gearsocket.GearPipe`."""


class Piped:
    """A client that has a socket for itself, and no library around it."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def send(self, requests: Requests, several: int) -> None:
        """See :class:`Caller`."""
        pipe, check = self._pipe, requests.check
        outstanding = 0
        free = several
        while True:
            fresh = list(islice(requests, free))
            if fresh:
                pipe.send(fresh)
            outstanding += len(fresh)
            if not outstanding:
                return
            done = self._replies()
            for payload, reply in done:
                check(payload, reply)
            free = len(done)
            outstanding -= free

    def sendPaced(self, pace: Pace) -> None:
        """See :class:`Caller`."""
        pipe, check = self._pipe, pace.check
        outstanding = 0
        while (wait := pace.wait()) is not None or outstanding:
            due = pace.due()
            if due:
                pipe.send(due)
                outstanding += len(due)
                wait = pace.wait()
            done = self._replies() if wait is None else pipe.receive(wait)
            for payload, reply in done:
                check(payload, reply)
            outstanding -= len(done)

    def _replies(self) -> list[tuple[bytes, bytes]]:
        """Return requests and their replies, one at least."""
        began = perf_counter()
        while not (done := self._pipe.receive(TIMEOUT)):
            # What has come may be something else than a reply.
            if perf_counter() > began + TIMEOUT:
                raise SystemExit(f"no reply for {TIMEOUT:g} seconds")
        return done


class Dealer:
    """A bare DEALER, which finds the request of a reply by the time and the number in it."""

    def __init__(self, endpoint: str) -> None:
        self._socket = zmq.Context().socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(endpoint)
        self._sent: set[bytes] = set()

    def send(self, payloads: Iterable[bytes]) -> None:
        """Send requests."""
        send = self._socket.send
        for each in payloads:
            self._sent.add(each)
            send(b"", zmq.SNDMORE)
            send(each)

    def receive(self, wait: float | None) -> list[tuple[bytes, bytes]]:
        """Return requests and their replies."""
        if not self._socket.poll(None if wait is None else int(wait * 1000)):
            return []
        done = []
        receive = self._socket.recv
        try:
            while True:
                receive(zmq.NOBLOCK)
                reply = receive()
                if reply not in self._sent:
                    raise SystemExit(f"{reply!r} is the reply to no request")
                self._sent.remove(reply)
                done.append((reply, reply))
        except zmq.Again:
            return done


class Looped:
    """
    A client whose calls are awaited.

    :param ask: sends a request.
    :param gather: starts coroutines, and waits for all.
    :param rest: waits for so many seconds.
    """

    def __init__(
        self,
        ask: Callable[[bytes], Awaitable[object]],
        gather: Callable[[Iterable[Coroutine[Any, Any, None]]], Awaitable[object]],
        rest: Callable[[float], Awaitable[object]],
        spawn: Callable[[Coroutine[Any, Any, None]], Awaitable[object]],
    ) -> None:
        self._ask = ask
        self._gather = gather
        self._rest = rest
        self._spawn = spawn

    async def send(self, requests: Requests, several: int) -> None:
        """See :class:`Caller`."""
        await self._gather([self._sendEach(requests) for _ in range(several)])

    async def _sendEach(self, requests: Requests) -> None:
        ask, check = self._ask, requests.check
        for payload in requests:
            check(payload, await ask(payload))

    async def sendPaced(self, pace: Pace) -> None:
        """See :class:`Caller`."""
        started: deque[Awaitable[object]] = deque()
        while (wait := pace.wait()) is not None:
            await self._rest(wait)
            started.extend(self._spawn(self._sendOne(payload, pace)) for payload in pace.due())
        for each in started:
            await each

    async def _sendOne(self, payload: bytes, pace: Pace) -> None:
        pace.check(payload, await self._ask(payload))


#: Does its work with a caller that it makes for an endpoint.
Run = Callable[[str, Callable[[Any], Any]], None]


def req(endpoint: str, work: Callable[[Caller], Any]) -> None:
    """A bare REQ socket."""
    socket = zmq.Context().socket(zmq.REQ)
    socket.connect(endpoint)

    def ask(payload: bytes) -> bytes:
        socket.send(payload)
        return socket.recv()

    work(Plain(ask))


def dealer(endpoint: str, work: Callable[[Caller], Any]) -> None:
    """A bare DEALER."""
    work(Piped(Dealer(endpoint)))


def gearman(endpoint: str, work: Callable[[Caller], Any]) -> None:
    """A bare socket that speaks with gearmand."""
    from gearsocket import GearPipe

    work(Piped(GearPipe(endpoint)))


def call(endpoint: str, work: Callable[[Caller], Any]) -> None:
    """``Client.call``."""
    from pirate.client import Client

    with Client(endpoint) as client:
        work(Plain(client.call))


class Mapped:
    """``Client.map``, or ``map`` of an ``Executor``: the replies come in the order of the requests."""

    def __init__(self, map: Callable[[Iterable[bytes], int], Iterable[object]]) -> None:
        self._map = map

    def send(self, requests: Requests, several: int) -> None:
        """See :class:`Caller`."""
        sent: deque[bytes] = deque()

        def payloads() -> Iterator[bytes]:
            for payload in requests:
                sent.append(payload)
                yield payload

        check = requests.check
        for reply in self._map(payloads(), several):
            check(sent.popleft(), reply)

    def sendPaced(self, pace: Pace) -> None:
        """It cannot."""
        raise SystemExit("this client takes its next request when it needs one")


def batch(endpoint: str, work: Callable[[Caller], Any]) -> None:
    """``Client.map``."""
    from pirate.client import Client

    with Client(endpoint) as client:
        work(Mapped(lambda payloads, several: client.map(payloads, concurrency=several)))


def executor(endpoint: str, work: Callable[[Caller], Any]) -> None:
    """``Executor.map``, so many futures at a time."""
    from pirate.client import Executor

    with Executor(endpoint) as pool:

        def inLots(payloads: Iterable[bytes], several: int) -> Iterator[object]:
            payloads = iter(payloads)
            while lot := list(islice(payloads, several)):
                yield from pool.map(lot)

        work(Mapped(inLots))


class Submitted:
    """``Client.submit``: futures, of which the oldest is awaited while there are so many."""

    def __init__(self, client: Any) -> None:
        self._submit = client.submit

    def send(self, requests: Requests, several: int) -> None:
        """See :class:`Caller`."""
        submit, check = self._submit, requests.check
        futures: deque[tuple[bytes, Any]] = deque()
        for payload in requests:
            futures.append((payload, submit(payload)))
            if len(futures) == several:
                sent, future = futures.popleft()
                check(sent, future.result(TIMEOUT))
        for sent, future in futures:
            check(sent, future.result(TIMEOUT))

    def sendPaced(self, pace: Pace) -> None:
        """See :class:`Caller`."""
        futures = []
        while (wait := pace.wait()) is not None:
            sleep(wait)
            for payload in pace.due():
                future = self._submit(payload)
                # The latency is that of the reply, not that of looking at it.
                future.add_done_callback(lambda done, payload=payload: pace.check(payload, done.result()))
                futures.append((payload, future))
        for payload, future in futures:
            if future.result(TIMEOUT) != payload:
                raise SystemExit("a wrong reply")


def submit(endpoint: str, work: Callable[[Caller], Any]) -> None:
    """``Client.submit``."""
    from pirate.client import Client

    with Client(endpoint) as client:
        work(Submitted(client))


def _onAsyncio(ask: Callable[[bytes], Awaitable[object]]) -> Looped:
    async def gather(several: Iterable[Coroutine[Any, Any, None]]) -> None:
        await asyncio.gather(*several)

    return Looped(ask, gather, asyncio.sleep, asyncio.ensure_future)


def coroutines(endpoint: str, work: Callable[[Caller], Any]) -> None:
    """``AsyncClient.call`` in so many tasks."""
    from pirate.client import AsyncClient

    async def main() -> None:
        async with AsyncClient(endpoint) as client:
            await work(_onAsyncio(client.call))

    asyncio.run(main())


def natspy(endpoint: str, work: Callable[[Caller], Any]) -> None:
    """``request`` of nats-py in so many tasks."""
    import nats
    from natsworker import SUBJECT

    async def main() -> None:
        client = await nats.connect(endpoint)

        async def ask(payload: bytes) -> object:
            return (await client.request(SUBJECT, payload, timeout=TIMEOUT)).data

        await work(_onAsyncio(ask))
        await client.close()

    asyncio.run(main())


def natscore(endpoint: str, work: Callable[[Caller], Any]) -> None:
    """``request`` of nats-core in so many tasks."""
    from nats.client import connect
    from natsworker import SUBJECT

    async def main() -> None:
        client = await connect(endpoint)

        async def ask(payload: bytes) -> object:
            return (await client.request(SUBJECT, payload, timeout=TIMEOUT)).data

        await work(_onAsyncio(ask))
        await client.close()

    asyncio.run(main())


def deferreds(endpoint: str, work: Callable[[Caller], Any]) -> None:
    """``TwistedClient.call``, so many Deferreds at a time."""
    from twisted.internet.defer import Deferred, gatherResults
    from twisted.internet.task import deferLater, react

    from pirate.client import TwistedClient

    async def main(reactor: Any) -> None:
        client = TwistedClient(reactor, endpoint)

        def gather(several: Iterable[Coroutine[Any, Any, None]]) -> Deferred[Any]:
            return gatherResults([Deferred.fromCoroutine(each) for each in several], consumeErrors=True)

        await work(Looped(client.call, gather, lambda seconds: deferLater(reactor, seconds), Deferred.fromCoroutine))
        await client.close()

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit as end:
        if end.code:
            raise


KINDS: dict[str, Run] = {
    each.__name__: each
    for each in (req, dealer, gearman, call, batch, executor, submit, coroutines, natspy, natscore, deferreds)
}


class Measurement:
    """
    The parts of a measurement, one after the other.

    It yields what the caller returns, so that it is the same for those that have a loop and those that have none.
    """

    def __init__(self, options: Namespace) -> None:
        self._options = options

    def steps(self, caller: Any) -> Iterator[Any]:
        """Do it."""
        options = self._options
        warm = Requests(WARM) if options.count else Requests(seconds=options.seconds / 3)
        # In a part of its own: "alone" is warmed up by what the others do.
        yield caller.send(warm, options.several if "peak" in options.parts else 1)
        rate = options.rate
        for part in options.parts:
            told: dict[str, float] = {}
            sleep(PAUSE)
            print(f"measuring {part}", flush=True)
            if part == "open":
                told["offered"] = rate * options.share
                requests: Requests = Pace(told["offered"], options.seconds)
            else:
                requests = Requests(options.count, 0 if options.count else options.seconds)
            began, cpu = perf_counter(), process_time()
            if isinstance(requests, Pace):
                yield caller.sendPaced(requests)
            else:
                yield caller.send(requests, options.several if part == "peak" else 1)
            seconds, cpu = perf_counter() - began, process_time() - cpu
            number = len(requests.latencies)
            if not number or (options.count and number != options.count):
                raise SystemExit(f"{number} of {options.count} requests were answered")
            told |= {"requests": number, "seconds": seconds, "rate": number / seconds, "load": cpu / number * 1000}
            told |= {"mean": sum(requests.latencies) / number / 1e6, **quantiles(requests.latencies)}
            if part == "peak":
                rate = told["rate"]
            print(json.dumps({"part": part, **told}), flush=True)
        if options.stay:
            sleep(PAUSE)
            signal.pause()

    async def awaited(self, caller: Any) -> None:
        """Do it in a loop."""
        for each in self.steps(caller):
            await each

    def work(self, caller: Any) -> Any:
        """Do it, or return a coroutine that does."""
        if isinstance(caller, Looped):
            return self.awaited(caller)
        for _ in self.steps(caller):
            pass
        return None


def parse() -> Namespace:
    """The command line."""
    parser = ArgumentParser(description="Send requests to a server with one kind of client.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("endpoint")
    parser.add_argument("--parts", nargs="+", choices=("peak", "alone", "open"), default=["peak"])
    parser.add_argument("--several", type=int, default=1, help="how many requests are in flight at a time")
    parser.add_argument("--count", type=int, default=0, help="requests of each part; 0: as many as the time allows")
    parser.add_argument("--seconds", type=float, default=3, help="how long each part takes")
    parser.add_argument("--rate", type=float, default=0, help="the rate of which open offers a share, without peak")
    parser.add_argument("--share", type=float, default=0.7, help="the share of it")
    parser.add_argument("--stay", action="store_true", help="stay until ended")
    return parser.parse_args()


def main() -> None:
    """Do what the command line says."""
    options = parse()
    KINDS[options.kind](options.endpoint, Measurement(options).work)


if __name__ == "__main__":
    sys.exit(main())
