"""The senders of frames: what ZeroMQ and the kernel know of the peer of a connection."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterable
from socket import AF_UNIX, SOL_SOCKET
from struct import Struct
from typing import Any

import zmq

from pirate.transport.monitor import Monitor, borrowSocket

_SRCFD = int(zmq.SRCFD)
#: The credentials of the peer of a UNIX socket: process, user, group.
_CREDENTIALS = Struct("3i")
if sys.platform.startswith("linux"):
    from socket import SO_PEERCRED


def peerProcess(connection: int) -> int:
    """Return the process id of a connection's peer on a UNIX socket; 0 if it is unknown."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        with borrowSocket(connection) as peer:
            if peer.family != AF_UNIX:
                return 0
            pid: int = _CREDENTIALS.unpack(peer.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS.size))[0]
            return pid
    except OSError:
        return 0


def peerAddress(connection: int) -> str | None:
    """Return the IP address of a connection's peer; ``None`` if it has none."""
    try:
        with borrowSocket(connection) as peer:
            return None if peer.family == AF_UNIX else str(peer.getpeername()[0])
    except OSError:
        return None


def hungUp(connections: Iterable[int]) -> list[int]:
    """
    Return those connections that their peers have closed while messages sent before are still unread.

    ZeroMQ reads no more of a peer than its queue holds, and so reports the end of such a connection late.
    """
    if not hasattr(select, "POLLRDHUP"):
        return []
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLRDHUP)
    return [connection for connection, events in poll.poll(0) if events & (select.POLLRDHUP | select.POLLHUP)]


class FrameSender:
    """
    The sender of a frame, on a socket that admits every peer.

    It implements :class:`~pirate.broker.interfaces.Sender`.

    :param frame: a frame as pyzmq hands it out.
    :param monitor: the monitor of the socket that the frame was read from.
    """

    __slots__ = ("_frame", "_monitor")

    def __init__(self, frame: Any, monitor: Monitor) -> None:
        self._frame = frame
        self._monitor = monitor

    def address(self) -> str | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        address: str | None = self._property("Peer-Address")
        return address

    def connection(self) -> int | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        # The kernel reuses the descriptor of a closed connection, so read the events of closed ones first.
        self._monitor.doRead()
        number: int | None = self._property(_SRCFD)
        return number if number in self._monitor else None

    def isGone(self) -> bool:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        number = self._property(_SRCFD)
        return number is not None and number not in self._monitor

    def descriptor(self) -> int | None:
        """Return the number of the connection, which may be closed by now; ``None`` if it is unknown."""
        number: int | None = self._property(_SRCFD)
        return number

    def userId(self) -> str | None:
        """Return ``None``: without ZAP, ZeroMQ reports as the user id whatever the peer claims."""
        return None

    def asksOneByOne(self) -> bool:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return bool(self._property("Socket-Type") == "REQ")

    def _property(self, name: Any) -> Any:
        try:
            return self._frame.get(name)
        except zmq.ZMQError:
            return None


class InProcessSender:
    """
    The client in the server's own process.

    It implements :class:`~pirate.broker.interfaces.Sender`.
    """

    __slots__ = ()

    def address(self) -> str | None:
        """Return ``None``: it has no address."""
        return None

    def connection(self) -> int | None:
        """Return ``None``: it has no connection."""
        return None

    def isGone(self) -> bool:
        """Return ``False``."""
        return False

    def userId(self) -> str | None:
        """Return ``None``: it has no key."""
        return None

    def asksOneByOne(self) -> bool:
        """Return ``False``."""
        return False


class KnownSender(FrameSender):
    """The sender of a frame, on a socket whose peers ZAP has admitted and named."""

    __slots__ = ()

    def userId(self) -> str | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        user: str | None = self._property("User-Id")
        return user or None
