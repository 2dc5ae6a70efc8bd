"""
Turns: how a server reads its two ROUTERs, and sends, whatever these ROUTERs are.

One turn reads a bounded number of messages, first from the backend.  Messages sent in a turn go out together, to the
workers after each reading and to the clients at the end, so that ZeroMQ's thread wakes once for many.

ZeroMQ's file descriptor reports new events once.  So a turn that stops early, or sends, looks for more before it ends.

This module loads no ZeroMQ, so that simulated ROUTERs are read by the same code.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pirate.broker.interfaces import Sender
from pirate.transport.interfaces import InProcessPeer, TransportEvents
from pirate.transport.outbox import Outbox, WorkerOutbox

#: The most that the envelope adds to a reply's body, in frames and in bytes.
REPLY_FRAMES, REPLY_BYTES = 8, 1 << 16
#: Messages read from one socket in one turn, at most.
MAX_MESSAGES = 64
#: How many times a bounded number of messages is read from the frontend when the server stops, and from the backend
#: when a deadline has passed.
DRAIN_READS, LATE_READS = 100, 50


class TurnMonitor(Protocol):
    """The monitor of a ROUTER's connections; see :class:`~pirate.transport.monitor.Monitor`."""

    def doRead(self) -> None:
        """Read what it has reported."""

    def keep(self, connection: int, own: bool) -> None:
        """Close other connections before this one if there are too many."""

    def cutOff(self, connection: int) -> None:
        """Close a connection."""


class TurnRouter(Protocol):
    """
    A ROUTER; see :class:`~pirate.transport.router.Router`.

    :ivar armed: whether the file descriptor will report the next message.
    :ivar factory: ``None`` once it is closed.
    :ivar full: whether the last failed delivery may be retried.
    """

    armed: bool
    factory: Any
    full: bool

    @property
    def monitor(self) -> TurnMonitor:
        """The monitor of its connections."""

    def hasPending(self) -> bool:
        """Return whether there is a message to read; if not, arm the file descriptor."""

    def read(
        self,
        received: Callable[[list[bytes]], int | None],
        rejected: Callable[[list[bytes], str], None],
        expected: bool,
        most: int = MAX_MESSAGES,
    ) -> None:
        """Read a bounded number of messages."""

    def readInProcess(self, received: Callable[[list[bytes]], int | None], frames: list[bytes]) -> None:
        """Process a message of the client in this process."""

    def deliver(self, frames: Sequence[bytes]) -> bool:
        """Send a message; return ``False`` if its peer is not connected, or its queue is full."""

    def sender(self) -> Sender:
        """Return the sender of the message that is being processed."""

    def connectInProcess(self, peer: InProcessPeer) -> None:
        """Deliver messages to the client in this process."""

    def connectionCounts(self) -> dict[str, int]:
        """Return the counts of connections."""

    def hungUp(self, connections: Collection[int]) -> Iterable[int]:
        """Return those connections whose peers have closed them while messages sent before are unread."""


class Turns:
    """
    Both ROUTERs, read in turns.  A subclass makes the ROUTERs, binds and closes them.

    :param clock: the reactor, as far as it keeps time.
    """

    #: The receiver of what is read.  It needs this transport in its own constructor, so ``start`` sets it, before
    #: anything is bound.
    _events: TransportEvents

    def __init__(self, clock: IReactorTime, frontend: TurnRouter, backend: TurnRouter) -> None:
        self._clock = clock
        self._frontend = frontend
        self._backend = backend
        self._outbox = Outbox(clock, frontend, self)
        self._workerOutbox = WorkerOutbox()
        self._inProcessMessages: deque[list[bytes]] = deque()
        self._nextTurn: IDelayedCall | None = None
        self._nextExtraRead: IDelayedCall | None = None
        self._inTurn = False

    # --- sending

    def toClient(self, frames: Sequence[bytes]) -> bool:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._outbox.flush()
        if not self._inTurn:
            self.wake()
        if self._outbox.postponed and self._outbox.sendPostponed(frames[0]):
            return False
        return self._frontend.deliver(frames)

    def postToClient(self, frames: Sequence[bytes]) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        if self._inTurn:
            self._outbox.posted.append(frames)
        else:
            self.wake()
            self._outbox.send(frames)

    def toWorker(self, frames: Sequence[bytes]) -> bool:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        if not self._inTurn:
            self.wake()
        return self._backend.deliver(frames)

    def postToWorker(self, frames: Sequence[bytes]) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._workerOutbox.post(frames)
        if not self._inTurn:
            self.wake()

    def postRequests(self, worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._workerOutbox.postRequests(worker, requests, bodies)
        if not self._inTurn:
            self.wake()

    def _sendToWorkers(self) -> None:
        while self._workerOutbox.waiting and self._backend.factory is not None:
            messages = self._workerOutbox.take()
            deliver = self._backend.deliver
            undelivered = [frames for frames in messages if not deliver(frames)]
            if undelivered:
                self._events.workerMessagesUndelivered(undelivered)

    def replyUndelivered(self) -> None:
        """See :class:`~pirate.transport.outbox.OutboxEvents`."""
        self._events.replyUndelivered()

    # --- peers

    def clientSender(self) -> Sender:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        return self._frontend.sender()

    def workerSender(self) -> Sender:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        return self._backend.sender()

    def keepWorker(self, connection: int, own: bool) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._backend.monitor.keep(connection, own)

    def dropWorker(self, connection: int) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._backend.monitor.cutOff(connection)

    def connectionCounts(self) -> dict[str, dict[str, int]]:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        return {"frontend": self._frontend.connectionCounts(), "backend": self._backend.connectionCounts()}

    def connectInProcess(self, peer: InProcessPeer) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._frontend.connectInProcess(peer)

    def receiveInProcess(self, frames: list[bytes]) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._inProcessMessages.append(frames)
        self.wake()

    def connectionClosed(self, router: TurnRouter, connection: int) -> None:
        """See :class:`~pirate.transport.router.RouterEvents`."""
        if router is self._frontend:
            self._events.clientDisconnected(connection)
        else:
            self._events.backendConnectionClosed(connection)

    def isOwnWorker(self, pid: int) -> bool:
        """See :class:`~pirate.transport.router.RouterEvents`."""
        return self._events.isOwnWorker(pid)

    # --- turns

    def wake(self) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        if self._nextTurn is None and not self._inTurn:
            self._nextTurn = self._clock.callLater(0, self.takeTurn)

    def takeTurn(self, readable: TurnRouter | None = None) -> None:
        """
        Read some messages of both sockets, and look whether there are more.

        If messages come one at a time, all of this runs for each of them, so every call counts.

        :param readable: the ROUTER whose file descriptor has reported an event.
        """
        if self._nextTurn is not None:
            if self._nextTurn.active():
                self._nextTurn.cancel()
            self._nextTurn = None
        if self._inTurn:
            return
        frontend, backend, events, outbox = self._frontend, self._backend, self._events, self._outbox
        self._inTurn = True
        try:
            deadlinePassed = events.turnStarted()
            if deadlinePassed or not backend.armed:
                backend.read(events.workerMessageReceived, events.workerMessageRejected, readable is backend)
                if deadlinePassed:
                    self._readBackendToEnd()
                if self._workerOutbox.waiting:
                    self._sendToWorkers()
            if (deadlinePassed or not frontend.armed) and frontend.factory is not None:
                if events.wantsRequests():
                    frontend.read(events.clientMessageReceived, events.clientMessageRejected, readable is frontend)
                else:
                    self._readExtra()
                if self._workerOutbox.waiting:
                    self._sendToWorkers()
            if self._inProcessMessages:
                self._readInProcess()
                if self._inProcessMessages:
                    self._readExtra()
            if frontend.factory is None:
                return
            events.turnEnded()
            if self._workerOutbox.waiting:
                self._sendToWorkers()
            if outbox.posted:
                outbox.flush()
        finally:
            self._inTurn = False
        more = not backend.armed and backend.hasPending()
        # Ask the frontend also while no requests are wanted, or its descriptor would report the same event for ever.
        if not frontend.armed and frontend.hasPending():
            if events.wantsRequests():
                more = True
            else:
                self._readExtraLater()
        if self._inProcessMessages:
            if events.wantsRequests():
                more = True
            else:
                self._readExtraLater()
        if more:
            self.wake()

    def drainFrontend(self) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        frontend, events = self._frontend, self._events
        events.turnStarted()
        frontend.armed = False
        for _ in range(DRAIN_READS):
            if not events.wantsRequests() or frontend.armed:
                break
            frontend.read(events.clientMessageReceived, events.clientMessageRejected, expected=False)
        self._readInProcess()
        self.wake()

    def _readInProcess(self) -> None:
        """Read the messages of the client in this process, as long as requests are wanted."""
        frontend, events = self._frontend, self._events
        while self._inProcessMessages and frontend.factory is not None and events.wantsRequests():
            frontend.readInProcess(events.clientMessageReceived, self._inProcessMessages.popleft())

    def _readExtra(self) -> None:
        """Read a few messages although no requests are wanted: cancels and pings, and the first of other clients."""
        frontend, events = self._frontend, self._events
        heldBack = events.takeHeldBack()
        if heldBack:
            frontend.monitor.doRead()
            for connection in frontend.hungUp(heldBack):
                events.clientHungUp(connection)
        messages = self._inProcessMessages
        ownTurn = False
        while frontend.factory is not None and (messages or not frontend.armed) and events.mayReadExtra():
            # The client in this process takes turns with all others.
            ownTurn = bool(messages) and (frontend.armed or not ownTurn)
            if ownTurn:
                frontend.readInProcess(events.clientMessageReceived, messages.popleft())
            else:
                frontend.read(events.clientMessageReceived, events.clientMessageRejected, expected=False, most=1)

    def _readExtraLater(self) -> None:
        if self._nextExtraRead is None:
            delay = self._events.secondsUntilExtraRead()
            self._nextExtraRead = self._clock.callLater(delay, self._takeExtraTurn)

    def _takeExtraTurn(self) -> None:
        self._nextExtraRead = None
        self.takeTurn()

    def _readBackendToEnd(self) -> None:
        """Read all that workers have sent so far, because a deadline has passed that their replies may have met."""
        backend, events = self._backend, self._events
        for _ in range(LATE_READS):
            if backend.armed or backend.factory is None:
                break
            backend.read(events.workerMessageReceived, events.workerMessageRejected, expected=False)

    # --- the end

    def _endTurns(self) -> None:
        """Take no further turn, and send what was posted: in the middle of a turn, there may be something."""
        for call in (self._nextTurn, self._nextExtraRead):
            if call is not None and call.active():
                call.cancel()
        self._nextTurn = self._nextExtraRead = None
        self._sendToWorkers()
        self._outbox.close()
