"""Several requests at once on an asyncio loop: each is a task."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any, NoReturn

from pirate.app import App
from pirate.awaiting import TURN, Awaiting, leaveAtNextTerm
from pirate.hand import Job
from pirate.line import Line


class Tasks(Awaiting):
    """
    Runs an app whose answers asyncio waits for.

    :param drained: called for a future that is done when all that was posted has been sent; C{None}: it is, always.
    """

    cancellation = asyncio.CancelledError

    def __init__(
        self,
        softTimeout: float,
        post: Callable[[list[bytes]], None],
        drained: Callable[[], asyncio.Future[None] | None] = lambda: None,
    ) -> None:
        super().__init__(softTimeout, post)
        self._drained = drained

    def _start(self, job: Job) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self.perform(job))

    def _later(self, seconds: float, call: Callable[[Job], None], job: Job) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, call, job)

    async def _breathe(self) -> None:
        drained = self._drained()
        await (asyncio.sleep(0) if drained is None else drained)


class TaskLine:
    """
    A worker's socket on an asyncio loop.

    :param line: the socket.
    :param received: called with each message.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, line: Line, received: Callable[[list[bytes]], None]) -> None:
        self._loop = loop
        self._line = line
        self._received = received
        self._looking = False
        self._drained: asyncio.Future[None] | None = None
        loop.add_reader(line.descriptor, self._look)
        self._lookSoon()

    def post(self, frames: list[bytes]) -> None:
        """Send a message, as soon as there is room."""
        self._line.post(frames)
        # Sending may have taken the sign that something has come.
        self._lookSoon()

    def drained(self) -> asyncio.Future[None] | None:
        """What is done when all that was posted has been sent; C{None} if it has been."""
        if not self._line.full:
            return None
        if self._drained is None:
            self._drained = self._loop.create_future()
        return asyncio.shield(self._drained)

    def close(self) -> None:
        """Send what is left, and look no more."""
        self._loop.remove_reader(self._line.descriptor)
        self._looking = True
        self._line.finish()

    def _lookSoon(self) -> None:
        if not self._looking:
            self._looking = True
            self._loop.call_soon(self._lookAgain)

    def _lookAgain(self) -> None:
        self._looking = False
        self._look()

    def _look(self) -> None:
        count = 0
        for count, frames in enumerate(self._line.receive(TURN), 1):  # noqa: B007
            self._received(frames)
        if self._line.flush() and self._drained is not None:
            self._drained.set_result(None)
            self._drained = None
        if count == TURN:
            self._lookSoon()


def run(
    target: Any,
    socket: Any,
    ready: Callable[[App], None],
    refuse: Callable[[BaseException], NoReturn],
    softTimeout: float,
) -> None:
    """
    Serve with an app on an asyncio loop, until the worker is to leave.

    :param target: the app, a callable or a class.
    :param socket: the worker's DEALER.
    :param ready: called with the app once it is ready: the broker is to be told.
    :param refuse: called with the error if it cannot be made ready: this process is to end.
    :param softTimeout: seconds after which a job is cancelled; 0: never.
    """
    with asyncio.Runner() as runner:
        runner.run(_live(target, Line(socket), softTimeout, ready, refuse))


async def _live(
    target: Any,
    line: Line,
    softTimeout: float,
    ready: Callable[[App], None],
    refuse: Callable[[BaseException], NoReturn],
) -> None:
    loop = asyncio.get_running_loop()
    tasks = Tasks(softTimeout, lambda frames: wire.post(frames), lambda: wire.drained())
    try:
        app = await tasks.prepare(target)
    except BaseException as error:
        refuse(error)
    left = loop.create_future()
    tasks.hand.left = lambda: None if left.done() else left.set_result(None)
    tasks.exits = lambda error: None if left.done() else left.set_exception(error)
    ready(app)
    loop.add_signal_handler(signal.SIGTERM, tasks.terminated)
    wire = TaskLine(loop, line, tasks.hand.received)
    try:
        await left
        wire.close()
    finally:
        # Otherwise the loop, when it is closed, would let the next TERM kill us in the middle of our last words.
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda number, frame: leaveAtNextTerm())
        await tasks.close()
