"""
The trials of ``benchmarks/chaos.py`` and ``benchmarks/fuzz.py`` that are short enough to be run each time.

What a good client waits is not judged here: other tests may run beside it.
"""

from __future__ import annotations

import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from pirate.test.support.benchmarks import COMMAND, run

#: Seconds that a good client may wait.
STALL = "5"


class TrialTests(SynchronousTestCase):
    """Servers in processes of their own, to which everything happens that may."""

    def setUp(self) -> None:
        """Skip where there are no trials."""
        if not sys.platform.startswith("linux"):
            raise SkipTest("the trials need Linux")
        if not COMMAND.exists():
            raise SkipTest("the trials are not here: they are in a checkout only")

    def test_account(self) -> None:
        """
        While workers are killed, stopped and reloaded, every native request ends in exactly one answer of its own, no
        request is executed more than three times, the counters add up, and neither open files nor memory are left
        behind.
        """
        status, out, err = run("--only", "account", "--seconds", "2", command=str(COMMAND.with_name("chaos.py")))
        self.assertEqual((status, err), (0, ""), out)
        self.assertRegex(out, "(?m)^ok   account: ")

    def test_attacks(self) -> None:
        """No attack ends the server, costs a good client an answer, goes uncounted, or leaves anything behind."""
        cases = ("attacks", "malformed")
        fuzz = str(COMMAND.with_name("fuzz.py"))
        status, out, err = run("--only", *cases, "--seconds", "0.5", "--stall", STALL, command=fuzz)
        self.assertEqual((status, err), (0, ""), out)
        for each in cases:
            self.assertRegex(out, f"(?m)^ok   {each}: ")
