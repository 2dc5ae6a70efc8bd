# -*- test-case-name: pirate.test.integration.test_privileges -*-
"""Servers that are started as root, and go on as somebody else."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from twisted.trial.unittest import SkipTest

from pirate.auth.keygen import writePair
from pirate.test.support.clients import ask
from pirate.test.support.program import ROOT, Program
from pirate.test.support.servers import APPS, ProgramCase
from pirate.test.support.visitor import keysOf, knock

#: The user and group that nothing belongs to.
NOBODY = 65534
#: What the server stands on.
NEEDED = ("twisted", "pyzmq", "txzmq")


def nobodyRuns(python: str, path: str, home: Path) -> bool:
    """Whether the user nobody can run a Python, and finds on a path what it needs, and this package in its home."""
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
    """A distribution and those that it needs, as far as they are here and not known yet."""
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
    """Put a file where everybody may read it, by a link if everybody may read the file itself."""
    try:
        if stat.S_IMODE(os.stat(source).st_mode) & 0o555 == 0o444:
            os.link(source, target)
            return
    except OSError:
        # It is on another file system, or links are not allowed there.
        pass
    shutil.copy2(source, target)
    os.chmod(target, 0o755)


def placeEverything(folder: Path) -> None:
    """Put this package and all that it needs where everybody may read it."""
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


def pythonForNobody(folder: Path) -> tuple[str, str]:
    """
    A Python that the user nobody can run.

    :param folder: where this package and what it needs are put, if they are out of reach, say in root's home.
    :return: the Python, and its path.
    """
    pythons = (sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}")
    path = os.pathsep.join(filter(None, sys.path))
    for python in pythons:
        if nobodyRuns(python, path, ROOT):
            return python, path
    placeEverything(folder)
    for python in (*pythons, os.path.realpath(sys.executable)):
        if nobodyRuns(python, str(folder), folder):
            return python, str(folder)
    raise SkipTest("the user nobody cannot run this version of Python here")


def owners(pid: int) -> set[tuple[int, int]]:
    """The user and group ids, real, effective and saved, of a process and all its threads, with the groups beside."""
    found: set[tuple[int, int]] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
        users = [int(each) for each in lines["Uid"].split()]
        groups = [int(each) for each in lines["Gid"].split() + lines["Groups"].split()]
        found.update((user, group) for user in users for group in groups)
    return found


class PrivilegesTests(ProgramCase):
    """``twistd --uid`` and ``--chroot``."""

    def setUp(self) -> None:
        super().setUp()
        if os.geteuid() != 0:
            raise SkipTest("only root can become somebody else")
        os.chmod(self.folder, 0o755)
        self.python, self.path = pythonForNobody(Path(self.folder, "packages"))

    def start(self, *arguments: str, options: tuple[str, ...] = ("--uid=nobody",)) -> Program:
        """A server with one worker."""
        # Without the packages of that Python itself, which may be others than those of this one.
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

    def test_keys(self) -> None:
        """
        Keys that only root may read are read before; what is out of the new user's reach stays as it is, at a reload
        too, the log says so, and new workers are let in; what is within reach is read anew.
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
        self.assertTrue(knock(server.frontend, **alice))
        os.kill(server.pid, signal.SIGHUP)
        server.out.until("reloaded")
        self.assertNotEqual(server.workers(), [worker])
        self.assertTrue(knock(server.frontend, **alice))
        server.out.until(f"the old keys stay: {clients}: Permission denied")
        self.assertFalse(knock(server.frontend, **bob))
        keys.chmod(0o711)
        (keys / "bob.key").rename(clients / "bob.key")
        os.kill(server.pid, signal.SIGHUP)
        server.out.until("curve-clients: 2 keys")
        self.assertTrue(knock(server.frontend, **bob))
        self.assertEqual(server.stop(), 0)

    def test_chroot(self) -> None:
        """A root directory without a Python for the workers is refused in one line, before anything is bound."""
        server = self.start("--frontend=*", options=(f"--chroot={self.folder}",))
        self.assertEqual(server.wait(), 1)
        lines = [line for line in server.out.all() + server.err.all() if "pirate: " in line]
        self.assertEqual(len(lines), 1)
        self.assertIn("workers are new Python processes", lines[0])
        self.assertIn(self.python, lines[0])
        self.assertNotIn("Traceback", "".join(server.out.all()))
