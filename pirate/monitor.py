"""What ZeroMQ knows of a socket's peers: who sent a frame, and whose connection is closed."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

import zmq
from txzmq import ZmqConnection, ZmqFactory

_NOBLOCK = int(zmq.NOBLOCK)
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
_SRCFD = int(zmq.SRCFD)
#: The first frame of a monitor's event: its kind, and the file descriptor.
_MONITOR_EVENT = Struct("=HI").unpack


class Monitor(ZmqConnection):
    """
    Tells of a socket's connections that are closed.

    :param socket: the socket, which must not be bound yet: to bind one waits until its monitor listens.
    :ivar closed: called with each connection's number, which is that of its file descriptor.
    """

    socketType = zmq.PAIR

    def __init__(self, factory: ZmqFactory, socket: Any) -> None:
        self.closed: Callable[[int], None] = lambda connection: None
        self._watched = socket
        self._get: Callable[[int], int] = lambda option: 0
        super().__init__(factory)
        endpoint = f"inproc://pirate-monitor-{id(self)}"
        socket.monitor(endpoint, zmq.EVENT_DISCONNECTED)
        self.socket.connect(endpoint)
        plain: Any = super(zmq.Socket, self.socket)
        self._get = plain.get

    def logPrefix(self) -> str:
        """What the reactor calls this."""
        return "pirate"

    def doRead(self) -> None:
        """Read every event that there is: they are few, and none is large."""
        while self.factory is not None and self._get(_EVENTS) & _POLLIN:
            event = self.socket.recv_multipart(_NOBLOCK)
            self.closed(_MONITOR_EVENT(event[0])[1])

    def shutdown(self) -> None:
        """Stop watching, before the watched socket is closed."""
        if self.factory is not None:
            self._watched.disable_monitor()
            super().shutdown()


class FrameSender:
    """
    What ZeroMQ knows of who sent a frame.

    :param before: called before the connection's number is given, to learn of those that are closed.
    """

    __slots__ = ("_before", "_frame")

    def __init__(self, frame: Any, before: Callable[[], None]) -> None:
        self._frame = frame
        self._before = before

    def address(self) -> str | None:
        """See L{pirate.waiting.Sender}."""
        address: str | None = self._property("Peer-Address")
        return address

    def connection(self) -> int | None:
        """See L{pirate.waiting.Sender}."""
        self._before()
        number: int | None = self._property(_SRCFD)
        return number

    def asksOneByOne(self) -> bool:
        """See L{pirate.waiting.Sender}."""
        return bool(self._property("Socket-Type") == "REQ")

    def _property(self, name: Any) -> Any:
        try:
            return self._frame.get(name)
        except zmq.ZMQError:
            return None
