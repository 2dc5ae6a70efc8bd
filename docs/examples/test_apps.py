"""Tests of an app, without a server.  Run them: python -m unittest test_apps"""

import unittest

from asyncapps import Steward, pages, tidy
from shout import shout

from pirate.client import AppError, Cancelled
from pirate.testing import AppHarness


class AppTests(unittest.TestCase):
    """The replies of the apps in this folder."""

    def test_reply(self) -> None:
        with AppHarness(shout) as harness:
            self.assertEqual(harness.call(b"ahoy"), b"AHOY")

    def test_error(self) -> None:
        with AppHarness(shout) as harness, self.assertRaises(AppError) as caught:
            harness.call(b"two", b"frames")
        self.assertEqual(caught.exception.type, "TypeError")

    def test_parts(self) -> None:
        with AppHarness(pages) as harness:
            self.assertEqual(harness.stream(b"one", b"two").parts, [b"ONE", b"TWO"])

    def test_class(self) -> None:
        with AppHarness(Steward) as harness:
            self.assertEqual(harness.call(b"Anne"), b"barrel 0 for Anne")

    def test_cancel(self) -> None:
        with AppHarness(tidy) as harness, self.assertRaises(Cancelled):
            harness.call(b"60", cancelled=True)


if __name__ == "__main__":
    unittest.main()
