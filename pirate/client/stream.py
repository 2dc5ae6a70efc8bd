"""Streams: the parts of a reply, one by one as they arrive."""

from __future__ import annotations

from typing import Generic

from pirate.client.arrivals import Arrivals
from pirate.client.call import Call
from pirate.client.codecs import Reply
from pirate.client.loop import LoopDriver
from pirate.client.options import ClientOptions
from pirate.client.threaddriver import ThreadDriver


def hasLastPart(call: Call) -> bool:
    """Return whether the end of a streamed reply carries a last part; one empty frame only marks the end."""
    return call.reply is not None and not (len(call.reply.body) == 1 and not call.reply.body[0])


class Stream(Generic[Reply]):
    """
    An iterator of the parts of a reply.

    The last part is what the app's generator returns, unless that is empty.  The reply of an app that is not a
    generator is the only part.  A stream that is no longer used cancels its request.

    :ivar request: the id of the request.
    """

    def __init__(self, driver: ThreadDriver, options: ClientOptions[Reply], call: Call, parts: Arrivals) -> None:
        self._driver = driver
        self._options = options
        self._call = call
        self._parts = parts
        self._closed = False
        self.request = call.request

    def __iter__(self) -> Stream[Reply]:
        return self

    def __enter__(self) -> Stream[Reply]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Garbage collection runs at any moment, in any thread: only leave a message.
        if not self._closed:
            self._driver.postFromFinalizer(self._driver.session.cancel, self._call)

    def __next__(self) -> Reply:
        """
        Return the next part.

        :raise CallError: if the reply ends in an error.
        """
        if self._closed:
            raise StopIteration
        try:
            self._driver.until(self._parts)
        except BaseException:
            self.close()
            raise
        if self._parts.items:
            return self._options.codec.decode(self._parts.items.popleft())
        self._closed = True
        if hasLastPart(self._call):
            return self._options.conclude(self._call)
        self._options.runAfter(self._call)
        raise StopIteration

    def close(self) -> None:
        """End the iteration, and cancel the request if it has not ended.  A second call does nothing."""
        if not self._closed:
            self._closed = True
            if not self._call.finished:
                self._driver.post(self._driver.session.cancel, self._call)


class AsyncStream(Generic[Reply]):
    """
    An asynchronous iterator of the parts of a reply; see :class:`Stream`.

    :ivar request: the id of the request.
    """

    def __init__(self, driver: LoopDriver, options: ClientOptions[Reply], call: Call, parts: Arrivals) -> None:
        self._driver = driver
        self._options = options
        self._call = call
        self._parts = parts
        self._closed = False
        self.request = call.request

    def __aiter__(self) -> AsyncStream[Reply]:
        return self

    async def __aenter__(self) -> AsyncStream[Reply]:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # Garbage collection runs at any moment, in any thread: only leave a message.
        if not self._closed and not self._call.finished:
            self._driver.loop.fromThread(self._driver.cancel, self._call)

    async def __anext__(self) -> Reply:
        """
        Return the next part.

        :raise CallError: if the reply ends in an error.
        """
        parts = self._parts
        while not parts.finished and not self._closed:
            parts.waiter = waiter = self._driver.loop.newWaiter()
            try:
                await waiter
            except BaseException:
                await self.aclose()
                raise
        if self._closed:
            raise StopAsyncIteration
        if parts.items:
            return self._options.codec.decode(parts.items.popleft())
        self._closed = True
        if hasLastPart(self._call):
            return self._options.conclude(self._call)
        self._options.runAfter(self._call)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the iteration, and cancel the request if it has not ended.  A second call does nothing."""
        self._closed = True
        self._driver.cancel(self._call)
