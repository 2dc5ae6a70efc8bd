# -*- test-case-name: pirate.test.worker.test_errortext -*-
"""Tests of the texts about errors of the app."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import ConfigurationError
from pirate.test.support.hostile import HOSTILE
from pirate.wire.words import MAX_TEXT
from pirate.worker.errortext import MAX_CAUSES, MAX_LINES, describe, trail


class DescribeTests(SynchronousTestCase):
    """Any error is described in one line."""

    def test_common(self) -> None:
        """The line has the type and the text of an error; an error of pirate needs no type."""
        self.assertEqual(describe(ValueError("only\n digits")), "ValueError: only digits")
        self.assertEqual(describe(KeyError("k")), "KeyError: 'k'")
        self.assertEqual(describe(KeyError()), "KeyError")
        self.assertEqual(describe(ConfigurationError("x is wrong")), "x is wrong")

    def test_hostile(self) -> None:
        """No error makes this fail, exceed the limit, or return a text that cannot be encoded."""
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
    """The lines of the app that an error came from are named."""

    def caught(self, call: Callable[[], object]) -> BaseException:
        """Return the error that a call raises."""
        try:
            call()
        except BaseException as error:
            return error
        raise AssertionError("no error")

    def here(self, call: Callable[..., object], line: int = 1) -> str:
        """Return the name of a line of a function of this file."""
        code = call.__code__
        return f"{__file__}:{code.co_firstlineno + line} in {code.co_name}"

    def test_lines(self) -> None:
        """The innermost line comes first; lines of libraries are left out, but for the innermost."""

        def outer() -> object:
            return list(map(inner, [b"{"]))

        def inner(text: bytes) -> object:
            return json.loads(text)

        first, *rest = trail(self.caught(outer)).split(", from ")
        self.assertRegex(first, r"/json/decoder\.py:\d+ in \w+$")
        self.assertEqual(rest[:2], [self.here(inner), self.here(outer)])

    def test_causes(self) -> None:
        """A cause is named with its own line."""

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
        """The errors of a group are named as its causes."""
        told = trail(self.caught(lambda: self.throw(ExceptionGroup("two", [ValueError("a"), TypeError("b")]))))
        self.assertTrue(told.endswith("; caused by ValueError: a; caused by TypeError: b"), told)

    def throw(self, error: BaseException) -> None:
        """Raise an error."""
        raise error

    def test_bounded(self) -> None:
        """Of a deep traceback and a long chain of causes, only so much is named."""

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
        """No error makes this fail."""
        for name, error in HOSTILE.items():
            told = trail(self.caught(partial(self.throw, error)))
            self.assertLessEqual(len(told.encode()), MAX_TEXT, name)
