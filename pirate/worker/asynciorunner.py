"""Several requests at once on an asyncio loop: each is a task."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from pirate.worker.awaiting import AsyncRunner, leaveAtNextTerm
from pirate.worker.duty import ServeContext
from pirate.worker.inflight import RunningRequest
from pirate.worker.loopline import LoopSocket
from pirate.worker.sockets import DealerSocket


class AsyncioRunner(AsyncRunner):
    """
    Runs an app whose answers asyncio waits for.

    :param drained: called for a future that is done when all that was posted has been sent; ``None``: it is, always.
    :param failed: see :class:`~pirate.worker.awaiting.AsyncRunner`.
    """

    cancellation = asyncio.CancelledError

    def __init__(
        self,
        softTimeout: float,
        post: Callable[[list[bytes]], None],
        drained: Callable[[], asyncio.Future[None] | None] = lambda: None,
        failed: Callable[[BaseException], None] | None = None,
    ) -> None:
        super().__init__(softTimeout, post, failed)
        self._drained = drained

    def _start(self, job: RunningRequest) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self.perform(job))

    def _later(
        self, seconds: float, call: Callable[[RunningRequest], None], job: RunningRequest
    ) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, call, job)

    async def _breathe(self) -> None:
        drained = self._drained()
        await (asyncio.sleep(0) if drained is None else drained)


class AsyncioSocket(LoopSocket):
    """See :class:`~pirate.worker.loopline.LoopSocket`; on an asyncio loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, line: DealerSocket, received: Callable[[list[bytes]], None]
    ) -> None:
        self._loop = loop
        self._descriptor = line.descriptor
        super().__init__(line, received)
        loop.add_reader(self._descriptor, self.look)

    def close(self) -> None:
        """See :class:`~pirate.worker.loopline.LoopSocket`."""
        self._loop.remove_reader(self._descriptor)
        super().close()

    def _soon(self, call: Callable[[], None]) -> asyncio.Handle:
        return self._loop.call_soon(call)

    def _newWaiter(self) -> asyncio.Future[None]:
        return self._loop.create_future()

    def _fire(self, waiter: asyncio.Future[None]) -> None:
        # Whoever waited may have been cancelled.
        if not waiter.done():
            waiter.set_result(None)


def run(serving: ServeContext, softTimeout: float) -> None:
    """
    Serve on an asyncio loop.

    :param softTimeout: seconds after which a job is cancelled; 0: never.
    :raise SystemExit: if the app has raised it.
    """
    with asyncio.Runner() as runner:
        runner.run(_live(serving, softTimeout))


async def _live(serving: ServeContext, softTimeout: float) -> None:
    loop = asyncio.get_running_loop()
    left = loop.create_future()

    def end(error: SystemExit | None = None) -> None:
        if not left.done():
            left.set_result(None) if error is None else left.set_exception(error)

    tasks = AsyncioRunner(softTimeout, lambda frames: wire.post(frames), lambda: wire.drained())
    await tasks.takeUp(serving, end)
    loop.add_signal_handler(signal.SIGTERM, tasks.terminated)
    wire = AsyncioSocket(loop, DealerSocket(serving.socket), tasks.inFlight.received)
    try:
        await left
    finally:
        # Otherwise the loop, when it is closed, would let the next TERM kill us in the middle of our last words.
        loop.remove_signal_handler(signal.SIGTERM)
        leaveAtNextTerm()
        wire.close()
        await tasks.close()
