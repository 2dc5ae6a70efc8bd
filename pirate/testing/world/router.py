"""The sockets that are bound: ROUTERs, as the transport uses them, and the monitor of their connections."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from twisted.logger import Logger

from pirate.broker.interfaces import Sender
from pirate.testing.world.network import Lane, Link, Network
from pirate.testing.world.sockets import Readable
from pirate.transport.interfaces import IN_PROCESS, InProcessPeer
from pirate.transport.turns import MAX_MESSAGES

#: Bytes read in one turn; as in :mod:`pirate.transport.router`.
MAX_BYTES = 1 << 24
#: ZeroMQ closes the connection of a peer that sends a frame of so many times the limit.
REJECTED_SIZE = 2


class RouterEvents(Protocol):
    """The receiver of what happens on a ROUTER, apart from its messages: the transport."""

    def connectionClosed(self, router: RouterSocket, connection: int) -> None:
        """Forget a connection that is closed."""

    def isOwnWorker(self, pid: int) -> bool:
        """Return whether a process is one of the server's own workers."""


class LinkSender:
    """The sender of a message: a link."""

    def __init__(self, router: RouterSocket, link: Link) -> None:
        self._router = router
        self._link = link

    def address(self) -> str | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return self._link.address

    def connection(self) -> int | None:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        self._router.monitor.doRead()
        number = self._link.number
        return number if number in self._router.monitor else None

    def isGone(self) -> bool:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return self._link.number not in self._router.monitor

    def userId(self) -> str | None:
        """Return ``None``: there are no keys."""
        return None

    def asksOneByOne(self) -> bool:
        """See :class:`~pirate.broker.interfaces.Sender`."""
        return self._link.kind == "REQ"


class InProcessSender:
    """The client in the server's own process; see :class:`~pirate.broker.interfaces.Sender`."""

    def address(self) -> str | None:
        """Return ``None``."""
        return None

    def connection(self) -> int | None:
        """Return ``None``."""
        return None

    def isGone(self) -> bool:
        """Return ``False``."""
        return False

    def userId(self) -> str | None:
        """Return ``None``."""
        return None

    def asksOneByOne(self) -> bool:
        """Return ``False``."""
        return False


class RouterMonitor(Readable):
    """
    The connections of a ROUTER, as its monitor has reported them; see :class:`pirate.transport.monitor.Monitor`.

    :ivar limit: the number of connections that may be open, not counting the server's own workers'.
    :ivar counts: the numbers of connections by what became of them.
    """

    def __init__(self, router: RouterSocket, events: RouterEvents, closesOldest: bool) -> None:
        super().__init__(-1)
        self._router = router
        self._events = events
        self._closesOldest = closesOldest
        self._unread: deque[tuple[bool, int, int]] = deque()
        self._open: dict[int, None] = {}
        self._own: set[int] = set()
        self._kept: set[int] = set()
        self._closing: set[int] = set()
        self.limit = 1 << 31
        self.counts = {"accepted": 0, "closed": 0, "refused": 0, "cut-off": 0, "handshake-failed": 0}

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, connection: object) -> bool:
        return connection in self._open

    def happened(self, accepted: bool, link: Link) -> None:
        """Report that a connection was accepted, or is closed."""
        self._unread.append((accepted, link.number, link.pid))
        self.signal()

    def doRead(self) -> None:
        """Read every event."""
        self.signalled = False
        accepted = False
        while self._unread:
            accepts, number, pid = self._unread.popleft()
            for marked in (self._own, self._kept, self._closing):
                marked.discard(number)
            if accepts:
                self._open[number] = None
                accepted = True
                self.counts["accepted"] += 1
                if pid and self._events.isOwnWorker(pid):
                    self._own.add(number)
            else:
                self._open.pop(number, None)
                self.counts["closed"] += 1
                self._events.connectionClosed(self._router, number)
        while accepted and len(self._open) - len(self._own | self._closing) > self.limit:
            self._close(self._excess(), "refused")

    def keep(self, connection: int, own: bool) -> None:
        """Close other connections before this one if there are too many."""
        if connection in self._open:
            self._kept.add(connection)
            if own:
                self._own.add(connection)

    def cutOff(self, connection: int) -> None:
        """Close a connection."""
        self.doRead()
        self._close(connection, "cut-off")

    def _excess(self) -> int:
        if self._closesOldest:
            for each in self._open:
                if each not in self._kept and each not in self._own and each not in self._closing:
                    return each
        return next(each for each in reversed(self._open) if each not in self._own and each not in self._closing)

    def _close(self, connection: int, reason: str) -> None:
        if connection in self._open and connection not in self._closing:
            self.counts[reason] += 1
            self._closing.add(connection)
            self._router.cutOff(connection)


class RouterSocket(Readable):
    """
    A ROUTER with mandatory routing and without handover, and the limits of what its peers may send.

    Its public names are those of :class:`pirate.transport.router.Router`.

    :ivar monitor: the monitor of its connections.
    :ivar full: whether the last failed delivery may be retried, because only the peer's queue was full.
    :ivar armed: whether the descriptor will report the next message.
    :ivar isOpen: whether it is not closed.
    :ivar factory: ``None`` once it is closed.
    :ivar lastLink: the link that the message being processed came by.
    """

    _log = Logger()

    def __init__(self, network: Network, name: str, events: RouterEvents, ownWorkers: bool, firstRoute: int) -> None:
        super().__init__(-1)
        self._network = network
        self._name = name
        self._nextRoute = firstRoute
        self._links: dict[int, Link] = {}
        self._routes: dict[bytes, Link] = {}
        self._active: deque[Lane] = deque()
        self._limits = (1 << 62, 1 << 31, 1 << 62)
        self._peer: InProcessPeer | None = None
        self.monitor = RouterMonitor(self, events, closesOldest=ownWorkers)
        self.full = False
        self.armed = False
        self.isOpen = True
        self.factory: object | None = self
        self.lastLink: Link | None = None

    # --- before it is bound

    def setLimits(self, size: int, frames: int, total: int, connections: int) -> None:
        """Set the limits of what peers may send; the parameters are those of the real one."""
        self._limits = size, frames, total
        self.monitor.limit = connections

    def connectionCounts(self) -> dict[str, int]:
        """Return the counts of connections."""
        return {"open": len(self.monitor), **self.monitor.counts}

    def connectInProcess(self, peer: InProcessPeer) -> None:
        """See :class:`~pirate.transport.interfaces.ITransport`."""
        self._peer = peer

    # --- the network

    def accept(self, link: Link) -> None:
        """See :class:`~pirate.testing.world.network.Bound`."""
        link.number = next(each for each in range(10, len(self._links) + 11) if each not in self._links)
        self._links[link.number] = link
        link.up.limit = REJECTED_SIZE * self._limits[0]
        self.monitor.happened(True, link)
        route = link.identity
        if not route:
            route = b"\0" + (self._nextRoute % (1 << 32)).to_bytes(4, "big")
            self._nextRoute += 1
        if route in self._routes:
            # Without handover, ZeroMQ reads nothing of a peer whose routing id is taken, and does not tell it.
            self._network.journal.note(link.name, "ignored", self._name, route)
            link.up.inbox.clear()
            return
        link.route = route
        self._routes[route] = link
        self._active.append(link.up)
        self.signal()

    def arrived(self, lane: Lane) -> None:
        """See :class:`~pirate.testing.world.network.Reader`."""
        if self.isOpen and lane.link.route:
            self._active.append(lane)
            self.signal()

    def ended(self, lane: Lane) -> None:
        """See :class:`~pirate.testing.world.network.Reader`."""
        link = lane.link
        link.down.cut(0)
        if not self.isOpen:
            return
        if self._links.get(link.number) is link:
            del self._links[link.number]
            self.monitor.happened(False, link)
        if not lane.inbox:
            self._forget(link)
        self.signal()

    def writable(self, lane: Lane) -> None:
        """See :class:`~pirate.testing.world.network.Writer`."""
        if self.isOpen:
            self.signal()

    def cutOff(self, connection: int) -> None:
        """Close a connection, as its peer would."""
        link = self._links.get(connection)
        if link is not None:
            link.cut()

    def hungUp(self, connections: Collection[int]) -> list[int]:
        """Return those connections whose peers have closed them while messages sent before are unread."""
        links = [self._links[each] for each in sorted(connections) if each in self._links]
        return [each.number for each in links if each.up.transit and each.up.transit[-1] is None]

    def _forget(self, link: Link) -> None:
        """Free the routing id of a link that is over and read to its end."""
        if self._routes.get(link.route) is link:
            del self._routes[link.route]

    # --- reading

    def sender(self) -> Sender:
        """Return the sender of the message that is being processed."""
        return InProcessSender() if self.lastLink is None else LinkSender(self, self.lastLink)

    def hasPending(self) -> bool:
        """Return whether there is a message to read; if not, arm the descriptor."""
        if self._hasMessage():
            return True
        self.armed = True
        return False

    def _hasMessage(self) -> bool:
        self.signalled = False
        active = self._active
        while active and not active[0].inbox:
            active.popleft().asleep = True
        return bool(active)

    def read(
        self,
        received: Callable[[list[bytes]], int | None],
        rejected: Callable[[list[bytes], str], None],
        expected: bool,
        most: int = MAX_MESSAGES,
    ) -> None:
        """Read a bounded number of messages; see :meth:`pirate.transport.router.Router.read`."""
        budget = MAX_BYTES
        if not expected and not self.hasPending():
            return
        outer = self.lastLink
        for _ in range(most):
            if not self.hasPending():
                return
            lane = self._active[0]
            self._active.rotate(-1)
            link = lane.link
            frames = [link.route, *lane.take()]
            if lane.over and not lane.inbox:
                self._forget(link)
            budget -= sum(map(len, frames))
            self.armed = False
            self.lastLink = link
            try:
                excess = self._excess(frames)
                if excess:
                    rejected(frames[: self._limits[1]], excess)
                elif further := received(frames):
                    budget -= further * MAX_BYTES // MAX_MESSAGES
            except Exception:
                self._log.failure("dropped a message from the {name}", name=self._name)
            self.lastLink = outer
            if budget < 0 or not self.isOpen:
                return

    def readInProcess(self, received: Callable[[list[bytes]], int | None], frames: list[bytes]) -> None:
        """Process a message of the client in this process."""
        outer, self.lastLink = self.lastLink, None
        try:
            received([IN_PROCESS, *frames])
        except Exception:
            self._log.failure("dropped a message from this process")
        self.lastLink = outer

    def _excess(self, frames: list[bytes]) -> str:
        size, count, total = self._limits
        if any(len(each) > size for each in frames[1:]):
            return "frame-too-large"
        if len(frames) - 1 > count:
            return "too-many-frames"
        return "too-large" if sum(map(len, frames[1:])) > total else ""

    # --- sending

    def deliver(self, frames: Sequence[bytes]) -> bool:
        """
        Send a message.

        :return: ``False`` if its peer is not connected, or its queue is full.
        """
        self.armed = False
        self.signalled = False
        link = self._routes.get(bytes(frames[0]))
        self.full = False
        if link is None or link.up.over or link.down.over:
            if frames[0] != IN_PROCESS or self._peer is None:
                return False
            self._peer.messageReceived(frames[1:])
            return True
        if link.down.isFull():
            self.full = True
            return False
        link.down.send(frames[1:])
        return True

    # --- the end

    def shutdown(self) -> None:
        """Close it; what has been sent still arrives."""
        if self.isOpen:
            self.isOpen, self.factory = False, None
            self._network.unbind(self)
            for link in self._links.values():
                link.down.finish()
            self._links.clear()
            self._routes.clear()

    def kill(self) -> None:
        """Close it as the end of its process does."""
        self.isOpen, self.factory = False, None
        self._network.unbind(self)
        for link in self._links.values():
            link.cut()
