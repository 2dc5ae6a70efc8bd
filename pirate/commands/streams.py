"""Where ``pirate-client`` reads requests and writes replies: whole, and with errors of one line."""

from __future__ import annotations

import select
from contextlib import suppress
from typing import BinaryIO, TextIO

from pirate.errors import ConfigurationError


def standard(stream: TextIO | None, name: str, mode: str) -> BinaryIO:
    """
    One of the process's own streams, as bytes.

    :raise ConfigurationError: if it is closed.
    """
    if stream is None:
        raise ConfigurationError(f"standard {name} is closed: open it, or send it to /dev/null")
    # Unbuffered: what a broken pipe did not take is not tried again, with a traceback, when Python ends.
    return open(stream.fileno(), mode, buffering=0, closefd=False)  # type: ignore[return-value]


def readAll(stream: BinaryIO) -> bytes:
    """
    All of standard input.

    :raise ConfigurationError: if it cannot be read.
    """
    try:
        return stream.read()
    except OSError as error:
        raise ConfigurationError(f"standard input cannot be read: {error.strerror or error}") from None


def readFile(path: str) -> bytes:
    """
    All of a file.

    :raise ConfigurationError: if it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"--file {path}: {reason}: give a file that can be read, or - for stdin") from None


def write(stdout: BinaryIO, data: bytes) -> None:
    """
    Write all of something.

    :raise BrokenPipeError: if there is nobody to read it.
    :raise OSError: if it cannot be written for another reason.
    """
    rest = memoryview(data)
    while rest:
        try:
            written: int | None = stdout.write(rest)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OSError(f"standard output cannot be written: {error.strerror}") from None
        if written is None:
            # A terminal or a pipe that someone else made non-blocking, and that is full.
            select.select((), (stdout,), ())
        rest = rest[written or 0 :]


def tell(stderr: TextIO | None, message: str) -> None:
    """Write one line that begins with the command's name, whatever is in it."""
    # Closed or broken, there is nobody left to tell; print() would take None for standard output.
    if stderr is not None:
        with suppress(OSError):
            print("pirate-client:", printable(message), file=stderr, flush=True)


def printable(text: str) -> str:
    """Return a text as one line that does nothing to a terminal."""
    return "".join(each if each.isprintable() else " " for each in text)
