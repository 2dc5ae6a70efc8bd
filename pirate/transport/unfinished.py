"""
Connections whose message goes on beyond the limit without ever ending.

ZeroMQ hands out a message only when it is complete, and keeps what has come of it until then.  No option of it limits
how much that is, and it reports nothing of an incomplete message.  The kernel, however, counts the bytes of each TCP
connection.  A connection is closed once all of the following holds:

- Since some moment, ZeroMQ has read more bytes of it than a whole message may have, and than a peer may send in
  commands.
- After that, the socket was found empty.  So nothing complete has been left in ZeroMQ, however long requests were held
  back before.
- No message of the connection has been read since that same moment.

So these bytes are one incomplete message, which would be rejected if it ever came to its end.  How long a message takes
does not matter.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fcntl import ioctl
from socket import AF_INET, IPPROTO_TCP, SOCK_STREAM, socket
from struct import Struct, error
from termios import FIONREAD

#: Seconds between two examinations, and connections of one socket that are looked at in each.
INTERVAL, MOST_EXAMINED = 0.25, 200
#: Bytes that a connection receives before it is watched; from then on, each message that is read is checked for being
#: its own.
WATCH_AFTER = 1 << 20
#: Bytes that a frame has on the wire besides its body, at most: its head, and with CURVE its encryption.
FRAME_OVERHEAD = 64
#: Bytes a second that a peer may send in commands, such as heartbeats, and never send a message.
COMMANDS_RATE = 4096
#: Bytes that ZeroMQ has read and not made frames of yet, at most; it reads 8 KiB at a time, or the rest of one frame.
IN_DECODER = 1 << 16
#: The field of Linux's ``struct tcp_info`` that counts the bytes received, and its place.
_BYTES_RECEIVED, _OFFSET = Struct("=Q"), 128
_TCP_INFO = 11

#: Whether the system counts the bytes that a connection receives.
SUPPORTED = sys.platform.startswith("linux")


def bytesReceived(connection: int) -> tuple[int, int] | None:
    """
    Return how many bytes a TCP connection has received, and how many of them the kernel still keeps.

    These are asked for later, so that the rest is never more than what has really been read.

    :return: ``None`` if that is not known: it is no TCP connection, or closed already, or the system does not tell.
    """
    try:
        # With the kind of socket given, Python does not ask the kernel for it.
        peer = socket(AF_INET, SOCK_STREAM, 0, fileno=connection)
    except OSError:
        return None
    try:
        info = peer.getsockopt(IPPROTO_TCP, _TCP_INFO, _OFFSET + _BYTES_RECEIVED.size)
        unread = int.from_bytes(ioctl(connection, FIONREAD, bytes(4)), sys.byteorder)
        return _BYTES_RECEIVED.unpack_from(info, _OFFSET)[0], unread
    except (OSError, error):
        return None
    finally:
        peer.detach()


@dataclass(slots=True)
class _Watch:
    """
    A connection that is watched, from which no message has been read since.

    :ivar start: the bytes that it had received when the watch began.
    :ivar since: when that was, in seconds.
    :ivar exceeds: whether more has come than a whole message may have.
    """

    start: int
    since: float
    exceeds: bool = False


class UnfinishedMessages:
    """
    Finds the connections of a socket whose message is too long and still not complete.

    :param received: returns the bytes that a connection has received; see :func:`bytesReceived`.
    :ivar limit: the bytes on the wire of a whole message, at most.
    :ivar watched: the connections that :meth:`messageRead` must be told of.
    """

    def __init__(self, received: Callable[[int], tuple[int, int] | None] = bytesReceived) -> None:
        self._received = received
        self._counted: dict[int, int] = {}
        self._next = 0
        self.limit = 1 << 62
        self.watched: dict[int, _Watch] = {}

    def messageRead(self, connection: int) -> None:
        """Note that a message has been read; its connection is no longer watched."""
        if self.watched.pop(connection, None) is not None:
            count = self._received(connection)
            if count is not None:
                self._counted[connection] = count[0]

    def forget(self, connection: int) -> None:
        """Forget a connection that is closed; a later one may have the same number."""
        self._counted.pop(connection, None)
        self.watched.pop(connection, None)

    def examine(self, connections: Sequence[int], foundEmpty: Callable[[], bool], now: float) -> list[int]:
        """
        Look at some of the open connections; at others the next time.

        :param foundEmpty: returns whether the socket has been found empty since the last examination.
        :param now: the time in seconds.
        :return: the connections to close.
        """
        exceeding = [each for each, watch in self.watched.items() if watch.exceeds]
        found = exceeding if exceeding and foundEmpty() else []
        size = len(connections)
        for index in range(self._next, self._next + min(size, MOST_EXAMINED)):
            self._count(connections[index % size], now)
        self._next = (self._next + MOST_EXAMINED) % size if size > MOST_EXAMINED else 0
        return found

    def _count(self, connection: int, now: float) -> None:
        """Start to watch a connection that has received much, or find that it has received more than a message."""
        count = self._received(connection)
        if count is None:
            return
        total, unread = count
        watch = self.watched.get(connection)
        if watch is None:
            if total - self._counted.setdefault(connection, 0) > WATCH_AFTER:
                self.watched[connection] = _Watch(total, now)
        else:
            allowed = self.limit + IN_DECODER + COMMANDS_RATE * (now - watch.since)
            watch.exceeds = total - unread - watch.start > allowed
