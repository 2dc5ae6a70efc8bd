"""A server in a process of its own, as whoever started it sees it."""

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
    The environment in which a process finds this very package.

    ``PYTHONPATH`` is the first variable, so that a worker that puts it right moves the first of them, on which
    setproctitle depends.
    """
    shareBytecode()
    others = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {"PYTHONPATH": str(ROOT), **others, **added}


def script(name: str) -> list[str]:
    """A command that Twisted installs: as installed beside this interpreter, or else straight from its module."""
    installed = Path(sys.executable).with_name(name)
    module = {"twistd": "twisted.scripts.twistd", "twist": "twisted.application.twist._twist"}[name]
    call = {"twistd": "run()", "twist": "Twist.main()"}[name]
    if installed.exists():
        return [sys.executable, str(installed)]
    return [sys.executable, "-c", f"from {module} import *; {call}"]


class Transcript:
    """What a process writes to one of its streams, read in a thread of its own until everybody has closed it."""

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
        :return: those that do.
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
        """The lines so far that match."""
        return [found for line in self.lines if (found := re.search(pattern, line))]

    def all(self) -> list[str]:
        """Every line, once there will be no more."""
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
        """This, once its first workers are ready."""
        self.out.until("ready, with")
        return self

    @property
    def frontend(self) -> str:
        """The endpoint of its frontend, the first if there are several."""
        return self.out.until(r"frontend: ([^,;\s]+)")[0][1]

    @property
    def backend(self) -> str:
        """The endpoint of its backend."""
        return self.out.until(r"backend: ([^,;\s]+)")[0][1]

    def workers(self) -> list[int]:
        """The process ids of its workers now."""
        return [pid for pid in processesIn(self._folder) if pid != self.pid]

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        status = self._process.wait(PATIENCE)
        self.out.all()
        self.err.all()
        return status

    def stop(self) -> int:
        """The same, if it is asked to stop now."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def runs(self) -> bool:
        """Whether it has not been seen to end."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it, whatever it is doing.  Twice does no harm."""
        if self.runs():
            self._process.kill()
        self.wait()
