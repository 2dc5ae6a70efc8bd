"""The app of simulated workers: it does what each request says."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Generator, Sequence
from typing import Any, NoReturn, Protocol

from pirate.testing.world.processes import current

#: Seconds that a part takes.
PART = 0.002
#: The steps that take a time.
WAITS = frozenset({"sleep", "compute", "cancellable"})
#: Seconds for which an app on a loop keeps it from everything else, at most.
BLOCKED = 0.02
#: A request says what to do by a list of steps, each a word and an argument, in JSON.
Step = list[Any]


def body(token: str, steps: list[Step]) -> bytes:
    """Return the body of a request that is known by a token."""
    return json.dumps([token, steps], separators=(",", ":")).encode()


def replies(token: str, steps: list[Step]) -> tuple[bytes, ...]:
    """Return the replies that a request may have: the last part, and everything in one."""
    parts = [b"%s.%d" % (token.encode(), number) for word, count in steps if word == "parts" for number in range(count)]
    return token.encode(), b"".join(parts) + token.encode()


class Performer(Protocol):
    """
    The process that does what a request says: a simulated one, or a real one.

    :ivar alive: whether it has not ended.
    """

    alive: bool

    def note(self, what: str, *more: Any) -> None:
        """Note an event."""

    def noteLater(self, what: str, *more: Any) -> None:
        """Note an event in a moment, in an order that does not depend on that of others."""

    def sleep(self, seconds: float, masked: bool = False) -> None:
        """Let time pass; if it is masked, signals wait until it has."""

    def exitAtOnce(self, code: int) -> NoReturn:
        """End, as by ``os._exit``."""

    def die(self, number: int) -> None:
        """Be killed by a signal."""

    def called(self) -> None:
        """Leave the code of a process that is dead."""

    def writeOutput(self, data: bytes) -> None:
        """Write to the standard output."""


def work(*frames: bytes, context: Any) -> Any:
    """Do what a request says, and reply with its token."""
    return perform(current(), frames, context)


def perform(process: Performer, frames: Sequence[bytes], context: Any) -> Any:
    """Do what a request says, in some process, and return its token."""
    token, steps = _read(process, frames, context)
    process.note("begins", token, context.request, context.attempt)
    if any(word == "parts" for word, _ in steps):
        return _inParts(process, token, steps, context)
    outcome = "ends"
    try:
        for word, argument in steps:
            if word == "cancellable":
                while not context.cancelled and argument > 0:
                    process.sleep(0.01)
                    argument -= 0.01
            else:
                _do(process, word, argument)
        if any(word == "nonsense" for word, _ in steps):
            return object()
        for word, argument in steps:
            if word == "bytes":
                return [token.encode(), bytes(argument)]
    except BaseException:
        outcome = "raises"
        raise
    finally:
        if process.alive:
            process.note(outcome, token, context.request)
    return token.encode()


def _read(process: Performer, frames: Sequence[bytes], context: Any) -> tuple[str, list[Step]]:
    try:
        token, steps = json.loads(frames[0])
    except ValueError:
        process.note("garbled", context.request)
        raise
    return token, steps


def workOnLoop(*frames: bytes, context: Any) -> Any:
    """Do what a request says on asyncio's loop, several at once, and reply with its token."""
    return performOnLoop(current(), frames, context)


def performOnLoop(process: Performer, frames: Sequence[bytes], context: Any) -> Any:
    """Do the same in some process."""
    token, steps = _read(process, frames, context)
    process.note("begins", token, context.request, context.attempt)
    if any(word == "parts" for word, _ in steps):
        short = [[word, min(argument, BLOCKED) if word in WAITS else argument] for word, argument in steps]
        return _inParts(process, token, short, context)
    return _await(process, token, steps, context)


async def _await(process: Performer, token: str, steps: list[Step], context: Any) -> Any:
    note, outcome = process.note, "ends"
    try:
        for word, argument in steps:
            if word == "cancellable":
                while not context.cancelled and argument > 0:
                    await asyncio.sleep(0.01)
                    argument -= 0.01
            elif word == "sleep":
                await asyncio.sleep(argument)
            elif word == "compute":
                process.sleep(min(argument, BLOCKED), masked=True)
            else:
                _do(process, word, argument)
        if any(word == "nonsense" for word, _ in steps):
            return object()
    except BaseException as error:
        outcome = "raises"
        if isinstance(error, asyncio.CancelledError):
            note = process.noteLater
        raise
    finally:
        if process.alive:
            note(outcome, token, context.request)
    return token.encode()


def _inParts(process: Performer, token: str, steps: list[Step], context: Any) -> Generator[bytes, None, bytes]:
    try:
        for word, argument in steps:
            if word == "parts":
                for number in range(argument):
                    process.sleep(PART)
                    yield f"{token}.{number}".encode()
            else:
                _do(process, word, argument)
    finally:
        if process.alive:
            process.note("ends", token, context.request)
    return token.encode()


def _do(process: Performer, word: str, argument: Any) -> None:
    if word == "sleep":
        process.sleep(argument)
    elif word == "compute":
        process.sleep(argument, masked=True)
    elif word == "raise":
        raise ValueError(argument)
    elif word == "exit":
        raise SystemExit(argument)
    elif word == "end":
        process.exitAtOnce(argument)
    elif word == "die":
        process.die(signal.Signals[argument])
        process.called()
    elif word == "print":
        for _ in range(argument):
            process.writeOutput(b"x" * 80 + b"\n")
