"""
A ROUTER on txZMQ.

txZMQ's connection is kept for its place in the reactor; its reading and sending are replaced: a bounded number of
messages a turn, through pyzmq's inner calls, large frames without a copy, and a send that says whether it failed.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import zmq
from txzmq import ZmqConnection, ZmqFactory

from pirate.auth.rules import SocketPolicy
from pirate.transport.discard import discardRest

#: Messages read from one socket in one turn.
MAX_MESSAGES = 64
#: Bytes read from one socket in one turn, after which it is another's turn.
MAX_BYTES = 1 << 24
#: Frames of up to so many bytes are copied out of ZeroMQ; larger ones are passed on as they are.
COPY_LIMIT = 4096
#: Messages in ZeroMQ's hands for one peer, either way.
HIGH_WATER_MARK = 1000
#: Both sockets' options.
OPTIONS = {
    # Milliseconds that the last replies have for their way out when the server stops.
    zmq.LINGER: 1000,
    # A message to a peer that is not there is an error, not a silence.
    zmq.ROUTER_MANDATORY: 1,
    # Who takes the routing id of a peer that is there does not get its place.
    zmq.ROUTER_HANDOVER: 0,
    # Connections that the kernel keeps for us until they are accepted.
    zmq.BACKLOG: 1024,
    # A peer that has vanished is noticed by the kernel, after 60 seconds of silence and three questions in 30 more, or
    # after milliseconds without a sign that what it was sent has arrived.  ZeroMQ's own heartbeats are not for all: a
    # peer that speaks ZMTP 3.0 need not know them.
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 60,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.TCP_MAXRT: 60_000,
}
#: Frames beyond the limit after which a peer's connection is closed, or that are dropped in one turn at most.
MAX_DROPPED = 1000
#: ZeroMQ closes the connection of a frame so many times as large as may be, without a word; up to that, the frame is
#: read and refused, so that its sender and the log are told.
TOLD = 2

# The plain ints cost a tenth of the enumeration's members, and the calls below are made for every frame.
_NOBLOCK = int(zmq.NOBLOCK)
_SNDMORE = int(zmq.SNDMORE) | _NOBLOCK
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)


class Router(ZmqConnection):
    """
    One ROUTER.

    :param factory: whose context it is on.
    :param fired: called with this when its descriptor tells of something.
    :ivar refused: called with the beginning of a message that is more than may be, its last frame as ZeroMQ has it,
        and a word that says what there is too much of.
    :ivar flooded: called with a frame of a message that goes on and on.
    :ivar full: whether the last message that could not be delivered is one that its peer may take later.
    :ivar armed: whether the descriptor will tell of what comes next: it does once nothing has been found to read, and
        until the next send.
    """

    socketType = zmq.ROUTER
    highWaterMark = HIGH_WATER_MARK

    def __init__(self, factory: ZmqFactory, fired: Callable[[Router], None]) -> None:
        self._fired: Callable[[Router], None] = lambda router: None
        super().__init__(factory)
        self._fired = fired
        plain: Any = super(zmq.Socket, self.socket)
        self._receive = plain.recv
        self._send = plain.send
        self._get = plain.get
        self.armed = False
        self.full = False
        self.refused: Callable[[list[bytes], Any, str], None] = lambda frames, last, reason: None
        self.flooded: Callable[[Any], None] = lambda frame: None
        self._frames = range(1 << 31)
        self._maxBytes = 1 << 62
        self._maxFrame = 1 << 62
        self._copied = COPY_LIMIT
        # Not 0 while the rest of a message is being dropped; 2 once its peer's connection has been closed for it.
        self._dropping = 0
        for option, value in OPTIONS.items():
            self.socket.set(option, value)

    def limit(self, size: int, frames: int, total: int, options: Mapping[int, int]) -> None:
        """
        Say what is too much, before anything is bound.

        :param size: the most bytes of a frame.
        :param frames: the most frames of a message, those of the envelope among them.
        :param total: the most bytes of all of them.
        :param options: socket options: ZeroMQ's own limits.
        """
        self._maxFrame = size
        self._copied = min(COPY_LIMIT, size)
        self.socket.set(zmq.MAXMSGSIZE, TOLD * size)
        self._frames = range(frames)
        self._maxBytes = total
        for option, value in options.items():
            self.socket.set(option, value)

    def protect(self, domain: bytes, policy: SocketPolicy) -> None:
        """
        Ask, by ZAP, whether a peer may connect, if there is anything to ask.

        :param domain: the name of this socket in these questions.
        """
        if policy:
            self.socket.zap_domain = domain
        if policy.secret:
            self.socket.curve_secretkey = policy.secret
            self.socket.curve_server = True

    def doRead(self) -> None:
        """Something has happened on the socket."""
        self.armed = False
        self._fired(self)

    def logPrefix(self) -> str:
        """What the reactor calls this."""
        return "pirate"

    def pending(self) -> bool:
        """Whether there is something to read."""
        if self._get(_EVENTS) & _POLLIN:
            return True
        self.armed = True
        return False

    def read(self, received: Callable[[list[bytes], Any], None], sure: bool, most: int = MAX_MESSAGES) -> None:
        """
        Read a bounded number of messages.

        :param received: called with each message, and its last frame as ZeroMQ has it.
        :param sure: whether there is something to read, by all appearances.
        :param most: how many messages, at most.
        """
        receive = self._receive
        budget, limit, copied = MAX_BYTES, self._maxBytes, self._copied
        if self._dropping and not self._drop():
            return
        # To ask costs half of what it costs to fail: it pays for the first messages, not for each of many.
        if not sure and not self.pending():
            return
        for count in range(most):
            if count == 1 and not self.pending():
                return
            try:
                frames = [receive(_NOBLOCK)]
            except zmq.Again:
                self.armed = True
                return
            left = limit
            excess = ""
            frame: Any = None
            for _ in self._frames:
                # Only a frame that ZeroMQ hands out as such tells whether it is the last.
                frame = receive(_NOBLOCK, False)
                size = len(frame)
                left -= size
                if size <= copied:
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
            if excess:
                self.refused(frames, frame, excess)
                self._dropping = int(frame.more)
                if self.factory is None or (self._dropping and not self._drop()):
                    return
            else:
                received(frames, frame)
            if budget < 0 or self.factory is None:
                return

    def _drop(self) -> bool:
        """
        Drop more of a message that is refused.

        :return: whether that was the rest of it.
        """
        receive = self._receive
        for _ in range(MAX_DROPPED):
            frame = receive(_NOBLOCK, False)
            if not frame.more:
                self._dropping = 0
                return True
        if self._dropping == 1:
            self.flooded(frame)
            self._dropping = 0 if discardRest(self.socket) else 2
        return not self._dropping

    def deliver(self, frames: Sequence[bytes]) -> bool:
        """
        Hand a message to ZeroMQ.

        :return: false if its peer is not there, or does not take what it is sent.
        """
        send = self._send
        self.armed = False
        try:
            for frame in frames[:-1]:
                send(frame, _SNDMORE)
            send(frames[-1], _NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (errno.EHOSTUNREACH, errno.EAGAIN):
                raise
            self.full = error.errno == errno.EAGAIN
            return False
        return True
