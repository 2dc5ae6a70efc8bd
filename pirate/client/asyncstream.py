"""A reply that comes in parts, taken one by one in a loop of asyncio."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any

from pirate.client.call import Call
from pirate.client.loop import LoopDriver
from pirate.client.options import ClientOptions
from pirate.client.stream import isMore


async def ended(call: Call) -> None:
    """Wait for the end of a call."""
    if not call.finished:
        call.waiter = asyncio.get_running_loop().create_future()
        await call.waiter


def resolve(call: Call) -> None:
    """A call has ended: go on where that is waited for."""
    if call.waiter is not None and not call.waiter.done():
        call.waiter.set_result(None)


class AsyncStream:
    """
    An asynchronous iterator of the parts of a reply.

    What the app's generator returns, if it is not nothing, is the last of them; the reply of an app that is no
    generator is the only one.

    :ivar request: the id of the request.
    """

    # Until it is made.
    _over = True

    def __init__(self, driver: LoopDriver, options: ClientOptions, call: Call) -> None:
        self._driver = driver
        self._options = options
        self._call = call
        self._parts: deque[list[bytes]] = deque()
        self._loop = asyncio.get_running_loop()
        self._over = False
        self.request = call.key
        # Not a method of this: who reads the parts no more must be noticed.
        call.part = partial(_came, call, self._parts)
        call.done = resolve

    def __aiter__(self) -> AsyncStream:
        return self

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # At any moment, in any thread.
        if not self._over and not self._call.finished:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._driver.cancel, self._call)

    async def __anext__(self) -> Any:
        """
        The next part.

        :raise CallError: if the reply ends in an error.
        """
        while not self._parts and not self._call.finished and not self._over:
            try:
                await ended(self._call)
            except BaseException:
                await self.aclose()
                raise
        if self._over:
            raise StopAsyncIteration
        if self._parts:
            return self._options.part(self._parts.popleft())
        self._over = True
        value = self._options.conclude(self._call)
        if isMore(self._call):
            return value
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Take no more; the request is cancelled if it has not ended.  Twice does no harm."""
        self._over = True
        self._driver.cancel(self._call)


def _came(call: Call, parts: deque[list[bytes]], frames: list[bytes]) -> None:
    parts.append(frames)
    resolve(call)
