# -*- test-case-name: pirate.test.settings.test_limits -*-
"""Tests of the limits of the pool and of peers."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import ConfigurationError
from pirate.settings.limits import PeerLimits, PoolLimits
from pirate.settings.settings import fromText
from pirate.settings.table import optionName
from pirate.test.support.settings import LIMITS, SIZES, SettingsCase, attribute, sizes


class AdjustedDefaultTests(SettingsCase):
    """Defaults that adjust to the values that are set, and set values that contradict each other."""

    def test_table(self) -> None:
        """The numbers of servers that follow from some of them."""
        expected: dict[tuple[tuple[str, int], ...], tuple[int, ...]] = {
            (): (5, 50, 2, 10),
            (("maxServers", 11),): (5, 11, 2, 10),
            (("maxServers", 10),): (5, 10, 2, 9),
            (("maxServers", 3),): (3, 3, 2, 2),
            (("maxServers", 1),): (1, 1, 0, 0),
            (("maxServers", 0),): (0, 0, 0, 0),
            (("minServers", 60),): (60, 60, 2, 10),
            (("minServers", 1),): (1, 50, 1, 10),
            (("minServers", 0),): (0, 50, 0, 10),
            (("minServers", 4), ("maxServers", 4)): (4, 4, 2, 3),
            (("minServers", 1), ("maxServers", 1)): (1, 1, 0, 0),
            (("minServers", 20), ("maxServers", 80)): (20, 80, 2, 10),
            (("minServers", 2), ("maxServers", 4)): (2, 4, 2, 3),
            (("minSpareServers", 20),): (5, 50, 20, 20),
            (("minSpareServers", 60),): (5, 60, 60, 60),
            (("maxSpareServers", 1),): (5, 50, 1, 1),
            (("maxSpareServers", 100),): (5, 50, 2, 100),
            (("maxServers", 3), ("minSpareServers", 3)): (3, 3, 3, 3),
        }
        for given, found in expected.items():
            self.assertEqual(sizes(PoolLimits(**dict(given))), found, given)

    def test_everyCombination(self) -> None:
        """
        For every combination, the set values stay and the defaults fit; or two set values contradict each other, and
        the message names both with their values.
        """
        for values in product((None, 0, 1, 2, 3, 8, 60), repeat=4):
            given = {name: value for name, value in zip(SIZES, values, strict=True) if value is not None}
            contradictions = [
                (less, more)
                for less, more in (SIZES[:2], SIZES[2:], (SIZES[2], SIZES[1]))
                if less in given and more in given and given[less] > given[more]
            ]
            if contradictions:
                message = self.refusal(PoolLimits, **given)
                said = [[f"{optionName(name)} ({given[name]})" for name in pair] for pair in contradictions]
                self.assertTrue(any(less in message and more in message for less, more in said), message)
                continue
            limits = PoolLimits(**given)
            self.assertEqual({name: getattr(limits, name) for name in given}, given)
            least, most, spareLeast, spareMost = sizes(limits)
            self.assertTrue(0 <= least <= most and 0 <= spareLeast <= min(spareMost, most), (given, limits))

    def test_jitter(self) -> None:
        """The jitter is a tenth of max-requests unless it is set."""
        for given, jitter in (({"maxRequests": 55}, 5), ({"maxRequests": 0}, 0), ({"maxRequestsJitter": 7}, 7)):
            self.assertEqual(PoolLimits(**given).maxRequestsJitter, jitter)

    def test_jitterFollows(self) -> None:
        """In changed limits the jitter is a tenth of the new max-requests, unless it was set."""
        for limits in (PoolLimits(maxRequests=1000), PoolLimits(maxRequests=1000).resized(1)):
            self.assertEqual(limits.changed({"maxRequests": 10}).maxRequestsJitter, 1)
            self.assertEqual(limits.changed({"minServers": 1}).maxRequestsJitter, 100)
        given = PoolLimits(maxRequests=1000, maxRequestsJitter=7)
        self.assertEqual(given.changed({"maxRequests": 10}).maxRequestsJitter, 7)


class ResizedTests(SynchronousTestCase):
    """More or fewer servers at run time."""

    def test_table(self) -> None:
        """Both limits move together, but not below 0 and 1; the numbers of spare servers adjust."""
        for before, by, after in (
            ((5, 50, 2, 10), 1, (6, 51, 2, 10)),
            ((5, 50, 2, 10), -1, (4, 49, 2, 10)),
            ((0, 50, 0, 10), -1, (0, 49, 0, 10)),
            ((3, 3, 2, 2), -1, (2, 2, 2, 2)),
            ((2, 2, 2, 2), -1, (1, 1, 1, 1)),
            ((1, 1, 1, 1), -1, (0, 1, 1, 1)),
            ((0, 1, 0, 0), -1, (0, 1, 0, 0)),
            ((0, 1, 0, 0), 1, (1, 2, 0, 0)),
            ((0, 0, 0, 0), 1, (1, 1, 0, 0)),
            ((5, 50, 2, 10), -100, (0, 1, 1, 1)),
        ):
            limits = PoolLimits(**dict(zip(SIZES, before, strict=True)))
            self.assertEqual(sizes(limits.resized(by)), after, (before, by))

    def test_noWorkers(self) -> None:
        """A broker without workers does not get one when it shrinks."""
        self.assertEqual(sizes(PoolLimits(minServers=0, maxServers=0).resized(-1)), (0, 0, 0, 0))

    def test_otherLimits(self) -> None:
        """The other limits stay."""
        limits = PoolLimits(maxRequests=7, stopTimeout=3.5, checkForDead=1)
        found = limits.resized(1)
        for name in [name for name in LIMITS if not name.endswith("-servers")]:
            self.assertEqual(getattr(found, attribute(name)), getattr(limits, attribute(name)))


class PeerLimitsTests(SynchronousTestCase):
    """The limits of peers."""

    def test_texts(self) -> None:
        """The limits are options of the command line."""
        given = fromText({"max-message-size": "0.5", "rate": "20", "max-connections": "7", "heartbeat": "0"}).peerLimits
        self.assertEqual((given.maxMessageSize, given.rate, given.maxConnections, given.heartbeat), (0.5, 20, 7, 0))

    def test_burst(self) -> None:
        """The burst is one second's worth of the rate, and 1 or more, unless it is set."""
        self.assertEqual([PeerLimits(rate=rate).burst for rate in (0, 0.2, 2.4, 50)], [1, 1, 2, 50])
        self.assertEqual(PeerLimits(rate=50, burst=3).burst, 3)

    def test_burstFollows(self) -> None:
        """In a changed copy the burst is one second's worth of the new rate, unless it was set."""
        self.assertEqual(replace(PeerLimits(), maxConnections=5).burst, 1)
        self.assertEqual(replace(PeerLimits(rate=50), rate=20).burst, 20)
        self.assertEqual(replace(PeerLimits(rate=50, burst=3), rate=20).burst, 3)

    def test_needsRate(self) -> None:
        """A burst without a rate is refused."""
        error = self.assertRaises(ConfigurationError, PeerLimits, burst=5)
        self.assertEqual(str(error), "burst (5) needs a rate, but rate is 0")

    def test_invalid(self) -> None:
        """Invalid limits are refused with their names."""
        for name, value in (
            ("max-message-size", "0"),
            ("max-message-size", "0.0009"),
            ("max-message-size", "1e7"),
            ("max-message-frames", "0"),
            ("max-message-total", "-1"),
            ("max-connections", "many"),
            ("client-requests", "1.5"),
            ("rate", "nan"),
            ("handshake-timeout", "0"),
            ("handshake-timeout", "1e7"),
            ("heartbeat", "inf"),
            ("heartbeat", "1e7"),
        ):
            error = self.assertRaises(ConfigurationError, fromText, {name: value})
            self.assertIn(f"{name} is ", str(error))
