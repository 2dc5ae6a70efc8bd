"""Which worker speaks on which connection, so that a connection's end is its worker's."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall

from pirate.broker.broker import Broker
from pirate.broker.interfaces import Sender
from pirate.server.supervisor import Supervisor

#: Seconds that the last messages of a closed connection have to be read before its worker counts as gone.
LAST_MESSAGES = 0.05


class BackendConnections(Protocol):
    """What is needed of the transport."""

    def workerSender(self) -> Sender:
        """Return the sender of the worker message that is being processed."""

    def keepWorker(self, connection: int, own: bool) -> None:
        """
        Close others before this connection to make room.

        :param own: whether it takes no room at all.
        """

    def dropWorker(self, connection: int) -> None:
        """Close a connection."""


class WorkerConnections:
    """
    Ties workers to their connections.

    What was sent on a connection that is closed has not arrived, or its answer will not; it would stay in flight until
    its worker is asked for a sign of life.

    :param clock: gives last messages their time.
    :param broker: is told to move what a worker holds.
    :param supervisor: stops a child that cannot be reached any more.
    :param transport: knows the connections.
    """

    def __init__(self, clock: Any, broker: Broker, supervisor: Supervisor, transport: BackendConnections) -> None:
        self._clock = clock
        self._broker = broker
        self._supervisor = supervisor
        self._transport = transport
        self._workers: dict[int, bytes] = {}
        self._numbers: dict[bytes, int] = {}
        self._late: dict[bytes, IDelayedCall] = {}

    def announced(self, worker: bytes, own: bool) -> None:
        """
        Note the connection of a worker that announces itself and has been let in.

        :param own: whether it is a child of the server.
        """
        if worker in self._numbers:
            return
        number = self._transport.workerSender().connection()
        if number is not None:
            self._workers[number] = worker
            self._numbers[worker] = number
            self._transport.keepWorker(number, own)

    def closed(self, connection: int) -> None:
        """Move what the worker on a connection holds, which has been closed."""
        worker = self._workers.pop(connection, None)
        if worker is not None:
            self._numbers.pop(worker, None)
            if worker not in self._late and self._broker.knows(worker):
                self._late[worker] = self._clock.callLater(LAST_MESSAGES, self._gone, worker)

    def ended(self, worker: bytes) -> None:
        """Close the connection of a worker whose process has ended: a child of its own may keep it open."""
        number = self._numbers.pop(worker, None)
        if number is not None:
            self._workers.pop(number, None)
            self._transport.dropWorker(number)

    def stop(self) -> None:
        """Wait for nothing more."""
        for each in self._late.values():
            each.cancel()
        self._late.clear()

    def _gone(self, worker: bytes) -> None:
        del self._late[worker]
        if worker in self._numbers or not self._broker.knows(worker):
            return
        why = "its connection was closed"
        # One that is not a child may come back; it is asked for nothing that it does not hold.
        if not self._supervisor.disconnected(worker, why) and not self._broker.isIdle(worker):
            self._broker.workerGone(worker, why)
