# -*- test-case-name: pirate.test.integration.test_twistd -*-
"""Tests of the ways to start a server."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from time import monotonic

from twisted.trial.unittest import SkipTest

from pirate.test.support.clients import ask
from pirate.test.support.gate import PATIENCE
from pirate.test.support.processes import processesIn, processorTime, remaining, title
from pirate.test.support.program import Program, script
from pirate.test.support.servers import APPS, ProgramCase, executions


class StartTests(ProgramCase):
    """Servers that start."""

    def test_twistd(self) -> None:
        """``twistd -n`` replies to 3,000 requests of 50 concurrent clients, with all of its five workers."""
        server = self.twistd("record", "--workers=5", "--max-requests=0").ready()
        workers = server.workers()
        self.assertEqual(len(workers), 5)
        load = self.load(server.frontend, 50, 3_000)
        load.until(3_000)
        self.assertEqual(load.answers, {each: [each.upper()] for each in load.asked})
        executed = [line.split() for line in executions(self.record)]
        self.assertEqual(sorted(each for each, _ in executed), sorted(each.decode() for each in load.asked))
        self.assertEqual({int(pid) for _, pid in executed}, set(workers))
        self.assertStops(server)

    def test_reactors(self) -> None:
        """The server runs on every reactor."""
        names = ("asyncio", "poll", "select")
        servers = [
            self.twistd("upper", "--workers=1", options=("-n", "--pidfile=", f"--reactor={name}")) for name in names
        ]
        for name, server in zip(names, servers, strict=True):
            self.assertIn(name, server.out.until("reactor class: (.*)")[0][1])
            self.assertEqual(ask(server.frontend, b"x"), [b"X"])
            self.assertEqual(server.stop(), 0)
        for server in servers:
            self.assertUntroubled(server)

    def test_twist(self) -> None:
        """``twist`` and ``python -m twisted`` run the server too."""
        arguments = ("--log-format=text", "pirate", "--frontend=*", "--backend=*", f"--app={APPS}.upper", "--workers=1")
        commands = (script("twist"), [sys.executable, "-m", "twisted"])
        servers = [self.launch(*command, *arguments) for command in commands]
        for server in servers:
            self.assertEqual(ask(server.frontend, b"x"), [b"X"])
            self.assertEqual(server.stop(), 0)
        for server in servers:
            self.assertUntroubled(server)

    def test_daemon(self) -> None:
        """A daemon is ready when twistd returns; after TERM its processes and files are gone."""
        frontend, backend = (f"ipc://{self.folder}/{name}" for name in ("f", "b"))
        launcher = self.twistd("upper", f"--frontend={frontend}", f"--backend={backend}", "--workers=2", options=())
        self.assertEqual(launcher.wait(), 0)
        self.assertIn("ready, with 2 workers", Path(self.folder, "twistd.log").read_text())
        pid = int(Path(self.folder, "twistd.pid").read_text())
        self.assertEqual(ask(frontend, b"x"), [b"X"])
        self.assertIn(pid, processesIn(self.folder))
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(remaining([pid], PATIENCE), [])
        self.assertUntroubled(launcher)
        self.assertEqual(os.listdir(self.folder), ["twistd.log"])
        self.assertNotRegex(Path(self.folder, "twistd.log").read_text(), "Traceback|stderr")

    def test_titles(self) -> None:
        """With setproctitle, the titles of the processes have the ports."""
        try:
            import setproctitle  # noqa: F401
        except ImportError:
            raise SkipTest("setproctitle is not installed") from None
        server = self.twistd("upper", "--workers=2").ready()
        ports = [each.rpartition(":")[2] for each in (server.frontend, server.backend)]
        self.assertEqual(title(server.pid), "zmq broker {}-{}".format(*ports))
        self.assertEqual([title(pid) for pid in server.workers()], [f"zmq worker {ports[1]}"] * 2)
        self.assertStops(server)

    def test_hooks(self) -> None:
        """The hooks on the command line are called; an exception in one is logged, and the server continues."""
        server = self.twistd("upper", "--workers=1", f"--hooks={APPS}.Diary").ready()
        self.assertEqual(ask(server.frontend, b"x"), [b"X"])
        self.assertEqual(server.stop(), 0)
        self.assertEqual(executions(self.record), ["starting", "started", "exited exit code 0", "stopped"])
        self.assertEqual(len(server.out.matches("ValueError: a faulty hook")), 1)

    def test_idle(self) -> None:
        """An idle server and its five workers use no processor time, even with clients connected."""
        server = self.twistd("upper", "--workers=5").ready()
        for client in [self.native(server.frontend) for _ in range(5)]:
            client.receive(client.send(b"x"))
        everybody = [server.pid, *server.workers()]
        window = 2.0
        before = processorTime(everybody)
        self.assertEqual(remaining(everybody, window), everybody)
        self.assertLess(processorTime(everybody) - before, 0.05 * window / 10)
        self.assertStops(server)


class RefusalTests(ProgramCase):
    """Servers that cannot start, each with one line, status 1, and no process left."""

    def assertRefused(self, commands: list[list[str]], pattern: str, within: float = PATIENCE) -> list[Program]:
        """Check that each command fails in time, with exactly one line that gives the reason."""
        started = monotonic()
        programs = [self.launch(*command) for command in commands]
        self.assertNotIn(0, [program.wait() for program in programs])
        # A daemon ends shortly after it has reported to its launcher.
        self.assertEqual(remaining(processesIn(self.folder), within), [])
        self.assertLess(monotonic() - started, within)
        for program in programs:
            lines = [*program.out.all(), *program.err.all()]
            own = [line for line in lines if "pirate: " in line]
            self.assertEqual(len(own), 1, "\n".join(lines))
            self.assertRegex(own[0], pattern)
            self.assertEqual([line for line in lines if "Traceback" in line], [])
        return programs

    def commands(self, *arguments: str) -> list[list[str]]:
        """Return the same server in every way to start it."""
        return [
            [*script("twistd"), "-n", "--pidfile=", "pirate", *arguments],
            [*script("twistd"), "pirate", *arguments],
            [*script("twist"), "pirate", *arguments],
        ]

    def test_portInUse(self) -> None:
        """A port in use is reported; by a daemon on the terminal from which it was started."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            commands = self.commands(f"--frontend={port}", "--backend=*", "--workers=1")
            self.assertRefused(commands, f"frontend tcp://127.0.0.1:{port}: Address already in use")
        self.assertFalse(os.path.exists(os.path.join(self.folder, "twistd.pid")))

    def test_unknownApp(self) -> None:
        """An app that cannot be imported is reported once, by a daemon on the terminal."""
        commands = self.commands("--frontend=*", "--backend=*", "--workers=2", "--app=no.such.app")
        programs = self.assertRefused(commands, "^pirate: cannot load 'no.such.app': there is no module 'no'$")
        for program in programs:
            lines = [*program.out.all(), *program.err.all()]
            self.assertEqual([line for line in lines if "SIGKILL" in line or "stopp" in line], [])
            self.assertEqual(len([line for line in lines if "no module" in line]), 1, "\n".join(lines))
        self.assertEqual(programs[1].err.all(), ["pirate: cannot load 'no.such.app': there is no module 'no'"])
        self.assertFalse(os.path.exists(os.path.join(self.folder, "twistd.pid")))

    def test_brokenApp(self) -> None:
        """For an error in the module of the app, the message names the line."""
        Path(self.folder, "faulty.py").write_text("import os\n\nos.nonsense\n")
        command = self.commands("--frontend=*", "--backend=*", "--workers=2", "--app=faulty.app")[:1]
        self.assertRefused(command, r"'faulty.app': AttributeError: .*nonsense.* \(.*faulty.py, line 3\)$")

    def test_surroundings(self) -> None:
        """An option of twistd that cannot work is reported in one line, in place of a traceback."""
        twistd, arguments = script("twistd"), ("pirate", "--frontend=*", "--backend=*")
        for options, pattern in (
            (("-n", "--pidfile=no/x"), f"pidfile is no/x: {self.folder}/no: No such file or directory"),
            (("-n", "--logfile=/none/log"), "logfile is /none/log: /none: No such file or directory"),
            (("--uid=1073741824",), "uid is 1073741824: there is no such user"),
        ):
            [program] = self.assertRefused([[*twistd, *options, *arguments]], f"^pirate: {pattern}")
            self.assertEqual(len([*program.out.all(), *program.err.all()]), 1)
        self.assertEqual(os.listdir(self.folder), [])

    def test_settings(self) -> None:
        """Invalid settings are refused before a socket is bound."""
        path = f"{self.folder}/f"
        command = self.commands(f"--frontend=ipc://{path}", "--min-servers=5", "--max-servers=2")[:1]
        self.assertRefused(command, r"min-servers \(5\) must not exceed max-servers \(2\)")
        self.assertFalse(os.path.exists(path))
