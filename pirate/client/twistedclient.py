"""The Twisted face: Deferreds, on any reactor, without a thread."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Unpack

from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IHostResolution, IReadDescriptor, IResolutionReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from pirate.client import arguments
from pirate.client.call import Call
from pirate.client.errors import CallError, MisuseError
from pirate.client.given import OptionArguments, Shown
from pirate.client.loop import LoopDriver
from pirate.client.options import ClientOptions
from pirate.client.ping import PingReply, pingReply


class TwistedClient:
    """
    Calls servers in a reactor.

    All parameters but the first are those of :class:`Client`.  Nothing is opened before the first call.

    :param reactor: where it runs.
    :raise ConfigurationError: if one of the others is not right.
    :ivar endpoints: where the servers are.
    """

    __signature__ = Shown()

    def __init__(
        self,
        reactor: Any,
        endpoint: str | int | Iterable[str | int] = arguments.DEFAULT_ENDPOINT,
        **given: Unpack[OptionArguments],
    ) -> None:
        self._options = ClientOptions(endpoint, **given)
        self.endpoints = self._options.endpoints
        self._loop = _ReactorLoop(reactor)
        self._driver: LoopDriver | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<TwistedClient of {' or '.join(self.endpoints)}{', closed' if self._closed else ''}>"

    def call(self, *body: Any, timeout: float | None = None, service: str = "", trace: str = "") -> Deferred[Any]:
        """
        Send a request.  The arguments are those of :meth:`Client.call`.

        :return: fires with the reply, or fails with a ``CallError``.  To cancel it cancels the request.
        :raise MisuseError: if the client is closed.
        """
        return self._begin(self._options.newCall(body, timeout, service, trace), self._options.conclude)

    def stream(
        self,
        part: Callable[[Any], object],
        *body: Any,
        timeout: float | None = None,
        service: str = "",
        trace: str = "",
    ) -> Deferred[Any]:
        """
        Send a request to an app that answers in parts.

        :param part: called with each part as it comes.  If it raises, the request is cancelled, and that is the
            failure.
        :param body: as for the other arguments, see :meth:`Client.call`.
        :return: fires with what the app's generator returns, which is usually empty, after the last part; an app that
            is no generator has no parts, and that is its reply.  To cancel it cancels the request.
        :raise MisuseError: if the client is closed.
        """
        call = self._options.newCall(body, timeout, service, trace)
        broken: list[Failure] = []

        def came(frames: list[bytes]) -> None:
            try:
                part(self._options.part(frames))
            except Exception:
                broken.append(Failure())
                self._ready().cancel(call)

        def conclude(call: Call) -> Any:
            if broken:
                broken[0].raiseException()
            return self._options.conclude(call)

        call.part = came
        return self._begin(call, conclude)

    def ping(self, timeout: float | None = None) -> Deferred[PingReply]:
        """
        Ask a server how it is.  With several endpoints it is the one that would get the next request.

        :param timeout: how many seconds that may take.
        :return: fires with its answer, or fails with ``Timeout``.
        :raise MisuseError: if the client is closed.
        """
        return self._begin(self._options.newPing(timeout), pingReply)

    def cancel(self, request: bytes) -> None:
        """
        Cancel a request, this client's or another's.  Whoever waits for it gets ``Cancelled``.

        :param request: its id, 16 bytes.
        :raise ConfigurationError: if it is none; in plain mode requests have none.
        :raise MisuseError: if the client is closed.
        """
        self._ready().cancelId(self._options.requestId(request))

    def close(self) -> Deferred[None]:
        """
        Let go of the connections; what is under way fails with ``Cancelled``.  Twice does no harm.

        :return: fires when nothing of the client is left in the reactor.
        """
        self._closed = True
        if self._driver is not None:
            self._driver.close()
        return succeed(None)

    def _begin(self, call: Call, conclude: Callable[[Call], Any]) -> Deferred[Any]:
        driver = self._ready()

        def cancel(cancelled: Deferred[Any]) -> None:
            # It fails by itself then, as Twisted's own timeouts expect.
            call.done = lambda call: None
            driver.cancel(call)
            with suppress(CallError):
                conclude(call)

        def done(call: Call) -> None:
            try:
                value = conclude(call)
            except Exception:
                result.errback(Failure())
            else:
                result.callback(value)

        result: Deferred[Any] = Deferred(cancel)
        call.done = done
        driver.begin(call)
        return result

    def _ready(self) -> LoopDriver:
        if self._driver is None and not self._closed:
            self._driver = LoopDriver(self._options, self._loop)
        if self._driver is None or self._closed:
            raise MisuseError("this client is closed: make a new TwistedClient")
        return self._driver


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
        """The reactor ends."""


@implementer(IResolutionReceiver)
class _Resolution:
    """Collects what a name means."""

    def __init__(self, port: int, found: Callable[[list[tuple[object, ...]]], None]) -> None:
        self._found = found
        self._port = port
        self._addresses: list[tuple[object, ...]] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        pass

    def addressResolved(self, address: Any) -> None:
        family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
        self._addresses.append((family, socket.SOCK_STREAM, 0, "", (address.host, self._port)))

    def resolutionComplete(self) -> None:
        self._found(self._addresses)


class _ReactorLoop:
    """A reactor, as a client's pump sees it."""

    def __init__(self, reactor: Any) -> None:
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
        return self._reactor.callLater(seconds, act).cancel  # type: ignore[no-any-return]

    def lookUp(self, host: str, port: int, found: Callable[[list[tuple[object, ...]]], None]) -> None:
        self._reactor.nameResolver.resolveHostName(_Resolution(port, found), host, port)
