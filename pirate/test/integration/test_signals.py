# -*- test-case-name: pirate.test.integration.test_signals -*-
"""Signals to a server that has a process to itself."""

from __future__ import annotations

import os
import pty
import signal
from pathlib import Path
from select import select

from pirate.test.support.clients import ask
from pirate.test.support.gate import PATIENCE
from pirate.test.support.processes import remaining
from pirate.test.support.program import environmentWith, script
from pirate.test.support.servers import APPS, ProgramCase


class SignalsTests(ProgramCase):
    """The commands that a server takes by signal."""

    def test_moreAndFewer(self) -> None:
        """TTIN and TTOU act at once, without traffic; below 0 of min and 1 of max they do nothing, and it serves on."""
        server = self.twistd("pid", "--workers=1", "--log-level=3").ready()
        server.signal(signal.SIGTTIN)
        server.out.until("is ready", 2)
        self.assertEqual(len(server.workers()), 2)
        for count in (1, 2):
            server.signal(signal.SIGTTOU)
            server.out.until("has left", count)
        self.assertEqual(server.workers(), [])
        for _ in range(2):
            server.signal(signal.SIGTTOU)
        # With nobody there, who asks makes somebody come; the limit is 1, whatever TTOU said.
        replies = [self.asking(server.frontend, b"") for _ in range(3)]
        self.assertEqual(len({each.result()[0] for each in replies}), 1)
        server.signal(signal.SIGTTIN)
        server.out.until("is ready", 4)
        self.assertEqual(len(server.workers()), 2)
        self.assertStops(server)

    def test_reload(self) -> None:
        """HUP brings changed code into service, of an app in the directory in which the server was started."""
        code = Path(self.folder, "code.py")
        code.write_text("def app(payload):\n    return b'old'\n")
        server = self.launch(
            *(*script("twistd"), "-n", "--pidfile=", "pirate", "--frontend=*", "--backend=*", "--workers=2"),
            "--app=code:app",
        ).ready()
        self.assertEqual(ask(server.frontend, b""), [b"old"])
        code.write_text("def app(payload):\n    return b'brand new'\n")
        server.signal(signal.SIGHUP)
        server.out.until("reloaded")
        self.assertEqual({ask(server.frontend, b"")[0] for _ in range(4)}, {b"brand new"})
        code.write_text("nonsense\n")
        server.signal(signal.SIGHUP)
        server.out.until(r"the reload failed, the old workers stay: .*NameError: .* \(.*code.py, line 1\)")
        self.assertEqual({ask(server.frontend, b"")[0] for _ in range(4)}, {b"brand new"})
        self.assertEqual(server.stop(), 0)

    def test_unborn(self) -> None:
        """What a terminal sends to all does nothing to a worker either, however young it is."""
        server = self.twistd("pid", "--workers=1", "--log-level=3")
        pid = int(server.out.until(r"worker (\d+) was started")[0][1])
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            os.kill(pid, number)
        self.assertEqual(ask(server.ready().frontend, b""), [str(pid).encode()])
        os.kill(pid, signal.SIGINT)
        self.assertStops(server)

    def test_early(self) -> None:
        """Ctrl-C before the reactor runs leaves neither a process, nor a socket, nor a pid file."""
        code = (
            "import os, signal\nfrom pirate.hooks import Hooks\n"
            "class Mine(Hooks):\n    def serverStarting(self, server):\n        os.kill(os.getpid(), signal.SIGINT)\n"
        )
        Path(self.folder, "own.py").write_text(code)
        frontend = f"--frontend=ipc://{self.folder}/f"
        server = self.twistd("pid", frontend, "--backend=*", "--hooks=own.Mine", options=("-n", "--logfile=log"))
        self.assertEqual(server.wait(), 0)
        self.assertUntroubled(server)
        left = sorted(each for each in os.listdir(self.folder) if each != "__pycache__")
        self.assertEqual(left, ["log", "own.py"])

    def test_terminal(self) -> None:
        """HUP reloads as long as the server's terminal is there; the one that comes when it is closed stops it."""
        pid, terminal = pty.fork()
        if not pid:
            command = [*script("twistd"), "-n", "--pidfile=", "pirate", "--frontend=*", "--backend=*", "--workers=1"]
            try:
                os.chdir(self.folder)
                os.execve(command[0], [*command, f"--app={APPS}.pid"], environmentWith({}))
            finally:
                os._exit(127)
        try:
            self.awaitWords(terminal, b"ready, with")
            os.kill(pid, signal.SIGHUP)
            self.awaitWords(terminal, b"reloaded")
        finally:
            os.close(terminal)
            left = remaining([pid], PATIENCE)
            for each in left:
                os.kill(each, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        self.assertEqual(left, [], "the server has outlived its terminal")
        self.assertEqual(status, 0)

    def awaitWords(self, terminal: int, words: bytes) -> None:
        """Read what is written to a terminal until certain words appear."""
        said = b""
        while words not in said:
            self.assertTrue(select([terminal], [], [], PATIENCE)[0], said)
            said += os.read(terminal, 4096)

    def test_others(self) -> None:
        """USR1 stays twistd's, which rotates the log; CHLD and PIPE do nothing."""
        frontend = f"ipc://{self.folder}/f"
        server = self.twistd(
            *("pid", f"--frontend={frontend}", "--backend=*", "--workers=1"),
            options=("-n", "--pidfile=", "--logfile=log"),
        )
        (worker,) = ask(frontend, b"")
        for number in (signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE):
            server.signal(number)
        self.assertEqual(ask(frontend, b""), [worker])
        self.assertEqual(server.stop(), 0)
        self.assertEqual(sorted(os.listdir(self.folder)), ["log", "log.1"])
