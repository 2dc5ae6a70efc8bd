# -*- test-case-name: pirate.test.twistd.test_descriptors -*-
"""File descriptors: allowed at start, or the start refused."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import ConfigurationError
from pirate.settings.limits import PoolLimits
from pirate.transport.interfaces import ConnectionLimits
from pirate.twistd.descriptors import FOR_SERVER, FOR_WORKER, allowDescriptors, sharePlaces, workersOf


class AllowTests(SynchronousTestCase):
    """What is asked of a system with certain limits."""

    def limit(self, soft: int, hard: int, refuse: bool = False) -> list[tuple[int, int]]:
        """
        Set the system's limits.

        :return: those that are asked for, as they are asked for.
        """
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
        self.assertEqual(allowDescriptors(PoolLimits()), 524288)
        self.assertEqual(asked, [(524288, 524288)])

    def test_enough(self) -> None:
        """What is there already is not asked for."""
        asked = self.limit(1024, 1024)
        self.assertEqual(allowDescriptors(PoolLimits()), 1024)
        self.assertEqual(asked, [])

    def test_tooFew(self) -> None:
        """Too few for the workers that there may be: one line names the setting, its value, and both ways out."""
        self.limit(256, 256)
        error = self.assertRaises(ConfigurationError, allowDescriptors, PoolLimits(maxServers=100))
        self.assertEqual(
            str(error),
            "max-servers (100) needs 474 file descriptors, but 256 are allowed: "
            "raise that limit (ulimit -Hn), or lower max-servers",
        )
        self.assertEqual(allowDescriptors(PoolLimits(maxServers=45)), 256)

    def test_refused(self) -> None:
        """A system that does not do what it said is believed in what it does."""
        self.limit(1024, resource.RLIM_INFINITY, refuse=True)
        self.assertEqual(allowDescriptors(PoolLimits()), 1024)

    def test_unlimited(self) -> None:
        """No limit is enough for anything."""
        self.limit(resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        self.assertEqual(allowDescriptors(PoolLimits(maxServers=10**6)), resource.RLIM_INFINITY)


class ShareTests(SynchronousTestCase):
    """How many connections each socket may have."""

    def test_sums(self) -> None:
        """At every limit the server, its workers and both sockets fit into what is allowed, with some left."""
        for files in (100, 160, 300, 1024, 20_000):
            workers = min((files - FOR_SERVER) // FOR_WORKER // 2, 50)
            places = sharePlaces(files, PoolLimits(minServers=workers, maxServers=workers), 0)
            used = FOR_SERVER + FOR_WORKER * workers + places.frontend + places.backend
            self.assertLess(used, files)
            self.assertGreater(used, files * 3 // 4)
            self.assertGreaterEqual(places.frontend, 3 * places.backend)
            self.assertGreater(places.backend, 0)

    def test_given(self) -> None:
        """What was asked for is given on the frontend; the backend gets as much if there is so much."""
        limits = PoolLimits(minServers=4, maxServers=4)
        self.assertEqual(sharePlaces(1024, limits, 100), ConnectionLimits(100, 100))
        self.assertEqual(sharePlaces(160, limits, 60), ConnectionLimits(60, 10))

    def test_tooMuch(self) -> None:
        """What cannot be given is refused in a line with both numbers."""
        error = self.assertRaises(ConfigurationError, sharePlaces, 160, PoolLimits(minServers=4, maxServers=4), 100)
        self.assertEqual(
            str(error),
            "max-connections (100) is too much: of 160 file descriptors 68 are left for clients; raise that limit "
            "(ulimit -Hn), or lower max-connections or max-servers",
        )

    def test_dequeue(self) -> None:
        """The workers that run the dequeue callable count."""
        self.assertEqual(workersOf(PoolLimits(maxServers=7, checkForDequeue=1, maxDequeue=2)), 9)
        self.assertEqual(workersOf(PoolLimits(maxServers=7, maxDequeue=2)), 7)
