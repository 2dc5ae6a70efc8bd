# -*- test-case-name: pirate.test.twistd.test_preflight -*-
"""Tests of the checks of twistd's own options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from pirate.errors import ConfigurationError
from pirate.twistd.preflight import checkEnvironment

#: A user id that no system uses.
UNKNOWN_USER = 1 << 30


class CheckTests(SynchronousTestCase):
    """Options that do not work, each refused with one line; the checks create no file."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        self.given: dict[str, Any] = {"pidfile": "twistd.pid", "rundir": ".", "nodaemon": False, "logfile": None}

    def refused(self, **given: Any) -> str:
        """Return the message that refuses some options of twistd."""
        error = self.assertRaises(ConfigurationError, checkEnvironment, {**self.given, **given})
        self.assertNotIn("\n", str(error))
        return str(error)

    def test_valid(self) -> None:
        """The defaults of twistd pass, and so do the options of twist; no file is created."""
        checkEnvironment(self.given)
        checkEnvironment({**self.given, "pidfile": "", "logfile": "-", "nodaemon": True})
        checkEnvironment({"logFile": None, "reactor": "poll"})
        self.assertEqual(os.listdir(self.folder), [])

    def test_workingDirectory(self) -> None:
        """A removed working directory is refused."""
        self.folder.rmdir()
        self.assertEqual(self.refused(), "the working directory has been removed: change to another one")
        error = self.assertRaises(ConfigurationError, checkEnvironment, {})
        self.assertEqual(str(error), "the working directory has been removed: change to another one")

    def test_pidfile(self) -> None:
        """The directory of the pid file must exist, and the file must be writable."""
        self.assertEqual(
            self.refused(pidfile="run/x"), f"pidfile is run/x: {self.folder}/run: No such file or directory"
        )
        self.assertEqual(self.refused(pidfile="."), "pidfile is .: Is a directory")
        Path("file").touch()
        self.assertEqual(self.refused(pidfile="file/x"), f"pidfile is file/x: {self.folder}/file: Not a directory")

    def test_logfile(self) -> None:
        """The log file has the same conditions, also by its default name; a daemon cannot log to a terminal."""
        message = "logfile is /none/log: /none: No such file or directory"
        self.assertEqual(self.refused(logfile="/none/log"), message)
        self.assertIn("add -n", self.refused(logfile="-"))
        Path("twistd.log").mkdir()
        self.assertEqual(self.refused(), "logfile is twistd.log: Is a directory")
        checkEnvironment({**self.given, "nodaemon": True})
        checkEnvironment({**self.given, "syslog": True})

    def test_unwritable(self) -> None:
        """A directory that is not writable is refused."""
        if os.geteuid() == 0:
            self.patch(os, "access", lambda path, mode, **ignored: mode == os.X_OK)
        else:
            self.folder.chmod(0o500)
            self.addCleanup(self.folder.chmod, 0o700)
        self.assertEqual(self.refused(), f"pidfile is twistd.pid: {self.folder} is not writable")

    def test_folders(self) -> None:
        """The working and the root directory must exist, and only root may change the root directory."""
        self.assertEqual(self.refused(rundir="run"), "rundir is run: No such file or directory")
        self.assertEqual(self.refused(chroot="/none"), "chroot is /none: No such file or directory")
        self.patch(os, "geteuid", lambda: 1)
        self.assertEqual(self.refused(chroot="/"), "chroot is /: only root may change the root directory")

    def test_chroot(self) -> None:
        """The pid file is checked below the new root directory."""
        self.patch(os, "geteuid", lambda: 0)
        message = f"pidfile is /run/x: {self.folder}/run: No such file or directory"
        self.assertEqual(self.refused(chroot=str(self.folder), pidfile="/run/x"), message)

    def test_users(self) -> None:
        """An unknown user needs a group, and only root may change the user."""
        message = f"uid is {UNKNOWN_USER}: there is no such user: set its group with --gid"
        self.assertEqual(self.refused(uid=UNKNOWN_USER), message)
        self.patch(os, "geteuid", lambda: 1)
        self.assertIn("only root may", self.refused(uid=UNKNOWN_USER, gid=1))
        self.patch(os, "geteuid", lambda: 0)
        checkEnvironment({**self.given, "uid": UNKNOWN_USER, "gid": 1})

    def test_everyOption(self) -> None:
        """twistd has options of these names."""
        try:
            from twisted.scripts._twistd_unix import ServerOptions
        except ImportError:
            raise SkipTest("there is no twistd here") from None
        for name in ("pidfile", "rundir", "chroot", "uid", "gid", "euid", "logfile", "syslog", "logger", "nodaemon"):
            self.assertIn(name, ServerOptions())
