# -*- test-case-name: pirate.test.testing.test_world -*-
"""Tests of the simulated world: it repeats itself, it holds, and it notices what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from pirate.broker.attempts import Attempts
from pirate.broker.dispatcher import Dispatcher
from pirate.test.support.program import environmentWith
from pirate.testing.world.choices import Choices
from pirate.testing.world.invariants.base import Invariant
from pirate.testing.world.invariants.checks import executedTooOften, unaccounted
from pirate.testing.world.invariants.register import INVARIANTS, UNCHECKED, named
from pirate.testing.world.plan import Plan, PlannedCall, PlannedClient, draw
from pirate.testing.world.run import Outcome, run, runSeed
from pirate.testing.world.shrink import shrink
from pirate.testing.world.story import describe, tell

#: The seeds that run with every test.
SEEDS = range(12)
#: The plans that are kept.
PLANS = Path(__file__).with_name("plans")
#: Prints the hashes of a few seeds.
HASHES = "from pirate.testing.world.run import runSeed\nfor seed in range(3): print(runSeed(seed).digest)"


class WorldCase(SynchronousTestCase):
    """A case that runs worlds."""

    def setUp(self) -> None:
        """Skip without the package that simulates processes."""
        try:
            import greenlet  # noqa: F401
        except ImportError:
            raise SkipTest("needs greenlet") from None


class SeedTests(WorldCase):
    """Worlds of a few seeds."""

    def test_hold(self) -> None:
        """Every invariant holds."""
        for seed in SEEDS:
            self.assertEqual([str(each) for each in runSeed(seed).violations], [], f"seed {seed}")

    def test_same(self) -> None:
        """The same seed gives the same journal, also in a process with other hashes; another seed gives another."""
        here = [runSeed(seed).digest for seed in range(3)]
        self.assertEqual(len(set(here)), 3)
        for hashes in ("1", "2"):
            environment = environmentWith({"PYTHONHASHSEED": hashes})
            done = subprocess.run(
                [sys.executable, "-c", HASHES], env=environment, capture_output=True, text=True, timeout=60
            )
            self.assertEqual((done.stdout.split(), done.stderr), (here, ""))


class PlanTests(WorldCase):
    """Plans, and the choices that they are made of."""

    def test_file(self) -> None:
        """A plan can be written to a file and read again."""
        for seed in SEEDS:
            self.assertEqual(Plan.decode(draw(seed).encode()), draw(seed))

    def test_replay(self) -> None:
        """Choices can be replayed; those that are left out are the simplest."""
        first = Choices(1)
        made = [first.between(1, 6) for _ in range(20)]
        again = Choices(2, first.made)
        self.assertEqual([again.between(1, 6) for _ in range(22)], [*made, 1, 1])
        self.assertFalse(again.chance(0.999))


class KeptPlanTests(WorldCase):
    """The plans that are kept: each has once found a defect, in this project or planted, and is as small as can be."""

    def test_hold(self) -> None:
        """Every invariant holds in each."""
        plans = {path.stem: Plan.decode(path.read_text()) for path in sorted(PLANS.glob("*.json"))}
        self.assertGreaterEqual(len(plans), 15)
        for name, plan in plans.items():
            self.assertTrue(plan.about, name)
            self.assertEqual([str(each) for each in run(plan).violations], [], name)

    def test_small(self) -> None:
        """In the median they have 30 choices or fewer."""
        self.assertLessEqual(median(len(Plan.decode(path.read_text())) for path in PLANS.glob("*.json")), 30)


class StoryTests(WorldCase):
    """Stories, for people."""

    def test_told(self) -> None:
        """A story says when who does what, and what the plan is made of."""
        call = PlannedCall(1.0, [["die", "SIGSEGV"]], attempts=1)
        server = {"limits": {"minServers": 1, "maxServers": 1}, "policy": {"maxAttempts": 1}}
        plan = Plan(1, [{**server, "peerLimits": {}, "server": {}}], [PlannedClient("native 0", "native", [0], [call])])
        told = "\n".join(tell(run(plan).world.journal))
        for line in (
            "server 0.1     spawns worker 1001",
            "native 0       calls native0.0, with 10 s and 1 attempt",
            "worker 1001    begins native0.0, attempt 1",
            "worker 1001    dies of SIGSEGV",
            "server 0.1     answers native0.0 with worker-lost",
        ):
            self.assertIn(line, told)
        self.assertEqual(
            list(describe(plan)),
            [
                "server 0: minServers=1 maxServers=1 maxAttempts=1",
                "native 0, a client, makes 1 call",
                "  at 1 its job native0.0 does die SIGSEGV; within 10 s",
                "these are 1 choice",
            ],
        )


class RegisterTests(SynchronousTestCase):
    """The register of invariants."""

    def test_numbers(self) -> None:
        """Every invariant has the number of its place, and a statement of its own, which is a sentence."""
        self.assertEqual([each.number for each in INVARIANTS], list(range(1, len(INVARIANTS) + 1)))
        statements = [each.statement for each in INVARIANTS]
        self.assertEqual(len(set(statements)), len(statements))
        for statement in (*statements, *UNCHECKED):
            self.assertRegex(statement, r"^[A-Z].*\.$")

    def test_checked(self) -> None:
        """Every invariant checks something."""
        for each in INVARIANTS:
            methods = ("watch", "atTimes", "atRest", "atEnd")
            self.assertTrue(any(getattr(each, name) is not getattr(Invariant, name) for name in methods), each)

    def test_named(self) -> None:
        """A verdict of another program names an invariant of the register, and no other."""
        self.assertEqual(named(7, "why"), "invariant 7: why")
        self.assertRaises(StopIteration, named, 0, "why")

    def test_counts(self) -> None:
        """Requests in no counter are found, and those in two."""
        stats = {"received": 5, "replied": 1, "joined": 1, "remembered": 0, "withdrawn": 0, "failed": {"busy": 1}}
        stats |= {"backlog": 1, "in_flight": 1}
        for received, count in ((5, 0), (6, 1), (4, -1)):
            self.assertEqual(unaccounted({**stats, "received": received}), count)
        self.assertEqual(executedTooOften({"one": 1, "two": 3}, 2), ["two"])


class MutantTests(WorldCase):
    """A defect that is planted is found."""

    def find(self) -> Outcome:
        """Return the outcome of the first seed that fails."""
        for seed in SEEDS:
            outcome = run(draw(seed))
            if outcome.violations:
                return outcome
        self.fail("no seed has found the defect")

    def test_lostWorkers(self) -> None:
        """A broker that forgets what a dead worker held counts requests that nobody holds."""
        self.patch(Dispatcher, "_moveInFlight", lambda *arguments: None)
        self.assertIn(14, {each.number for each in self.find().violations})

    def test_shrink(self) -> None:
        """A plan that fails is shrunk to fewer choices, which fail in the same way."""
        self.patch(Attempts, "charge", lambda *arguments: None)
        found = self.find()
        number = found.violations[0].number
        small = shrink(found.world.plan, number, 20)
        self.assertLess(len(small), len(found.world.plan))
        self.assertIn(number, {each.number for each in run(small).violations})
