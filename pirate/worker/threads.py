"""Several requests at once in threads: each runs a plain function, as long as it likes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Semaphore, Thread
from types import GeneratorType
from typing import TYPE_CHECKING, Any

import zmq

from pirate.wire.words import PARTIAL
from pirate.worker.app import App, errorReply, prepare
from pirate.worker.inflight import InFlight, RunningRequest
from pirate.worker.sockets import MAX_MESSAGES, DealerSocket

if TYPE_CHECKING:
    from pirate.worker.environment import WorkerEnvironment
    from pirate.worker.interfaces import AppEvents, ThreadHost

#: Parts of one reply that may wait to be sent before its generator has to wait.
PARTS = 16


class ThreadRunner:
    """
    A runner of an app in threads.

    The threads are daemons, so they do not keep alive a process that has to end at once.

    :param app: the app.
    :param count: how many threads.
    :param host: the main thread around this.
    :ivar inFlight: the requests that are being executed.
    """

    def __init__(self, app: App, count: int, host: ThreadHost) -> None:
        self._app = app
        self._host = host
        self._begun: SimpleQueue[RunningRequest | None] = SimpleQueue()
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.inFlight = InFlight(self)
        self._threads = [Thread(target=self._work, name=f"app {number}", daemon=True) for number in range(count)]
        for each in self._threads:
            each.start()

    def runCalls(self) -> None:
        """
        Run what the threads have left to the main thread, as long as there is room for the messages that it sends.

        Only the main thread may call this.

        :raise SystemExit: if the app has raised it.
        """
        while not self._calls.empty() and not self._host.isFull():
            self._calls.get()()

    def leaveSoon(self) -> None:
        """Leave when no request is in flight.  A signal handler may call this."""
        self._callInMainThread(self.inFlight.leave)

    def close(self) -> None:
        """End the threads, which have nothing to do."""
        for _ in self._threads:
            self._begun.put(None)
        for each in self._threads:
            each.join()

    # --- InFlightHost

    def begin(self, request: RunningRequest) -> None:
        """Give a request to the next free thread."""
        self._begun.put(request)

    def interrupt(self, request: RunningRequest) -> None:
        """Do nothing: a thread cannot be interrupted, but may look at its context."""

    def post(self, frames: list[bytes]) -> None:
        """Send a message to the broker."""
        self._host.post(frames)

    def finished(self) -> None:
        """Tell the host that no request is in flight, and none will be."""
        self._host.finished()

    # --- what a thread does

    def _work(self) -> None:
        while (request := self._begun.get()) is not None:
            try:
                reply = self._run(request)
            except SystemExit as error:
                self._callInMainThread(_raiser(error))
                return
            except BaseException as error:
                reply = errorReply(request.id, error)
            self._callInMainThread(partial(self.inFlight.ended, request, reply))

    def _run(self, request: RunningRequest) -> list[bytes]:
        """Run the app on a request, and return the frames of the reply."""
        result = self._app.call(request.frames, request.isCancelled)
        if type(result) is GeneratorType:
            result = self._app.sendParts(result, partial(self._sendPart, request, Semaphore(PARTS)))
        return [request.id, *self._app.reply(result)]

    def _sendPart(self, request: RunningRequest, room: Semaphore, frames: list[bytes]) -> bool:
        """
        Send a part of a reply, as soon as few enough of them wait to be sent.

        :return: whether the request has been cancelled.
        """
        room.acquire()
        self._callInMainThread(partial(self._postPart, [b"", request.id, PARTIAL, *frames], room))
        return request.cancelled

    def _callInMainThread(self, call: Callable[[], None]) -> None:
        self._calls.put(call)
        self._host.wake()

    def _postPart(self, frames: list[bytes], room: Semaphore) -> None:
        self._host.post(frames)
        room.release()


def _raiser(error: BaseException) -> Callable[[], None]:
    """Return a function that raises an error, for the main thread."""

    def end() -> None:
        raise error

    return end


class ThreadWorker:
    """
    A worker with an app in threads: its socket and its runner, until it leaves.

    The pipe that wakes the main thread stays open until the process ends: after ``SystemExit`` other threads still run
    the app, and the handler of TERM stays installed; both write to it.

    :param app: the app.
    :param socket: the worker's DEALER.
    :param environment: the environment of the process.
    :param threads: how many threads.
    """

    def __init__(self, app: App, socket: zmq.Socket[bytes], environment: WorkerEnvironment, threads: int) -> None:
        self._environment = environment
        self._zmqSocket = socket
        self._socket = DealerSocket(socket)
        self._woken, self._waker = os.pipe()
        for each in (self._woken, self._waker):
            os.set_blocking(each, False)
        self._runner = ThreadRunner(app, threads, self)
        self._left = False

    def handleTerm(self) -> None:
        """Leave at TERM, when no request is in flight; at a second TERM, at once."""
        self._environment.handle(signal.SIGTERM, self._terminated)

    def serve(self) -> None:
        """
        Read requests and send replies until the worker is told to leave.

        :raise SystemExit: if the app has raised it.
        """
        socket, runner = self._socket, self._runner
        poller = zmq.Poller()
        poller.register(self._woken, zmq.POLLIN)
        while not self._left:
            poller.register(self._zmqSocket, zmq.POLLIN | zmq.POLLOUT if socket.full else zmq.POLLIN)
            if any(each == self._woken for each, _ in poller.poll()):
                os.read(self._woken, 1 << 16)
            socket.flush()
            runner.runCalls()
            for frames in socket.receive(MAX_MESSAGES):
                runner.inFlight.received(frames)
        socket.finish()
        runner.close()

    # --- ThreadHost

    def post(self, frames: list[bytes]) -> None:
        """Send a message to the broker, as soon as there is room."""
        self._socket.post(frames)

    def isFull(self) -> bool:
        """Return whether messages wait for room."""
        return self._socket.full

    def wake(self) -> None:
        """Have the main thread send what the threads have produced."""
        # When the pipe is full, the main thread is being woken already.
        with suppress(BlockingIOError):
            os.write(self._waker, b"x")

    def finished(self) -> None:
        """Leave."""
        self._left = True

    def _terminated(self, number: int, frame: object) -> None:
        self._environment.exitAtNextTerm()
        self._runner.leaveSoon()


def run(
    target: Any, socket: zmq.Socket[bytes], events: AppEvents, environment: WorkerEnvironment, *, threads: int
) -> None:
    """
    Serve in threads until the worker is told to leave.

    :param target: the app, a callable or a class.
    :param socket: the worker's DEALER.
    :param events: told about the app.
    :param environment: the environment of the process.
    :param threads: how many threads.
    :raise SystemExit: if the app has raised it.
    """
    try:
        app = prepare(target)
    except BaseException as error:
        events.appFailed(error)
    worker = ThreadWorker(app, socket, environment, threads)
    worker.handleTerm()
    events.appReady(app)
    try:
        worker.serve()
    finally:
        app.close()
