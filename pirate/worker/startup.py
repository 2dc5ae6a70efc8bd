"""What a worker's process does before it works: its job, its tie to its parent, its paths, streams and title."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from functools import partial
from typing import NoReturn

from pirate.errors import LAST_WORDS, ExitCode
from pirate.wire.job import Job

#: What a terminal sends to all processes that run in it: it is the server that decides.
FROM_TERMINAL = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

#: The number of this in Linux's ``prctl``.
_PR_SET_PDEATHSIG = 1


def ignoreTerminal() -> None:
    """Ignore what a terminal sends to all; the parent has blocked it, because a process is born with other handlers."""
    for number in FROM_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FROM_TERMINAL)


def showTraceback() -> None:
    """Write the traceback of the error that is being handled to the standard error, if it has one that can be shown."""
    import traceback

    # The error's own code may do anything, and the app may have closed the stream.  In one piece: there may be other
    # threads that write.
    with suppress(BaseException):
        sys.stderr.write(traceback.format_exc())


def fail(code: ExitCode, reason: str) -> NoReturn:
    """End this process, with one line for the parent, whatever the app has made of the standard streams."""
    line = f"{LAST_WORDS}{reason}\n"
    with suppress(BaseException):
        sys.stdout.flush()
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except BaseException:
        os.write(2, line.encode(errors="replace"))
    os._exit(code)


def endWithParent() -> int:
    """
    Keep the pipe that is the standard input, and let its end kill this process, even one that is deep in C code.

    :return: the descriptor of the pipe, which must stay open.
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


def dieWithParent(parent: int) -> None:
    """
    Have the kernel kill this process when its parent ends, even while a signal has stopped it.

    Only Linux can do that.  A change of the user undoes it, so the user must have been changed before.

    :param parent: the process id of the parent, which may have ended already.
    """
    if sys.platform != "linux":
        return
    # Without it there is still the lifeline.
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(ExitCode.CLEAN)


def closeInForks(backend: str) -> None:
    """
    Close the connection to the backend in each process that the app forks, or it would outlive this process.

    ZeroMQ's sockets are left alone: a forked process has none of the threads that they belong to.

    :param backend: the endpoint.
    """
    os.register_at_fork(after_in_child=partial(_closeConnections, peerAddress(backend)))


def peerAddress(endpoint: str) -> str | bytes | tuple[str, int]:
    """Return what the system calls the other end of a connection to an endpoint of ZeroMQ."""
    kind, _, name = endpoint.partition("://")
    if kind == "ipc":
        return f"\0{name[1:]}".encode() if name.startswith("@") else name
    host, _, port = name.rpartition(":")
    return host.strip("[]"), int(port)


def _closeConnections(address: str | bytes | tuple[str, int]) -> None:
    from _socket import socket

    for name in os.listdir("/dev/fd"):
        # The descriptor that the list was read from is closed by now; others are no sockets, or not connected.
        with suppress(OSError):
            peer = socket(fileno=int(name))
            try:
                other = peer.getpeername()
            finally:
                peer.detach()
            if (other[:2] if isinstance(other, tuple) else other) == address:
                os.close(int(name))


def readJob() -> Job:
    """Read the job, the first line of the standard input, and not a byte more."""
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            os._exit(ExitCode.CLEAN)
        line += chunk
    return Job.decode(bytes(line))


def settle(job: Job) -> None:
    """Make this process what its parent expects: paths, environment, signals, streams, title."""
    sys.path[:] = job.importPath
    # Before the environment is touched: setproctitle finds its room by walking back from the first variable.
    setTitle(job.title)
    if job.pythonPath is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = job.pythonPath
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def setTitle(title: str) -> None:
    """Name this process so, where setproctitle is installed."""
    try:
        import setproctitle
    except ImportError:
        return
    setproctitle.setproctitle(title)
