"""
A ROUTER on txZMQ.

txZMQ's connection is kept for its place in the reactor; its reading and sending are replaced: a bounded number of
messages a turn, through pyzmq's inner calls, large frames without a copy, and a send that says whether it failed.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Container, Sequence
from typing import Any

import zmq
from txzmq import ZmqConnection, ZmqFactory

from pirate.admission import Door

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
    # Milliseconds that a peer has for the handshake.
    zmq.HANDSHAKE_IVL: 5000,
}
#: Milliseconds between ZMTP heartbeats on TCP, and without an answer after which a peer is dropped.  Not often, because
#: each costs libzmq a search through the timers of all connections.
HEARTBEATS = {zmq.HEARTBEAT_IVL: 60_000, zmq.HEARTBEAT_TIMEOUT: 30_000}

# The plain ints cost a tenth of the enumeration's members, and the calls below are made for every frame.
_NOBLOCK = int(zmq.NOBLOCK)
_SNDMORE = int(zmq.SNDMORE) | _NOBLOCK
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
_RCVMORE = int(zmq.RCVMORE)
#: The first byte of a request's id, at least; no word begins so.
_ID = b"\x80"


class Router(ZmqConnection):
    """
    One ROUTER.

    :param factory: whose context it is on.
    :param fired: called with this when its descriptor tells of something.
    :param heartbeats: whether peers on TCP that do not answer ZMTP's heartbeats are dropped.
    :ivar ours: the peers that are known to speak as our own workers do, by routing id.
    :ivar full: whether the last message that could not be delivered is one that its peer may take later.
    :ivar armed: whether the descriptor will tell of what comes next: it does once nothing has been found to read, and
        until the next send.
    """

    socketType = zmq.ROUTER
    highWaterMark = HIGH_WATER_MARK

    def __init__(self, factory: ZmqFactory, fired: Callable[[Router], None], heartbeats: bool) -> None:
        self._fired: Callable[[Router], None] = lambda router: None
        super().__init__(factory)
        self._fired = fired
        plain: Any = super(zmq.Socket, self.socket)
        self._receive = plain.recv
        self._send = plain.send
        self._get = plain.get
        self.armed = False
        self.full = False
        self.ours: Container[bytes] = ()
        options = {**OPTIONS, **(HEARTBEATS if heartbeats else {})}
        for option, value in options.items():
            self.socket.set(option, value)

    def protect(self, domain: bytes, door: Door) -> None:
        """
        Ask, by ZAP, whether a peer may connect, if there is anything to ask.

        :param domain: the name of this socket in these questions.
        """
        if door:
            self.socket.zap_domain = domain
        if door.secret:
            self.socket.curve_secretkey = door.secret
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

    def read(self, received: Callable[[list[bytes], Any], None], sure: bool) -> None:
        """
        Read a bounded number of messages.

        :param received: called with each message, and its last frame as ZeroMQ has it.
        :param sure: whether there is something to read, by all appearances.
        """
        receive = self._receive
        budget = MAX_BYTES
        # To ask costs half of what it costs to fail: it pays for the first messages, not for each of many.
        if not sure and not self.pending():
            return
        for count in range(MAX_MESSAGES):
            if count == 1 and not self.pending():
                return
            try:
                frames = [receive(_NOBLOCK)]
            except zmq.Again:
                self.armed = True
                return
            frame = None
            more = frames[0] not in self.ours or self._begin(frames)
            while more:
                frame = receive(_NOBLOCK, False)
                size = len(frame)
                budget -= size
                frames.append(frame.bytes if size <= COPY_LIMIT else frame)
                more = frame.more
            self.armed = False
            received(frames, frame)
            if budget < 0 or self.factory is None:
                return

    def _begin(self, frames: list[bytes]) -> bool:
        """
        Read what is there for certain in a message of one of our own workers: a delimiter and a word, or a delimiter,
        an id, and what follows an id.

        To ask of each frame whether there is another costs four times as much as to read it.

        :return: whether there is more.
        """
        receive = self._receive
        frames += receive(), (word := receive())
        if word[:1] >= _ID:
            frames.append(receive())
            return True
        return bool(self._get(_RCVMORE))

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
