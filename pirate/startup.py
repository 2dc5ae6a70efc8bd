"""What a worker's process does before it works: its job, its tie to its parent, its paths, streams and title."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any, NoReturn

from pirate.errors import LAST_WORDS, ExitCode

#: What a terminal sends to all processes that run in it: it is the server that decides.
FROM_TERMINAL = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def ignoreTerminal() -> None:
    """Ignore what a terminal sends to all; the parent has blocked it, because a process is born with other handlers."""
    for number in FROM_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FROM_TERMINAL)


def showTraceback() -> None:
    """Write the error that is being handled to the standard error."""
    import traceback

    # In one piece: there may be other threads that write.
    sys.stderr.write(traceback.format_exc())


def fail(code: ExitCode, reason: str) -> NoReturn:
    """End this process, with one line for the parent."""
    sys.stdout.flush()
    print(f"{LAST_WORDS}{reason}", file=sys.stderr, flush=True)
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


def readJob() -> dict[str, Any]:
    """The job: the first line of the standard input, and not a byte more."""
    line = bytearray()
    while not line.endswith(b"\n"):
        chunk = os.read(0, 1 << 16)
        if not chunk:
            os._exit(ExitCode.CLEAN)
        line += chunk
    job: dict[str, Any] = json.loads(line)
    return job


def settle(job: dict[str, Any]) -> None:
    """Make this process what its parent expects: paths, environment, signals, streams, title."""
    sys.path[:] = job["path"]
    # Before the environment is touched: setproctitle finds its room by walking back from the first variable.
    setTitle(job["title"])
    if job["pythonpath"] is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = job["pythonpath"]
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def setTitle(title: str) -> None:
    """Name this process so, where setproctitle is installed."""
    try:
        import setproctitle
    except ImportError:
        return
    setproctitle.setproctitle(title)
