"""One request after the other, by an app that has the main thread for itself."""

from __future__ import annotations

import signal
import sys
from collections import deque
from functools import partial
from types import GeneratorType
from typing import TYPE_CHECKING, Any

import zmq

from pirate.wire.words import CANCEL, HEARTBEAT, MIN_FIRST_BYTE, PARTIAL, RETIRE
from pirate.worker.app import App, cancelledReply, errorReply, prepare, softTimeoutError
from pirate.worker.credit import Credit
from pirate.worker.rawsocket import EVENTS, NOBLOCK, POLLIN, RCVMORE, SNDMORE, rawCalls

if TYPE_CHECKING:
    from pirate.worker.interfaces import AppEvents, SerialHost
    from pirate.worker.process import Process

#: After a request that took this many seconds, look for cancels before starting the next.
LONG = 0.001


class Leave(BaseException):
    """Raised by TERM in a worker that waits for a request, so that it leaves."""


class SerialRunner:
    """
    A runner of an app that is not async.

    :param app: the app.
    :param host: the worker around this.
    :param process: the process that it runs in.
    :param softTimeout: seconds after which :class:`~pirate.errors.SoftTimeout` is raised in the app; 0 for never.
        :meth:`alarm` must be the handler of SIGALRM then.
    :param credit: measures how many requests the worker may hold; ``None`` if their number is fixed.
    :ivar tookLong: whether the last request took longer than :data:`LONG`.
    """

    def __init__(
        self,
        app: App,
        host: SerialHost,
        process: Process,
        *,
        softTimeout: float = 0.0,
        credit: Credit | None = None,
    ) -> None:
        self._app = app
        self._host = host
        self._clock = process.clock
        self._setAlarm = process.setAlarm
        self._softTimeout = softTimeout
        self._credit = credit
        self._inMessage = False
        self._late = False
        self.tookLong = False

    def execute(self, frames: list[bytes]) -> None:
        """
        Run the app on a request, and send the reply.

        :param frames: the message, without a routing id.
        :raise SystemExit: if the app has raised it.
        """
        began = self._clock()
        try:
            reply = self._run(frames)
        except (SystemExit, Leave):
            raise
        except BaseException as error:
            self._host.requestFailed(error)
            reply = errorReply(frames[1], error)
        took = self._clock() - began
        self.tookLong = took > LONG
        credit = self._credit
        if credit is not None and credit.note(took):
            # Before the reply, at which the broker sends as many requests as the credit allows.
            credit.announced = credit.earned
            self._host.creditChanged(credit.announced)
        self._host.post(reply)

    def isCancelled(self, request: bytes) -> bool:
        """
        Return whether the request that is being executed has been cancelled.

        :raise SoftTimeout: if the soft time limit passes while it looks.
        """
        self._inMessage = True
        cancelled = self._host.isCancelled(request)
        self._endMessage()
        return cancelled

    def alarm(self, number: int, frame: object) -> None:
        """
        Handle SIGALRM: the soft time limit has passed.

        :raise SoftTimeout: unless a message is being read or written, half of which would stay behind.
        """
        if self._inMessage:
            self._late = True
        else:
            raise softTimeoutError(self._softTimeout)

    def _endMessage(self) -> None:
        """Allow SoftTimeout again, and raise it if it is due."""
        self._inMessage = False
        if self._late:
            self._late = False
            raise softTimeoutError(self._softTimeout)

    def _run(self, frames: list[bytes]) -> list[bytes]:
        """Run the app on a request, and return the frames of the reply; those of parts are sent at once."""
        request, app = frames[1], self._app
        if self._softTimeout:
            self._late = False
            self._setAlarm(self._softTimeout)
        try:
            result = app.call(frames, lambda: self.isCancelled(request))
            if type(result) is GeneratorType:
                result = app.sendParts(result, partial(self._sendPart, request))
            return [request, *app.reply(result)]
        finally:
            if self._softTimeout:
                self._setAlarm(0)

    def _sendPart(self, request: bytes, frames: list[bytes]) -> bool:
        """
        Send a part of a reply.

        :return: whether the request has been cancelled.
        """
        self._inMessage = True
        self._host.post([b"", request, PARTIAL, *frames])
        cancelled = self._host.isCancelled(request)
        self._endMessage()
        return cancelled


class SerialWorker:
    """
    A worker that executes one request after the other: its socket and its runner, until it leaves.

    :param app: the app.
    :param socket: the worker's DEALER.
    :param events: told about the credit.
    :param process: the process that it runs in.
    :param softTimeout: seconds after which :class:`~pirate.errors.SoftTimeout` is raised in the app; 0 for never.
    :param prefetch: how many requests the worker may hold; ``None`` to measure it.
    """

    def __init__(
        self,
        app: App,
        socket: zmq.Socket[bytes],
        events: AppEvents,
        process: Process,
        *,
        softTimeout: float,
        prefetch: int | None,
    ) -> None:
        self._process = process
        self._receive, self._send, self._get = rawCalls(socket)
        self._socket = socket
        self._events = events
        self._softTimeout = softTimeout
        credit = Credit() if prefetch is None else None
        self._runner = SerialRunner(app, self, process, softTimeout=softTimeout, credit=credit)
        self._prefetches = prefetch not in (None, 1)
        self._waiting: deque[list[bytes]] = deque()
        self._cancelled: set[bytes] = set()
        self._busy = True
        self._leaving = False

    def serve(self) -> None:
        """
        Execute requests until the worker is told to leave.

        :raise SystemExit: if the app has raised it, or at a second TERM.
        """
        self._process.handle(signal.SIGTERM, self._terminated)
        if self._softTimeout:
            self._process.handle(signal.SIGALRM, self._runner.alarm)
        waiting, cancelled, runner = self._waiting, self._cancelled, self._runner
        try:
            while not self._leaving:
                self._busy = False
                frames = waiting.popleft() if waiting else self._next(0)
                self._busy = True
                if len(frames) > 3:
                    # Looking for a cancel takes a microsecond, which is saved between tiny jobs.
                    if (runner.tookLong or self._prefetches or cancelled) and self.isCancelled(frames[1]):
                        self.post(cancelledReply(frames[1]))
                    else:
                        runner.execute(frames)
                    cancelled.discard(frames[1])
                elif frames[1:] == [HEARTBEAT]:
                    self._socket.send_multipart([b"", HEARTBEAT])
                elif frames[1:] == [RETIRE]:
                    return
                # A cancel that is read here comes too late: its request has its reply.
        except Leave:
            self._busy = True

    # --- SerialHost

    def post(self, frames: list[bytes]) -> None:
        """Send a message to the broker."""
        send = self._send
        for frame in frames[:-1]:
            send(frame, SNDMORE)
        send(frames[-1])

    def isCancelled(self, request: bytes) -> bool:
        """Read what has arrived, keep it for later, and return whether a request has been cancelled."""
        while self._get(EVENTS) & POLLIN:
            frames = self._next(NOBLOCK)
            if len(frames) == 3 and frames[1] == CANCEL:
                # A request that has its reply already is not noted, because it would stay noted for ever.
                if frames[2] == request or any(each[1] == frames[2] for each in self._waiting):
                    self._cancelled.add(frames[2])
            else:
                self._waiting.append(frames)
        return request in self._cancelled

    def creditChanged(self, credit: int) -> None:
        """Tell the broker how many requests the worker may hold from now on."""
        self._events.creditChanged(credit)

    def requestFailed(self, error: BaseException) -> None:
        """Do nothing: the server logs errors of the app."""

    # --- what arrives

    def _next(self, flags: int) -> list[bytes]:
        """
        Return the next message.

        Asking whether there are more frames costs four times as much as reading one.  So the first frames are read
        without asking: what follows the delimiter is a word, or an id and at least two more frames.

        :param flags: 0, or ``NOBLOCK`` to have ``zmq.Again`` raised if there is no message.
        """
        receive = self._receive
        frames = [receive(flags), receive()]
        if frames[1][:1] < MIN_FIRST_BYTE:
            more = self._get(RCVMORE)
        else:
            frames.append(receive())
            more = True
        while more:
            frame = receive(0, False)
            frames.append(frame.bytes)
            more = frame.more
        return frames

    def _terminated(self, number: int, frame: object) -> None:
        """
        Leave at TERM, after the request that is being executed; at a second TERM, at once.

        The broker gives requests that have arrived, but were not begun, to another worker.
        """
        if self._leaving:
            self._process.handle(signal.SIGTERM, signal.SIG_IGN)
            sys.exit(128 + number)
        self._leaving = True
        if not self._busy:
            raise Leave


def run(
    target: Any,
    socket: zmq.Socket[bytes],
    events: AppEvents,
    process: Process,
    *,
    softTimeout: float,
    prefetch: int | None,
) -> None:
    """
    Serve until the worker is told to leave.

    :param target: the app, a callable or a class.
    :param socket: the worker's DEALER.
    :param events: told about the app, and about the credit.
    :param process: the process that it runs in.
    :param softTimeout: seconds after which :class:`~pirate.errors.SoftTimeout` is raised in the app; 0 for never.
    :param prefetch: how many requests the worker may hold; ``None`` to measure it.
    :raise SystemExit: if the app has raised it.
    """
    try:
        app = prepare(target)
    except BaseException as error:
        events.appFailed(error)
    events.appReady(app)
    try:
        SerialWorker(app, socket, events, process, softTimeout=softTimeout, prefetch=prefetch).serve()
    finally:
        app.close()
