"""
The broker's two ROUTERs, on txZMQ.

txZMQ's connection is kept for its place in the reactor; its reading and sending are replaced.  One turn of the
reactor reads a bounded number of messages, of the backend first: a descriptor of ZeroMQ tells of new events once, so
whatever stops early, or sends, looks again before it goes.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any

import zmq
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from txzmq import ZmqConnection, ZmqFactory

from pirate.binding import Binding

#: Messages read from one socket in one turn.
MAX_MESSAGES = 64
#: Times that so many are read when the server stops.
LAST_CALL = 100
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
    # Connections that the kernel keeps for us until they are accepted.
    zmq.BACKLOG: 1024,
    # Milliseconds that a peer has for the handshake.
    zmq.HANDSHAKE_IVL: 5000,
}
#: Milliseconds between ZMTP heartbeats on TCP, and without an answer after which a peer is dropped.
HEARTBEATS = {zmq.HEARTBEAT_IVL: 5000, zmq.HEARTBEAT_TIMEOUT: 15000}

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
    :param heartbeats: whether peers on TCP that do not answer ZMTP's heartbeats are dropped.
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
        options = {**OPTIONS, **(HEARTBEATS if heartbeats else {})}
        for option, value in options.items():
            self.socket.set(option, value)

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
            more = True
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
            return False
        return True


class Transport:
    """
    Both ROUTERs, read in turns.

    :param reactor: the reactor.
    :ivar wantsPeers: whether to find out the clients' addresses.
    """

    _log = Logger()
    _fromClient: Callable[[list[bytes], str | None], None]
    _fromWorker: Callable[[list[bytes]], None]
    _wanted: Callable[[], bool]
    _turned: Callable[[], None]

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.wantsPeers = False
        self._again: IDelayedCall | None = None
        self._inTurn = False
        self._factory = ZmqFactory()
        self._factory.reactor = reactor
        self._frontend = Router(self._factory, self._turn, heartbeats=True)
        self._backend = Router(self._factory, self._turn, heartbeats=False)
        self._bindings: list[Binding] = []
        self._closing = DeferredLock()

    def start(
        self,
        fromClient: Callable[[list[bytes], str | None], None],
        fromWorker: Callable[[list[bytes]], None],
        wanted: Callable[[], bool],
        turned: Callable[[], None],
    ) -> None:
        """
        Say who is to be told, before anything is bound.

        :param fromClient: called with each message of the frontend and its client's address, or C{None}.
        :param fromWorker: called with each message of the backend.
        :param wanted: whether the frontend should be read at all.
        :param turned: called after each turn.
        """
        self._fromClient = fromClient
        self._fromWorker = fromWorker
        self._wanted = wanted
        self._turned = turned

    def bind(self, frontend: Sequence[str], backend: Sequence[str]) -> tuple[list[str], list[str]]:
        """
        Bind both sockets.

        :return: the endpoints of each as they are, with the port of one that was given as C{*}.
        :raise BindError: naming the endpoint; nothing stays bound.
        """
        try:
            return (
                [self._bind(self._frontend, "frontend", each) for each in frontend],
                [self._bind(self._backend, "backend", each) for each in backend],
            )
        except BaseException:
            self._closeSockets()
            self._factory.context.term()
            raise

    def lastCall(self) -> None:
        """
        Read what clients have sent so far.

        The sockets stay bound: to unbind one is to cut off those who are connected to it.
        """
        self._frontend.armed = False
        for _ in range(LAST_CALL):
            if not self._wanted() or self._frontend.armed:
                break
            self._frontend.read(self._frontendReceived, sure=False)
        self.wake()

    def toClient(self, frames: Sequence[bytes]) -> bool:
        """Send to a client; false if it is not there, or does not take what it is sent."""
        return self._deliver(self._frontend, frames)

    def toWorker(self, frames: Sequence[bytes]) -> bool:
        """Send to a worker; false if it is not there, or does not take what it is sent."""
        return self._deliver(self._backend, frames)

    def wake(self) -> None:
        """Take a turn soon: something has changed that was not read from a socket."""
        if self._again is None and not self._inTurn:
            self._again = self._reactor.callLater(0, self._turn)

    def close(self) -> Deferred[None]:
        """
        Close both sockets, and let the last messages out.

        :return: fires when they are out, or their time is over.
        """
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._closeSockets()
        # One at a time: of two threads that wait for the end of one context, one waits for ever.
        return self._closing.run(
            deferToThreadPool, self._reactor, self._reactor.getThreadPool(), self._factory.context.term
        )

    def _bind(self, router: Router, name: str, endpoint: str) -> str:
        binding = Binding(router.socket, name, endpoint)
        self._bindings.append(binding)
        return binding.bind()

    def _closeSockets(self) -> None:
        for router in (self._frontend, self._backend):
            if router.factory is not None:
                router.shutdown()
        for binding in self._bindings:
            binding.remove()

    def _deliver(self, router: Router, frames: Sequence[bytes]) -> bool:
        if self._again is None and not self._inTurn:
            self.wake()
        return router.deliver(frames)

    def _turn(self, fired: Router | None = None) -> None:
        """Read some of both sockets, and see whether there is more."""
        if self._again is not None:
            if self._again.active():
                self._again.cancel()
            self._again = None
        if self._inTurn:
            return
        frontend, backend = self._frontend, self._backend
        self._inTurn = True
        try:
            backend.read(self._backendReceived, fired is backend)
            if frontend.factory is not None and self._wanted():
                frontend.read(self._frontendReceived, fired is frontend)
            self._turned()
        finally:
            self._inTurn = False
        if frontend.factory is None:
            return
        more = not backend.armed and backend.pending()
        if ((not frontend.armed and frontend.pending()) and self._wanted()) or more:
            self.wake()

    def _frontendReceived(self, frames: list[bytes], last: Any) -> None:
        try:
            self._fromClient(frames, _address(last) if self.wantsPeers else None)
        except Exception:
            self._log.failure("a message of a client was dropped")

    def _backendReceived(self, frames: list[bytes], last: Any) -> None:
        try:
            self._fromWorker(frames)
        except Exception:
            self._log.failure("a message of a worker was dropped")


def _address(frame: Any) -> str | None:
    """The address that a frame came from, where ZeroMQ knows it."""
    try:
        address: str = frame.get("Peer-Address")
    except zmq.ZMQError:
        return None
    return address
