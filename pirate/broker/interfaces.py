"""The interfaces through which the broker sends messages and reports events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pirate.broker.request import Request
from pirate.wire.words import Code


class Outgoing(Protocol):
    """
    The sending half of a transport.

    Each implementation of :class:`~pirate.transport.interfaces.ITransport` implements this too.  The broker needs
    nothing else of it, and must not load that interface, which needs Twisted.

    The first frame of each message is the routing id of its peer.  A message that is posted may be sent a little later,
    together with others.
    """

    def toClient(self, frames: Sequence[bytes]) -> bool:
        """
        Send a message to a client at once.

        :return: ``False`` if the client is not connected, or its queue is full.
        """

    def postToClient(self, frames: Sequence[bytes]) -> None:
        """
        Send a message to a client soon.

        A failure is reported to :meth:`~pirate.broker.replies.Replies.replyUndelivered`.
        """

    def toWorker(self, frames: Sequence[bytes]) -> bool:
        """
        Send a message to a worker at once.

        :return: ``False`` if the worker is not connected, or its queue is full.
        """

    def postToWorker(self, frames: Sequence[bytes]) -> None:
        """
        Send a message to a worker soon.

        A failure is reported, after this call has returned, to
        :meth:`~pirate.broker.dispatcher.Dispatcher.workerMessagesUndelivered`.
        """

    def postRequests(self, worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        """
        Send small requests to a worker soon, perhaps packed into one message with others.

        A failure is reported as for :meth:`postToWorker`.

        :param worker: the worker's routing id.
        :param requests: the broker's ids of the requests, 1 to 64.
        :param bodies: their bodies, of one small frame each.
        """


class BrokerEvents(Protocol):
    """The receiver of the broker's reports: the server that it is part of."""

    def requestFailed(self, request: Request, code: Code, message: str) -> None:
        """Note that a request has been given up."""

    def replyUndelivered(self) -> None:
        """Note that a reply, a part of one or an error could not be sent to its client."""

    def workerBusyChanged(self, identity: bytes, busy: bool) -> None:
        """
        Note that a worker holds its first request, or none any more.

        The broker calls this only if its constructor was told to: it costs two calls for every request.
        """

    def requestsHalfUsed(self, identity: bytes) -> None:
        """Note that a worker has been sent half of the requests that it had left: at 500 left, 250, 125 and so on."""

    def requestsUsedUp(self, identity: bytes) -> None:
        """Note that a worker has been asked to leave, because it has been sent as many requests as it may be given."""

    def workerOverdue(self, identity: bytes, why: str) -> None:
        """
        Stop a worker that the broker has removed, because one of its jobs took too long.

        :param why: the reason, for the log.
        """

    def workerUnreachable(self, identity: bytes) -> bool:
        """
        Note that a message could not be sent to a worker.

        :return: whether :meth:`~pirate.broker.dispatcher.Dispatcher.workerGone` will be called for it later, once its
            last replies have been read; if not, the broker removes the worker now.
        """

    def workerSilent(self, identity: bytes) -> None:
        """Note that a worker that holds requests has not been heard of for longer than the delivery timeout."""


class Sender(Protocol):
    """
    The sender of a message, as far as a transport knows it; each question costs about a microsecond.

    A sender is valid while its message is being processed.
    """

    def address(self) -> str | None:
        """Return the address that the message came from, where that is known."""

    def connection(self) -> int | None:
        """
        Return the number of the connection that the message came by; another may have it once this one is closed.

        :return: ``None`` if it is not known, or closed.
        """

    def isGone(self) -> bool:
        """Return whether the connection is closed for certain; ask this after :meth:`connection`."""

    def userId(self) -> str | None:
        """Return who the sender is, if it had to prove that."""

    def asksOneByOne(self) -> bool:
        """Return whether the message came from a REQ socket, which waits for one reply at a time."""
