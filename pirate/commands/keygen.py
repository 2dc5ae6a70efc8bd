"""The command ``pirate-keygen``, which makes CURVE key pairs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pirate import __version__
from pirate.auth.keygen import writePair
from pirate.auth.keys import loadPublic
from pirate.errors import ConfigurationError

#: The exit statuses for an error, and for an invalid command line.
FAILED, USAGE = 1, 2


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        """Write the error, and exit."""
        print(f"pirate-keygen: {message} (pirate-keygen --help tells more)", file=sys.stderr)
        sys.exit(USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pirate-keygen",
        usage="%(prog)s [options] NAME ...",
        description="Make CURVE key pairs: NAME.key is public, NAME.key_secret must stay with its owner.",
        epilog="Existing files are never overwritten. A server knows the owner of a key by NAME, its user id.",
    )
    parser.add_argument("names", metavar="NAME", nargs="+", help="the owner of the key pair")
    parser.add_argument(
        "-d", "--directory", default=".", type=Path, help="the directory for the files (default: the current one)"
    )
    parser.add_argument("--version", action="version", version=f"pirate-keygen {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command.  It prints a line for each pair: the name, an equals sign and the public key.

    :param argv: its arguments; ``None`` for those of the process.
    :return: the exit status: 0, or 1 after an error, which ends the command.
    """
    options = _parser().parse_args(argv)
    try:
        for name in options.names:
            public, _ = writePair(options.directory, name)
            print(f"{name} = {loadPublic(public).decode()}", flush=True)
    except ConfigurationError as error:
        print(f"pirate-keygen: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # The reader of the lines has closed its end; the files exist.
        sys.stdout = None
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
