"""Several requests at once in threads: each runs a plain function, as long as it likes."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import Any, NoReturn

import zmq

from pirate.wire.words import PARTIAL
from pirate.worker.app import App, Context, prepare
from pirate.worker.duty import ServeContext
from pirate.worker.execution import failure
from pirate.worker.inflight import InFlight, RunningRequest
from pirate.worker.sockets import TURN, DealerSocket

#: Parts of one answer that may wait to be sent, before its generator has to wait.
PARTS = 16

_Generator = type(_ for _ in ())


class Threads:
    """
    Runs an app in threads.

    They are daemons: they do not keep a process that is to end at once.

    :param app: the app.
    :param count: how many threads.
    :param wake: called, in one of them, when :meth:`finish` has something to do.
    :param post: sends frames, without a routing id, to the broker.
    :param full: whether what is posted waits for room.
    :ivar inFlight: what is being executed.
    """

    def __init__(
        self,
        app: App,
        count: int,
        wake: Callable[[], None],
        post: Callable[[list[bytes]], None],
        full: Callable[[], bool] = lambda: False,
    ) -> None:
        self._app = app
        self._wake = wake
        self._post = post
        self._full = full
        self._begun: SimpleQueue[RunningRequest | None] = SimpleQueue()
        self._said: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.inFlight = InFlight(self._begun.put, lambda job: None, post)
        self._threads = [Thread(target=self._work, name=f"app {number}", daemon=True) for number in range(count)]
        for each in self._threads:
            each.start()

    def finish(self) -> None:
        """In the main thread: send what the app has said so far, as long as there is room for it."""
        while not self._said.empty() and not self._full():
            self._said.get()()

    def leaveSoon(self) -> None:
        """From a signal's handler: leave when all that was begun is answered."""
        self._said.put(self.inFlight.leave)
        self._wake()

    def close(self) -> None:
        """End the threads, which have nothing to do."""
        for _ in self._threads:
            self._begun.put(None)
        for each in self._threads:
            each.join()

    def _work(self) -> None:
        while (job := self._begun.get()) is not None:
            try:
                answer = self._run(job)
            except SystemExit as ended:
                self._say(_raiser(ended))
                return
            except BaseException as error:
                answer = failure(job.request, error)
            self._say(self._ender(job, answer))

    def _run(self, job: RunningRequest) -> list[bytes]:
        frames, told = job.frames, job.frames[2]
        if told:
            result = self._app(frames[4:], Context(job.request, json.loads(told), job.isCancelled))
        else:
            result = self._app(frames[3:], None)
        if type(result) is _Generator:
            result = self._stream(result, job)
        return [job.request, *self._app.answer(result)]

    def _stream(self, parts: Any, job: RunningRequest) -> Any:
        """
        Send each value of a generator as a part.

        :return: what the generator returns.
        """
        room = Semaphore(PARTS)
        while True:
            try:
                part = next(parts)
            except StopIteration as end:
                return end.value
            frames = [b"", job.request, PARTIAL, *self._app.answer(part)]
            room.acquire()
            self._say(self._sender(frames, room))
            if job.cancelled:
                parts.close()
                return None

    def _say(self, call: Callable[[], None]) -> None:
        self._said.put(call)
        self._wake()

    def _ender(self, job: RunningRequest, answer: list[bytes]) -> Callable[[], None]:
        return lambda: self.inFlight.ended(job, answer)

    def _sender(self, frames: list[bytes], room: Semaphore) -> Callable[[], None]:
        def send() -> None:
            self._post(frames)
            room.release()

        return send


def _raiser(error: BaseException) -> Callable[[], None]:
    """The app ends the process: the main thread does so."""

    def end() -> NoReturn:
        raise error

    return end


def run(serving: ServeContext, threads: int) -> None:
    """
    Serve in threads.

    :param threads: how many.
    """
    try:
        app = prepare(serving.target)
    except BaseException as error:
        serving.refuse(error)
    woken, waker = os.pipe()
    for each in (woken, waker):
        os.set_blocking(each, False)
    crew = Threads(app, threads, lambda: _wake(waker), lambda frames: line.post(frames), lambda: line.full)
    line = DealerSocket(serving.socket)
    left: list[bool] = []
    crew.inFlight.left = lambda: left.append(True)
    _onTerm(crew)
    serving.ready(app)
    try:
        _serve(crew, line, serving.socket, woken, left)
        line.finish()
        crew.close()
    finally:
        app.close()
        for each in (woken, waker):
            os.close(each)


def _serve(crew: Threads, line: DealerSocket, socket: Any, woken: int, left: list[bool]) -> None:
    """Read requests and send answers, until there is nothing more to do."""
    poller = zmq.Poller()
    poller.register(woken, zmq.POLLIN)
    while not left:
        poller.register(socket, zmq.POLLIN | zmq.POLLOUT if line.full else zmq.POLLIN)
        if any(each == woken for each, _ in poller.poll()):
            os.read(woken, 1 << 16)
        line.flush()
        crew.finish()
        for frames in line.receive(TURN):
            crew.inFlight.received(frames)


def _wake(waker: int) -> None:
    # When it is full of such marks, nobody sleeps.
    with suppress(BlockingIOError):
        os.write(waker, b"x")


def _onTerm(crew: Threads) -> None:
    """TERM: leave after what is in hand; a second one: leave at once."""

    def again(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(128 + number)

    def once(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, again)
        crew.leaveSoon()

    signal.signal(signal.SIGTERM, once)
