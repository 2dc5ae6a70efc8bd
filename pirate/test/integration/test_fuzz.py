# -*- test-case-name: pirate.test.integration.test_fuzz -*-
"""Everything that a hostile peer may try, once or a few times, against a real server."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.test.integration.attacks import ATTACKS
from pirate.test.integration.fuzz import Fuzz


class FuzzTests(SynchronousTestCase):
    """A server under attack while a good client works."""

    def test_stands(self) -> None:
        """
        No attack ends the server, costs the good client an answer, goes uncounted, or leaves memory behind.

        How long the good client waits is the benchmark's matter: here other tests may run beside it.
        """
        report = Fuzz(seconds=0.5, quiet=0.1, stall=5).run()
        self.assertEqual(report.faults, [])
        self.assertEqual({kind.name for kind in report.kinds if kind.tries > 1}, {each.__name__ for each in ATTACKS})
        self.assertGreater(report.asked, 100)
        self.assertEqual(report.refused["accepted"], report.refused["closed"])
