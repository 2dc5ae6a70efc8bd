"""
Run the trials of ``benchmarks/chaos.py`` and ``benchmarks/fuzz.py`` that are short.

How long a good client waits is not limited here, because other tests may run at the same time.
"""

from __future__ import annotations

import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from pirate.test.support.benchmarks import COMMAND, run

#: The time that a good client may wait, in seconds.
STALL = "5"


class TrialTests(SynchronousTestCase):
    """Servers under faults and attacks."""

    def setUp(self) -> None:
        """Skip the test where the trials cannot run."""
        if not sys.platform.startswith("linux"):
            raise SkipTest("the trials need Linux")
        if not COMMAND.exists():
            raise SkipTest("the trials are not here: they are in a checkout only")

    def test_account(self) -> None:
        """
        While workers are killed, stopped and reloaded, every native request ends in exactly one outcome of its own, and
        none is run more than three times.  The counters add up, and neither open files nor memory are left behind.
        """
        status, out, err = run("--only", "account", "--seconds", "2", command=str(COMMAND.with_name("chaos.py")))
        self.assertEqual((status, err), (0, ""), out)
        self.assertRegex(out, "(?m)^ok   account: ")

    def test_attacks(self) -> None:
        """The server survives and counts each attack, a good client gets all replies, and nothing is left behind."""
        cases = ("attacks", "malformed")
        fuzz = str(COMMAND.with_name("fuzz.py"))
        status, out, err = run("--only", *cases, "--seconds", "0.5", "--stall", STALL, command=fuzz)
        self.assertEqual((status, err), (0, ""), out)
        for each in cases:
            self.assertRegex(out, f"(?m)^ok   {each}: ")
