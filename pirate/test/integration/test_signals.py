# -*- test-case-name: pirate.test.integration.test_signals -*-
"""Tests of signals to the process of a server."""

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
    """Signals that are commands."""

    def test_moreAndFewer(self) -> None:
        """TTIN and TTOU act at once, without traffic; TTOU stops at limits of 0 and 1, and the server keeps serving."""
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
        # Without workers, a request starts one; max-servers has stayed 1.
        replies = [self.asking(server.frontend, b"") for _ in range(3)]
        self.assertEqual(len({each.result()[0] for each in replies}), 1)
        server.signal(signal.SIGTTIN)
        server.out.until("is ready", 4)
        self.assertEqual(len(server.workers()), 2)
        self.assertStops(server)

    def test_reload(self) -> None:
        """HUP loads changed code of an app in the working directory."""
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
        """The signals that a terminal sends to all processes have no effect on a worker, even during its start."""
        server = self.twistd("pid", "--workers=1", "--log-level=3")
        pid = int(server.out.until(r"worker (\d+) was started")[0][1])
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            os.kill(pid, number)
        self.assertEqual(ask(server.ready().frontend, b""), [str(pid).encode()])
        os.kill(pid, signal.SIGINT)
        self.assertStops(server)

    def test_early(self) -> None:
        """Ctrl-C before the reactor runs leaves no process, socket file or pid file behind."""
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
        """HUP reloads while the terminal is open; the HUP from closing the terminal stops the server."""
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
        """Read the output of a terminal until a text appears."""
        said = b""
        while words not in said:
            self.assertTrue(select([terminal], [], [], PATIENCE)[0], said)
            said += os.read(terminal, 4096)

    def test_others(self) -> None:
        """USR1 makes twistd rotate its log; CHLD and PIPE have no effect."""
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
