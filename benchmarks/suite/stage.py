"""Where processes are started, and where none of them is left."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType

PROGRAMS = Path(__file__).parents[1] / "programs"

#: Seconds within which a program must say what is waited for.
PATIENCE = 60.0
#: Seconds that a program has to end by itself when it is told to.
GRACE = 15.0
#: Seconds between two looks at what a program has said.
_LOOK = 0.002

#: The signals that end this process.
_ENDING = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Failed(Exception):
    """A program did not do what it was started for."""


class Program:
    """
    One process.

    :param command: the program and its arguments.
    :param folder: its working directory, where its output is kept.
    :param name: what it is called in messages.
    :param environment: variables that are added to its environment.
    :param files: how many files it may have open; 0: as many as this process.
    :ivar started: when it was, by the monotonic clock.
    :ivar output: the file that keeps what it writes.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, name: str, environment: Mapping[str, str], files: int
    ) -> None:
        self._name = name
        self.output = folder / f"{name}.log"
        # After those that Python needs to find itself; never this benchmark's own folder, whose profile.py would hide
        # that of the standard library.
        path = os.pathsep.join(filter(None, (str(PROGRAMS), os.environ.get("PYTHONPATH"))))
        whole = {**os.environ, "PYTHONPATH": path, **environment}
        with self.output.open("wb") as output:
            self.started = monotonic()
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=whole,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for us alone: we end it in order.  If we are killed, it is told.  It is no session of its
                # own, because Linux may share the CPU among sessions, and then the one with most processes loses.
                process_group=0,
                preexec_fn=partial(_begin, files),
            )
        self.pid = self._process.pid

    def lines(self) -> list[str]:
        """What it has said so far, without a line that it may not have finished."""
        said, _, _ = self.output.read_text(errors="replace").rpartition("\n")
        return said.splitlines()

    def until(self, text: str, within: float = PATIENCE) -> str:
        """
        Wait for it to say something.

        :return: the first line that has the text in it.
        :raise Failed: if it does not say it within so many seconds, or ends.
        """
        deadline = monotonic() + within
        while True:
            ended = self._process.poll()
            found = [line for line in self.lines() if text in line]
            if found:
                return found[0]
            if ended is not None or monotonic() > deadline:
                said = "; ".join(self.lines()[-3:])
                state = f"ended ({ended})" if ended is not None else f"took over {within:g} s"
                raise Failed(f"{self._name} {state} before it said {text!r}: {said}")
            sleep(_LOOK)

    def ended(self) -> int | None:
        """Return its exit status, or ``None`` while it runs."""
        return self._process.poll()

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process.poll() is None:
            self._process.terminate()

    def wait(self, within: float = GRACE) -> None:
        """Wait for it to end, and kill it if it does not."""
        try:
            self._process.wait(within)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it, whatever it is doing."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class TestBed:
    """
    A context in which programs run; they have all ended when it is left, however it is left.

    :param ipc: whether endpoints are UNIX sockets; else they are free TCP ports of the loopback interface.
    :param options: further options of pirate, wherever it is started.
    """

    def __init__(self, ipc: bool = False, options: Sequence[str] = ()) -> None:
        self._ipc = ipc
        self.options = options
        self._scratch = tempfile.TemporaryDirectory(prefix="pirate-benchmark-")
        self._folder = Path(self._scratch.name)
        self._ports = _freePorts()
        self.programs: list[Program] = []

    def __enter__(self) -> TestBed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for program in self.programs:
                program.terminate()
            for program in self.programs:
                with suppress(subprocess.TimeoutExpired):
                    program.wait()
        finally:
            for program in self.programs:
                program.kill()
            self._scratch.cleanup()

    def endpoint(self) -> str:
        """An endpoint that nobody has bound."""
        number = self.port()
        return f"ipc://{self._folder}/{number}" if self._ipc else f"tcp://127.0.0.1:{number}"

    def port(self) -> int:
        """A TCP port of the loopback interface that nobody has bound."""
        return next(self._ports)

    def path(self, name: str) -> Path:
        """Where a program may leave a file; it is removed with the rest."""
        return self._folder / name

    def start(self, name: str, *command: str, environment: Mapping[str, str] | None = None, files: int = 0) -> Program:
        """Start a command; see :class:`Program` for its environment and the files that it may have open."""
        # Ctrl-C waits meanwhile, so that no process can be there that is not in the list.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            program = Program(command, self._folder, f"{len(self.programs)}-{name}", environment or {}, files)
            self.programs.append(program)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return program

    def python(self, name: str, *arguments: object) -> Program:
        """Start one of this benchmark's programs."""
        return self.start(name, sys.executable, str(PROGRAMS / f"{name}.py"), *map(str, arguments))


def _freePorts() -> Iterator[int]:
    """Ports that were free a moment ago, each another one."""
    given: set[int] = set()
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in given:
            given.add(port)
            yield port


def _begin(files: int) -> None:
    """In the new process, before its program: end with the parent, limit its open files, and let signals in."""
    if files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
