"""The connections of a socket: which are open, and which are too many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import SHUT_RDWR, socket
from struct import Struct
from typing import Any, Protocol

import zmq
from txzmq import ZmqConnection, ZmqFactory

from pirate.transport.rawsocket import EVENTS, NOBLOCK, POLLIN, rawCalls

_ACCEPTED = int(zmq.EVENT_ACCEPTED)
_DISCONNECTED = int(zmq.EVENT_DISCONNECTED)
_HANDSHAKE_FAILED = int(
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
#: The first frame of a monitor's event: its kind, and the file descriptor.
_MONITOR_EVENT = Struct("=HI").unpack


class MonitorEvents(Protocol):
    """The receiver of what happens to the connections of a socket."""

    def isOwnConnection(self, connection: int) -> bool:
        """Return whether a new connection is one of the server's own workers', and so does not count."""

    def connectionClosed(self, connection: int) -> None:
        """Forget a connection that is closed; a later connection may have the same number."""


class Monitor(ZmqConnection):
    """
    A monitor of the connections of a socket, which closes those above a limit.

    A connection is known by its file descriptor.

    :param watched: the socket.  It must not be bound yet, because binding one waits until its monitor listens.
    :param events: the receiver of events.
    :param closesOldest: of too many connections, close the oldest that :meth:`keep` has not marked; if not, close the
        newest.
    :ivar limit: the number of connections that may be open, not counting the server's own workers'.
    :ivar counts: the numbers of connections ``accepted``, ``closed``, ``refused`` (above the limit), ``cut-off`` (by
        :meth:`cutOff`) and ``handshake-failed``.
    """

    socketType = zmq.PAIR
    _constructed = False

    def __init__(self, factory: ZmqFactory, watched: Any, events: MonitorEvents, closesOldest: bool) -> None:
        self.limit = 1 << 31
        self.counts = {"accepted": 0, "closed": 0, "refused": 0, "cut-off": 0, "handshake-failed": 0}
        self._watched = watched
        self._events = events
        self._closesOldest = closesOldest
        # In the order of their arrival.
        self._open: dict[int, None] = {}
        self._own: set[int] = set()
        self._kept: set[int] = set()
        self._closing: set[int] = set()
        super().__init__(factory)
        endpoint = f"inproc://pirate-monitor-{id(self)}"
        watched.monitor(endpoint, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | _HANDSHAKE_FAILED)
        self.socket.connect(endpoint)
        raw = rawCalls(self.socket)
        self._receive, self._get = raw.receive, raw.get
        self._constructed = True
        # The descriptor reports nothing before the socket has been found empty once.
        self.doRead()

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, connection: object) -> bool:
        return connection in self._open

    @property
    def connections(self) -> list[int]:
        """The open connections, in the order of their arrival."""
        return list(self._open)

    def logPrefix(self) -> str:
        """Return the name that the reactor logs errors under."""
        return "pirate"

    def doRead(self) -> None:
        """Read every event, because events come no faster than connections can be made."""
        if not self._constructed:
            return
        accepted = False
        while self.factory is not None and self._get(EVENTS) & POLLIN:
            kind, value = _MONITOR_EVENT(self._receive(NOBLOCK))
            self._receive(NOBLOCK)
            if kind == _ACCEPTED:
                self._forget(value)
                self._open[value] = None
                accepted = True
                self.counts["accepted"] += 1
                if self._events.isOwnConnection(value):
                    self._own.add(value)
            elif kind == _DISCONNECTED:
                self._forget(value)
                self.counts["closed"] += 1
                self._events.connectionClosed(value)
            else:
                self.counts["handshake-failed"] += 1
        while accepted and len(self._open) - len(self._own | self._closing) > self.limit:
            self._close(self._excess(), "refused")

    def keep(self, connection: int, own: bool) -> None:
        """
        Spare a connection: if there are too many, others are closed first.

        :param own: whether it is one of the server's own workers', and so does not count.
        """
        if connection in self._open:
            self._kept.add(connection)
            if own:
                self._own.add(connection)

    def cutOff(self, connection: int) -> None:
        """Close a connection, as if its peer had."""
        self.doRead()
        self._close(connection, "cut-off")

    def shutdown(self) -> None:
        """Stop watching, before the watched socket is closed."""
        if self.factory is not None:
            self._watched.disable_monitor()
            super().shutdown()

    def _forget(self, connection: int) -> None:
        self._open.pop(connection, None)
        for marked in (self._own, self._kept, self._closing):
            marked.discard(connection)

    def _excess(self) -> int:
        """
        Choose the connection to close.

        Of the connections of the backend, that is the oldest whose peer has not announced itself as a worker: a new one
        still may.
        """
        if self._closesOldest:
            for each in self._open:
                if each not in self._kept and each not in self._own and each not in self._closing:
                    return each
        return next(each for each in reversed(self._open) if each not in self._own and each not in self._closing)

    def _close(self, connection: int, reason: str) -> None:
        if connection in self._open and connection not in self._closing:
            self.counts[reason] += 1
            self._closing.add(connection)
            with suppress(OSError), borrowSocket(connection) as peer:
                peer.shutdown(SHUT_RDWR)


@contextmanager
def borrowSocket(connection: int) -> Iterator[socket]:
    """
    Lend the socket of a file descriptor that belongs to ZeroMQ, which closes it when it sees the connection's end.

    This takes no further descriptor, because connections are closed when descriptors are short.

    :raise OSError: if it is closed already.
    """
    peer = socket(fileno=connection)
    try:
        yield peer
    finally:
        peer.detach()
