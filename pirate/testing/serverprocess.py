"""A real server for a test, in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Unpack

from pirate.errors import ConfigurationError, StartError
from pirate.settings.table import optionName
from pirate.settings.types import importPathOf
from pirate.testing.arguments import ServerArguments, completeSettings

if TYPE_CHECKING:
    from pirate.hooks import Hooks

#: Seconds after ``stopTimeout`` until a server that has not ended is killed.
KILL_DELAY = 10.0

#: The server's program.  The server stops when its parent ends, because its standard input is closed then.
_PROGRAM = """
import os, signal, sys, threading
def exitWhenStdinCloses():
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=exitWhenStdinCloses, daemon=True).start()
from twisted.scripts.twistd import run
run()
"""


class ServerProcess:
    """
    A running server in a process of its own, which :func:`serving` returns.

    :ivar endpoint: the endpoint for clients.
    :ivar backend: the endpoint for workers.
    :ivar pid: the process id of the broker.
    :ivar log: the lines that it has logged so far.
    """

    def __init__(self, command: list[str], folder: str | None, stopTimeout: float) -> None:
        self._stopTimeout = stopTimeout
        self._settled = threading.Event()
        self.endpoint = self.backend = ""
        self.log: list[str] = []
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(each) for each in sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """
        Stop the server, after it has replied to the requests that it has accepted.  A second call does nothing.

        :return: its exit status; 0 for success.
        """
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._awaitEnd()

    def _awaitEnd(self) -> int:
        """Wait for the end of the process; return its exit status."""
        try:
            status = self._process.wait(self._stopTimeout + KILL_DELAY)
        except BaseException:
            # Its workers end with it.
            self._process.kill()
            status = self._process.wait()
        self._reader.join()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return status

    def awaitReady(self, within: float) -> None:
        """
        Wait until the workers are ready.

        :param within: seconds.
        :raise StartError: with the server's own error line, if they never will be.
        """
        try:
            settled = self._settled.wait(within)
        except BaseException:
            self.stop()
            raise
        if settled and self.endpoint:
            return
        ended = self._process.poll() is not None or settled
        self.stop()
        if not ended:
            raise StartError(f"the server was not ready within {within:g} seconds; its log ends: {self._lastLine()}")
        raise StartError(self._lastLine())

    def _lastLine(self) -> str:
        errors = [line.removeprefix("pirate: ") for line in self.log if line.startswith("pirate: ")]
        return (errors or self.log or ["the server ended without a line of log"])[-1]

    def _read(self, stream: IO[bytes]) -> None:
        endpoint = backend = ""
        with stream:
            for raw in stream:
                line = raw.decode(errors="replace").rstrip("\n")
                self.log.append(line)
                if found := re.search(r"\] frontend: ([^,;\s]+).*; backend: ([^,;\s]+)", line):
                    endpoint, backend = found[1], found[2]
                if "] ready, with " in line:
                    self.endpoint, self.backend = endpoint, backend
                    self._settled.set()
        self._settled.set()


def serving(
    app: str | Callable[..., Any],
    *,
    workers: int = 1,
    hooks: str | type[Hooks] | None = None,
    folder: str | None = None,
    within: float = 30.0,
    **settings: Unpack[ServerArguments],
) -> ServerProcess:
    """
    Start a server on free ports of the loopback interface, and return when its workers are ready.

    ::

        with serving("package.module.app", workers=2) as server:
            client = Client(server.endpoint)

    The server stops at the end of the block, and also if this process is killed.

    :param app: an import path, or a callable or class that has one.  The server finds modules where this process does.
    :param workers: the number of workers, unless ``minServers`` or ``maxServers`` is given.
    :param hooks: a subclass of :class:`~pirate.hooks.Hooks`, or its import path.
    :param folder: the server's working directory; ``None`` for this process's own.
    :param within: seconds until the workers must be ready.
    :param settings: any of :class:`~pirate.testing.ServerArguments`, such as ``concurrency=100``, ``jobTimeout=2``,
        ``errorReply=True`` or ``maxMessageFrames=8``.
    :raise StartError: with the server's own error line, if it cannot start.
    :raise ConfigurationError: if a setting does not exist.
    """
    given = completeSettings(settings, workers) | {"app": app, "hooks": hooks}
    if given.get("logLevel", 2) < 2:
        raise ConfigurationError(f"logLevel ({given['logLevel']}) must be 2 or more, because the log reports readiness")
    options = ["-n", "--pidfile=", "pirate"]
    for name, value in given.items():
        options += _option(name, value)
    # Without -P, a module named pirate in the working directory would hide this package.
    server = ServerProcess(
        [sys.executable, "-P", "-c", _PROGRAM, *options], folder, float(given.get("stopTimeout", 30.0))
    )
    server.awaitReady(within)
    return server


def _option(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{optionName(name)}"] if value else []
    if isinstance(value, (list, tuple)):
        return [f"--{optionName(name)}={each}" for each in value]
    if callable(value):
        value = importPathOf(value, name)
    return [] if value is None else [f"--{optionName(name)}={value}"]
