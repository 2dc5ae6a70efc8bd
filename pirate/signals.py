"""The signals of a server that has a process to itself."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning

from pirate.errors import StopError
from pirate.service import JobServer


class Signals(Service):
    """
    Signal handlers for one server, installed when the reactor runs and restored when this service stops.

    TERM and INT stop the server within C{stop-timeout}, a second one at once.  QUIT stops it however long that takes.
    HUP reloads.  TTIN and TTOU are one worker more and one fewer.

    :param reactor: which is stopped when the server has been.
    """

    def __init__(self, reactor: Any, server: JobServer) -> None:
        self._reactor = reactor
        self._server = server
        self._stopping = False
        self._before: dict[int, Any] = {}
        self._commands: dict[int, Callable[[], object]] = {
            signal.SIGTERM: lambda: self._stop(self._server.limits.stopTimeout),
            signal.SIGINT: lambda: self._stop(self._server.limits.stopTimeout),
            signal.SIGQUIT: lambda: self._stop(None),
            signal.SIGHUP: self._reload,
            signal.SIGTTIN: self._server.grow,
            signal.SIGTTOU: self._server.shrink,
        }

    def startService(self) -> None:
        """Install the handlers after the reactor's own."""
        super().startService()
        self._reactor.callWhenRunning(self._install)

    def stopService(self) -> None:
        """Put back what was there before."""
        super().stopService()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _install(self) -> None:
        for number in self._commands:
            self._before[number] = signal.signal(number, self._received)

    def _received(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._obey, self._commands[number])

    def _obey(self, command: Callable[[], object]) -> None:
        # A server that is stopping has no use for the signals that change it.
        with suppress(StopError):
            command()

    def _stop(self, grace: float | None) -> None:
        if self._stopping:
            self._server.abort()
            return
        self._stopping = True
        self._server.stop(grace).addCallback(lambda ignored: stopReactor(self._reactor))

    def _reload(self) -> Deferred[None]:
        # The server has logged a failure already.
        return self._server.reload().addErrback(lambda failure: None)


def stopReactor(reactor: Any) -> None:
    """Stop the reactor, unless somebody else has."""
    with suppress(ReactorNotRunning):
        reactor.stop()
