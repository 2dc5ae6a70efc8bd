"""The command line of ``pirate-client``: its options, and which of them exclude each other."""

from __future__ import annotations

import argparse
from typing import NoReturn

from pirate.client.options import ATTEMPTS, DEFAULT_ENDPOINT, MAX_ATTEMPTS, MAX_CONCURRENCY, TIMEOUT, checkTimeout
from pirate.commands.exits import ExitStatus, nameOf
from pirate.errors import ConfigurationError

#: The shells with a completion script.
SHELLS = ("bash", "zsh", "fish")
#: The most requests of one command.
MAX_COUNT = 1_000_000_000
#: How many requests are in flight by default.
CONCURRENCY = 1

#: Options, and the options that each excludes.
_EXCLUDES = {
    "plain": ("service", "stream", "ping"),
    "stream": ("count", "ping"),
    "ping": ("frames", "file", "each_line", "raw", "service", "count"),
    "json": ("raw",),
    "count": ("raw",),
}


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        """
        Reject the command line.

        :raise ConfigurationError: always.
        """
        raise ConfigurationError(f"{message} (pirate-client --help tells more)")


def _seconds(text: str) -> float:
    try:
        return checkTimeout(float(text))
    except (ValueError, ConfigurationError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, such as 2.5") from None


def _attempts(text: str) -> int:
    return _whole(text, 1, MAX_ATTEMPTS, "a number of attempts")


def _count(text: str) -> int:
    return _whole(text, 1, MAX_COUNT, "a number of requests")


def _concurrency(text: str) -> int:
    return _whole(text, 1, MAX_CONCURRENCY, "a number of requests in flight")


def _whole(text: str, least: int, most: int, what: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not {what}, {least} to {most}")


def newParser() -> Parser:
    """Return the parser of the command line; the help and the completion scripts are made from it too."""
    parser = Parser(
        prog="pirate-client",
        usage="%(prog)s [options] [frame ...]",
        description="Send a request to a pirate server and write its reply to standard output.",
        epilog="Exit status: " + ", ".join(f"{each} {nameOf(each)}" for each in ExitStatus) + ".",
        add_help=False,
        allow_abbrev=False,
    )
    _addRequest(parser)
    _addServer(parser)
    _addModes(parser)
    return parser


def _addRequest(parser: Parser) -> None:
    add = parser.add_argument_group("request and reply").add_argument
    add(
        "frames", metavar="frame", nargs="*", help="a frame of the request; without any, the request is read from stdin"
    )
    add(
        "-f",
        "--file",
        metavar="FILE",
        action="append",
        help="read a frame from a file, or from stdin if it is -; may be repeated",
    )
    add("--frames", dest="each_line", action="store_true", help="make each line of a file or of stdin a frame")
    add("--json", action="store_true", help="check that frames are JSON, and write JSON")
    add("--raw", action="store_true", help="keep the last newline of stdin, and add none to the reply")


def _addServer(parser: Parser) -> None:
    add = parser.add_argument_group("server").add_argument
    add(
        "-e",
        "--endpoint",
        metavar="ENDPOINT",
        action="append",
        help=f"the server's frontend (default {DEFAULT_ENDPOINT}); may be repeated",
    )
    add("-s", "--service", metavar="NAME", default="", help="the service to call (default: the unnamed one)")
    add(
        "-t",
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=TIMEOUT,
        help="timeout of the whole call (default 10)",
    )
    add(
        "-r",
        "--attempts",
        metavar="N",
        type=_attempts,
        default=ATTEMPTS,
        help="send the request up to N times (default 2)",
    )
    add("-i", "--identity", metavar="NAME", help="routing id of the connection, which must be unique (default: none)")
    add("--curve-server", metavar="FILE", help="encrypt with CURVE: the server's public certificate")
    add("--curve-secret", metavar="FILE", help="encrypt with CURVE: your own certificate, with its secret key")
    add("--plain", action="store_true", help="send a bare REQ request, for a broker that is not pirate")


def _addModes(parser: Parser) -> None:
    add = parser.add_argument_group("other modes").add_argument
    add("--stream", action="store_true", help="write the parts of the reply as they come")
    add("--ping", action="store_true", help="ask the server for its state; the exit status is 0 if it is ready")
    add(
        "-n",
        "--count",
        metavar="N",
        type=_count,
        help="send the request N times, and write a summary instead of replies",
    )
    add(
        "-c",
        "--concurrency",
        metavar="M",
        type=_concurrency,
        help="with --count: keep M requests in flight (default 1)",
    )
    add("--completion", metavar="SHELL", choices=SHELLS, help="write a completion script for bash, zsh or fish")
    add("--version", action="store_true", help="show the version and exit")
    add("-h", "--help", action="store_true", help="show this help and exit")


def parse(parser: Parser, argv: list[str]) -> argparse.Namespace:
    """
    Parse the command line.

    :raise ConfigurationError: if an option is invalid, or two exclude each other.
    """
    # Options may stand between frames: argparse's intermixed parsing allows it, but does not know "--".
    end = argv.index("--") if "--" in argv else len(argv)
    options = parser.parse_intermixed_args(argv[:end])
    options.frames += argv[end + 1 :]
    _checkPairs(parser, options)
    options.concurrency = options.concurrency or CONCURRENCY
    return options


def _checkPairs(parser: Parser, options: argparse.Namespace) -> None:
    for name, others in _EXCLUDES.items():
        wrong = [each for each in others if getattr(options, name) and getattr(options, each)]
        if wrong:
            parser.error(f"--{name} cannot be combined with {_spelled(wrong[0])}: leave one out")
    if options.concurrency and not options.count:
        parser.error("--concurrency needs --count, the number of requests")
    if bool(options.curve_server) != bool(options.curve_secret):
        given, missing = ("server", "secret") if options.curve_server else ("secret", "server")
        parser.error(f"--curve-{given} needs --curve-{missing}: use both")
    if (options.file or []).count("-") > 1:
        parser.error("--file - can be used only once: standard input is read to its end")


def _spelled(name: str) -> str:
    return {"frames": "a request", "each_line": "--frames"}.get(name, f"--{name}")
