"""
A ROUTER on txZMQ.

txZMQ's connection keeps its place in the reactor.  Its reading and sending are replaced: a bounded number of messages a
turn, read by pyzmq's inner calls, large frames without a copy, and a send that reports failure.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from contextlib import suppress
from enum import Enum
from typing import Any, Protocol

import zmq
from twisted.logger import Logger
from txzmq import ZmqConnection, ZmqFactory

from pirate.auth.rules import SocketPolicy
from pirate.broker.interfaces import Sender
from pirate.transport.binding import Binding
from pirate.transport.discard import discardRest
from pirate.transport.interfaces import IN_PROCESS, InProcessPeer
from pirate.transport.monitor import Monitor
from pirate.transport.peers import FrameSender, InProcessSender, KnownSender, hungUp, peerAddress, peerProcess
from pirate.transport.rawsocket import EVENTS, NOBLOCK, POLLIN, SNDMORE, rawCalls
from pirate.transport.turns import MAX_MESSAGES
from pirate.transport.unfinished import FRAME_OVERHEAD, UnfinishedMessages

#: Bytes read from one socket in one turn, after which the other socket is read.
MAX_BYTES = 1 << 24
#: The bytes that each further request in a message counts as.
BATCHED_BYTES = MAX_BYTES // MAX_MESSAGES
#: Frames of up to this many bytes are copied out of ZeroMQ; larger ones are passed on as they are.
COPY_LIMIT = 4096
#: Messages in ZeroMQ's queue of one peer, in either direction.
HIGH_WATER_MARK = 1000
#: The options of both sockets.
OPTIONS = {
    # Milliseconds that the last replies may take to be sent when the server stops.
    zmq.LINGER: 1000,
    # Report a message to a peer that is not connected as an error.
    zmq.ROUTER_MANDATORY: 1,
    # Refuse a peer that claims the routing id of a connected one.
    zmq.ROUTER_HANDOVER: 0,
    # Connections that the kernel queues until they are accepted.
    zmq.BACKLOG: 1024,
    # The kernel notices a peer that has vanished: after 60 seconds of silence and three probes in 30 more, or after
    # TCP_MAXRT milliseconds without an acknowledgement.  ZeroMQ's own heartbeats do not suit every peer: ZMTP 3.0 does
    # not have them.
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 60,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.TCP_MAXRT: 60_000,
}
#: Frames of a rejected message that are dropped in one turn, at most; a peer that sends more is disconnected.
MAX_DROPPED = 1000
#: ZeroMQ silently closes a connection that sends a frame of this many times the limit.  A smaller one is read and
#: rejected, so that its sender and the log are told.
REJECTED_SIZE = 2


class Dropping(Enum):
    """How the rest of a rejected message is being dropped."""

    #: It is being read, frame by frame.
    FRAMES = "frames"
    #: It has so many frames that its peer has been disconnected; what has come of it is still being read.
    DISCONNECTED = "disconnected"


class RouterEvents(Protocol):
    """The receiver of what happens on a ROUTER, apart from its messages."""

    def takeTurn(self, readable: Router | None = None) -> None:
        """
        Read both sockets.

        :param readable: the ROUTER whose file descriptor has reported an event.
        """

    def connectionClosed(self, router: Router, connection: int) -> None:
        """Forget a connection of a ROUTER that is closed."""

    def messageUnfinished(self, router: Router, address: str | None) -> None:
        """Count a connection of a ROUTER that is closed because its message goes on beyond the limit."""

    def isOwnWorker(self, pid: int) -> bool:
        """Return whether a process is one of the server's own workers."""


class Router(ZmqConnection):
    """
    A ROUTER: a bound socket, its connections, and the limits of what they may send.

    :param factory: the owner of the ZeroMQ context.
    :param name: ``frontend`` or ``backend``.
    :param events: the receiver of events.
    :param ownWorkers: whether the server's own workers connect here.
    :ivar monitor: the monitor of the connections.
    :ivar full: whether the last delivery that failed did so because the peer's queue is full, so that a retry may
        succeed.
    :ivar armed: whether the edge-triggered descriptor will report the next message: true once a read has found the
        socket empty, false after a send.
    """

    socketType = zmq.ROUTER
    highWaterMark = HIGH_WATER_MARK
    _log = Logger()
    _constructed = False

    def __init__(self, factory: ZmqFactory, name: str, events: RouterEvents, ownWorkers: bool) -> None:
        super().__init__(factory)
        self._receive, self._send, self._get = rawCalls(self.socket)
        self._name = name
        self._events = events
        self._ownWorkers = ownWorkers
        self.armed = False
        self.full = False
        self._frameNumbers = range(1 << 31)
        self._maxBytes = 1 << 62
        self._maxFrame = 1 << 62
        self._copyLimit = COPY_LIMIT
        self._dropping: Dropping | None = None
        self._lastFrame: Any = None
        self._inProcessPeer: InProcessPeer | None = None
        self._sender: type[FrameSender] = FrameSender
        self._revoked: Set[str] = frozenset()
        self._bindings: list[Binding] = []
        for option, value in OPTIONS.items():
            self.socket.set(option, value)
        self._unfinished = UnfinishedMessages()
        self._foundEmpty = False
        self.monitor = Monitor(factory, self.socket, self, closesOldest=ownWorkers)
        self._constructed = True

    # --- before it is bound

    def setLimits(self, size: int, frames: int, total: int, options: Mapping[int, int], connections: int) -> None:
        """
        Set the limits of what peers may send.

        :param size: bytes of a frame.
        :param frames: frames of a message, including its envelope.
        :param total: bytes of a message.
        :param options: socket options: ZeroMQ's own limits.
        :param connections: connections, not counting those of the server's own workers.
        """
        self._maxFrame = size
        self._copyLimit = min(COPY_LIMIT, size)
        self.socket.set(zmq.MAXMSGSIZE, REJECTED_SIZE * size)
        self._frameNumbers = range(frames)
        self._maxBytes = total
        self._unfinished.limit = total + FRAME_OVERHEAD * frames
        for option, value in options.items():
            self.socket.set(option, value)
        self.monitor.limit = connections

    def protect(self, domain: bytes, policy: SocketPolicy) -> None:
        """
        Have ZeroMQ ask, by ZAP, whether a peer may connect, if the policy refuses any.

        :param domain: the ZAP domain.
        """
        if policy.refusesAny:
            self.socket.zap_domain = domain
            self._sender = KnownSender
        if policy.secret:
            self.socket.curve_secretkey = policy.secret
            self.socket.curve_server = True
        # Changes while the server runs; see SocketPolicy.
        self._revoked = policy.revoked

    def bind(self, endpoint: str) -> str:
        """
        Bind an endpoint.

        :return: the endpoint, with the real port in place of ``*``.
        :raise BindError: naming the endpoint and the obstacle.
        """
        binding = Binding(self.socket, self._name, endpoint)
        self._bindings.append(binding)
        return binding.bind()

    # --- its connections

    def isOwnConnection(self, connection: int) -> bool:
        """See :class:`~pirate.transport.monitor.MonitorEvents`."""
        pid = peerProcess(connection) if self._ownWorkers else 0
        return pid > 0 and self._events.isOwnWorker(pid)

    def connectionClosed(self, connection: int) -> None:
        """See :class:`~pirate.transport.monitor.MonitorEvents`."""
        self._unfinished.forget(connection)
        self._events.connectionClosed(self, connection)

    def connectionCounts(self) -> dict[str, int]:
        """Return the counts of connections; ``open`` is the current number."""
        return {"open": len(self.monitor), **self.monitor.counts}

    def closeUnfinished(self, now: float) -> None:
        """
        Close connections whose message is longer than a message may be, and still not complete.

        Call this a few times a second, outside of a turn.
        """
        if self.factory is None:
            return
        for connection in self._unfinished.examine(self.monitor.connections, self._readUntilEmpty, now):
            address = peerAddress(connection)
            self.monitor.cutOff(connection)
            self._unfinished.forget(connection)
            self._events.messageUnfinished(self, address)
        # Only what is found empty from now on says that nothing is left of what has been counted.
        self._foundEmpty = False

    def _readUntilEmpty(self) -> bool:
        """Return whether the socket has been found empty since the last examination, or is now."""
        if not self._foundEmpty and self.hasPending():
            # The file descriptor may not report this message again.
            self.doRead()
        return self._foundEmpty

    def sender(self) -> Sender:
        """Return the sender of the message that is being processed."""
        if self._lastFrame is None:
            return InProcessSender()
        return self._sender(self._lastFrame, self.monitor)

    def hungUp(self, connections: Collection[int]) -> list[int]:
        """See :class:`~pirate.transport.turns.TurnRouter`."""
        return hungUp(connections)

    def connectInProcess(self, peer: InProcessPeer) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._inProcessPeer = peer

    # --- reading

    def doRead(self) -> None:
        """Take a turn, because the file descriptor has reported an event."""
        if self._constructed:
            self.armed = False
            self._events.takeTurn(self)

    def logPrefix(self) -> str:
        """Return the name that the reactor logs errors under."""
        return "pirate"

    def hasPending(self) -> bool:
        """Return whether there is a message to read; if not, arm the file descriptor."""
        if self._get(EVENTS) & POLLIN:
            return True
        self.armed = self._foundEmpty = True
        return False

    def read(
        self,
        received: Callable[[list[bytes]], int | None],
        rejected: Callable[[list[bytes], str], None],
        expected: bool,
        most: int = MAX_MESSAGES,
    ) -> None:
        """
        Read a bounded number of messages.  An error in processing one is logged.

        :param received: processes a message, and returns how many requests it contains in excess of one, if any.
        :param rejected: processes the beginning of a message that exceeds a limit, with the reason.
        :param expected: whether a message is expected, so that polling before the first would be a wasted call.
        :param most: the number of messages, at most.
        """
        receive, get = self._receive, self._get
        budget, limit, copyLimit = MAX_BYTES, self._maxBytes, self._copyLimit
        watched = self._unfinished.watched
        if self._dropping and not self._drop():
            return
        # Polling costs half as much as a receive that fails.  So poll before the first two messages, then just receive
        # until that fails.
        if not expected and not self.hasPending():
            return
        # Processing a message may read others, when the server stops.
        outer = self._lastFrame
        for count in range(most):
            if count == 1 and not get(EVENTS) & POLLIN:
                # The end of ``hasPending``, inlined, because this runs for every message.
                self.armed = self._foundEmpty = True
                return
            try:
                frames = [receive(NOBLOCK)]
            except zmq.Again:
                self.armed = self._foundEmpty = True
                return
            left = limit
            excess = ""
            frame: Any = None
            for _ in self._frameNumbers:
                # Only a frame object tells whether it is the last.
                frame = receive(NOBLOCK, False)
                size = len(frame)
                left -= size
                if size <= copyLimit:
                    frames.append(frame.bytes)
                else:
                    frames.append(frame if size > COPY_LIMIT else frame.bytes)
                    if size > self._maxFrame:
                        excess = "frame-too-large"
                        break
                if left < 0:
                    excess = "too-large"
                    break
                if not frame.more:
                    break
            else:
                excess = "too-many-frames"
            budget -= limit - left
            self.armed = False
            self._lastFrame = frame
            if watched:
                self._noteRead(frame)
            try:
                if excess:
                    self._dropping = Dropping.FRAMES if frame.more else None
                    rejected(frames, excess)
                # ZAP's word, not the peer's: without keys no user is revoked.
                elif self._revoked and frame.get("User-Id") in self._revoked:
                    rejected(frames, "key-removed")
                elif further := received(frames):
                    budget -= further * BATCHED_BYTES
            except Exception:
                self._log.failure("dropped a message from the {name}", name=self._name)
            # Do not keep a large frame.
            self._lastFrame = outer
            if budget < 0 or self.factory is None or (self._dropping and not self._drop()):
                return

    def _noteRead(self, frame: Any) -> None:
        """Note which connection a message has been read from, while there are connections that this matters for."""
        connection = FrameSender(frame, self.monitor).descriptor()
        if connection is not None:
            self._unfinished.messageRead(connection)

    def readInProcess(self, received: Callable[[list[bytes]], int | None], frames: list[bytes]) -> None:
        """
        Process a message of the client in this process.  An error in processing it is logged.

        :param received: processes the message.
        :param frames: the message, without a routing id.
        """
        outer, self._lastFrame = self._lastFrame, None
        try:
            received([IN_PROCESS, *frames])
        except Exception:
            self._log.failure("dropped a message from this process")
        self._lastFrame = outer

    def _drop(self) -> bool:
        """
        Drop a bounded number of frames of a rejected message.

        :return: whether the message has come to its end.
        """
        receive = self._receive
        for _ in range(MAX_DROPPED):
            frame = receive(NOBLOCK, False)
            if not frame.more:
                self._dropping = None
                return True
        if self._dropping is Dropping.FRAMES:
            connection = FrameSender(frame, self.monitor).connection()
            if connection is not None:
                self.monitor.cutOff(connection)
            self._dropping = None if discardRest(self.socket) else Dropping.DISCONNECTED
        return not self._dropping

    # --- sending

    def deliver(self, frames: Sequence[bytes]) -> bool:
        """
        Send a message.

        :return: ``False`` if its peer is not connected, or its queue is full.
        """
        send = self._send
        self.armed = False
        try:
            for frame in frames[:-1]:
                send(frame, SNDMORE)
            send(frames[-1], NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (errno.EHOSTUNREACH, errno.EAGAIN):
                raise
            self.full = error.errno == errno.EAGAIN
            if frames[0] != IN_PROCESS or self._inProcessPeer is None:
                return False
            self._inProcessPeer.messageReceived(frames[1:])
        return True

    def shutdown(self) -> None:
        """Close the socket, and remove the files of its UNIX sockets."""
        if self.factory is not None:
            self.monitor.shutdown()
            super().shutdown()
            for binding in self._bindings:
                binding.remove()


def seedRoutingIds() -> None:
    """
    Seed the C library's ``rand`` from the system's randomness, where there is such a function.

    A ROUTER names the peers that have no routing id by counting from a number that libzmq takes from ``rand``, which it
    does not seed.  A peer that claims such a name before it is given out ends the whole process by an assertion in
    libzmq, and without a seed the first name is the same in every process.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).srand(int.from_bytes(os.urandom(4), "little"))
