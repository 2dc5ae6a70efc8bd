"""
A server's transport on the simulated network.

It is read in the real turns, those of :class:`pirate.transport.turns.Turns`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from zope.interface import implementer

from pirate.auth.rules import SocketPolicy
from pirate.errors import BindError
from pirate.settings.limits import PeerLimits
from pirate.testing.world.agenda import Actor
from pirate.testing.world.choices import Noise
from pirate.testing.world.network import Network
from pirate.testing.world.router import RouterSocket
from pirate.testing.world.sockets import POLL, Readable
from pirate.transport.interfaces import ConnectionLimits, ITransport, TransportEvents
from pirate.transport.turns import REPLY_BYTES, REPLY_FRAMES, Turns
from pirate.wire.backend import idsOf
from pirate.wire.frontend import parseServerReply
from pirate.wire.words import MAGIC, MIN_FIRST_BYTE


@implementer(ITransport)
class WorldTransport(Turns):
    """
    Both ROUTERs, read in turns.

    :param server: the server's process.
    :ivar frontend: the clients' side.
    :ivar backend: the workers' side.
    """

    identifiesClients = False

    def __init__(self, server: Actor, network: Network, noise: Noise) -> None:
        self._server = server
        self._network = network
        self._noise = noise
        self.frontend = RouterSocket(network, "frontend", self, False, noise.random.getrandbits(32))
        self.backend = RouterSocket(network, "backend", self, True, noise.random.getrandbits(32))
        super().__init__(server, self.frontend, self.backend)
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
        return super().toClient(frames)

    def postToClient(self, frames: Sequence[bytes]) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._noteAnswer(frames)
        super().postToClient(frames)

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
        if not super().toWorker(frames):
            return False
        self._noteGiven(frames[0], idsOf(frames))
        return True

    def postToWorker(self, frames: Sequence[bytes]) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._noteGiven(frames[0], idsOf(frames))
        super().postToWorker(frames)

    def postRequests(self, worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._noteGiven(worker, requests)
        super().postRequests(worker, requests, bodies)

    def _noteGiven(self, worker: bytes, ids: Sequence[bytes]) -> None:
        """Note which requests a worker is sent."""
        given = [each.hex() for each in ids if each[:1] >= MIN_FIRST_BYTE]
        if given:
            self._network.journal.note(self._server.name, "gives", worker.decode(errors="replace"), *given)

    # --- turns

    def _routerReadable(self, router: RouterSocket) -> None:
        """Take a turn, because the descriptor of a ROUTER has reported an event."""
        router.armed = False
        self.takeTurn(router)

    # --- the end

    def close(self) -> Deferred[None]:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._endTurns()
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
