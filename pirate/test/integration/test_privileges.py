# -*- test-case-name: pirate.test.integration.test_privileges -*-
"""Servers that are started as root, and go on as somebody else."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest

from pirate.test.integration.load import ask
from pirate.test.integration.program import Program
from pirate.test.integration.support import APPS, ProgramCase

#: The user and group that nothing belongs to.
NOBODY = 65534


def pythonForNobody() -> str:
    """A Python that anybody can run, and that finds this very package; this one's may be in root's home."""
    for python in (sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"):
        check = [python, "-c", "import pirate, twisted, txzmq, zmq"]
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            subprocess.run(
                check, user=NOBODY, group=NOBODY, extra_groups=[], env=environment, cwd="/", check=True, stderr=-3
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    raise SkipTest("the user nobody cannot run Python here")


def owners(pid: int) -> set[tuple[int, int]]:
    """The user and group ids, real, effective and saved, of a process and all its threads."""
    found: set[tuple[int, int]] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
        found.update(zip(map(int, lines["Uid"].split()), map(int, lines["Gid"].split()), strict=True))
    return found


class PrivilegesTests(ProgramCase):
    """C{twistd --uid} and C{--chroot}."""

    def setUp(self) -> None:
        super().setUp()
        if os.geteuid() != 0:
            raise SkipTest("only root can become somebody else")
        self.python = pythonForNobody()
        os.chmod(self.folder, 0o755)

    def start(self, *arguments: str, options: tuple[str, ...] = ("--uid=nobody",)) -> Program:
        """A server with one worker."""
        twistd = [self.python, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", *options]
        program = Program(
            [*twistd, "pirate", f"--app={APPS}.upper", "--workers=1", *arguments],
            self.folder,
            {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self.addCleanup(program.kill)
        return program

    def test_uid(self) -> None:
        """
        The sockets are bound as root, on a privileged port and in a directory of root's; the server, with all its
        threads, and its workers are the new user's and reach each other through UNIX sockets that are nobody else's.
        """
        frontend = f"ipc://{self.folder}/frontend"
        server = self.start("--frontend=127.0.0.1:655", f"--frontend={frontend}", f"--backend=ipc://{self.folder}/b")
        server.ready()
        self.assertEqual(ask("tcp://127.0.0.1:655", b"x"), [b"X"])
        self.assertEqual(ask(frontend, b"x"), [b"X"])
        [worker] = server.workers()
        self.assertEqual(owners(server.pid) | owners(worker), {(NOBODY, NOBODY)})
        for name in ("frontend", "b"):
            status = os.stat(f"{self.folder}/{name}")
            self.assertEqual((status.st_uid, stat.S_IMODE(status.st_mode)), (NOBODY, 0o700))
        self.assertEqual(server.stop(), 0)
        # The new user may not remove them from root's directory; the next start replaces them.
        self.assertTrue(os.path.exists(f"{self.folder}/b"))
        again = self.start("--frontend=*", f"--backend=ipc://{self.folder}/b").ready()
        self.assertEqual(ask(again.frontend, b"x"), [b"X"])
        self.assertEqual(again.stop(), 0)

    def test_chroot(self) -> None:
        """A root directory without a Python for the workers is refused in one line, before anything is bound."""
        server = self.start("--frontend=*", options=(f"--chroot={self.folder}",))
        self.assertEqual(server.wait(), 1)
        lines = [line for line in server.out.all() + server.err.all() if "pirate: " in line]
        self.assertEqual(len(lines), 1)
        self.assertIn("workers are new Python processes", lines[0])
        self.assertIn(self.python, lines[0])
        self.assertNotIn("Traceback", "".join(server.out.all()))
