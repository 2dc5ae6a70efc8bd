"""The blocking face: one call at a time on one socket."""

from __future__ import annotations

import os
from threading import Lock
from time import monotonic
from types import TracebackType

import zmq

from pirate.client import arguments
from pirate.client.call import Call, PlainCall
from pirate.client.errors import MisuseError
from pirate.errors import ConfigurationError

#: The longest single wait, in seconds: a Ctrl-C that comes just before one is not seen until it ends.
_LONGEST_WAIT = 1.0


class Client:
    """
    A lazy pirate: it asks, waits, asks again, and gives up in time.

    ::

        with Client("tcp://127.0.0.1:6660") as client:
            reply = client.call(b"hello", timeout=2)

    Connecting is the server's business and ZeroMQ's: a client may be made before its server is started, and it survives
    the server's restart.  It belongs to one thread and one process at a time; a second thread in the middle of a call,
    or a forked child, is refused with ``MisuseError``.

    :param endpoint: the server's frontend: a port of the loopback interface (``6660`` or ``"6660"``), ``host:port``,
        ``tcp://host:port`` or ``ipc://path``.
    :param timeout: how many seconds a call may take with all its tries, unless it says otherwise.
    :param retries: how many times a request is sent at most, in all; the time is shared evenly among them.  Every try
        carries the same request id, so that a pirate server that still knows it does not run the job again; any other
        broker runs each try.
    :param identity: a name for the connection, if the server is to know it; no two clients may share one.  A socket
        that replaces another adds ``.2``, ``.3`` and so on: the server may not have let go of the name yet.
    :param plain: send the bare requests of a REQ socket, for a broker that does not return what stands in front of the
        body, such as Perl's Net::Server::ZMQ.  Such a client learns of no error but ``Timeout``.
    :raise ConfigurationError: if one of these is not right.
    """

    def __init__(
        self,
        endpoint: str | int = arguments.DEFAULT_ENDPOINT,
        *,
        timeout: float = 10.0,
        retries: int = 2,
        identity: bytes | None = None,
        plain: bool = False,
    ) -> None:
        self.endpoint = arguments.endpoint(endpoint)
        self._timeout = arguments.seconds(timeout)
        self._tries = arguments.tries(retries)
        self._identity = arguments.identity(identity)
        self._plain = plain
        self._pid = os.getpid()
        self._lock = Lock()
        self._opened = 0
        self._unanswered = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._socket = self._open()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Client of {self.endpoint}{', closed' if self._context.closed else ''}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection, at once and for good: what was not sent yet is dropped.  Twice does no harm."""
        if self._pid == os.getpid():
            self._context.destroy(linger=0)

    def call(self, *body: arguments.Frame, timeout: float | None = None, service: str = "") -> bytes | list[bytes]:
        """
        Send a request and wait for its reply.

        :param body: the request, one argument for each frame.
        :param timeout: how many seconds it may take with all its tries; ``None`` for the client's own limit.
        :param service: the name of the service to ask; empty for the unnamed one.  Not for a plain client.
        :return: the reply: the bytes of its one frame, or a list if it has several.
        :raise CallError: if there is no reply; its subclasses say why, ``Timeout`` and ``AppError`` first of all.
        :raise MisuseError: if the client is closed, forked, or in the middle of another call.
        """
        call = self._newCall(body, timeout, service)
        if self._pid != os.getpid():
            raise MisuseError("this client was made before a fork: make a new Client in the child")
        if self._context.closed:
            raise MisuseError("this client is closed: make a new Client")
        if not self._lock.acquire(blocking=False):
            raise MisuseError("this client is in the middle of another call: make one Client for each thread")
        try:
            return self._complete(call)
        finally:
            self._lock.release()

    def _newCall(self, body: tuple[arguments.Frame, ...], timeout: float | None, service: str) -> Call:
        if self._plain and service:
            raise ConfigurationError(f"service {service!r} is not right: a plain request cannot name a service")
        kind = PlainCall if self._plain else Call
        return kind(
            arguments.body(body),
            now=monotonic(),
            timeout=self._timeout if timeout is None else arguments.seconds(timeout),
            tries=self._tries,
            endpoint=self.endpoint,
            key=b"" if self._plain else os.urandom(16),
            service=arguments.service(service),
        )

    def _complete(self, call: Call) -> bytes | list[bytes]:
        while (now := monotonic()) < call.deadline:
            due = call.due(now)
            if due and self._unanswered and (self._plain or not call.sent):
                self._reopen()
            milliseconds = int(min(call.wait(now), _LONGEST_WAIT) * 1000) + 1
            events = self._socket.poll(milliseconds, zmq.POLLIN | zmq.POLLOUT if due else zmq.POLLIN)
            try:
                if events & zmq.POLLIN:
                    answer = call.receive(self._socket.recv_multipart(zmq.NOBLOCK))
                    if answer is not None:
                        self._unanswered = False
                        return call.result(answer)
                elif events & zmq.POLLOUT:
                    self._send(call, monotonic())
            except zmq.Again:
                # The connection was lost after it was found ready.
                continue
        raise call.timedOut()

    def _send(self, call: Call, now: float) -> None:
        self._unanswered = True
        self._socket.send_multipart(call.frames(now), zmq.NOBLOCK)
        call.wasSent(now)

    def _reopen(self) -> None:
        # The guide's way: a REQ that got no reply can neither send nor forget, and REQ_RELAXED with REQ_CORRELATE would
        # put a number before the body, which Perl's Net::Server::ZMQ takes for the route and does not return.  A DEALER
        # is not stuck, but after a whole call in silence its connection may be dead without a sign.
        old, self._socket = self._socket, self._open()
        old.close()
        self._unanswered = False

    def _open(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.REQ if self._plain else zmq.DEALER)
        socket.set(zmq.LINGER, 0)
        # Without a connection nothing is queued: a server that comes back is not met by requests long given up.
        socket.set(zmq.IMMEDIATE, 1)
        # Only where it is needed: it would make a name mean its IPv6 address first.
        socket.set(zmq.IPV6, int("[" in self.endpoint))
        self._opened += 1
        if self._identity is not None:
            socket.set(zmq.ROUTING_ID, self._identity + (b".%d" % self._opened if self._opened > 1 else b""))
        try:
            socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            reason = str(error.strerror).partition(" (")[0]
            raise ConfigurationError(f"endpoint {self.endpoint!r} cannot be used: {reason}") from None
        return socket
