"""Apps, hooks and dequeue callables that tests name by import path."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pirate.hooks import Hooks

if TYPE_CHECKING:
    from pirate.pool.child import ChildExit
    from pirate.service import JobServer
    from pirate.worker.app import Context

#: The environment variable with the path of the record.
RECORD = "PIRATE_TEST_RECORD"
#: The environment variable with the path of a file; while it exists, :class:`Fragile` cannot be made.
BROKEN = "PIRATE_TEST_BROKEN"
#: The environment variable with the path of the gate to which :func:`dequeue` connects.
DEQUEUE_GATE = "PIRATE_TEST_DEQUEUE_GATE"


def note(text: str) -> None:
    """Append a line to the record, in one write, because several processes may write at once."""
    record = os.open(os.environ[RECORD], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(record, f"{text}\n".encode())
    os.close(record)


def upper(payload: bytes) -> bytes:
    """Return the payload in capitals."""
    return payload.upper()


def record(payload: bytes) -> bytes:
    """Record the request and the worker's process id, and return the payload in capitals."""
    note(f"{payload.decode()} {os.getpid()}")
    return payload.upper()


def mixed(payload: bytes) -> object:
    """Connect to a gate and obey it, if the payload is a path; otherwise record the request."""
    return meet(payload) if payload.startswith(b"/") else record(payload)


def several(*frames: bytes) -> list[bytes]:
    """Return all frames, and their number."""
    return [*frames, b"%d" % len(frames)]


def pid(*frames: bytes) -> str:
    """Return the worker's process id as text."""
    return str(os.getpid())


def number() -> int:
    """Return a number, which is not a valid reply."""
    return 1


def fail(text: bytes) -> NoReturn:
    """Raise an error."""
    raise ValueError(text.decode())


def leave(code: bytes) -> NoReturn:
    """End the worker with ``sys.exit``."""
    sys.exit(int(code))


def drop(code: bytes) -> NoReturn:
    """End the worker with ``os._exit``, in the middle of a line of output."""
    sys.stderr.write("half a line")
    sys.stderr.flush()
    os._exit(int(code))


def die() -> NoReturn:
    """Kill the worker."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def match() -> None:
    """Match a regular expression without end, and hold the interpreter's lock."""
    re.match(r"(a+)+$", "a" * 64 + "b")


def hog() -> None:
    """Run C code without end, which handles no signals."""
    sum(repeat(1))


def spawn() -> str:
    """Start a process that keeps the worker's standard streams open, and return its process id as text."""
    return str(subprocess.Popen(["sleep", "600"]).pid)


def say(out: bytes, err: bytes) -> None:
    """Write to standard output and standard error."""
    print(out.decode())
    print(err.decode(), file=sys.stderr)


def meet(path: bytes) -> object:
    """
    Connect to a :class:`~pirate.test.support.gate.Gate`, send the process id, and obey.

    :return: the result of the command; empty if the gate closes without one.
    """
    with socket.socket(socket.AF_UNIX) as gate:
        gate.connect(path)
        gate.sendall(b"%d\n" % os.getpid())
        told = gate.makefile("rb").readline().split()
        return perform(*told) if told else None


def fork() -> str:
    """
    Fork a process that stays.

    :return: its id, once it runs.
    """
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        os.write(writable, b"x")
        signal.pause()
        os._exit(0)
    os.read(readable, 1)
    return str(child)


def perform(verb: bytes, *arguments: bytes) -> object:
    """Call the function above that the first frame names, with the other frames."""
    verbs = (upper, several, pid, number, fail, leave, drop, die, match, hog, spawn, fork, say, meet)
    call = {each.__name__.encode(): each for each in verbs}[verb]
    return call(*arguments)


def informed(verb: bytes, *arguments: bytes, context: Context) -> list[str]:
    """Return what the context has; with ``die``, kill the worker in the first two attempts."""
    if verb == b"die" and context.attempt < 3:
        die()
    return [str(context.pid), str(context.attempt), context.service, str(context.client), context.request]


class Counted:
    """An app that records when it is made and closed, and replies with the number of calls."""

    def __init__(self) -> None:
        self.calls = 0
        note(f"made {os.getpid()}")

    def __call__(self, *frames: bytes) -> str:
        """Return how often this instance was called."""
        self.calls += 1
        return str(self.calls)

    def close(self) -> None:
        """Record the end."""
        note(f"closed {os.getpid()}")


class Fragile:
    """An app that cannot be made while the file named by ``BROKEN`` exists; it hangs if the file says so."""

    def __init__(self) -> None:
        broken = Path(os.environ[BROKEN])
        if broken.exists():
            if broken.read_text() == "hang":
                Stuck()
            raise RuntimeError("it is broken")

    def __call__(self, *frames: bytes) -> str:
        """Return the worker's process id as text."""
        return pid()


class Stuck:
    """An app that never becomes ready, and ignores TERM."""

    def __init__(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("stuck")
        while True:
            signal.pause()


def dequeue() -> None:
    """Connect to a gate without a request."""
    meet(os.environ[DEQUEUE_GATE].encode())


class Diary(Hooks):
    """Hooks that record their calls; one of them raises an exception."""

    def serverStarting(self, server: JobServer) -> None:
        """Record the call."""
        note("starting")

    def serverStarted(self, server: JobServer) -> None:
        """Record the call, and raise an exception."""
        note("started")
        raise ValueError("a faulty hook")

    def childExited(self, server: JobServer, pid: int, how: ChildExit) -> None:
        """Record the cause of a worker's end."""
        note(f"exited {how}")

    def serverStopped(self, server: JobServer) -> None:
        """Record the call."""
        note("stopped")


def many(count: bytes, size: bytes) -> list[bytes]:
    """Return a number of frames of a number of bytes."""
    return [bytes(int(size))] * int(count)


def caller(payload: bytes, *, context: Context) -> str:
    """Return the user of the client."""
    return str(context.user)


def countdown(start: bytes) -> Iterator[bytes]:
    """Yield a part for each number, down to one."""
    for number in range(int(start), 0, -1):
        yield b"%d" % number
