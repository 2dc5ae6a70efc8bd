"""Apps that obey their requests, for tests of retries, deadlines, parts and cancellation."""

from __future__ import annotations

import os
import signal
import time
from asyncio.exceptions import CancelledError
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from pirate.errors import SoftTimeout
from pirate.test.support.apps import hog, meet, note

if TYPE_CHECKING:
    from pirate.worker.app import Context


def record(payload: bytes) -> bytes:
    """Record the request; one named ``poison`` then kills the worker."""
    note(payload.decode())
    if payload == b"poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return payload


def brief(payload: bytes) -> bytes:
    """Take a millisecond."""
    time.sleep(0.001)
    return payload


def recordAndMeet(payload: bytes, path: bytes) -> object:
    """Record the request, then connect to a gate and obey."""
    note(payload.decode())
    return meet(path)


def count(upTo: bytes, path: bytes = b"") -> Generator[object, None, bytes]:
    """Yield a number of parts, connect to a gate if there is one, and return ``end``."""
    for number in range(int(upTo)):
        yield str(number)
    if path:
        yield meet(path)
    return b"end"


def endure(how: bytes) -> bytes:
    """
    Run for ten minutes: ``tidy`` replies at the soft time limit, and ``stubborn``, in C code, cannot notice it.

    Only ``brief`` returns at once, with the worker's process id.
    """
    if how == b"brief":
        return b"%d" % os.getpid()
    if how == b"stubborn":
        hog()
    try:
        time.sleep(600)
    except SoftTimeout:
        if how == b"tidy":
            return b"in order"
        raise
    return b"rested"


def watch(path: bytes, *, context: Context) -> bytes:
    """Connect to a gate, then run until the request is cancelled."""
    meet(path)
    while not context.cancelled:
        time.sleep(0.001)
    note("cancelled")
    return b"too late"


def told(payload: bytes, *, context: Context) -> list[str]:
    """Return the remaining time of the caller, and its trace."""
    return [str(context.remaining), context.trace]


def ceaseless(payload: bytes) -> Iterator[bytes]:
    """Yield parts without end."""
    while True:
        yield payload


def odd(kind: bytes) -> object:
    """Return a discontiguous memoryview, or raise a ``BaseException``."""
    if kind == b"view":
        return memoryview(b"abcdef")[::2]
    raise CancelledError("not an Exception")
