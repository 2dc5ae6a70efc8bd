"""
Who gets which request: the broker, without sockets, reactor or clock.

The rules:

- Every accepted request gets an id of the broker's own making.  Only the worker that holds a request can answer it.
- A request goes to the worker with the fewest in hand, then the least recently used; with nobody free it waits its
  turn in its service's backlog.  While somebody waits, nobody overtakes.
- A worker that dies is charged one attempt for the request that it was executing, the first in its hand.  All that
  it held goes to the front of the backlog in the order in which it was held, and each of these is alone in the next
  worker's hand.
- The first answer counts, also when it is that of a worker which has died meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from pirate.services import Service, Services, Standing, Worker
from pirate.tally import Tally
from pirate.wire.backend import Info, requestFrames
from pirate.wire.frontend import Request, State
from pirate.wire.words import RETIRE, Code, Frames

#: Sends a message; false if its peer cannot be reached.
Send = Callable[[list[bytes]], bool]

_requestId = Struct(">Q").pack
#: The bit that sets a request's id apart from every word.
_ID_BIT = 1 << 63


class Broker:
    """
    Requests in, answers out, by the rules above.

    :param toClient: sends frames to a client.
    :param toWorker: sends frames to a worker.
    :param maxAttempts: how many workers may die of a request before it is given up.
    :param backlogLimit: requests waiting, at which no more should be read.
    :param backlogBytes: bytes of body waiting, at which no more should be read.
    :param tellPlain: whether clients without a native header are told of errors.
    :param firstId: where the numbering of requests starts, up to 62 random bits: a worker that knew another broker
        then cannot answer to this one's ids by chance.
    :ivar unreachable: called with the identity of a worker to which a message could not be sent; whether somebody will
        tell of its end, L{workerGone}, once its last answers have been read.
    :ivar retired: called with the identity of a worker that is asked to leave because its lifetime is over.
    :ivar failed: called with each request that is given up, the code and the message.
    :ivar watch: called with a worker's identity and whether it is busy, at each change, if anybody wants to know.
    :ivar wantsContext: whether some worker's app has asked for the context of requests.
    """

    def __init__(
        self,
        toClient: Send,
        toWorker: Send,
        *,
        maxAttempts: int = 3,
        backlogLimit: int = 10_000,
        backlogBytes: int = 1 << 28,
        tellPlain: bool = False,
        firstId: int = 0,
    ) -> None:
        self._toClient = toClient
        self._toWorker = toWorker
        self.maxAttempts = maxAttempts
        self.backlogLimit = backlogLimit
        self.backlogBytes = backlogBytes
        self.tellPlain = tellPlain
        self.tally = Tally()
        self.unreachable: Callable[[bytes], bool | None] = lambda identity: False
        self.retired: Callable[[bytes], None] = lambda identity: None
        self.failed: Callable[[Request, Code, str], None] = lambda request, code, message: None
        self.watch: Callable[[bytes, bool], None] | None = None
        self.wantsContext = False
        self._number = firstId | _ID_BIT
        self._workers: dict[bytes, Worker] = {}
        self._services = Services()
        self._moved: dict[bytes, Request] = {}
        self._inHand = 0
        self._busy = 0
        self._refusal: str | None = None

    # --- what there is

    @property
    def backlog(self) -> int:
        """How many requests wait."""
        return self._services.waiting

    @property
    def inHand(self) -> int:
        """How many requests workers hold that are not answered yet."""
        return self._inHand

    @property
    def idle(self) -> int:
        """How many workers hold nothing."""
        return len(self._workers) - self._busy

    @property
    def full(self) -> bool:
        """Whether no more requests should be read for now."""
        return self._services.waiting >= self.backlogLimit or self._services.waitingBytes >= self.backlogBytes

    @property
    def quiet(self) -> bool:
        """Whether every accepted request has been answered or given up."""
        return not self._services.waiting and not self._inHand

    def knows(self, identity: bytes) -> bool:
        """Whether a worker has said that it is there."""
        return identity in self._workers

    def isIdle(self, identity: bytes) -> bool:
        """Whether a worker is known and holds nothing."""
        worker = self._workers.get(identity)
        return worker is not None and not worker.held

    # --- clients

    def requestReceived(self, request: Request) -> None:
        """Accept a request and send it on, or let it wait, or refuse it."""
        self.tally.received += 1
        service = self._services.get(request.service)
        if self._refusal is not None:
            self._fail(request, Code.STOPPING, self._refusal)
        elif service is None:
            self._fail(request, Code.UNKNOWN_SERVICE, f"nobody serves {request.service!r}")
        else:
            self._number += 1
            request.id = _requestId(self._number)
            worker = None if service.backlog else service.ready.first()
            if worker is None or not self._give(worker, request):
                self._dispatch(self._services.put(request))

    def refuseRequests(self, message: str) -> None:
        """Accept no more requests: the server is stopping.  :param message: what clients are told."""
        self._refusal = message

    def abandon(self, message: str) -> tuple[int, int]:
        """
        Give up all that is not answered yet.

        :return: how many requests workers held, and how many waited.
        """
        counts = self._inHand, self._services.waiting
        held = [request for worker in self._workers.values() for request in worker.held.values()]
        for request in held:
            if request.state is State.HELD:
                self._fail(request, Code.WORKER_LOST, message)
        for request in self._services.queued():
            self._fail(request, Code.STOPPING, message)
        return counts

    # --- workers

    def workerReady(self, identity: bytes, info: Info | None = None, lifetime: int = -1) -> None:
        """
        A worker is there, or can take the next request, or changes its credit.

        :param info: what it announced; C{None} from a plain worker, which says C{waiting} before every request.
        :param lifetime: how many requests it is given before it is retired; negative: no limit.
        """
        worker = self._workers.get(identity)
        if worker is None:
            worker = self._admit(identity, info, lifetime)
        else:
            if worker.plain and worker.held:
                self._dropUnanswered(worker)
            if info is not None:
                worker.plain = False
                worker.credit = info.credit
                worker.room = 1 if any(request.alone for request in worker.held.values()) else info.credit
        self._services.place(worker)
        self._feed(worker)

    def retire(self, identity: bytes) -> None:
        """Give a worker no more requests, and ask it to leave after those that it holds."""
        if self.withhold(identity):
            self._toWorker([identity, b"", RETIRE])

    def withhold(self, identity: bytes) -> bool:
        """Give a worker no more requests.  :return: whether it could have been given some."""
        worker = self._workers.get(identity)
        if worker is None or worker.standing is not Standing.SERVING:
            return False
        worker.standing = Standing.RETIRING
        self._services.place(worker)
        return True

    def workerGone(self, identity: bytes, reason: str, died: bool = True) -> None:
        """
        A worker is there no more: what it held is given to others.

        :param reason: how it ended, for the clients whose requests cannot be tried again.
        :param died: whether it may have been executing the first request in its hand.
        """
        worker = self._workers.pop(identity, None)
        if worker is None:
            return
        worker.standing = Standing.RETIRING
        self._services.place(worker)
        if worker.held:
            self._busy -= 1
            self._moveHand(worker, reason, died)
        for service in self._services.dismiss(worker):
            self._dispatch(service)

    def replyReceived(self, identity: bytes, requestId: bytes, body: Frames) -> None:
        """A worker answers a request that it holds; any other answer is counted and dropped."""
        request = self._release(identity, requestId)
        if request is not None:
            self.tally.replied += 1
            if not self._toClient(request.reply(body)):
                self.tally.undeliverable += 1

    def failureReceived(self, identity: bytes, requestId: bytes, code: Code, message: str) -> None:
        """A worker could not answer a request that it holds."""
        request = self._release(identity, requestId)
        if request is not None:
            self._tell(request, code, message)

    # --- the hand of a worker

    def _admit(self, identity: bytes, info: Info | None, lifetime: int) -> Worker:
        known = info or Info()
        worker = self._workers[identity] = Worker(identity, known.credit, known.services)
        worker.plain = info is None
        worker.wantsContext = known.context
        worker.lifetime = lifetime
        self.wantsContext = self.wantsContext or known.context
        self._services.enroll(worker)
        return worker

    def _give(self, worker: Worker, request: Request) -> bool:
        """Put a request into the hand of a worker with room; false if it is out of reach, or the two do not fit."""
        held = worker.held
        if request.alone and held:
            return False
        if not self._toWorker(requestFrames(worker.identity, request, worker.wantsContext)):
            if self.unreachable(worker.identity):
                self.withhold(worker.identity)
            else:
                self.workerGone(worker.identity, "being out of reach")
            return False
        if not held:
            self._busy += 1
            if self.watch is not None:
                self.watch(worker.identity, True)
        if request.alone:
            worker.room = 1
        held[request.id] = request
        request.state = State.HELD
        self._inHand += 1
        worker.lifetime -= 1
        self._services.place(worker)
        if not worker.lifetime:
            self.retire(worker.identity)
            self.retired(worker.identity)
        return True

    def _release(self, identity: bytes, requestId: bytes) -> Request | None:
        """The request that an answer is for, done now, its worker's hand filled again; C{None} if it is for none."""
        worker = self._workers.get(identity)
        if worker is None:
            request = self._moved.get(requestId)
            if request is not None and identity not in request.holders:
                request = None
        elif worker.plain:
            request = worker.held.get(requestId)
        else:
            request = worker.held.pop(requestId, None)
        if request is None or request.state is State.DONE:
            self.tally.late += 1
            answered = None
        else:
            self._finish(request)
            answered = request
        if worker is not None and request is not None and not worker.plain:
            if not worker.held:
                self._drop(worker)
            self._services.place(worker)
            self._feed(worker)
        return answered

    def _drop(self, worker: Worker) -> None:
        """A worker's hand is empty."""
        worker.held.clear()
        worker.room = worker.credit
        self._busy -= 1
        if self.watch is not None:
            self.watch(worker.identity, False)

    def _dropUnanswered(self, worker: Worker) -> None:
        """A plain worker asks for the next request: if it has not answered the last one, it will not do so any more."""
        for request in worker.held.values():
            if request.state is State.HELD:
                self._fail(request, Code.APP_ERROR, "its worker asked for the next request without an answer")
        self._drop(worker)

    def _moveHand(self, worker: Worker, reason: str, died: bool) -> None:
        """What a lost worker held goes to the front, or is given up."""
        hand = [request for request in worker.held.values() if request.state is State.HELD]
        if hand and (died or worker.plain):
            hand[0].attempts += 1
        for request in reversed(hand):
            if request.attempts >= (request.maxAttempts or self.maxAttempts):
                times = "once" if request.attempts == 1 else f"{request.attempts} times"
                self._fail(request, Code.WORKER_LOST, f"its worker was lost {times}, at last by {reason}")
                continue
            request.alone = True
            request.holders += (worker.identity,)
            self._moved[request.id] = request
            self.tally.redispatched += 1
            self._inHand -= 1
            self._services.put(request, front=True)

    # --- the backlog

    def _feed(self, worker: Worker) -> None:
        """Fill the hand of a worker that has room, the oldest request first."""
        while self._services.waiting and worker.level >= 0:
            service = self._services.oldest(worker)
            if service is None or not self._giveHead(worker, service):
                return

    def _dispatch(self, service: Service) -> None:
        """Send what waits for a service to those who are ready to serve it; a call from within is done by the outer."""
        if service.dispatching:
            return
        service.dispatching = True
        try:
            while service.head() is not None:
                worker = service.ready.first()
                if worker is None or not (self._giveHead(worker, service) or worker.level < 0):
                    return
        finally:
            service.dispatching = False

    def _giveHead(self, worker: Worker, service: Service) -> bool:
        """Give a worker the request that is next; if it cannot be given, it stays next."""
        request = service.backlog[0]
        if not self._give(worker, request):
            return False
        service.backlog.popleft()
        self._services.leave(request)
        return True

    # --- the end of a request

    def _finish(self, request: Request) -> None:
        if request.state is State.QUEUED:
            self._services.leave(request)
        elif request.state is State.HELD:
            self._inHand -= 1
        request.state = State.DONE
        if request.alone:
            self._moved.pop(request.id, None)

    def _fail(self, request: Request, code: Code, message: str) -> None:
        self._finish(request)
        self._tell(request, code, message)

    def _tell(self, request: Request, code: Code, message: str) -> None:
        """Count a failure, and tell the client if it has a channel for it."""
        self.tally.failed[code] = self.tally.failed.get(code, 0) + 1
        self.failed(request, code, message)
        frames = request.error(code, message, self.tellPlain)
        if frames is not None and not self._toClient(frames):
            self.tally.undeliverable += 1
