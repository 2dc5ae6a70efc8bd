"""The interfaces between the parts of a running server, its surroundings and the application."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorCore, IReactorProcess, IReactorTime

from pirate.pool.child import ChildExit, ChildStatus


class IServerReactor(IReactorTime, IReactorProcess, IReactorCore):
    """A reactor that keeps time, spawns processes, and can be told to call something when it runs."""


class ChildKeys(Protocol):
    """The CURVE keys of the server's children; :class:`~pirate.auth.policy.AccessPolicy` has them."""

    def issue(self, identity: bytes) -> dict[str, str]:
        """
        Make and admit the keys of a child that is about to start.

        :return: ``server``, ``public`` and ``secret``; empty without CURVE.
        """

    def revoke(self, keys: dict[str, str]) -> None:
        """
        Admit the keys of a child no longer, because it has ended.

        :param keys: those that :meth:`issue` returned.
        """


class StartEvents(Protocol):
    """The receiver of a start that fails after the server has been started: the program that the server is part of."""

    def startFailed(self, reason: str) -> bool:
        """
        Note that no worker could ever start; the server stops next.

        :param reason: why, in one line.
        :return: whether the user has been told, so that the log need not.
        """


class SupervisorEvents(Protocol):
    """The receiver of what happens to the workers: the application's side of the server."""

    def poolConsulted(self, ready: int, wanted: int) -> None:
        """
        Note that the pool has made its decisions and they have been carried out.

        :param ready: how many workers are ready.
        :param wanted: ``min-servers``.
        """

    def reloaded(self, error: str | None) -> None:
        """
        Note the end of a reload.

        :param error: why it failed; ``None`` if it succeeded.
        """

    def gaveUp(self, reason: str) -> None:
        """Stop the server, because its first workers cannot start."""

    def spawning(self, count: int) -> None:
        """Note that children are about to be spawned."""

    def childStarted(self, pid: int) -> None:
        """Note that the process of a child has been spawned."""

    def childExited(self, pid: int, how: ChildExit) -> None:
        """Note that the process of a child has ended."""

    def statusChanged(self, pid: int, before: ChildStatus, after: ChildStatus) -> None:
        """Note that the status of a child has changed."""


class Pipes(Protocol):
    """The server's ends of the standard output and the standard error of a child."""

    def pauseProducing(self) -> None:
        """Stop reading."""

    def resumeProducing(self) -> None:
        """Read again."""


class ProcessTransport(Pipes, Protocol):
    """
    Twisted's transport of a child's process.

    :ivar pid: the process id.
    """

    pid: int

    def write(self, data: bytes) -> None:
        """Write to the standard input."""

    def signalProcess(self, signalID: str | int) -> None:
        """
        Send a signal.

        :raise twisted.internet.error.ProcessExitedAlready: if the process has ended.
        """

    def loseConnection(self) -> None:
        """Close the standard streams."""
