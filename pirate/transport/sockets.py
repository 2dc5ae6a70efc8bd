"""
The broker's two ROUTERs, on txZMQ.

One turn of the reactor reads a bounded number of messages, of the backend first.  What is to be sent meanwhile is sent
together, to the workers after each reading and to the clients at the end: ZeroMQ's thread then wakes once for many.  A
descriptor of ZeroMQ tells of new events once, so whatever stops early, or sends, looks again before it goes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence, Set
from secrets import token_hex
from select import select
from typing import Any

import zmq
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from txzmq import ZmqFactory
from zope.interface import implementer

from pirate.auth.rules import BACKEND, FRONTEND, SocketPolicy
from pirate.broker.interfaces import Sender
from pirate.errors import BindError
from pirate.settings.limits import PeerLimits
from pirate.transport.binding import Binding
from pirate.transport.chance import seedLibrary
from pirate.transport.interfaces import ConnectionLimits, ITransport, TransportEvents
from pirate.transport.monitor import FrameSender, KnownSender, Monitor, hungUp, processOf
from pirate.transport.outbox import Outbox
from pirate.transport.router import Router
from pirate.transport.zap import Zap

#: What an answer has beside its body, at most: in frames, and in bytes.
ANSWER_FRAMES, ANSWER_BYTES = 8, 1 << 16
_MIB = 1 << 20
#: Times that a bounded number of messages is read when the server stops, and when it is late.
LAST_CALL, LATE_CALL = 100, 50
#: Descriptors from this one on are too much for ``select``, which knows waits shorter than a millisecond.
SELECTABLE = 1024
#: Answers that are sent to clients together, at most, while requests wait for workers.
BATCH = 16
#: Seconds that the next answer of a worker is waited for, and that a batch takes at most.
NEXT_ANSWER, BATCH_TIME = 0.0003, 0.003


@implementer(ITransport)
class SocketTransport:
    """
    Both ROUTERs, read in turns.

    :param reactor: the reactor.
    :param user: the user that this process becomes once its sockets are bound; ``None``: it stays who it is.
    """

    _log = Logger()
    _events: TransportEvents

    def __init__(self, reactor: Any, user: int | None = None) -> None:
        self._reactor = reactor
        self._user = user
        self._again: IDelayedCall | None = None
        self._nextLook: IDelayedCall | None = None
        self._inTurn = False
        self._toWorkers: list[Sequence[bytes]] = []
        seedLibrary()
        self._factory = ZmqFactory()
        self._factory.reactor = reactor
        if hasattr(os, "SCHED_BATCH"):
            # ZeroMQ's thread, which each send wakes, is then not put in the place of the one that has more to send.
            self._factory.context.set(zmq.THREAD_SCHED_POLICY, os.SCHED_BATCH)
        self._frontend = Router(self._factory, self._turn)
        self._backend = Router(self._factory, self._turn)
        self._outbox = Outbox(reactor, self._frontend, self.wake)
        self._monitor = Monitor(self._factory, self._frontend.socket)
        self._zap: Zap | None = None
        self._last: Any = None
        self._sender: type[FrameSender] = FrameSender
        self._revoked: Set[str] = frozenset()
        self._backendMonitor = Monitor(self._factory, self._backend.socket, self._isChild)
        self._frontend.refused, self._backend.refused = self._frontendRefused, self._backendRefused
        self._frontend.flooded = lambda frame: self._cutOff(self._monitor, frame)
        self._backend.flooded = lambda frame: self._cutOff(self._backendMonitor, frame)
        self._bindings: list[Binding] = []
        self._closing = DeferredLock()

    def start(self, events: TransportEvents, peerLimits: PeerLimits, connectionLimits: ConnectionLimits) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._events = events
        self._outbox.lost = events.replyUndelivered
        self._monitor.closed = events.clientDisconnected
        size, total = int(peerLimits.maxMessageSize * _MIB), int(peerLimits.maxMessageTotal * _MIB)
        options: dict[int, int] = {zmq.HANDSHAKE_IVL: max(int(peerLimits.handshakeTimeout * 1000), 1)}
        beats = max(int(peerLimits.heartbeat * 1000), 1)
        self._backend.limit(size, peerLimits.maxMessageFrames + ANSWER_FRAMES, total + ANSWER_BYTES, options)
        if peerLimits.heartbeat:
            # Not often, because each costs libzmq a search through the timers of all connections.
            options.update({zmq.HEARTBEAT_IVL: beats, zmq.HEARTBEAT_TIMEOUT: max(beats // 2, 1)})
        self._frontend.limit(size, peerLimits.maxMessageFrames, total, options)
        self._backendMonitor.closed = events.workerDisconnected
        self._monitor.most, self._backendMonitor.most = connectionLimits.frontend, connectionLimits.backend

    def keepWorker(self, connection: int, own: bool) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._backendMonitor.keep(connection, own)

    def dropWorker(self, connection: int) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._backendMonitor.cutOff(connection)

    def _isChild(self, connection: int) -> bool:
        pid = processOf(connection)
        return pid > 0 and self._events.isOwnWorker(pid)

    def connectionCounts(self) -> dict[str, dict[str, int]]:
        """Each socket's counts of connections, and how many are ``open`` now."""
        return {
            name: {"open": len(monitor), **monitor.counts}
            for name, monitor in (("frontend", self._monitor), ("backend", self._backendMonitor))
        }

    def protect(
        self, frontend: SocketPolicy, backend: SocketPolicy, answer: Callable[[Sequence[bytes]], list[bytes]]
    ) -> None:
        """
        Say whom to let in, before anything is bound.

        :param answer: answers ZAP's questions; there are none if neither door refuses anybody.
        """
        self._revoked = frontend.revoked
        if frontend:
            self._sender = KnownSender
        if frontend or backend:
            self._zap = Zap(self._factory, answer)
        self._frontend.protect(FRONTEND, frontend)
        self._backend.protect(BACKEND, backend)

    def workerSender(self) -> Sender:
        """Return what is known of who sent the worker's message that is being read."""
        return FrameSender(self._last, self._backendMonitor)

    def bind(self, frontend: Sequence[str], backend: Sequence[str]) -> tuple[list[str], list[str]]:
        """
        Bind both sockets.

        :return: the endpoints of each as they are, with the port of one that was given as ``*``.
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

    def bindForOwnWorkers(self) -> str | None:
        """
        Bind the backend to a UNIX socket without a file as well, for our own workers.

        The kernel has less to do for it than for TCP, and tells the process id of who connects.  It has no mode, so
        ZeroMQ is told which users may connect: any other one is cut off at once, and takes no place.

        :return: its endpoint; ``None`` where there are no such sockets, or they are not allowed.
        """
        if not sys.platform.startswith("linux"):
            return None
        try:
            # What is bound before keeps the options that it was bound with.
            for user in {os.geteuid(), os.geteuid() if self._user is None else self._user}:
                self._backend.socket.set(zmq.IPC_FILTER_UID, user)
            return self._bind(self._backend, "backend", f"ipc://@pirate-{token_hex(8)}")
        except (BindError, zmq.ZMQError):
            return None

    def drainFrontend(self) -> None:
        """
        Read what clients have sent so far.

        The sockets stay bound: to unbind one is to cut off those who are connected to it.
        """
        self._events.turnStarted()
        self._frontend.armed = False
        for _ in range(LAST_CALL):
            if not self._events.wantsRequests() or self._frontend.armed:
                break
            self._frontend.read(self._frontendReceived, sure=False)
        self.wake()

    def toClient(self, frames: Sequence[bytes]) -> bool:
        """Send to a client at once; false if it is not there, or does not take what it is sent."""
        self._outbox.flush()
        return self._deliver(self._frontend, frames)

    def postToClient(self, frames: Sequence[bytes]) -> None:
        """Send to a client, at the end of the turn; ``replyUndelivered`` is called if that fails."""
        if self._inTurn:
            self._outbox.add(frames)
        else:
            self.wake()
            self._outbox.send(frames)

    def toWorker(self, frames: Sequence[bytes]) -> bool:
        """Send to a worker at once; false if it is not there, or does not take what it is sent."""
        return self._deliver(self._backend, frames)

    def postToWorker(self, frames: Sequence[bytes]) -> None:
        """Send to a worker, a little later; ``workerMessagesUndelivered`` is called if that fails."""
        self._toWorkers.append(frames)
        self.wake()

    def wake(self) -> None:
        """Take a turn soon: something has changed that was not read from a socket."""
        if self._again is None and not self._inTurn:
            self._again = self._reactor.callLater(0, self._turn)

    def close(self) -> Deferred[None]:
        """
        Close both sockets, and let the last messages out.

        :return: fires when they are out, or their time is over.
        """
        if self._again is not None and self._again.active():
            self._again.cancel()
        self._again = None
        if self._nextLook is not None:
            self._nextLook.cancel()
            self._nextLook = None
        # In the middle of a turn, there may be messages that were to go later.
        self._sendToWorkers()
        self._outbox.close()
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
        self._monitor.shutdown()
        self._backendMonitor.shutdown()
        for router in (self._frontend, self._backend):
            if router.factory is not None:
                router.shutdown()
        if self._zap is not None:
            self._zap.shutdown()
        for binding in self._bindings:
            binding.remove()

    def _deliver(self, router: Router, frames: Sequence[bytes]) -> bool:
        if self._again is None and not self._inTurn:
            self.wake()
        return router.deliver(frames)

    def _turn(self, fired: Router | None = None) -> None:
        """
        Read some of both sockets, and see whether there is more.

        What is done here is done for every message if there is one at a time, so nothing is called in vain.
        """
        if self._again is not None:
            if self._again.active():
                self._again.cancel()
            self._again = None
        if self._inTurn:
            return
        frontend, backend = self._frontend, self._backend
        events = self._events
        self._inTurn = True
        try:
            late = events.turnStarted()
            if late or not backend.armed:
                backend.read(self._backendReceived, fired is backend)
                if late:
                    self._readOn()
                if self._toWorkers:
                    self._sendToWorkers()
            if (late or not frontend.armed) and frontend.factory is not None:
                if events.wantsRequests():
                    frontend.read(self._frontendReceived, fired is frontend)
                else:
                    self._look()
                if self._toWorkers:
                    self._sendToWorkers()
            if self._outbox.together and events.hasBacklog() and backend.fd < SELECTABLE:
                self._gather()
            if frontend.factory is None:
                return
            events.turnEnded()
            if self._toWorkers:
                self._sendToWorkers()
            if self._outbox.together:
                self._outbox.flush()
        finally:
            self._inTurn = False
        more = not backend.armed and backend.pending()
        # The frontend is asked also while it is not wanted, or its descriptor would go on telling of the same.
        if not frontend.armed and frontend.pending():
            if events.wantsRequests():
                more = True
            else:
                self._lookLater()
        if more:
            self.wake()

    def _look(self) -> None:
        """Read a few messages although no more requests are wanted: what else clients say, and the first of others."""
        frontend, events = self._frontend, self._events
        heldBack = events.takeHeldBack()
        if heldBack:
            self._monitor.doRead()
            for connection in hungUp(heldBack):
                events.clientHungUp(connection)
        while not frontend.armed and frontend.factory is not None and events.mayPeek():
            frontend.read(self._frontendReceived, sure=False, most=1)

    def _lookLater(self) -> None:
        delay = None if self._nextLook is not None else self._events.secondsUntilPeek()
        if delay is not None:
            self._nextLook = self._reactor.callLater(delay, self._takeLook)

    def _takeLook(self) -> None:
        self._nextLook = None
        self._turn()

    def _readOn(self) -> None:
        """Read all that workers have said so far: what is due may be to stop those who have."""
        backend = self._backend
        for _ in range(LATE_CALL):
            if backend.armed or backend.factory is None:
                break
            backend.read(self._backendReceived, sure=False)

    def _gather(self) -> None:
        """
        While requests wait, read a few more answers before the first are sent to their clients.

        Each worker has its next request by then, so nobody is idle over it; and a batch wakes ZeroMQ's thread, and each
        client, once.
        """
        backend, events = self._backend, self._events
        end = self._reactor.seconds() + BATCH_TIME
        while len(self._outbox.together) < BATCH and events.hasBacklog() and self._reactor.seconds() < end:
            if (backend.armed or not backend.pending()) and not select([backend.fd], [], [], NEXT_ANSWER)[0]:
                return
            backend.read(self._backendReceived, sure=True)
            self._sendToWorkers()
            if backend.factory is None:
                return

    def _sendToWorkers(self) -> None:
        while self._toWorkers and self._backend.factory is not None:
            messages, self._toWorkers = self._toWorkers, []
            deliver = self._backend.deliver
            missed = [frames for frames in messages if not deliver(frames)]
            if missed:
                self._events.workerMessagesUndelivered(missed)

    def _frontendReceived(self, frames: list[bytes], last: Any) -> None:
        try:
            # ZAP's own word, and not the peer's: there are keys, or nobody would be in this set.
            if self._revoked and last.get("User-Id") in self._revoked:
                self._events.revokedClientMessageReceived(frames)
                return
            self._events.clientMessageReceived(frames, self._sender(last, self._monitor))
        except Exception:
            self._log.failure("a message of a client was dropped")

    def _backendReceived(self, frames: list[bytes], last: Any) -> None:
        self._last = last
        try:
            self._events.workerMessageReceived(frames)
        except Exception:
            self._log.failure("a message of a worker was dropped")
        finally:
            # It may be large.
            self._last = None

    def _frontendRefused(self, frames: list[bytes], last: Any, reason: str) -> None:
        try:
            self._events.clientMessageRejected(frames, self._sender(last, self._monitor), reason)
        except Exception:
            self._log.failure("a message of a client was dropped")

    def _backendRefused(self, frames: list[bytes], last: Any, reason: str) -> None:
        self._last = last
        try:
            self._events.workerMessageRejected(frames, reason)
        except Exception:
            self._log.failure("a message of a worker was dropped")
        finally:
            self._last = None

    def _cutOff(self, monitor: Monitor, frame: Any) -> None:
        connection = FrameSender(frame, monitor).connection()
        if connection is not None:
            monitor.cutOff(connection)
