"""The frontend and the backend on txZMQ, read in the turns of :class:`~pirate.transport.turns.Turns`."""

from __future__ import annotations

import os
import sys
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
from pirate.errors import BindError
from pirate.settings.limits import PeerLimits
from pirate.transport.interfaces import ConnectionLimits, ITransport, TransportEvents
from pirate.transport.router import Router, seedRoutingIds
from pirate.transport.turns import REPLY_BYTES, REPLY_FRAMES, Turns
from pirate.transport.unfinished import INTERVAL, SUPPORTED
from pirate.transport.zap import Zap


class ITransportReactor(IReactorTime, IReactorFDSet, IReactorThreads):
    """A reactor that keeps time, watches file descriptors, and has a thread pool."""


@implementer(ITransport)
class SocketTransport(Turns):
    """
    Both ROUTERs, read in turns.

    It implements :class:`~pirate.transport.interfaces.ITransport` and with it
    :class:`~pirate.broker.interfaces.Outgoing`, and the interfaces through which its parts report to it,
    :class:`~pirate.transport.router.RouterEvents` and :class:`~pirate.transport.outbox.OutboxEvents`.

    :param reactor: the reactor.
    :param user: the user id that this process takes once its sockets are bound; ``None``: it keeps its own.
    """

    _frontend: Router
    _backend: Router

    def __init__(self, reactor: Any, user: int | None = None) -> None:
        # As for JobServer, mypy takes twisted.internet.reactor for a module.
        self._reactor: ITransportReactor = reactor
        self._user = user
        self._nextExamination: IDelayedCall | None = None
        seedRoutingIds()
        self._factory = ZmqFactory()
        self._factory.reactor = reactor
        if hasattr(os, "SCHED_BATCH"):
            # Keep ZeroMQ's thread, which each send wakes, from preempting this thread, which has more to send.
            self._factory.context.set(zmq.THREAD_SCHED_POLICY, os.SCHED_BATCH)
        frontend = Router(self._factory, "frontend", self, ownWorkers=False)
        backend = Router(self._factory, "backend", self, ownWorkers=True)
        super().__init__(reactor, frontend, backend)
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
        if frontend.refusesAny or backend.refusesAny:
            self._zap = Zap(self._factory, answer)
        self._frontend.protect(FRONTEND, frontend)
        self._backend.protect(BACKEND, backend)
        self.identifiesClients = frontend.users is not None

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

    # --- messages without an end

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

    # --- the end

    def close(self) -> Deferred[None]:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        if self._nextExamination is not None:
            self._nextExamination.cancel()
            self._nextExamination = None
        self._endTurns()
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
