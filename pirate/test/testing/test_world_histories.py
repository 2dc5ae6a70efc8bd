# -*- test-case-name: pirate.test.testing.test_world_histories -*-
"""Histories in the simulated world; :mod:`pirate.test.integration.test_world_agrees` compares them with real ones."""

from __future__ import annotations

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from pirate.test.support.histories import HISTORIES, History

#: The seeds of the delays.
SEEDS = range(4)


class HistoryTests(SynchronousTestCase):
    """A test for each history."""

    def check(self, history: History) -> None:
        """Whatever the delays are, the server sees and does the same."""
        try:
            from pirate.test.support.worldstage import simulate
        except ImportError:
            raise SkipTest("needs greenlet") from None
        first, *others = (simulate(history, seed) for seed in SEEDS)
        self.assertTrue(first["clients"])
        for other in others:
            self.assertEqual(first, other)


for _name, _history in HISTORIES.items():
    setattr(HistoryTests, f"test_{_name}", lambda self, history=_history: self.check(history))
