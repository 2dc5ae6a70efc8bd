"""Apps that do what a request tells them, for tests of what becomes of requests."""

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
    """Put it on record that a request was executed; one named ``poison`` kills the worker that does."""
    note(payload.decode())
    if payload == b"poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return payload


def brief(payload: bytes) -> bytes:
    """Take a millisecond."""
    time.sleep(0.001)
    return payload


def recordAndMeet(payload: bytes, path: bytes) -> object:
    """Put it on record, then wait at a gate."""
    note(payload.decode())
    return meet(path)


def count(upTo: bytes, path: bytes = b"") -> Generator[object, None, bytes]:
    """So many parts, a visit to a gate if there is one, and an end."""
    for number in range(int(upTo)):
        yield str(number)
    if path:
        yield meet(path)
    return b"end"


def endure(how: bytes) -> bytes:
    """
    Take longer than anybody will wait: ``tidy`` puts things in order, ``stubborn`` does not even notice.

    Only ``brief`` answers at once, with its process id.
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
    """Visit a gate, then go on until the caller does not want the answer any more."""
    meet(path)
    while not context.cancelled:
        time.sleep(0.001)
    note("cancelled")
    return b"too late"


def told(payload: bytes, *, context: Context) -> list[str]:
    """What is left of the caller's budget, and its trace."""
    return [str(context.remaining), context.trace]


def ceaseless(payload: bytes) -> Iterator[bytes]:
    """Parts without end."""
    while True:
        yield payload


def odd(kind: bytes) -> object:
    """What apps should not do, but do: a view with holes, an exception that is no ``Exception``."""
    if kind == b"view":
        return memoryview(b"abcdef")[::2]
    raise CancelledError("not an Exception")
