"""The command ``pirate-client``, which calls a server from the shell."""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import repeat
from random import Random
from time import monotonic
from typing import Any, BinaryIO, TextIO

import zmq

from pirate import __version__
from pirate.client.blocking import Client
from pirate.client.codecs import newCodec
from pirate.client.options import DEFAULT_ENDPOINT
from pirate.commands.completion import completionScript
from pirate.commands.exits import ExitStatus, exitStatusOf
from pirate.commands.parser import newParser, parse
from pirate.commands.report import Progress, Report
from pirate.errors import ConfigurationError, PirateError

__all__ = ["ExitStatus", "main"]


def main(
    argv: Sequence[str] | None = None,
    stdin: BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """
    Run the command.

    :param argv: its arguments; ``None`` for those of the process.
    :param stdin: the stream to read the request from if ``argv`` has none; ``None`` for standard input.
    :param stdout: the stream for the reply, and nothing else; ``None`` for standard output.
    :param stderr: the stream for everything else; ``None`` for standard error.
    :return: an :class:`~pirate.commands.exits.ExitStatus`.
    """
    messages = stderr or sys.stderr
    try:
        return _run(list(sys.argv[1:] if argv is None else argv), stdin, stdout, messages)
    except KeyboardInterrupt:
        _tell(messages, "interrupted")
        return ExitStatus.INTERRUPTED
    except (PirateError, zmq.ZMQError, OSError, ValueError) as error:
        status = exitStatusOf(error)
        if status is not ExitStatus.BROKEN_PIPE:
            _tell(messages, str(error))
        return status


def _run(argv: list[str], stdin: BinaryIO | None, stdout: BinaryIO | None, stderr: TextIO | None) -> ExitStatus:
    parser = newParser()
    options = parse(parser, argv)
    out = stdout or _standard(sys.stdout, "output", "wb")
    if options.help or options.version or options.completion:
        text = parser.format_help() if options.help else f"pirate-client {__version__}\n"
        _write(out, (completionScript(parser, options.completion) if options.completion else text).encode())
        return ExitStatus.OK
    frames = [] if options.ping else _request(options, stdin)
    report = Report(Random())
    with _client(options, report, stderr) as client:
        if options.ping:
            return _ping(client, options, out)
        elif options.count:
            _many(client, options, frames, report, out, stderr)
        elif options.stream:
            with client.stream(*frames, service=options.service) as parts:
                for part in parts:
                    _write(out, _formatted(part, options))
        else:
            _write(out, _formatted(client.call(*frames, service=options.service), options))
    return report.status if options.count else ExitStatus.OK


def _client(options: argparse.Namespace, report: Report, stderr: TextIO | None) -> Client[list[bytes]]:
    more: dict[str, Any] = {}
    if options.curve_server:
        more["curve"] = (options.curve_server, options.curve_secret)
    if options.count:
        more["after"] = lambda call: report.add(monotonic() - call.began, call.error)
    return Client(
        options.endpoint or [DEFAULT_ENDPOINT],
        codec="frames",
        timeout=options.timeout,
        attempts=options.attempts,
        identity=None if options.identity is None else os.fsencode(options.identity),
        plain=options.plain,
        outage=lambda outage: _tell(stderr, str(outage)),
        **more,
    )


def _request(options: argparse.Namespace, stdin: BinaryIO | None) -> list[bytes]:
    """Return the frames of the request: those of the command line, then those of files."""
    frames = [os.fsencode(each) for each in options.frames]
    for path in options.file or ([] if frames else ["-"]):
        read = _readAll(stdin or _standard(sys.stdin, "input", "rb")) if path == "-" else _readFile(path)
        if options.each_line:
            frames += read.splitlines(keepends=True) if options.raw else read.removesuffix(b"\n").split(b"\n")
        else:
            # The newline at the end of standard input is rarely part of the request; that of a file may be.
            frames.append(read if options.raw or path != "-" else read.removesuffix(b"\n"))
    return _encoded(frames) if options.json else frames or [b""]


def _encoded(frames: list[bytes]) -> list[bytes]:
    values = []
    for frame in frames:
        try:
            values.append(json.loads(frame))
        except ValueError as error:
            shown = frame[:40].decode(errors="replace")
            raise ConfigurationError(f'--json: {shown!r} is not JSON: {error}; text is "text", in quotes') from None
    return newCodec("json").encode(tuple(values))


def _formatted(frames: list[bytes], options: argparse.Namespace) -> bytes:
    """
    Return a reply, or a part of one, as the command writes it.

    :raise ValueError: with ``--json``, if it is not JSON.
    """
    if options.json:
        decode = newCodec("json").decode
        frames = [json.dumps(decode([each]), ensure_ascii=False).encode("utf-8", "surrogatepass") for each in frames]
    return b"".join(frames) if options.raw else b"\n".join(frames) + b"\n"


def _ping(client: Client[list[bytes]], options: argparse.Namespace, out: BinaryIO) -> ExitStatus:
    began = monotonic()
    reply = client.ping(options.timeout)
    took = (monotonic() - began) * 1000
    if options.json:
        names = ("endpoint", "server", "version", "state", "workers", "busy", "idle", "backlog")
        told = {**{name: getattr(reply, name) for name in names}, "ms": round(took, 3)}
        _write(out, json.dumps(told).encode() + b"\n")
    else:
        line = (
            f"{reply.server} {reply.version} at {reply.endpoint}: {reply.state}, workers {reply.workers}, "
            f"busy {reply.busy}, idle {reply.idle}, backlog {reply.backlog}, ms {took:.1f}"
        )
        # The version and the state are the server's own texts: they must not control the terminal.
        _write(out, printable(line).encode() + b"\n")
    return ExitStatus.OK if reply.ready else ExitStatus.NOT_READY


def _many(
    client: Client[list[bytes]],
    options: argparse.Namespace,
    frames: list[bytes],
    report: Report,
    out: BinaryIO,
    stderr: TextIO | None,
) -> None:
    """Send the request many times, and write a summary, even if an error or Ctrl-C ends it early."""
    began = monotonic()
    progress = Progress(stderr, options.count, began)
    replies = client.map(
        repeat(tuple(frames), options.count),
        concurrency=options.concurrency,
        ordered=False,
        return_exceptions=True,
        service=options.service,
    )
    try:
        for _ in replies:
            progress.show(report.ended, monotonic())
            if report.hopeless:
                break
    finally:
        elapsed = monotonic() - began
        progress.clear()
        if options.json:
            _write(out, json.dumps(report.figures(elapsed)).encode() + b"\n")
        else:
            for line in report.lines(elapsed, options.count):
                _tell(stderr, line)


def _standard(stream: TextIO | None, name: str, mode: str) -> BinaryIO:
    """
    Return a standard stream of the process as a binary one.

    :raise ConfigurationError: if it is closed.
    """
    if stream is None:
        raise ConfigurationError(f"standard {name} is closed: open it, or redirect it to /dev/null")
    # Unbuffered: otherwise Python, when it ends, tries to write again what a broken pipe did not accept.
    return open(stream.fileno(), mode, buffering=0, closefd=False)  # type: ignore[return-value]


def _readAll(stream: BinaryIO) -> bytes:
    """
    Read standard input to its end.

    :raise ConfigurationError: if it cannot be read.
    """
    try:
        return stream.read()
    except OSError as error:
        raise ConfigurationError(f"cannot read standard input: {error.strerror or error}") from None


def _readFile(path: str) -> bytes:
    """
    Read a file.

    :raise ConfigurationError: if it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"cannot read --file {path}: {reason}; use - for standard input") from None


def _write(stdout: BinaryIO, data: bytes) -> None:
    """
    Write all of some data.

    :raise BrokenPipeError: if the reader has closed its end.
    :raise OSError: if it cannot be written for another reason.
    """
    rest = memoryview(data)
    while rest:
        try:
            written: int | None = stdout.write(rest)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OSError(f"cannot write to standard output: {error.strerror}") from None
        if written is None:
            # Another process has made the terminal or the pipe non-blocking, and it is full.
            select.select((), (stdout,), ())
        rest = rest[written or 0 :]


def _tell(stderr: TextIO | None, message: str) -> None:
    """Write one line that begins with the command's name, whatever the message contains."""
    # If standard error is closed there is no place to write to; print() would take None for standard output.
    if stderr is not None:
        with suppress(OSError):
            print("pirate-client:", printable(message), file=stderr, flush=True)


def printable(text: str) -> str:
    """Return a text as one line without control characters."""
    return "".join(each if each.isprintable() else " " for each in text)


if __name__ == "__main__":
    sys.exit(main())
