"""One request after the other, by an app that has the main thread for itself."""

from __future__ import annotations

import _thread
import signal
import sys
from collections import deque
from functools import partial
from types import GeneratorType
from typing import TYPE_CHECKING, Any

import zmq

from pirate.wire.backend import pack, unpack
from pirate.wire.words import CANCEL, HEARTBEAT, MAX_PACKED, MIN_FIRST_BYTE, PACK, PACKED_SIZE, PARTIAL, RETIRE
from pirate.worker.app import App, cancelledReply, errorReply, prepare, softTimeoutError
from pirate.worker.credit import Credit
from pirate.worker.rawsocket import EVENTS, NOBLOCK, POLLIN, RCVMORE, SNDMORE, rawCalls

if TYPE_CHECKING:
    from pirate.worker.environment import Watchdog, WorkerEnvironment
    from pirate.worker.interfaces import AppEvents, SerialHost

#: After a request that took this many seconds, look for cancels before starting the next.
LONG = 0.001
#: A reply is sent at once after a request that took this many seconds, and together with those before it when the first
#: of them has been held for as long as this.
BUSY, HELD = 0.0001, 0.0002


class Leave(BaseException):
    """Raised by TERM in a worker that waits for a request, so that it leaves."""


class SerialRunner:
    """
    A runner of an app that is not async.

    :param app: the app.
    :param host: the worker around this.
    :param environment: the environment of the process.
    :param softTimeout: seconds after which :class:`~pirate.errors.SoftTimeout` is raised in the app; 0 for never.
        :meth:`alarm` must be the handler of SIGALRM then.
    :param credit: measures how many requests the worker may hold; ``None`` if their number is fixed.
    :ivar took: how many seconds the last request took.
    :ivar ended: when it ended, on the process's clock.
    """

    def __init__(
        self,
        app: App,
        host: SerialHost,
        environment: WorkerEnvironment,
        *,
        softTimeout: float = 0.0,
        credit: Credit | None = None,
    ) -> None:
        self._app = app
        self._host = host
        self._clock = environment.clock
        self._setAlarm = environment.setAlarm
        self._softTimeout = softTimeout
        self._credit = credit
        self._inMessage = False
        self._late = False
        self.took = self.ended = 0.0

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
        self.ended = ended = self._clock()
        self.took = took = ended - began
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

    If the broker packs requests, the worker packs small replies.  It holds a reply while it has more requests to
    execute, until the first has been held for :data:`HELD` seconds, or until there is another message to send.  So the
    reply to a request that is its worker's only one, such as one with a single attempt, is sent at once.  If the next
    job takes long, a watchdog sends the replies that are held, so no reply waits for another job to end.

    A worker that dies loses the replies that it holds.  Their requests were in flight until then, so the broker knows
    that several were, charges none of them with the death, and tries each of them alone.

    The main thread owns the socket's lock, except while it executes a job with replies held.  Only then may the
    watchdog use the socket.

    :param app: the app.
    :param socket: the worker's DEALER.
    :param events: told about the credit.
    :param environment: the environment of the process.
    :param softTimeout: seconds after which :class:`~pirate.errors.SoftTimeout` is raised in the app; 0 for never.
    :param prefetch: how many requests the worker may hold; ``None`` to measure it.
    :param packs: whether the broker reads packed replies.
    """

    def __init__(
        self,
        app: App,
        socket: zmq.Socket[bytes],
        events: AppEvents,
        environment: WorkerEnvironment,
        *,
        softTimeout: float,
        prefetch: int | None,
        packs: bool = False,
    ) -> None:
        self._environment = environment
        self._receive, self._send, self._get = rawCalls(socket)
        self._socket = socket
        self._events = events
        self._softTimeout = softTimeout
        self._runDelay = environment.runDelay() if prefetch is None else None
        credit = None if self._runDelay is None else Credit(self._delayed)
        self._runner = SerialRunner(app, self, environment, softTimeout=softTimeout, credit=credit)
        self._prefetches = prefetch not in (None, 1)
        self._waiting: deque[list[bytes]] = deque()
        self._cancelled: set[bytes] = set()
        self._busy = True
        self._leaving = False
        self._packs = packs
        #: The ids and the bodies of the replies that are held, and since when.
        self._ids: list[bytes] = []
        self._bodies: list[bytes] = []
        self._heldSince = 0.0
        self._lock = _thread.allocate_lock()
        self._lent = False
        self._sending = False
        self._armed = False
        self._watchdog: Watchdog | None = None
        #: The seconds for which the watchdog has kept the interpreter.
        self._interrupted = 0.0

    def serve(self) -> None:
        """
        Execute requests until the worker is told to leave.

        :raise SystemExit: if the app has raised it, or at a second TERM.
        """
        self._environment.handle(signal.SIGTERM, self._terminated)
        if self._softTimeout:
            self._environment.handle(signal.SIGALRM, self._runner.alarm)
        waiting, cancelled, runner, held = self._waiting, self._cancelled, self._runner, self._ids
        self._lock.acquire()
        try:
            while not self._leaving:
                frames = waiting.popleft() if waiting else self._await()
                if len(frames) > 3:
                    # Looking for a cancel takes a microsecond, which is saved between tiny jobs.
                    if (runner.took > LONG or self._prefetches or cancelled) and self.isCancelled(frames[1]):
                        self.post(cancelledReply(frames[1]))
                    else:
                        if held:
                            self._lend()
                        runner.execute(frames)
                        if held and (runner.took > BUSY or runner.ended - self._heldSince > HELD):
                            self._flush()
                    cancelled.discard(frames[1])
                elif frames[1] == PACK:
                    self._unpack(frames)
                elif frames[1:] == [HEARTBEAT]:
                    self._flush()
                    self._socket.send_multipart([b"", HEARTBEAT])
                elif frames[1:] == [RETIRE]:
                    return
                # A cancel that is read here comes too late: its request has its reply.
        except Leave:
            self._busy = True
        finally:
            # Not by ``_lent`` alone: a second TERM may have come before that was set.
            if self._lent or not self._lock.locked():
                self._lock.acquire()
                self._lent = False
            if not self._sending:
                self._flush()
            if self._watchdog is not None:
                self._watchdog.disarm()
            self._lock.release()

    # --- SerialHost

    def post(self, frames: list[bytes]) -> None:
        """Send a message to the broker, or hold it if it is a small reply."""
        if self._lent:
            self._reclaim()
        if self._packs and len(frames) == 2 and type(frames[1]) is bytes and len(frames[1]) <= PACKED_SIZE:
            if not self._ids:
                if not self._waiting:
                    # It would be sent alone, and at once.
                    self._send(frames[0], SNDMORE)
                    self._send(frames[1])
                    return
                self._heldSince = self._runner.ended
            self._ids.append(frames[0])
            self._bodies.append(frames[1])
            if len(self._ids) == MAX_PACKED:
                self._flush()
            return
        self._flush()
        send = self._send
        for frame in frames[:-1]:
            send(frame, SNDMORE)
        send(frames[-1])

    def isCancelled(self, request: bytes) -> bool:
        """Read what has arrived, keep it for later, and return whether a request has been cancelled."""
        if self._lent:
            # Called by a job: what was held is sent now, as nothing watches over it any more.
            self._reclaim()
            self._flush()
        while self._get(EVENTS) & POLLIN:
            frames = self._next(NOBLOCK)
            if len(frames) == 3 and frames[1] == CANCEL:
                # A request that has its reply already is not noted, because it would stay noted for ever.
                if frames[2] == request or any(each[1] == frames[2] for each in self._waiting):
                    self._cancelled.add(frames[2])
            elif frames[1] == PACK:
                self._unpack(frames)
            else:
                self._waiting.append(frames)
        return request in self._cancelled

    def creditChanged(self, credit: int) -> None:
        """Tell the broker how many requests the worker may hold from now on."""
        self._reclaim()
        self._flush()
        self._events.creditChanged(credit)

    def requestFailed(self, error: BaseException) -> None:
        """Do nothing: the server logs errors of the app."""

    # --- replies that are held

    def _flush(self) -> None:
        """Send the replies that are held, in one message.  Only the owner of the lock may call this."""
        ids, bodies = self._ids, self._bodies
        if not ids:
            return
        # A second TERM may end the process in the middle of a message, after which none must be begun.
        self._sending = True
        if len(ids) == 1:
            self._send(ids[0], SNDMORE)
            self._send(bodies[0])
        else:
            self._send(PACK, SNDMORE)
            self._send(pack(ids, bodies))
        self._sending = False
        ids.clear()
        bodies.clear()
        self._armed = False

    def _lend(self) -> None:
        """Let the watchdog send what is held, as long as a job is executed."""
        if not self._armed:
            if self._watchdog is None and not self._watch():
                return
            self._armed = True
            self._watchdog.arm()  # type: ignore[union-attr]
        self._lock.release()
        self._lent = True

    def _reclaim(self) -> None:
        """Take the lock back from the watchdog, if it has been lent."""
        if self._lent:
            self._lock.acquire()
            self._lent = False

    def _watch(self) -> bool:
        """
        Send what is held, and start the watchdog.

        :return: whether there is one; without one no reply is held from now on.
        """
        self._flush()
        self._watchdog = self._environment.watchdog(self._sendHeld)
        self._packs = self._watchdog is not None
        return False

    def _sendHeld(self) -> None:
        """Send what is held: the watchdog's call, in its own thread."""
        began = self._environment.clock()
        if self._lock.acquire(False):
            self._flush()
            self._lock.release()
        else:
            # The main thread is between two jobs: it arms the watchdog again before the next.
            self._armed = False
        self._interrupted += self._environment.clock() - began

    def _delayed(self) -> float:
        """Return for how many seconds the main thread had no processor, or no interpreter, for the last jobs."""
        interrupted, self._interrupted = self._interrupted, 0.0
        assert self._runDelay is not None
        return self._runDelay.elapsed() + interrupted

    # --- what arrives

    def _await(self) -> list[bytes]:
        """Send what is held, as all that has been read is done, and wait for the next message."""
        if self._ids:
            self._flush()
        self._busy = False
        frames = self._next(0)
        self._busy = True
        if self._runDelay is not None:
            # A job is measured from here on, and not from when the thread should have woken.
            self._runDelay.mark()
            self._interrupted = 0.0
        return frames

    def _unpack(self, frames: list[bytes]) -> None:
        """Have the requests in a packed message wait."""
        columns = unpack(frames[-1])
        if columns is not None:
            self._waiting.extend([b"", each, b"", body] for each, body in zip(*columns, strict=True))

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
            self._environment.handle(signal.SIGTERM, signal.SIG_IGN)
            sys.exit(128 + number)
        self._leaving = True
        if not self._busy:
            raise Leave


def run(
    target: Any,
    socket: zmq.Socket[bytes],
    events: AppEvents,
    environment: WorkerEnvironment,
    *,
    softTimeout: float,
    prefetch: int | None,
    packs: bool = False,
) -> None:
    """
    Serve until the worker is told to leave.

    :param target: the app, a callable or a class.
    :param socket: the worker's DEALER.
    :param events: told about the app, and about the credit.
    :param environment: the environment of the process.
    :param softTimeout: seconds after which :class:`~pirate.errors.SoftTimeout` is raised in the app; 0 for never.
    :param prefetch: how many requests the worker may hold; ``None`` to measure it.
    :param packs: whether the broker reads packed replies.
    :raise SystemExit: if the app has raised it.
    """
    try:
        app = prepare(target)
    except BaseException as error:
        events.appFailed(error)
    # A worker that never holds two requests has nothing to pack.
    packs = packs and prefetch != 1
    events.appReady(app, packs)
    try:
        worker = SerialWorker(app, socket, events, environment, softTimeout=softTimeout, prefetch=prefetch, packs=packs)
        worker.serve()
    finally:
        app.close()
