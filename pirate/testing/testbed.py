"""Everything that a server runs on, in memory and on a clock: a reactor, transports, and workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pirate.errors import START_ERROR_PREFIX, ExitCode
from pirate.testing.fakeprocess import FakeProcess, FakeProgram, ProcessReactor
from pirate.testing.faketransport import MemoryRouter, MemoryTransport
from pirate.wire.backend import Announcement, announcementFrame
from pirate.wire.words import CANCEL, ERROR, EXITING, HEARTBEAT, RETIRE, WAITING, Code
from pirate.wire.workerconfig import WorkerConfig


class FakeWorker(FakeProgram):
    """
    The worker that a fake process runs.

    It announces itself, replies to each request with the request's own frames, and leaves when it is told to.  It
    executes one request at a time: it answers a heartbeat when it has replied to the requests that came before.

    :param process: the process.
    :param findBackend: returns the ROUTER that is bound to an endpoint.
    :ivar inFlight: the requests without a reply, oldest first; each is the broker's id and all frames behind it.
    :ivar cancelled: the ids of the requests that the broker has cancelled; the worker itself ignores that.
    :ivar autoAnnounce: whether it announces itself as soon as it has its configuration.
    :ivar autoReply: whether it replies to each request at once.
    """

    def __init__(self, process: FakeProcess, findBackend: Callable[[str], MemoryRouter]) -> None:
        super().__init__(process)
        self._findBackend = findBackend
        self._backend: MemoryRouter | None = None
        self._config: WorkerConfig | None = None
        self._leaving = False
        self._heartbeats: list[list[list[bytes]]] = []
        self.inFlight: list[list[bytes]] = []
        self.cancelled: list[bytes] = []
        self.autoAnnounce = self.autoReply = True

    @property
    def config(self) -> WorkerConfig:
        """
        The configuration that it was spawned with.

        :raise RuntimeError: if it has not been given yet.
        """
        if self._config is None:
            raise RuntimeError("this worker has not been given its configuration")
        return self._config

    @property
    def identity(self) -> bytes:
        """Its routing id."""
        return self.config.identity.encode("ascii")

    def announce(self, word: bytes = WAITING, **info: Any) -> None:
        """
        Announce itself to the broker.

        :param info: fields of :class:`~pirate.wire.backend.Announcement` to send instead of the right ones.
        """
        told = {"token": self.config.token, **info}
        self.send(word, announcementFrame(Announcement(**told)))

    def send(self, *frames: bytes) -> None:
        """
        Send a message to the broker, behind an empty frame.

        :raise RuntimeError: if the worker has not been given its configuration, and so is not connected.
        """
        identity = self.identity
        assert self._backend is not None
        self._backend.receive(identity, b"", *frames)

    def reply(self, *body: bytes) -> None:
        """
        Reply to the oldest request.

        :param body: the frames of the reply; none: those of the request.
        """
        request, *rest = self.inFlight.pop(0)
        self.send(request, b"", *(body or rest[rest.index(b"") + 1 :]))
        self._ended()

    def fail(self, text: bytes, *trace: bytes) -> None:
        """
        Report that the app has raised on the oldest request.

        :param text: the error.
        :param trace: the place in the app where it was raised, if that is to be reported.
        """
        self.send(self.inFlight.pop(0)[0], ERROR, Code.APP_ERROR.encode(), text, *trace)
        self._ended()

    def failToStart(self, reason: str, code: int = ExitCode.APP_NOT_LOADED) -> None:
        """
        Exit before it has announced itself.

        :param reason: the reason that it writes to its standard error.
        :param code: the exit code.
        """
        self.process.writeOutput(f"{START_ERROR_PREFIX}{reason}\n".encode(), 2)
        self.process.end(code)

    def inputReceived(self, data: bytes) -> None:
        """Read the configuration."""
        self._config = WorkerConfig.decode(self.process.stdin)
        self._backend = self._findBackend(self.config.backend)
        self._backend.connect(self.identity, self._received)
        if self.autoAnnounce:
            self.announce()

    def terminate(self) -> None:
        """Reply to what is in flight, then leave."""
        self._leaving = True
        self._leaveIfDone()

    def _received(self, frames: list[bytes]) -> None:
        if not self.process.alive:
            return
        if frames == [b"", RETIRE]:
            self.terminate()
        elif frames == [b"", HEARTBEAT]:
            self._heartbeats.append(list(self.inFlight))
            self._answerHeartbeats()
        elif frames[1] == CANCEL:
            self.cancelled.append(frames[2])
        elif len(frames) > 3:
            self.inFlight.append(frames[1:])
            if self.autoReply:
                self.reply()

    def _ended(self) -> None:
        self._answerHeartbeats()
        self._leaveIfDone()

    def _answerHeartbeats(self) -> None:
        while self._heartbeats and not any(each in self.inFlight for each in self._heartbeats[0]):
            del self._heartbeats[0]
            self.send(HEARTBEAT)

    def _leaveIfDone(self) -> None:
        if self._leaving and not self.inFlight:
            if self._config is not None:
                self.send(EXITING)
            self.process.endSoon()


class TestBed:
    """
    Everything that a server runs on: a reactor, a transport for each of its runs, and a worker for each child.

    :ivar reactor: the reactor; nothing happens until a test advances it.
    :ivar transports: all transports that were made, oldest first.
    :ivar uids: the ids of the system users that these were to run as; ``None`` for none.
    :ivar workers: all workers that were spawned, oldest first.
    :ivar bindErrors: the reasons why endpoints cannot be bound, by endpoint.
    :ivar autoAnnounce: whether the next workers announce themselves.
    :ivar autoReply: whether the next workers reply to requests at once.
    """

    # Not a test case, whatever pytest makes of the name.
    __test__ = False

    def __init__(self) -> None:
        self.reactor = ProcessReactor(self._makeWorker)
        self.transports: list[MemoryTransport] = []
        self.uids: list[int | None] = []
        self.workers: list[FakeWorker] = []
        self.bindErrors: dict[str, str] = {}
        self.autoAnnounce = self.autoReply = True

    def makeTransport(self, reactor: Any, user: int | None = None) -> MemoryTransport:
        """
        Make a transport, which cannot bind an endpoint that another one has bound.

        :param user: as for :class:`~pirate.transport.sockets.SocketTransport`; it is kept in ``uids``.
        """
        self.uids.append(user)
        inUse = {each: "Address already in use" for transport in self.transports for each in transport.bound}
        firstPort = 49152 + 100 * len(self.transports)
        self.transports.append(MemoryTransport(reactor, {**inUse, **self.bindErrors}, firstPort))
        return self.transports[-1]

    def livingWorkers(self) -> list[FakeWorker]:
        """Return the workers whose processes have not ended, oldest first."""
        return [worker for worker in self.workers if worker.process.alive]

    def request(self, client: bytes, *body: bytes) -> list[list[bytes]]:
        """
        Send a request as a REQ client of the newest transport, and take a turn.

        :param client: the client's routing id.
        :return: all that this client was ever sent.
        """
        frontend = self.transports[-1].frontend
        frontend.receive(client, b"", *body)
        self.reactor.advance(0)
        return frontend.sentTo(client)

    def _makeWorker(self, process: FakeProcess) -> FakeWorker:
        worker = FakeWorker(process, self._findBackend)
        worker.autoAnnounce, worker.autoReply = self.autoAnnounce, self.autoReply
        self.workers.append(worker)
        return worker

    def _findBackend(self, endpoint: str) -> MemoryRouter:
        return next(each.backend for each in self.transports if endpoint in each.bound)
