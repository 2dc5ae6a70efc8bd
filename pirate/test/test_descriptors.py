# -*- test-case-name: pirate.test.test_descriptors -*-
"""File descriptors: allowed at start, or the start refused."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from pirate.descriptors import allowDescriptors
from pirate.errors import ConfigurationError
from pirate.settings import Limits


class AllowTests(SynchronousTestCase):
    """What is asked of a system with certain limits."""

    def limit(self, soft: int, hard: int, refuse: bool = False) -> list[tuple[int, int]]:
        """Set the system's limits.  :return: those that are asked for, as they are asked for."""
        asked: list[tuple[int, int]] = []

        def ask(kind: int, limits: tuple[int, int]) -> None:
            if refuse:
                raise ValueError("not allowed to raise maximum limit")
            asked.append(limits)

        self.patch(resource, "getrlimit", lambda kind: (soft, hard))
        self.patch(resource, "setrlimit", ask)
        return asked

    def test_raised(self) -> None:
        """All that is allowed is asked for, so that clients are not refused for a default of long ago."""
        asked = self.limit(1024, 524288)
        self.assertEqual(allowDescriptors(Limits()), 524288)
        self.assertEqual(asked, [(524288, 524288)])

    def test_enough(self) -> None:
        """What is there already is not asked for."""
        asked = self.limit(1024, 1024)
        self.assertEqual(allowDescriptors(Limits()), 1024)
        self.assertEqual(asked, [])

    def test_tooFew(self) -> None:
        """Too few for the workers that there may be: one line names the setting, its value, and both ways out."""
        self.limit(256, 256)
        error = self.assertRaises(ConfigurationError, allowDescriptors, Limits(maxServers=100))
        self.assertEqual(
            str(error),
            "max-servers (100) needs 464 file descriptors, but 256 are allowed: "
            "raise that limit (ulimit -Hn), or lower max-servers",
        )
        self.assertEqual(allowDescriptors(Limits(maxServers=48)), 256)

    def test_refused(self) -> None:
        """A system that does not do what it said is believed in what it does."""
        self.limit(1024, resource.RLIM_INFINITY, refuse=True)
        self.assertEqual(allowDescriptors(Limits()), 1024)

    def test_unlimited(self) -> None:
        """No limit is enough for anything."""
        self.limit(resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        self.assertEqual(allowDescriptors(Limits(maxServers=10**6)), resource.RLIM_INFINITY)
