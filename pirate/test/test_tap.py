# -*- test-case-name: pirate.test.test_tap -*-
"""The command line of ``twistd pirate``."""

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
import pirate.twistd.launch
from pirate.errors import Fatal, PirateError
from pirate.settings.limits import PoolLimits
from pirate.settings.settings import Settings
from pirate.settings.table import table
from pirate.settings.types import SWITCH
from pirate.tap import Options, makeService
from pirate.twistd.daemon import Change
from pirate.twistd.launch import Foreground


class TapCase(SynchronousTestCase):
    """Command lines, and what is made of them."""

    def parse(self, *words: str) -> Settings:
        """The settings that a command line means."""
        options = Options()
        options.parseOptions(list(words))
        return options.settings

    def refused(self, *words: str) -> str:
        """The one line with which a command line is refused."""
        error = self.assertRaises(Fatal, self.parse, *words)
        self.assertIsInstance(error, PirateError)
        line = error.code
        assert isinstance(line, str)
        self.assertNotIn("\n", line)
        self.assertTrue(line.startswith("pirate: "))
        return line


class OptionTests(TapCase):
    """What can be said."""

    def test_defaults(self) -> None:
        """No option at all is a server with the defaults of the table."""
        self.assertEqual(self.parse(), Settings())

    def test_everyOption(self) -> None:
        """Each row of the table is an option that reaches its setting; the help tells of it, and of its default."""
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
            if row.kind is SWITCH:
                self.assertTrue(getattr(self.parse(f"--{row.name}"), row.attribute))
            elif row.name not in ("dequeue", "check-for-dequeue") and not row.name.startswith("curve-"):
                settings = self.parse(f"--{row.name}", values.get(row.name, "3"))
                owner = settings if hasattr(settings, row.attribute) else settings.limits
                self.assertNotEqual(getattr(owner, row.attribute), row.default)

    def test_curve(self) -> None:
        """The keys go together; a relative path is the one of the shell that it was typed in."""
        settings = self.parse("--curve-secret", "a", "--curve-clients=*")
        self.assertEqual((settings.curveSecret, settings.curveClients), (os.path.abspath("a"), "*"))

    def test_dequeue(self) -> None:
        """A dequeue callable and how often it is run go together."""
        settings = self.parse("--dequeue", "mod.fn", "--check-for-dequeue", "0.5")
        self.assertEqual((settings.dequeue, settings.limits.checkForDequeue), ("mod.fn", 0.5))
        self.assertIn("check-for-dequeue", self.refused("--dequeue", "mod.fn"))

    def test_repeatable(self) -> None:
        """Endpoints may be given several times, in any form, and are kept in order."""
        settings = self.parse("--frontend", "7000", "--frontend", "ipc:///tmp/f", "--backend=*")
        self.assertEqual(settings.frontend, ("tcp://127.0.0.1:7000", "ipc:///tmp/f"))
        self.assertEqual(settings.backend, ("tcp://127.0.0.1:*",))

    def test_workers(self) -> None:
        """--workers is short for both limits, and 0 is a number."""
        limits = self.parse("--workers", "3").limits
        self.assertEqual((limits.minServers, limits.maxServers), (3, 3))
        self.assertEqual(self.parse("--workers", "0").limits.maxServers, 0)

    def test_help(self) -> None:
        """The help tells what it is, with an example."""
        usage = str(Options())
        self.assertIn("--frontend 6660 --backend 6661 --app mod.fn", " ".join(usage.split()))
        self.assertIn("[default: 50]", " ".join(usage.split()))

    def test_version(self) -> None:
        """--version shows our version, and those of what we stand on."""
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        error = self.assertRaises(SystemExit, self.parse, "--version")
        self.assertEqual(error.code, 0)
        self.assertIn(f"pirate {pirate.__version__}", output.getvalue())
        for name in ("Python", "Twisted", "pyzmq", "txZMQ"):
            self.assertRegex(output.getvalue(), rf"{name} [0-9]+\.[0-9]+")


class RefusalTests(TapCase):
    """Bad input is refused in one line that says what would be right."""

    def test_unknown(self) -> None:
        """A misspelt option is refused, with the one that is probably meant."""
        self.assertIn("is it --min-servers that is meant?", self.refused("--min-severs", "3"))
        self.assertIn("is it --workers that is meant?", self.refused("--worker-s", "3"))
        self.assertNotIn("meant", self.refused("--bananas", "3"))

    def test_notNumber(self) -> None:
        """A value of the wrong kind is refused with the option, the value, and what would be right."""
        for option, value in (("min-servers", "many"), ("min-servers", "2.5"), ("stop-timeout", "soon")):
            line = self.refused(f"--{option}", value)
            for part in (option, repr(value), "number"):
                self.assertIn(part, line)

    def test_outOfRange(self) -> None:
        """So is one that is out of range."""
        for option, value in (
            ("workers", "-1"),
            ("log-level", "5"),
            ("check-for-waiting", "0"),
            ("start-timeout", "nan"),
            ("stop-timeout", "inf"),
        ):
            self.assertIn("must be", self.refused(f"--{option}={value}"))

    def test_contradiction(self) -> None:
        """Two options that contradict each other are refused, both with their values."""
        line = self.refused("--min-servers", "9", "--max-servers", "3")
        self.assertIn("min-servers (9)", line)
        self.assertIn("max-servers (3)", line)

    def test_endpoint(self) -> None:
        """What is no endpoint, or can be reached from everywhere, is refused with what it is."""
        for value in ("udp://127.0.0.1:1", "127.0.0.1:70000", "ipc://", ""):
            self.assertIn(repr(value), self.refused("--frontend", value))
        line = self.refused("--backend", "0.0.0.0:6661")
        self.assertIn("backend tcp://0.0.0.0:6661", line)
        self.assertIn("--insecure", line)
        self.assertEqual(self.parse("--backend", "0.0.0.0:6661", "--insecure").backend, ("tcp://0.0.0.0:6661",))

    def test_path(self) -> None:
        """What is no import path is refused before anything is bound."""
        for value in ("mod fn", "mod/fn.py", ".", ""):
            self.assertIn(repr(value), self.refused("--app", value))

    def test_argument(self) -> None:
        """A word that is no option is refused."""
        self.assertIn("'mod.fn' is not an option", self.refused("mod.fn"))

    def test_missingValue(self) -> None:
        """So is an option without its value."""
        self.assertIn("--app", self.refused("--app"))


class ServiceTests(TapCase):
    """The service that is made."""

    def test_change(self) -> None:
        """It knows what twistd's own options will change in the process; twist has no such options."""
        parent: Any
        for parent, change in (
            ({"uid": 7, "gid": None, "chroot": "/srv"}, Change(7, None, "/srv")),
            ({"reactor": "poll"}, Change()),
        ):
            options = Options()
            options.parent = parent
            options.parseOptions([])
            with mock.patch("pirate.twistd.daemon.ServerProcess") as made:
                makeService(options)
            self.assertEqual(made.call_args.args[:2], (options.settings, change))
            self.assertEqual(made.call_args.args[3], True)

    def test_terminal(self) -> None:
        """A process that stays in the foreground keeps its terminal, and twistd goes on in a child for a daemon."""
        for nodaemon, expected in ((True, Foreground), (False, str)):
            options = Options()
            parent: Any = {"nodaemon": nodaemon}
            options.parent = parent
            options.parseOptions(["--start-timeout=7", "--no-wait"])
            left: list[float] = []
            self.patch(pirate.twistd.launch, "leaveTerminal", lambda most, left=left: left.append(most) or "left")
            with mock.patch("pirate.twistd.daemon.ServerProcess") as made:
                makeService(options)
            terminal, waits = made.call_args.args[2:]
            self.assertIsInstance(terminal, expected)
            self.assertEqual((left, waits), ([] if nodaemon else [31.0], False))

    def test_surroundings(self) -> None:
        """What twistd itself would stumble over is one line, before anything else."""
        options = Options()
        parent: Any = {"pidfile": "/none/x.pid", "nodaemon": True}
        options.parent = parent
        error = self.assertRaises(Fatal, options.parseOptions, [])
        self.assertEqual(str(error), "pirate: pidfile is /none/x.pid: /none: No such file or directory")

    def test_service(self) -> None:
        """It is an IService, made without touching sockets: a daemon has not forked yet."""
        options = Options()
        options.parseOptions([])
        with mock.patch.dict(sys.modules, {"txzmq": None, "pirate.transport.sockets": None, "zmq": None}):
            self.assertTrue(verifyObject(IService, makeService(options)))

    def test_keys(self) -> None:
        """Keys that cannot be read are told at once: a daemon's terminal would show little of it."""
        options = Options()
        options.parseOptions(["--curve-secret", "/none", "--curve-clients", "*"])
        error = self.assertRaises(Fatal, makeService, options)
        self.assertEqual(str(error), "pirate: curve-secret: /none: No such file or directory")

    def test_chroot(self) -> None:
        """Under another root the keys are others: they are read when the server starts."""
        parent = usage.Options()
        parent["chroot"] = "/elsewhere"
        options = Options()
        options.parent = parent
        options.parseOptions(["--curve-secret", "/none", "--curve-clients", "*"])
        self.assertTrue(verifyObject(IService, makeService(options)))
