"""Everything goes wrong at once, and every request is accounted for."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from pirate.test.integration.chaos import Chaos, Report


class ChaosTests(TestCase):
    """A server whose workers are killed, stopped and reloaded under load."""

    timeout = 90

    async def test_nothingIsLostOrDoubled(self) -> None:
        """
        Every native request ends in exactly one answer of its own, no request is executed more than three times, the
        counters add up, and neither descriptors nor memory are left behind.
        """
        report: Report = await Chaos(reactor, seconds=5, rate=8, native=3, plain=2).run()
        self.assertEqual(report.faultsFound(), [])
        self.assertGreater(sum(report.faults.values()), 30)
        self.assertGreater(report.account.outcomes["reply"], 100)
        self.assertLessEqual(report.descriptors[1], report.descriptors[0])
        self.assertLess(report.memory[1] - report.memory[0], 20)
