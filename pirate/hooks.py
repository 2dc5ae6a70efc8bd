"""Hooks: the methods that a server calls at the events of its life, after those of Net::Server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pirate.broker.request import RequestFacts
from pirate.pool.child import ChildExit, ChildStatus

if TYPE_CHECKING:
    from pirate.service import JobServer

__all__ = ["ChildExit", "ChildStatus", "Hooks", "RequestFacts"]


class Hooks:
    """
    The hooks of an application.

    Override the methods that you need, and pass the subclass with ``--hooks package.module.Class``, or an instance of
    it to :class:`~pirate.service.JobServer`.

    The server calls the methods in its own process, in the thread of the reactor, so they must not block.  It logs an
    exception in a method and continues.
    """

    def serverStarting(self, server: JobServer) -> None:
        """Called when both sockets are bound, before workers start; ``server.endpoints`` has the addresses."""

    def serverStarted(self, server: JobServer) -> None:
        """Called when ``min-servers`` workers are ready."""

    def serverStopping(self, server: JobServer) -> None:
        """Called when the server accepts no more requests; it still replies to those that it has accepted."""

    def serverStopped(self, server: JobServer) -> None:
        """Called when the last worker has ended and the sockets are closed."""

    def spawning(self, server: JobServer, count: int) -> None:
        """
        Called before workers are started.

        :param count: the number of workers.
        """

    def childStarted(self, server: JobServer, pid: int) -> None:
        """Called when the process of a worker has started; the worker is not ready yet."""

    def childExited(self, server: JobServer, pid: int, how: ChildExit) -> None:
        """
        Called when the process of a worker has ended.

        :param how: how it ended; not whether the server had asked it to leave.
        """

    def statusChanged(self, server: JobServer, pid: int, before: ChildStatus, after: ChildStatus) -> None:
        """
        Called when the status of a worker changes.

        The server calls an override of this method up to twice per request, which slows it down.  A worker that gets
        its next request together with its reply stays ``processing``.
        """

    def idle(self, server: JobServer) -> None:
        """Called after each check of the pool: after every event, and at least every ``check-for-waiting`` seconds."""

    def allowRequest(self, context: RequestFacts) -> bool | str | None:
        """
        Decide whether to accept a request.

        The server calls an override of this method for each request, before it processes the request.  An exception
        rejects the request.

        :return: ``True`` to accept the request; ``False``, or the reason as a text, to reject it.  A native client
            gets the error ``denied`` with the reason.
        """
        return True
