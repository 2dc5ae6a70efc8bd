"""The command line of ``pirate-client``: its options, and which of them go together."""

from __future__ import annotations

import argparse
from typing import NoReturn

from pirate.client import arguments
from pirate.client.batch import MAX_OUTSTANDING
from pirate.commands.exits import ExitStatus, nameOf
from pirate.errors import ConfigurationError

#: The shells that there are completions for.
SHELLS = ("bash", "zsh", "fish")
#: The most requests that one command sends.
MAX_COUNT = 1_000_000_000
#: Requests under way at a time, unless told otherwise.
CONCURRENCY = 1

#: What does not go together: an option, and those that mean nothing beside it.
_APART = {
    "plain": ("service", "stream", "ping"),
    "stream": ("count", "ping"),
    "ping": ("frames", "file", "each_line", "raw", "service", "count"),
    "json": ("raw",),
    "count": ("raw",),
}


class Parser(argparse.ArgumentParser):
    """One line instead of a page: what is wrong, and where to read on."""

    def error(self, message: str) -> NoReturn:
        """
        Say what is wrong.

        :raise ConfigurationError: always.
        """
        raise ConfigurationError(f"{message} (pirate-client --help tells more)")


def _seconds(text: str) -> float:
    try:
        return arguments.seconds(float(text))
    except (ValueError, ConfigurationError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, such as 2.5") from None


def _attempts(text: str) -> int:
    return _whole(text, 1, arguments.MAX_ATTEMPTS, "a number of attempts")


def _count(text: str) -> int:
    return _whole(text, 1, MAX_COUNT, "a number of requests")


def _concurrency(text: str) -> int:
    return _whole(text, 1, MAX_OUTSTANDING, "a number of requests at a time")


def _whole(text: str, least: int, most: int, what: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not {what}, {least} to {most}")


def newParser() -> Parser:
    """The parser of the command line, which the help and the completions are made from too."""
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
    add = parser.add_argument_group("the request and the reply").add_argument
    add("frames", metavar="frame", nargs="*", help="the request, a frame each; without any, it is read from stdin")
    add("-f", "--file", metavar="FILE", action="append", help="a frame from a file; - is stdin; may be repeated")
    add("--frames", dest="each_line", action="store_true", help="each line of a file or of stdin is a frame")
    add("--json", action="store_true", help="frames are JSON, and so is what is written")
    add("--raw", action="store_true", help="bytes as they are: keep the last newline, add none to the reply")


def _addServer(parser: Parser) -> None:
    add = parser.add_argument_group("the server").add_argument
    default = arguments.DEFAULT_ENDPOINT
    add("-e", "--endpoint", metavar="ENDPOINT", action="append", help=f"its frontend (default {default}); or several")
    add("-s", "--service", metavar="NAME", default="", help="the service to ask (default: the unnamed one)")
    add("-t", "--timeout", metavar="SECONDS", type=_seconds, default=10.0, help="time for the whole call (default 10)")
    add("-r", "--attempts", metavar="N", type=_attempts, default=2, help="send it N times at most (default 2)")
    add("-i", "--identity", metavar="NAME", help="a name for the connection, which nobody else may use (default: none)")
    add("--curve-server", metavar="FILE", help="encrypt: the server's public certificate")
    add("--curve-secret", metavar="FILE", help="encrypt: a certificate of one's own, with its secret key")
    add("--plain", action="store_true", help="send a bare REQ request, for a broker that is not pirate")


def _addModes(parser: Parser) -> None:
    add = parser.add_argument_group("something else than one call").add_argument
    add("--stream", action="store_true", help="write the parts of the reply as they come")
    add("--ping", action="store_true", help="ask whether the server is ready")
    add("-n", "--count", metavar="N", type=_count, help="send the request N times, and write a summary instead")
    add("-c", "--concurrency", metavar="M", type=_concurrency, help="with --count: M of them at a time (default 1)")
    add("--completion", metavar="SHELL", choices=SHELLS, help="write a completion script for bash, zsh or fish")
    add("--version", action="store_true", help="show the version and exit")
    add("-h", "--help", action="store_true", help="show this help and exit")


def parse(parser: Parser, argv: list[str]) -> argparse.Namespace:
    """
    The options, checked.

    :raise ConfigurationError: if one is not right, or two do not go together.
    """
    # Options may stand between frames, which takes argparse's intermixed way, and that does not know what "--" means.
    end = argv.index("--") if "--" in argv else len(argv)
    options = parser.parse_intermixed_args(argv[:end])
    options.frames += argv[end + 1 :]
    _checkPairs(parser, options)
    options.concurrency = options.concurrency or CONCURRENCY
    return options


def _checkPairs(parser: Parser, options: argparse.Namespace) -> None:
    for name, others in _APART.items():
        wrong = [each for each in others if getattr(options, name) and getattr(options, each)]
        if wrong:
            parser.error(f"--{name} does not go together with {_spelled(wrong[0])}: leave one out")
    if options.concurrency and not options.count:
        parser.error("--concurrency needs --count: say how many requests there are")
    if bool(options.curve_server) != bool(options.curve_secret):
        given, missing = ("server", "secret") if options.curve_server else ("secret", "server")
        parser.error(f"--curve-{given} needs --curve-{missing}: give both")
    if (options.file or []).count("-") > 1:
        parser.error("--file - can be given once: standard input has one end")


def _spelled(name: str) -> str:
    return {"frames": "a request", "each_line": "--frames"}.get(name, f"--{name}")
