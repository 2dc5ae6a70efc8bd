# -*- test-case-name: pirate.test.worker.test_imports -*-
"""Import paths, and what they lead to."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import ConfigurationError
from pirate.test.support.hostile import HOSTILE
from pirate.wire.words import MAX_TEXT
from pirate.worker.imports import MAX_CAUSES, MAX_LINES, describe, load, trail

#: The modules of the package that the tests import from, and their text.
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
    """What a path names, and what is said if it names nothing."""

    def setUp(self) -> None:
        """A package of the tests' own, forgotten afterwards."""
        root = Path(self.mktemp()).absolute()
        for name, text in FILES.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.patch(sys, "path", [str(root), *sys.path])
        importlib.invalidate_caches()
        self.addCleanup(self.forget)

    def forget(self) -> None:
        """Let the next test import it anew."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "cargo"]:
            del sys.modules[name]

    def assertRefused(self, path: str, *words: str) -> None:
        """A path is refused in one line with some words in it."""
        error = self.assertRaises(ConfigurationError, load, path)
        for word in words:
            self.assertIn(word, str(error))
        self.assertNotIn("\n", str(error))

    def test_colon(self) -> None:
        """Before the colon is a module, after it are names in it."""
        self.assertEqual(load("cargo.hold:load")(), "loaded")
        self.assertEqual(load("cargo:name"), "package")
        self.assertEqual(load("cargo.hold:Crate.Lid.size"), 3)

    def test_dots(self) -> None:
        """Without a colon, as many parts are modules as can be."""
        self.assertEqual(load("cargo.hold.load")(), "loaded")
        self.assertEqual(load("cargo.name"), "package")
        self.assertEqual(load("cargo.hold.Crate.Lid.size"), 3)
        self.assertEqual(load("cargo.deck.crane.arm"), "long")

    def test_builtin(self) -> None:
        """A path may lead into the standard library, and to what was imported already."""
        self.assertIs(load("os.path.join"), os.path.join)
        self.assertIs(load("os:path.join"), os.path.join)

    def test_module(self) -> None:
        """The last name may be a module that was imported."""
        self.assertEqual(load("cargo.deck.arm.crane").__name__, "cargo.deck.crane")

    def test_noModule(self) -> None:
        """A module that is not there is named."""
        self.assertRefused("nowhere_at_all.fn", "'nowhere_at_all'")
        self.assertRefused("nowhere_at_all:fn", "'nowhere_at_all'")
        self.assertRefused("cargo.bilge:fn", "'cargo.bilge'")
        self.assertRefused("cargo.hold.deep.deeper:fn", "'cargo.hold.deep'")

    def test_noName(self) -> None:
        """A name that is not there is named, and where it was looked for."""
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
        """An error of the module itself is not hidden behind words about paths."""
        self.assertRaises(ZeroDivisionError, load, "cargo.rotten.fn")
        self.assertRaises(ZeroDivisionError, load, "cargo.rotten:fn")
        self.assertRaises(SyntaxError, load, "cargo.broken.fn")
        self.assertRaises(ImportError, load, "cargo.sub.fn")

    def test_missingDependency(self) -> None:
        """Nor is a module that is there but needs one that is not: the missing one is what must be installed."""
        for path in ("cargo.needy.fn", "cargo.needy:fn"):
            error = self.assertRaises(ModuleNotFoundError, load, path)
            self.assertEqual(error.name, "cargo_that_nobody_has")
        self.assertEqual(self.assertRaises(ModuleNotFoundError, load, "cargo.needier:fn").name, "cargo.missing")


class DescribeTests(SynchronousTestCase):
    """An error in one line, whatever the error is."""

    def test_common(self) -> None:
        """Its type and its text, in one line; one of our own speaks for itself."""
        self.assertEqual(describe(ValueError("only\n digits")), "ValueError: only digits")
        self.assertEqual(describe(KeyError("k")), "KeyError: 'k'")
        self.assertEqual(describe(KeyError()), "KeyError")
        self.assertEqual(describe(ConfigurationError("x is wrong")), "x is wrong")

    def test_hostile(self) -> None:
        """No error can make this fail, nor give more than there may be, nor what cannot be encoded."""
        for name, error in HOSTILE.items():
            text = describe(error)
            self.assertLessEqual(len(text.encode()), MAX_TEXT, name)
            self.assertTrue(text, name)
        self.assertEqual(describe(HOSTILE["raises"]), "Raises: (no text: its __str__ raised ZeroDivisionError)")
        self.assertEqual(describe(HOSTILE["exits"]), "Exits: (no text: its __str__ raised SystemExit)")
        self.assertEqual(describe(HOSTILE["surrogates"]), "ValueError: a?b")
        self.assertEqual(describe(HOSTILE["nameless"]), "Nameless: x")
        self.assertTrue(describe(HOSTILE["huge"]).endswith("xxx..."))


class TrailTests(SynchronousTestCase):
    """Where in the app an error came from."""

    def caught(self, call: Callable[[], object]) -> BaseException:
        """The error with which a call ends."""
        try:
            call()
        except BaseException as error:
            return error
        raise AssertionError("no error")

    def here(self, call: Callable[..., object], line: int = 1) -> str:
        """What names a line of a function of this file."""
        code = call.__code__
        return f"{__file__}:{code.co_firstlineno + line} in {code.co_name}"

    def test_lines(self) -> None:
        """The innermost line comes first; those of libraries are left out, but for the very last."""

        def outer() -> object:
            return list(map(inner, [b"{"]))

        def inner(text: bytes) -> object:
            return json.loads(text)

        first, *rest = trail(self.caught(outer)).split(", from ")
        self.assertRegex(first, r"/json/decoder\.py:\d+ in \w+$")
        self.assertEqual(rest[:2], [self.here(inner), self.here(outer)])

    def test_causes(self) -> None:
        """What led to it is told, with its own line."""

        def app() -> None:
            try:
                os.environ["X OF NOBODY"]
            except KeyError as error:
                raise ValueError("no") from error

        told = trail(self.caught(app))
        self.assertTrue(told.startswith(self.here(app, 4)), told)
        cause = told.partition("; caused by KeyError: 'X OF NOBODY' at ")[2]
        self.assertEqual(cause, self.here(app, 2))

    def test_group(self) -> None:
        """So is what is in a group."""
        told = trail(self.caught(lambda: self.fling(ExceptionGroup("two", [ValueError("a"), TypeError("b")]))))
        self.assertTrue(told.endswith("; caused by ValueError: a; caused by TypeError: b"), told)

    def fling(self, error: BaseException) -> None:
        """Raise an error."""
        raise error

    def test_bounded(self) -> None:
        """Of a deep trace and a long chain little is told."""

        def deep() -> None:
            deep()

        self.assertEqual(trail(self.caught(deep)).count(self.here(deep)), MAX_LINES)
        error: BaseException = ValueError(0)
        for number in range(10):
            following = ValueError(number)
            following.__cause__ = error
            error = following
        self.assertEqual(trail(error).count("caused by"), MAX_CAUSES)

    def test_none(self) -> None:
        """An error that was never raised has no lines."""
        self.assertEqual(trail(ValueError("x")), "")

    def test_hostile(self) -> None:
        """No error can make this fail."""
        for name, error in HOSTILE.items():
            told = trail(self.caught(partial(self.fling, error)))
            self.assertLessEqual(len(told.encode()), MAX_TEXT, name)
