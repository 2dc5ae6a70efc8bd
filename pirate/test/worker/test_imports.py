# -*- test-case-name: pirate.test.worker.test_imports -*-
"""Tests of import paths: what they name, and the errors of those that name nothing."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import ConfigurationError
from pirate.worker.imports import load

#: The modules that the tests import from, and their text.
FILES = {
    "cargo/__init__.py": "name = 'package'\n",
    "cargo/hold.py": "def load(): return 'loaded'\nclass Crate:\n    class Lid:\n        size = 3\n",
    "cargo/deck/__init__.py": "",
    "cargo/deck/crane.py": "arm = 'long'\n",
    "cargo/deck/arm.py": "from cargo.deck import crane\n",
    "cargo/rotten.py": "1 / 0\n",
    "cargo/needy.py": "import cargo_that_nobody_has\n",
    "cargo/needier.py": "import cargo.missing\n",
    "cargo/broken.py": "def\n",
    "cargo/sub.py": "from cargo.hold import nothing\n",
}


class LoadTests(SynchronousTestCase):
    """An import path is loaded, or refused with one line."""

    def setUp(self) -> None:
        """Make a package for the test."""
        root = Path(self.mktemp()).absolute()
        for name, text in FILES.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.patch(sys, "path", [str(root), *sys.path])
        importlib.invalidate_caches()
        self.addCleanup(self.forget)

    def forget(self) -> None:
        """Forget the package, so that the next test imports it anew."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "cargo"]:
            del sys.modules[name]

    def assertRefused(self, path: str, *words: str) -> None:
        """Assert that a path is refused in one line that contains these words."""
        error = self.assertRaises(ConfigurationError, load, path)
        for word in words:
            self.assertIn(word, str(error))
        self.assertNotIn("\n", str(error))

    def test_colon(self) -> None:
        """The part before the colon is a module; the part after it names something in it."""
        self.assertEqual(load("cargo.hold:load")(), "loaded")
        self.assertEqual(load("cargo:name"), "package")
        self.assertEqual(load("cargo.hold:Crate.Lid.size"), 3)

    def test_dots(self) -> None:
        """Without a colon, as many parts as possible are modules."""
        self.assertEqual(load("cargo.hold.load")(), "loaded")
        self.assertEqual(load("cargo.name"), "package")
        self.assertEqual(load("cargo.hold.Crate.Lid.size"), 3)
        self.assertEqual(load("cargo.deck.crane.arm"), "long")

    def test_builtin(self) -> None:
        """A path may name something in the standard library, and in a module that is imported already."""
        self.assertIs(load("os.path.join"), os.path.join)
        self.assertIs(load("os:path.join"), os.path.join)

    def test_module(self) -> None:
        """The last name may be an imported module."""
        self.assertEqual(load("cargo.deck.arm.crane").__name__, "cargo.deck.crane")

    def test_noModule(self) -> None:
        """A missing module is named."""
        self.assertRefused("nowhere_at_all.fn", "'nowhere_at_all'")
        self.assertRefused("nowhere_at_all:fn", "'nowhere_at_all'")
        self.assertRefused("cargo.bilge:fn", "'cargo.bilge'")
        self.assertRefused("cargo.hold.deep.deeper:fn", "'cargo.hold.deep'")

    def test_noName(self) -> None:
        """A missing name is named, and the object that lacks it."""
        self.assertRefused("cargo.hold:unload", "there is no 'unload' in module 'cargo.hold' (", "hold.py)")
        self.assertRefused("cargo.hold.unload", "'unload'", "cargo.hold")
        self.assertRefused("cargo.hold.Crate.handle", "'handle'", "Crate")
        self.assertRefused("cargo.bilge.fn", "'bilge'")

    def test_incomplete(self) -> None:
        """A path must name a module and something in it."""
        for path in ("", ":", ":fn", "cargo", ".cargo"):
            self.assertRefused(path, repr(path), "package.module.name")
        self.assertRefused("cargo.hold:")

    def test_ownErrors(self) -> None:
        """An error that the module raises is passed on."""
        self.assertRaises(ZeroDivisionError, load, "cargo.rotten.fn")
        self.assertRaises(ZeroDivisionError, load, "cargo.rotten:fn")
        self.assertRaises(SyntaxError, load, "cargo.broken.fn")
        self.assertRaises(ImportError, load, "cargo.sub.fn")

    def test_missingDependency(self) -> None:
        """If the module imports a missing module, the error names the missing one."""
        for path in ("cargo.needy.fn", "cargo.needy:fn"):
            error = self.assertRaises(ModuleNotFoundError, load, path)
            self.assertEqual(error.name, "cargo_that_nobody_has")
        self.assertEqual(self.assertRaises(ModuleNotFoundError, load, "cargo.needier:fn").name, "cargo.missing")
