# -*- test-case-name: pirate.test.broker.test_properties -*-
"""Properties that always hold: of the parsers for any frames, of the broker for any sequence of events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.request import NativeRequest, Request, State, readRequest
from pirate.test.support.broker import BrokerBench
from pirate.wire.backend import (
    Announcement,
    ErrorReply,
    PackedReplies,
    Part,
    Status,
    idsOf,
    pack,
    parseWorkerMessage,
    unpack,
)
from pirate.wire.frontend import header, parseHeader
from pirate.wire.words import MAGIC, MAX_CONCURRENCY, MAX_PACKED, PACK, RETIRE, WORDS, Malformed

try:
    from hypothesis import strategies as st

    from pirate.test.support.properties import holds
except ImportError:
    skip = "needs hypothesis, which the extra 'dev' brings"

REQUEST_ID = bytes(range(16))

#: Frames that mean something in some place, and the worst JSON objects.
SPECIAL = [
    *WORDS,
    *(
        b"",
        b"retire",
        b"cancel",
        b"partial",
        b"error",
        b"app-error",
        MAGIC,
        MAGIC + REQUEST_ID,
        MAGIC + REQUEST_ID[:7],
        REQUEST_ID,
    ),
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
    *(b"[" * 60_000, b'{"a":' * 12_000, b'{"credit":' + b"9" * 9_000 + b"}", b'{"a":"' + b"x" * 70_000 + b'"}'),
]
NAMES = [
    *("command", "service", "timeout_ms", "attempts", "partial", "trace"),
    *("token", "credit", "services", "concurrency", "x"),
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
    heads = told.map(lambda each: header(REQUEST_ID, each))
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
    """The parsers are total: any frames give a value, ``None``, or a reason."""

    def test_clients(self) -> None:
        """A client's message is a request that has all its frames, or a greeting, or malformed."""

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
        """Check that the replies to a request go back the way it came."""
        answer, error = request.reply([b"x"]), request.error("busy", "é\ud800", True)  # type: ignore[arg-type]
        assert error is not None
        if isinstance(request, NativeRequest):
            route = [*request.route[:-2], MAGIC + request.requestId, b""]
            self.assertEqual((answer[:-1], error[: len(route) - 2]), (route, route[:-2]))
            self.assertIsNotNone(parseHeader(error[-3]))
            self.assertIn(request.command, ("request", "cancel", "ping"))
            self.assertTrue(request.timeout is None or 0 <= request.timeout <= 1e9)
            self.assertTrue(0 <= request.maxAttempts <= 1000)
        else:
            self.assertEqual((answer[:-1], error[:-1]), (request.route, request.route))

    def test_workers(self) -> None:
        """A worker's message is a status, a reply, a greeting, or malformed."""

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
            elif isinstance(message, ErrorReply):
                self.assertEqual([message.request, message.code, message.text], [frames[2], frames[4], frames[5]])
            elif message is None:
                self.assertEqual(frames[1:], [b""])
            elif isinstance(message, PackedReplies):
                self.assertTrue(1 <= len(message.requests) == len(message.bodies) <= MAX_PACKED)
                self.assertEqual(pack(message.requests, message.bodies), frames[2])
            else:
                reasons = {"no-delimiter", "bad-pack", "unknown-word", "bad-info", "unknown-reply"}
                self.assertIn(message.reason, reasons)
                self.assertIsNone(message.reply)

        holds(check, messages(b"w", b""), examples=200)

    def test_packed(self) -> None:
        """What is packed can be unpacked; any other frame has no more in it than its sizes say, or is malformed."""
        one = st.tuples(st.binary(min_size=8, max_size=8), st.binary(max_size=40))

        def checkSame(pairs: list[tuple[bytes, bytes]]) -> None:
            ids, bodies = [each for each, _ in pairs], [body for _, body in pairs]
            columns = unpack(pack(ids, bodies))
            self.assertEqual(columns, (tuple(ids), bodies))

        def checkAny(frame: bytes, at: int, byte: int, cut: int) -> None:
            changed = bytearray(frame)
            if changed:
                changed[at % len(changed)] = byte
            for each in (frame, bytes(changed), bytes(changed)[: len(changed) - cut], bytes(changed) + b"x" * cut):
                message = parseWorkerMessage([b"w", PACK, each])
                if isinstance(message, PackedReplies):
                    self.assertEqual(pack(message.requests, message.bodies), each)
                else:
                    self.assertEqual(message, Malformed("bad-pack"))

        pairs = st.lists(one, min_size=1, max_size=MAX_PACKED)
        packed = pairs.map(lambda each: pack(*zip(*each, strict=True)))
        holds(checkSame, pairs, examples=100)
        holds(
            checkAny, st.one_of(packed, st.binary(max_size=40)), st.integers(0), st.integers(0, 255), st.integers(0, 9)
        )


#: The worker that executes several requests at once.
CONCURRENT = b"worker 2"


class RandomPeersBench(BrokerBench):
    """
    A broker and peers that do anything.  Each message that they are sent is checked.

    :ivar held: the requests that each worker has been sent and has not replied to, in order.
    :ivar lostRequests: the requests that lost workers held, and may still reply to.
    """

    def __init__(self) -> None:
        super().__init__(maxAttempts=2)
        self.requests: dict[bytes, Request] = {}
        self.named: dict[bytes, Request] = {}
        self.held: dict[bytes, list[bytes]] = {}
        self.lostRequests: list[tuple[bytes, bytes]] = []
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
        self.replying: tuple[bytes, bytes] | None = None

    # --- what is checked

    def toClient(self, frames: Sequence[bytes]) -> bool:
        client = frames[0]
        self.told[client] += 1
        assert self.told[client] == 1, "two replies"
        if self.replying is not None and frames[-1].startswith(b"answer "):
            assert frames[-1] == b"answer " + client, "reply to another request"
            assert self.replying in self.holders, "reply of a worker that never held it"
        return len(self.told) % 5 > 0

    def toWorker(self, frames: Sequence[bytes]) -> bool:
        worker, name = frames[0], frames[2]
        if worker in self.away:
            return False
        if name == RETIRE:
            self.leaving.add(worker)
            return True
        hand, request = self.held[worker], self.requests[frames[-1]]
        assert worker not in self.leaving, "sent to a leaving worker"
        assert request.service in self.services[worker], "sent to a worker that does not serve it"
        assert len(hand) < self.credits[worker], "sent more than the credit"
        self.named[name] = request
        assert not hand or not any(self.isAlone(worker, each) for each in [*hand, name]), "not alone"
        self.deliveries[name] += 1
        if self.deliveries[name] > 1:
            assert request.deaths < (request.maxAttempts or 2), "tried too often"
        elif name not in self.detoured:
            assert self.latest.get(request.service, b"") < name, "overtaken"
            self.latest[request.service] = name
        assert self.deliveries[name] <= self.losses[name] + 1, "executed twice without a loss"
        hand.append(name)
        self.holders.add((worker, name))
        return True

    def postToWorker(self, frames: Sequence[bytes]) -> None:
        super().postToWorker(frames)
        # Others may have been sent before the broker learns that this message was not.
        self.detoured |= {name for each in self.missed for name in idsOf(each)}

    def postRequests(self, worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        super().postRequests(worker, requests, bodies)
        if self.missed:
            self.detoured |= set(requests)

    def workerUnreachable(self, identity: bytes) -> bool:
        """Forget the worker."""
        self.forget(identity)
        return False

    def isAlone(self, worker: bytes, name: bytes) -> bool:
        """Return whether a request must be the only one of a worker."""
        request = self.named[name]
        if worker != CONCURRENT:
            return self.deaths[name] > 0 or request.maxAttempts == 1
        return 0 < request.deaths + request.suspected >= (request.maxAttempts or 2) - 1

    def settled(self) -> None:
        """Check that no request waits for an idle worker, that each is in one place, and that none is overcharged."""
        self.check()
        states = Counter(request.state for request in self.requests.values())
        assert (
            states[State.QUEUED] == self.broker.queues.waiting
            and states[State.IN_FLIGHT] == self.broker.dispatcher.inFlight
        )
        wanted = {request.service for request in self.requests.values() if request.state is State.QUEUED}
        for worker in self.held:
            if worker not in self.leaving and self.broker.dispatcher.isIdle(worker):
                assert wanted.isdisjoint(self.services[worker]), "a request waits for an idle worker"
        for request in self.requests.values():
            assert request.deaths <= min(self.deaths[request.brokerId], request.maxAttempts or 2)

    # --- what may happen

    def workerComes(self, which: int, credit: int) -> None:
        """Have a worker announce itself or change its credit; the first ones serve one name, the others two."""
        worker = b"worker %d" % which
        services = ("",) if which < 3 else ("", "a")
        self.held.setdefault(worker, [])
        self.services[worker] = services
        self.credits[worker] = credit
        if worker == CONCURRENT:
            self._workers.add(worker)
            self.broker.dispatcher.workerReady(worker, Announcement("", credit, False, services, 4))
        else:
            left = 5 if which == 1 else -1
            self.ready(worker, credit=credit, services=services, requestsLeft=left, packs=which < 2)

    def plainWorkerWaits(self, which: int) -> None:
        """Have a plain worker say ``waiting``, whether it has replied or not."""
        worker = b"plain %d" % which
        self.held[worker] = []
        self.services[worker], self.credits[worker] = ("",), 1
        self.waiting(worker)

    def requestComes(self, service: str, attempts: int) -> None:
        """Pass a request to the broker; without a number of attempts it is a plain one."""
        client = b"client %d" % len(self.requests)
        if attempts:
            requestId = client.rjust(16, b".")
            request: Request = NativeRequest(
                [client, MAGIC + requestId, b""], [client], requestId, {"service": service, "attempts": attempts}
            )
        else:
            request = Request([client, b""], [client], service)
        self.requests[client] = request
        self.broker.requestReceived(request)
        self.named[request.brokerId] = request

    def send(self, worker: bytes, name: bytes, failure: bool) -> None:
        """Have a worker reply to a request, whether it holds it or not."""
        request = self.named.get(name)
        self.replying = worker, name
        body = b"answer " + (request.route[0] if request is not None else b"")
        if failure:
            self.broker.dispatcher.failureReceived(worker, name, "app-error", "E")  # type: ignore[arg-type]
        else:
            self.broker.dispatcher.replyReceived(worker, name, [body])
        self.replying = None

    def replyToHeld(self, which: int, place: int, failure: bool) -> None:
        """Have a worker reply to one of its requests."""
        workers = [worker for worker, hand in self.held.items() if hand]
        if workers:
            worker = workers[which % len(workers)]
            hand = self.held[worker]
            name = hand[place % len(hand)]
            if not worker.startswith(b"plain"):
                hand.remove(name)
            self.send(worker, name, failure)

    def replyToSeveral(self, which: int, places: list[int]) -> None:
        """Have a worker reply to some requests at once, most of which it holds, in some order."""
        workers = [worker for worker, hand in self.held.items() if hand and not worker.startswith(b"plain")]
        if not workers:
            return
        worker = workers[which % len(workers)]
        hand = self.held[worker]
        names = [hand[place] if place < len(hand) else b"\x80unknown" for place in places]
        bodies = [b"answer " + self.named[name].route[0] if name in self.named else b"" for name in names]
        # Requests that are sent in return find the worker without those.
        self.held[worker] = [name for name in hand if name not in names]
        self.broker.dispatcher.repliesReceived(worker, names, bodies)

    def workerEnds(self, which: int, died: bool) -> None:
        """Remove a worker."""
        workers = list(self.held)
        if workers:
            worker = workers[which % len(workers)]
            self.forget(worker, died)
            self.gone(worker, "it ended with signal SIGKILL", died)

    def forget(self, worker: bytes, died: bool = True) -> None:
        """Note that a worker is lost; it may still reply to what it held."""
        for name in self.held.pop(worker):
            self.losses[name] += 1
            self.deaths[name] += died or worker.startswith(b"plain")
            self.lostRequests.append((worker, name))
        self.leaving.discard(worker)
        self.away.discard(worker)

    def replyLate(self, which: int, failure: bool) -> None:
        """Have a lost worker reply to a request that it held, unless it has come back with it."""
        if self.lostRequests:
            worker, name = self.lostRequests[which % len(self.lostRequests)]
            if name not in self.held.get(worker, []):
                self.send(worker, name, failure)

    def replyToAny(self, which: int, place: int) -> None:
        """Have any worker reply to any request."""
        names = [*self.named, b"waiting"]
        worker = [*self.held, b"nobody"][which % (len(self.held) + 1)]
        name = names[place % len(names)]
        if name not in self.held.get(worker, []):
            self.send(worker, name, False)

    def disconnect(self, which: int) -> None:
        """Make a worker unreachable."""
        workers = list(self.held)
        if workers:
            self.away.add(workers[which % len(workers)])

    def retire(self, which: int) -> None:
        """Ask a worker to leave."""
        workers = list(self.held)
        if workers:
            self.leaving.add(workers[which % len(workers)])
            self.broker.dispatcher.retire(workers[which % len(workers)])

    def finish(self) -> None:
        """Replace all workers by two good ones, and have them reply to everything."""
        while self.held:
            worker = next(iter(self.held))
            self.forget(worker)
            self.gone(worker)
        for which in (8, 9):
            self.workerComes(which, 3)
        for _ in self.requests:
            for worker in (b"worker 8", b"worker 9"):
                for name in list(self.held[worker]):
                    self.held[worker].remove(name)
                    self.send(worker, name, False)
            self.settled()
        assert self.broker.isQuiet(), "something is left over"


class BrokerTests(SynchronousTestCase):
    """The broker's promises hold for any sequence of events."""

    def test_promises(self) -> None:
        """
        No request gets two replies, the reply to another, or one of a worker that never held it.

        None overtakes another.  None is executed again without a loss, together with others once it is suspect, or more
        often than allowed.  The counts add up, and in the end every request has had a reply or has failed.
        """
        number = st.integers(0, 7)
        requestComes = st.tuples(
            st.just("requestComes"), st.sampled_from(["", "", "", "a"]), st.sampled_from([0, 0, 1, 3])
        )
        workerComes = st.tuples(st.just("workerComes"), st.integers(0, 4), st.integers(1, 6))
        replyToHeld = st.tuples(st.just("replyToHeld"), number, number, st.sampled_from([False, False, True]))
        workerEnds = st.tuples(st.just("workerEnds"), number, st.booleans())
        event = st.one_of(
            *(
                requestComes,
                requestComes,
                requestComes,
                workerComes,
                workerComes,
                replyToHeld,
                replyToHeld,
                workerEnds,
                workerEnds,
            ),
            st.tuples(st.just("plainWorkerWaits"), st.integers(0, 1)),
            st.tuples(st.just("replyToSeveral"), number, st.lists(st.integers(0, 6), min_size=1, max_size=5)),
            st.tuples(st.just("replyToSeveral"), number, st.lists(st.integers(0, 6), min_size=1, max_size=5)),
            st.tuples(st.just("replyLate"), number, st.booleans()),
            st.tuples(st.just("replyToAny"), number, number),
            st.tuples(st.just("disconnect"), number),
            st.tuples(st.just("retire"), number),
        )

        def check(events: list[tuple[Any, ...]]) -> None:
            bench = RandomPeersBench()
            for name, *details in events:
                getattr(bench, name)(*details)
                bench.settled()
            bench.finish()
            for client, request in bench.requests.items():
                given = [each for each, *_ in bench.givenUp].count(client)
                self.assertIs(request.state, State.DONE)
                self.assertEqual(bench.told[client] + (given if type(request) is Request else 0), 1)
            self.assertEqual(bench.broker.counters.received, len(bench.requests))

        holds(check, st.lists(event, min_size=40, max_size=60), examples=100)
