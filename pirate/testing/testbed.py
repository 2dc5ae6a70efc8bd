"""A server's workers, and all that it stands on, in memory and on a clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pirate.errors import START_ERROR_PREFIX
from pirate.testing.fakeprocess import FakeProcess, ProcessReactor
from pirate.testing.faketransport import MemoryRouter, MemoryTransport
from pirate.wire.backend import Info, announcement
from pirate.wire.job import Job
from pirate.wire.words import ERROR, EXITING, RETIRE, WAITING, Code


class FakeWorker:
    """
    A worker's side of the wire.  It announces itself, answers requests with their own frames, leaves when asked.

    :param router: gives the ROUTER that is bound to an endpoint.
    :ivar job: what it was told; which raises ``RuntimeError`` until then.
    :ivar held: the requests that it has not answered, oldest first: the broker's id, and all frames behind it.
    :ivar announcing: whether it announces itself without being told to.
    :ivar answering: the same for answers.
    """

    def __init__(self, process: FakeProcess, router: Callable[[str], MemoryRouter]) -> None:
        self._router = router
        self._backend: MemoryRouter
        self._leaving = False
        self.process = process
        process.written = self._told
        process.terminated = self._retire
        self._job: Job | None = None
        self.held: list[list[bytes]] = []
        self.announcing = self.answering = True

    @property
    def job(self) -> Job:
        """The job that its parent has given it."""
        if self._job is None:
            raise RuntimeError("this worker has not been given its job")
        return self._job

    @property
    def identity(self) -> bytes:
        """Its routing id."""
        return self.job.identity.encode("ascii")

    def announce(self, word: bytes = WAITING, **info: Any) -> None:
        """
        Say that it is there.

        :param info: fields of :class:`~pirate.wire.backend.Info` that are not as they should be.
        """
        told = {"pid": self.process.pid, "token": self.job.token, **info}
        self.say(word, announcement(Info(**told)))

    def say(self, *frames: bytes) -> None:
        """Send the broker a message."""
        self._backend.receive(self.identity, b"", *frames)

    def answer(self, *body: bytes) -> None:
        """Answer the oldest request, with its own frames if there are no others."""
        request, *rest = self.held.pop(0)
        self.say(request, b"", *(body or rest[rest.index(b"") + 1 :]))
        self._leaveIfDone()

    def fail(self, text: bytes, *trail: bytes) -> None:
        """
        The app has raised on the oldest request.

        :param trail: where in it, if that is told.
        """
        self.say(self.held.pop(0)[0], ERROR, Code.APP_ERROR.encode(), text, *trail)
        self._leaveIfDone()

    def cannotStart(self, words: str, code: int = 4) -> None:
        """
        End without ever having been ready.

        :param words: why, for the log.
        """
        self.process.says(f"{START_ERROR_PREFIX}{words}\n".encode(), 2)
        self.process.ends(code)

    def _told(self, data: bytes) -> None:
        self._job = Job.decode(self.process.stdin)
        self._backend = self._router(self.job.backend)
        self._backend.connect(self.identity, self._received)
        if self.announcing:
            self.announce()

    def _received(self, frames: list[bytes]) -> None:
        if not self.process.alive:
            return
        if frames == [b"", RETIRE]:
            self._retire()
        elif len(frames) > 3:
            self.held.append(frames[1:])
            if self.answering:
                self.answer()

    def _retire(self) -> None:
        self._leaving = True
        self._leaveIfDone()

    def _leaveIfDone(self) -> None:
        if self._leaving and not self.held:
            if self._job is not None:
                self.say(EXITING)
            self.process.endsSoon()


class TestBed:
    """
    All that a server stands on: a reactor, a transport for each of its runs, a worker for each of its children.

    :ivar transports: all that were made, oldest first.
    :ivar workers: the same.
    :ivar users: whom each of these was told of.
    :ivar refusals: endpoints that cannot be bound, and why.
    :ivar announcing: whether workers yet to come announce themselves.
    :ivar answering: whether they answer.
    """

    def __init__(self) -> None:
        self.reactor = ProcessReactor()
        self.reactor.spawned = self._spawned
        self.transports: list[MemoryTransport] = []
        self.users: list[int | None] = []
        self.workers: list[FakeWorker] = []
        self.refusals: dict[str, str] = {}
        self.announcing = self.answering = True

    def makeTransport(self, reactor: Any, user: int | None = None) -> MemoryTransport:
        """
        Make a transport, which cannot bind what another one has bound.

        :param user: as for the real one; it is kept in ``users``.
        """
        self.users.append(user)
        inUse = {each: "Address already in use" for transport in self.transports for each in transport.bound}
        self.transports.append(MemoryTransport(reactor, {**inUse, **self.refusals}, 49152 + 100 * len(self.transports)))
        return self.transports[-1]

    def living(self) -> list[FakeWorker]:
        """The workers whose processes have not ended, oldest first."""
        return [worker for worker in self.workers if worker.process.alive]

    def ask(self, client: bytes, *body: bytes) -> list[list[bytes]]:
        """
        Send a request as a REQ client of the newest transport does.

        :return: all that this client was ever sent.
        """
        frontend = self.transports[-1].frontend
        frontend.receive(client, b"", *body)
        self.reactor.advance(0)
        return frontend.sentTo(client)

    def _spawned(self, process: FakeProcess) -> None:
        worker = FakeWorker(process, self._backend)
        worker.announcing, worker.answering = self.announcing, self.answering
        self.workers.append(worker)

    def _backend(self, endpoint: str) -> MemoryRouter:
        return next(each.backend for each in self.transports if endpoint in each.bound)
