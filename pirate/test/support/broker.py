"""A broker with lists for sockets."""

from __future__ import annotations

from typing import Any

from pirate.broker import replies as replies
from pirate.broker.broker import Broker
from pirate.settings.limits import RequestPolicy
from pirate.wire.backend import Info
from pirate.wire.frontend import NativeRequest, Request, parseHeader
from pirate.wire.words import Code


class BrokerBench:
    """
    A broker, its peers, and what they were sent.  After each step the books are checked.

    :ivar away: peers that cannot be reached.
    :ivar lost: the workers that the broker called unreachable.
    :ivar missed: messages that did not reach their workers, and of which the broker has not been told.
    :ivar retired: the workers whose lifetime was over.
    :ivar givenUp: each request that was given up: its client, the code, the message.
    """

    def __init__(self, **options: Any) -> None:
        more = {name: options.pop(name) for name in ("tellPlain", "firstId") if name in options}
        self.broker = Broker(self._toClient, self._toWorker, self._postToWorker, RequestPolicy(**options), **more)
        self.away: set[bytes] = set()
        self.lost: list[bytes] = []
        self.missed: list[list[bytes]] = []
        self.retired: list[bytes] = []
        self.givenUp: list[tuple[bytes, str, str]] = []
        self.framesToClients: list[list[bytes]] = []
        self.framesToWorkers: list[list[bytes]] = []
        self._workers: set[bytes] = set()
        self.broker.unreachable = self._unreachable
        self.broker.retired = self.retired.append
        self.broker.replies.failed = lambda request, code, message: self.givenUp.append(
            (request.route[0], code, message)
        )

    def _toClient(self, frames: list[bytes]) -> bool:
        if frames[0] in self.away:
            return False
        self.framesToClients.append(frames)
        return True

    def _toWorker(self, frames: list[bytes]) -> bool:
        if frames[0] in self.away:
            return False
        self.framesToWorkers.append(frames)
        return True

    def _postToWorker(self, frames: list[bytes]) -> None:
        if not self._toWorker(frames):
            self.missed.append(frames)

    def _givenUp(self, request: Request, code: str, message: str) -> None:
        self.givenUp.append((request.route[0], code, message))

    def _unreachable(self, identity: bytes) -> bool:
        self.lost.append(identity)
        return False

    # --- what peers do

    def ready(self, *workers: bytes, credit: int = 1, services: tuple[str, ...] = ("",), lifetime: int = -1) -> None:
        """Workers of our own announce themselves."""
        for worker in workers:
            self._workers.add(worker)
            self.broker.workerReady(worker, Info(1, "", credit, False, services), lifetime)
            self.check()

    def waiting(self, *workers: bytes) -> None:
        """Plain workers say ``waiting``."""
        for worker in workers:
            self._workers.add(worker)
            self.broker.workerReady(worker)
            self.check()

    def ask(self, *names: bytes, service: str = "") -> list[Request]:
        """A plain client named so sends a request with its name as the body; several do one after the other."""
        return [self.receive(Request([name, b""], [name], service)) for name in names]

    def askNatively(self, *names: bytes, **options: Any) -> list[Request]:
        """The same, with a native header; each name is an id as well."""
        keys = {name: name.rjust(16, b"k") for name in names}
        return [
            self.receive(NativeRequest([name, b"PIR1" + key, b""], [name], key, options)) for name, key in keys.items()
        ]

    def receive(self, request: Request) -> Request:
        """A request comes in."""
        self.broker.requestReceived(request)
        self.check()
        return request

    def reply(self, worker: bytes, *requests: Request, body: bytes | None = None) -> None:
        """A worker answers, by default with the request's own body."""
        for request in requests:
            self.broker.replyReceived(worker, request.id, request.body if body is None else [body])
            self.check()

    def fail(self, worker: bytes, *requests: Request, message: str = "E: x") -> None:
        """A worker says that its app failed."""
        for request in requests:
            self.broker.failureReceived(worker, request.id, Code.APP_ERROR, message)
            self.check()

    def gone(self, worker: bytes, reason: str = "signal SIGKILL", died: bool = True) -> None:
        """A worker is there no more."""
        self.broker.workerGone(worker, reason, died)
        self.check()

    # --- what they see

    def sent(self) -> list[tuple[bytes, bytes]]:
        """What workers were sent since the last look: whose request, or the word."""
        seen, self.framesToWorkers = self.framesToWorkers, []
        return [(frames[0], frames[-1]) for frames in seen]

    def replies(self) -> list[tuple[bytes, bytes]]:
        """What clients were sent since the last look: to whom, and the last frame of the body."""
        seen, self.framesToClients = self.framesToClients, []
        return [(frames[0], frames[-1]) for frames in seen]

    def told(self) -> list[tuple[bytes, Any]]:
        """What native clients were told in their headers since the last look."""
        seen, self.framesToClients = self.framesToClients, []
        return [(frames[0], (parseHeader(frames[-3]) or (b"", {}))[1]) for frames in seen]

    def check(self) -> None:
        """Every request is answered, given up, waiting or in hand, and the counts of workers agree with each other."""
        broker, counters = self.broker, self.broker.counters
        while self.missed:
            missed, self.missed = self.missed, []
            broker.missed(missed)
        done = (
            counters.replied
            + sum(counters.failed.values())
            + counters.joined
            + counters.remembered
            + counters.withdrawn
        )
        assert counters.received == done + broker.backlog + broker.inFlight, vars(broker)
        assert broker.quiet == (broker.backlog == broker.inFlight == 0)
        assert broker.idle == sum(broker.isIdle(worker) for worker in self._workers)
        assert min(broker.backlog, broker.inFlight, broker.idle) >= 0
