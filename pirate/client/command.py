"""``pirate-client``: call a server from the shell."""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Sequence
from contextlib import suppress
from enum import IntEnum
from typing import BinaryIO, NoReturn, TextIO

import zmq

from pirate import __version__
from pirate.client import arguments, errors
from pirate.client.blocking import Client
from pirate.errors import ConfigurationError, PirateError


class Exit(IntEnum):
    """How the command ends."""

    #: The reply is on standard output.
    OK = 0
    #: Something else went wrong; the line on standard error says what.
    FAILED = 1
    #: The command line is not right; nothing was sent.
    USAGE = 2
    #: The app raised an exception.
    APP_ERROR = 3
    #: No reply came in time.
    TIMEOUT = 4
    #: The time ran out before a worker was free; the job was not run.
    EXPIRED = 5
    #: The job ran over the server's time limit and was stopped.
    OVERTIME = 6
    #: The worker died with the request in hand.
    WORKER_LOST = 7
    #: The server's backlog is full.
    BUSY = 8
    #: The server is stopping.
    STOPPING = 9
    #: The server knows no such service.
    UNKNOWN_SERVICE = 10
    #: The server does not allow it.
    DENIED = 11
    #: The request was cancelled.
    CANCELLED = 12
    #: The server does not understand the request's header.
    MALFORMED = 13
    #: Ctrl-C: 128 and the signal's number, as a shell has it.
    INTERRUPTED = 130
    #: The reader of standard output went away: likewise.
    BROKEN_PIPE = 141


#: The exit of each error, exact classes before their bases.
_EXITS: tuple[tuple[type[Exception], Exit], ...] = (
    (ConfigurationError, Exit.USAGE),
    (errors.AppError, Exit.APP_ERROR),
    (errors.Expired, Exit.EXPIRED),
    (errors.Overtime, Exit.OVERTIME),
    (errors.Timeout, Exit.TIMEOUT),
    (errors.WorkerLost, Exit.WORKER_LOST),
    (errors.Busy, Exit.BUSY),
    (errors.Stopping, Exit.STOPPING),
    (errors.UnknownService, Exit.UNKNOWN_SERVICE),
    (errors.Denied, Exit.DENIED),
    (errors.Cancelled, Exit.CANCELLED),
    (errors.Malformed, Exit.MALFORMED),
    (BrokenPipeError, Exit.BROKEN_PIPE),
    (Exception, Exit.FAILED),
)


class _Parser(argparse.ArgumentParser):
    """One line instead of a page: what is wrong, and where to read on."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message} (pirate-client --help tells more)")


def _seconds(text: str) -> float:
    try:
        return arguments.seconds(float(text))
    except (ValueError, ConfigurationError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, such as 2.5") from None


def _tries(text: str) -> int:
    try:
        return arguments.tries(int(text))
    except (ValueError, ConfigurationError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a total number of tries, 0 to {arguments.MAX_TRIES}"
        ) from None


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pirate-client",
        usage="%(prog)s [options] [frame ...]",
        description="Send one request to a pirate server and write its reply to standard output.",
        epilog="Exit status: " + ", ".join(f"{each} {each.name.lower().replace('_', ' ')}" for each in Exit) + ".",
        add_help=False,
    )
    add = parser.add_argument
    add("frames", metavar="frame", nargs="*", help="the request, a frame each; without any, it is read from stdin")
    add("-t", "--timeout", metavar="SECONDS", type=_seconds, default=10.0, help="time for each try (default 10)")
    add("-r", "--retries", metavar="TRIES", type=_tries, default=2, help="number of tries in all (default 2)")
    add("-e", "--endpoint", default=arguments.DEFAULT_ENDPOINT, help="the server's frontend (default %(default)s)")
    add("-i", "--identity", help="a name for the connection, which nobody else may use (default: none)")
    add("--plain", action="store_true", help="send a bare REQ request, for a broker that is not pirate")
    add("--raw", action="store_true", help="bytes as they are: keep stdin's last newline, add none to the reply")
    add("--version", action="store_true", help="show the version and exit")
    add("-h", "--help", action="store_true", help="show this help and exit")
    return parser


def main(
    argv: Sequence[str] | None = None,
    stdin: BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """
    The command.

    :param argv: its arguments; ``None`` for those of the process.
    :param stdin: where the request is read if there is none in ``argv``; ``None`` for the process's own.
    :param stdout: where the reply goes, and nothing else; ``None`` for the process's own.
    :param stderr: where everything else goes; ``None`` for the process's own.
    :return: the exit status, an ``Exit``.
    """
    try:
        _run(argv, stdin, stdout)
        return Exit.OK
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except (PirateError, zmq.ZMQError, OSError) as error:
        status = next(status for kind, status in _EXITS if isinstance(error, kind))
        if status is not Exit.BROKEN_PIPE:
            _tell(stderr or sys.stderr, str(error))
        return status


def _run(argv: Sequence[str] | None, stdin: BinaryIO | None, stdout: BinaryIO | None) -> None:
    parser = _parser()
    options = _parse(parser, list(sys.argv[1:] if argv is None else argv))
    out = stdout or _standard(sys.stdout, "output", "wb")
    if options.help or options.version:
        _write(out, (parser.format_help() if options.help else f"pirate-client {__version__}\n").encode())
        return
    frames = [os.fsencode(each) for each in options.frames] or [_payload(stdin, options.raw)]
    with Client(
        options.endpoint,
        timeout=options.timeout * options.retries,
        retries=options.retries,
        identity=None if options.identity is None else os.fsencode(options.identity),
        plain=options.plain,
    ) as client:
        reply = client.call(*frames)
    parts = [reply] if isinstance(reply, bytes) else reply
    _write(out, b"".join(parts) if options.raw else b"\n".join(parts) + b"\n")


def _parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    # Options may stand between frames, which takes argparse's intermixed way, and that does not know what "--" means.
    end = argv.index("--") if "--" in argv else len(argv)
    options = parser.parse_intermixed_args(argv[:end])
    options.frames += argv[end + 1 :]
    return options


def _payload(stdin: BinaryIO | None, raw: bool) -> bytes:
    try:
        payload = (stdin or _standard(sys.stdin, "input", "rb")).read()
    except OSError as error:
        raise ConfigurationError(f"standard input cannot be read: {error.strerror or error}") from None
    return payload if raw else payload.removesuffix(b"\n")


def _standard(stream: TextIO | None, name: str, mode: str) -> BinaryIO:
    if stream is None:
        raise ConfigurationError(f"standard {name} is closed: open it, or send it to /dev/null")
    # Unbuffered: what a broken pipe did not take is not tried again, with a traceback, when Python ends.
    return open(stream.fileno(), mode, buffering=0, closefd=False)  # type: ignore[return-value]


def _write(stdout: BinaryIO, data: bytes) -> None:
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


def _tell(stderr: TextIO | None, message: str) -> None:
    # Closed or broken, there is nobody left to tell; print() would take None for standard output.
    if stderr is not None:
        with suppress(OSError):
            print("pirate-client:", "".join(c if c.isprintable() else " " for c in message), file=stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
