"""How a worker's process starts and ends: its configuration, its tie to the server, its signals, paths and title."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from functools import partial
from typing import NoReturn

from pirate.errors import START_ERROR_PREFIX, ExitCode
from pirate.wire.workerconfig import WorkerConfig

#: The signals that a terminal sends to all its processes.  Workers ignore them, because the server acts on them.
FROM_TERMINAL = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

#: An option of Linux's ``prctl``.
_PR_SET_PDEATHSIG = 1


def ignoreTerminal() -> None:
    """Ignore the terminal's signals, and unblock them.  The server has blocked them until now."""
    for number in FROM_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FROM_TERMINAL)


def showTraceback() -> None:
    """Write the traceback of the error that is being handled to the standard error, if that is possible."""
    import traceback

    # The error's own code may do anything, and the app may have closed the stream.  One write,
    # because other threads may write too.
    with suppress(BaseException):
        sys.stderr.write(traceback.format_exc())


def fail(code: ExitCode, reason: str) -> NoReturn:
    """End this process with one line for the server, even if the app has closed the standard streams."""
    line = f"{START_ERROR_PREFIX}{reason}\n"
    with suppress(BaseException):
        sys.stdout.flush()
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except BaseException:
        os.write(2, line.encode(errors="replace"))
    os._exit(code)


def exitWhenStdinCloses() -> int:
    """
    Have SIGIO end this process when the other end of the standard input is closed, even if it is deep in C code.

    The standard input becomes empty.

    :return: the descriptor of the pipe that it was, which must stay open.
    """
    import fcntl
    import select

    lifeline = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    if sys.platform != "linux":
        signal.signal(signal.SIGIO, lambda number, frame: os._exit(ExitCode.CLEAN))
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    if poll.poll(0):
        os._exit(ExitCode.CLEAN)
    return lifeline


def killWhenParentDies(parent: int) -> None:
    """
    Have the kernel kill this process when the server ends, even while this process is stopped by a signal.

    Only Linux can do that.  A change of the user undoes it, so it must be called afterwards.

    :param parent: the process id of the server, which may have ended already.
    """
    if sys.platform != "linux":
        return
    # Where this is not possible, the end of the standard input still ends the process.
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(ExitCode.CLEAN)


def closeInForks(backend: str) -> None:
    """
    Close the connection to the backend in each process that the app forks, so that it ends with this process.

    ZeroMQ's sockets cannot be closed there: a forked process has none of the threads that they belong to.

    :param backend: the endpoint.
    """
    os.register_at_fork(after_in_child=partial(_closeConnections, peerAddress(backend)))


def peerAddress(endpoint: str) -> str | bytes | tuple[str, int]:
    """Return what ``getpeername`` gives for a connection to an endpoint."""
    kind, _, name = endpoint.partition("://")
    if kind == "ipc":
        return f"\0{name[1:]}".encode() if name.startswith("@") else name
    host, _, port = name.rpartition(":")
    return host.strip("[]"), int(port)


def _closeConnections(address: str | bytes | tuple[str, int]) -> None:
    from _socket import socket

    for name in os.listdir("/dev/fd"):
        # The descriptor that the list was read from is closed by now; others are not sockets, or not connected.
        with suppress(OSError):
            peer = socket(fileno=int(name))
            try:
                other = peer.getpeername()
            finally:
                peer.detach()
            if (other[:2] if isinstance(other, tuple) else other) == address:
                os.close(int(name))


def readConfig() -> WorkerConfig:
    """Read the configuration, the first line of the standard input, and not a byte more."""
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            os._exit(ExitCode.CLEAN)
        line += chunk
    return WorkerConfig.decode(bytes(line))


def applyConfig(config: WorkerConfig) -> None:
    """Set up paths, environment, title and standard output as the configuration says."""
    sys.path[:] = config.importPath
    # Before the environment is changed: setproctitle finds its room by walking back from the first variable.
    setTitle(config.title)
    if config.pythonPath is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = config.pythonPath
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def setTitle(title: str) -> None:
    """Set the title of this process, where setproctitle is installed."""
    try:
        import setproctitle
    except ImportError:
        return
    setproctitle.setproctitle(title)
