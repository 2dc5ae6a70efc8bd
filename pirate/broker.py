"""
Who gets which request: the broker, without sockets, reactor or clock.

The rules, beside those of L{pirate.dispatch}:

- Every accepted request gets an id of the broker's own making.
- A native request that is sent again is not run again: it shares the answer of the first.
- What is not begun before its deadline is not begun at all.
- A job that takes too long is stopped together with its worker, and not tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct

from pirate.answers import Answers
from pirate.dispatch import Dispatcher, Post, Send
from pirate.limits import Terms
from pirate.memory import Memory
from pirate.services import Worker
from pirate.tally import Tally
from pirate.throttle import Throttle
from pirate.wire.frontend import NativeRequest, Request, State
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

    :param toClient: sends frames to a client.
    :param post: the same, if it may be a little later; C{answers.countUndelivered} is to be called if that fails.
    :param toWorker: sends frames to a worker.
    :param postToWorker: the same, a little later; L{missed} is to be called, from nowhere within the broker, if that
        fails.
    :param terms: what a request can count on.
    :param tellPlain: whether clients without a native header are told of errors.
    :param firstId: where the numbering of requests starts, up to 62 random bits: a worker that knew another broker
        then cannot answer to this one's ids by chance.
    :ivar silent: called with the identity of a worker that has long not given a sign of life.
    """

    def __init__(
        self,
        toClient: Send,
        toWorker: Send,
        postToWorker: Post,
        terms: Terms,
        *,
        post: Post | None = None,
        tellPlain: bool = False,
        firstId: int = 0,
    ) -> None:
        tally = Tally()
        memory = Memory(terms.remember, terms.rememberEntries, int(terms.rememberMib * _MIB), tally)
        answers = Answers(toClient, post or self._sendNow, tally, memory, tellPlain)
        super().__init__(toWorker, postToWorker, terms, answers, tally)
        self._toClient = toClient
        self._throttle = Throttle()
        self._crowding = 0
        self._most, self._mostBytes = terms.backlog, int(terms.backlogMib * _MIB)
        self._rejects = terms.backlogPolicy == "reject"
        self.silent: Callable[[bytes], None] = lambda identity: None
        self._number = firstId | _ID_BIT
        self._refusal: str | None = None

    def _sendNow(self, frames: list[bytes]) -> None:
        if not self._toClient(frames):
            self.answers.countUndelivered()

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
        return not self._services.waiting and not self._inHand

    @property
    def due(self) -> float:
        """When L{tick} should be called, if nothing happens before."""
        return self._timetable.due

    def oldestAge(self, now: float) -> float:
        """How long the request that is next has waited, in seconds; 0 if nobody waits."""
        return max((now - since for since in self._services.oldestSince()), default=0.0)

    # --- time

    def tick(self, now: float) -> float:
        """It is now so late: do what is due.  :return: when to call this again, if nothing happens before."""
        self.now = now
        timetable = self._timetable
        if now >= timetable.due:
            self._doWhatIsDue()
        return timetable.due

    def _doWhatIsDue(self) -> None:
        self._expire(self._timetable.expired(self.now))
        for worker, request in self._timetable.overtaken(self._workers.values(), self.now):
            self._fail(request, Code.EXPIRED, "its time was over before it was begun")
            self._postToWorker([worker.identity, b"", CANCEL, request.id])
        for worker, why in self._timetable.overdue(self._workers.values(), self.now):
            self._stop(worker, why)
        for worker in self._timetable.silent(self._workers.values(), self.now):
            if worker.probed is None:
                worker.probed = list(worker.held)
                self._postToWorker([worker.identity, b"", HEARTBEAT])
            self.silent(worker.identity)

    def _expire(self, requests: Iterable[Request]) -> None:
        for request in requests:
            self._fail(request, Code.EXPIRED, "its time was over before it was begun")

    def _stop(self, worker: Worker, why: str) -> None:
        """A worker takes too long: what it has begun too long ago is given up, the rest moved, the worker stopped."""
        for each in self._timetable.late(worker, self.now):
            if each.state is State.HELD:
                self._fail(each, Code.TIMEOUT, why)
        self.workerGone(worker.identity, why, died=worker.concurrency > 1)
        self.lost(worker.identity, why)

    # --- clients

    def requestReceived(self, request: Request) -> None:
        """Accept a request and send it on, or let it wait, or refuse it."""
        self.tally.received += 1
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
        self.tally.received += 1
        self._fail(request, code, message)

    def _known(self, request: NativeRequest) -> bool:
        """Whether a request has been sent before, and so needs only to share the answer, or have it again."""
        if self.answers.join(request):
            self.tally.joined += 1
        elif self.answers.repeat(request, self.now):
            self.tally.remembered += 1
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
            budget = self._terms.requestTimeout or None
        if budget is not None:
            request.deadline = self.now + budget
        request.alone = (request.maxAttempts or self._terms.maxAttempts) == 1
        if isinstance(request, NativeRequest):
            if request.maxAttempts > self._terms.maxAttempts:
                # A client may ask for fewer workers to be risked, and not for more.
                request.maxAttempts = self._terms.maxAttempts
            self.answers.opened(request)

    def cancel(self, command: NativeRequest) -> None:
        """A client does not want an answer any more to the request that it calls by the same name."""
        request = self.answers.find(command.key)
        if request is None:
            # One that is remembered has had its answer.
            if not self.answers.remembers(command, self.now):
                self.answers.refuse(command, Code.CANCELLED, "there is no such request")
            return
        holder = self._workers.get(request.holder) if request.state is State.HELD else None
        self._fail(request, Code.CANCELLED, "its client cancelled it")
        if holder is not None:
            self._postToWorker([holder.identity, b"", CANCEL, request.id])
            if self._terms.cancelKills and (holder.concurrency > 1 or next(iter(holder.held)) == request.id):
                self._doom(holder, request)

    def withdraw(self, request: Request) -> None:
        """The client of a request has gone, or has sent another: if it still waits, it is not run."""
        if request.state is State.QUEUED:
            self._finish(request)
            if isinstance(request, NativeRequest):
                self.answers.withdrawn(request)
            self.tally.withdrawn += 1

    def noteDeparted(self, request: Request) -> None:
        """Count a message of a client whose connection had been closed before it was read."""
        if not isinstance(request, NativeRequest) or request.command == "request":
            self.tally.received += 1
            self.tally.withdrawn += 1

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
        # Those that are left have been dropped from their backlogs, because their time is over.
        self._expire(self._timetable.expired(self.now, self._services.waiting))
        return counts
