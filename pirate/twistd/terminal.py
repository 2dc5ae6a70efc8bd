"""The terminal from which ``twistd pirate`` was started, and how it learns whether the server has started."""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorDaemonize

#: The words of the messages from a daemon to its launcher: a NUL, a word, a text and a NUL.  Between messages stands
#: what twistd has written to standard error.
_PID, _READY, _FAILED = b"pid", b"ready", b"failed"
#: The exit status of an interrupted launcher, the same as in a shell.
INTERRUPTED = 128 + signal.SIGINT


class Terminal(Protocol):
    """
    The terminal from which a server was started.

    :ivar showsLog: whether the terminal shows the log.
    """

    showsLog: bool

    def starting(self) -> None:
        """Report that the process that becomes the server is starting."""

    def ready(self) -> None:
        """Report that the server has started."""

    def refused(self, line: str) -> None:
        """Report why the server does not start, when this process ends with :class:`pirate.errors.Fatal`."""

    def failed(self, line: str) -> None:
        """Report why the server failed to start, and exit with status 1, when this process ends."""


class ForegroundTerminal:
    """
    The terminal of a process that stays in the foreground.

    :param showsLog: whether the terminal shows the log.
    """

    def __init__(self, showsLog: bool = True) -> None:
        self.showsLog = showsLog

    def starting(self) -> None:
        """See :class:`Terminal`."""

    def ready(self) -> None:
        """See :class:`Terminal`."""

    def refused(self, line: str) -> None:
        """See :class:`Terminal`; the log has the message already, because Python's last words go there."""
        if not self.showsLog:
            self.failed(line)

    def failed(self, line: str) -> None:
        """See :class:`Terminal`."""
        atexit.register(self._exit, line)

    def _exit(self, line: str) -> None:
        # Neither twistd nor twist lets a running reactor set the exit status; this runs after both have finished.
        sys.stdout.flush()
        print(line, file=sys.__stderr__, flush=True)
        os._exit(1)


class DaemonTerminal:
    """
    The terminal of a daemon, which reports to its launcher through a pipe, because it has left the terminal.

    :param pipe: the descriptor to write to.
    """

    showsLog = False

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def starting(self) -> None:
        """See :class:`Terminal`."""
        self._send(_PID, str(os.getpid()))

    def ready(self) -> None:
        """See :class:`Terminal`."""
        self._send(_READY)
        os.close(self._pipe)
        self._pipe = -1

    def refused(self, line: str) -> None:
        """See :class:`Terminal`."""
        self.failed(line)

    def failed(self, line: str) -> None:
        """See :class:`Terminal`."""
        # After everything else: a server that is started again at once must not find the pid file of this one.
        atexit.register(self._exit, line)

    def _exit(self, line: str) -> None:
        self._send(_FAILED, line)
        os._exit(1)

    def _send(self, word: bytes, text: str = "") -> None:
        # The launcher may have been killed.
        with suppress(OSError):
            os.write(self._pipe, b"\0%s %s\0" % (word, text.encode(errors="replace").replace(b"\0", b"")))


class Launcher:
    """
    The process that the shell has started, which waits until the daemon has started or failed.

    :param pipe: the descriptor from which to read the messages of :class:`DaemonTerminal`.
    :param maxWait: seconds to wait at most.
    :ivar pid: the process id of the daemon; 0 until it is known.
    """

    def __init__(self, pipe: int, maxWait: float) -> None:
        self._pipe = pipe
        self._maxWait = maxWait
        self._received = b""
        self._interrupted = False
        self.pid = 0

    def wait(self) -> tuple[int, str]:
        """
        Wait until the daemon is ready or has failed.

        :return: the exit status, and the text to write to the terminal.
        """
        deadline = monotonic() + self._maxWait
        while True:
            try:
                chunk = self._read(deadline - monotonic())
            except KeyboardInterrupt:
                if self._interrupted:
                    return INTERRUPTED, ""
                self._interrupted = True
                self._stopDaemon()
                continue
            if chunk is None:
                return 1, f"pirate: not ready after {self._maxWait:g} seconds; the server keeps trying: see its log"
            self._received += chunk
            ended = self._outcome() if chunk else self._outcomeAtEnd()
            if ended is not None:
                return ended

    def _read(self, seconds: float) -> bytes | None:
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        return os.read(self._pipe, 1 << 16) if poll.poll(max(seconds, 0) * 1000) else None

    def _outcome(self) -> tuple[int, str] | None:
        """Return the exit status and the text, if the messages so far tell how the start has ended."""
        for frame in self._received.split(b"\0")[1:-1:2]:
            word, _, text = frame.partition(b" ")
            if word == _PID and not self.pid:
                self.pid = int(text)
                if self._interrupted:
                    self._stopDaemon()
            elif word == _FAILED:
                return self._status(1), text.decode(errors="replace")
            elif word == _READY and not self._interrupted:
                return 0, ""
        return None

    def _outcomeAtEnd(self) -> tuple[int, str]:
        """Return the exit status and the text after the daemon has closed the pipe without reporting an outcome."""
        written = b"".join(self._received.split(b"\0")[::2]).decode(errors="replace").strip()
        if self._interrupted:
            return INTERRUPTED, ""
        return 1, written or "pirate: the server ended before it was ready; see its log"

    def _status(self, status: int) -> int:
        return INTERRUPTED if self._interrupted else status

    def _stopDaemon(self) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)


def leaveTerminal(maxWait: float) -> DaemonTerminal:
    """
    Fork: turn the process that the shell has started into a launcher, and continue in the child.

    twistd then makes a daemon of the child.  The launcher of twistd itself returns as soon as the services are
    started, and shows only the first hundred bytes of an error.

    :param maxWait: seconds that the launcher waits for the server.
    :return: the terminal of the daemon.
    """
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    readEnd, writeEnd = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # A kqueue does not survive a fork.
    reopens = IReactorDaemonize.providedBy(reactor)
    if reopens:
        reactor.beforeDaemonize()
    if os.fork():
        os.close(writeEnd)
        status, text = Launcher(readEnd, maxWait).wait()
        if text:
            os.write(2, text.encode(errors="replace") + b"\n")
        os._exit(status)
    os.close(readEnd)
    # twistd writes its own report of an error to standard error: after our message, or in place of it.
    os.dup2(writeEnd, 2)
    if reopens:
        reactor.afterDaemonize()
    return DaemonTerminal(writeEnd)


def findTerminal(given: Mapping[str, Any], maxWait: float) -> Terminal:
    """
    Return the terminal of this process, after leaving it if twistd is about to become a daemon.

    :param given: the options of twistd or of twist.
    :param maxWait: seconds that the launcher of a daemon waits for the server.
    """
    if not given.get("nodaemon", True):
        return leaveTerminal(maxWait)
    elsewhere = (given.get("logfile") or "-") != "-" or given.get("syslog") or given.get("logger")
    return ForegroundTerminal(not elsewhere and given.get("logFile") in (None, sys.stdout, sys.stderr))
