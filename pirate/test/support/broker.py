"""A broker with lists in place of sockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pirate.broker import replies as replies
from pirate.broker.broker import Broker
from pirate.broker.request import NativeRequest, Request
from pirate.settings.limits import RequestPolicy
from pirate.wire.backend import Announcement, packedRequests, requestFrames
from pirate.wire.frontend import parseHeader
from pirate.wire.words import Code


class BrokerBench:
    """
    A broker, its peers, and what they were sent.  After each step the broker's counts are checked.

    It is also the broker's outgoing side and the listener to its events.

    :ivar away: peers that cannot be reached.
    :ivar lost: the workers that the broker called unreachable.
    :ivar endsAreReported: whether the end of such a worker is reported later.
    :ivar missed: messages that did not reach their workers, and of which the broker has not been told.
    :ivar retired: the workers that have been sent all their requests.
    :ivar stopped: the workers that were overdue.
    :ivar halves: for each report that half of a worker's requests were sent, how many had been received by then.
    :ivar changes: each change of a worker between idle and busy.
    :ivar givenUp: each request that was given up: its client, the code, the message.
    """

    endsAreReported = False

    def __init__(self, **options: Any) -> None:
        more = {name: options.pop(name) for name in ("errorReply", "firstId") if name in options}
        self.broker = Broker(self, self, RequestPolicy(**options), watchBusy=True, **more)
        self.away: set[bytes] = set()
        self.lost: list[bytes] = []
        self.missed: list[list[bytes]] = []
        self.retired: list[bytes] = []
        self.stopped: list[bytes] = []
        self.halves: list[int] = []
        self.changes: list[tuple[bytes, bool]] = []
        self.givenUp: list[tuple[bytes, str, str]] = []
        self.framesToClients: list[list[bytes]] = []
        self.framesToWorkers: list[list[bytes]] = []
        self._workers: set[bytes] = set()

    # --- the outgoing side

    def toClient(self, frames: Sequence[bytes]) -> bool:
        """Keep a message to a client, unless it is away."""
        if frames[0] in self.away:
            return False
        self.framesToClients.append(list(frames))
        return True

    def postToClient(self, frames: Sequence[bytes]) -> None:
        """Keep a message to a client, or report that it is away."""
        if not self.toClient(frames):
            self.broker.replies.replyUndelivered()

    def toWorker(self, frames: Sequence[bytes]) -> bool:
        """Keep a message to a worker, unless it is away."""
        if frames[0] in self.away:
            return False
        self.framesToWorkers.append(list(frames))
        return True

    def postToWorker(self, frames: Sequence[bytes]) -> None:
        """Keep a message to a worker, as one that was missed if the worker is away."""
        if not self.toWorker(frames):
            self.missed.append(list(frames))

    def postRequests(self, worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        """Keep small requests to a worker, each as a message of its own, or as a single one that was missed."""
        for request, body in zip(requests, bodies, strict=True):
            if not self.toWorker(requestFrames(worker, request, [body])):
                self.missed.append(packedRequests(worker, requests, bodies))
                return

    # --- what the broker reports

    def requestFailed(self, request: Request, code: Code, message: str) -> None:
        """Keep the failure."""
        self.givenUp.append((request.route[0], code, message))

    def replyUndelivered(self) -> None:
        """Ignore the event: the broker counts it."""

    def workerBusyChanged(self, identity: bytes, busy: bool) -> None:
        """Keep the change."""
        self.changes.append((identity, busy))

    def requestsHalfUsed(self, identity: bytes) -> None:
        """Keep the number of requests."""
        self.halves.append(self.broker.counters.received)

    def requestsUsedUp(self, identity: bytes) -> None:
        """Keep the worker's identity."""
        self.retired.append(identity)

    def workerOverdue(self, identity: bytes, why: str) -> None:
        """Keep the worker's identity."""
        self.stopped.append(identity)

    def workerUnreachable(self, identity: bytes) -> bool:
        """Keep the worker's identity."""
        self.lost.append(identity)
        return self.endsAreReported

    def workerSilent(self, identity: bytes) -> None:
        """Ignore the event."""

    # --- what peers do

    def ready(
        self,
        *workers: bytes,
        credit: int = 1,
        services: tuple[str, ...] = ("",),
        requestsLeft: int = -1,
        packs: bool = False,
    ) -> None:
        """Have workers announce themselves."""
        for worker in workers:
            self._workers.add(worker)
            self.broker.dispatcher.workerReady(
                worker, Announcement("", credit, False, services, pack=packs), requestsLeft
            )
            self.check()

    def waiting(self, *workers: bytes) -> None:
        """Have plain workers say ``waiting``."""
        for worker in workers:
            self._workers.add(worker)
            self.broker.dispatcher.workerReady(worker)
            self.check()

    def ask(self, *names: bytes, service: str = "") -> list[Request]:
        """Have plain clients send a request each, with the client's name as the body."""
        return [self.receive(Request([name, b""], [name], service)) for name in names]

    def askNatively(self, *names: bytes, **options: Any) -> list[Request]:
        """Have native clients send a request each, with the client's name as the body and in the request id."""
        ids = {name: name.rjust(16, b"k") for name in names}
        return [
            self.receive(NativeRequest([name, b"PIR1" + requestId, b""], [name], requestId, options))
            for name, requestId in ids.items()
        ]

    def receive(self, request: Request) -> Request:
        """Pass a request to the broker."""
        self.broker.requestReceived(request)
        self.check()
        return request

    def reply(self, worker: bytes, *requests: Request, body: bytes | None = None) -> None:
        """Have a worker reply, by default with the request's own body."""
        for request in requests:
            self.broker.dispatcher.replyReceived(worker, request.brokerId, request.body if body is None else [body])
            self.check()

    def replyPacked(self, worker: bytes, *requests: Request) -> None:
        """Have a worker reply to several requests in one message, each with the request's own body."""
        ids, bodies = [each.brokerId for each in requests], [(each.body or [b""])[0] for each in requests]
        self.broker.dispatcher.repliesReceived(worker, ids, bodies)
        self.check()

    def fail(self, worker: bytes, *requests: Request, message: str = "E: x") -> None:
        """Have a worker report that its app failed."""
        for request in requests:
            self.broker.dispatcher.failureReceived(worker, request.brokerId, Code.APP_ERROR, message)
            self.check()

    def gone(self, worker: bytes, reason: str = "it ended with signal SIGKILL", died: bool = True) -> None:
        """Remove a worker."""
        self.broker.dispatcher.workerGone(worker, reason, died)
        self.check()

    def tick(self, now: float) -> float:
        """Begin a turn at a time, and return when the next one is due."""
        deadlines = self.broker.deadlines
        deadlines.now = now
        if deadlines.due <= now:
            self.broker.dispatcher.enforceDeadlines()
        return deadlines.due

    # --- what they see

    def sent(self) -> list[tuple[bytes, bytes]]:
        """Return what workers were sent since the last call: the worker, and the request's body or the word."""
        seen, self.framesToWorkers = self.framesToWorkers, []
        return [(frames[0], frames[-1]) for frames in seen]

    def replies(self) -> list[tuple[bytes, bytes]]:
        """Return what clients were sent since the last call: the client, and the last frame of the body."""
        seen, self.framesToClients = self.framesToClients, []
        return [(frames[0], frames[-1]) for frames in seen]

    def told(self) -> list[tuple[bytes, Any]]:
        """Return the headers that native clients were sent since the last call."""
        seen, self.framesToClients = self.framesToClients, []
        return [(frames[0], (parseHeader(frames[-3]) or (b"", {}))[1]) for frames in seen]

    def check(self) -> None:
        """Check that every request has ended, waits or is in flight, and that the counts of workers agree."""
        broker, counters = self.broker, self.broker.counters
        while self.missed:
            missed, self.missed = self.missed, []
            broker.dispatcher.workerMessagesUndelivered(missed)
        done = (
            counters.replied
            + sum(counters.failed.values())
            + counters.joined
            + counters.remembered
            + counters.withdrawn
        )
        assert counters.received == done + broker.queues.waiting + broker.dispatcher.inFlight, vars(broker)
        assert broker.isQuiet() == (broker.queues.waiting == broker.dispatcher.inFlight == 0)
        assert broker.dispatcher.idle == sum(broker.dispatcher.isIdle(worker) for worker in self._workers)
        assert min(broker.queues.waiting, broker.dispatcher.inFlight, broker.dispatcher.idle) >= 0


class ConcurrencyBench(BrokerBench):
    """A bench with workers that execute several requests at the same time."""

    def several(self, *workers: bytes, concurrency: int = 4) -> None:
        """Have workers with a concurrency announce themselves."""
        for worker in workers:
            self._workers.add(worker)
            self.broker.dispatcher.workerReady(worker, Announcement("", concurrency, concurrency=concurrency))
            self.check()

    def tick(self, now: float) -> float:
        """Begin a turn as :class:`BrokerBench` does, and check the counts."""
        due = super().tick(now)
        self.check()
        return due


def cancelling(request: Request) -> NativeRequest:
    """Return the command to cancel a native request."""
    return NativeRequest([b"c", b"", b""], [b""], request.requestId, {"command": "cancel"})
