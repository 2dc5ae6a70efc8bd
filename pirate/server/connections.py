"""The connections of workers: a worker whose connection is closed cannot reply any more."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pirate.broker.dispatcher import Dispatcher
from pirate.transport.interfaces import ITransport

#: Seconds from the end of a connection until its worker counts as disconnected: its last messages may still be unread.
LAST_MESSAGES = 0.05


class ConnectionEvents(Protocol):
    """The receiver of disconnected workers: the supervisor."""

    def backendConnectionClosed(self, identity: bytes) -> None:
        """Requeue the requests of a worker whose connection is closed."""


class WorkerConnections:
    """
    A table of which worker uses which connection of the backend.

    What was sent to a connection that is then closed has not arrived, or its reply will not.  Without this table it
    would stay in flight until the delivery timeout.

    :param clock: measures the time for last messages.
    :param dispatcher: tells which workers it has.
    :param transport: tells and closes connections.
    :param events: is told of disconnected workers.
    """

    def __init__(
        self, clock: IReactorTime, dispatcher: Dispatcher, transport: ITransport, events: ConnectionEvents
    ) -> None:
        self._clock = clock
        self._dispatcher = dispatcher
        self._transport = transport
        self._events = events
        self._workers: dict[int, bytes] = {}
        self._connections: dict[bytes, int] = {}
        self._calls: dict[bytes, IDelayedCall] = {}

    def announced(self, worker: bytes, own: bool) -> None:
        """
        Note the connection of a worker whose announcement is being processed.

        :param own: whether the worker is a child of the server.
        """
        if worker in self._connections:
            return
        connection = self._transport.workerSender().connection()
        if connection is not None:
            self._workers[connection] = worker
            self._connections[worker] = connection
            self._transport.keepWorker(connection, own)

    def closed(self, connection: int) -> None:
        """Report the worker on a closed connection as disconnected, unless it announces itself again soon."""
        worker = self._workers.pop(connection, None)
        if worker is not None:
            self._connections.pop(worker, None)
            if worker not in self._calls and self._dispatcher.knows(worker):
                self._calls[worker] = self._clock.callLater(LAST_MESSAGES, self._disconnected, worker)

    def drop(self, worker: bytes) -> None:
        """Close the connection of a worker whose process has ended: a process that it forked may keep it open."""
        connection = self._connections.pop(worker, None)
        if connection is not None:
            self._workers.pop(connection, None)
            self._transport.dropWorker(connection)

    def stop(self) -> None:
        """Report nothing more."""
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()

    def _disconnected(self, worker: bytes) -> None:
        del self._calls[worker]
        if worker not in self._connections and self._dispatcher.knows(worker):
            self._events.backendConnectionClosed(worker)
