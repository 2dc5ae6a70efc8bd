"""The terminal that ``twistd pirate`` was typed in: how it learns whether the server has started."""

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

#: What a daemon tells its launcher: a NUL, a word, a text and a NUL.  All else is what twistd wrote to its standard
#: error.
_PID, _READY, _FAILED = b"pid", b"ready", b"failed"
#: The exit status of a launcher that was interrupted, as a shell has it.
INTERRUPTED = 128 + signal.SIGINT


class ITerminal(Protocol):
    """
    The terminal that a server was started from.

    :ivar showsLog: whether the log goes there, too.
    """

    showsLog: bool

    def starting(self) -> None:
        """Tell that the process that becomes the server is about to start."""

    def ready(self) -> None:
        """Tell that the server has started."""

    def refused(self, line: str) -> None:
        """Tell why the server does not start, once this process ends with :class:`pirate.errors.Fatal`."""

    def failed(self, line: str) -> None:
        """Tell why the server could not start, and exit with status 1, once this process ends."""


class Foreground:
    """
    The terminal of a process that stays in the foreground.

    :param showsLog: whether the log goes there, too.
    """

    def __init__(self, showsLog: bool = True) -> None:
        self.showsLog = showsLog

    def starting(self) -> None:
        """See :class:`ITerminal`."""

    def ready(self) -> None:
        """See :class:`ITerminal`."""

    def refused(self, line: str) -> None:
        """See :class:`ITerminal`; what Python writes for an error that ends a process goes to the log."""
        if not self.showsLog:
            self.failed(line)

    def failed(self, line: str) -> None:
        """See :class:`ITerminal`."""
        atexit.register(self._exit, line)

    def _exit(self, line: str) -> None:
        # Neither twistd nor twist has a way for a running reactor to set the exit status; this runs when both are done.
        sys.stdout.flush()
        print(line, file=sys.__stderr__, flush=True)
        os._exit(1)


class Daemon:
    """
    The terminal of a daemon, as its launcher hears of it: over a pipe, because the daemon has let go of the terminal.

    :param pipe: a descriptor to write to.
    """

    showsLog = False

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def starting(self) -> None:
        """See :class:`ITerminal`."""
        self._tell(_PID, str(os.getpid()))

    def ready(self) -> None:
        """See :class:`ITerminal`."""
        self._tell(_READY)
        os.close(self._pipe)
        self._pipe = -1

    def refused(self, line: str) -> None:
        """See :class:`ITerminal`."""
        self.failed(line)

    def failed(self, line: str) -> None:
        """See :class:`ITerminal`."""
        # Last of all: whoever starts the server again at once must not find the pid file of this one.
        atexit.register(self._exit, line)

    def _exit(self, line: str) -> None:
        self._tell(_FAILED, line)
        os._exit(1)

    def _tell(self, word: bytes, text: str = "") -> None:
        # The launcher may have been killed.
        with suppress(OSError):
            os.write(self._pipe, b"\0%s %s\0" % (word, text.encode(errors="replace").replace(b"\0", b"")))


class Launcher:
    """
    The process that was started in the shell: it waits for the daemon, and ends as the daemon's start does.

    :param pipe: a descriptor to read what :class:`Daemon` tells.
    :param most: seconds to wait.
    :ivar pid: the daemon's process id, once it has told it.
    """

    def __init__(self, pipe: int, most: float) -> None:
        self._pipe = pipe
        self._most = most
        self._heard = b""
        self._interrupted = False
        self.pid = 0

    def wait(self) -> tuple[int, str]:
        """
        Wait for the daemon to be ready, or to fail.

        :return: an exit status, and what to write to the terminal.
        """
        deadline = monotonic() + self._most
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
                return 1, f"pirate: not ready after {self._most:g} seconds; the server goes on trying: see its log"
            self._heard += chunk
            ended = self._verdict() if chunk else self._silence()
            if ended is not None:
                return ended

    def _read(self, seconds: float) -> bytes | None:
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        return os.read(self._pipe, 1 << 16) if poll.poll(max(seconds, 0) * 1000) else None

    def _verdict(self) -> tuple[int, str] | None:
        """What the daemon has told, if that is the end of its start."""
        for frame in self._heard.split(b"\0")[1:-1:2]:
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

    def _silence(self) -> tuple[int, str]:
        """Everybody has closed the pipe."""
        said = b"".join(self._heard.split(b"\0")[::2]).decode(errors="replace").strip()
        if self._interrupted:
            return INTERRUPTED, ""
        return 1, said or "pirate: the server ended before it was ready; see its log"

    def _status(self, status: int) -> int:
        return INTERRUPTED if self._interrupted else status

    def _stopDaemon(self) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)


def leaveTerminal(most: float) -> Daemon:
    """
    Leave a launcher behind in the process that was started in the shell, and go on in a child of it.

    twistd goes on to make a daemon of that child.  twistd's own launcher reports as soon as its services are started,
    and no more than a hundred bytes of an error.

    :param most: seconds that the launcher waits for the server to be ready.
    :return: how the daemon tells it.
    """
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    readEnd, writeEnd = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # A kqueue does not survive a fork.
    forgets = IReactorDaemonize.providedBy(reactor)
    if forgets:
        reactor.beforeDaemonize()
    if os.fork():
        os.close(writeEnd)
        status, text = Launcher(readEnd, most).wait()
        if text:
            os.write(2, text.encode(errors="replace") + b"\n")
        os._exit(status)
    os.close(readEnd)
    # What twistd writes about an error that it does not understand either comes after ours, or instead of it.
    os.dup2(writeEnd, 2)
    if forgets:
        reactor.afterDaemonize()
    return Daemon(writeEnd)


def terminalOf(given: Mapping[str, Any], most: float) -> ITerminal:
    """
    Find the terminal of this process, and leave it behind if twistd is about to make a daemon.

    :param given: the options of twistd, or of twist.
    :param most: seconds that a daemon's launcher waits for the server to be ready.
    """
    if not given.get("nodaemon", True):
        return leaveTerminal(most)
    elsewhere = (given.get("logfile") or "-") != "-" or given.get("syslog") or given.get("logger")
    return Foreground(not elsewhere and given.get("logFile") in (None, sys.stdout, sys.stderr))
