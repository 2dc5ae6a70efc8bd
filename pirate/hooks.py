"""Hooks: what an application is told of a server's moments, as Net::Server's hooks told theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pirate.broker.request import RequestContext
from pirate.pool.child import ChildExit, ChildState

if TYPE_CHECKING:
    from pirate.service import JobServer

__all__ = ["ChildExit", "ChildState", "Hooks", "RequestContext"]


class Hooks:
    """
    Subclass this, and give the subclass as ``--hooks package.module.Class`` or an instance to
    :class:`~pirate.service.JobServer`.

    Each method does nothing unless overridden.  They are called in the broker's process, in its reactor's thread, and
    must not block.  An exception in one is logged, and breaks nothing.  ``docs/reference/hooks.rst`` says which hook of
    Net::Server each one follows.
    """

    def serverStarting(self, server: JobServer) -> None:
        """Both sockets are bound; there are no workers yet.  ``server.endpoints`` says where."""

    def serverStarted(self, server: JobServer) -> None:
        """``min-servers`` workers are ready."""

    def serverStopping(self, server: JobServer) -> None:
        """No more requests are accepted; those that have been are still answered."""

    def serverStopped(self, server: JobServer) -> None:
        """The last worker is gone and the sockets are closed."""

    def spawning(self, server: JobServer, count: int) -> None:
        """So many workers are about to be started."""

    def childStarted(self, server: JobServer, pid: int) -> None:
        """A worker's process is there; it is not ready yet."""

    def childExited(self, server: JobServer, pid: int, how: ChildExit) -> None:
        """
        A worker's process has ended.

        :param how: why, in words, and whether it had been asked to.
        """

    def statusChanged(self, server: JobServer, pid: int, before: ChildState, after: ChildState) -> None:
        """
        A worker went from one state to another.

        Overriding this has a price: it is called twice for every request.
        """

    def idle(self, server: JobServer) -> None:
        """The pool has been looked at: after every event that concerns it, and at least every ``check-for-waiting``."""

    def allowRequest(self, context: RequestContext) -> bool | str | None:
        """
        Whether a request is accepted.

        Overriding this has a price: it is called for every request, before anything else is done with it.  An exception
        in it refuses the request.

        :return: ``False``, or a reason in words, to refuse it: a native client is told ``denied``, with the reason.
        """
        return True
