"""
Which worker gets which request, and what happens to a request whose worker is lost.

- A request goes to the worker with the fewest in flight, then to the least recently used.  If no worker can take it, it
  waits in its service's queue, where the clients that have a request waiting are served one each in turn.
- Only the worker that holds a request can reply to it.  The first reply counts, even from a worker that has died by
  then.
- A worker that executes one request after the other, and may hold four or more, is sent more when it has replied to
  half of them.  If it reads packed requests, those that are small go in one message; a request that must be alone never
  does.
- When a worker dies, all that it held goes to the front of the queue in the order in which it was sent.
  :mod:`pirate.broker.attempts` says which request is charged.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from pirate.broker.attempts import Attempts
from pirate.broker.counters import Counters
from pirate.broker.deadlines import Deadlines
from pirate.broker.interfaces import BrokerEvents, Outgoing
from pirate.broker.queues import Queues, Service
from pirate.broker.replies import Replies
from pirate.broker.request import NEVER, Request, State
from pirate.broker.workers import Standing, WorkerRecord
from pirate.wire.backend import Announcement, idsOf, requestFrames
from pirate.wire.words import CANCEL, HEARTBEAT, MAX_PACKED, PACKED_SIZE, RETIRE, Code, Frames

#: A worker that may hold fewer requests is sent another for each reply.
HALVING_CREDIT = 4

_EXPIRED = "its deadline passed before it was begun"


class Dispatcher:
    """
    Gives workers the requests that wait for them, and takes their replies.

    :param outgoing: sends messages to workers.
    :param events: is told of workers that have to be stopped or replaced.
    :param queues: the requests that wait.
    :param deadlines: the time, and when something is due.
    :param attempts: says how often a request may be tried.
    :param replies: tells clients of the outcome.
    :param watchBusy: whether to report each change of a worker between idle and busy.
    :ivar workers: the workers by identity.
    :ivar busy: how many of them hold a request.
    :ivar inFlight: how many requests they hold that have no reply yet.
    :ivar wantsContext: whether some worker's app wants the context of requests; ``None``: no worker has come yet.
    """

    def __init__(
        self,
        outgoing: Outgoing,
        events: BrokerEvents,
        queues: Queues,
        deadlines: Deadlines,
        attempts: Attempts,
        replies: Replies,
        counters: Counters,
        watchBusy: bool,
    ) -> None:
        self._outgoing = outgoing
        self._events = events
        self._queues = queues
        self._deadlines = deadlines
        self._attempts = attempts
        self._replies = replies
        self._counters = counters
        self._watchBusy = watchBusy
        self._moved: dict[bytes, Request] = {}
        self.workers: dict[bytes, WorkerRecord] = {}
        self.busy = 0
        self.inFlight = 0
        self.wantsContext: bool | None = None

    # --- the state of workers

    @property
    def idle(self) -> int:
        """How many workers hold no request."""
        return len(self.workers) - self.busy

    def othersThan(self, identities: Container[bytes]) -> int:
        """Return how many workers have none of these identities."""
        return sum(identity not in identities for identity in self.workers)

    def knows(self, identity: bytes) -> bool:
        """Return whether a worker has announced itself, and is not gone."""
        return identity in self.workers

    def hasWorked(self, identity: bytes) -> bool:
        """Return whether a worker has been given a request, or is not known any more."""
        worker = self.workers.get(identity)
        return worker is None or worker.began > 0

    def isIdle(self, identity: bytes) -> bool:
        """Return whether a worker is known and holds no request."""
        worker = self.workers.get(identity)
        return worker is not None and not worker.inFlight

    def isSpare(self, identity: bytes) -> bool:
        """Return whether a worker is known and executes less than half of what it could at the same time."""
        worker = self.workers.get(identity)
        return worker is not None and 2 * len(worker.inFlight) < worker.concurrency

    # --- workers come and go

    def workerReady(self, identity: bytes, info: Announcement | None = None, requestsLeft: int = -1) -> None:
        """
        Admit a worker, or note that one can take the next request, or changes its credit.

        :param info: what it announced; ``None`` from a plain worker, which says ``waiting`` before every request.
        :param requestsLeft: how many requests it is given before it is retired; negative: no limit.
        """
        worker = self.workers.get(identity)
        if worker is None:
            worker = self._admit(identity, info, requestsLeft)
        else:
            if worker.plain and worker.inFlight:
                self._dropUnanswered(worker)
            if info is not None:
                worker.plain = False
                worker.packs = info.pack and _mayPack(worker)
                worker.credit = worker.capacity = info.credit
                if any(self._attempts.mustBeAlone(worker, each) for each in worker.inFlight.values()):
                    worker.capacity = 1
        self._fill(worker)
        self._checkIdle(worker)

    def _admit(self, identity: bytes, info: Announcement | None, requestsLeft: int) -> WorkerRecord:
        known = info or Announcement()
        worker = self.workers[identity] = WorkerRecord(identity, known.credit, known.services)
        worker.plain = info is None
        worker.concurrency = known.concurrency
        worker.wantsContext = known.context
        worker.packs = known.pack and _mayPack(worker)
        worker.requestsLeft = requestsLeft
        worker.halfLeft = requestsLeft // 2
        self.wantsContext = bool(self.wantsContext) or known.context
        self._queues.addWorker(worker)
        return worker

    def workerAlive(self, identity: bytes) -> None:
        """
        Requeue what was lost on the way to a worker that replies to a probe.

        Its reply comes after all that it was sent before the probe: what it still holds of that has not arrived.
        """
        worker = self.workers.get(identity)
        if worker is None or worker.probed is None:
            return
        probed, worker.probed = worker.probed, None
        missing = [worker.inFlight.pop(each) for each in probed if each in worker.inFlight]
        if not missing:
            return
        for request in reversed(missing):
            if request.state is State.IN_FLIGHT:
                self._requeue(request, worker)
        worker.began = worker.heard = self._deadlines.now
        self._inFlightChanged(worker, probed)
        self._checkIdle(worker)
        self._queues.place(worker)
        for name in worker.services:
            service = self._queues.services.get(name)
            if service is not None:
                self._dispatch(service)

    def retire(self, identity: bytes) -> None:
        """Give a worker no more requests, and ask it to leave after those that it holds."""
        if self.stopAssigning(identity):
            self._outgoing.postToWorker([identity, b"", RETIRE])

    def retireAll(self) -> None:
        """Retire all workers that understand it: a plain worker does not."""
        for identity in [worker.identity for worker in self.workers.values() if not worker.plain]:
            self.retire(identity)

    def stopAssigning(self, identity: bytes) -> bool:
        """
        Give a worker no more requests.

        :return: whether it could have been given some.
        """
        worker = self.workers.get(identity)
        if worker is None or worker.standing is not Standing.SERVING:
            return False
        worker.standing = Standing.RETIRING
        self._queues.place(worker)
        return True

    def workerGone(self, identity: bytes, reason: str, died: bool = True) -> None:
        """
        Remove a worker and requeue its in-flight requests.

        :param reason: how it ended, as a clause such as ``it left``, for the clients whose requests cannot be tried
            again.
        :param died: whether it may have been executing a request.
        """
        worker = self.workers.pop(identity, None)
        if worker is None:
            return
        worker.standing = Standing.RETIRING
        self._queues.place(worker)
        if worker.busy:
            worker.busy = False
            self.busy -= 1
        if worker.inFlight:
            self._moveInFlight(worker, reason, died)
        for service in self._queues.removeWorker(worker):
            self._dispatch(service)

    def workerMessagesUndelivered(self, messages: Sequence[Frames]) -> None:
        """Give the requests in messages that could not be sent to their workers to other workers."""
        missing: dict[WorkerRecord, list[bytes]] = {}
        services = []
        for frames in reversed(messages):
            worker = self.workers.get(frames[0])
            if worker is None:
                continue
            for idOrWord in reversed(idsOf(frames)):
                request = worker.inFlight.pop(idOrWord, None)
                if idOrWord == HEARTBEAT:
                    # It is asked again, as if it had not been.
                    worker.probed = None
                if request is not None:
                    missing.setdefault(worker, []).append(idOrWord)
                    if request.state is State.IN_FLIGHT:
                        services.append(self._requeue(request, worker))
        # All workers are in order before the first request is given to another.
        for worker, ids in missing.items():
            self._inFlightChanged(worker, ids)
            self._checkIdle(worker)
            self.stopAssigning(worker.identity)
        for worker in missing:
            self._outOfReach(worker)
        for service in services:
            self._dispatch(service)

    # --- replies

    def replyReceived(self, identity: bytes, requestId: bytes, body: Frames) -> None:
        """Pass on a worker's reply to a request that it holds; count and drop any other reply."""
        request = self._release(identity, requestId)
        if request is not None:
            self._replies.replied(request, body, self._deadlines.now)

    def repliesReceived(self, identity: bytes, ids: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        """
        Pass on several replies of a worker, as :meth:`replyReceived` does each, and give it its next requests at once.

        :param ids: the broker's ids of the requests.
        :param bodies: their replies, of one frame each.
        """
        worker = self.workers.get(identity)
        last = len(ids) - 1
        single = 0
        if worker is not None and not worker.plain and not worker.killDeadlines and len(set(ids)) == len(ids):
            if ids[last] in worker.inFlight:
                # With the last reply, the state of the worker is brought up to date.
                single = last
            take, finish, replied = worker.inFlight.pop, self.finish, self._replies.replied
            now = self._deadlines.now
            for requestId, body in zip(ids[:single], bodies, strict=False):
                request = take(requestId, None)
                if request is None or request.state is State.DONE:
                    self._counters.late += 1
                else:
                    finish(request)
                    replied(request, (body,), now)
        for requestId, body in zip(ids[single:], bodies[single:], strict=True):
            self.replyReceived(identity, requestId, (body,))

    def partReceived(self, identity: bytes, requestId: bytes, body: Frames) -> None:
        """Pass on a part of a worker's reply to a request that it holds."""
        worker = self.workers.get(identity)
        request = None if worker is None else worker.inFlight.get(requestId)
        if worker is None or request is None or request.state is not State.IN_FLIGHT:
            self._counters.late += 1
            return
        worker.heard = self._deadlines.now
        refusal = self._replies.partReplied(request, body)
        if refusal:
            self.fail(request, Code.CANCELLED, refusal)
            self._outgoing.postToWorker([identity, b"", CANCEL, requestId])

    def failureReceived(self, identity: bytes, requestId: bytes, code: Code, message: str) -> Request | None:
        """
        Pass on that a worker could not execute a request that it holds.

        :return: the request; ``None`` if the worker does not hold it, or it has ended already.
        """
        request = self._release(identity, requestId)
        if request is not None:
            self._replies.failed(request, code, message, self._deadlines.now)
        return request

    def _release(self, identity: bytes, requestId: bytes) -> Request | None:
        """
        End the request that a reply is for, and give its worker the next one.

        :return: the request; ``None`` if the reply is for none.
        """
        worker = self.workers.get(identity)
        if worker is None:
            request = self._moved.get(requestId)
            if request is not None and identity not in request.holders:
                request = None
        elif worker.plain:
            request = worker.inFlight.get(requestId)
        else:
            request = worker.inFlight.pop(requestId, None)
        if request is None:
            self._counters.late += 1
            return None
        if request.state is State.DONE:
            self._counters.late += 1
            ended = None
        else:
            self.finish(request)
            ended = request
        if worker is not None and not worker.plain:
            worker.began = worker.heard = self._deadlines.now
            inFlight = worker.inFlight
            if inFlight or worker.killDeadlines or worker.capacity != worker.credit:
                self._inFlightChanged(worker, (requestId,))
            if not self._queues.waiting:
                self._queues.place(worker)
            elif 2 * len(inFlight) <= worker.capacity or worker.capacity < HALVING_CREDIT or worker.concurrency > 1:
                self._fill(worker)
            if worker.busy and not inFlight:
                # ``_checkIdle``, inlined, because this runs for every reply.
                worker.busy = False
                self.busy -= 1
                if self._watchBusy:
                    self._events.workerBusyChanged(identity, False)
        return ended

    # --- requests

    def assign(self, request: Request, service: Service) -> None:
        """
        Send a new request to a worker, or queue it.

        :param service: the service that it asks for.
        """
        worker = service.ready.first()
        if worker is None:
            self._queue(request)
        elif service.ring or service.returned or not self._send(worker, request):
            self._dispatch(self._queue(request))

    def cancel(self, request: Request) -> None:
        """Give up a request that its client has cancelled, and tell the worker that holds it."""
        worker = self.workers.get(request.holder) if request.state is State.IN_FLIGHT else None
        self.fail(request, Code.CANCELLED, "its client cancelled it")
        if worker is not None:
            self._outgoing.postToWorker([worker.identity, b"", CANCEL, request.brokerId])
            if worker.concurrency > 1 or next(iter(worker.inFlight)) == request.brokerId:
                self._deadlines.requestCancelled(worker, request)

    def finish(self, request: Request) -> None:
        """End a request: it no longer waits, nor is it in flight."""
        if request.state is State.IN_FLIGHT:
            self.inFlight -= 1
        elif request.state is State.QUEUED:
            self._queues.leave(request)
        request.state = State.DONE
        if request.account is not None and request.brokerId:
            request.account.open -= 1
            request.account = None
        # The request may stay in queues and heaps for some time, but must not keep its body alive.
        request.body = []
        self._moved.pop(request.brokerId, None)

    def fail(self, request: Request, code: Code, message: str) -> None:
        """End a request without a reply, and tell its client why."""
        self.finish(request)
        self._replies.failed(request, code, message, self._deadlines.now)

    def abandon(self, message: str) -> tuple[int, int]:
        """
        Give up all requests.

        :param message: what their clients are told.
        :return: how many requests were in flight, and how many waited.
        """
        counts = self.inFlight, self._queues.waiting
        inFlight = [request for worker in self.workers.values() for request in worker.inFlight.values()]
        for request in inFlight:
            if request.state is State.IN_FLIGHT:
                self.fail(request, Code.WORKER_LOST, message)
        for request in self._queues.queued():
            self.fail(request, Code.STOPPING, message)
        # Those that are left have been removed from their queues, because their deadline has passed.
        self.expire(self._deadlines.takeExpired(self._queues.waiting))
        return counts

    # --- time

    def enforceDeadlines(self) -> None:
        """Give up requests whose deadline has passed, stop workers that are overdue, and probe silent ones."""
        deadlines, workers = self._deadlines, self.workers
        self.expire(deadlines.takeExpired())
        for worker, request in deadlines.expiredInWorkers(workers.values()):
            self.fail(request, Code.EXPIRED, _EXPIRED)
            self._outgoing.postToWorker([worker.identity, b"", CANCEL, request.brokerId])
        for worker, why in deadlines.overdue(workers.values()):
            self._stop(worker, why)
        for worker in deadlines.endScan(workers.values()):
            if worker.probed is None:
                worker.probed = list(worker.inFlight)
                self._outgoing.postToWorker([worker.identity, b"", HEARTBEAT])
            self._events.workerSilent(worker.identity)

    def expire(self, requests: Iterable[Request]) -> None:
        """Give up requests whose deadline has passed before a worker has begun them."""
        for request in requests:
            self.fail(request, Code.EXPIRED, _EXPIRED)

    def _stop(self, worker: WorkerRecord, why: str) -> None:
        """Give up what an overdue worker has been executing for too long, requeue the rest, and have it stopped."""
        for each in self._deadlines.overlong(worker):
            if each.state is State.IN_FLIGHT:
                self.fail(each, Code.TIMEOUT, why)
        if worker.packs:
            # A job in C that keeps the interpreter also keeps back the replies that are packed: if the first is one of
            # those, it is another that took too long.  That one is alone next time, and cannot be confused then.
            for each in worker.inFlight.values():
                each.alone = True
        self.workerGone(worker.identity, f"it was stopped because {why}", died=worker.concurrency > 1)
        self._events.workerOverdue(worker.identity, why)

    # --- sending

    def _send(self, worker: WorkerRecord, request: Request) -> bool:
        """
        Send a request to a worker that can take one.

        :return: ``False`` if the worker is out of reach, or the request cannot be together with what it holds.
        """
        inFlight = worker.inFlight
        attempts, deadlines = self._attempts, self._deadlines
        if request.alone and inFlight and attempts.mustBeAlone(worker, request):
            return False
        body, frames = request.body, None
        if not (inFlight and worker.packs and len(body) == 1 and len(body[0]) <= PACKED_SIZE):
            context = request.context(deadlines.now) if worker.wantsContext else None
            frames = requestFrames(worker.identity, request.brokerId, body, context)
        if inFlight:
            # It has something to do until this one arrives together with others, and with those of other workers.
            if frames is None:
                self._outgoing.postRequests(worker.identity, (request.brokerId,), body)
            else:
                self._outgoing.postToWorker(frames)
            if request.deadline < deadlines.nextScan:
                deadlines.scanBy(request.deadline)
        elif frames is not None and self._outgoing.toWorker(frames):
            worker.began = worker.heard = deadlines.now
            if deadlines.nextScan == NEVER:
                deadlines.jobBegan()
        else:
            self._outOfReach(worker)
            return False
        if worker.concurrency > 1:
            request.since = deadlines.now
        if request.alone and attempts.mustBeAlone(worker, request):
            worker.capacity = 1
        inFlight[request.brokerId] = request
        request.state = State.IN_FLIGHT
        request.holder = worker.identity
        self.inFlight += 1
        self._queues.place(worker)
        if not worker.busy:
            worker.busy = True
            self.busy += 1
            if self._watchBusy:
                self._events.workerBusyChanged(worker.identity, True)
        worker.requestsLeft -= 1
        if worker.requestsLeft == worker.halfLeft:
            self._reportRequestsLeft(worker)
        return True

    def _sendSmall(self, worker: WorkerRecord, service: Service) -> bool:
        """
        Send a worker that has requests in flight the next ones that are small, in one message.

        :return: ``False`` if the next one cannot be sent so.
        """
        inFlight, deadlines, identity = worker.inFlight, self._deadlines, worker.identity
        most = min(worker.capacity - len(inFlight), MAX_PACKED)
        if worker.requestsLeft > 0:
            most = min(most, worker.requestsLeft - worker.halfLeft)
        requests = self._queues.takeSmall(service, most, deadlines.now)
        if not requests:
            return False
        ids, bodies = [], []
        deadline = NEVER
        for request in requests:
            request.state = State.IN_FLIGHT
            request.holder = identity
            inFlight[request.brokerId] = request
            ids.append(request.brokerId)
            bodies.append(request.body[0])
            if request.deadline < deadline:
                deadline = request.deadline
        self.inFlight += len(ids)
        self._outgoing.postRequests(identity, ids, bodies)
        if deadline < deadlines.nextScan:
            deadlines.scanBy(deadline)
        self._queues.place(worker)
        worker.requestsLeft -= len(ids)
        if worker.requestsLeft == worker.halfLeft:
            self._reportRequestsLeft(worker)
        return True

    def _reportRequestsLeft(self, worker: WorkerRecord) -> None:
        """Report that a worker has been given half of the requests that it had left, or all of them."""
        if worker.requestsLeft:
            worker.halfLeft = worker.requestsLeft // 2
            self._events.requestsHalfUsed(worker.identity)
        else:
            self.retire(worker.identity)
            self._events.requestsUsedUp(worker.identity)

    def _outOfReach(self, worker: WorkerRecord) -> None:
        if self._events.workerUnreachable(worker.identity):
            self.stopAssigning(worker.identity)
        else:
            self.workerGone(worker.identity, "it could not be reached")

    def _fill(self, worker: WorkerRecord) -> None:
        """Send a worker requests until it is full or none waits, and update its place among the ready ones."""
        queues = self._queues
        before = len(worker.inFlight)
        while queues.waiting and len(worker.inFlight) < worker.capacity and worker.standing is Standing.SERVING:
            service = queues.nextFor(worker)
            if service is None:
                break
            if worker.packs and worker.inFlight and self._sendSmall(worker, service):
                continue
            if not self._sendHead(worker, service):
                break
        if len(worker.inFlight) == before:
            queues.place(worker)

    def _dispatch(self, service: Service) -> None:
        """Send what waits for a service to its ready workers; a nested call leaves the work to the outer one."""
        if service.dispatching:
            return
        service.dispatching = True
        try:
            while service.head() is not None:
                worker = service.ready.first()
                if worker is None or not (self._sendHead(worker, service) or worker.level < 0):
                    return
        finally:
            service.dispatching = False

    def _sendHead(self, worker: WorkerRecord, service: Service) -> bool:
        """Send a worker the request that is next; if it cannot be sent, it stays next."""
        # ``head`` has found it, so it is the first of one of these.
        request = service.returned[0] if service.returned else service.ring[0].first
        assert request is not None
        if request.deadline <= self._deadlines.now:
            # It is given up with all others whose deadline has passed.
            service.skipHead()
            return True
        if not self._send(worker, request):
            return False
        self._queues.leave(request, service)
        return True

    # --- what workers hold

    def _inFlightChanged(self, worker: WorkerRecord, gone: Sequence[bytes]) -> None:
        """Note what a worker executes now that some requests are no longer in flight with it."""
        if worker.inFlight:
            self._deadlines.inFlightChanged(worker, gone)
        else:
            worker.capacity = worker.credit
            worker.killDeadlines.clear()
            worker.killAt = NEVER

    def _checkIdle(self, worker: WorkerRecord) -> None:
        """Count a worker as idle if it holds no request any more."""
        if worker.busy and not worker.inFlight:
            worker.busy = False
            self.busy -= 1
            if self._watchBusy:
                self._events.workerBusyChanged(worker.identity, False)

    def _dropUnanswered(self, worker: WorkerRecord) -> None:
        """Give up the request of a plain worker that asks for the next one without having replied."""
        for request in worker.inFlight.values():
            if request.state is State.IN_FLIGHT:
                self.fail(request, Code.APP_ERROR, "its worker asked for the next request without a reply")
        worker.inFlight.clear()
        self._inFlightChanged(worker, ())

    def _moveInFlight(self, worker: WorkerRecord, reason: str, died: bool) -> None:
        """Requeue, in their order, the requests of a lost worker, or give them up."""
        attempts = self._attempts
        if died or worker.plain:
            attempts.charge(worker)
        for request in reversed(worker.inFlight.values()):
            if request.state is not State.IN_FLIGHT:
                continue
            if request.parts and self._replies.hasSentParts(request):
                parts = "1 part" if len(request.parts) == 1 else f"{len(request.parts)} parts"
                self.fail(request, Code.WORKER_LOST, f"its worker was lost after {parts} of the reply: {reason}")
            elif attempts.areOver(request):
                self.fail(request, Code.WORKER_LOST, f"its worker was lost (attempt {request.deaths}): {reason}")
            else:
                request.alone = request.alone or died or worker.plain
                self._requeue(request, worker)

    def _requeue(self, request: Request, worker: WorkerRecord) -> Service:
        """Put a request that a worker held back to the front of its queue."""
        request.holders += (worker.identity,)
        request.parts = None
        request.partBytes = 0
        self._moved[request.brokerId] = request
        self._counters.redispatched += 1
        self.inFlight -= 1
        return self._queue(request, front=True)

    def _queue(self, request: Request, front: bool = False) -> Service:
        service = self._queues.put(request, self._deadlines.now, front)
        if request.deadline != NEVER:
            self._deadlines.requestWaits(request)
        return service


def _mayPack(worker: WorkerRecord) -> bool:
    """Return whether requests to a worker may be packed: one at a time, without their context, for one service."""
    return worker.concurrency == 1 and not worker.wantsContext and len(worker.services) == 1
