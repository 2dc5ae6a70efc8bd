"""One connection of a client: its ZeroMQ socket, and the monitor that reports when it is established or lost."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from struct import Struct
from typing import Any, Protocol
from weakref import finalize

import zmq

from pirate.client.session import Session
from pirate.errors import ConfigurationError
from pirate.wire.words import Frames

#: The most messages read from one socket in one turn.
MAX_MESSAGES = 256
#: Milliseconds between two attempts to connect, initially and at most.
RECONNECT, MAX_RECONNECT = 50, 1000
#: Milliseconds that an attempt to connect may take.
CONNECT_TIMEOUT = 5000
#: ZMTP heartbeats on TCP: milliseconds between two, and without an answer until the connection counts as lost.
HEARTBEATS: dict[int, int] = {zmq.HEARTBEAT_IVL: 20_000, zmq.HEARTBEAT_TIMEOUT: 20_000}

# Plain integers cost a tenth of the enumeration's members, and are used for every frame.
_NOBLOCK = int(zmq.NOBLOCK)
_SNDMORE = int(zmq.SNDMORE) | _NOBLOCK
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
_POLLOUT = int(zmq.POLLOUT)
#: Unpacks the first frame of a monitor event: its kind, and a value.
_MONITOR_EVENT = Struct("=HI").unpack
_LOST = int(zmq.EVENT_DISCONNECTED)
_ESTABLISHED = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
_DENIED = int(zmq.EVENT_HANDSHAKE_FAILED_AUTH)


class Dialer:
    """
    A ZeroMQ context, and the sockets that are opened in it.

    :param plain: whether to open REQ sockets instead of DEALERs.
    :param identity: the routing id of the first socket; later ones append ``.2``, ``.3`` and so on.
    :param curve: the server's public key, the client's, and the client's secret key; ``None`` for no encryption.
    """

    def __init__(
        self, plain: bool = False, identity: bytes | None = None, curve: tuple[bytes, bytes, bytes] | None = None
    ) -> None:
        self.plain = plain
        self._identity = identity
        self._curve = curve
        self._opened = 0
        self._pid = os.getpid()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets: set[zmq.Socket[bytes]] = set()
        # The finalizer keeps the sockets alive: a context that is collected before them would wait for them for ever.
        self._finalizer = finalize(self, _collected, self._pid, self._context, self._sockets)
        self._finalizer.atexit = False

    def open(self, endpoint: str) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes] | None]:
        """
        Open a socket that connects to an endpoint.

        :return: the socket, and its monitor; a REQ socket has none.
        :raise ConfigurationError: if ZeroMQ rejects the endpoint.
        """
        socket = self._context.socket(zmq.REQ if self.plain else zmq.DEALER)
        # Before it connects, so that no event is missed.
        monitor = None if self.plain else self._newMonitor(socket)
        self._sockets.update(each for each in (socket, monitor) if each is not None)
        try:
            self._set(socket, endpoint)
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            reason = str(error.strerror).partition(" (")[0]
            raise ConfigurationError(f"cannot connect to endpoint {endpoint!r}: {reason}") from None
        return socket, monitor

    def _newMonitor(self, socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        name = f"inproc://pirate-{self._opened}"
        socket.monitor(name, _LOST | _ESTABLISHED | _DENIED)
        monitor = self._context.socket(zmq.PAIR)
        monitor.connect(name)
        return monitor

    def shut(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes] | None) -> None:
        """Close a socket and its monitor."""
        if monitor is not None:
            socket.disable_monitor()
            monitor.close(0)
            self._sockets.discard(monitor)
        socket.close(0)
        self._sockets.discard(socket)

    def close(self) -> None:
        """Close all sockets.  In a forked child do nothing: they belong to the parent."""
        self._finalizer.detach()
        _close(self._pid, self._context)

    def _set(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        options: dict[int, int | bytes] = {
            zmq.LINGER: 0,
            # Queue nothing without a connection: a server that comes back receives no requests that have timed out.
            zmq.IMMEDIATE: 1,
            # Only where needed: otherwise ZeroMQ would prefer the IPv6 address of a name.
            zmq.IPV6: int("[" in endpoint),
            zmq.RECONNECT_IVL: RECONNECT,
            zmq.RECONNECT_IVL_MAX: MAX_RECONNECT,
            zmq.CONNECT_TIMEOUT: CONNECT_TIMEOUT,
            # Queue replies without limit: a server drops a reply that it cannot send.
            zmq.RCVHWM: 0,
        }
        if endpoint.startswith("tcp://") and not self.plain:
            options |= HEARTBEATS
        self._opened += 1
        if self._identity is not None:
            options[zmq.ROUTING_ID] = self._identity + (b".%d" % self._opened if self._opened > 1 else b"")
        if self._curve is not None:
            options |= zip((zmq.CURVE_SERVERKEY, zmq.CURVE_PUBLICKEY, zmq.CURVE_SECRETKEY), self._curve, strict=True)
        for option, value in options.items():
            socket.set(option, value)


def _close(pid: int, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    if pid == os.getpid():
        context.destroy(linger=0)


def _collected(pid: int, context: zmq.Context[zmq.Socket[bytes]], sockets: set[zmq.Socket[bytes]]) -> None:
    """Close the sockets of a client that was garbage-collected without being closed."""
    _close(pid, context)
    if pid == os.getpid():
        warnings.warn("a client was not closed: close it, or use it in a with block", ResourceWarning, stacklevel=2)


class ConnectionOwner(Protocol):
    """The loop that waits for the descriptors of connections."""

    def descriptorsOpened(self, connection: Connection) -> None:
        """Wait for the descriptors of a connection from now on."""

    def descriptorsClosing(self, connection: Connection) -> None:
        """Wait for them no longer: they are about to be closed."""


class Connection:
    """
    A connection of a session.

    :param clock: returns the time in seconds.
    :ivar socket: the socket's file descriptor; when it is readable, call :meth:`socketReadable`.
    :ivar monitor: the monitor's, for :meth:`monitorReadable`; -1 if there is none.
    :ivar pending: whether :meth:`attend` must be called before the next wait for the descriptors.
    """

    def __init__(
        self, dialer: Dialer, session: Session, endpoint: str, owner: ConnectionOwner, clock: Callable[[], float]
    ) -> None:
        self._dialer = dialer
        self._clock = clock
        self._session = session
        self._endpoint = endpoint
        self._owner = owner
        self._open()
        self.peer = session.add(endpoint, self)
        owner.descriptorsOpened(self)

    def _open(self) -> None:
        self._socket, self._monitor = self._dialer.open(self._endpoint)
        # The methods of the C class, without pyzmq's Python layer above them: they run for every frame.
        # A simulated socket has no such layer.
        raw: Any = super(zmq.Socket, self._socket) if isinstance(self._socket, zmq.Socket) else self._socket
        self._receive, self._send, self._get = raw.recv, raw.send, raw.get
        self.socket = self._socket.fileno()
        self.monitor = -1 if self._monitor is None else self._monitor.fileno()
        self.pending = True
        self._interrupted = False
        # A connection that is about to close still accepts messages, which are lost: only the monitor is reliable.
        self._established = self._monitor is None
        # The monitor's descriptor does not become readable before its events were read once.
        self._unread = self._monitor is not None

    def reopen(self) -> None:
        """Replace the sockets."""
        self._owner.descriptorsClosing(self)
        self.close()
        self._open()
        self._owner.descriptorsOpened(self)

    def close(self) -> None:
        """Close the sockets."""
        self._dialer.shut(self._socket, self._monitor)

    def send(self, frames: Frames) -> bool:
        """
        Send a message.

        :return: whether ZeroMQ has accepted it.
        """
        send = self._send
        # Sending may consume the descriptor's event for a message that has arrived.
        self.pending = True
        if self._interrupted:
            return False
        # It stays set if a signal interrupts the loop: the next frame sent would continue half a message.
        self._interrupted = True
        try:
            for frame in frames[:-1]:
                send(frame, _SNDMORE)
            send(frames[-1], _NOBLOCK)
        except zmq.Again:
            self._interrupted = False
            return False
        self._interrupted = False
        return True

    def socketReadable(self) -> bool:
        """
        Do the work of :meth:`attend` after the socket's descriptor has become readable.

        :return: whether anything happened.
        """
        # A REQ socket may be read only while it waits for a reply.
        if self._dialer.plain or not self._read():
            return self.attend()
        self.pending = self.pending or not self.peer.ready
        return True

    def attend(self) -> bool:
        """
        Pass a bounded number of messages to the session, and report a connection that has become ready.

        :return: whether anything happened.
        """
        if self._interrupted:
            self.reopen()
            self._session.lost(self.peer, self._clock())
            return True
        if self._unread:
            self._unread = False
            self.monitorReadable()
        events = self._get(_EVENTS)
        self.pending = False
        if events & _POLLIN:
            self._read()
            # Reading may consume the descriptor's event for a socket that accepts messages again.
            self.pending = self.pending or not self.peer.ready
            return True
        if events & _POLLOUT and self._established and not self.peer.ready:
            self._session.connected(self.peer, self._clock())
            return True
        return False

    def monitorReadable(self) -> None:
        """Read the monitor's events, and report a connection that was lost or rejected."""
        lost = False
        while self._monitor is not None and not self._monitor.closed and int(self._monitor.get(zmq.EVENTS)) & _POLLIN:
            event = _MONITOR_EVENT(self._monitor.recv_multipart(_NOBLOCK)[0])[0]
            lost = lost or event == _LOST
            self._established = event == _ESTABLISHED
            if event == _DENIED:
                self._session.denied(self.peer)
        self.pending = True
        if lost:
            # Messages that arrived before still count.
            while not self._socket.closed and self._get(_EVENTS) & _POLLIN:
                self._read()
            self._session.lost(self.peer, self._clock())

    def _read(self) -> bool:
        """
        Read a bounded number of messages.  If more are left, ``pending`` is set or the descriptor becomes readable.

        :return: whether there were any.
        """
        receive, received, peer, socket = self._receive, self._session.received, self.peer, self._socket
        now = self._clock()
        for count in range(MAX_MESSAGES):
            # Polling costs half as much as a read that fails.  So poll after the first message, then just read until
            # that fails.  A REQ socket receives one reply; a further read would be an error.
            if count == 1 or (count and self._monitor is None):
                if not self._session.open:
                    # Let the caller send its next request first, and ask then.
                    self.pending = True
                    return True
                if not self._get(_EVENTS) & _POLLIN:
                    return True
            try:
                frame = receive(_NOBLOCK, False)
            except zmq.Again:
                return count > 0
            frames = [frame.bytes]
            while frame.more:
                frame = receive(_NOBLOCK, False)
                frames.append(frame.bytes)
            received(peer, frames, now)
            if socket is not self._socket or socket.closed:
                return True
        self.pending = True
        return True
