"""
Which worker gets which request.

The rules, beside those of :mod:`pirate.broker.ledger`:

- A request goes to the worker with the fewest in hand, then the least recently used; with nobody free it waits its
  turn in its service's backlog, where the clients that have something waiting are served one request each in turn.
- Only the worker that holds a request can answer it.
- The first answer counts, also when it is that of a worker which has died meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from pirate.broker.counters import Counters
from pirate.broker.interfaces import BrokerEvents, Outgoing
from pirate.broker.ledger import Ledger
from pirate.broker.queues import Service, Standing, WorkerRecord
from pirate.broker.replies import Replies
from pirate.broker.request import Request, State
from pirate.settings.limits import RequestPolicy
from pirate.wire.backend import Info, requestFrames
from pirate.wire.words import CANCEL, HEARTBEAT, RETIRE, Code, Frames


class Dispatcher(Ledger):
    """
    Gives workers what waits for them.

    :param outgoing: sends messages to workers.
    :param events: is told of workers that have to be stopped or replaced.
    :param policy: what a request can count on.
    :param replies: what clients are told.
    :ivar wantsContext: whether some worker's app has asked for the context of requests; ``None``: none has come yet.
    """

    def __init__(
        self,
        outgoing: Outgoing,
        events: BrokerEvents,
        policy: RequestPolicy,
        replies: Replies,
        counters: Counters,
        watchBusy: bool,
    ) -> None:
        super().__init__(events, policy, replies, counters, watchBusy)
        self._outgoing = outgoing
        self.wantsContext: bool | None = None

    # --- workers

    def workerReady(self, identity: bytes, info: Info | None = None, lifetime: int = -1) -> None:
        """
        A worker is there, or can take the next request, or changes its credit.

        :param info: what it announced; ``None`` from a plain worker, which says ``waiting`` before every request.
        :param lifetime: how many requests it is given before it is retired; negative: no limit.
        """
        worker = self._workers.get(identity)
        if worker is None:
            worker = self._admit(identity, info, lifetime)
        else:
            if worker.plain and worker.inFlight:
                self._emptyUnanswered(worker)
            if info is not None:
                worker.plain = False
                worker.credit = info.credit
                worker.capacity = (
                    1 if any(self._isolates(worker, each) for each in worker.inFlight.values()) else info.credit
                )
        self._feed(worker)

    def workerAlive(self, identity: bytes) -> None:
        """
        A worker answers when it is asked whether it is there.

        It does so after all that it was sent before: what it still holds of that has been lost on the way.
        """
        worker = self._workers.get(identity)
        if worker is None or worker.probed is None:
            return
        probed, worker.probed = worker.probed, None
        missing = [worker.inFlight.pop(each) for each in probed if each in worker.inFlight]
        if not missing:
            return
        for request in reversed(missing):
            if request.state is State.IN_FLIGHT:
                self._requeue(request, worker)
        worker.began = worker.heard = self.now
        self._lookAtInFlight(worker, probed)
        self._services.place(worker)
        for name in worker.services:
            service = self._services.get(name)
            if service is not None:
                self._dispatch(service)

    def retire(self, identity: bytes) -> None:
        """Give a worker no more requests, and ask it to leave after those that it holds."""
        if self.withhold(identity):
            self._outgoing.postToWorker([identity, b"", RETIRE])

    def retireAll(self) -> None:
        """The same for all that understand it: a plain worker does not."""
        for identity in [worker.identity for worker in self._workers.values() if not worker.plain]:
            self.retire(identity)

    def withhold(self, identity: bytes) -> bool:
        """
        Give a worker no more requests.

        :return: whether it could have been given some.
        """
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
        :param died: whether it may have been executing what it held.
        """
        worker = self._workers.pop(identity, None)
        if worker is None:
            return
        worker.standing = Standing.RETIRING
        self._services.place(worker)
        if worker.inFlight:
            self._busy -= 1
            self._moveInFlight(worker, reason, died)
        for service in self._services.dismiss(worker):
            self._dispatch(service)

    def missed(self, messages: Sequence[Frames]) -> None:
        """Messages did not reach their workers: the requests among them go to others."""
        missing: dict[WorkerRecord, list[bytes]] = {}
        services = []
        for identity, _, name, *_ in reversed(messages):
            worker = self._workers.get(identity)
            request = None if worker is None else worker.inFlight.pop(name, None)
            if worker is not None and name == HEARTBEAT:
                # It is asked again, as if it had not been.
                worker.probed = None
            if worker is not None and request is not None:
                missing.setdefault(worker, []).append(name)
                if request.state is State.IN_FLIGHT:
                    services.append(self._requeue(request, worker))
        # All of them have their hands in order before the first request finds another.
        for worker, names in missing.items():
            self._lookAtInFlight(worker, names)
            self.withhold(worker.identity)
        for worker in missing:
            self._outOfReach(worker)
        for service in services:
            self._dispatch(service)

    def replyReceived(self, identity: bytes, requestId: bytes, body: Frames) -> None:
        """A worker answers a request that it holds; any other answer is counted and dropped."""
        request = self._release(identity, requestId)
        if request is not None:
            self.replies.replied(request, body, self.now)

    def partReceived(self, identity: bytes, requestId: bytes, body: Frames) -> None:
        """A worker answers a request that it holds in part; more will follow."""
        worker = self._workers.get(identity)
        request = None if worker is None else worker.inFlight.get(requestId)
        if worker is None or request is None or request.state is not State.IN_FLIGHT:
            self.counters.late += 1
            return
        worker.heard = self.now
        refusal = self.replies.parted(request, body)
        if refusal:
            self._fail(request, Code.CANCELLED, refusal)
            self._outgoing.postToWorker([identity, b"", CANCEL, requestId])

    def failureReceived(self, identity: bytes, requestId: bytes, code: Code, message: str) -> Request | None:
        """
        A worker could not answer a request that it holds.

        :return: the request; ``None`` if the worker does not hold it, or nobody waits for the answer any more.
        """
        request = self._release(identity, requestId)
        if request is not None:
            self.replies.gaveUp(request, code, message, self.now)
        return request

    # --- the hand of a worker

    def _admit(self, identity: bytes, info: Info | None, lifetime: int) -> WorkerRecord:
        known = info or Info()
        worker = self._workers[identity] = WorkerRecord(identity, known.credit, known.services)
        worker.plain = info is None
        worker.concurrency = known.concurrency
        worker.wantsContext = known.context
        worker.lifetime = lifetime
        worker.half = lifetime // 2
        self.wantsContext = bool(self.wantsContext) or known.context
        self._services.enroll(worker)
        return worker

    def _give(self, worker: WorkerRecord, request: Request) -> bool:
        """Put a request into the hand of a worker with room; false if it is out of reach, or the two do not fit."""
        inFlight = worker.inFlight
        if request.alone and inFlight and self._isolates(worker, request):
            return False
        frames = requestFrames(
            worker.identity, request.id, request.body, request.context(self.now) if worker.wantsContext else None
        )
        # One who has nothing to do does not wait for others to get theirs.
        if inFlight:
            self._outgoing.postToWorker(frames)
            if request.deadline < self._deadlines.look:
                self._deadlines.note(request.deadline)
        elif not self._outgoing.toWorker(frames):
            self._outOfReach(worker)
            return False
        if not inFlight:
            self._busy += 1
            worker.began = worker.heard = self.now
            self._deadlines.began(self.now)
            if self._watchBusy:
                self._events.workerBusyChanged(worker.identity, True)
        if worker.concurrency > 1:
            request.since = self.now
        if request.alone and self._isolates(worker, request):
            worker.capacity = 1
        inFlight[request.id] = request
        request.state = State.IN_FLIGHT
        request.holder = worker.identity
        self._inFlight += 1
        worker.lifetime -= 1
        self._services.place(worker)
        if worker.lifetime == worker.half:
            self._halved(worker)
        return True

    def _halved(self, worker: WorkerRecord) -> None:
        """A worker has been given half of what it had left, or all of it."""
        if worker.lifetime:
            worker.half = worker.lifetime // 2
            self._events.lifetimeHalved(worker.identity)
        else:
            self.retire(worker.identity)
            self._events.lifetimeOver(worker.identity)

    def _outOfReach(self, worker: WorkerRecord) -> None:
        if self._events.workerUnreachable(worker.identity):
            self.withhold(worker.identity)
        else:
            self.workerGone(worker.identity, "being out of reach")

    def _release(self, identity: bytes, requestId: bytes) -> Request | None:
        """The request that an answer is for, done now, its worker's hand filled again; ``None`` if it is for none."""
        worker = self._workers.get(identity)
        if worker is None:
            request = self._moved.get(requestId)
            if request is not None and identity not in request.holders:
                request = None
        elif worker.plain:
            request = worker.inFlight.get(requestId)
        else:
            request = worker.inFlight.pop(requestId, None)
        if request is None or request.state is State.DONE:
            self.counters.late += 1
            answered = None
        else:
            self._finish(request)
            answered = request
        if worker is not None and request is not None and not worker.plain:
            worker.began = worker.heard = self.now
            self._lookAtInFlight(worker, (requestId,))
            self._feed(worker)
        return answered

    # --- the backlog

    def _feed(self, worker: WorkerRecord) -> None:
        """Fill the hand of a worker, and put the worker where it belongs then."""
        services = self._services
        while services.waiting and len(worker.inFlight) < worker.capacity and worker.standing is Standing.SERVING:
            service = services.nextFor(worker)
            if service is None or not self._giveHead(worker, service):
                break
        services.place(worker)

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

    def _giveHead(self, worker: WorkerRecord, service: Service) -> bool:
        """Give a worker the request that is next; if it cannot be given, it stays next."""
        # It has been asked for, so one of these has it.
        request = service.returned[0] if service.returned else service.ring[0].first
        assert request is not None
        if request.deadline <= self.now:
            # It is given up with all the others whose time is over.
            service.skipHead()
            return True
        if not self._give(worker, request):
            return False
        self._services.leave(request, service)
        return True
