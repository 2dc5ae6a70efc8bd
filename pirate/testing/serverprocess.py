"""A real server for a test, in a process of its own, for as long as a block lasts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any

from pirate.errors import ConfigurationError, StartError
from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.settings.settings import Settings
from pirate.settings.table import optionName, table
from pirate.settings.types import importPathOf

#: Seconds that a server has to end, beyond its own ``stopTimeout``, before it is killed.
GRACE = 10.0

#: The server ends with whoever holds its standard input, however that one ends.
_PROGRAM = """
import os, signal, sys, threading
def endWithParent():
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=endWithParent, daemon=True).start()
from twisted.scripts.twistd import run
run()
"""

_DETAILS = {each.attribute for owner in (PoolLimits, RequestPolicy, PeerLimits, Settings) for each in table(owner)}


class Serving:
    """
    A server that runs.

    :ivar endpoint: where clients connect.
    :ivar backend: where workers connect.
    :ivar pid: the process id of the broker.
    :ivar log: the lines that it has written so far.
    """

    def __init__(self, command: list[str], folder: str | None, stopTimeout: float) -> None:
        self._stopTimeout = stopTimeout
        self._known = threading.Event()
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

    def __enter__(self) -> Serving:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """
        Stop the server: what it has accepted is answered first.  Twice does no harm.

        :return: its exit status: 0 if all went well.
        """
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self) -> int:
        """Its exit status, once there is nothing left of it."""
        try:
            status = self._process.wait(self._stopTimeout + GRACE)
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
        Wait until its workers are ready.

        :param within: seconds.
        :raise StartError: with the line in which it says why, if they never will be.
        """
        try:
            known = self._known.wait(within)
        except BaseException:
            self.stop()
            raise
        if known and self.endpoint:
            return
        ended = self._process.poll() is not None or known
        self.stop()
        if not ended:
            raise StartError(f"the server was not ready within {within:g} seconds; its log ends: {self._lastWords()}")
        raise StartError(self._lastWords())

    def _lastWords(self) -> str:
        said = [line.removeprefix("pirate: ") for line in self.log if line.startswith("pirate: ")]
        return (said or self.log or ["the server has ended without a word"])[-1]

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
                    self._known.set()
        self._known.set()


def serving(
    app: str | Callable[..., Any], *, workers: int = 1, folder: str | None = None, within: float = 30.0, **settings: Any
) -> Serving:
    """
    Start a server, on free ports of the loopback interface, whose workers are ready when this returns.

    ::

        with serving("package.module.app", workers=2) as server:
            client = Client(server.endpoint)

    It ends with the block, and also if this process is killed.

    :param app: an import path, or a callable or class that has one.  It is found where this process finds it.
    :param workers: how many, unless ``minServers`` and ``maxServers`` say so.
    :param folder: the server's working directory; ``None``: this process's own.
    :param within: seconds in which it must be ready.
    :param settings: any others of the table, by their names in Python: ``concurrency=100``, ``jobTimeout=2``,
        ``errorReply=True``, ``maxMessageFrames=8``.
    :raise StartError: with the line in which the server says why it cannot start.
    :raise ConfigurationError: if there is no setting of a name.
    """
    given = {
        "frontend": "*",
        "backend": "*",
        "app": app if isinstance(app, str) else importPathOf(app, "app"),
        **settings,
    }
    if not {"minServers", "maxServers"} & set(settings):
        given |= {"minServers": workers, "maxServers": workers}
    if given.get("logLevel", 2) < 2:
        raise ConfigurationError(f"logLevel ({given['logLevel']}) must be 2 or more: the log tells that it is ready")
    options = ["-n", "--pidfile=", "pirate"]
    for name, value in given.items():
        options += _option(name, value)
    # Without -P, another pirate in the working directory would come before this one.
    server = Serving([sys.executable, "-P", "-c", _PROGRAM, *options], folder, float(given.get("stopTimeout", 30.0)))
    server.awaitReady(within)
    return server


def _option(name: str, value: Any) -> list[str]:
    if name not in _DETAILS:
        raise ConfigurationError(f"there is no setting {name!r}: they are named as in JobServer, maxRequests for one")
    if isinstance(value, bool):
        return [f"--{optionName(name)}"] if value else []
    if isinstance(value, (list, tuple)):
        return [f"--{optionName(name)}={each}" for each in value]
    return [] if value is None else [f"--{optionName(name)}={value}"]
