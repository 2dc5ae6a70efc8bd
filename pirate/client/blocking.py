"""The blocking face: for any number of threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from pirate.client import arguments
from pirate.client.arrivals import wake
from pirate.client.batch import Batch
from pirate.client.call import Call
from pirate.client.errors import MisuseError
from pirate.client.given import OptionArguments, Shown
from pirate.client.leader import Leader
from pirate.client.options import ClientOptions
from pirate.client.ping import PingReply, pingReply
from pirate.client.stream import Stream

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pirate.client.futures import CallFuture


class Client:
    """
    A lazy pirate: it asks, waits, asks again, and gives up in time.

    ::

        with Client("tcp://127.0.0.1:6660") as client:
            reply = client.call(b"hello", timeout=2)

    Connecting is the server's business and ZeroMQ's: a client may be made before its server is started, and it survives
    the server's restart.  Any number of threads may use it at once.  In a forked child it has connections of its own,
    and the parent's are left alone.

    :param endpoint: the server's frontend: a port of the loopback interface (``6660`` or ``"6660"``), ``host:port``,
        ``tcp://host:port`` or ``ipc://path``; or a list of these, each of which is as good as another.  A name that
        has several addresses is as many endpoints; it is looked up once, when the client is made.
    :param timeout: how many seconds a call may take with all its attempts, unless it says otherwise.
    :param attempts: how many times a request is sent at most, in all; the time is shared evenly among them.  Every
        attempt carries the same request id, so that a pirate server that still knows it does not run the job again; any
        other broker runs each attempt.  Use 1 for those, and for what must not run twice.
    :param identity: a name for the connection, if the server is to know it; no two clients may share one.  A socket
        after the first adds ``.2``, ``.3`` and so on: the server may not have let go of the name yet.
    :param plain: send the bare requests of a REQ socket, for a broker that does not return what stands in front of the
        body, such as Perl's Net::Server::ZMQ.  Such a client learns of no error but ``Timeout``.
    :param curve: encrypt: a tuple of the server's public key and of a pair of one's own.  The first is the path of a
        certificate, or 40 bytes of Z85 text; the second is the path of a certificate with a secret key, or a tuple of
        the public and the secret key.
    :param codec: what the arguments of a call and its reply are: ``bytes``, ``json``, ``msgpack`` (which needs the
        package of that name) or a ``Codec``.
    :param before: called with each ``Call`` before it is sent, by the thread that makes it.  It may return a W3C
        traceparent, which the app finds in its context.
    :param after: called with each ``Call`` when its caller learns how it ended: then it has its ``error``, or ``None``.
    :param outage: called with an ``Outage`` when a connection was lost with calls under way, when calls have waited for
        a connection for a second, and when there is one again.  It must return soon; what it raises becomes a warning.
    :raise ConfigurationError: if one of these is not right.
    :ivar endpoint: the endpoint, the first if there are several.
    :ivar endpoints: all of them.
    """

    __signature__ = Shown()

    def __init__(
        self,
        endpoint: str | int | Iterable[str | int] = arguments.DEFAULT_ENDPOINT,
        **given: Unpack[OptionArguments],
    ) -> None:
        self._options = ClientOptions(endpoint, **given)
        self.endpoints = self._options.endpoints
        self.endpoint = self.endpoints[0]
        self._pid = os.getpid()
        self._leader = Leader(self._options)
        self._inherited: list[Leader] = []

    def __repr__(self) -> str:
        return f"<Client of {' or '.join(self.endpoints)}{', closed' if self._leader.closed else ''}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """
        Let go of the connections, at once and for good: what was not sent yet is dropped.  Twice does no harm.

        Calls that are under way in other threads, and futures, end with ``Cancelled``.
        """
        if self._pid == os.getpid():
            self._leader.close()

    def call(self, *body: Any, timeout: float | None = None, service: str = "", trace: str = "") -> Any:
        """
        Send a request and wait for its reply.

        :param body: the request, one argument for each frame.
        :param timeout: how many seconds it may take with all its attempts; ``None`` for the client's own limit.
        :param service: the name of the service to ask; empty for the unnamed one.  Not for a plain client.
        :param trace: a W3C traceparent for the app.  Not for a plain client.
        :return: the reply: the bytes of its one frame, or a list if it has several; with a codec, what it makes of it.
        :raise CallError: if there is no reply; its subclasses say why, ``Timeout`` and ``AppError`` first of all.
        :raise MisuseError: if the client is closed.
        """
        call = self._options.newCall(body, timeout, service, trace)
        self._perform(self._ready(), call)
        return self._options.conclude(call)

    def submit(self, *body: Any, timeout: float | None = None, service: str = "", trace: str = "") -> CallFuture:
        """
        Send a request, and do not wait.

        The arguments are those of ``call``.

        :return: a ``concurrent.futures.Future`` of the reply, whose attribute ``request`` is the id of the request.  To
            cancel it cancels the request.
        """
        from pirate.client.futures import submit

        return submit(self._ready(), self._options, self._options.newCall(body, timeout, service, trace))

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
    ) -> Iterator[Any]:
        """
        Send a request for each payload, several at a time, and give the replies as an iterator.

        The payloads are taken as they are needed, so that there may be any number.

        :param payloads: the requests: each a frame, or a tuple of frames; with a codec, a value or a tuple of values.
        :param concurrency: how many are under way at a time.
        :param ordered: whether the replies come in the order of the payloads; else they come as they arrive.
        :param return_exceptions: whether an error comes in the place of a reply; else the first one is raised, and what
            is under way then is cancelled.
        :param progress: called with how many have ended, and with how many there are, or ``None`` if that cannot be
            known; by the thread that takes the replies.
        :param timeout: how many seconds each may take, from when it is sent; ``None`` for the client's own limit.
        :param service: the name of the service to ask; empty for the unnamed one.
        """
        leader, options = self._ready(), self._options

        def newCall(payload: Any) -> Call:
            return options.newCall(payload if isinstance(payload, tuple) else (payload,), timeout, service)

        return Batch(leader, options, newCall, payloads, concurrency, ordered, return_exceptions, progress)

    @staticmethod
    def as_completed(futures: Iterable[Future[Any]], timeout: float | None = None) -> Iterator[Future[Any]]:
        """
        The futures that ``submit`` gave, each as soon as it is done: the ``concurrent.futures.as_completed`` of old.

        :param timeout: how many seconds all of it may take; ``None``: as long as it takes.
        """
        from concurrent.futures import as_completed

        return as_completed(futures, timeout)

    def stream(self, *body: Any, timeout: float | None = None, service: str = "", trace: str = "") -> Stream:
        """
        Send a request and take the parts of its reply as they come, from an app that is a generator.

        The arguments are those of ``call``; the time is that of the whole reply.

        :return: an iterator of the parts, each as ``call`` gives a reply.  To close it before its end, which leaving
            a ``with`` block does, cancels the request.
        """
        stream = Stream(self._ready(), self._options, self._options.newCall(body, timeout, service, trace))
        stream.begin()
        return stream

    def ping(self, timeout: float | None = None) -> PingReply:
        """
        Ask a server how it is.  With several endpoints it is the one that would get the next request.

        :param timeout: how many seconds that may take.
        :raise Timeout: if nobody answers in time.
        """
        call = self._options.newPing(timeout)
        self._perform(self._ready(), call)
        return pingReply(call)

    def cancel(self, request: bytes) -> None:
        """
        Cancel a request, this client's or another's.  Whoever waits for it gets ``Cancelled``.

        :param request: its id: the ``request`` of its future or of its error, or the ``key`` of its ``Call``.
        :raise ConfigurationError: if it is none; in plain mode requests have none.
        """
        leader = self._ready()
        leader.post(leader.session.cancelId, self._options.requestId(request))

    def _perform(self, leader: Leader, call: Call) -> None:
        call.done = wake
        try:
            leader.perform(call)
        except BaseException:
            if not call.finished:
                leader.post(leader.session.cancel, call)
            raise

    def _ready(self) -> Leader:
        """The lead, of this process."""
        if self._pid != os.getpid():
            # Not let go of: it is the parent's, and nothing of it may be closed here.
            self._inherited.append(self._leader)
            self._pid = os.getpid()
            self._leader = Leader(self._options)
        if self._leader.closed:
            raise MisuseError("this client is closed: make a new Client")
        return self._leader
