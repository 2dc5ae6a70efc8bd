"""
Who holds what, and what becomes of it when its holder does not answer.

The rules:

- When a worker dies, all that it held goes to the front of the backlog in the order in which it was held, and each of
  these is alone in the next worker's hand.
- A request that was alone in the hand of a worker that died is charged an attempt.  Of several, one was being executed,
  and nobody knows for certain which: each is suspected, and one that takes another worker down is charged with both.
- A request that may be tried only once shares no hand, so that it is certain whether it has been tried.
- A worker with a concurrency executes all that it holds at the same time.  When it dies, or is stopped because of one
  of them, all are charged; so a request is alone there only if it has been charged, and may be tried only once more.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from pirate.broker.counters import Counters
from pirate.broker.deadlines import NEVER, Deadlines
from pirate.broker.interfaces import BrokerEvents
from pirate.broker.queues import Service, Services, WorkerRecord
from pirate.broker.replies import Replies
from pirate.broker.request import Request, State
from pirate.settings.limits import RequestPolicy
from pirate.wire.words import Code

_MIB = 1 << 20


class Ledger:
    """
    The workers, and what they hold.

    :param policy: what a request can count on.
    :param replies: what clients are told.
    :ivar now: the time in seconds, on any clock that does not go back.
    """

    def __init__(
        self, events: BrokerEvents, policy: RequestPolicy, replies: Replies, counters: Counters, watchBusy: bool
    ) -> None:
        self._events = events
        self._watchBusy = watchBusy
        self._policy = policy
        self.replies = replies
        self.counters = counters
        self.now = 0.0
        self._workers: dict[bytes, WorkerRecord] = {}
        self._services = Services(
            max(int(policy.backlog * policy.clientShare), 1), int(policy.backlogMib * _MIB * policy.clientShare)
        )
        self._deadlines = Deadlines(policy)
        self._moved: dict[bytes, Request] = {}
        self._inFlight = 0
        self._busy = 0

    # --- what there is

    @property
    def inFlight(self) -> int:
        """How many requests workers hold that are not answered yet."""
        return self._inFlight

    @property
    def workers(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    def othersThan(self, identities: Container[bytes]) -> int:
        """Return how many workers there are besides those with some identities."""
        return sum(identity not in identities for identity in self._workers)

    @property
    def idle(self) -> int:
        """How many workers hold nothing."""
        return len(self._workers) - self._busy

    def knows(self, identity: bytes) -> bool:
        """Whether a worker has said that it is there."""
        return identity in self._workers

    def hasWorked(self, identity: bytes) -> bool:
        """Whether a worker has been given a request, or is not known any more."""
        worker = self._workers.get(identity)
        return worker is None or worker.began > 0

    def isIdle(self, identity: bytes) -> bool:
        """Whether a worker is known and holds nothing."""
        worker = self._workers.get(identity)
        return worker is not None and not worker.inFlight

    def isSpare(self, identity: bytes) -> bool:
        """Whether a worker is known and executes less than half of what it could at the same time."""
        worker = self._workers.get(identity)
        return worker is not None and 2 * len(worker.inFlight) < worker.concurrency

    # --- the hand of a worker

    def _isolates(self, worker: WorkerRecord, request: Request) -> bool:
        """Whether a request must not share this worker's hand."""
        if worker.concurrency == 1:
            return request.alone
        charged = request.attempts + request.suspected
        return charged > 0 and charged + 1 >= (request.maxAttempts or self._policy.maxAttempts)

    def _lookAtInFlight(self, worker: WorkerRecord, gone: Iterable[bytes]) -> None:
        """
        Some are not in a worker's hand any more: what it executes now counts.

        :param gone: their ids.
        """
        if not worker.inFlight:
            self._empty(worker)
            return
        first = next(iter(worker.inFlight.values()))
        if worker.killDeadlines:
            for each in gone:
                worker.killDeadlines.pop(each, None)
            worker.killAt = min(worker.killDeadlines.values(), default=NEVER)
        if worker.concurrency > 1:
            worker.began = first.since
        elif self._policy.cancelKills and first.state is State.DONE and first.id not in worker.killDeadlines:
            # It was cancelled while it waited in this hand.
            self._scheduleKill(worker, first)

    def _scheduleKill(self, worker: WorkerRecord, request: Request) -> None:
        """A worker executes a request that was cancelled: it is stopped if it goes on with that."""
        worker.killDeadlines[request.id] = deadline = self.now + self._policy.cancelKills
        worker.killAt = min(worker.killAt, deadline)
        self._deadlines.note(deadline)

    def _empty(self, worker: WorkerRecord) -> None:
        """A worker's hand is empty."""
        worker.inFlight.clear()
        worker.killDeadlines.clear()
        worker.capacity = worker.credit
        worker.killAt = NEVER
        self._busy -= 1
        if self._watchBusy:
            self._events.workerBusyChanged(worker.identity, False)

    def _emptyUnanswered(self, worker: WorkerRecord) -> None:
        """A plain worker asks for the next request: if it has not answered the last one, it will not do so any more."""
        for request in worker.inFlight.values():
            if request.state is State.IN_FLIGHT:
                self._fail(request, Code.APP_ERROR, "its worker asked for the next request without an answer")
        self._empty(worker)

    def _moveInFlight(self, worker: WorkerRecord, reason: str, died: bool) -> None:
        """What a lost worker held goes to the front, or is given up."""
        if died or worker.plain:
            self._charge(worker)
        for request in reversed(worker.inFlight.values()):
            if request.state is not State.IN_FLIGHT:
                continue
            if request.parts and self.replies.hasSentParts(request):
                self._fail(
                    request, Code.WORKER_LOST, f"its worker was lost after {len(request.parts)} parts, by {reason}"
                )
            elif request.attempts >= (request.maxAttempts or self._policy.maxAttempts):
                times = "once" if request.attempts == 1 else f"{request.attempts} times"
                self._fail(request, Code.WORKER_LOST, f"its worker was lost {times}, at last by {reason}")
            else:
                request.alone = request.alone or died or worker.plain
                self._requeue(request, worker)

    def _charge(self, worker: WorkerRecord) -> None:
        """
        Charge a death to the request that was being executed, or to all of them if they all were.

        With several in hand of which one was, that is not certain, because answers may have been lost with the worker:
        then each is suspected, and one that takes another worker down, alone, is charged with both.
        """
        if len(worker.inFlight) == 1 or worker.concurrency > 1:
            for executed in worker.inFlight.values():
                if executed.state is State.IN_FLIGHT:
                    executed.attempts += 1 + executed.suspected
                    executed.suspected = 0
        else:
            for request in worker.inFlight.values():
                request.suspected = 1

    def _requeue(self, request: Request, worker: WorkerRecord) -> Service:
        """Put a request that a worker held back to the front of its backlog."""
        request.holders += (worker.identity,)
        request.parts = None
        request.partBytes = 0
        self._moved[request.id] = request
        self.counters.redispatched += 1
        self._inFlight -= 1
        return self._wait(request, front=True)

    def _wait(self, request: Request, front: bool = False) -> Service:
        service = self._services.put(request, self.now, front)
        self._deadlines.waits(request)
        return service

    # --- the end of a request

    def _finish(self, request: Request) -> None:
        if request.state is State.QUEUED:
            self._services.leave(request)
        elif request.state is State.IN_FLIGHT:
            self._inFlight -= 1
        request.state = State.DONE
        if request.account is not None and request.id:
            request.account.open -= 1
            request.account = None
        # There may be notes of it here and there for some time; they must not keep what it brought.
        request.body = []
        self._moved.pop(request.id, None)

    def _fail(self, request: Request, code: Code, message: str) -> None:
        self._finish(request)
        self.replies.gaveUp(request, code, message, self.now)
