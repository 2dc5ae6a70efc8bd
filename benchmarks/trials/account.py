"""A server under load while everything goes wrong that can, and the account of every request."""

from __future__ import annotations

import os
import random
import signal
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import zmq

from pirate.testing.world.invariants.checks import executedTooOften, unaccounted
from pirate.testing.world.invariants.register import named
from pirate.wire.frontend import header, parseHeader
from suite.stage import Failed, TestBed
from trials.case import Case, Trial, Verdict
from trials.load import dealer
from trials.served import Server

#: What a request asks the app to do, and how often among a thousand.
DEEDS = {b"echo": 904, b"work": 50, b"stream": 20, b"fail": 20, b"exit": 3, b"hang": 3}
#: The outcomes that each deed may have, beside the answer; a fault may take any request's worker.
FITTING = {b"fail": {"app-error"}, b"hang": {"timeout"}, b"exit": {"worker-lost", "timeout"}}
ANY = {"worker-lost", "expired"}
#: Seconds of a native request's budget, and after which a job is stopped.
BUDGET, JOB_TIMEOUT = 5.0, 1.0
#: Seconds beyond the budget in which an answer must have come.
PATIENCE = 1.0
#: Seconds after which a plain client asks again.
SILENCE = 3.0
#: Native clients, requests that each keeps under way, plain clients; faults a second.
NATIVE, OUTSTANDING, PLAIN, RATE = 6, 4, 4, 6.0
#: How often a request may be executed.
ATTEMPTS = 3
#: MiB that the server's process may grow by once it has been under load for a second, whatever goes wrong.
GROWTH = 16.0
#: Files that a worker has open in the server's process, three pipes and a connection; files more than that, in all.
FILES_PER_WORKER, FILES = 4, 3
#: Looks at them, and seconds between two.
LOOKS, PAUSE = 9, 0.05
#: Seconds in which the pool must be whole again after the last fault.
WHOLE = 15.0


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

    def __init__(self, endpoint: str, account: Account, numbers: Iterator[int], seed: int) -> None:
        self._endpoint = endpoint
        self._account = account
        self._numbers = numbers
        self._random = random.Random(seed)
        self._open: dict[bytes, tuple[int, bytes, float]] = {}
        self._done: set[bytes] = set()

    def run(self, stop: threading.Event) -> None:
        """Send and receive until told to stop, then wait for the rest."""
        with dealer(self._endpoint) as socket:
            while not stop.is_set() or self._open:
                while not stop.is_set() and len(self._open) < OUTSTANDING:
                    self._send(socket)
                if socket.poll(50):
                    self._receive(socket.recv_multipart())
                self._giveUp(monotonic())

    def _send(self, socket: Any) -> None:
        number = next(self._numbers)
        deed = self._random.choices(list(DEEDS), list(DEEDS.values()))[0]
        requestId = struct.pack(">QQ", number, self._random.getrandbits(63))
        self._open[requestId] = (number, deed, monotonic())
        self._account.sent += 1
        options = {"timeout_ms": int(BUDGET * 1000), "partial": deed == b"stream" and number % 2 == 0}
        # Only a request of one frame can be packed.
        body = [b"%d" % number, deed] if number % 3 == 0 else [b"%d %s" % (number, deed)]
        socket.send_multipart([header(requestId, options), b"", *body])

    def _receive(self, frames: list[bytes]) -> None:
        parsed = parseHeader(frames[0])
        if parsed is None:
            self._account.foreign.append(0)
            return
        requestId, told = parsed
        if told.get("status") == "partial":
            return
        entry = self._open.pop(requestId, None)
        if entry is None:
            (self._account.doubled if requestId in self._done else self._account.foreign).append(len(self._done))
            return
        self._done.add(requestId)
        number, deed, began = entry
        self._account.latencies.append(monotonic() - began)
        outcome = str(told.get("code", "reply"))
        self._account.outcomes[outcome] += 1
        if outcome == "reply":
            expected = {b"%d" % number} if deed != b"stream" else {b"%d" % number, b""}
            if not set(frames[2:]) <= expected:
                self._account.foreign.append(number)
        elif outcome not in FITTING.get(deed, set()) | ANY:
            self._account.wrong.append(f"{deed.decode()}: {outcome} {told.get('message')}")

    def _giveUp(self, now: float) -> None:
        for requestId, (number, _deed, began) in list(self._open.items()):
            if now - began > BUDGET + PATIENCE:
                self._account.lost.append(number)
                del self._open[requestId]


class PlainClient:
    """A REQ that asks again, on a new socket, when it gets no answer: the guide's lazy pirate."""

    def __init__(self, endpoint: str, account: Account, numbers: Iterator[int], seed: int) -> None:
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
                number = b"%d" % next(self._numbers)
                socket.send_multipart([number, self._random.choice([b"echo", b"work", b"stream"])])
                if not socket.poll(int(SILENCE * 1000)):
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
    Chooses faults, and commits them.

    :ivar counts: how many there have been, by kind.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._random = random.Random(1)
        self._least = LEAST
        #: When a worker that is stopped continues, and which.
        self._stopped: list[tuple[float, int]] = []
        self.counts: Counter[str] = Counter()
        self._kinds: dict[str, Callable[[], object]] = {
            "kill a worker": lambda: self._signal(signal.SIGKILL),
            "terminate a worker": lambda: self._signal(signal.SIGTERM),
            "stop and continue a worker": self._stopAndContinue,
            "reload": lambda: self._server.signal(signal.SIGHUP),
            "one worker more or fewer": self._resize,
            "a client vanishes": self._vanish,
        }

    def run(self, seconds: float, rate: float) -> None:
        """Commit so many faults a second for so many seconds."""
        began = monotonic()
        due = [began + number / rate for number in range(int(seconds * rate))]
        for at in due:
            self._continueUntil(at)
            kind = self._random.choice(list(self._kinds))
            self.counts[kind] += 1
            self._kinds[kind]()
        self._continueUntil(began + seconds)
        while self._stopped:
            self._continue()

    def _continueUntil(self, at: float) -> None:
        """Wait until a time, and let workers that are stopped continue when they are to."""
        while self._stopped and self._stopped[0][0] < at:
            sleep(max(self._stopped[0][0] - monotonic(), 0))
            self._continue()
        sleep(max(at - monotonic(), 0))

    def _continue(self) -> None:
        _, pid = heappop(self._stopped)
        self._kill(pid, signal.SIGCONT)

    def _signal(self, number: int) -> int:
        ready = [int(pid) for pid, state in self._server.stats()["pids"].items() if state != "starting"]
        pid = self._random.choice(ready or [0])
        self._kill(pid, number)
        return pid

    def _stopAndContinue(self) -> None:
        pid = self._signal(signal.SIGSTOP)
        heappush(self._stopped, (monotonic() + self._random.choice([0.05, 0.3]), pid))

    def _kill(self, pid: int, number: int) -> None:
        # Only a child of the server: its number may be another process's by now.
        if pid in self._server.workers():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _resize(self) -> None:
        more = self._least <= LEAST
        self._least += 1 if more else -1
        self._server.signal(signal.SIGTTIN if more else signal.SIGTTOU)

    def _vanish(self) -> None:
        with dealer(self._server.frontend, linger=100) as socket:
            for _ in range(5):
                socket.send_multipart([b"", b"0", b"work"])


#: Workers at least, and at most.
LEAST, MOST = 4, 12


@dataclass(frozen=True, slots=True)
class State:
    """
    What the server's process has, apart from its clients: they are not there when this is looked at.

    :ivar memory: resident, in MiB.
    """

    files: int
    workers: int
    memory: float


def judgeState(before: State, after: State, loaded: float) -> Verdict:
    """
    Compare what the server's process has with what it had before the first client came.

    :param loaded: its memory under load, before anything went wrong, in MiB.
    """
    verdict = Verdict()
    files = after.files - before.files - FILES_PER_WORKER * (after.workers - before.workers)
    verdict.limit("open files left behind", files, FILES, "")
    verdict.limit("the server grew by", after.memory - loaded, GROWTH, "MiB")
    return verdict


def judgeAccount(account: Account, executions: Counter[int], stats: dict[str, Any]) -> list[str]:
    """
    Say what is wrong with an account, by the register of invariants; nothing if it is clean.

    :param executions: how often each request was executed, by its number; 0 is that of the clients that vanish.
    :param stats: the server's counts once nothing is under way.
    """
    found = [named(2, f"{number} was lost") for number in account.lost]
    found += [named(57, f"{number} was answered twice") for number in account.doubled]
    found += [named(3, f"{number} got another's answer") for number in account.foreign]
    found += [f"an answer does not fit: {text}" for text in account.wrong]
    if unaccounted(stats):
        found.append(named(7, f"{unaccounted(stats)} requests are in no counter"))
    known = Counter({number: times for number, times in executions.items() if number})
    if executedTooOften(known, ATTEMPTS):
        found.append(named(16, f"a request was executed {mostExecuted(executions)} times"))
    if stats["spawns"] != sum(stats["exits"].values()) + len(stats["pids"]):
        found.append(named(49, "the counts of starts and ends of workers do not agree"))
    if len(stats["pids"]) > 2 * MOST:
        found.append(named(8, f"there are {len(stats['pids'])} workers"))
    return found


def mostExecuted(executions: Counter[int]) -> int:
    """How often the request was executed that was executed most."""
    return max((times for number, times in executions.items() if number), default=0)


def chaos(trial: Trial) -> Verdict:
    """Start, load, break, wait until all is whole again, and count."""
    log = trial.stage.path("executions")
    server = _server(trial.stage, log)
    before = _state(server)
    account = Account()
    with _clients(server.frontend, account):
        sleep(1)
        loaded = server.memory()
        faults = Faults(server)
        faults.run(trial.seconds, RATE)
    stats = _whole(server)
    verdict = judgeState(before, _state(server), loaded)
    executions = Counter(map(int, log.read_text().split()))
    verdict.faults += judgeAccount(account, executions, stats)
    verdict.faults += server.broken()[:1]
    if not account.outcomes["reply"]:
        verdict.faults.append("nobody was served")
    verdict.facts.append(f"{account.sent} native requests, {sum(faults.counts.values())} faults")
    verdict.table += _table(account, faults.counts, executions, stats)
    return verdict


def _server(stage: TestBed, log: Path) -> Server:
    return Server(
        stage,
        0,
        *(f"--min-servers={LEAST}", f"--max-servers={MOST}", "--max-requests=300"),
        *("--check-for-waiting=0.2", "--min-child-ttl=1"),
        *(f"--job-timeout={JOB_TIMEOUT}", "--delivery-timeout=2", "--log-level=0"),
        # What is remembered would be most of what the server grows by.
        "--remember-seconds=2",
        environment={"PIRATE_TRIAL_LOG": str(log)},
    ).ready()


@contextmanager
def _clients(endpoint: str, account: Account) -> Iterator[None]:
    """All clients, each in a thread, as long as this is entered; at the end they wait for their last answers."""
    stop = threading.Event()
    numbers = count(1)
    native = [NativeClient(endpoint, account, numbers, seed) for seed in range(NATIVE)]
    plain = [PlainClient(endpoint, account, numbers, seed) for seed in range(PLAIN)]
    with ExitStack() as stack:
        for each in (*native, *plain):
            thread = threading.Thread(target=each.run, args=(stop,))
            thread.start()
            stack.callback(thread.join)
        stack.callback(stop.set)
        yield


def _state(server: Server) -> State:
    """What the server has, once its last client is gone: the median of several looks, as a worker may be leaving."""
    if not server.until(lambda stats: not stats["connections"]["frontend"]["open"]):
        raise Failed("connections of clients that are gone stay open")
    looks = []
    for _ in range(LOOKS):
        looks.append(State(server.descriptors(), len(server.workers()), server.memory()))
        sleep(PAUSE)
    return sorted(looks, key=lambda each: each.files - FILES_PER_WORKER * each.workers)[LOOKS // 2]


def _whole(server: Server) -> dict[str, Any]:
    """Wait until the pool is what it should be, and nothing is under way."""

    def whole(stats: dict[str, Any]) -> bool:
        busy = stats["backlog"] or stats["in_flight"] or set(stats["pids"].values()) != {"waiting"}
        return not busy and len(stats["pids"]) >= LEAST

    if not server.until(whole, WHOLE):
        raise Failed(f"the pool is not whole: {server.stats()}")
    return server.stats()


def _table(account: Account, faults: Counter[str], executions: Counter[int], stats: dict[str, Any]) -> Iterator[str]:
    latencies = sorted(account.latencies) or [0.0]
    rank = [f"{latencies[int(len(latencies) * share)] * 1000:.1f}" for share in (0.5, 0.99)]
    rows = [
        ("native requests", f"{account.sent}"),
        *((f"- {outcome}", f"{times}") for outcome, times in sorted(account.outcomes.items())),
        ("lost", f"{len(account.lost)}"),
        ("answered twice", f"{len(account.doubled)}"),
        ("answered with another's answer", f"{len(account.foreign)}"),
        ("answers that do not fit", f"{len(account.wrong)}"),
        ("plain clients' silences", f"{account.silences}"),
        ("executions of one request, at most", f"{mostExecuted(executions)}"),
        ("latency p50, p99, longest (ms)", f"{', '.join(rank)}, {latencies[-1] * 1000:.0f}"),
        ("faults", f"{faults.total()}"),
        *((f"- {kind}", f"{times}") for kind, times in sorted(faults.items())),
        ("requests in no counter", f"{unaccounted(stats)}"),
        ("moved from lost workers", f"{stats['redispatched']}"),
        ("spawns", f"{stats['spawns']}"),
    ]
    return (f"{name:36} {value:>28}" for name, value in rows)


ACCOUNT = Case("account", "every request has one answer, its own, whatever happens to the workers", chaos)
