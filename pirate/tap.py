"""``twistd pirate``: the command line, and the service that it makes."""

from __future__ import annotations

import difflib
import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import IService
from twisted.python import usage

import pirate
from pirate.errors import ConfigurationError, Fatal
from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.settings.settings import Settings, fromText
from pirate.settings.table import Setting, table
from pirate.settings.types import SWITCH
from pirate.twistd.preflight import checkSurroundings

_ROWS = [*table(Settings), *table(PoolLimits), *table(RequestPolicy), *table(PeerLimits)]


def _shown(setting: Setting) -> str:
    """A setting's help line, with its default."""
    default = setting.default
    if isinstance(default, tuple):
        default = ", ".join(default)
    if default in (None, "") or setting.kind is SWITCH:
        return setting.help
    return (
        f"{setting.help} [default: {default:g}]"
        if isinstance(default, float)
        else f"{setting.help} [default: {default}]"
    )


class Options(usage.Options):
    """The options of ``twistd pirate``, made from the table of settings.  Only those that were given have a value."""

    synopsis = "[options]"
    longdesc = (
        "A preforking ZeroMQ job server. Clients connect REQ sockets to the frontend; their requests are answered by "
        "the app, in worker processes. Example: twistd -n pirate --frontend 6660 --backend 6661 --app mod.fn"
    )
    optParameters = [
        [row.name, None, None, _shown(row)] for row in _ROWS if row.kind is not SWITCH and not row.kind.several
    ] + [["workers", None, None, "short for min-servers and max-servers; 0: no workers of its own"]]
    optFlags = [[row.name, None, row.help] for row in _ROWS if row.kind is SWITCH] + [
        ["no-wait", None, "a daemon's twistd returns once the sockets are bound, instead of when the workers are ready"]
    ]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse a command line.

        :raise Fatal: with one line that says what is wrong and what would be right.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise Fatal(f"pirate: {error}{self._nearest(str(error))}") from None

    def postOptions(self) -> None:
        """Check everything, before anything is bound."""
        given = {name: value for name, value in self.items() if value not in (None, 0, []) and name != "no-wait"}
        switches = {row.name for row in _ROWS if row.kind is SWITCH}
        try:
            checkSurroundings(self.parent or {})
            self.settings = fromText({name: True if name in switches else value for name, value in given.items()})
        except ConfigurationError as error:
            raise Fatal(f"pirate: {error}") from None

    def parseArgs(self, *arguments: str) -> None:
        """There are none."""
        if arguments:
            raise usage.UsageError(f"{arguments[0]!r} is not an option; options begin with --")

    def opt_version(self) -> None:
        """Show the versions of pirate and what it stands on, and exit."""
        from importlib.metadata import version

        import twisted

        print(
            f"pirate {pirate.__version__}, Python {platform.python_version()}, Twisted {twisted.__version__}, "
            f"pyzmq {version('pyzmq')}, txZMQ {version('txzmq')}"
        )
        sys.exit(0)

    def _nearest(self, text: str) -> str:
        word = text.split()[1] if text.startswith("option --") else ""
        near = difflib.get_close_matches(word.removeprefix("--"), [row.name for row in _ROWS] + ["workers"], 1)
        return f"; is it --{near[0]} that is meant?" if near and near[0] != word.removeprefix("--") else ""


def _repeatable(name: str) -> Callable[[Options, str], None]:
    def option(self: Options, value: str) -> None:
        self.opts.setdefault(name, []).append(value)

    option.__doc__ = next(_shown(row) for row in _ROWS if row.name == name)
    return option


for _row in _ROWS:
    if _row.kind.several:
        setattr(Options, f"opt_{_row.name}", _repeatable(_row.name))


def makeService(options: Options) -> IService:
    """
    Make the server a service of its own process, with its signals and its process title.

    If twistd is about to make a daemon, this process forks: the parent waits until the server is ready.

    :raise Fatal: if a key cannot be read.
    """
    from pirate.twistd.daemon import Change, ServerProcess
    from pirate.twistd.launch import terminalOf

    # Twistd's own options; twist has none of these.  Under another root the paths are others, and what is wrong with
    # them is seen when the server starts.
    given: dict[str, Any] = options.parent or {}
    if not given.get("chroot"):
        _tryKeys(options.settings)
    change = Change(given.get("uid"), given.get("gid"), given.get("chroot"))
    # A server that has no ready worker yet gives up after its third round of failures at the latest.
    terminal = terminalOf(given, 3 * options.settings.limits.startTimeout + 10)
    return ServerProcess(options.settings, change, terminal, not options["no-wait"])


def _tryKeys(settings: Settings) -> None:
    """Read the keys before anything else is done, and so with the privileges of whoever typed the command."""
    from twisted.internet.task import Clock

    from pirate.auth.policy import AccessPolicy
    from pirate.server.logs import RateLimitedLog, serverLog

    clock, log = Clock(), serverLog(0)
    try:
        AccessPolicy(clock, log, settings, RateLimitedLog(clock, log, "peers refused"))
    except ConfigurationError as error:
        raise Fatal(f"pirate: {error}") from None
