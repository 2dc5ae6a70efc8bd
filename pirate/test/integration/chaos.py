"""
A server under load while everything goes wrong that can, and the account of every request.

The test and the benchmark run the same code with other numbers.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread

from pirate.service import JobServer
from pirate.settings import Limits, Terms
from pirate.wire.frontend import header, parseHeader

#: What a request asks the app to do, and how often among a thousand.
DEEDS = {b"echo": 904, b"work": 50, b"stream": 20, b"raise": 20, b"exit": 3, b"hang": 3}
#: The outcomes that each deed may have, beside the answer; a fault may take any request's worker.
FITTING = {b"raise": {"app-error"}, b"hang": {"timeout"}, b"exit": {"worker-lost", "timeout"}}
ANY = {"worker-lost", "expired"}
#: Seconds of a native request's budget, and after which a job is stopped.
BUDGET, JOB_TIMEOUT = 5.0, 1.0
#: Seconds beyond the budget in which an answer must have come.
PATIENCE = 1.0


@dataclass
class Account:
    """What happened to the requests of all clients."""

    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: list[int] = field(default_factory=list)
    doubled: list[int] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    silences: int = 0
    latencies: list[float] = field(default_factory=list)


class NativeClient:
    """
    A DEALER that keeps some requests outstanding, and checks each off.

    :param numbers: gives the next request's number.
    """

    def __init__(
        self, endpoint: str, account: Account, numbers: Callable[[], int], seed: int, outstanding: int
    ) -> None:
        self._endpoint = endpoint
        self._account = account
        self._numbers = numbers
        self._random = random.Random(seed)
        self._outstanding = outstanding
        self._open: dict[bytes, tuple[int, bytes, float]] = {}
        self._done: set[bytes] = set()

    def run(self, stop: threading.Event) -> None:
        """Send and receive until told to stop, then wait for the rest."""
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(self._endpoint)
        try:
            while not stop.is_set() or self._open:
                while not stop.is_set() and len(self._open) < self._outstanding:
                    self._send(socket)
                if socket.poll(50):
                    self._receive(socket.recv_multipart())
                self._giveUp(time.monotonic())
        finally:
            context.destroy(0)

    def _send(self, socket: Any) -> None:
        number = self._numbers()
        deed = self._random.choices(list(DEEDS), list(DEEDS.values()))[0]
        key = struct.pack(">QQ", number, self._random.getrandbits(63))
        self._open[key] = (number, deed, time.monotonic())
        self._account.sent += 1
        options = {"timeout_ms": int(BUDGET * 1000), "partial": deed == b"stream" and number % 2 == 0}
        socket.send_multipart([header(key, options), b"", b"%d" % number, deed])

    def _receive(self, frames: list[bytes]) -> None:
        parsed = parseHeader(frames[0])
        assert parsed is not None
        key, told = parsed
        if told.get("status") == "partial":
            return
        entry = self._open.pop(key, None)
        if entry is None:
            (self._account.doubled if key in self._done else self._account.foreign).append(len(self._done))
            return
        self._done.add(key)
        number, deed, began = entry
        self._account.latencies.append(time.monotonic() - began)
        outcome = str(told.get("code", "reply"))
        self._account.outcomes[outcome] += 1
        if outcome == "reply":
            expected = {b"%d" % number} if deed != b"stream" else {b"%d" % number, b""}
            if not set(frames[2:]) <= expected:
                self._account.foreign.append(number)
        elif outcome not in FITTING.get(deed, set()) | ANY:
            self._account.wrong.append(f"{deed.decode()}: {outcome} {told.get('message')}")

    def _giveUp(self, now: float) -> None:
        for key, (number, _deed, began) in list(self._open.items()):
            if now - began > BUDGET + PATIENCE:
                self._account.lost.append(number)
                del self._open[key]


class PlainClient:
    """A REQ that asks again, on a new socket, when it gets no answer: the guide's lazy pirate."""

    def __init__(self, endpoint: str, account: Account, numbers: Callable[[], int], seed: int) -> None:
        self._endpoint = endpoint
        self._account = account
        self._numbers = numbers
        self._random = random.Random(seed)

    def run(self, stop: threading.Event) -> None:
        """Ask until told to stop."""
        context = zmq.Context()
        socket = self._open(context)
        try:
            while not stop.is_set():
                number = b"%d" % self._numbers()
                socket.send_multipart([number, self._random.choice([b"echo", b"work", b"stream"])])
                if not socket.poll(3000):
                    self._account.silences += 1
                    socket.close()
                    socket = self._open(context)
                elif set(socket.recv_multipart()) != {number}:
                    self._account.foreign.append(int(number))
        finally:
            context.destroy(0)

    def _open(self, context: Any) -> Any:
        socket = context.socket(zmq.REQ)
        socket.linger = 0
        socket.connect(self._endpoint)
        return socket


class Faults:
    """
    Chooses a fault, and commits it.

    :ivar counts: how many there have been, by kind.
    """

    def __init__(self, reactor: Any, server: JobServer, seed: int) -> None:
        self._reactor = reactor
        self._server = server
        self._random = random.Random(seed)
        self._stopped: dict[int, IDelayedCall] = {}
        self.counts: Counter[str] = Counter()
        self._kinds: dict[str, Callable[[], object]] = {
            "kill a worker": lambda: self._signal(signal.SIGKILL),
            "terminate a worker": lambda: self._signal(signal.SIGTERM),
            "stop and continue a worker": self._stopAndContinue,
            "reload": self._reload,
            "one worker more or fewer": self._resize,
            "a client vanishes": self._vanish,
        }

    def commit(self) -> None:
        """One fault."""
        kind = self._random.choice(list(self._kinds))
        self.counts[kind] += 1
        self._kinds[kind]()

    def end(self) -> None:
        """Leave nobody stopped."""
        for pid in list(self._stopped):
            self._continue(pid)

    def _signal(self, number: int) -> int:
        ready = [pid for pid, state in self._server.workers.items() if state != "starting"]
        pid = self._random.choice(ready or [0])
        self._kill(pid, number)
        return pid

    def _stopAndContinue(self) -> None:
        pid = self._signal(signal.SIGSTOP)
        if pid not in self._stopped:
            self._stopped[pid] = self._reactor.callLater(self._random.choice([0.05, 0.3]), self._continue, pid)

    def _continue(self, pid: int) -> None:
        later = self._stopped.pop(pid)
        if later.active():
            later.cancel()
        self._kill(pid, signal.SIGCONT)

    def _kill(self, pid: int, number: int) -> None:
        # Only a child that the server still has: its number may be another process's by now.
        if pid in self._server.workers:
            os.kill(pid, number)

    def _resize(self) -> None:
        (self._server.grow if self._server.limits.minServers < 5 else self._server.shrink)()

    def _reload(self) -> None:
        self._server.reload().addErrback(lambda failure: None)

    def _vanish(self) -> None:
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.linger = 100
        socket.connect(self._server.endpoints.frontend[0])
        for _ in range(5):
            socket.send_multipart([b"", b"0", b"work"])
        socket.close()
        threading.Thread(target=context.term).start()


@dataclass
class Report:
    """The account, the faults, and what was left at the end."""

    account: Account
    faults: Counter[str]
    executions: Counter[int]
    stats: dict[str, Any]
    descriptors: tuple[int, int]
    memory: tuple[float, float]
    seconds: float

    def unaccounted(self) -> int:
        """Requests that are in no counter; 0 if the books are right."""
        stats = self.stats
        known = sum(stats[name] for name in ("replied", "joined", "remembered", "withdrawn", "backlog", "in_hand"))
        return int(stats["received"] - known - sum(stats["failed"].values()))

    def mostExecuted(self) -> int:
        """How often the request was executed that was executed most."""
        return max((count for number, count in self.executions.items() if number), default=0)

    def faultsFound(self) -> list[str]:
        """What must not be, in words; empty if all is well."""
        account = self.account
        found = [f"{number} was lost" for number in account.lost]
        found += [f"{number} was answered twice" for number in account.doubled]
        found += [f"{number} got another's answer" for number in account.foreign]
        found += [f"an answer does not fit: {text}" for text in account.wrong]
        if self.unaccounted():
            found.append(f"{self.unaccounted()} requests are in no counter")
        if self.mostExecuted() > 3:
            found.append(f"a request was executed {self.mostExecuted()} times")
        return found

    def rows(self) -> list[tuple[str, str]]:
        """For people."""
        latencies = sorted(self.account.latencies) or [0.0]
        rank = [f"{latencies[int(len(latencies) * share)] * 1000:.1f}" for share in (0.5, 0.99)]
        return [
            ("seconds", f"{self.seconds:.0f}"),
            ("native requests", f"{self.account.sent}"),
            *((f"- {outcome}", f"{count}") for outcome, count in sorted(self.account.outcomes.items())),
            ("lost", f"{len(self.account.lost)}"),
            ("answered twice", f"{len(self.account.doubled)}"),
            ("answered with another's answer", f"{len(self.account.foreign)}"),
            ("answers that do not fit", f"{len(self.account.wrong)}"),
            ("plain clients' silences", f"{self.account.silences}"),
            ("executions of one request, at most", f"{self.mostExecuted()}"),
            ("latency p50, p99, longest (ms)", f"{', '.join(rank)}, {latencies[-1] * 1000:.0f}"),
            ("faults", f"{sum(self.faults.values())} ({sum(self.faults.values()) / self.seconds:.1f} a second)"),
            *((f"- {kind}", f"{count}") for kind, count in sorted(self.faults.items())),
            ("requests in no counter", f"{self.unaccounted()}"),
            ("moved from lost workers", f"{self.stats['redispatched']}"),
            ("spawns", f"{self.stats['spawns']}"),
            ("descriptors before, after", "{}, {}".format(*self.descriptors)),
            ("resident MiB before, after", "{:.1f}, {:.1f}".format(*self.memory)),
        ]


class Chaos:
    """
    One run.

    :param seconds: how long the faults go on.
    :param rate: faults a second.
    :param native: native clients, each with four requests outstanding.
    :param plain: plain clients.
    """

    def __init__(self, reactor: Any, *, seconds: float, rate: float, native: int, plain: int, seed: int = 1) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._rate = rate
        self._native = native
        self._plain = plain
        self._seed = seed
        self._count = 0
        self._lock = threading.Lock()
        self.account = Account()
        self.log = Path(tempfile.mkdtemp()) / "executions"
        self.server = JobServer(
            reactor,
            frontend="tcp://127.0.0.1:*",
            backend="tcp://127.0.0.1:*",
            app="pirate.test.integration.chaosapp.App",
            logLevel=0,
            limits=Limits(minServers=4, maxServers=12, maxRequests=300, checkForWaiting=1, minChildTtl=1),
            terms=Terms(jobTimeout=JOB_TIMEOUT, deliveryTimeout=2),
        )

    async def run(self) -> Report:
        """Start, load, break, mend, count, stop."""
        os.environ["PIRATE_CHAOS_LOG"] = str(self.log)
        self.server.startService()
        try:
            await self.server.whenReady()
            return await self._run()
        finally:
            await self.server.stopService()
            del os.environ["PIRATE_CHAOS_LOG"]

    async def _run(self) -> Report:
        stop = threading.Event()
        clients: list[Deferred[None]] = [deferToThread(client.run, stop) for client in self._clients()]
        try:
            await self._wait(0.5)
            before = descriptors(), residentMemory()
            faults = await self._break()
        finally:
            stop.set()
            for client in clients:
                await client
        await self._whole()
        return Report(
            account=self.account,
            faults=faults.counts,
            executions=Counter(int(line) for line in self.log.read_text().split()),
            stats=self.server.stats(),
            descriptors=(before[0], descriptors()),
            memory=(before[1], residentMemory()),
            seconds=self._seconds,
        )

    async def _break(self) -> Faults:
        """Commit faults for as long as that is to go on."""
        faults = Faults(self._reactor, self.server, self._seed)
        breaking = LoopingCall(faults.commit)
        breaking.clock = self._reactor
        failed = breaking.start(1 / self._rate)
        await self._wait(self._seconds)
        if breaking.running:
            breaking.stop()
        faults.end()
        await failed
        return faults

    def _clients(self) -> list[NativeClient | PlainClient]:
        endpoint = self.server.endpoints.frontend[0]
        native = [NativeClient(endpoint, self.account, self._number, self._seed + n, 4) for n in range(self._native)]
        return [*native, *(PlainClient(endpoint, self.account, self._number, n) for n in range(self._plain))]

    def _number(self) -> int:
        with self._lock:
            self._count += 1
            return self._count

    def _wait(self, seconds: float) -> Deferred[None]:
        return deferLater(self._reactor, seconds, lambda: None)

    async def _whole(self) -> None:
        """Wait until the pool is what it should be, and nothing is under way."""
        for _ in range(200):
            stats, states = self.server.stats(), list(self.server.workers.values())
            busy = stats["backlog"] or stats["in_hand"] or set(states) != {"waiting"}
            if not busy and len(states) >= self.server.limits.minServers:
                return
            await self._wait(0.05)
        raise AssertionError(f"the pool is not whole: {self.server.workers} {self.server.stats()}")


def descriptors() -> int:
    """How many file descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def residentMemory() -> float:
    """This process's resident memory, in MiB."""
    from pirate.process import residentMemory

    return residentMemory(os.getpid())
