"""The four clients, each with the same interface for a test in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.pollreactor import PollReactor
from twisted.python.failure import Failure

from pirate.client import AsyncClient, Client, Executor, TwistedClient
from pirate.client.batch import AsyncBatch
from pirate.test.support.gate import PATIENCE


class Api:
    """
    A client of one kind.

    :ivar name: the name of the kind.
    """

    name = ""

    def start(self, *body: bytes, **options: Any) -> Future[Any]:
        """
        Begin a call.

        :return: its future; cancelling it cancels the call as this kind of client does.
        """
        raise NotImplementedError

    def call(self, *body: bytes, **options: Any) -> Any:
        """Call, and wait for the reply."""
        return self.start(*body, **options).result(PATIENCE)

    def parts(self, *body: bytes, most: int = 1000) -> list[Any]:
        """Return the parts of a reply; after so many the request is cancelled."""
        raise NotImplementedError

    def map(self, payloads: Iterable[bytes], most: int = 1000, **options: Any) -> list[Any]:
        """Return the replies of a map, which is closed after so many."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the client."""
        raise NotImplementedError


class BlockingApi(Api):
    """``Client``."""

    name = "blocking"

    def __init__(self, endpoints: Any, **options: Any) -> None:
        self._client = Client(endpoints, **options)

    def start(self, *body: bytes, **options: Any) -> Future[Any]:
        """See :class:`Api`."""
        return self._client.submit(*body, **options)

    def call(self, *body: bytes, **options: Any) -> Any:
        """See :class:`Api`."""
        return self._client.call(*body, **options)

    def parts(self, *body: bytes, most: int = 1000) -> list[Any]:
        """See :class:`Api`."""
        with self._client.stream(*body) as stream:
            return [part for _, part in zip(range(most), stream, strict=False)]

    def map(self, payloads: Iterable[bytes], most: int = 1000, **options: Any) -> list[Any]:
        """See :class:`Api`."""
        replies = self._client.map(payloads, **options)
        found = [reply for _, reply in zip(range(most), replies, strict=False)]
        replies.close()
        return found

    def close(self) -> None:
        """See :class:`Api`."""
        self._client.close()


class ExecutorApi(Api):
    """``Executor``."""

    name = "executor"

    def __init__(self, endpoints: Any, **options: Any) -> None:
        self._executor = Executor(endpoints, **options)

    def start(self, *body: bytes, **options: Any) -> Future[Any]:
        """See :class:`Api`."""
        return self._executor.submit(*body)

    def map(self, payloads: Iterable[bytes], most: int = 1000, **options: Any) -> list[Any]:
        """See :class:`Api`."""
        # An executor has neither: it submits all jobs at once, and raises their errors.
        options.pop("concurrency", None)
        replies = self._executor.map(payloads, **options)
        return [reply for _, reply in zip(range(most), replies, strict=False)]

    def close(self) -> None:
        """See :class:`Api`."""
        self._executor.shutdown(cancel_futures=True)


class AsyncApi(Api):
    """``AsyncClient``, in a loop and a thread of its own."""

    name = "asyncio"

    def __init__(self, endpoints: Any, **options: Any) -> None:
        self._client = AsyncClient(endpoints, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def start(self, *body: bytes, **options: Any) -> Future[Any]:
        """See :class:`Api`."""
        return self._run(self._client.call(*body, **options))

    def parts(self, *body: bytes, most: int = 1000) -> list[Any]:
        """See :class:`Api`."""

        async def take() -> list[Any]:
            found: list[Any] = []
            async with self._client.stream(*body) as stream:
                async for part in stream:
                    found.append(part)
                    if len(found) == most:
                        break
            return found

        return list(self._run(take()).result(PATIENCE))

    def map(self, payloads: Iterable[bytes], most: int = 1000, **options: Any) -> list[Any]:
        """See :class:`Api`."""

        async def replies() -> list[Any]:
            return await taken(self._client.map(payloads, **options), most)

        return list(self._run(replies()).result(PATIENCE))

    def close(self) -> None:
        """See :class:`Api`."""
        if not self._loop.is_closed():
            self._run(self._client.close()).result(PATIENCE)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE)
            self._loop.close()

    def _run(self, act: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(act, self._loop)


class TwistedApi(Api):
    """``TwistedClient``, in a reactor and a thread of its own."""

    name = "twisted"

    def __init__(self, endpoints: Any, **options: Any) -> None:
        self._reactor: Any = PollReactor()
        self._client = TwistedClient(self._reactor, endpoints, **options)
        self._thread = threading.Thread(target=self._reactor.run, kwargs={"installSignalHandlers": False})
        self._thread.start()

    def start(self, *body: bytes, **options: Any) -> Future[Any]:
        """See :class:`Api`."""
        return self._run(lambda: self._client.call(*body, **options))

    def parts(self, *body: bytes, most: int = 1000) -> list[Any]:
        """See :class:`Api`."""
        found: list[Any] = []
        running: list[Deferred[Any]] = []

        def part(value: Any) -> None:
            found.append(value)
            if len(found) == most:
                running[0].cancel()

        def take() -> Deferred[Any]:
            running.append(self._client.stream(part, *body))
            return running[0]

        end = self._run(take)
        if end.exception(PATIENCE) is None and end.result():
            found.append(end.result())
        return found

    def map(self, payloads: Iterable[bytes], most: int = 1000, **options: Any) -> list[Any]:
        """See :class:`Api`."""

        async def replies() -> list[Any]:
            return await taken(self._client.map(payloads, **options), most)

        return list(self._run(lambda: Deferred.fromCoroutine(replies())).result(PATIENCE))

    def close(self) -> None:
        """See :class:`Api`."""
        if self._thread.is_alive():
            self._run(self._client.close).result(PATIENCE)
            left = [each for each in self._reactor.getReaders() if "pirate" in each.logPrefix()]
            calls = self._reactor.getDelayedCalls()
            self._reactor.callFromThread(self._reactor.stop)
            self._thread.join(PATIENCE)
            assert not left and not calls, (left, calls)

    def _run(self, act: Callable[[], Deferred[Any]]) -> Future[Any]:
        future: Future[Any] = Future()

        def succeed(value: Any) -> None:
            if not future.cancelled():
                future.set_result(value)

        def fail(failure: Failure) -> None:
            if not future.cancelled():
                future.set_exception(failure.value)

        def begin() -> None:
            running = act()
            running.addCallbacks(succeed, fail)
            future.add_done_callback(lambda done: done.cancelled() and self._reactor.callFromThread(running.cancel))

        self._reactor.callFromThread(begin)
        return future


async def taken(replies: AsyncBatch[Any], most: int) -> list[Any]:
    """Return the replies of a map, which is closed after so many."""
    found: list[Any] = []
    async for reply in replies:
        found.append(reply)
        if len(found) == most:
            break
    await replies.aclose()
    return found


#: All of them.
APIS: tuple[type[Any], ...] = (BlockingApi, ExecutorApi, TwistedApi, AsyncApi)
