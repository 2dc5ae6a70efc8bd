"""The asyncio client: coroutines in the running loop, without a thread."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Generic, Literal, Unpack, overload

from pirate.client.arrivals import Arrivals
from pirate.client.batch import AsyncBatch, Window
from pirate.client.call import Call
from pirate.client.codecs import Codec, CodecName, Reply
from pirate.client.endpoints import Outage
from pirate.client.errors import CallError, MisuseError
from pirate.client.loop import LoopDriver
from pirate.client.options import (
    ATTEMPTS,
    DEFAULT_ENDPOINT,
    TIMEOUT,
    ClientOptions,
    Curve,
    EndpointArgument,
    OptionArguments,
)
from pirate.client.ping import PingReply, pingReply
from pirate.client.stream import AsyncStream


class AsyncClient(Generic[Reply]):
    """
    A client for an event loop of asyncio.

    ::

        async with AsyncClient("tcp://127.0.0.1:6660") as client:
            reply = await client.call(b"hello", timeout=2)

    The parameters are those of :class:`Client`.  Nothing is opened before the first call; the client then belongs to
    the loop that runs.

    :raise ConfigurationError: if an argument is invalid.
    :ivar endpoints: all endpoints.
    """

    @overload
    def __init__(
        self: AsyncClient[bytes],
        endpoint: EndpointArgument = ...,
        *,
        codec: Literal["bytes"] = ...,
        **options: Unpack[OptionArguments],
    ) -> None: ...

    @overload
    def __init__(
        self: AsyncClient[list[bytes]],
        endpoint: EndpointArgument = ...,
        *,
        codec: Literal["frames"],
        **options: Unpack[OptionArguments],
    ) -> None: ...

    @overload
    def __init__(
        self: AsyncClient[Any],
        endpoint: EndpointArgument = ...,
        *,
        codec: Literal["json", "msgpack"],
        **options: Unpack[OptionArguments],
    ) -> None: ...

    @overload
    def __init__(
        self: AsyncClient[Reply],
        endpoint: EndpointArgument = ...,
        *,
        codec: Codec[Reply],
        **options: Unpack[OptionArguments],
    ) -> None: ...

    def __init__(
        self,
        endpoint: EndpointArgument = DEFAULT_ENDPOINT,
        *,
        timeout: float = TIMEOUT,
        attempts: int = ATTEMPTS,
        identity: bytes | None = None,
        plain: bool = False,
        curve: Curve | None = None,
        codec: CodecName | Codec[Any] = "bytes",
        before: Callable[[Call], str | None] | None = None,
        after: Callable[[Call], object] | None = None,
        outage: Callable[[Outage], object] | None = None,
    ) -> None:
        self._options: ClientOptions[Reply] = ClientOptions(
            endpoint,
            codec,
            timeout=timeout,
            attempts=attempts,
            identity=identity,
            plain=plain,
            curve=curve,
            before=before,
            after=after,
            outage=outage,
        )
        self.endpoints = self._options.endpoints
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: LoopDriver | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<AsyncClient of {' or '.join(self.endpoints)}{', closed' if self._closed else ''}>"

    async def __aenter__(self) -> AsyncClient[Reply]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def call(self, *body: Any, timeout: float | None = None, service: str = "", trace: str = "") -> Reply:
        """
        Send a request and wait for its reply.  The arguments are those of :meth:`Client.call`.

        Cancelling the task that waits cancels the request.

        :return: the reply, decoded: with the default codec the bytes of its one frame.
        :raise CallError: if there is no reply.
        :raise ValueError: if the codec cannot decode the reply.
        :raise MisuseError: if the client is closed, or belongs to another loop.
        """
        options = self._options
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        call = options.newCall(body, partial(_resume, ended), timeout, service, trace)
        driver = self._driver
        if driver is None or self._loop is not loop or self._closed:
            driver = self._openDriver()
        driver.begin(call)
        try:
            await ended
        except BaseException:
            self._abandon(driver, call)
            raise
        return options.conclude(call)

    @overload
    def map(
        self,
        payloads: Iterable[Any],
        *,
        concurrency: int = ...,
        ordered: bool = ...,
        return_exceptions: Literal[False] = ...,
        progress: Callable[[int, int | None], object] | None = ...,
        timeout: float | None = ...,
        service: str = ...,
    ) -> AsyncBatch[Reply]: ...

    @overload
    def map(
        self,
        payloads: Iterable[Any],
        *,
        concurrency: int = ...,
        ordered: bool = ...,
        return_exceptions: bool,
        progress: Callable[[int, int | None], object] | None = ...,
        timeout: float | None = ...,
        service: str = ...,
    ) -> AsyncBatch[Reply | CallError]: ...

    def map(
        self,
        payloads: Iterable[Any],
        *,
        concurrency: int = 64,
        ordered: bool = True,
        return_exceptions: bool = False,
        progress: Callable[[int, int | None], object] | None = None,
        timeout: float | None = None,
        service: str = "",
    ) -> AsyncBatch[Any]:
        """
        Send a request for each payload, several at a time, and return an asynchronous iterator of the replies.

        The arguments are those of :meth:`Client.map`; ``progress`` is called in the loop.  Closing the iterator with
        ``aclose()``, or leaving it to the garbage collector, cancels the requests in flight.

        :raise MisuseError: if the client is closed, or belongs to another loop.
        """
        driver = self._openDriver()
        arguments = (concurrency, ordered, return_exceptions, progress, timeout, service)
        return AsyncBatch(driver, Window(self._options, payloads, *arguments))

    def stream(
        self, *body: Any, timeout: float | None = None, service: str = "", trace: str = ""
    ) -> AsyncStream[Reply]:
        """
        Send a request to an app that is a generator, and take the parts of its reply as they arrive.

        The arguments are those of :meth:`Client.call`; the timeout covers the whole reply.

        :return: an asynchronous iterator of the parts.  Closing it before its end, which leaving an ``async with``
            block does, cancels the request.
        :raise MisuseError: if the client is closed, or belongs to another loop.
        """
        parts = Arrivals()
        call = self._options.newCall(body, parts.end, timeout, service, trace, parts.add)
        driver = self._openDriver()
        stream = AsyncStream(driver, self._options, call, parts)
        driver.begin(call)
        return stream

    async def ping(self, timeout: float | None = None) -> PingReply:
        """
        Ask a server for its state.  With several endpoints this is the one that would receive the next request.

        :param timeout: the seconds that this may take.
        :raise Timeout: if no server answers in time.
        """
        ended = asyncio.get_running_loop().create_future()
        call = self._options.newPing(partial(_resume, ended), timeout)
        await self._perform(call, ended)
        return pingReply(call)

    async def cancel(self, request: bytes) -> None:
        """
        Cancel a request of this client or another.  Its caller gets ``Cancelled``.

        :param request: its id, 16 bytes.
        :raise ConfigurationError: if the id is invalid, or the client is plain.
        """
        self._openDriver().cancelId(self._options.requestId(request))

    async def close(self) -> None:
        """Close the connections; calls in flight end with ``Cancelled``.  A second call does nothing."""
        self._closed = True
        if self._driver is not None:
            self._driver.close()

    async def _perform(self, call: Call, ended: asyncio.Future[None]) -> None:
        driver = self._openDriver()
        driver.begin(call)
        try:
            await ended
        except BaseException:
            self._abandon(driver, call)
            raise

    def _abandon(self, driver: LoopDriver, call: Call) -> None:
        """Cancel a call whose task no longer waits for it."""
        driver.cancel(call)
        with suppress(CallError):
            self._options.runAfter(call)

    def _openDriver(self) -> LoopDriver:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise MisuseError("this client is closed: make a new AsyncClient")
        if self._driver is None:
            self._loop = loop
            self._driver = LoopDriver(self._options, _AsyncioLoop(loop))
        if self._loop is not loop:
            raise MisuseError("this client belongs to another event loop: make an AsyncClient for each")
        return self._driver


def _resume(ended: asyncio.Future[None], call: Call) -> None:
    """Wake the coroutine that waits for a call, unless it was cancelled."""
    if not ended.done():
        ended.set_result(None)


class _FutureWaiter:
    """A future as a :class:`~pirate.client.loop.LoopWaiter`."""

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future = future

    def release(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    def __await__(self) -> Generator[Any, Any, object]:
        return self._future.__await__()


class _AsyncioLoop:
    """An event loop of asyncio as a :class:`~pirate.client.loop.ClientLoop`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lookups: set[asyncio.Task[None]] = set()

    def watch(self, descriptor: int, act: Callable[[], object]) -> None:
        self._loop.add_reader(descriptor, act)

    def unwatch(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)

    def later(self, seconds: float, act: Callable[[], object]) -> Callable[[], object]:
        handle = self._loop.call_later(seconds, act) if seconds else self._loop.call_soon(act)
        return handle.cancel

    def fromThread(self, act: Callable[[Any], object], argument: Any) -> None:
        # A loop that is closed has no calls to cancel.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(act, argument)

    def lookUp(self, host: str, port: int, found: Callable[[list[tuple[object, ...]]], None]) -> None:
        async def look() -> None:
            try:
                several: list[tuple[object, ...]] = list(
                    await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                )
            except OSError:
                several = []
            found(several)

        task = self._loop.create_task(look())
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    def newWaiter(self) -> _FutureWaiter:
        return _FutureWaiter(self._loop.create_future())
