# -*- test-case-name: pirate.test.test_tap -*-
"""Tests of the command line of ``twistd pirate``."""

from __future__ import annotations

import io
import os
import sys
from typing import Any
from unittest import mock

from twisted.application.service import IService
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

import pirate
import pirate.twistd.terminal
from pirate.errors import Fatal, PirateError
from pirate.settings.limits import PoolLimits
from pirate.settings.settings import Settings
from pirate.settings.table import table
from pirate.settings.types import SWITCH
from pirate.tap import Options, makeService
from pirate.twistd.daemon import IdentityChange
from pirate.twistd.terminal import ForegroundTerminal


class TapCase(SynchronousTestCase):
    """A test case that parses command lines."""

    def parse(self, *words: str) -> Settings:
        """Return the settings of a command line."""
        options = Options()
        options.parseOptions(list(words))
        return options.settings

    def refused(self, *words: str) -> str:
        """Return the one-line message that refuses a command line."""
        error = self.assertRaises(Fatal, self.parse, *words)
        self.assertIsInstance(error, PirateError)
        line = error.code
        assert isinstance(line, str)
        self.assertNotIn("\n", line)
        self.assertTrue(line.startswith("pirate: "))
        return line


class OptionTests(TapCase):
    """Valid command lines."""

    def test_defaults(self) -> None:
        """Without options, the settings are the defaults of the table."""
        self.assertEqual(self.parse(), Settings())

    def test_everyOption(self) -> None:
        """Each row of the table is an option that changes its setting, and that the help lists."""
        values = {
            "frontend": "7000",
            "backend": "7001",
            "app": "mod.fn",
            "hooks": "mod.Hooks",
            "log-level": "4",
            "prefetch": "3",
            "allow": "192.0.2.0/24",
            "deny": "192.0.2.7",
            "loop": "asyncio",
        }
        usage = str(Options())
        for row in [*table(Settings), *table(PoolLimits)]:
            self.assertIn(f"--{row.name}", usage)
            if row.type is SWITCH:
                self.assertTrue(getattr(self.parse(f"--{row.name}"), row.attribute))
            elif row.name not in ("dequeue", "check-for-dequeue") and not row.name.startswith("curve-"):
                settings = self.parse(f"--{row.name}", values.get(row.name, "3"))
                owner = settings if hasattr(settings, row.attribute) else settings.limits
                self.assertNotEqual(getattr(owner, row.attribute), row.default)

    def test_curve(self) -> None:
        """The options for keys go together; a relative path is resolved against the working directory."""
        settings = self.parse("--curve-secret", "a", "--curve-clients=*")
        self.assertEqual((settings.curveSecret, settings.curveClients), (os.path.abspath("a"), "*"))

    def test_dequeue(self) -> None:
        """A dequeue callable and its interval go together."""
        settings = self.parse("--dequeue", "mod.fn", "--check-for-dequeue", "0.5")
        self.assertEqual((settings.dequeue, settings.limits.checkForDequeue), ("mod.fn", 0.5))
        self.assertIn("check-for-dequeue", self.refused("--dequeue", "mod.fn"))

    def test_repeatable(self) -> None:
        """A repeatable option may appear several times, in any form; the order stays, and the help is the table's."""
        settings = self.parse("--frontend", "7000", "--frontend", "ipc:///tmp/f", "--backend=*")
        self.assertEqual(settings.frontend, ("tcp://127.0.0.1:7000", "ipc:///tmp/f"))
        self.assertEqual(settings.backend, ("tcp://127.0.0.1:*",))
        rows = [row for row in table(Settings) if row.type.repeatable]
        self.assertEqual({row.name for row in rows}, {"frontend", "backend", "allow", "deny"})
        for row in rows:
            self.assertIn(row.help, Options().docs[row.name])

    def test_workers(self) -> None:
        """``--workers`` sets both limits, and 0 is a valid number."""
        limits = self.parse("--workers", "3").limits
        self.assertEqual((limits.minServers, limits.maxServers), (3, 3))
        self.assertEqual(self.parse("--workers", "0").limits.maxServers, 0)

    def test_help(self) -> None:
        """The help has an example and the defaults."""
        usage = str(Options())
        self.assertIn("--frontend 6660 --backend 6661 --app mod.fn", " ".join(usage.split()))
        self.assertIn("[default: 50]", " ".join(usage.split()))

    def test_version(self) -> None:
        """``--version`` shows the versions of pirate and of its dependencies."""
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        error = self.assertRaises(SystemExit, self.parse, "--version")
        self.assertEqual(error.code, 0)
        self.assertIn(f"pirate {pirate.__version__}", output.getvalue())
        for name in ("Python", "Twisted", "pyzmq", "txZMQ"):
            self.assertRegex(output.getvalue(), rf"{name} [0-9]+\.[0-9]+")


class RefusalTests(TapCase):
    """Invalid command lines, each refused with one line."""

    def test_unknown(self) -> None:
        """A misspelt option is refused with a suggestion."""
        self.assertIn("did you mean --min-servers?", self.refused("--min-severs", "3"))
        self.assertIn("did you mean --workers?", self.refused("--worker-s", "3"))
        self.assertNotIn("did you mean", self.refused("--bananas", "3"))

    def test_notNumber(self) -> None:
        """A value of the wrong type is refused with the option, the value, and the valid values."""
        for option, value in (("min-servers", "many"), ("min-servers", "2.5"), ("stop-timeout", "soon")):
            line = self.refused(f"--{option}", value)
            for part in (option, repr(value), "number"):
                self.assertIn(part, line)

    def test_outOfRange(self) -> None:
        """A value out of range is refused."""
        for option, value in (
            ("workers", "-1"),
            ("log-level", "5"),
            ("check-for-waiting", "0"),
            ("start-timeout", "nan"),
            ("stop-timeout", "inf"),
        ):
            self.assertIn("must be", self.refused(f"--{option}={value}"))

    def test_contradiction(self) -> None:
        """Two options that contradict each other are refused with both values."""
        line = self.refused("--min-servers", "9", "--max-servers", "3")
        self.assertIn("min-servers (9)", line)
        self.assertIn("max-servers (3)", line)

    def test_endpoint(self) -> None:
        """An invalid endpoint is refused, and so is one that other machines can reach."""
        for value in ("udp://127.0.0.1:1", "127.0.0.1:70000", "ipc://", ""):
            self.assertIn(repr(value), self.refused("--frontend", value))
        line = self.refused("--backend", "0.0.0.0:6661")
        self.assertIn("backend tcp://0.0.0.0:6661", line)
        self.assertIn("--insecure", line)
        self.assertEqual(self.parse("--backend", "0.0.0.0:6661", "--insecure").backend, ("tcp://0.0.0.0:6661",))

    def test_path(self) -> None:
        """An invalid import path is refused."""
        for value in ("mod fn", "mod/fn.py", ".", ""):
            self.assertIn(repr(value), self.refused("--app", value))

    def test_argument(self) -> None:
        """An argument that is not an option is refused."""
        self.assertIn("'mod.fn' is not an option", self.refused("mod.fn"))

    def test_missingValue(self) -> None:
        """An option without its value is refused."""
        self.assertIn("--app", self.refused("--app"))


class ServiceTests(TapCase):
    """The service that ``makeService`` makes."""

    def test_change(self) -> None:
        """The service gets the user, group and root directory that twistd changes to; twist has no such options."""
        parent: Any
        for parent, change in (
            ({"uid": 7, "gid": None, "chroot": "/srv"}, IdentityChange(7, None, "/srv")),
            ({"reactor": "poll"}, IdentityChange()),
        ):
            options = Options()
            options.parent = parent
            options.parseOptions([])
            with mock.patch("pirate.twistd.daemon.TwistdService") as made:
                makeService(options)
            self.assertEqual(made.call_args.args[:2], (options.settings, change))
            self.assertEqual(made.call_args.args[3], True)

    def test_terminal(self) -> None:
        """A process in the foreground keeps its terminal; for a daemon, a launcher stays there."""
        for nodaemon, expected in ((True, ForegroundTerminal), (False, str)):
            options = Options()
            parent: Any = {"nodaemon": nodaemon}
            options.parent = parent
            options.parseOptions(["--start-timeout=7", "--no-wait"])
            left: list[float] = []
            self.patch(pirate.twistd.terminal, "leaveTerminal", lambda most, left=left: left.append(most) or "left")
            with mock.patch("pirate.twistd.daemon.TwistdService") as made:
                makeService(options)
            terminal, waits = made.call_args.args[2:]
            self.assertIsInstance(terminal, expected)
            self.assertEqual((left, waits), ([] if nodaemon else [31.0], False))

    def test_surroundings(self) -> None:
        """An option of twistd that cannot work is refused with one line."""
        options = Options()
        parent: Any = {"pidfile": "/none/x.pid", "nodaemon": True}
        options.parent = parent
        error = self.assertRaises(Fatal, options.parseOptions, [])
        self.assertEqual(str(error), "pirate: pidfile is /none/x.pid: /none: No such file or directory")

    def test_service(self) -> None:
        """The service is an ``IService``; it loads no ZeroMQ, because a daemon has not forked yet."""
        options = Options()
        options.parseOptions([])
        with mock.patch.dict(sys.modules, {"txzmq": None, "pirate.transport.sockets": None, "zmq": None}):
            self.assertTrue(verifyObject(IService, makeService(options)))

    def test_keys(self) -> None:
        """Unreadable keys are an error at once, while the terminal can show it."""
        options = Options()
        options.parseOptions(["--curve-secret", "/none", "--curve-clients", "*"])
        error = self.assertRaises(Fatal, makeService, options)
        self.assertEqual(str(error), "pirate: curve-secret: /none: No such file or directory")

    def test_chroot(self) -> None:
        """With another root directory, the keys are read only when the server starts."""
        parent = usage.Options()
        parent["chroot"] = "/elsewhere"
        options = Options()
        options.parent = parent
        options.parseOptions(["--curve-secret", "/none", "--curve-clients", "*"])
        self.assertTrue(verifyObject(IService, makeService(options)))
