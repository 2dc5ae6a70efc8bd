# -*- test-case-name: pirate.test.integration.test_serving -*-
"""Tests of the real servers for tests: in a block, for pytest, and for trial."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, get_type_hints

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pirate.errors import ConfigurationError, StartError
from pirate.hooks import Hooks
from pirate.service import JobServer
from pirate.settings.settings import SettingsArguments
from pirate.settings.table import table
from pirate.test.support import apps
from pirate.test.support.clients import ask
from pirate.test.support.gate import PATIENCE
from pirate.test.support.processes import processesIn, remaining
from pirate.test.support.servers import ProgramCase
from pirate.testing import ServerMixin
from pirate.testing import serverprocess as module
from pirate.testing.arguments import OWNERS, ServerArguments
from pirate.testing.serverprocess import serving

#: Starts a server, prints its process id, and hangs.
HOLDER = """
import sys, time
from pirate.testing import serving
with serving("pirate.echo.echo", workers=2) as server:
    print("pid", server.pid, flush=True)
    time.sleep(600)
"""


class ServingTests(ProgramCase):
    """A server in a process of its own."""

    def test_block(self) -> None:
        """A server has its settings, serves within the block, and leaves nothing behind after it."""
        with serving(apps.fail, workers=2, folder=self.folder, errorReply=True, maxRequests=5) as server:
            self.assertEqual(len(processesIn(self.folder)), 3)
            self.assertIn(b"ValueError: ahoy", ask(server.endpoint, b"ahoy")[0])
            self.assertTrue(server.backend.startswith("tcp://127.0.0.1:"))
        self.assertEqual((server.stop(), processesIn(self.folder)), (0, []))
        self.assertTrue(any("ready, with 2 workers" in line for line in server.log))

    def test_raises(self) -> None:
        """A server ends even if the block raises an exception."""
        with self.assertRaises(ZeroDivisionError), serving("pirate.echo.echo", folder=self.folder):
            raise ZeroDivisionError
        self.assertEqual(processesIn(self.folder), [])

    def test_killed(self) -> None:
        """A server ends even if the process that started it is killed."""
        holder = self.launch(sys.executable, "-c", HOLDER)
        pid = int(holder.out.until(r"^pid (\d+)")[0][1])
        self.assertIn(pid, processesIn(self.folder))
        holder.kill()
        self.assertEqual(remaining(processesIn(self.folder), PATIENCE), [])

    def test_cannotStart(self) -> None:
        """A server that cannot start raises an error of one line, and leaves nothing behind."""
        echo = "pirate.echo.echo"
        cases: tuple[tuple[str, dict[str, Any], str], ...] = (
            ("pirate.echo.nothing", {}, "cannot load 'pirate.echo.nothing': "),
            (echo, {"concurrency": 9}, f"cannot load '{echo}': concurrency (9) needs an async app"),
            (echo, {"threads": 2, "prefetch": 4}, "prefetch (4) and threads (2) exclude each other"),
            (echo, {"frontend": "tcp://127.0.0.1"}, "endpoint 'tcp://127.0.0.1': must be a port"),
        )
        for app, settings, words in cases:
            with self.assertRaises(StartError) as caught:
                serving(app, folder=self.folder, **settings)
            self.assertTrue(str(caught.exception).startswith(words), str(caught.exception))
            self.assertEqual(processesIn(self.folder), [])

    def test_tooSlow(self) -> None:
        """A server that is not ready in time is stopped."""
        with self.assertRaises(StartError) as caught:
            serving(f"{apps.__name__}.Stuck", folder=self.folder, within=0.3, stopTimeout=0, startTimeout=PATIENCE)
        self.assertIn("not ready within 0.3 seconds", str(caught.exception))
        self.assertEqual(remaining(processesIn(self.folder), PATIENCE), [])


class SettingsTests(SynchronousTestCase):
    """Invalid settings, which are refused before a process is started."""

    def test_everySetting(self) -> None:
        """Each setting of the table is accepted by its name in Python."""
        commands: list[list[str]] = []

        class Started:
            def __init__(self, command: list[str], *others: Any) -> None:
                commands.append(command)

            def awaitReady(self, within: float) -> None:
                pass

        self.patch(module, "ServerProcess", Started)
        for owner in OWNERS:
            for each in table(owner):
                given: dict[str, Any] = {"app": "pirate.echo.echo", each.attribute: "3" if each.name == "app" else 3}
                serving(**given)
                self.assertIn(f"--{each.name}=3", commands[-1])

    def test_types(self) -> None:
        """Every row of the table is a typed argument, with the type of the server's own argument."""
        expected = {each.attribute: get_type_hints(owner)[each.attribute] for owner in OWNERS for each in table(owner)}
        arguments = get_type_hints(SettingsArguments)
        expected |= {name: arguments[name] for name in expected.keys() & arguments.keys()}
        del expected["app"], expected["hooks"]
        self.assertEqual(get_type_hints(ServerArguments), expected)

    def test_callables(self) -> None:
        """Callables and classes are given by their import paths."""
        commands: list[list[str]] = []

        class Started:
            def __init__(self, command: list[str], *others: Any) -> None:
                commands.append(command)

            def awaitReady(self, within: float) -> None:
                pass

        self.patch(module, "ServerProcess", Started)
        serving(apps.fail, dequeue=apps.pid, hooks=Hooks)
        for option in ("--app=pirate.test.support.apps:fail", "--dequeue=pirate.test.support.apps:pid"):
            self.assertIn(option, commands[0])
        self.assertIn("--hooks=pirate.hooks:Hooks", commands[0])

    def test_unknown(self) -> None:
        """An unknown setting and an app that no worker can import are refused."""
        error = self.assertRaises(ConfigurationError, serving, "pirate.echo.echo", max_requests=5)
        self.assertIn("'max_requests'", str(error))
        wrong: dict[str, Any] = {"max_requests": 5}
        starting = ServerMixin().startServer(reactor, "pirate.echo.echo", **wrong)
        error = self.failureResultOf(Deferred.fromCoroutine(starting), ConfigurationError).value
        self.assertIn("'max_requests'", str(error))
        error = self.assertRaises(ConfigurationError, serving, "pirate.echo.echo", logLevel=0)
        self.assertIn("logLevel (0) must be 2 or more", str(error))
        nameless: Callable[[bytes], bytes] = lambda body: body  # noqa: E731
        self.assertIn("must be an import path", str(self.assertRaises(ConfigurationError, serving, nameless)))


class MixinTests(ServerMixin, TestCase):
    """A server on the reactor of a test."""

    async def test_serves(self) -> None:
        """A server with settings of every kind serves, and is stopped at the end of the test."""
        server = await self.startServer(
            reactor, "pirate.echo.echo", workers=2, jobTimeout=5, maxMessageFrames=7, logLevel=1
        )
        settings = server.settings
        self.assertEqual((len(server.workers), settings.limits.maxServers), (2, 2))
        self.assertEqual(
            (settings.policy.jobTimeout, settings.peerLimits.maxMessageFrames, settings.logLevel), (5, 7, 1)
        )
        self.assertEqual(await deferToThread(ask, server.endpoints.frontend[0], b"ahoy"), [b"ahoy"])

    async def test_cannotStart(self) -> None:
        """A server that cannot start fails the Deferred."""
        error = await self.assertFailure(self.started("pirate.echo.nothing"), StartError)
        self.assertIn("there is no 'nothing'", str(error))

    def started(self, app: str) -> Deferred[JobServer]:
        """Return a Deferred that fires with a server."""
        return Deferred.fromCoroutine(self.startServer(reactor, app))
