"""``pirate-client``: call a server from the shell."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from itertools import repeat
from random import Random
from time import monotonic
from typing import Any, BinaryIO, TextIO

import zmq

from pirate import __version__
from pirate.client import arguments
from pirate.client.blocking import Client
from pirate.client.codecs import codec
from pirate.commands import streams
from pirate.commands.completion import script
from pirate.commands.exits import ExitStatus, exitStatusOf
from pirate.commands.parser import newParser, parse
from pirate.commands.progress import Progress
from pirate.commands.report import Report
from pirate.errors import ConfigurationError, PirateError

__all__ = ["ExitStatus", "main"]


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
    :return: the exit status, an ``ExitStatus``.
    """
    words = stderr or sys.stderr
    try:
        return _run(list(sys.argv[1:] if argv is None else argv), stdin, stdout, words)
    except KeyboardInterrupt:
        streams.tell(words, "interrupted")
        return ExitStatus.INTERRUPTED
    except (PirateError, zmq.ZMQError, OSError, ValueError) as error:
        status = exitStatusOf(error)
        if status is not ExitStatus.BROKEN_PIPE:
            streams.tell(words, str(error))
        return status


def _run(argv: list[str], stdin: BinaryIO | None, stdout: BinaryIO | None, stderr: TextIO | None) -> ExitStatus:
    parser = newParser()
    options = parse(parser, argv)
    out = stdout or streams.standard(sys.stdout, "output", "wb")
    if options.help or options.version or options.completion:
        told = parser.format_help() if options.help else f"pirate-client {__version__}\n"
        streams.write(out, (script(parser, options.completion) if options.completion else told).encode())
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
                    streams.write(out, _shown(part, options))
        else:
            streams.write(out, _shown(client.call(*frames, service=options.service), options))
    return report.status if options.count else ExitStatus.OK


def _client(options: argparse.Namespace, report: Report, stderr: TextIO | None) -> Client:
    more: dict[str, Any] = {}
    if options.curve_server:
        more["curve"] = (options.curve_server, options.curve_secret)
    if options.count:
        more["after"] = lambda call: report.add(monotonic() - call.began, call.error)
    return Client(
        options.endpoint or [arguments.DEFAULT_ENDPOINT],
        timeout=options.timeout,
        attempts=options.attempts,
        identity=None if options.identity is None else os.fsencode(options.identity),
        plain=options.plain,
        outage=lambda outage: streams.tell(stderr, str(outage)),
        **more,
    )


def _request(options: argparse.Namespace, stdin: BinaryIO | None) -> list[bytes]:
    """The frames of the request: those of the command line, then those of files."""
    frames = [os.fsencode(each) for each in options.frames]
    for path in options.file or ([] if frames else ["-"]):
        if path == "-":
            read = streams.readAll(stdin or streams.standard(sys.stdin, "input", "rb"))
        else:
            read = streams.readFile(path)
        if options.each_line:
            frames += read.splitlines(keepends=True) if options.raw else read.removesuffix(b"\n").split(b"\n")
        else:
            # Standard input usually ends in a newline that nobody meant; a file is what it is.
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
    return codec("json").encode(tuple(values))


def _shown(reply: Any, options: argparse.Namespace) -> bytes:
    """
    A reply, or a part of one, as it is written.

    :raise ValueError: if it was to be JSON, and is not.
    """
    parts = [reply] if isinstance(reply, bytes) else reply
    if options.json:
        decode = codec("json").decode
        parts = [json.dumps(decode([each]), ensure_ascii=False).encode("utf-8", "surrogatepass") for each in parts]
    return b"".join(parts) if options.raw else b"\n".join(parts) + b"\n"


def _ping(client: Client, options: argparse.Namespace, out: BinaryIO) -> ExitStatus:
    began = monotonic()
    reply = client.ping(options.timeout)
    took = (monotonic() - began) * 1000
    if options.json:
        names = ("endpoint", "server", "version", "state", "workers", "busy", "idle", "backlog")
        told = {**{name: getattr(reply, name) for name in names}, "ms": round(took, 3)}
        streams.write(out, json.dumps(told).encode() + b"\n")
    else:
        line = (
            f"{reply.server} {reply.version} at {reply.endpoint}: {reply.state}, workers {reply.workers}, "
            f"busy {reply.busy}, idle {reply.idle}, backlog {reply.backlog}, ms {took:.1f}"
        )
        # The server's words go to a terminal.
        streams.write(out, streams.printable(line).encode() + b"\n")
    return ExitStatus.OK if reply.ready else ExitStatus.NOT_READY


def _many(
    client: Client,
    options: argparse.Namespace,
    frames: list[bytes],
    report: Report,
    out: BinaryIO,
    stderr: TextIO | None,
) -> None:
    """Send the request many times, and say what that came to, also if it was cut short."""
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
            streams.write(out, json.dumps(report.figures(elapsed)).encode() + b"\n")
        else:
            for line in report.lines(elapsed, options.count):
                streams.tell(stderr, line)


if __name__ == "__main__":
    sys.exit(main())
