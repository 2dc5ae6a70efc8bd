# -*- test-case-name: pirate.test.server.test_descriptors -*-
"""The tests of the limit of file descriptors, and of their division."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import ConfigurationError
from pirate.server.descriptors import FOR_SERVER, FOR_WORKER, maxChildren, raiseDescriptorLimit, shareDescriptors
from pirate.settings.limits import PoolLimits
from pirate.transport.interfaces import ConnectionLimits


class AllowTests(SynchronousTestCase):
    """Raise the limit of descriptors at the start, or refuse to start."""

    def limit(self, soft: int, hard: int, refuse: bool = False) -> list[tuple[int, int]]:
        """
        Set the limits of the process.

        :return: a list to which each new limit is added.
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
        """The soft limit is raised to the hard limit."""
        asked = self.limit(1024, 524288)
        self.assertEqual(raiseDescriptorLimit(PoolLimits()), 524288)
        self.assertEqual(asked, [(524288, 524288)])

    def test_enough(self) -> None:
        """A soft limit that equals the hard limit is left alone."""
        asked = self.limit(1024, 1024)
        self.assertEqual(raiseDescriptorLimit(PoolLimits()), 1024)
        self.assertEqual(asked, [])

    def test_tooFew(self) -> None:
        """A limit that is too low for max-servers is refused in one line, which names both remedies."""
        self.limit(256, 256)
        error = self.assertRaises(ConfigurationError, raiseDescriptorLimit, PoolLimits(maxServers=100))
        self.assertEqual(
            str(error),
            "max-servers (100) needs 874 file descriptors, but 256 are allowed: "
            "raise that limit (ulimit -Hn), or lower max-servers",
        )
        self.assertEqual(raiseDescriptorLimit(PoolLimits(maxServers=22)), 256)

    def test_refused(self) -> None:
        """If the limit cannot be raised, the soft limit counts."""
        self.limit(1024, resource.RLIM_INFINITY, refuse=True)
        self.assertEqual(raiseDescriptorLimit(PoolLimits()), 1024)

    def test_unlimited(self) -> None:
        """No limit is enough for any number of workers."""
        self.limit(resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        self.assertEqual(raiseDescriptorLimit(PoolLimits(maxServers=10**6)), resource.RLIM_INFINITY)


class ShareTests(SynchronousTestCase):
    """Divide the descriptors between the sockets."""

    def test_sums(self) -> None:
        """The server, its workers and both sockets stay below every limit, with a reserve."""
        for files in (100, 160, 300, 1024, 20_000):
            workers = min((files - FOR_SERVER) // FOR_WORKER // 4, 50)
            limits = shareDescriptors(files, PoolLimits(minServers=workers, maxServers=workers), 0)
            used = FOR_SERVER + FOR_WORKER * 2 * workers + limits.frontend + limits.backend
            self.assertLess(used, files)
            self.assertGreater(used, files * 3 // 4)
            self.assertGreaterEqual(limits.frontend, 3 * limits.backend)
            self.assertGreater(limits.backend, 0)

    def test_given(self) -> None:
        """The frontend gets max-connections; the backend gets as many, or what is left."""
        limits = PoolLimits(minServers=2, maxServers=2)
        self.assertEqual(shareDescriptors(1024, limits, 100), ConnectionLimits(100, 100))
        self.assertEqual(shareDescriptors(160, limits, 60), ConnectionLimits(60, 10))

    def test_tooMuch(self) -> None:
        """A max-connections that is too high is refused in one line with both numbers."""
        error = self.assertRaises(
            ConfigurationError, shareDescriptors, 160, PoolLimits(minServers=2, maxServers=2), 100
        )
        self.assertEqual(
            str(error),
            "max-connections (100) is too much: of 160 file descriptors 68 are left for clients; raise that limit "
            "(ulimit -Hn), or lower max-connections or max-servers",
        )

    def test_dequeue(self) -> None:
        """The children that run the dequeue callable count, and the workers that are replaced or slow to leave."""
        self.assertEqual(maxChildren(PoolLimits(maxServers=7, checkForDequeue=1, maxDequeue=2)), 16)
        self.assertEqual(maxChildren(PoolLimits(maxServers=7, maxDequeue=2)), 14)
