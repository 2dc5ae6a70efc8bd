# -*- test-case-name: pirate.test.twistd.test_preflight -*-
"""What twistd's own options name, and what is said if it cannot be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from pirate.errors import ConfigurationError
from pirate.twistd.preflight import checkSurroundings

#: No system has so many users.
NOBODY = 1 << 30


class CheckTests(SynchronousTestCase):
    """Each is refused in one line that names the option and the value, and nothing is made by looking."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        self.given: dict[str, Any] = {"pidfile": "twistd.pid", "rundir": ".", "nodaemon": False, "logfile": None}

    def refused(self, **given: Any) -> str:
        """What is said of some options of twistd."""
        error = self.assertRaises(ConfigurationError, checkSurroundings, {**self.given, **given})
        self.assertNotIn("\n", str(error))
        return str(error)

    def test_fine(self) -> None:
        """Twistd's defaults are fine, twist has no such options, and no file is made."""
        checkSurroundings(self.given)
        checkSurroundings({**self.given, "pidfile": "", "logfile": "-", "nodaemon": True})
        checkSurroundings({"logFile": None, "reactor": "poll"})
        self.assertEqual(os.listdir(self.folder), [])

    def test_workingDirectory(self) -> None:
        """The working directory may have been removed, whatever is started there."""
        self.folder.rmdir()
        self.assertEqual(self.refused(), "the working directory has been removed: change to another one")
        error = self.assertRaises(ConfigurationError, checkSurroundings, {})
        self.assertEqual(str(error), "the working directory has been removed: change to another one")

    def test_pidfile(self) -> None:
        """The directory of the pid file must be there, and the file must be one that can be written."""
        self.assertEqual(
            self.refused(pidfile="run/x"), f"pidfile is run/x: {self.folder}/run: No such file or directory"
        )
        self.assertEqual(self.refused(pidfile="."), "pidfile is .: Is a directory")
        Path("file").touch()
        self.assertEqual(self.refused(pidfile="file/x"), f"pidfile is file/x: {self.folder}/file: Not a directory")

    def test_logfile(self) -> None:
        """So it is with the log file, which twistd names if nobody else does; a daemon cannot log to a terminal."""
        message = "logfile is /none/log: /none: No such file or directory"
        self.assertEqual(self.refused(logfile="/none/log"), message)
        self.assertIn("say -n", self.refused(logfile="-"))
        Path("twistd.log").mkdir()
        self.assertEqual(self.refused(), "logfile is twistd.log: Is a directory")
        checkSurroundings({**self.given, "nodaemon": True})
        checkSurroundings({**self.given, "syslog": True})

    def test_unwritable(self) -> None:
        """A directory in which nothing may be written is named."""
        if os.geteuid() == 0:
            self.patch(os, "access", lambda path, mode, **ignored: mode == os.X_OK)
        else:
            self.folder.chmod(0o500)
            self.addCleanup(self.folder.chmod, 0o700)
        self.assertEqual(self.refused(), f"pidfile is twistd.pid: nothing may be written into {self.folder}")

    def test_folders(self) -> None:
        """The directory to run in, and the one to have as the root, must be there; only root may have another root."""
        self.assertEqual(self.refused(rundir="run"), "rundir is run: No such file or directory")
        self.assertEqual(self.refused(chroot="/none"), "chroot is /none: No such file or directory")
        self.patch(os, "geteuid", lambda: 1)
        self.assertEqual(self.refused(chroot="/"), "chroot is /: only root may change the root directory")

    def test_chroot(self) -> None:
        """The pid file is the one under the new root."""
        self.patch(os, "geteuid", lambda: 0)
        message = f"pidfile is /run/x: {self.folder}/run: No such file or directory"
        self.assertEqual(self.refused(chroot=str(self.folder), pidfile="/run/x"), message)

    def test_users(self) -> None:
        """A user that does not exist has no group; and only root may become another user."""
        message = f"uid is {NOBODY}: there is no such user; name its group by --gid"
        self.assertEqual(self.refused(uid=NOBODY), message)
        self.patch(os, "geteuid", lambda: 1)
        self.assertIn("only root may", self.refused(uid=NOBODY, gid=1))
        self.patch(os, "geteuid", lambda: 0)
        checkSurroundings({**self.given, "uid": NOBODY, "gid": 1})

    def test_everyOption(self) -> None:
        """Twistd still calls its options so."""
        try:
            from twisted.scripts._twistd_unix import ServerOptions
        except ImportError:
            raise SkipTest("there is no twistd here") from None
        for name in ("pidfile", "rundir", "chroot", "uid", "gid", "euid", "logfile", "syslog", "logger", "nodaemon"):
            self.assertIn(name, ServerOptions())
