# -*- test-case-name: pirate.test.broker.test_properties -*-
"""What holds whatever happens: the parsers against any frames, the broker against any sequence of events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.request import NativeRequest, Request, State, readRequest
from pirate.test.support.broker import BrokerBench
from pirate.wire.backend import Failure, Info, Part, Status, parseWorkerMessage
from pirate.wire.frontend import header, parseHeader
from pirate.wire.words import MAGIC, MAX_CONCURRENCY, RETIRE, WORDS, Malformed

try:
    from hypothesis import strategies as st

    from pirate.test.support.properties import holds
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
