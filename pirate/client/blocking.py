"""The blocking client, for any number of threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, Unpack, overload

from pirate.client.arrivals import Arrivals, wake
from pirate.client.batch import Batch, Window
from pirate.client.call import Call
from pirate.client.codecs import Codec, CodecName, Reply
from pirate.client.endpoints import Outage
from pirate.client.errors import CallError, MisuseError
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
from pirate.client.stream import Stream
from pirate.client.threaddriver import ThreadDriver

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pirate.client.executor import CallFuture

Result = TypeVar("Result")


class Client(Generic[Reply]):
    """
    A client that sends a request, waits, sends it again, and gives up at a deadline: the guide's Lazy Pirate.

    ::

        with Client("tcp://127.0.0.1:6660") as client:
            reply = client.call(b"hello", timeout=2)

    A client may be made before its server is started, and survives the server's restart.  Any number of threads may use
    it at once.  A forked child that uses it gets connections of its own; those of the parent are not touched.

    :param endpoint: the server's frontend: a port of the loopback interface (``6660`` or ``"6660"``), ``host:port``,
        ``tcp://host:port`` or ``ipc://path``; or a list of endpoints that are equally good.  A host name with several
        addresses counts as several endpoints; it is looked up once, when the client is made.
    :param timeout: the seconds that a call may take with all its attempts, unless the call sets its own.
    :param attempts: how many times a request is sent in all.  The attempts share the timeout evenly, and carry the same
        request id: a pirate server that still knows the id does not run the job again, while any other broker runs each
        attempt.  Use 1 for such a broker, and for a job that must not run twice: a pirate server is then told not to
        run it again if a worker dies, unless the client is plain.
    :param identity: the routing id of the connection, if the server must know it; no two clients may share one.
        Further sockets append ``.2``, ``.3`` and so on, as the server may still hold the earlier one.
    :param plain: send the bare requests of a REQ socket, for a broker that does not return the frames in front of the
        body, such as Perl's Net::Server::ZMQ.  A plain client learns of no error but ``Timeout``.
    :param curve: encrypt the connection: a tuple of the server's public key and your own key pair.  The first is the
        path of a certificate, or 40 bytes of Z85 text; the second is the path of a certificate with a secret key, or a
        tuple of the public and the secret key.
    :param codec: what the arguments and the reply of a call are.  ``bytes``: each argument is a frame, and a reply is
        the bytes of its one frame.  ``frames``: the same, but a reply is the list of its frames.  ``json`` and
        ``msgpack`` (which needs the package of that name): each argument is a value, and so is a reply, or a list of
        values if it has several frames.  Or an object with the methods of :class:`Codec`.
    :param before: called with each :class:`Call` before it is sent, in the thread that makes it.  It may return a W3C
        traceparent, which the app finds in its context.
    :param after: called with each :class:`Call` when its caller learns how it ended; ``error`` is ``None`` for a reply.
    :param outage: called with an :class:`Outage` when a connection is lost with calls in flight, when calls have waited
        for a connection for a second, and when there is one again.  It must return soon; an exception becomes a
        warning.
    :raise ConfigurationError: if an argument is invalid.
    :ivar endpoint: the first endpoint.
    :ivar endpoints: all endpoints.
    """

    @overload
    def __init__(
        self: Client[bytes],
        endpoint: EndpointArgument = ...,
        *,
        codec: Literal["bytes"] = ...,
        **options: Unpack[OptionArguments],
    ) -> None: ...

    @overload
    def __init__(
        self: Client[list[bytes]],
        endpoint: EndpointArgument = ...,
        *,
        codec: Literal["frames"],
        **options: Unpack[OptionArguments],
    ) -> None: ...

    @overload
    def __init__(
        self: Client[Any],
        endpoint: EndpointArgument = ...,
        *,
        codec: Literal["json", "msgpack"],
        **options: Unpack[OptionArguments],
    ) -> None: ...

    @overload
    def __init__(
        self: Client[Reply],
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
        self.endpoint = self.endpoints[0]
        self._pid = os.getpid()
        self._driver = ThreadDriver(self._options)
        self._inherited: list[ThreadDriver] = []

    def __repr__(self) -> str:
        return f"<Client of {' or '.join(self.endpoints)}{', closed' if self._driver.closed else ''}>"

    def __enter__(self) -> Client[Reply]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """
        Close the connections at once, and drop what was not sent.  A second call does nothing.

        Calls in flight in other threads, and futures, end with ``Cancelled``.
        """
        if self._pid == os.getpid():
            self._driver.close()

    def call(self, *body: Any, timeout: float | None = None, service: str = "", trace: str = "") -> Reply:
        """
        Send a request and wait for its reply.

        :param body: the request, one argument for each frame.
        :param timeout: the seconds that the call may take with all its attempts; ``None`` for the client's timeout.
        :param service: the name of the service; empty for the unnamed one.  A plain client cannot name one.
        :param trace: a W3C traceparent for the app.  A plain client cannot send one.
        :return: the reply, decoded: with the default codec the bytes of its one frame.
        :raise CallError: if there is no reply.  The subclasses say why; the most common are ``Timeout`` and
            ``AppError``.
        :raise ValueError: if the codec cannot decode the reply; the codec ``bytes`` cannot if it has several frames.
        :raise MisuseError: if the client is closed.
        """
        call = self._options.newCall(body, wake, timeout, service, trace)
        self._perform(self._openDriver(), call)
        return self._options.conclude(call)

    def submit(self, *body: Any, timeout: float | None = None, service: str = "", trace: str = "") -> CallFuture[Reply]:
        """
        Send a request and return at once.

        The arguments are those of :meth:`call`.

        :return: a ``concurrent.futures.Future`` of the reply; its attribute ``request`` is the id of the request.
            Cancelling the future cancels the request.
        """
        # Importing concurrent.futures is slow, and most callers wait.
        from pirate.client.executor import CallFuture

        future = CallFuture(self._openDriver(), self._options, body, timeout, service, trace)
        future.begin()
        return future

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
    ) -> Batch[Reply]: ...

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
    ) -> Batch[Reply | CallError]: ...

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
    ) -> Batch[Any]:
        """
        Send a request for each payload, several at a time, and return an iterator of the replies.

        Payloads are taken as they are needed, so there may be any number of them.  Closing the iterator, or leaving it
        to the garbage collector, cancels the requests in flight.

        :param payloads: the requests: each a frame or a tuple of frames; with a codec, a value or a tuple of values.
        :param concurrency: how many requests are in flight at a time.
        :param ordered: whether the replies come in the order of the payloads; if not, they come as they arrive.
        :param return_exceptions: whether a ``CallError`` comes in the place of its reply; if not, the first one is
            raised, and the requests in flight are cancelled.
        :param progress: called with the number of requests that have ended and the number of payloads, or ``None`` if
            that is unknown; in the thread that takes the replies.
        :param timeout: the seconds that each request may take from when it is first sent; ``None`` for the client's
            timeout.
        :param service: the name of the service; empty for the unnamed one.
        """
        driver = self._openDriver()
        arguments = (concurrency, ordered, return_exceptions, progress, timeout, service)
        return Batch(driver, Window(self._options, payloads, *arguments))

    @staticmethod
    def as_completed(futures: Iterable[Future[Result]], timeout: float | None = None) -> Iterator[Future[Result]]:
        """
        Return an iterator of futures of :meth:`submit`, each as soon as it is done.

        This is ``concurrent.futures.as_completed``.

        :param timeout: the seconds that all of them may take; ``None`` for no limit.
        """
        from concurrent.futures import as_completed

        return as_completed(futures, timeout)

    def stream(self, *body: Any, timeout: float | None = None, service: str = "", trace: str = "") -> Stream[Reply]:
        """
        Send a request to an app that is a generator, and take the parts of its reply as they arrive.

        The arguments are those of :meth:`call`; the timeout covers the whole reply.

        :return: an iterator of the parts, each decoded like a reply.  Closing it before its end, which leaving a
            ``with`` block does, cancels the request.
        """
        driver, parts = self._openDriver(), Arrivals()
        call = self._options.newCall(body, parts.end, timeout, service, trace, parts.add)
        stream = Stream(driver, self._options, call, parts)
        driver.post(driver.session.begin, call)
        return stream

    def ping(self, timeout: float | None = None) -> PingReply:
        """
        Ask a server for its state.  With several endpoints this is the one that would receive the next request.

        :param timeout: the seconds that this may take.
        :raise Timeout: if no server answers in time.
        """
        call = self._options.newPing(wake, timeout)
        self._perform(self._openDriver(), call)
        return pingReply(call)

    def cancel(self, request: bytes) -> None:
        """
        Cancel a request of this client or another.  Its caller gets ``Cancelled``.

        :param request: its id, the attribute ``request`` of its future, its error or its :class:`Call`.
        :raise ConfigurationError: if the id is invalid, or the client is plain.
        """
        driver = self._openDriver()
        driver.post(driver.session.cancelId, self._options.requestId(request))

    def _perform(self, driver: ThreadDriver, call: Call) -> None:
        try:
            driver.perform(call)
        except BaseException:
            if not call.finished:
                driver.post(driver.session.cancel, call)
            raise

    def _openDriver(self) -> ThreadDriver:
        """
        Return the driver of this process.

        :raise MisuseError: if the client is closed.
        """
        if self._pid != os.getpid():
            # Keep the parent's driver alive: collecting it would close what is the parent's.
            self._inherited.append(self._driver)
            self._pid = os.getpid()
            self._driver = ThreadDriver(self._options)
        if self._driver.closed:
            raise MisuseError("this client is closed: make a new Client")
        return self._driver
