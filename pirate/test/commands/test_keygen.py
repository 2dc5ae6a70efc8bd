# -*- test-case-name: pirate.test.commands.test_keygen -*-
"""Tests of ``pirate-keygen``."""

from __future__ import annotations

import os
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import entry_points
from io import StringIO

import pirate
from pirate.auth.keys import loadPair, loadUsers
from pirate.commands.keygen import main
from pirate.test.support.keys import KeyCase


class KeygenTests(KeyCase):
    """Files, output and errors."""

    def keygen(self, *arguments: str) -> tuple[int, str, str]:
        """
        Run it.

        :return: its exit status, output and errors.
        """
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = main(["-d", str(self.folder), *arguments])
            except SystemExit as ended:
                status = int(ended.code or 0)
        return status, out.getvalue(), err.getvalue()

    def test_several(self) -> None:
        """It makes a pair for each name; its output is a list that curve-clients accepts."""
        status, out, err = self.keygen("alice", "bob")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(loadUsers(self.write("list", out)), loadUsers(self.folder))
        self.assertEqual(sorted(loadUsers(self.folder).values()), ["alice", "bob"])
        for name in ("alice", "bob"):
            _, secret = loadPair(self.folder / f"{name}.key_secret")
            self.assertNotIn(secret.decode(), out)

    def test_refuses(self) -> None:
        """It overwrites nothing: one line, status 1, and the files unchanged."""
        self.keygen("alice")
        before = {path: path.read_text() for path in self.folder.iterdir()}
        status, out, err = self.keygen("alice", "bob")
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(
            err, f"pirate-keygen: {self.folder}/alice.key exists already: choose another name, or remove it\n"
        )
        self.assertEqual({path: path.read_text() for path in self.folder.iterdir()}, before)

    def test_half(self) -> None:
        """If the public half cannot be written, no secret half is left behind."""
        self.patch(os, "open", self._noPublic(os.open))
        status, _, err = self.keygen("alice")
        self.assertEqual((status, err), (1, f"pirate-keygen: {self.folder}/alice.key: No space left on device\n"))
        self.assertEqual(list(self.folder.iterdir()), [])

    def _noPublic(self, really: object) -> object:
        def refuse(path: object, *arguments: int) -> int:
            if str(path).endswith(".key"):
                raise OSError(28, os.strerror(28))
            assert callable(really)
            descriptor: int = really(path, *arguments)
            return descriptor

        return refuse

    def test_badName(self) -> None:
        """A name with a path is rejected."""
        status, out, err = self.keygen("../alice")
        self.assertEqual((status, out, err.count("\n")), (1, "", 1))
        self.assertIn("'../alice' is not a valid name", err)

    def test_usage(self) -> None:
        """Without a name, or with an unknown option, it writes one line and exits with status 2."""
        for arguments in ((), ("--nonsense", "x")):
            status, out, err = self.keygen(*arguments)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1))
            self.assertIn("pirate-keygen --help tells more", err)

    def test_help(self) -> None:
        """It has a help text and a version."""
        status, out, _ = self.keygen("--help")
        self.assertEqual(status, 0)
        self.assertIn("NAME.key_secret", out)
        self.assertEqual(self.keygen("--version")[1], f"pirate-keygen {pirate.__version__}\n")

    def test_installed(self) -> None:
        """It is installed as a command."""
        [command] = entry_points(group="console_scripts", name="pirate-keygen")
        self.assertIs(command.load(), main)
