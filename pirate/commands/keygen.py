"""``pirate-keygen``: make key pairs."""

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

#: Exit statuses: something went wrong, and the command line is not right.
FAILED, USAGE = 1, 2


class _Parser(argparse.ArgumentParser):
    """One line instead of a page."""

    def error(self, message: str) -> NoReturn:
        """What is wrong, and where to read on."""
        print(f"pirate-keygen: {message} (pirate-keygen --help tells more)", file=sys.stderr)
        sys.exit(USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pirate-keygen",
        usage="%(prog)s [options] NAME ...",
        description="Make CURVE key pairs: NAME.key, which is public, and NAME.key_secret, which stays with its owner.",
        epilog="Nothing is ever overwritten. A name is also the user id that a server knows the key's holder by.",
    )
    parser.add_argument("names", metavar="NAME", nargs="+", help="whose keys they are")
    parser.add_argument("-d", "--directory", default=".", type=Path, help="where to put them (default: here)")
    parser.add_argument("--version", action="version", version=f"pirate-keygen {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """
    The command.  It prints a line for each pair: its name, an equals sign, its public key.

    :param argv: its arguments; ``None`` for those of the process.
    :return: the exit status: 0; 1 if something could not be done, the rest of which was not tried.
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
        # Whoever was to read the lines has gone; the files are there.
        sys.stdout = None
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
