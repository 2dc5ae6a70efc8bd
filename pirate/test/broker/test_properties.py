# -*- test-case-name: pirate.test.broker.test_properties -*-
"""What holds whatever happens: the parsers against any frames, the two cores against any sequence of events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.request import NativeRequest, Request, State, readRequest
from pirate.pool.actions import Action, CutOff, GiveUp, Reloaded, Retire, Signal, Spawn
from pirate.pool.child import Child, ChildExit, ChildKind, ChildState
from pirate.pool.pool import TOTAL_FACTOR, Mode
from pirate.pool.scaling import MAX_BATCH
from pirate.test.support.broker import BrokerBench
from pirate.test.support.pool import PoolBench
from pirate.wire.backend import Failure, Info, Part, Status, parseWorkerMessage
from pirate.wire.frontend import header, parseHeader
from pirate.wire.words import MAGIC, MAX_CONCURRENCY, RETIRE, WORDS, Malformed

try:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
except ImportError:
    skip = "needs hypothesis, which the extra 'dev' brings"

KEY = bytes(range(16))

#: Frames that mean something in some place, and the worst that a JSON object may be.
SPECIAL = [
    *WORDS,
    *(b"", b"retire", b"cancel", b"partial", b"error", b"app-error", MAGIC, MAGIC + KEY, MAGIC + KEY[:7], KEY),
    *(
        b"{}",
        b"[]",
        b"null",
        b"NaN",
        b'{"credit":NaN}',
        b'{"timeout_ms":Infinity}',
        b'{"token":"\\ud800"}',
        b"\xff\xfe{",
    ),
    *(b"[" * 60_000, b'{"a":' * 12_000, b'{"pid":' + b"9" * 9_000 + b"}", b'{"a":"' + b"x" * 70_000 + b'"}'),
]
NAMES = [
    *("command", "service", "timeout_ms", "attempts", "partial", "trace"),
    *("pid", "token", "credit", "services", "concurrency", "x"),
]
VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        7,
        10**400,
        0.5,
        1e300,
        float("nan"),
        float("inf"),
        "",
        "request",
        "ping",
        "é\ud800",
    ),
    *([], [""], ["a", "a"], ["a", 1], [[]], {}, {"a": 1}, "x" * 300, "00-a-b-01"),
]


def holds(check: Callable[..., None], *strategies: Any, examples: int = 100) -> None:
    """Check something against many examples: the same ones every time, however slow the machine."""
    steady = settings(
        deadline=None,
        derandomize=True,
        database=None,
        max_examples=examples,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    steady(given(*strategies)(check))()


def messages(*beginning: bytes) -> Any:
    """
    Lists of frames, with what the parsers look for more often than by chance; some of another type, some long.

    :param beginning: the frames with which most of them begin.
    """
    told = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=2).map(dict)
    sent = told.map(lambda each: json.dumps(each).encode())
    heads = told.map(lambda each: header(KEY, each))
    frame = st.one_of(st.just(b""), st.sampled_from(SPECIAL), st.binary(max_size=30), sent, heads)
    rest = st.lists(frame, max_size=5)
    usual = rest.map(lambda frames: [*beginning, *frames])
    headed = st.builds(glue, usual, heads, st.just(b""), rest)
    worded = st.builds(glue, st.just(beginning), st.sampled_from(sorted(WORDS)), sent, st.just(()))
    other = usual.map(lambda frames: [memoryview(each) for each in frames])
    return st.one_of(usual, headed, headed, worded, worded, rest, rest.map(lambda frames: frames * 9), other)


def glue(front: Sequence[bytes], one: bytes, other: bytes, back: Sequence[bytes]) -> list[bytes]:
    """One list of all."""
    return [*front, one, other, *back]


class ParserTests(SynchronousTestCase):
    """The parsers are total: any frames give a value, nothing, or a reason."""

    def test_clients(self) -> None:
        """What a client sends is a request whose frames are all there, or it is nothing, or malformed."""

        def check(frames: list[Any]) -> None:
            request = readRequest(frames)
            if isinstance(request, Request):
                self.assertEqual([*request.route, *request.body], frames)
                self.assertEqual((request.route[0], request.route[-1]), (frames[0], b""))
                self.assertTrue(request.body and len(request.route) <= 34)
                self.checkRequest(request)
            elif request is None:
                self.assertEqual(frames[1:], [b""])
            else:
                self.assertIsInstance(request, Malformed)
                self.assertIn(request.reason, {"no-delimiter", "empty-body", "envelope-too-long", "bad-header"})
                self.assertTrue(request.reply is None or request.reply[0] == frames[0])

        holds(check, messages(b"c"), examples=200)

    def checkRequest(self, request: Request) -> None:
        """Its answers go back the way it came."""
        answer, error = request.reply([b"x"]), request.error("busy", "é\ud800", True)  # type: ignore[arg-type]
        assert error is not None
        if isinstance(request, NativeRequest):
            route = [*request.route[:-2], MAGIC + request.key, b""]
            self.assertEqual((answer[:-1], error[: len(route) - 2]), (route, route[:-2]))
            self.assertIsNotNone(parseHeader(error[-3]))
            self.assertIn(request.command, ("request", "cancel", "ping"))
            self.assertTrue(request.timeout is None or 0 <= request.timeout <= 1e9)
            self.assertTrue(0 <= request.maxAttempts <= 1000)
        else:
            self.assertEqual((answer[:-1], error[:-1]), (request.route, request.route))

    def test_workers(self) -> None:
        """What a worker sends is a status, an answer, or it is nothing, or malformed."""

        def check(frames: list[Any]) -> None:
            message = parseWorkerMessage(frames)
            if isinstance(message, Status):
                self.assertIn(message.word, WORDS)
                if message.info is not None:
                    self.assertTrue(1 <= message.info.credit <= MAX_CONCURRENCY and message.info.services)
            elif isinstance(message, tuple):
                self.assertEqual([message[1], *message[2]], [frames[2], *frames[4:]])
                self.assertTrue(message[2])
            elif isinstance(message, Part):
                self.assertEqual([message.request, *message.body], [frames[2], *frames[4:]])
                self.assertTrue(message.body)
            elif isinstance(message, Failure):
                self.assertEqual([message.request, message.code, message.text], [frames[2], frames[4], frames[5]])
            elif message is None:
                self.assertEqual(frames[1:], [b""])
            else:
                reasons = {"no-delimiter", "unknown-word", "bad-info", "unknown-reply"}
                self.assertIn(message.reason, reasons)
                self.assertIsNone(message.reply)

        holds(check, messages(b"w", b""), examples=200)


#: The worker that executes several requests at once.
CROWDED = b"worker 2"


class Harbour(BrokerBench):
    """
    A broker and peers that do anything.  What they are sent is checked as it is sent.

    :ivar hands: what each worker that is there has been sent and has not answered, in order.
    :ivar ghosts: what those had who are not there any more, and may still answer.
    """

    def __init__(self) -> None:
        super().__init__(maxAttempts=2)
        self.requests: dict[bytes, Request] = {}
        self.named: dict[bytes, Request] = {}
        self.hands: dict[bytes, list[bytes]] = {}
        self.ghosts: list[tuple[bytes, bytes]] = []
        self.services: dict[bytes, tuple[str, ...]] = {}
        self.credits: dict[bytes, int] = {}
        self.leaving: set[bytes] = set()
        self.deliveries: Counter[bytes] = Counter()
        self.losses: Counter[bytes] = Counter()
        self.deaths: Counter[bytes] = Counter()
        self.holders: set[tuple[bytes, bytes]] = set()
        self.told: Counter[bytes] = Counter()  # type: ignore[assignment]
        self.latest: dict[str, bytes] = {}
        self.detoured: set[bytes] = set()
        self.answering: tuple[bytes, bytes] | None = None

    # --- what is checked

    def toClient(self, frames: Sequence[bytes]) -> bool:
        client = frames[0]
        self.told[client] += 1
        assert self.told[client] == 1, "answered twice"
        if self.answering is not None and frames[-1].startswith(b"answer "):
            assert frames[-1] == b"answer " + client, "answered to another"
            assert self.answering in self.holders, "answered by one that never held it"
        return len(self.told) % 5 > 0

    def toWorker(self, frames: Sequence[bytes]) -> bool:
        worker, name = frames[0], frames[2]
        if worker in self.away:
            return False
        if name == RETIRE:
            self.leaving.add(worker)
            return True
        hand, request = self.hands[worker], self.requests[frames[-1]]
        assert worker not in self.leaving, "given to one that leaves"
        assert request.service in self.services[worker], "given to one that does not serve it"
        assert len(hand) < self.credits[worker], "given more than the credit"
        self.named[name] = request
        assert not hand or not any(self.isAlone(worker, each) for each in [*hand, name]), "not alone"
        self.deliveries[name] += 1
        if self.deliveries[name] > 1:
            assert request.attempts < (request.maxAttempts or 2), "tried too often"
        elif name not in self.detoured:
            assert self.latest.get(request.service, b"") < name, "overtaken"
            self.latest[request.service] = name
        assert self.deliveries[name] <= self.losses[name] + 1, "executed twice without a loss"
        hand.append(name)
        self.holders.add((worker, name))
        return True

    def postToWorker(self, frames: Sequence[bytes]) -> None:
        super().postToWorker(frames)
        # Others may have been sent before the broker hears that this one was not.
        self.detoured |= {each[2] for each in self.missed}

    def workerUnreachable(self, identity: bytes) -> bool:
        """Forget the worker."""
        self.forget(identity)
        return False

    def isAlone(self, worker: bytes, name: bytes) -> bool:
        """Whether a request must not share this worker's hand; the crowded one executes all that it holds at once."""
        request = self.named[name]
        if worker != CROWDED:
            return self.deaths[name] > 0 or request.maxAttempts == 1
        return 0 < request.attempts + request.suspected >= (request.maxAttempts or 2) - 1

    def settled(self) -> None:
        """Nothing waits for which a worker is idle; every request is in one place; nobody was charged too much."""
        self.check()
        states = Counter(request.state for request in self.requests.values())
        assert (
            states[State.QUEUED] == self.broker.queues.waiting
            and states[State.IN_FLIGHT] == self.broker.dispatcher.inFlight
        )
        wanted = {request.service for request in self.requests.values() if request.state is State.QUEUED}
        for worker in self.hands:
            if worker not in self.leaving and self.broker.dispatcher.isIdle(worker):
                assert wanted.isdisjoint(self.services[worker]), "somebody waits, and somebody is idle"
        for request in self.requests.values():
            assert request.attempts <= min(self.deaths[request.id], request.maxAttempts or 2)

    # --- what may happen

    def arrive(self, which: int, credit: int) -> None:
        """A worker of our own comes, or changes its credit; the first ones serve one name, the others two."""
        worker = b"worker %d" % which
        services = ("",) if which < 3 else ("", "a")
        self.hands.setdefault(worker, [])
        self.services[worker] = services
        self.credits[worker] = credit
        if worker == CROWDED:
            self._workers.add(worker)
            self.broker.dispatcher.workerReady(worker, Info(1, "", credit, False, services, 4))
        else:
            self.ready(worker, credit=credit, services=services, lifetime=5 if which == 1 else -1)

    def plain(self, which: int) -> None:
        """A plain worker says ``waiting``, whether it has answered or not."""
        worker = b"plain %d" % which
        self.hands[worker] = []
        self.services[worker], self.credits[worker] = ("",), 1
        self.waiting(worker)

    def come(self, service: str, attempts: int) -> None:
        """A request comes; without a number of attempts it is a plain one."""
        client = b"client %d" % len(self.requests)
        if attempts:
            key = client.rjust(16, b".")
            request: Request = NativeRequest(
                [client, MAGIC + key, b""], [client], key, {"service": service, "attempts": attempts}
            )
        else:
            request = Request([client, b""], [client], service)
        self.requests[client] = request
        self.broker.requestReceived(request)
        self.named[request.id] = request

    def answer(self, worker: bytes, name: bytes, failure: bool) -> None:
        """A worker answers a request, whether it holds it or not."""
        request = self.named.get(name)
        self.answering = worker, name
        body = b"answer " + (request.route[0] if request is not None else b"")
        if failure:
            self.broker.dispatcher.failureReceived(worker, name, "app-error", "E")  # type: ignore[arg-type]
        else:
            self.broker.dispatcher.replyReceived(worker, name, [body])
        self.answering = None

    def answerHeld(self, which: int, place: int, failure: bool) -> None:
        """A worker answers one of those that it holds."""
        workers = [worker for worker, hand in self.hands.items() if hand]
        if workers:
            worker = workers[which % len(workers)]
            hand = self.hands[worker]
            name = hand[place % len(hand)]
            if not worker.startswith(b"plain"):
                hand.remove(name)
            self.answer(worker, name, failure)

    def depart(self, which: int, died: bool) -> None:
        """A worker ends."""
        workers = list(self.hands)
        if workers:
            worker = workers[which % len(workers)]
            self.forget(worker, died)
            self.gone(worker, "signal SIGKILL", died)

    def forget(self, worker: bytes, died: bool = True) -> None:
        """A worker is there no more; what it held may be answered by it still, and is suspect if it died of that."""
        for name in self.hands.pop(worker):
            self.losses[name] += 1
            self.deaths[name] += died or worker.startswith(b"plain")
            self.ghosts.append((worker, name))
        self.leaving.discard(worker)
        self.away.discard(worker)

    def answerLate(self, which: int, failure: bool) -> None:
        """A worker that is there no more answers what it held; one that has come back with it has it in its hand."""
        if self.ghosts:
            worker, name = self.ghosts[which % len(self.ghosts)]
            if name not in self.hands.get(worker, []):
                self.answer(worker, name, failure)

    def answerForeign(self, which: int, place: int) -> None:
        """Somebody answers something."""
        names = [*self.named, b"waiting"]
        worker = [*self.hands, b"nobody"][which % (len(self.hands) + 1)]
        name = names[place % len(names)]
        if name not in self.hands.get(worker, []):
            self.answer(worker, name, False)

    def disconnect(self, which: int) -> None:
        """A worker is out of reach from now on."""
        workers = list(self.hands)
        if workers:
            self.away.add(workers[which % len(workers)])

    def retire(self, which: int) -> None:
        """A worker is to leave."""
        workers = list(self.hands)
        if workers:
            self.leaving.add(workers[which % len(workers)])
            self.broker.dispatcher.retire(workers[which % len(workers)])

    def finish(self) -> None:
        """In the end there are two good workers."""
        while self.hands:
            worker = next(iter(self.hands))
            self.forget(worker)
            self.gone(worker)
        for which in (8, 9):
            self.arrive(which, 3)
        for _ in self.requests:
            for worker in (b"worker 8", b"worker 9"):
                for name in list(self.hands[worker]):
                    self.hands[worker].remove(name)
                    self.answer(worker, name, False)
            self.settled()
        assert self.broker.isQuiet(), "something is left over"


class BrokerTests(SynchronousTestCase):
    """Any sequence of events leaves the broker's promises unbroken."""

    def test_promises(self) -> None:
        """
        No request is answered twice, to another, or by one that never held it; none overtakes another; none is executed
        again without a loss, beside another once it is suspect, or more often than allowed; the counts add up; and in
        the end every request has been answered or given up.
        """
        number = st.integers(0, 7)
        come = st.tuples(st.just("come"), st.sampled_from(["", "", "", "a"]), st.sampled_from([0, 0, 1, 3]))
        arrive = st.tuples(st.just("arrive"), st.integers(0, 4), st.integers(1, 3))
        answerHeld = st.tuples(st.just("answerHeld"), number, number, st.sampled_from([False, False, True]))
        depart = st.tuples(st.just("depart"), number, st.booleans())
        event = st.one_of(
            *(come, come, come, arrive, arrive, answerHeld, answerHeld, depart, depart),
            st.tuples(st.just("plain"), st.integers(0, 1)),
            st.tuples(st.just("answerLate"), number, st.booleans()),
            st.tuples(st.just("answerForeign"), number, number),
            st.tuples(st.just("disconnect"), number),
            st.tuples(st.just("retire"), number),
        )

        def check(events: list[tuple[Any, ...]]) -> None:
            harbour = Harbour()
            for name, *details in events:
                getattr(harbour, name)(*details)
                harbour.settled()
            harbour.finish()
            for client, request in harbour.requests.items():
                given = [each for each, *_ in harbour.givenUp].count(client)
                self.assertIs(request.state, State.DONE)
                self.assertEqual(harbour.told[client] + (given if type(request) is Request else 0), 1)
            self.assertEqual(harbour.broker.counters.received, len(harbour.requests))

        holds(check, st.lists(event, min_size=40, max_size=60), examples=100)


class Yards(PoolBench):
    """A pool and children that do anything.  What is to be done is checked as it is said."""

    def __init__(self, **limits: Any) -> None:
        super().__init__(**limits)
        self.seen: set[int] = set()
        self.asked: set[int] = set()
        self.words: Counter[type] = Counter()
        self.reloads = 0
        self.reloading = False
        self.most = 0
        self.highest = self.pool.limits.maxServers
        self.failed = False
        self.deadline: float | None = None

    def children(self, *states: ChildState) -> list[Child]:
        """The children in some states."""
        return [child for child in self.pool.children if child.state in states]

    def step(self, name: str, *details: Any) -> None:
        """Something happens, and the pool is asked."""
        mode = self.pool.mode
        getattr(self, name)(*details)
        limits = self.pool.limits
        self.highest = max(self.highest, limits.maxServers)
        self.most = max(self.most, limits.maxServers) if self.reloading else limits.maxServers
        for action in self.decide():
            self.words[type(action)] += 1
            self.carryOut(action, mode)
        live = [
            each for each in self.children(ChildState.STARTING, ChildState.WAITING) if each.kind is ChildKind.WORKER
        ]
        capacity = MAX_BATCH if self.reloading else 0
        stay = [child for child in live if not child.outgoing]
        # When the server stops, those that a reload has started stay with the others.
        assert len(stay) <= max(self.most, limits.maxServers) + capacity or self.pool.mode is not Mode.RUNNING, (
            "too many"
        )
        workers = sum(child.kind is ChildKind.WORKER and not child.outgoing for child in self.pool.children)
        # Those that do not leave keep others from coming, or there would be ever more.
        assert workers <= TOTAL_FACTOR * max(self.most, limits.maxServers) or limits.maxServers < self.highest, (
            "piled up"
        )
        crowded = workers >= TOTAL_FACTOR * limits.maxServers
        if not self.failed and self.pool.mode is Mode.RUNNING and not self.reloading and not crowded:
            assert len(stay) >= limits.minServers, "no successors"
        if not self.failed and self.pool.mode is Mode.RUNNING and not crowded:
            assert len(live) >= limits.minServers, "too few"
        dequeues = sum(child.kind is ChildKind.DEQUEUE for child in self.pool.children)
        assert dequeues <= limits.maxDequeue, "too many dequeue children"
        assert self.words[Reloaded] <= self.reloads
        assert self.words[GiveUp] <= 1 and self.words[CutOff] <= 1

    def carryOut(self, action: Action, before: Mode) -> None:
        """Check an action, and do it as far as there is something to do."""
        if isinstance(action, Spawn):
            assert action.child.key not in self.seen, "started twice"
            assert before is not Mode.CLOSING, "started while closing"
            self.seen.add(action.child.key)
        elif isinstance(action, Retire):
            assert action.child.key not in self.asked, "asked twice"
            assert action.child.state is ChildState.RETIRING and action.child.readyAt is not None
            self.asked.add(action.child.key)
        elif isinstance(action, Signal):
            assert action.child in self.pool.children, "a signal for one that is gone"
            assert action.name in ("TERM", "ABRT", "KILL")
        elif isinstance(action, GiveUp):
            assert not any(child.readyAt for child in self.children(*ChildState) if child.kind is ChildKind.WORKER)
        elif isinstance(action, Reloaded):
            self.reloading = False
        elif isinstance(action, CutOff):
            assert self.deadline is not None and self.now >= self.deadline, "cut off too early"

    # --- what may happen

    def wait(self, seconds: float) -> None:
        """Time passes, and the pool is asked whenever it wants to be."""
        end = self.now + seconds
        while (wake := self.pool.nextDecision(self.now)) < end:
            self.now = wake
            self.step("nothing")
        self.now = end

    def nothing(self) -> None:
        """Nothing happens."""

    def start(self, count: int) -> None:
        """Children become ready."""
        self.ready(self.children(ChildState.STARTING)[:count])

    def die(self, which: int, how: ChildExit) -> None:
        """A child ends."""
        children = list(self.pool.children)
        if children:
            child = children[which % len(children)]
            self.failed = self.failed or child.readyAt is None or self.now - child.readyAt < 1
            self.gone([child], how)
            self.busy.discard(child.key)

    def leave(self, which: int) -> None:
        """A child is on its way out of its own will."""
        children = self.children(ChildState.WAITING)
        if children:
            self.pool.childLeaving(children[which % len(children)], self.now)

    def work(self, count: int, backlog: int) -> None:
        """So many children are busy, so many requests wait."""
        self.busy = {child.key for child in self.children(ChildState.WAITING)[:count]}
        self.backlog = backlog
        self.received += count + backlog

    def halve(self, which: int) -> None:
        """A child has been given half of the requests that it had left."""
        children = self.children(ChildState.WAITING)
        if children:
            self.pool.lifetimeHalved(children[which % len(children)], self.now)

    def age(self, count: int) -> None:
        """Some children are too old."""
        for child in self.children(ChildState.WAITING)[:count]:
            child.recycleAt = self.now

    def resize(self, by: int) -> None:
        """One more, or one fewer."""
        (self.pool.grow if by > 0 else self.pool.shrink)()

    def reload(self) -> None:
        """Every child is to be replaced."""
        if self.pool.mode is Mode.RUNNING:
            self.reloads += 1
            self.reloading = True
            self.pool.reload()

    def end(self, how: int) -> None:
        """The server is to stop, as far as it has not come to that yet."""
        if self.pool.mode is Mode.RUNNING and how < 3:
            self.deadline = None if how == 0 else self.now + how
            self.pool.drain(self.now, None if how == 0 else how)
        elif self.pool.mode is Mode.DRAINING:
            self.pool.close(self.now)
        elif self.pool.mode is Mode.CLOSING:
            self.pool.abort(self.now)


class PoolTests(SynchronousTestCase):
    """Any sequence of events leaves the pool's promises unbroken."""

    def check(self, limits: dict[str, Any], events: list[tuple[Any, ...]]) -> None:
        """Let some events happen; then let everybody who must end, end."""
        yard = Yards(checkForDequeue=3, startTimeout=4, stopTimeout=2, **limits)
        yard.step("nothing")
        for event in events:
            yard.step(*event)
        while yard.pool.mode is not Mode.CLOSING:
            yard.step("end", 0)
        for _ in range(100):
            if not yard.pool.children:
                break
            yard.step("end", 0)
            for child in list(yard.pool.children):
                yard.gone([child])
        yard.step("wait", 100)
        self.assertEqual(list(yard.pool.children), [])
        self.assertFalse(yard.reloading)

    def test_promises(self) -> None:
        """
        Never more than allowed, never fewer while nothing has failed; nobody is started or asked to leave twice, nobody
        is started when all are to leave; a reload ends once; the server is given up once, and never once it was well;
        and the pool always knows when it wants to be asked next.
        """
        number = st.integers(0, 9)
        ends = st.sampled_from(
            [
                ChildExit("signal SIGKILL", killed=True),
                ChildExit("exit code 1"),
                ChildExit("exit code 4", fatal=True),
                ChildExit("0", clean=True),
            ]
        )
        event = st.one_of(
            st.tuples(st.just("wait"), st.sampled_from([0.05, 0.3, 1.0, 2.5, 11.0, 31.0])),
            st.tuples(st.just("start"), number),
            st.tuples(st.just("start"), number),
            st.tuples(st.just("die"), number, ends),
            st.tuples(st.just("leave"), number),
            st.tuples(st.just("halve"), number),
            st.tuples(st.just("age"), number),
            st.tuples(st.just("work"), number, st.sampled_from([0, 0, 1, 20])),
            st.tuples(st.just("resize"), st.sampled_from([-1, 1])),
            st.tuples(st.just("reload")),
            st.tuples(st.just("end"), st.integers(0, 9)),
        )
        limits = st.fixed_dictionaries(
            {}, optional={"minServers": st.integers(0, 4), "maxServers": st.integers(4, 9), "minChildTtl": st.just(0)}
        )
        holds(self.check, limits, st.lists(event, min_size=5, max_size=50), examples=200)
