"""The signals of a server that has a process to itself."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning

from pirate.errors import Fatal, StopError
from pirate.service import JobServer

#: The signals that stop a server.
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class EarlySignals:
    """
    Hold back a signal that arrives while the sockets are being bound, so that nothing is left behind.

    The second one is not held back: what takes too long may be the user's own hooks.
    """

    def __init__(self) -> None:
        self._held: int | None = None
        self._before: dict[int, Any] = {}

    def hold(self) -> None:
        """Begin."""
        for number in (*STOPS, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._received)

    def ends(self) -> bool:
        """Whether a signal has arrived that stops a server."""
        return self._held in STOPS

    def check(self) -> None:
        """
        Give in to a signal that stops a server, if one has arrived.

        :raise Fatal: with an exit status as a shell has it.
        """
        if self._held is not None and self.ends():
            raise Fatal(128 + self._held)

    def release(self) -> int | None:
        """
        Hold nothing back any more.

        :return: the signal that has arrived, if one has.
        """
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._received:
                signal.signal(number, handler)
        self._before.clear()
        held, self._held = self._held, None
        return held

    def _received(self, number: int, frame: object) -> None:
        if self._held is None:
            self._held = number
        else:
            self.release()
            os.kill(os.getpid(), number)


def withoutTerminal() -> bool:
    """Whether this process has no controlling terminal, or has none any more."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError as error:
        # Any other error, such as too many open files, says nothing about it.
        return error.errno in (errno.ENXIO, errno.EIO)
    return False


class Signals(Service):
    """
    Signal handlers for one server, installed when the reactor runs and restored when this service stops.

    TERM and INT stop the server within ``stop-timeout``, a second one at once.  QUIT stops it however long that takes.
    HUP reloads, unless the terminal sends it that the server runs in, because it was closed: then it stops the server
    within ``stop-timeout``, or does nothing if the server was started by ``nohup``.  TTIN and TTOU are one worker more
    and one fewer.

    :param reactor: which is stopped when the server has been.
    :param early: the signal that has arrived before, which is obeyed now.
    :param withoutTerminal: whether this process has no controlling terminal.
    """

    def __init__(
        self,
        reactor: Any,
        server: JobServer,
        early: EarlySignals | None = None,
        withoutTerminal: Callable[[], bool] = withoutTerminal,
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._early = early or EarlySignals()
        self._withoutTerminal = withoutTerminal
        self._stopping = self._attached = False
        self._before: dict[int, Any] = {}
        self._commands: dict[int, Callable[[], object]] = {
            signal.SIGTERM: lambda: self._stop(self._server.limits.stopTimeout),
            signal.SIGINT: lambda: self._stop(self._server.limits.stopTimeout),
            signal.SIGQUIT: lambda: self._stop(None),
            signal.SIGHUP: self._hangUp,
            signal.SIGTTIN: self._server.grow,
            signal.SIGTTOU: self._server.shrink,
        }

    def startService(self) -> None:
        """Install the handlers after the reactor's own."""
        super().startService()
        self._attached = not self._withoutTerminal()
        self._reactor.callWhenRunning(self._install)

    def stopService(self) -> None:
        """Put back what was there before."""
        super().stopService()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _install(self) -> None:
        early = self._early.release()
        for number in self._commands:
            self._before[number] = signal.signal(number, self._received)
        if early is not None:
            self._obey(self._commands[early])

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

    def _hangUp(self) -> object:
        if not self._attached or not self._withoutTerminal():
            return self._reload()
        if self._before[signal.SIGHUP] != signal.SIG_IGN:
            self._stop(self._server.limits.stopTimeout)
        return None

    def _reload(self) -> Deferred[None]:
        # The server has logged a failure already.
        return self._server.reload().addErrback(lambda failure: None)


def stopReactor(reactor: Any) -> None:
    """Stop the reactor, unless somebody else has."""
    with suppress(ReactorNotRunning):
        reactor.stop()
