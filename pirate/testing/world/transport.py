"""
A server's transport on the simulated network.

It reads in turns, as :class:`pirate.transport.sockets.SocketTransport` does, with the same bounds and the same outbox.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from zope.interface import implementer

from pirate.auth.rules import SocketPolicy
from pirate.broker.interfaces import Sender
from pirate.errors import BindError
from pirate.settings.limits import PeerLimits
from pirate.testing.world.agenda import Actor
from pirate.testing.world.choices import Noise
from pirate.testing.world.network import Network
from pirate.testing.world.router import RouterSocket
from pirate.testing.world.sockets import POLL, Readable
from pirate.transport.interfaces import ConnectionLimits, InProcessPeer, ITransport, TransportEvents
from pirate.transport.outbox import Outbox, WorkerOutbox
from pirate.wire.backend import idsOf
from pirate.wire.frontend import parseServerReply
from pirate.wire.words import MAGIC, MIN_FIRST_BYTE

#: See :mod:`pirate.transport.sockets`.
REPLY_FRAMES, REPLY_BYTES, DRAIN_READS, LATE_READS = 8, 1 << 16, 100, 50


@implementer(ITransport)
class WorldTransport:
    """
    Both ROUTERs, read in turns.

    :param server: the server's process.
    :ivar frontend: the clients' side.
    :ivar backend: the workers' side.
    """

    identifiesClients = False
    _events: TransportEvents

    def __init__(self, server: Actor, network: Network, noise: Noise) -> None:
        self._server = server
        self._network = network
        self._noise = noise
        self._nextTurn: IDelayedCall | None = None
        self._nextExtraRead: IDelayedCall | None = None
        self._inTurn = False
        self._workerOutbox = WorkerOutbox()
        self._inProcessMessages: deque[list[bytes]] = deque()
        self.frontend = RouterSocket(network, "frontend", self, False, noise.random.getrandbits(32))
        self.backend = RouterSocket(network, "backend", self, True, noise.random.getrandbits(32))
        self._outbox = Outbox(server, self.frontend, self)
        self._scheduled: dict[Readable, IDelayedCall] = {}
        for router in (self.frontend, self.backend):
            self._watch(router, partial(self._routerReadable, router))
            self._watch(router.monitor, router.monitor.doRead)

    def _watch(self, readable: Readable, act: Callable[[], object]) -> None:
        """Call a function when a descriptor becomes readable, and again as long as it stays so."""

        def serve() -> None:
            del self._scheduled[readable]
            if readable.signalled:
                act()
                if readable.signalled:
                    serveSoon()

        def serveSoon() -> None:
            if readable not in self._scheduled and self.backend.isOpen:
                self._scheduled[readable] = self._server.callLater(self._noise.seconds(*POLL), serve)

        readable.woken = serveSoon

    # --- before it is bound

    def start(self, events: TransportEvents, peerLimits: PeerLimits, connectionLimits: ConnectionLimits) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._events = events
        size, total = peerLimits.maxFrameBytes, peerLimits.maxMessageBytes
        frames = peerLimits.maxMessageFrames
        self.backend.setLimits(size, frames + REPLY_FRAMES, total + REPLY_BYTES, connectionLimits.backend)
        self.frontend.setLimits(size, frames, total, connectionLimits.frontend)

    def protect(
        self, frontend: SocketPolicy, backend: SocketPolicy, answer: Callable[[Sequence[bytes]], list[bytes]]
    ) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`; every peer is admitted."""

    def bind(self, frontend: Sequence[str], backend: Sequence[str]) -> tuple[list[str], list[str]]:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        for router, name, endpoints in ((self.frontend, "frontend", frontend), (self.backend, "backend", backend)):
            for endpoint in endpoints:
                try:
                    self._network.bind(endpoint, router)
                except OSError as error:
                    self._closeSockets()
                    raise BindError(f"{name} {endpoint}: {error}") from None
        return list(frontend), list(backend)

    def bindForOwnWorkers(self) -> str | None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        endpoint = f"ipc://@pirate-{self._noise.secret(8).hex()}"
        self._network.bind(endpoint, self.backend)
        return endpoint

    # --- sending

    def toClient(self, frames: Sequence[bytes]) -> bool:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._noteAnswer(frames)
        self._outbox.flush()
        if not self._inTurn:
            self.wake()
        if self._outbox.postponed and self._outbox.sendPostponed(frames[0]):
            return False
        return self.frontend.deliver(frames)

    def postToClient(self, frames: Sequence[bytes]) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._noteAnswer(frames)
        if self._inTurn:
            self._outbox.posted.append(frames)
        else:
            self.wake()
            self._outbox.send(frames)

    def _noteAnswer(self, frames: Sequence[bytes]) -> None:
        """Note the outcome of a native request, and what a plain client is sent."""
        head = frames[1]
        if not head:
            self._network.journal.note(self._server.name, "replies", frames[0].hex(), b"".join(frames[2:]))
        if head[:4] == MAGIC:
            reply = parseServerReply(frames[1:])
            if reply is not None and reply.options.get("status") not in ("partial", "pong"):
                requestId = head[4:20].hex()
                self._network.journal.note(self._server.name, "answers", requestId, reply.options.get("code", ""))

    def toWorker(self, frames: Sequence[bytes]) -> bool:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        if not self._inTurn:
            self.wake()
        if not self.backend.deliver(frames):
            return False
        self._noteGiven(frames[0], idsOf(frames))
        return True

    def postToWorker(self, frames: Sequence[bytes]) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._noteGiven(frames[0], idsOf(frames))
        self._workerOutbox.post(frames)
        if not self._inTurn:
            self.wake()

    def postRequests(self, worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._noteGiven(worker, requests)
        self._workerOutbox.postRequests(worker, requests, bodies)
        if not self._inTurn:
            self.wake()

    def _noteGiven(self, worker: bytes, ids: Sequence[bytes]) -> None:
        """Note which requests a worker is sent."""
        given = [each.hex() for each in ids if each[:1] >= MIN_FIRST_BYTE]
        if given:
            self._network.journal.note(self._server.name, "gives", worker.decode(errors="replace"), *given)

    def _sendToWorkers(self) -> None:
        while self._workerOutbox.waiting and self.backend.isOpen:
            messages = self._workerOutbox.take()
            undelivered = [frames for frames in messages if not self.backend.deliver(frames)]
            if undelivered:
                self._events.workerMessagesUndelivered(undelivered)

    def replyUndelivered(self) -> None:
        """See :class:`~pirate.transport.outbox.OutboxEvents`."""
        self._events.replyUndelivered()

    # --- peers

    def clientSender(self) -> Sender:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        return self.frontend.sender()

    def workerSender(self) -> Sender:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        return self.backend.sender()

    def connectInProcess(self, peer: InProcessPeer) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self.frontend.connectInProcess(peer)

    def receiveInProcess(self, frames: list[bytes]) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._inProcessMessages.append(frames)
        self.wake()

    def keepWorker(self, connection: int, own: bool) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self.backend.monitor.keep(connection, own)

    def dropWorker(self, connection: int) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self.backend.monitor.cutOff(connection)

    def connectionCounts(self) -> dict[str, dict[str, int]]:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        sides = (("frontend", self.frontend.monitor), ("backend", self.backend.monitor))
        return {name: {"open": len(monitor), **monitor.counts} for name, monitor in sides}

    def connectionClosed(self, router: RouterSocket, connection: int) -> None:
        """See :class:`~pirate.testing.world.router.RouterEvents`."""
        if router is self.frontend:
            self._events.clientDisconnected(connection)
        else:
            self._events.workerDisconnected(connection)

    def isOwnWorker(self, pid: int) -> bool:
        """See :class:`~pirate.testing.world.router.RouterEvents`."""
        return self._events.isOwnWorker(pid)

    # --- turns

    def _routerReadable(self, router: RouterSocket) -> None:
        """Take a turn, because the descriptor of a ROUTER has reported an event."""
        router.armed = False
        self.takeTurn(router)

    def wake(self) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        if self._nextTurn is None and not self._inTurn and self.frontend.isOpen:
            self._nextTurn = self._server.callLater(0, self.takeTurn)

    def takeTurn(self, readable: RouterSocket | None = None) -> None:
        """Read some messages of both sockets, and look whether there are more."""
        if self._nextTurn is not None:
            if self._nextTurn.active():
                self._nextTurn.cancel()
            self._nextTurn = None
        if self._inTurn or not self.frontend.isOpen:
            return
        frontend, backend, events, outbox = self.frontend, self.backend, self._events, self._outbox
        self._inTurn = True
        try:
            late = events.turnStarted()
            if late or not backend.armed or readable is backend:
                backend.read(events.workerMessageReceived, events.workerMessageRejected, readable is backend)
                if late:
                    self._readBackendOn()
                self._sendToWorkers()
            if (late or not frontend.armed or readable is frontend) and frontend.isOpen:
                if events.wantsRequests():
                    frontend.read(events.clientMessageReceived, events.clientMessageRejected, readable is frontend)
                else:
                    self._readExtra()
                self._sendToWorkers()
            self._readInProcess()
            if not frontend.isOpen:
                return
            events.turnEnded()
            self._sendToWorkers()
            if outbox.posted:
                outbox.flush()
        finally:
            self._inTurn = False
        more = not backend.armed and backend.hasPending()
        if not frontend.armed and frontend.hasPending():
            if events.wantsRequests():
                more = True
            else:
                self._readExtraLater()
        if more or (self._inProcessMessages and events.wantsRequests()):
            self.wake()

    def drainFrontend(self) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        frontend, events = self.frontend, self._events
        events.turnStarted()
        frontend.armed = False
        for _ in range(DRAIN_READS):
            if not events.wantsRequests() or frontend.armed:
                break
            frontend.read(events.clientMessageReceived, events.clientMessageRejected, sure=False)
        self._readInProcess()
        self.wake()

    def _readInProcess(self) -> None:
        frontend, events = self.frontend, self._events
        while self._inProcessMessages and frontend.isOpen and events.wantsRequests():
            frontend.readInProcess(events.clientMessageReceived, self._inProcessMessages.popleft())

    def _readExtra(self) -> None:
        frontend, events = self.frontend, self._events
        heldBack = events.takeHeldBack()
        if heldBack:
            frontend.monitor.doRead()
            for connection in frontend.hungUp(sorted(heldBack)):
                events.clientHungUp(connection)
        while not frontend.armed and frontend.isOpen and events.mayReadExtra():
            frontend.read(events.clientMessageReceived, events.clientMessageRejected, sure=False, most=1)

    def _readExtraLater(self) -> None:
        delay = None if self._nextExtraRead is not None else self._events.secondsUntilExtraRead()
        if delay is not None:
            self._nextExtraRead = self._server.callLater(delay, self._takeExtraTurn)

    def _takeExtraTurn(self) -> None:
        self._nextExtraRead = None
        self.takeTurn()

    def _readBackendOn(self) -> None:
        backend, events = self.backend, self._events
        for _ in range(LATE_READS):
            if backend.armed or not backend.isOpen:
                break
            backend.read(events.workerMessageReceived, events.workerMessageRejected, sure=False)

    # --- the end

    def close(self) -> Deferred[None]:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        for call in (self._nextTurn, self._nextExtraRead):
            if call is not None and call.active():
                call.cancel()
        self._nextTurn = self._nextExtraRead = None
        self._sendToWorkers()
        self._outbox.close()
        self._closeSockets()
        return deferLater(self._server, self._noise.seconds(0.0001, 0.01))

    def kill(self) -> None:
        """Close both sockets as the end of the server's process does."""
        self.frontend.kill()
        self.backend.kill()

    def _closeSockets(self) -> None:
        for call in self._scheduled.values():
            if call.active():
                call.cancel()
        self._scheduled.clear()
        self.frontend.shutdown()
        self.backend.shutdown()
