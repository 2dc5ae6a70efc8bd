# -*- test-case-name: pirate.test.integration.test_privileges -*-
"""Tests of servers that start as root and change the user."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from twisted.trial.unittest import SkipTest

from pirate.auth.keygen import writePair
from pirate.test.support.clients import ask
from pirate.test.support.dealer import isServed, keysOf
from pirate.test.support.program import ROOT, Program
from pirate.test.support.servers import APPS, ProgramCase

#: The id of the user and group that own no files.
NOBODY = 65534
#: The distributions that the server needs.
NEEDED = ("twisted", "pyzmq", "txzmq")


def nobodyRuns(python: str, path: str, home: Path) -> bool:
    """Return whether the user nobody can run a Python and import this package, and what it needs, from a path."""
    try:
        ran = subprocess.run(
            [python, "-PS", "-c", "import pirate, twisted, txzmq, zmq; print(pirate.__file__)"],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            env={"PYTHONPATH": path},
            cwd="/",
            capture_output=True,
            text=True,
        )
    except OSError:
        return False
    return ran.stdout.strip() == str(home / "pirate" / "__init__.py")


def needed(name: str, known: set[str]) -> Iterator[str]:
    """Yield a distribution and its installed dependencies that are not known yet."""
    try:
        requirements = distribution(name).requires or []
    except PackageNotFoundError:
        return
    known.add(name)
    yield name
    for each in requirements:
        found = re.match(r"[\w.-]+", each)
        if found is not None and found[0] not in known and "extra ==" not in each:
            yield from needed(found[0], known)


def place(source: str, target: str) -> None:
    """Copy a file to where every user can read it; link it if every user can read the file itself."""
    try:
        if stat.S_IMODE(os.stat(source).st_mode) & 0o555 == 0o444:
            os.link(source, target)
            return
    except OSError:
        # The target is on another file system, or links are not permitted there.
        pass
    shutil.copy2(source, target)
    os.chmod(target, 0o755)


def placeEverything(folder: Path) -> None:
    """Copy this package and all that it needs to where every user can read it."""
    known: set[str] = set()
    sources = {Path("twisted", "plugins", "pirate_plugin.py"): ROOT / "twisted" / "plugins" / "pirate_plugin.py"}
    for name in (each for top in NEEDED for each in needed(top, known)):
        files = distribution(name).files or ()
        sources.update(
            {Path(each): Path(str(each.locate())) for each in files if not {"..", "tests"} & set(each.parts)}
        )
    sources.update({each.relative_to(ROOT): each for each in (ROOT / "pirate").rglob("*.py")})
    for each in {parent for path in sources for parent in path.parents}:
        (folder / each).mkdir(parents=True, exist_ok=True)
    for path, source in sources.items():
        place(str(source), str(folder / path))
    for inside, _, _ in os.walk(folder):
        os.chmod(inside, 0o755)


@cache
def pythonForNobody() -> tuple[str, str]:
    """
    Find a Python that the user nobody can run; copy this package and all that it needs if that user cannot read them.

    :return: the interpreter and its path for imports.
    """
    pythons = (sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}")
    path = os.pathsep.join(filter(None, sys.path))
    for python in pythons:
        if nobodyRuns(python, path, ROOT):
            return python, path
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    placeEverything(folder)
    for python in (*pythons, os.path.realpath(sys.executable)):
        if nobodyRuns(python, str(folder), folder):
            return python, str(folder)
    raise SkipTest("the user nobody cannot run this version of Python here")


def owners(pid: int) -> set[tuple[int, int]]:
    """Return the user and group ids, including the supplementary groups, of all threads of a process, as pairs."""
    found: set[tuple[int, int]] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
        users = [int(each) for each in lines["Uid"].split()]
        groups = [int(each) for each in lines["Gid"].split() + lines["Groups"].split()]
        found.update((user, group) for user in users for group in groups)
    return found


class PrivilegesTests(ProgramCase):
    """The options ``--uid`` and ``--chroot`` of twistd."""

    def setUp(self) -> None:
        super().setUp()
        if os.geteuid() != 0:
            raise SkipTest("only root can change the user")
        os.chmod(self.folder, 0o755)
        self.python, self.path = pythonForNobody()

    def start(self, *arguments: str, options: tuple[str, ...] = ("--uid=nobody",)) -> Program:
        """Start a server with one worker."""
        # -S hides the packages of that Python, which may differ from those of this one.
        twistd = [
            self.python,
            "-S",
            "-c",
            "from twisted.scripts.twistd import run; run()",
            "-n",
            "--pidfile=",
            *options,
        ]
        program = Program(
            [*twistd, "pirate", f"--app={APPS}.upper", "--workers=1", *arguments],
            self.folder,
            {"PYTHONPATH": self.path},
        )
        self.addCleanup(program.kill)
        return program

    def test_uid(self) -> None:
        """
        The sockets are bound as root, on a privileged port and in a directory of root.  All threads of the server, its
        workers and its UNIX sockets then belong to the new user.
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
        # The new user cannot remove them from root's directory; the next start replaces them.
        self.assertTrue(os.path.exists(f"{self.folder}/b"))
        again = self.start("--frontend=*", f"--backend=ipc://{self.folder}/b").ready()
        self.assertEqual(ask(again.frontend, b"x"), [b"X"])
        self.assertEqual(again.stop(), 0)

    def test_keys(self) -> None:
        """
        Keys that only root can read are read before the change of the user.  A reload keeps and logs the keys that the
        new user cannot read, and reads the others again.
        """
        keys = Path(self.folder, "keys")
        clients = keys / "clients"
        clients.mkdir(parents=True)
        for name in ("server", "alice", "bob"):
            writePair(keys, name)
        (keys / "alice.key").rename(clients / "alice.key")
        alice, bob = keysOf(keys, "alice"), keysOf(keys, "bob")
        keys.chmod(0o700)
        server = self.start(
            *("--frontend=*", "--backend=*", f"--curve-secret={keys}/server.key_secret", f"--curve-clients={clients}")
        ).ready()
        [worker] = server.workers()
        self.assertEqual(owners(server.pid) | owners(worker), {(NOBODY, NOBODY)})
        self.assertTrue(isServed(server.frontend, **alice))
        os.kill(server.pid, signal.SIGHUP)
        server.out.until("reloaded")
        self.assertNotEqual(server.workers(), [worker])
        self.assertTrue(isServed(server.frontend, **alice))
        server.out.until(f"the old keys stay: {clients}: Permission denied")
        self.assertFalse(isServed(server.frontend, **bob))
        keys.chmod(0o711)
        (keys / "bob.key").rename(clients / "bob.key")
        os.kill(server.pid, signal.SIGHUP)
        server.out.until("curve-clients: 2 keys")
        self.assertTrue(isServed(server.frontend, **bob))
        self.assertEqual(server.stop(), 0)

    def test_chroot(self) -> None:
        """A root directory without a Python is refused with one line, before a socket is bound."""
        server = self.start("--frontend=*", options=(f"--chroot={self.folder}",))
        self.assertEqual(server.wait(), 1)
        lines = [line for line in server.out.all() + server.err.all() if "pirate: " in line]
        self.assertEqual(len(lines), 1)
        self.assertIn("workers are new Python processes", lines[0])
        self.assertIn(self.python, lines[0])
        self.assertNotIn("Traceback", "".join(server.out.all()))
