"""``twistd pirate``: its command line, and the service that it runs."""

from __future__ import annotations

import difflib
import platform
import sys
from collections.abc import Sequence
from typing import Any

from twisted.application.service import IService
from twisted.python import usage

import pirate
from pirate.errors import ConfigurationError, Fatal
from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.settings.settings import Settings, fromText
from pirate.settings.table import Setting, table
from pirate.settings.types import SWITCH
from pirate.twistd.preflight import checkEnvironment

_ROWS = [*table(Settings), *table(PoolLimits), *table(RequestPolicy), *table(PeerLimits)]


def _help(setting: Setting) -> str:
    """Return the help of a setting, with its default."""
    default = setting.default
    if isinstance(default, tuple):
        default = ", ".join(default)
    if default in (None, "") or setting.type is SWITCH:
        return setting.help
    return (
        f"{setting.help} [default: {default:g}]"
        if isinstance(default, float)
        else f"{setting.help} [default: {default}]"
    )


class Options(usage.Options):
    """The options of ``twistd pirate``, from the table of settings.  An option that is not set has no value."""

    synopsis = "[options]"
    longdesc = (
        "A preforking ZeroMQ job server. Clients connect REQ sockets to the frontend; worker processes run the app, "
        "which replies to their requests. Example: twistd -n pirate --frontend 6660 --backend 6661 --app mod.fn"
    )
    optParameters = [
        [row.name, None, None, _help(row)] for row in _ROWS if row.type is not SWITCH and not row.type.repeatable
    ] + [["workers", None, None, "Set min-servers and max-servers to this number; 0 for a broker without workers."]]
    optFlags = [[row.name, None, row.help] for row in _ROWS if row.type is SWITCH] + [
        ["no-wait", None, "Do not wait for the workers: twistd returns as soon as a daemon has bound its sockets."]
    ]

    def __init__(self) -> None:
        super().__init__()
        self.docs.update({row.name: _help(row) for row in _ROWS if row.type.repeatable})

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse a command line.

        :raise Fatal: with one line that names the option, its value, and the values that are valid.
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            raise Fatal(f"pirate: {error}{self._suggestion(str(error))}") from None

    def postOptions(self) -> None:
        """Check all settings before a socket is bound."""
        given = {name: value for name, value in self.items() if value not in (None, 0, []) and name != "no-wait"}
        switches = {row.name for row in _ROWS if row.type is SWITCH}
        try:
            checkEnvironment(self.parent or {})
            self.settings = fromText({name: True if name in switches else value for name, value in given.items()})
        except ConfigurationError as error:
            raise Fatal(f"pirate: {error}") from None

    def opt_frontend(self, endpoint: str) -> None:
        """Add an endpoint for clients."""
        self._append("frontend", endpoint)

    def opt_backend(self, endpoint: str) -> None:
        """Add an endpoint for workers."""
        self._append("backend", endpoint)

    def opt_allow(self, network: str) -> None:
        """Add a network to admit."""
        self._append("allow", network)

    def opt_deny(self, network: str) -> None:
        """Add a network to refuse."""
        self._append("deny", network)

    def _append(self, name: str, value: str) -> None:
        self.opts.setdefault(name, []).append(value)

    def parseArgs(self, *arguments: str) -> None:
        """Refuse arguments that are not options."""
        if arguments:
            raise usage.UsageError(f"{arguments[0]!r} is not an option: options begin with --")

    def opt_version(self) -> None:
        """Display the versions of pirate, Python, Twisted, pyzmq and txZMQ, and exit."""
        from importlib.metadata import version

        import twisted

        print(
            f"pirate {pirate.__version__}, Python {platform.python_version()}, Twisted {twisted.__version__}, "
            f"pyzmq {version('pyzmq')}, txZMQ {version('txzmq')}"
        )
        sys.exit(0)

    def _suggestion(self, text: str) -> str:
        """Return the option that was probably meant, to append to the message about an unknown one."""
        word = text.split()[1] if text.startswith("option --") else ""
        near = difflib.get_close_matches(word.removeprefix("--"), [row.name for row in _ROWS] + ["workers"], 1)
        return f"; did you mean --{near[0]}?" if near and near[0] != word.removeprefix("--") else ""


def makeService(options: Options) -> IService:
    """
    Make the service of a server that has a process of its own, with its signal handlers and its process title.

    If twistd is about to become a daemon, this function forks, and the parent waits until the server is ready.

    :raise Fatal: if a key cannot be read.
    """
    from pirate.twistd.daemon import IdentityChange, TwistdService
    from pirate.twistd.terminal import findTerminal

    # These are the options of twistd; twist has none of them.  With another root directory the paths of the keys are
    # valid only after the change, so the start of the server checks them.
    given: dict[str, Any] = options.parent or {}
    if not given.get("chroot"):
        _checkKeys(options.settings)
    change = IdentityChange(given.get("uid"), given.get("gid"), given.get("chroot"))
    # A server without a ready worker gives up after its third round of failures at the latest.
    terminal = findTerminal(given, 3 * options.settings.limits.startTimeout + 10)
    return TwistdService(options.settings, change, terminal, not options["no-wait"])


def _checkKeys(settings: Settings) -> None:
    """Read the keys at once, with the privileges of the user that runs the command."""
    from twisted.internet.task import Clock

    from pirate.auth.policy import AccessPolicy
    from pirate.server.logs import RateLimitedLog, ServerLog

    clock, log = Clock(), ServerLog(0)
    try:
        AccessPolicy(clock, log, settings, RateLimitedLog(clock, log, "peers refused"))
    except ConfigurationError as error:
        raise Fatal(f"pirate: {error}") from None
