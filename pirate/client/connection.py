"""One connection of a client: its ZeroMQ socket, and what ZeroMQ tells of it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from struct import Struct
from time import monotonic
from typing import Any
from weakref import finalize

import zmq

from pirate.client.session import Session
from pirate.errors import ConfigurationError
from pirate.wire.words import Frames

#: Messages read from one socket in one turn.
MAX_MESSAGES = 256
#: Milliseconds between two attempts to connect, at first and at most.
RECONNECT, MAX_RECONNECT = 50, 1000
#: Milliseconds that an attempt to connect may take.
CONNECT_TIMEOUT = 5000
#: Milliseconds between ZMTP heartbeats on TCP, and without an answer after which a server is given up.
HEARTBEATS: dict[int, int] = {zmq.HEARTBEAT_IVL: 20_000, zmq.HEARTBEAT_TIMEOUT: 20_000}

# The plain ints cost a tenth of the enumeration's members, and the calls below are made for every frame.
_NOBLOCK = int(zmq.NOBLOCK)
_SNDMORE = int(zmq.SNDMORE) | _NOBLOCK
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
_POLLOUT = int(zmq.POLLOUT)
#: The first frame of a monitor's event: its kind, and a value.
_MONITOR_EVENT = Struct("=HI").unpack
_LOST = int(zmq.EVENT_DISCONNECTED)
_THERE = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
_DENIED = int(zmq.EVENT_HANDSHAKE_FAILED_AUTH)


class Dialer:
    """
    Opens sockets.

    :param plain: whether they are REQs; else they are DEALERs.
    :param identity: the name of the first; the others add ``.2``, ``.3`` and so on.
    :param curve: the server's public key, the client's, and the client's secret key; ``None``: no encryption.
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
        # Its sockets must be kept from the collector of garbage: a context that it comes to first waits for them for
        # ever.
        self._forgotten = finalize(self, _forget, self._pid, self._context, self._sockets)
        self._forgotten.atexit = False

    def open(self, endpoint: str) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes] | None]:
        """
        A socket that connects to an endpoint, and another that tells of its connection, unless it is a REQ.

        :raise ConfigurationError: if it cannot.
        """
        socket = self._context.socket(zmq.REQ if self.plain else zmq.DEALER)
        # Before it connects, so that nothing is missed.
        watcher = None if self.plain else self._watch(socket)
        self._sockets.update(each for each in (socket, watcher) if each is not None)
        try:
            self._set(socket, endpoint)
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            reason = str(error.strerror).partition(" (")[0]
            raise ConfigurationError(f"endpoint {endpoint!r} cannot be used: {reason}") from None
        return socket, watcher

    def _watch(self, socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        name = f"inproc://pirate-{self._opened}"
        socket.monitor(name, _LOST | _THERE | _DENIED)
        watcher = self._context.socket(zmq.PAIR)
        watcher.connect(name)
        return watcher

    def shut(self, socket: zmq.Socket[bytes], watcher: zmq.Socket[bytes] | None) -> None:
        """Close what ``open`` gave."""
        if watcher is not None:
            socket.disable_monitor()
            watcher.close(0)
            self._sockets.discard(watcher)
        socket.close(0)
        self._sockets.discard(socket)

    def close(self) -> None:
        """Close what is left.  In a forked child nothing is closed: it is the parent's."""
        self._forgotten.detach()
        _close(self._pid, self._context)

    def _set(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        options: dict[int, int | bytes] = {
            zmq.LINGER: 0,
            # Without a connection nothing is queued: a server that comes back is not met by requests long given up.
            zmq.IMMEDIATE: 1,
            # Only where it is needed: it would make a name mean its IPv6 address first.
            zmq.IPV6: int("[" in endpoint),
            zmq.RECONNECT_IVL: RECONNECT,
            zmq.RECONNECT_IVL_MAX: MAX_RECONNECT,
            zmq.CONNECT_TIMEOUT: CONNECT_TIMEOUT,
            # Replies are kept until they are read: a server would lose what it has no room for.
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


def _forget(pid: int, context: zmq.Context[zmq.Socket[bytes]], sockets: set[zmq.Socket[bytes]]) -> None:
    """A client that nobody refers to any more was not closed."""
    _close(pid, context)
    if pid == os.getpid():
        warnings.warn("a client was not closed: close it, or use it in a with block", ResourceWarning, stacklevel=2)


class Connection:
    """
    A connection of a session.

    :param changed: called with this before its descriptors go, and true, and after there are new ones, and false.
    :ivar socket: the socket's file descriptor: readable when ``attend`` is to be called.
    :ivar monitor: another, readable when ``watch`` is to be called; -1 if there is none.
    :ivar touched: whether ``attend`` must be called before anybody waits for the descriptor.
    """

    def __init__(
        self, dialer: Dialer, session: Session, endpoint: str, changed: Callable[[Connection, bool], None]
    ) -> None:
        self._dialer = dialer
        self._session = session
        self._endpoint = endpoint
        self._changed = changed
        self._open()
        self.peer = session.add(endpoint, self)
        changed(self, False)

    def _open(self) -> None:
        self._socket, self._watcher = self._dialer.open(self._endpoint)
        plain: Any = super(zmq.Socket, self._socket)
        self._receive, self._send, self._get = plain.recv, plain.send, plain.get
        self.socket = self._socket.fileno()
        self.monitor = -1 if self._watcher is None else self._watcher.fileno()
        self.touched = True
        self._torn = False
        # A connection that is about to go takes messages still, which are lost with it: what counts is what the
        # monitor says.
        self._there = self._watcher is None
        # Its descriptor tells of nothing before somebody has looked for the first time.
        self._unseen = self._watcher is not None

    def reopen(self) -> None:
        """Replace the sockets."""
        self._changed(self, True)
        self.close()
        self._open()
        self._changed(self, False)

    def close(self) -> None:
        """Close the sockets."""
        self._dialer.shut(self._socket, self._watcher)

    def send(self, frames: Frames) -> bool:
        """Send a message; false if there is no connection, or if it takes no more."""
        send = self._send
        # To send may use up the sign that something has come.
        self.touched = True
        if self._torn:
            return False
        # If it stays so, something has interrupted it: what is sent next would be the rest of half a message.
        self._torn = True
        try:
            for frame in frames[:-1]:
                send(frame, _SNDMORE)
            send(frames[-1], _NOBLOCK)
        except zmq.Again:
            self._torn = False
            return False
        self._torn = False
        return True

    def fired(self) -> bool:
        """The same as ``attend``, when the descriptor says that there is something."""
        # A REQ may not be read at any time.
        if self._dialer.plain or not self._read():
            return self.attend()
        self.touched = self.touched or not self.peer.ready
        return True

    def attend(self) -> bool:
        """
        Tell the session of a bounded number of messages, and of a connection that is ready.

        :return: whether anything came.
        """
        if self._torn:
            self.reopen()
            self._session.lost(self.peer, monotonic())
            return True
        if self._unseen:
            self._unseen = False
            self.watch()
        events = self._get(_EVENTS)
        self.touched = False
        if events & _POLLIN:
            self._read()
            # To read may use up the sign that messages are taken again.
            self.touched = self.touched or not self.peer.ready
            return True
        if events & _POLLOUT and self._there and not self.peer.ready:
            self._session.connected(self.peer, monotonic())
            return True
        return False

    def watch(self) -> None:
        """Tell the session of a connection that is lost."""
        lost = False
        while self._watcher is not None and not self._watcher.closed and int(self._watcher.get(zmq.EVENTS)) & _POLLIN:
            event = _MONITOR_EVENT(self._watcher.recv_multipart(_NOBLOCK)[0])[0]
            lost = lost or event == _LOST
            self._there = event == _THERE
            if event == _DENIED:
                self._session.denied(self.peer)
        self.touched = True
        if lost:
            # What came before is as good as ever.
            while not self._socket.closed and self._get(_EVENTS) & _POLLIN:
                self._read()
            self._session.lost(self.peer, monotonic())

    def _read(self) -> bool:
        """
        Read a bounded number of messages.  What comes after has the descriptor fire, unless this is ``touched``.

        :return: whether there were any.
        """
        receive, received, peer, socket = self._receive, self._session.received, self.peer, self._socket
        now = monotonic()
        for count in range(MAX_MESSAGES):
            # To ask costs half of what it costs to fail: it pays for the first messages, not for each of many.
            # A REQ has no answer but one: to read on would be an error.
            if count == 1 or (count and self._watcher is None):
                if not self._session.open:
                    # The next request is sent first; then there is time to ask.
                    self.touched = True
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
        self.touched = True
        return True
