"""
The load: clients that ask, and ask again, the same ones for every contestant.

All clients are connections of one ROUTER socket, each of which is a client of its own to the server.  One socket can
block until something comes, so this process spends less on looking for replies than on the replies, even with 10,000
clients.

It connects, warms up, says ``measuring``, and then prints one line of JSON:  ``requests``, ``seconds``, ``cpu``
(seconds of this process), ``p50``, ``p99`` and ``p99.9`` (seconds, of the requests that were to take no time), ``busy``
(seconds spent in jobs by all workers).
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from itertools import cycle
from random import Random
from time import perf_counter_ns, process_time
from typing import Any

import zmq
from job import HEAD, SIZE

from pirate.auth.keys import loadPair, loadPublic

_MORE = int(zmq.SNDMORE)
_NOBLOCK = int(zmq.NOBLOCK)
_PADDING = bytes(SIZE - HEAD.size)

#: Milliseconds without a reply after which something is wrong.
PATIENCE = 30_000
#: Clients that connect at a time; more would overflow the queue of connections that wait to be accepted.
LOT = 50


class Clients:
    """
    Any number of clients on one socket.

    :param count: how many.
    :param payload: what is sent as a second frame; ``None``: there is none.
    :param jobs: how long each job is to take, in turn, without end; nanoseconds.
    :param keys: the folder with the client's keys and the server's; empty: there are none.
    :ivar now: when the last reply came.
    """

    def __init__(self, endpoint: str, count: int, payload: zmq.Frame | None, jobs: Any, keys: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.set_hwm(0)
        if keys:
            self._socket.curve_publickey, self._socket.curve_secretkey = loadPair(f"{keys}/client.key_secret")
            self._socket.curve_serverkey = loadPublic(f"{keys}/server.key")
        self._socket.rcvtimeo = PATIENCE
        plain: Any = super(zmq.Socket, self._socket)
        self._receive, self._send = plain.recv, plain.send
        self._payload = payload
        self._jobs = jobs
        #: Whose the requests in flight are, by when they were sent, which is as good as a number.
        self._sent: dict[int, bytes] = {}
        names = [b"client-%d" % number for number in range(count)]
        for first in range(0, count, LOT):
            self._connect(endpoint, names[first : first + LOT])
        self.names = cycle(names)
        self.begin()

    def begin(self) -> None:
        """Forget what was measured."""
        self.requests = self.busy = 0
        self.latencies: list[int] = []

    def ask(self, name: bytes) -> None:
        """Send one request of one client."""
        send = self._send
        now = perf_counter_ns()
        self._sent[now] = name
        head = HEAD.pack(now, next(self._jobs)) + _PADDING
        send(name, _MORE)
        send(b"", _MORE)
        if self._payload is None:
            send(head, 0)
        else:
            send(head, _MORE)
            send(self._payload, 0, False)

    def take(self, flags: int = 0) -> bytes:
        """
        One reply.

        :return: whose it is.
        :raise SystemExit: if it is not the reply to a request that this client has in flight.
        """
        receive = self._receive
        name: bytes = receive(flags)
        receive(0)
        sent, took = HEAD.unpack_from(receive(0))
        if self._sent.pop(sent, None) != name:
            raise SystemExit(f"{name!r} got the reply to a request that it does not wait for")
        if self._payload is not None:
            receive(0, False)
        self.now = perf_counter_ns()
        self.requests += 1
        if took:
            self.busy += took
        else:
            self.latencies.append(self.now - sent)
        return name

    def exchange(self, until: int, rotate: bool) -> None:
        """
        Send a request for each reply.

        :param rotate: whether it is the next client that asks, and not the one that was answered.
        """
        while True:
            name = self.take()
            if self.now >= until:
                # So that there is as much under way as before.
                self.ask(name)
                return
            self.ask(next(self.names) if rotate else name)

    def pace(self, until: int, rate: float) -> None:
        """Send so many requests a second, whether or not they are answered; the clients take turns."""
        interval = int(1e9 / rate)
        now = due = perf_counter_ns()
        while now < until:
            while due <= now:
                self.ask(next(self.names))
                due += interval
            if self._socket.poll(max((due - now) // 1_000_000, 1)):
                self._takeAll()
            now = perf_counter_ns()

    def close(self) -> None:
        """Leave."""
        self._context.destroy(0)

    def _connect(self, endpoint: str, names: list[bytes]) -> None:
        for name in names:
            self._socket.setsockopt(zmq.CONNECT_ROUTING_ID, name)
            self._socket.connect(endpoint)
            self.ask(name)
        self.begin()
        for _ in names:
            self.take()

    def _takeAll(self) -> None:
        try:
            while True:
                self.take(_NOBLOCK)
        except zmq.Again:
            pass


def jobs(duration: float, share: float) -> Any:
    """
    How long each job is to take, nanoseconds, without end.

    :param duration: seconds.
    :param share: which share of the jobs takes that time; the others take none.
    """
    length = 1000
    some = [int(duration * 1e9)] * round(length * share)
    several = some + [0] * (length - len(some))
    Random(1).shuffle(several)
    return cycle(several)


def measure(options: Namespace) -> None:
    """Ask as the options say, and print how that went."""
    payload = zmq.Frame(bytes(options.size)) if options.size else None
    clients = Clients(options.endpoint, options.clients, payload, jobs(options.job, options.share), options.keys)

    def run(seconds: float) -> None:
        until = perf_counter_ns() + int(seconds * 1e9)
        if options.rate:
            clients.pace(until, options.rate)
        else:
            clients.exchange(until, options.rotate)

    if not options.rate:
        for _ in range(options.outstanding):
            clients.ask(next(clients.names))
    run(options.warm)
    clients.begin()
    print("measuring", flush=True)
    began, cpu = perf_counter_ns(), process_time()
    run(options.seconds)
    seconds, cpu = (perf_counter_ns() - began) / 1e9, process_time() - cpu
    latencies = sorted(clients.latencies) or [0]
    figures = {
        "requests": clients.requests,
        "seconds": seconds,
        "cpu": cpu,
        "p50": latencies[len(latencies) // 2] / 1e9,
        "p99": latencies[len(latencies) * 99 // 100] / 1e9,
        "p99.9": latencies[len(latencies) * 999 // 1000] / 1e9,
        "busy": clients.busy / 1e9,
    }
    print(json.dumps(figures), flush=True)
    # Not before: what the server does for those who leave is none of their requests.
    clients.close()


def parse() -> Namespace:
    """The command line."""
    parser = ArgumentParser(description="Ask a server as many clients do.")
    parser.add_argument("endpoint")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--outstanding", type=int, default=256, help="requests under way, of all clients together")
    parser.add_argument("--rate", type=float, default=0, help="requests a second; 0: one for each reply")
    parser.add_argument("--rotate", action="store_true", help="let the clients take turns")
    parser.add_argument("--size", type=int, default=0, help="bytes of a second frame; 0: there is none")
    parser.add_argument("--job", type=float, default=0, help="seconds that a job takes")
    parser.add_argument("--share", type=float, default=1, help="share of the jobs that take that time")
    parser.add_argument("--keys", default="", help="the folder with the client's keys and the server's")
    parser.add_argument("--warm", type=float, default=1, help="seconds before measuring")
    parser.add_argument("--seconds", type=float, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        measure(parse())
    except zmq.Again:
        sys.exit(f"no reply for {PATIENCE // 1000} seconds")
