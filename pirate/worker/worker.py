"""
The child's program, ``python -m pirate.worker``: pyzmq and the standard library, nothing else.

It reads one line of JSON from its standard input, its :class:`~pirate.worker.inflight.RunningRequest`; loads the app;
says ``waiting``; answers requests in the order in which they come; and leaves when it is asked to ``retire``, or with
its parent: the pipe that its standard input was is kept, and its end ends the worker, whatever the app is doing.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import zmq

from pirate.errors import ConfigurationError, ExitCode
from pirate.wire.backend import Info, announcement
from pirate.wire.job import Job
from pirate.wire.words import CANCEL, DEQUEUE, ERROR, EXITING, FIRST_ID, HEARTBEAT, RETIRE, WAITING, Code
from pirate.worker.app import App, isAsync, prepare
from pirate.worker.credit import Credit
from pirate.worker.duty import ServeContext
from pirate.worker.execution import Execution, Leave
from pirate.worker.imports import describe, load, place
from pirate.worker.startup import (
    closeInForks,
    dieWithParent,
    endWithParent,
    fail,
    ignoreTerminal,
    readJob,
    settle,
    showTraceback,
)

# Plain ints, because an enumeration's member costs more than the call that it is for.
_SNDMORE = int(zmq.SNDMORE)
_NOBLOCK = int(zmq.NOBLOCK)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
_RCVMORE = int(zmq.RCVMORE)
#: Milliseconds that the last reply has for its way out.
LINGER_MS = 5000


class Worker(Execution):
    """
    One worker: its socket, and the loop that answers requests.

    :param job: what its parent has sent.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job.softTimeout, Credit() if job.prefetch is None else None)
        self._job = job
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = LINGER_MS
        self._socket.identity = job.identity.encode()
        self._socket.ipv6 = "[" in job.backend
        keys = job.keys
        if keys:
            self._socket.curve_serverkey = keys["server"].encode()
            self._socket.curve_publickey = keys["public"].encode()
            self._socket.curve_secretkey = keys["secret"].encode()
        self._socket.connect(job.backend)
        plain: Any = super(zmq.Socket, self._socket)
        self._receive, self._send = plain.recv, plain.send
        self._wantsContext = False
        self._get = plain.get
        self._waiting: deque[list[bytes]] = deque()
        self._looksAhead = job.prefetch not in (None, 1)
        self._busy = True
        self._leaving = False

    def run(self) -> None:
        """Do what the job says, then leave."""
        try:
            if self._job.dequeue is not None:
                self._dequeue(self._job.dequeue)
            else:
                self._serve()
            self._socket.send_multipart([b"", EXITING])
        finally:
            self._socket.close()
            self._context.term()

    def _dequeue(self, path: str) -> None:
        call = _load(path, lambda target: target, self._job.showTraceback)
        self._announce(DEQUEUE, 1)
        call()

    def _serve(self) -> None:
        job = self._job
        target, several = _load(job.app, lambda target: (target, _several(job, target)), job.showTraceback)
        if several is not None:
            refuse = partial(_refuse, job.app, loudly=job.showTraceback)
            several(ServeContext(target, self._socket, self._ready, refuse))
            return
        app = _load(job.app, prepare, job.showTraceback)
        self._ready(app)
        try:
            self._answer(app)
        finally:
            app.close()

    def _ready(self, app: App) -> None:
        self._wantsContext = app.wantsContext
        app.limit(self._job.maxFrame, self._job.maxFrames, self._job.maxTotal)
        self._announce(WAITING, self._job.prefetch or max(self._job.concurrency, self._job.threads, 1))

    def _announceCredit(self, credit: int) -> None:
        self._announce(WAITING, credit)

    def _announce(self, word: bytes, credit: int) -> None:
        concurrency = max(self._job.concurrency, self._job.threads, 1)
        info = Info(os.getpid(), self._job.token, credit, self._wantsContext, concurrency=concurrency)
        self._socket.send_multipart([b"", word, announcement(info)])

    def _answer(self, app: App) -> None:
        """Answer requests until there is a ``retire``, or a TERM."""
        signal.signal(signal.SIGTERM, self._terminated)
        if self._softTimeout:
            signal.signal(signal.SIGALRM, self._tooLong)
        waiting = self._waiting
        try:
            while not self._leaving:
                self._busy = False
                frames = waiting.popleft() if waiting else self._next(0)
                self._busy = True
                if len(frames) > 3:
                    # To look takes a microsecond, which tiny jobs do without.
                    if (self._tookLong or self._looksAhead or self._cancelled) and self._isCancelled(frames[1]):
                        self._cancelled.discard(frames[1])
                        self._reply([b"", frames[1], ERROR, Code.CANCELLED.encode(), b"it was cancelled"])
                    else:
                        self._execute(app, frames)
                elif frames[1] == CANCEL:
                    self._cancelled.discard(frames[2])
                elif not self._hear(frames):
                    return
        except Leave:
            self._busy = True

    def _next(self, flags: int) -> list[bytes]:
        """
        The next message; with ``NOBLOCK``, ``zmq.Again`` is raised if there is none.

        Its beginning is read without asking whether there is more, which costs four times as much as to read: after the
        delimiter there is a word, or an id, which is followed by a delimiter or a context, and a body.
        """
        receive = self._receive
        frames = [receive(flags), receive()]
        if frames[1][:1] < FIRST_ID:
            more = self._get(_RCVMORE)
        else:
            frames.append(receive())
            more = True
        while more:
            frame = receive(0, False)
            frames.append(frame.bytes)
            more = frame.more
        return frames

    def _hear(self, frames: list[bytes]) -> bool:
        """
        Do what the broker says that is no request.

        :return: false if there is nothing more to do.
        """
        if frames[1:] == [HEARTBEAT]:
            self._socket.send_multipart([b"", HEARTBEAT])
        return frames[1:] != [RETIRE]

    def _isCancelled(self, request: bytes) -> bool:
        """Whether a request that is being executed has been cancelled; what else has come in is kept for later."""
        self._inMessage = True
        while self._get(_EVENTS) & _POLLIN:
            frames = self._next(_NOBLOCK)
            if len(frames) == 3 and frames[1] == CANCEL:
                # One that has been answered already will not be asked about.
                if frames[2] == request or any(each[1] == frames[2] for each in self._waiting):
                    self._cancelled.add(frames[2])
            else:
                self._waiting.append(frames)
        self._leaveMessage()
        return request in self._cancelled

    def _reply(self, frames: list[bytes]) -> None:
        send = self._send
        for frame in frames[:-1]:
            send(frame, _SNDMORE)
        send(frames[-1])

    def _terminated(self, number: int, frame: object) -> None:
        """
        TERM: leave after the request in hand; a second one: leave at once.

        A request that has arrived but was not begun is the broker's to give to another.
        """
        if self._leaving:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            sys.exit(128 + number)
        self._leaving = True
        if not self._busy:
            raise Leave


def _load(path: str, make: Any, loudly: bool) -> Any:
    """The thing that an import path names, made ready; if that fails, this process says why and ends."""
    try:
        return make(load(path))
    except BaseException as error:
        _refuse(path, error, loudly)


def _refuse(path: str, error: BaseException, loudly: bool) -> NoReturn:
    """
    Say why there is no app, and end.

    :param loudly: whether to show the traceback of the error.
    """
    if loudly:
        showTraceback()
    fail(ExitCode.APP_NOT_LOADED, f"cannot load {path!r}: {describe(error)}{place(error)}")


def _several(job: Job, target: Any) -> Callable[[ServeContext], None] | None:
    """
    What runs several requests of an app at once, or waits for one; it is imported only if it is needed.

    :return: ``None`` if requests are to be executed one after the other, by this module.
    :raise ConfigurationError: if the app is not fit for what was asked for.
    """
    awaited = job.loop != "auto" or isAsync(target)
    if awaited and (job.prefetch or 1) > 1:
        raise ConfigurationError(f"prefetch ({job.prefetch}) is for plain functions: for this app say --concurrency")
    if job.threads:
        if awaited:
            raise ConfigurationError(f"threads ({job.threads}) are for plain functions: say --concurrency instead")
        from pirate.worker.threads import run

        return partial(run, threads=job.threads)
    if job.loop == "twisted":
        from pirate.worker.twistedrunner import run as runDeferreds

        return partial(runDeferreds, softTimeout=job.softTimeout)
    if awaited:
        from pirate.worker.asynciorunner import run as runTasks

        return partial(runTasks, softTimeout=job.softTimeout)
    if job.concurrency > 1:
        raise ConfigurationError(
            f"concurrency ({job.concurrency}) needs an async app, and this is a plain function: say --threads "
            "instead, or --loop if it returns something to wait for"
        )
    return None


def main() -> NoReturn:
    """Be a worker."""
    ignoreTerminal()
    # A fatal signal, the ABRT that the parent sends a job that takes too long among them, shows the stack first.
    faulthandler.enable()
    job = readJob()
    lifeline = endWithParent()
    dieWithParent(job.parent)
    closeInForks(job.backend)
    settle(job)
    try:
        Worker(job).run()
    except zmq.ZMQError as error:
        fail(ExitCode.BOOT_FAILED, f"cannot use {job.backend}: {error}")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.close(lifeline)
    sys.exit(ExitCode.CLEAN)
