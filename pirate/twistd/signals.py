"""The signals of a server that has a process of its own."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning

from pirate.errors import Fatal, StopError
from pirate.service import JobServer

#: The signals that stop a server.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class SignalReactor(Protocol):
    """The part of a reactor that signal handlers need."""

    def callWhenRunning(self, call: Callable[..., Any], /) -> object:
        """Call a function when the reactor runs."""

    def callFromThread(self, call: Callable[..., Any], /, *arguments: Any) -> object:
        """Call a function in the next turn of the reactor, and wake the reactor."""

    def stop(self) -> object:
        """Stop the reactor."""


class EarlySignals:
    """
    The signals that arrive while the sockets are being bound, and must wait so that no socket file stays behind.

    Only the first one waits.  The second one has its usual effect at once, in case the user's own hooks hang.
    """

    def __init__(self) -> None:
        self._held: int | None = None
        self._before: dict[int, Any] = {}

    def hold(self) -> None:
        """Hold signals back from now on."""
        for number in (*STOP_SIGNALS, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._received)

    def hasStopSignal(self) -> bool:
        """Return whether the signal that is held back stops a server."""
        return self._held in STOP_SIGNALS

    def check(self) -> None:
        """
        End the process if the signal that is held back stops a server.

        :raise Fatal: with the exit status that a shell gives to a process ended by that signal.
        """
        if self._held is not None and self.hasStopSignal():
            raise Fatal(128 + self._held)

    def release(self) -> int | None:
        """
        Hold signals back no longer.

        :return: the signal that waits; ``None`` if there is none.
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
    """Return whether this process has no controlling terminal, or has lost it."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError as error:
        # Other errors, such as too many open files, do not tell.
        return error.errno in (errno.ENXIO, errno.EIO)
    return False


class Signals(Service):
    """
    The signal handlers of one server, installed when the reactor runs, and restored when this service stops.

    TERM and INT stop the server within ``stop-timeout``; QUIT stops it without a time limit; a second one of these
    stops it at once.  HUP reloads.  If the terminal sends HUP because it has been closed, HUP stops the server within
    ``stop-timeout`` instead, or is ignored if ``nohup`` has started the server.  TTIN adds a worker and TTOU removes
    one.

    :param reactor: the reactor, which stops after the server.
    :param early: the signals that have arrived before.
    :param withoutTerminal: returns whether this process has no controlling terminal.
    """

    def __init__(
        self,
        reactor: SignalReactor,
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
            signal.SIGTERM: self._stopInTime,
            signal.SIGINT: self._stopInTime,
            signal.SIGQUIT: self._stopWithoutLimit,
            signal.SIGHUP: self._hangUp,
            signal.SIGTTIN: self._server.grow,
            signal.SIGTTOU: self._server.shrink,
        }

    def startService(self) -> None:
        """Install the handlers after those of the reactor."""
        super().startService()
        self._attached = not self._withoutTerminal()
        self._reactor.callWhenRunning(self._install)

    def stopService(self) -> None:
        """Restore the previous handlers."""
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
        # A server that is stopping refuses the commands that change it.
        with suppress(StopError):
            command()

    def _stopInTime(self) -> None:
        self._stop(self._server.limits.stopTimeout)

    def _stopWithoutLimit(self) -> None:
        self._stop(None)

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
            self._stopInTime()
        return None

    def _reload(self) -> Deferred[None]:
        # The server has logged a failure already.
        return self._server.reload().addErrback(lambda failure: None)


def stopReactor(reactor: SignalReactor) -> None:
    """Stop the reactor, unless it has been stopped already."""
    with suppress(ReactorNotRunning):
        reactor.stop()
