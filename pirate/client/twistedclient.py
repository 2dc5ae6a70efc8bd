"""The Twisted client: Deferreds on any reactor, without a thread."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import Any, Generic, Literal, TypeVar, Unpack, overload

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorTime,
    IReadDescriptor,
    IResolutionReceiver,
)
from twisted.python.failure import Failure
from zope.interface import implementer

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

Result = TypeVar("Result")


class IClientReactor(IReactorFDSet, IReactorTime, IReactorPluggableNameResolver, IReactorFromThreads):
    """The interfaces of a reactor that a client uses."""


class TwistedClient(Generic[Reply]):
    """
    A client for a Twisted reactor.

    All parameters but the first are those of :class:`Client`.  Nothing is opened before the first call.

    :param reactor: the reactor.  It must offer file descriptors, timers, name look-ups and calls from threads, as all
        of Twisted's own do.
    :raise ConfigurationError: if another argument is invalid.
    :ivar endpoints: all endpoints.
    """

    @overload
    def __init__(
        self: TwistedClient[bytes],
        reactor: Any,
        endpoint: EndpointArgument = ...,
        *,
        codec: Literal["bytes"] = ...,
        **options: Unpack[OptionArguments],
    ) -> None: ...

    @overload
    def __init__(
        self: TwistedClient[list[bytes]],
        reactor: Any,
        endpoint: EndpointArgument = ...,
        *,
        codec: Literal["frames"],
        **options: Unpack[OptionArguments],
    ) -> None: ...

    @overload
    def __init__(
        self: TwistedClient[Any],
        reactor: Any,
        endpoint: EndpointArgument = ...,
        *,
        codec: Literal["json", "msgpack"],
        **options: Unpack[OptionArguments],
    ) -> None: ...

    @overload
    def __init__(
        self: TwistedClient[Reply],
        reactor: Any,
        endpoint: EndpointArgument = ...,
        *,
        codec: Codec[Reply],
        **options: Unpack[OptionArguments],
    ) -> None: ...

    def __init__(
        self,
        reactor: Any,
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
        # mypy takes twisted.internet.reactor for a module, so the parameter cannot have the type IClientReactor.
        self._loop = _ReactorLoop(reactor)
        self._driver: LoopDriver | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<TwistedClient of {' or '.join(self.endpoints)}{', closed' if self._closed else ''}>"

    def call(self, *body: Any, timeout: float | None = None, service: str = "", trace: str = "") -> Deferred[Reply]:
        """
        Send a request.  The arguments are those of :meth:`Client.call`.

        :return: a Deferred that fires with the reply, or fails with a ``CallError``, or with a ``ValueError`` if the
            codec cannot decode the reply.  Cancelling it cancels the request.
        :raise MisuseError: if the client is closed.
        """
        pending = _Pending(self._openDriver(), self._options.conclude)
        return pending.begin(self._options.newCall(body, pending.ended, timeout, service, trace))

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

        Use it in a coroutine, with ``async for``.  The arguments are those of :meth:`Client.map`; ``progress`` is
        called in the reactor.  Closing the iterator with ``aclose()``, cancelling the Deferred of the coroutine, or
        leaving the iterator to the garbage collector cancels the requests in flight.

        :raise MisuseError: if the client is closed.
        """
        driver = self._openDriver()
        arguments = (concurrency, ordered, return_exceptions, progress, timeout, service)
        return AsyncBatch(driver, Window(self._options, payloads, *arguments))

    def stream(
        self,
        part: Callable[[Reply], object],
        *body: Any,
        timeout: float | None = None,
        service: str = "",
        trace: str = "",
    ) -> Deferred[Reply]:
        """
        Send a request to an app that is a generator, and take the parts of its reply as they arrive.

        The arguments after ``part`` are those of :meth:`Client.call`; the timeout covers the whole reply.

        :param part: called with each part.  If it raises, the request is cancelled, and the Deferred fails with its
            exception.
        :return: a Deferred that fires after the last part with what the app's generator returns, which is usually
            empty. The reply of an app that is not a generator has no parts; it is the result.  Cancelling the Deferred
            cancels the request.
        :raise MisuseError: if the client is closed.
        """
        driver, options = self._openDriver(), self._options
        broken: list[Failure] = []

        def arrived(frames: list[bytes]) -> None:
            try:
                part(options.codec.decode(frames))
            except Exception:
                broken.append(Failure())
                driver.cancel(call)

        def conclude(call: Call) -> Reply:
            if broken:
                broken[0].raiseException()
            return options.conclude(call)

        pending = _Pending(driver, conclude)
        call = options.newCall(body, pending.ended, timeout, service, trace, arrived)
        return pending.begin(call)

    def ping(self, timeout: float | None = None) -> Deferred[PingReply]:
        """
        Ask a server for its state.  With several endpoints this is the one that would receive the next request.

        :param timeout: the seconds that this may take.
        :return: a Deferred that fires with the answer, or fails with ``Timeout``.
        :raise MisuseError: if the client is closed.
        """
        pending = _Pending(self._openDriver(), pingReply)
        return pending.begin(self._options.newPing(pending.ended, timeout))

    def cancel(self, request: bytes) -> None:
        """
        Cancel a request of this client or another.  Its caller gets ``Cancelled``.

        :param request: its id, 16 bytes.
        :raise ConfigurationError: if the id is invalid, or the client is plain.
        :raise MisuseError: if the client is closed.
        """
        self._openDriver().cancelId(self._options.requestId(request))

    def close(self) -> Deferred[None]:
        """
        Close the connections; calls in flight fail with ``Cancelled``.  A second call does nothing.

        :return: a Deferred that fires when the client has left nothing in the reactor.
        """
        self._closed = True
        if self._driver is not None:
            self._driver.close()
        return succeed(None)

    def _openDriver(self) -> LoopDriver:
        if self._driver is None and not self._closed:
            self._driver = LoopDriver(self._options, self._loop)
        if self._driver is None or self._closed:
            raise MisuseError("this client is closed: make a new TwistedClient")
        return self._driver


class _Pending(Generic[Result]):
    """
    A call in flight, and the Deferred of its result.

    :param conclude: returns the result of the call when it has ended, or raises its error.
    :ivar result: the Deferred.
    """

    def __init__(self, driver: LoopDriver, conclude: Callable[[Call], Result]) -> None:
        self._driver = driver
        self._conclude = conclude
        self._call: Call | None = None
        self._cancelled = False
        self.result: Deferred[Result] = Deferred(self._cancel)

    def begin(self, call: Call) -> Deferred[Result]:
        """Begin the call, and return the Deferred."""
        self._call = call
        self._driver.begin(call)
        return self.result

    def ended(self, call: Call) -> None:
        """Fire the Deferred, unless it was cancelled."""
        if self._cancelled:
            return
        try:
            value = self._conclude(call)
        except Exception:
            self.result.errback(Failure())
        else:
            self.result.callback(value)

    def _cancel(self, cancelled: Deferred[Result]) -> None:
        # The Deferred then fails by itself with Twisted's CancelledError, as addTimeout expects.
        self._cancelled = True
        if self._call is not None:
            self._driver.cancel(self._call)
            with suppress(CallError):
                self._conclude(self._call)


@implementer(IReadDescriptor)
class _Descriptor:
    """A file descriptor in a reactor."""

    def __init__(self, descriptor: int, act: Callable[[], object]) -> None:
        self._descriptor = descriptor
        self._act = act

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "pirate client"

    def doRead(self) -> None:
        self._act()

    def connectionLost(self, reason: Failure) -> None:
        """See ``IReadDescriptor``: the reactor stops."""


@implementer(IResolutionReceiver)
class _Resolution:
    """Collects the addresses of a host name."""

    def __init__(self, port: int, found: Callable[[list[tuple[object, ...]]], None]) -> None:
        self._found = found
        self._port = port
        self._addresses: list[tuple[object, ...]] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        pass

    def addressResolved(self, address: IAddress) -> None:
        assert isinstance(address, IPv4Address | IPv6Address)
        family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
        self._addresses.append((family, socket.SOCK_STREAM, 0, "", (address.host, self._port)))

    def resolutionComplete(self) -> None:
        self._found(self._addresses)


class _DeferredWaiter:
    """A Deferred as a :class:`~pirate.client.loop.LoopWaiter`."""

    def __init__(self) -> None:
        self._deferred: Deferred[None] = Deferred()

    def release(self) -> None:
        if not self._deferred.called:
            self._deferred.callback(None)

    def __await__(self) -> Generator[Any, Any, object]:
        return self._deferred.__await__()


class _ReactorLoop:
    """A reactor as a :class:`~pirate.client.loop.ClientLoop`."""

    def __init__(self, reactor: IClientReactor) -> None:
        self._reactor = reactor
        self._descriptors: dict[int, _Descriptor] = {}

    def watch(self, descriptor: int, act: Callable[[], object]) -> None:
        self._descriptors[descriptor] = watched = _Descriptor(descriptor, act)
        self._reactor.addReader(watched)

    def unwatch(self, descriptor: int) -> None:
        watched = self._descriptors.pop(descriptor, None)
        if watched is not None:
            self._reactor.removeReader(watched)

    def later(self, seconds: float, act: Callable[[], object]) -> Callable[[], object]:
        return self._reactor.callLater(seconds, act).cancel

    def fromThread(self, act: Callable[[Any], object], argument: Any) -> None:
        self._reactor.callFromThread(act, argument)

    def newWaiter(self) -> _DeferredWaiter:
        return _DeferredWaiter()

    def lookUp(self, host: str, port: int, found: Callable[[list[tuple[object, ...]]], None]) -> None:
        self._reactor.nameResolver.resolveHostName(_Resolution(port, found), host, port)
