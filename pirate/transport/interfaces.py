"""The interface of a transport, and that of the server it reports to.  This module loads no ZeroMQ and no reactor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from pirate.auth.rules import SocketPolicy
from pirate.broker.interfaces import Sender
from pirate.settings.limits import PeerLimits

#: The routing id of the client in the server's own process.  It is longer than any that a socket can have.
IN_PROCESS = b"in-process".ljust(256, b"\0")


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """
    How many connections each socket may have, not counting those of the server's own workers.

    :ivar frontend: connections of clients.
    :ivar backend: connections of external workers and of peers that have not announced themselves.
    """

    frontend: int
    backend: int


class TransportEvents(Protocol):
    """
    The receiver of what a transport reads, and the judge of how much it should read.

    A transport works in turns.  Each turn calls :meth:`turnStarted`, reads a bounded number of messages from the
    backend and then from the frontend, and calls :meth:`turnEnded`.
    """

    def turnStarted(self) -> bool:
        """
        Note the time of a turn, which is the time of all its messages.

        :return: whether a deadline has passed, so that the backend should be read to its end first.
        """

    def turnEnded(self) -> None:
        """Do what is due now that the messages of a turn have been processed."""

    def clientMessageReceived(self, frames: list[bytes]) -> int | None:
        """
        Process a message from the frontend; its first frame is the client's routing id.

        :return: how many requests it contains in excess of one, if any: they count towards what one turn may read.
        """

    def clientMessageRejected(self, frames: list[bytes], reason: str) -> None:
        """
        Reject a client message that exceeds a limit, or whose sender's key was removed after it had connected.

        :param frames: the beginning of the message.
        :param reason: ``frame-too-large``, ``too-large``, ``too-many-frames`` or ``key-removed``.
        """

    def clientDisconnected(self, connection: int) -> None:
        """Forget a client whose connection is closed."""

    def clientHungUp(self, connection: int) -> None:
        """Forget a client that has closed its connection, although messages it sent before are still unread."""

    def clientMessageUnfinished(self, address: str | None) -> None:
        """
        Count a client whose connection is closed, because its message goes on beyond the limit.

        :param address: its IP address.
        """

    def workerMessageReceived(self, frames: list[bytes]) -> int | None:
        """
        Process a message from the backend; its first frame is the worker's routing id.

        :return: how many replies it contains in excess of one, if any.
        """

    def workerMessageRejected(self, frames: list[bytes], reason: str) -> None:
        """Reject a worker message that exceeds a limit; the arguments are those of :meth:`clientMessageRejected`."""

    def workerMessageUnfinished(self, address: str | None) -> None:
        """Count the same of a peer of the backend."""

    def backendConnectionClosed(self, connection: int) -> None:
        """Forget the worker on a connection of the backend that is closed."""

    def isOwnWorker(self, pid: int) -> bool:
        """Return whether a process is one of the server's own workers."""

    def wantsRequests(self) -> bool:
        """Return whether to read the frontend freely; if not, read it only as :meth:`mayReadExtra` permits."""

    def mayReadExtra(self) -> bool:
        """Return whether to read one more message of the frontend although no requests are wanted."""

    def secondsUntilExtraRead(self) -> float:
        """Return in how many seconds to ask :meth:`mayReadExtra` again."""

    def takeHeldBack(self) -> Collection[int]:
        """Return, once each, the connections of clients whose requests exceed their share of the backlog."""

    def replyUndelivered(self) -> None:
        """Count a posted message whose client is gone or does not read."""

    def workerMessagesUndelivered(self, messages: list[Sequence[bytes]]) -> None:
        """Take back posted messages whose workers are gone or do not read."""


class InProcessPeer(Protocol):
    """A client in the server's own process, which has no socket."""

    def messageReceived(self, frames: Sequence[bytes]) -> None:
        """
        Keep a message for later, without reacting to it at once.

        :param frames: the message, without a routing id.
        """


class ITransport(Interface):
    """
    The frontend and the backend of a server: two ROUTERs, read in turns.

    The first frame of every message, in either direction, is the peer's routing id.  The five methods that send are
    those of :class:`~pirate.broker.interfaces.Outgoing`, through which the broker calls them.
    """

    identifiesClients: bool = Attribute("Whether clients prove who they are, so that ``Sender.userId`` may be known.")

    def start(events: TransportEvents, peerLimits: PeerLimits, connectionLimits: ConnectionLimits) -> None:
        """
        Set the receiver of events and the limits.  Call this before :meth:`bind`.

        :param peerLimits: the limits of what a peer may send.
        """

    def protect(
        frontend: SocketPolicy, backend: SocketPolicy, answer: Callable[[Sequence[bytes]], list[bytes]]
    ) -> None:
        """
        Restrict who may connect.  Call this before :meth:`bind`.

        :param answer: returns the reply to a ZAP request; it is not called if neither policy refuses any peer.
        """

    def bind(frontend: Sequence[str], backend: Sequence[str]) -> tuple[list[str], list[str]]:
        """
        Bind both sockets.

        :return: the bound endpoints of each, with the real port in place of ``*``.
        :raise BindError: naming the endpoint; nothing stays bound.
        """

    def bindForOwnWorkers() -> str | None:
        """
        Bind the backend to a further endpoint that only the server's own workers can reach.

        :return: the endpoint; ``None`` if the platform has none.
        """

    def drainFrontend() -> None:
        """
        Read what clients have sent so far.

        The sockets stay bound, because unbinding one would disconnect its peers.
        """

    def toClient(frames: Sequence[bytes]) -> bool:
        """See :meth:`pirate.broker.interfaces.Outgoing.toClient`."""

    def postToClient(frames: Sequence[bytes]) -> None:
        """See :meth:`pirate.broker.interfaces.Outgoing.postToClient`; ``events.replyUndelivered`` reports a failure."""

    def toWorker(frames: Sequence[bytes]) -> bool:
        """See :meth:`pirate.broker.interfaces.Outgoing.toWorker`."""

    def postToWorker(frames: Sequence[bytes]) -> None:
        """
        See :meth:`pirate.broker.interfaces.Outgoing.postToWorker`.

        ``events.workerMessagesUndelivered`` reports a failure.
        """

    def postRequests(worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        """See :meth:`pirate.broker.interfaces.Outgoing.postRequests`; a failure is reported likewise."""

    def clientSender() -> Sender:
        """Return the sender of the client message that is being processed."""

    def workerSender() -> Sender:
        """Return the sender of the worker message that is being processed."""

    def keepWorker(connection: int, own: bool) -> None:
        """
        Mark a connection of the backend as an admitted worker's, so that others are closed first to make room.

        :param own: whether the worker is the server's own, so that its connection does not count.
        """

    def dropWorker(connection: int) -> None:
        """Close a connection of the backend."""

    def connectionCounts() -> dict[str, dict[str, int]]:
        """Return, for ``frontend`` and ``backend``, the counts of connections; ``open`` is the current number."""

    def connectInProcess(peer: InProcessPeer) -> None:
        """Deliver the messages for the routing id :data:`IN_PROCESS` to a client in this process."""

    def receiveInProcess(frames: list[bytes]) -> None:
        """
        Read a message of the client in this process in one of the next turns, as soon as requests are wanted.

        :param frames: the message, without a routing id.
        """

    def wake() -> None:
        """Schedule a turn, because something has changed that was not read from a socket."""

    def close() -> Deferred[None]:
        """
        Close both sockets.

        :return: fires when the last messages have been sent, or their time is over.
        """
