"""The asyncio face: coroutines, in the running loop, without a thread."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Unpack

from pirate.client import arguments
from pirate.client.asyncstream import AsyncStream, ended, resolve
from pirate.client.batch import checked
from pirate.client.call import Call
from pirate.client.errors import CallError, MisuseError
from pirate.client.given import OptionArguments, Shown
from pirate.client.loop import LoopDriver
from pirate.client.options import ClientOptions
from pirate.client.ping import PingReply, pingReply

#: Marks the end of the payloads.
_END = object()


class AsyncClient:
    """
    Calls servers in a loop of asyncio.

    ::

        async with AsyncClient("tcp://127.0.0.1:6660") as client:
            reply = await client.call(b"hello", timeout=2)

    The parameters are those of :class:`Client`.  Nothing is opened before the first call, and then in the loop that
    runs; a client belongs to that loop.

    :raise ConfigurationError: if one of them is not right.
    :ivar endpoints: where the servers are.
    """

    __signature__ = Shown()

    def __init__(
        self,
        endpoint: str | int | Iterable[str | int] = arguments.DEFAULT_ENDPOINT,
        **given: Unpack[OptionArguments],
    ) -> None:
        self._options = ClientOptions(endpoint, **given)
        self.endpoints = self._options.endpoints
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: LoopDriver | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<AsyncClient of {' or '.join(self.endpoints)}{', closed' if self._closed else ''}>"

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def call(self, *body: Any, timeout: float | None = None, service: str = "", trace: str = "") -> Any:
        """
        Send a request and wait for its reply.  The arguments are those of :meth:`Client.call`.

        To cancel the task that waits cancels the request.

        :return: the reply: the bytes of its one frame, or a list if it has several; with a codec, what it makes of it.
        :raise CallError: if there is no reply.
        :raise MisuseError: if the client is closed, or of another loop.
        """
        call = self._options.newCall(body, timeout, service, trace)
        await self._perform(call)
        return self._options.conclude(call)

    async def map(
        self,
        payloads: Iterable[Any],
        *,
        concurrency: int = 64,
        return_exceptions: bool = False,
        timeout: float | None = None,
        service: str = "",
    ) -> AsyncIterator[Any]:
        """
        Send a request for each payload, several at a time, and give the replies in the order of the payloads.

        The arguments are those of :meth:`Client.map`.
        """
        driver = self._ready()
        checked(concurrency)
        source = iter(payloads)
        calls: deque[Call] = deque()
        try:
            while True:
                while len(calls) < concurrency and (given := next(source, _END)) is not _END:
                    body = given if isinstance(given, tuple) else (given,)
                    call = self._options.newCall(body, timeout, service)
                    call.done = resolve
                    calls.append(call)
                    driver.begin(call)
                if not calls:
                    return
                await ended(calls[0])
                try:
                    found = self._options.conclude(calls.popleft())
                except CallError as error:
                    if not return_exceptions:
                        raise
                    found = error
                yield found
        finally:
            for call in calls:
                driver.cancel(call)

    def stream(self, *body: Any, timeout: float | None = None, service: str = "", trace: str = "") -> AsyncStream:
        """
        Send a request and take the parts of its reply as they come, from an app that is a generator.

        The arguments are those of :meth:`Client.call`; the time is that of the whole reply.

        :return: an asynchronous iterator of the parts.  To close it before its end, which leaving an ``async with``
            block does, cancels the request.
        :raise MisuseError: if the client is closed, or of another loop.
        """
        call = self._options.newCall(body, timeout, service, trace)
        driver = self._ready()
        stream = AsyncStream(driver, self._options, call)
        driver.begin(call)
        return stream

    async def ping(self, timeout: float | None = None) -> PingReply:
        """
        Ask a server how it is.  With several endpoints it is the one that would get the next request.

        :param timeout: how many seconds that may take.
        :raise Timeout: if nobody answers in time.
        """
        call = self._options.newPing(timeout)
        await self._perform(call)
        return pingReply(call)

    async def cancel(self, request: bytes) -> None:
        """
        Cancel a request, this client's or another's.  Whoever waits for it gets ``Cancelled``.

        :param request: its id, 16 bytes.
        :raise ConfigurationError: if it is none; in plain mode requests have none.
        """
        self._ready().cancelId(self._options.requestId(request))

    async def close(self) -> None:
        """Let go of the connections; what is under way ends with ``Cancelled``.  Twice does no harm."""
        self._closed = True
        if self._driver is not None:
            self._driver.close()

    async def _perform(self, call: Call) -> None:
        driver = self._ready()
        call.done = resolve
        driver.begin(call)
        try:
            await ended(call)
        except BaseException:
            driver.cancel(call)
            with suppress(CallError):
                self._options.conclude(call)
            raise

    def _ready(self) -> LoopDriver:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise MisuseError("this client is closed: make a new AsyncClient")
        if self._driver is None:
            self._loop = loop
            self._driver = LoopDriver(self._options, _AsyncioLoop(loop))
        if self._loop is not loop:
            raise MisuseError("this client belongs to another loop: make an AsyncClient for each")
        return self._driver


class _AsyncioLoop:
    """A loop of asyncio, as a client's pump sees it."""

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
