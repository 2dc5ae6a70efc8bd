# -*- test-case-name: pirate.test.worker.test_worker -*-
"""Tests of a worker's start: how an app that cannot be loaded, or does not fit, is reported."""

from __future__ import annotations

import importlib
import io
import os
import sys
from pathlib import Path
from typing import Any

import zmq
from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import START_ERROR_PREFIX, ExitCode
from pirate.wire.workerconfig import WorkerConfig
from pirate.worker.environment import WorkerEnvironment
from pirate.worker.worker import Worker, connect


class Ended(BaseException):
    """Raised where the process would end."""


class LoadTests(SynchronousTestCase):
    """An app that cannot be loaded ends its worker with one line that says what and where."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.root.mkdir()
        self.patch(sys, "path", [str(self.root), *sys.path])
        self.patch(sys, "dont_write_bytecode", True)
        self.patch(os, "_exit", self.end)
        self.codes: list[int] = []

    def end(self, code: int) -> None:
        """Note the exit code, instead of ending the process."""
        self.codes.append(code)
        raise Ended

    def load(self, text: str, path: str = "stowaway.app", **config: Any) -> str:
        """Run a worker whose app is in a module with this text, and return what it writes."""
        (self.root / "stowaway.py").write_text(text)
        importlib.invalidate_caches()
        self.addCleanup(sys.modules.pop, "stowaway", None)
        told: dict[str, Any] = {
            "backend": "inproc://nobody",
            "identity": "child_1",
            "app": path,
            "prefetch": 1,
            "importPath": sys.path,
            "parent": os.getppid(),
            "title": "worker",
        }
        errors = io.StringIO()
        self.patch(sys, "stderr", errors)
        full = WorkerConfig(**{**told, **config})
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.addCleanup(context.destroy, linger=0)
        self.assertRaises(Ended, Worker(full, connect(context, full), WorkerEnvironment()).run)
        self.assertEqual(self.codes, [ExitCode.APP_NOT_LOADED])
        return errors.getvalue()

    def lastWords(self, text: str, path: str = "stowaway.app") -> str:
        """Return the only line that such a worker writes."""
        written = self.load(text, path)
        self.assertEqual(written.count("\n"), 1)
        self.assertTrue(written.startswith(START_ERROR_PREFIX))
        return written.removeprefix(START_ERROR_PREFIX).rstrip("\n")

    def test_missing(self) -> None:
        """A missing name is named, without a line of the user's code."""
        line = self.lastWords("", "stowaway.nothing")
        self.assertIn("cannot load 'stowaway.nothing'", line)
        self.assertNotIn("line", line)

    def test_raises(self) -> None:
        """A module that raises is reported with its file and line."""
        line = self.lastWords("import os\n\n1 / 0\n")
        self.assertIn("ZeroDivisionError", line)
        self.assertIn(f"({self.root / 'stowaway.py'}, line 3)", line)

    def test_syntax(self) -> None:
        """So is a module that is not Python."""
        line = self.lastWords("x = 1\ndef app(:\n")
        self.assertIn("SyntaxError", line)
        self.assertIn("stowaway.py, line 2", line)

    def test_constructor(self) -> None:
        """So is a class that cannot be instantiated."""
        line = self.lastWords("class app:\n    def __init__(self):\n        raise OSError('no database')\n")
        self.assertIn("OSError: no database", line)
        self.assertIn("stowaway.py, line 3", line)

    def test_exits(self) -> None:
        """A module that ends the process when it is imported cannot be loaded."""
        self.assertIn("SystemExit", self.lastWords("raise SystemExit(0)\n"))

    def test_notCallable(self) -> None:
        """An app that cannot be called is reported."""
        self.assertIn("is not callable", self.lastWords("app = 3\n"))

    def test_unfit(self) -> None:
        """An app that does not fit the options is reported, with the option to use instead."""
        plainly, later = "def app(body): pass\n", "async def app(body): pass\n"
        for text, config, words in (
            (plainly, {"concurrency": 100}, "concurrency (100) needs an async app, and this is a plain function"),
            (later, {"threads": 4}, "threads (4) are for plain functions: use --concurrency"),
            (later, {"prefetch": 4}, "prefetch (4) is for plain functions: use --concurrency for this app"),
            (plainly, {"prefetch": 4, "loop": "asyncio"}, "prefetch (4) is for plain functions"),
        ):
            self.codes.clear()
            sys.modules.pop("stowaway", None)
            written = self.load(text, **config)
            self.assertIn(f"cannot load 'stowaway.app': {words}", written)
            self.assertEqual(written.count("\n"), 1)

    def test_setup(self) -> None:
        """An async class that cannot be set up is reported."""
        written = self.load(
            "class app:\n"
            "    async def setup(self):\n"
            "        raise OSError('no database')\n"
            "    async def __call__(self, body):\n"
            "        pass\n"
        )
        self.assertIn("cannot load 'stowaway.app': OSError: no database", written)
        self.assertIn("stowaway.py, line 3", written)

    def test_dequeue(self) -> None:
        """A dequeue callable that cannot be loaded is reported likewise."""
        written = self.load("1 / 0\n", dequeue="stowaway.dequeue")
        self.assertIn("cannot load 'stowaway.dequeue': ZeroDivisionError", written)

    def test_traceback(self) -> None:
        """The traceback precedes the line if the configuration asks for it."""
        written = self.load("1 / 0\n", showTraceback=True)
        self.assertTrue(written.startswith("Traceback"))
        self.assertTrue(written.splitlines()[-1].startswith(START_ERROR_PREFIX))
