"""
The frontend and the backend on txZMQ.

One turn of the reactor reads a bounded number of messages, first from the backend.  Messages sent in a turn go out
together, to the workers after each reading and to the clients at the end, so that ZeroMQ's thread wakes once for many.

ZeroMQ's file descriptor reports new events once.  So a turn that stops early, or sends, looks for more before it ends.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import Any

import zmq
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from txzmq import ZmqFactory
from zope.interface import implementer

from pirate.auth.rules import BACKEND, FRONTEND, SocketPolicy
from pirate.broker.interfaces import Sender
from pirate.errors import BindError
from pirate.settings.limits import PeerLimits
from pirate.transport.interfaces import ConnectionLimits, InProcessPeer, ITransport, TransportEvents
from pirate.transport.outbox import Outbox, WorkerOutbox
from pirate.transport.peers import hungUp
from pirate.transport.router import Router, seedRoutingIds
from pirate.transport.unfinished import INTERVAL, SUPPORTED
from pirate.transport.zap import Zap

#: The most that the envelope adds to a reply's body, in frames and in bytes.
REPLY_FRAMES, REPLY_BYTES = 8, 1 << 16
#: How many times a bounded number of messages is read from the frontend when the server stops, and from the backend
#: when a deadline has passed.
DRAIN_READS, LATE_READS = 100, 50


class ITransportReactor(IReactorTime, IReactorFDSet, IReactorThreads):
    """A reactor that keeps time, watches file descriptors, and has a thread pool."""


@implementer(ITransport)
class SocketTransport:
    """
    Both ROUTERs, read in turns.

    It implements :class:`~pirate.transport.interfaces.ITransport` and with it
    :class:`~pirate.broker.interfaces.Outgoing`, and the interfaces through which its parts report to it,
    :class:`~pirate.transport.router.RouterEvents` and :class:`~pirate.transport.outbox.OutboxEvents`.

    :param reactor: the reactor.
    :param user: the user id that this process takes once its sockets are bound; ``None``: it keeps its own.
    """

    #: The receiver of what is read.  It needs this transport in its own constructor, so :meth:`start` sets it, before
    #: anything is bound.
    _events: TransportEvents

    def __init__(self, reactor: Any, user: int | None = None) -> None:
        # As for JobServer, mypy takes twisted.internet.reactor for a module.
        self._reactor: ITransportReactor = reactor
        self._user = user
        self._nextTurn: IDelayedCall | None = None
        self._nextExtraRead: IDelayedCall | None = None
        self._nextExamination: IDelayedCall | None = None
        self._inTurn = False
        self._workerOutbox = WorkerOutbox()
        self._inProcessMessages: deque[list[bytes]] = deque()
        seedRoutingIds()
        self._factory = ZmqFactory()
        self._factory.reactor = reactor
        if hasattr(os, "SCHED_BATCH"):
            # Keep ZeroMQ's thread, which each send wakes, from preempting this thread, which has more to send.
            self._factory.context.set(zmq.THREAD_SCHED_POLICY, os.SCHED_BATCH)
        self._frontend = Router(self._factory, "frontend", self, ownWorkers=False)
        self._backend = Router(self._factory, "backend", self, ownWorkers=True)
        self._outbox = Outbox(reactor, self._frontend, self)
        self._zap: Zap | None = None
        self.identifiesClients = False
        self._closing = DeferredLock()

    # --- before it is bound

    def start(self, events: TransportEvents, peerLimits: PeerLimits, connectionLimits: ConnectionLimits) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._events = events
        size, total = peerLimits.maxFrameBytes, peerLimits.maxMessageBytes
        frames = peerLimits.maxMessageFrames
        options: dict[int, int] = {zmq.HANDSHAKE_IVL: max(int(peerLimits.handshakeTimeout * 1000), 1)}
        interval = max(int(peerLimits.heartbeat * 1000), 1)
        self._backend.setLimits(size, frames + REPLY_FRAMES, total + REPLY_BYTES, options, connectionLimits.backend)
        if peerLimits.heartbeat:
            # Not often, because each heartbeat has libzmq search the timers of all connections.
            options.update({zmq.HEARTBEAT_IVL: interval, zmq.HEARTBEAT_TIMEOUT: max(interval // 2, 1)})
        self._frontend.setLimits(size, frames, total, options, connectionLimits.frontend)

    def protect(
        self, frontend: SocketPolicy, backend: SocketPolicy, answer: Callable[[Sequence[bytes]], list[bytes]]
    ) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        if frontend or backend:
            self._zap = Zap(self._factory, answer)
        self._frontend.protect(FRONTEND, frontend)
        self._backend.protect(BACKEND, backend)
        self.identifiesClients = bool(frontend)

    def bind(self, frontend: Sequence[str], backend: Sequence[str]) -> tuple[list[str], list[str]]:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        try:
            bound = [self._frontend.bind(each) for each in frontend], [self._backend.bind(each) for each in backend]
        except BaseException:
            self._closeSockets()
            self._factory.context.term()
            raise
        if SUPPORTED:
            self._nextExamination = self._reactor.callLater(INTERVAL, self._closeUnfinished)
        return bound

    def bindForOwnWorkers(self) -> str | None:
        """
        Bind the backend to a further UNIX socket that has no file.

        For the kernel it is less work than TCP, and it tells the process id of a peer.  It has no mode, so ZeroMQ is
        told which users may connect; it closes the connection of any other user at once.

        :return: the endpoint; ``None`` where such sockets do not exist or are not allowed.
        """
        if not sys.platform.startswith("linux"):
            return None
        try:
            # What is bound already keeps the options that it was bound with.
            for user in {os.geteuid(), os.geteuid() if self._user is None else self._user}:
                self._backend.socket.set(zmq.IPC_FILTER_UID, user)
            return self._backend.bind(f"ipc://@pirate-{token_hex(8)}")
        except (BindError, zmq.ZMQError):
            return None

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

    def connectionClosed(self, router: Router, connection: int) -> None:
        """See :class:`~pirate.transport.router.RouterEvents`."""
        if router is self._frontend:
            self._events.clientDisconnected(connection)
        else:
            self._events.workerDisconnected(connection)

    def messageUnfinished(self, router: Router, address: str | None) -> None:
        """See :class:`~pirate.transport.router.RouterEvents`."""
        if router is self._frontend:
            self._events.clientMessageUnfinished(address)
        else:
            self._events.workerMessageUnfinished(address)

    def _closeUnfinished(self) -> None:
        """Close the connections whose message goes on beyond the limit, now and every :data:`INTERVAL` seconds."""
        self._nextExamination = self._reactor.callLater(INTERVAL, self._closeUnfinished)
        now = self._reactor.seconds()
        for router in (self._frontend, self._backend):
            router.closeUnfinished(now)

    def isOwnWorker(self, pid: int) -> bool:
        """See :class:`~pirate.transport.router.RouterEvents`."""
        return self._events.isOwnWorker(pid)

    # --- turns

    def wake(self) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        if self._nextTurn is None and not self._inTurn:
            self._nextTurn = self._reactor.callLater(0, self.takeTurn)

    def takeTurn(self, readable: Router | None = None) -> None:
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
            for connection in hungUp(heldBack):
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
            self._nextExtraRead = self._reactor.callLater(delay, self._takeExtraTurn)

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

    def close(self) -> Deferred[None]:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        if self._nextTurn is not None and self._nextTurn.active():
            self._nextTurn.cancel()
        self._nextTurn = None
        if self._nextExtraRead is not None:
            self._nextExtraRead.cancel()
            self._nextExtraRead = None
        if self._nextExamination is not None:
            self._nextExamination.cancel()
            self._nextExamination = None
        # In the middle of a turn, posted messages may be left.
        self._sendToWorkers()
        self._outbox.close()
        self._closeSockets()
        # One at a time: of two threads that wait for the end of one context, one waits for ever.
        return self._closing.run(
            deferToThreadPool, self._reactor, self._reactor.getThreadPool(), self._factory.context.term
        )

    def _closeSockets(self) -> None:
        self._frontend.shutdown()
        self._backend.shutdown()
        if self._zap is not None:
            self._zap.shutdown()
