"""
Who gets which request: the broker, without sockets, reactor or clock.

The rules, beside those of :mod:`pirate.broker.dispatcher`:

- Every accepted request gets an id of the broker's own making.
- A native request that is sent again is not run again: it shares the answer of the first.
- What is not begun before its deadline is not begun at all.
- A job that takes too long is stopped together with its worker, and not tried again.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from pirate.broker.counters import Counters
from pirate.broker.dispatcher import Dispatcher
from pirate.broker.interfaces import BrokerEvents, Outgoing
from pirate.broker.queues import WorkerRecord
from pirate.broker.replies import Replies
from pirate.broker.replycache import ReplyCache
from pirate.broker.request import NativeRequest, Request, State
from pirate.broker.throttle import Throttle
from pirate.settings.limits import RequestPolicy
from pirate.wire.words import CANCEL, HEARTBEAT, Code

_requestId = Struct(">Q").pack
#: The bit that sets a request's id apart from every word.
_ID_BIT = 1 << 63
_MIB = 1 << 20
#: How many requests, and how much of its bytes, may wait beyond the backlog, of those that are read all the same.
ROOM, ROOM_BYTES = 1000, 0.25


class Broker(Dispatcher):
    """
    Requests in, answers out.

    :param outgoing: sends messages.
    :param events: is told of what the server has to know.
    :param policy: what a request can count on.
    :param tellPlain: whether clients without a native header are told of errors.
    :param firstId: where the numbering of requests starts, up to 62 random bits: a worker that knew another broker
        then cannot answer to this one's ids by chance.
    :param watchBusy: whether to report each change of a worker between idle and busy.
    """

    def __init__(
        self,
        outgoing: Outgoing,
        events: BrokerEvents,
        policy: RequestPolicy,
        *,
        tellPlain: bool = False,
        firstId: int = 0,
        watchBusy: bool = False,
    ) -> None:
        counters = Counters()
        memory = ReplyCache(policy.remember, policy.rememberEntries, int(policy.rememberMib * _MIB), counters)
        replies = Replies(outgoing, events, counters, memory, tellPlain)
        super().__init__(outgoing, events, policy, replies, counters, watchBusy)
        self._throttle = Throttle()
        self._crowding = 0
        self._most, self._mostBytes = policy.backlog, int(policy.backlogMib * _MIB)
        self._rejects = policy.backlogPolicy == "reject"
        self._number = firstId | _ID_BIT
        self._refusal: str | None = None

    # --- what there is

    @property
    def backlog(self) -> int:
        """How many requests wait."""
        return self._services.waiting

    @property
    def backlogBytes(self) -> int:
        """The bytes of the bodies that wait."""
        return self._services.waitingBytes

    def isFull(self) -> bool:
        """Whether no more requests may wait."""
        services = self._services
        return services.waiting >= self._most or services.waitingBytes >= self._mostBytes

    def wantsMore(self) -> bool:
        """Whether more requests should be read."""
        services = self._services
        return not services.waiting or self._rejects or not (services.over or self.isFull())

    def mayLook(self) -> bool:
        """
        Whether one more message may be read, although no more requests are wanted.

        A few are, several times a second: pings, cancels, and the first requests of other clients are among them.
        """
        return self._throttle.mayRead(self.now, self._used(), self._crowding, max(self._services.over, 1))

    def untilLook(self) -> float | None:
        """Return in how many seconds :meth:`mayLook` is worth asking again; ``None`` before something has ended."""
        return None if self._used() >= 1 else max(self._throttle.due - self.now, 0.0)

    def _used(self) -> float:
        """How much of the room is used that there is beyond the backlog; 1: all of it."""
        services = self._services
        return max(
            (services.waiting - self._most) / ROOM, (services.waitingBytes / self._mostBytes - 1) / ROOM_BYTES, 0.0
        )

    def isShort(self, spare: int) -> bool:
        """Whether requests wait, or fewer workers than so many hold nothing."""
        return self._services.waiting > 0 or len(self._workers) - self._busy < spare

    @property
    def quiet(self) -> bool:
        """Whether every accepted request has been answered or given up."""
        return not self._services.waiting and not self._inFlight

    @property
    def due(self) -> float:
        """When :meth:`tick` should be called, if nothing happens before."""
        return self._deadlines.due

    def oldestAge(self, now: float) -> float:
        """How long the request that is next has waited, in seconds; 0 if nobody waits."""
        return max((now - since for since in self._services.oldestSince()), default=0.0)

    # --- time

    def tick(self, now: float) -> float:
        """
        It is now so late: do what is due.

        :return: when to call this again, if nothing happens before.
        """
        self.now = now
        deadlines = self._deadlines
        if now >= deadlines.due:
            self._doWhatIsDue()
        return deadlines.due

    def _doWhatIsDue(self) -> None:
        self._expire(self._deadlines.expired(self.now))
        for worker, request in self._deadlines.overtaken(self._workers.values(), self.now):
            self._fail(request, Code.EXPIRED, "its time was over before it was begun")
            self._outgoing.postToWorker([worker.identity, b"", CANCEL, request.id])
        for worker, why in self._deadlines.overdue(self._workers.values(), self.now):
            self._stop(worker, why)
        for worker in self._deadlines.silent(self._workers.values(), self.now):
            if worker.probed is None:
                worker.probed = list(worker.inFlight)
                self._outgoing.postToWorker([worker.identity, b"", HEARTBEAT])
            self._events.workerSilent(worker.identity)

    def _expire(self, requests: Iterable[Request]) -> None:
        for request in requests:
            self._fail(request, Code.EXPIRED, "its time was over before it was begun")

    def _stop(self, worker: WorkerRecord, why: str) -> None:
        """A worker takes too long: what it has begun too long ago is given up, the rest moved, the worker stopped."""
        for each in self._deadlines.late(worker, self.now):
            if each.state is State.IN_FLIGHT:
                self._fail(each, Code.TIMEOUT, why)
        self.workerGone(worker.identity, why, died=worker.concurrency > 1)
        self._events.workerOverdue(worker.identity, why)

    # --- clients

    def requestReceived(self, request: Request) -> None:
        """Accept a request and send it on, or let it wait, or refuse it."""
        self.counters.received += 1
        if isinstance(request, NativeRequest) and self._known(request):
            return
        refusal = self._whyNot(request)
        if refusal is not None:
            self._fail(request, *refusal)
            return
        self._accept(request)
        service = self._services.get(request.service)
        assert service is not None
        if request.deadline <= self.now:
            self._expire([request])
            return
        worker = service.ready.first()
        if worker is None:
            self._wait(request)
        elif service.ring or service.returned or not self._give(worker, request):
            self._dispatch(self._wait(request))
        else:
            return
        services = self._services
        # With less than one client's share of the backlog in it, nobody has more than that.
        if services.waiting > services.most or services.waitingBytes > services.mostBytes:
            self._crowd(request)

    def _crowd(self, request: Request) -> None:
        """See whether a request that waits is too much for its client's share, or for the backlog."""
        share, services = request.share, self._services
        if share.waiting == 1 or request.state is not State.QUEUED:
            # Everybody's first request is welcome.
            return
        if share.waiting > services.most or share.bytes > services.mostBytes:
            if request.key or self._rejects:
                self._fail(request, Code.BUSY, f"{share.waiting - 1} requests of this client are waiting")
                return
            services.note(share)
            self._crowding += 1
        elif self.isFull():
            self._crowding += 1

    def refuse(self, request: Request, code: Code, message: str) -> None:
        """A request is not to be accepted: count it, and tell its client, if that can be told."""
        self.counters.received += 1
        self._fail(request, code, message)

    def _known(self, request: NativeRequest) -> bool:
        """Whether a request has been sent before, and so needs only to share the answer, or have it again."""
        if self.replies.join(request):
            self.counters.joined += 1
        elif self.replies.repeat(request, self.now):
            self.counters.remembered += 1
        else:
            return False
        return True

    def _whyNot(self, request: Request) -> tuple[Code, str] | None:
        if self._refusal is not None:
            return Code.STOPPING, self._refusal
        if self._services.get(request.service) is None:
            return Code.UNKNOWN_SERVICE, f"nobody serves {request.service!r}"
        if self._services.waiting and self._rejects and self.isFull():
            return Code.BUSY, f"{self._services.waiting} requests are waiting"
        return None

    def _accept(self, request: Request) -> None:
        self._number += 1
        request.id = _requestId(self._number)
        if request.account is not None:
            request.account.open += 1
        budget = request.timeout
        if budget is None:
            budget = self._policy.requestTimeout or None
        if budget is not None:
            request.deadline = self.now + budget
        request.alone = (request.maxAttempts or self._policy.maxAttempts) == 1
        if isinstance(request, NativeRequest):
            if request.maxAttempts > self._policy.maxAttempts:
                # A client may ask for fewer workers to be risked, and not for more.
                request.maxAttempts = self._policy.maxAttempts
            self.replies.opened(request)

    def cancel(self, command: NativeRequest) -> None:
        """A client does not want an answer any more to the request that it calls by the same name."""
        request = self.replies.find(command.key)
        if request is None:
            # One that is remembered has had its answer.
            if not self.replies.remembers(command, self.now):
                self.replies.refuse(command, Code.CANCELLED, "there is no such request")
            return
        holder = self._workers.get(request.holder) if request.state is State.IN_FLIGHT else None
        self._fail(request, Code.CANCELLED, "its client cancelled it")
        if holder is not None:
            self._outgoing.postToWorker([holder.identity, b"", CANCEL, request.id])
            if self._policy.cancelKills and (holder.concurrency > 1 or next(iter(holder.inFlight)) == request.id):
                self._scheduleKill(holder, request)

    def withdraw(self, request: Request) -> None:
        """The client of a request has gone, or has sent another: if it still waits, it is not run."""
        if request.state is State.QUEUED:
            self._finish(request)
            if isinstance(request, NativeRequest):
                self.replies.withdrawn(request)
            self.counters.withdrawn += 1

    def noteDeparted(self, request: Request) -> None:
        """Count a message of a client whose connection had been closed before it was read."""
        if not isinstance(request, NativeRequest) or request.command == "request":
            self.counters.received += 1
            self.counters.withdrawn += 1

    def refuseRequests(self, message: str) -> None:
        """
        Accept no more requests: the server is stopping.

        :param message: what clients are told.
        """
        self._refusal = message

    def abandon(self, message: str) -> tuple[int, int]:
        """
        Give up all that is not answered yet.

        :return: how many requests workers held, and how many waited.
        """
        counts = self._inFlight, self._services.waiting
        inFlight = [request for worker in self._workers.values() for request in worker.inFlight.values()]
        for request in inFlight:
            if request.state is State.IN_FLIGHT:
                self._fail(request, Code.WORKER_LOST, message)
        for request in self._services.queued():
            self._fail(request, Code.STOPPING, message)
        # Those that are left have been dropped from their backlogs, because their time is over.
        self._expire(self._deadlines.expired(self.now, self._services.waiting))
        return counts
