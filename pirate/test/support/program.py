"""A server in a process of its own, and what it writes."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import IO

import pirate
from pirate.test.support.gate import PATIENCE
from pirate.test.support.processes import processesIn

ROOT = Path(pirate.__file__).parent.parent


@cache
def shareBytecode() -> None:
    """
    Let programs that tests start compile each module only once, even where Python writes no bytecode files.

    Where ``PYTHONDONTWRITEBYTECODE`` is set, hundreds of programs would each compile the whole package.  They share a
    temporary folder instead, and the checkout stays clean.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        folder = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["PYTHONPYCACHEPREFIX"] = folder


def environmentWith(added: dict[str, str]) -> dict[str, str]:
    """
    Return the environment in which a process imports this package.

    ``PYTHONPATH`` is the first variable, so that a worker that changes it moves the first of them, on which
    setproctitle depends.
    """
    shareBytecode()
    others = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {"PYTHONPATH": str(ROOT), **others, **added}


def script(name: str) -> list[str]:
    """Return a command of Twisted: the script beside this interpreter, or else its module."""
    installed = Path(sys.executable).with_name(name)
    module = {"twistd": "twisted.scripts.twistd", "twist": "twisted.application.twist._twist"}[name]
    call = {"twistd": "run()", "twist": "Twist.main()"}[name]
    if installed.exists():
        return [sys.executable, str(installed)]
    return [sys.executable, "-c", f"from {module} import *; {call}"]


class Transcript:
    """The lines of a process's output, read in a thread until every process has closed the stream."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.lines: list[str] = []
        self._stream = stream
        self._grown = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def until(self, pattern: str, times: int = 1) -> list[re.Match[str]]:
        """
        Wait for lines that match.

        :param times: how many.
        :return: their matches.
        """

        def enough() -> bool:
            return len(self.matches(pattern)) >= times or self._ended

        with self._grown:
            self._grown.wait_for(enough, PATIENCE)
            found = self.matches(pattern)
        if len(found) < times:
            raise AssertionError(f"{len(found)} of {times} lines match {pattern!r} in:\n" + "\n".join(self.lines))
        return found

    def matches(self, pattern: str) -> list[re.Match[str]]:
        """Return the lines so far that match."""
        return [found for line in self.lines if (found := re.search(pattern, line))]

    def all(self) -> list[str]:
        """Return every line, once the stream has ended."""
        self._thread.join(PATIENCE)
        return self.lines

    def _read(self) -> None:
        with self._stream:
            for line in self._stream:
                with self._grown:
                    self.lines.append(line.decode(errors="replace").rstrip("\n"))
                    self._grown.notify_all()
        with self._grown:
            self._ended = True
            self._grown.notify_all()


class Program:
    """
    A server in a process of its own.

    :ivar out: its standard output, where the log goes.
    :ivar err: its standard error.
    """

    def __init__(self, command: Iterable[str], folder: str, environment: dict[str, str]) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            list(command),
            cwd=folder,
            env=environmentWith(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None and self._process.stderr is not None
        self.out = Transcript(self._process.stdout)
        self.err = Transcript(self._process.stderr)
        self.pid = self._process.pid

    def ready(self) -> Program:
        """Wait until the first workers are ready, and return this program."""
        self.out.until("ready, with")
        return self

    @property
    def frontend(self) -> str:
        """Return the endpoint of the frontend, the first if there are several."""
        return self.out.until(r"frontend: ([^,;\s]+)")[0][1]

    @property
    def backend(self) -> str:
        """Return the endpoint of the backend."""
        return self.out.until(r"backend: ([^,;\s]+)")[0][1]

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        return [pid for pid in processesIn(self._folder) if pid != self.pid]

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end, and return the exit status."""
        status = self._process.wait(PATIENCE)
        self.out.all()
        self.err.all()
        return status

    def stop(self) -> int:
        """Send TERM, wait for the end, and return the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def runs(self) -> bool:
        """Return whether the process still runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill the process.  A second call does nothing."""
        if self.runs():
            self._process.kill()
        self.wait()
