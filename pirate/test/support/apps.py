"""Apps, hooks and dequeue callables for servers under test: what tests name by import path."""

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

#: The environment variable that says where :func:`record` writes.
RECORD = "PIRATE_TEST_RECORD"
#: The environment variable with the path of a file; while it is there, :class:`Fragile` cannot be made.
BROKEN = "PIRATE_TEST_BROKEN"
#: The environment variable with the path of the gate at which :func:`dequeue` calls.
DEQUEUE_GATE = "PIRATE_TEST_DEQUEUE_GATE"


def note(text: str) -> None:
    """Add a line to the record, whole even if several processes write at once."""
    record = os.open(os.environ[RECORD], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(record, f"{text}\n".encode())
    os.close(record)


def upper(payload: bytes) -> bytes:
    """The seed's own example."""
    return payload.upper()


def record(payload: bytes) -> bytes:
    """Put it on record that a request was executed, and by whom."""
    note(f"{payload.decode()} {os.getpid()}")
    return payload.upper()


def mixed(payload: bytes) -> object:
    """A path is a gate, where one is told what to do; everything else is put on record."""
    return meet(payload) if payload.startswith(b"/") else record(payload)


def several(*frames: bytes) -> list[bytes]:
    """As many frames as came, and their number."""
    return [*frames, b"%d" % len(frames)]


def pid(*frames: bytes) -> str:
    """The worker's process id, as a text."""
    return str(os.getpid())


def number() -> int:
    """What no app may return."""
    return 1


def fail(text: bytes) -> NoReturn:
    """An error in the app."""
    raise ValueError(text.decode())


def leave(code: bytes) -> NoReturn:
    """An app that ends its worker, politely."""
    sys.exit(int(code))


def drop(code: bytes) -> NoReturn:
    """An app that ends its worker on the spot, in the middle of a line of output."""
    sys.stderr.write("half a line")
    sys.stderr.flush()
    os._exit(int(code))


def die() -> NoReturn:
    """An app that is killed."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def match() -> None:
    """Stay in a regular expression, with the interpreter's lock held, for longer than anybody will live."""
    re.match(r"(a+)+$", "a" * 64 + "b")


def hog() -> None:
    """The same in C code that does not even look for signals."""
    sum(repeat(1))


def spawn() -> str:
    """Start a process that keeps the worker's standard streams open; its process id, as a text."""
    return str(subprocess.Popen(["sleep", "600"]).pid)


def say(out: bytes, err: bytes) -> None:
    """Write to both standard streams."""
    print(out.decode())
    print(err.decode(), file=sys.stderr)


def meet(path: bytes) -> object:
    """
    Connect to a :class:`~pirate.test.support.gate.Gate`, say who is there, and do what one is told.

    :return: what that gives; nothing if the gate closes without a word.
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
    """Do what the first frame says, one of the functions above, with the others."""
    verbs = (upper, several, pid, number, fail, leave, drop, die, match, hog, spawn, fork, say, meet)
    call = {each.__name__.encode(): each for each in verbs}[verb]
    return call(*arguments)


def informed(verb: bytes, *arguments: bytes, context: Context) -> list[str]:
    """What the app may know of a request; with ``die``, only the third attempt comes to tell it."""
    if verb == b"die" and context.attempt < 3:
        die()
    return [str(context.pid), str(context.attempt), context.service, str(context.client), context.request]


class Counted:
    """An app with a life of its own: it records its start and its end, and answers how often it was called."""

    def __init__(self) -> None:
        self.calls = 0
        note(f"made {os.getpid()}")

    def __call__(self, *frames: bytes) -> str:
        """How often this one was called."""
        self.calls += 1
        return str(self.calls)

    def close(self) -> None:
        """The worker is about to end."""
        note(f"closed {os.getpid()}")


class Fragile:
    """An app that cannot be made while the file that ``BROKEN`` names is there; it hangs if the file says so."""

    def __init__(self) -> None:
        broken = Path(os.environ[BROKEN])
        if broken.exists():
            if broken.read_text() == "hang":
                Stuck()
            raise RuntimeError("it is broken")

    def __call__(self, *frames: bytes) -> str:
        """Who answers."""
        return pid()


class Stuck:
    """An app that is never ready, and cannot be talked out of it."""

    def __init__(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("stuck")
        while True:
            signal.pause()


def dequeue() -> None:
    """Work that no client has asked for."""
    meet(os.environ[DEQUEUE_GATE].encode())


class Diary(Hooks):
    """Hooks that record the server's life; one of them is faulty."""

    def serverStarting(self, server: JobServer) -> None:
        """Both sockets are bound."""
        note("starting")

    def serverStarted(self, server: JobServer) -> None:
        """The workers are ready."""
        note("started")
        raise ValueError("a faulty hook")

    def childExited(self, server: JobServer, pid: int, how: ChildExit) -> None:
        """A worker has ended."""
        note(f"exited {how}")

    def serverStopped(self, server: JobServer) -> None:
        """All is over."""
        note("stopped")


def many(count: bytes, size: bytes) -> list[bytes]:
    """So many frames of so many bytes."""
    return [bytes(int(size))] * int(count)


def caller(payload: bytes, *, context: Context) -> str:
    """Who calls."""
    return str(context.user)


def countdown(start: bytes) -> Iterator[bytes]:
    """A part for each number, down to one."""
    for number in range(int(start), 0, -1):
        yield b"%d" % number
