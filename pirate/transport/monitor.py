"""What ZeroMQ knows of a socket's peers: who sent a frame, and whose connection is closed."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from socket import AF_UNIX, SHUT_RDWR, SOL_SOCKET, socket
from struct import Struct
from typing import Any

import zmq
from txzmq import ZmqConnection, ZmqFactory

_NOBLOCK = int(zmq.NOBLOCK)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
_SRCFD = int(zmq.SRCFD)
_ACCEPTED = int(zmq.EVENT_ACCEPTED)
_DISCONNECTED = int(zmq.EVENT_DISCONNECTED)
_HANDSHAKE_FAILED = int(
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
#: The first frame of a monitor's event: its kind, and the file descriptor.
_MONITOR_EVENT = Struct("=HI").unpack
#: What a UNIX socket tells of its peer: process, user, group.
_CREDENTIALS = Struct("3i")
if sys.platform.startswith("linux"):
    from socket import SO_PEERCRED


class Monitor(ZmqConnection):
    """
    Tells of a socket's connections, and closes those that are too many.

    :param watched: the socket, which must not be bound yet: to bind one waits until its monitor listens.
    :param isOwn: tells, by the number of a new connection, whether it is one that is never too much.
    :ivar most: how many connections there may be, beside those.
    :ivar closed: called with the number of each connection that is closed, which is that of its file descriptor.
    :ivar counts:  ``accepted``, ``closed``, ``refused`` (too many), ``cut-off`` (by :meth:`cutOff`) and
        ``handshake-failed``.
    """

    socketType = zmq.PAIR

    def __init__(self, factory: ZmqFactory, watched: Any, isOwn: Callable[[int], bool] | None = None) -> None:
        self.closed: Callable[[int], None] = lambda connection: None
        self.most = 1 << 31
        self.counts = {"accepted": 0, "closed": 0, "refused": 0, "cut-off": 0, "handshake-failed": 0}
        self._isOwn = isOwn
        # In the order in which they came.
        self._open: dict[int, None] = {}
        self._own: set[int] = set()
        self._kept: set[int] = set()
        self._cutting: set[int] = set()
        self._watched = watched
        self._get: Callable[[int], int] = lambda option: 0
        super().__init__(factory)
        endpoint = f"inproc://pirate-monitor-{id(self)}"
        watched.monitor(endpoint, zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED | _HANDSHAKE_FAILED)
        self.socket.connect(endpoint)
        plain: Any = super(zmq.Socket, self.socket)
        self._get, self._receive = plain.get, plain.recv
        # The descriptor tells of nothing before the socket has been found empty once.
        self.doRead()

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, connection: object) -> bool:
        return connection in self._open

    def logPrefix(self) -> str:
        """What the reactor calls this."""
        return "pirate"

    def doRead(self) -> None:
        """Read every event that there is: they come no faster than connections can be made."""
        came = False
        while self.factory is not None and self._get(_EVENTS) & _POLLIN:
            kind, value = _MONITOR_EVENT(self._receive(_NOBLOCK))
            self._receive(_NOBLOCK)
            if kind == _ACCEPTED:
                self._forget(value)
                self._open[value] = None
                came = True
                self.counts["accepted"] += 1
                if self._isOwn is not None and self._isOwn(value):
                    self._own.add(value)
            elif kind == _DISCONNECTED:
                self._forget(value)
                self.counts["closed"] += 1
                self.closed(value)
            else:
                self.counts["handshake-failed"] += 1
        while came and len(self._open) - len(self._own | self._cutting) > self.most:
            self._cut(self._excess(), "refused")

    def keep(self, connection: int, own: bool) -> None:
        """
        Close others before this connection if there are too many.

        :param own: whether it does not count at all.
        """
        if connection in self._open:
            self._kept.add(connection)
            if own:
                self._own.add(connection)

    def _forget(self, connection: int) -> None:
        self._open.pop(connection, None)
        for some in (self._own, self._kept, self._cutting):
            some.discard(connection)

    def _excess(self) -> int:
        """
        Choose the connection that is too much.

        The last that has come; but where some are kept, the one that has been there longest without a reason to be:
        one that has just come may still give it.
        """
        if self._isOwn is not None:
            for each in self._open:
                if each not in self._kept and each not in self._own and each not in self._cutting:
                    return each
        return next(each for each in reversed(self._open) if each not in self._own and each not in self._cutting)

    def cutOff(self, connection: int) -> None:
        """Close a connection, as if its peer had."""
        self.doRead()
        self._cut(connection, "cut-off")

    def _cut(self, connection: int, reason: str) -> None:
        if connection in self._open and connection not in self._cutting:
            self.counts[reason] += 1
            self._cutting.add(connection)
            with suppress(OSError), borrowed(connection) as peer:
                peer.shutdown(SHUT_RDWR)

    def shutdown(self) -> None:
        """Stop watching, before the watched socket is closed."""
        if self.factory is not None:
            self._watched.disable_monitor()
            super().shutdown()


@contextmanager
def borrowed(connection: int) -> Iterator[socket]:
    """
    Lend the socket of a descriptor that is ZeroMQ's, and stays so: ZeroMQ closes it when it sees the connection's end.

    This takes no descriptor, of which there may be none when connections have to be closed.

    :raise OSError: if it is closed already.
    """
    peer = socket(fileno=connection)
    try:
        yield peer
    finally:
        peer.detach()


def processOf(connection: int) -> int:
    """Return the process id of a connection's peer on a UNIX socket; 0 if it is not known."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        with borrowed(connection) as peer:
            if peer.family != AF_UNIX:
                return 0
            pid: int = _CREDENTIALS.unpack(peer.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS.size))[0]
            return pid
    except OSError:
        return 0


def hungUp(connections: Iterable[int]) -> list[int]:
    """
    Return those connections that their peers have closed, although ZeroMQ has not read all that came before.

    It reads no more of a peer than there is room for, and so learns late of the end.
    """
    if not hasattr(select, "POLLRDHUP"):
        return []
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLRDHUP)
    return [connection for connection, events in poll.poll(0) if events & (select.POLLRDHUP | select.POLLHUP)]


class FrameSender:
    """
    What ZeroMQ knows of who sent a frame.

    :param monitor: knows which connections of its socket are open.
    """

    __slots__ = ("_frame", "_monitor")
    known = False

    def __init__(self, frame: Any, monitor: Monitor) -> None:
        self._frame = frame
        self._monitor = monitor

    def address(self) -> str | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        address: str | None = self._property("Peer-Address")
        return address

    def connection(self) -> int | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        # Connections that are closed must be known before their numbers are seen again.
        self._monitor.doRead()
        number: int | None = self._property(_SRCFD)
        return number if number in self._monitor else None

    def isGone(self) -> bool:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        number = self._property(_SRCFD)
        return number is not None and number not in self._monitor

    def userId(self) -> str | None:
        """Not known: without ZAP, what ZeroMQ has here is what the peer calls itself."""
        return None

    def asksOneByOne(self) -> bool:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return bool(self._property("Socket-Type") == "REQ")

    def _property(self, name: Any) -> Any:
        try:
            return self._frame.get(name)
        except zmq.ZMQError:
            return None


class KnownSender(FrameSender):
    """The same of a socket whose peers ZAP has let in, and told who they are."""

    __slots__ = ()
    known = True

    def userId(self) -> str | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        user: str | None = self._property("User-Id")
        return user or None
