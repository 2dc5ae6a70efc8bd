# -*- test-case-name: pirate.test.pool.test_child -*-
"""The life of a child, and the words about its end."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from pirate.pool.child import CHILD_TRANSITIONS, Child, ChildExit, ChildKind, ChildState

STARTING, WAITING, PROCESSING, DEQUEUE, RETIRING, GONE = ChildState


def makeChild(state: ChildState = STARTING) -> Child:
    """A child in some state."""
    child = Child(1, ChildKind.WORKER, 100, 0, 5.0, 35.0)
    child.state = state
    return child


class LifeTests(SynchronousTestCase):
    """Which states may follow which."""

    def test_born(self) -> None:
        """A child begins by starting, is not ready, and is to be killed if it does not become so."""
        child = makeChild()
        self.assertEqual((child.state, child.readyAt, child.signalAt, child.signals), (STARTING, None, 35.0, ("KILL",)))

    def test_lives(self) -> None:
        """The lives that a child may have."""
        for life in (
            (WAITING, PROCESSING, WAITING, RETIRING, GONE),
            (WAITING, PROCESSING, RETIRING, GONE),
            (WAITING, GONE),
            (WAITING, PROCESSING, GONE),
            (DEQUEUE, RETIRING, GONE),
            (DEQUEUE, GONE),
            (RETIRING, GONE),
            (GONE,),
        ):
            child = makeChild()
            for state in life:
                child.become(state)
                self.assertIs(child.state, state)

    def test_table(self) -> None:
        """Every other step is refused, and leaves the child where it is."""
        for before, after in product(ChildState, ChildState):
            if after not in CHILD_TRANSITIONS[before]:
                child = makeChild(before)
                error = self.assertRaises(ValueError, child.become, after)
                self.assertIn(f"{before.value} to {after.value}", str(error))
                self.assertIs(child.state, before)

    def test_oneWay(self) -> None:
        """Nothing follows the end, nobody is born twice, and who is leaving does not come back."""
        self.assertEqual(CHILD_TRANSITIONS[GONE], frozenset())
        self.assertEqual(CHILD_TRANSITIONS[RETIRING], {GONE})
        self.assertTrue(all(STARTING not in after for after in CHILD_TRANSITIONS.values()))

    def test_everybodyMayDie(self) -> None:
        """Whatever it is doing, a child may be gone the next moment."""
        self.assertTrue(all(GONE in CHILD_TRANSITIONS[state] for state in ChildState if state is not GONE))


class ExitTests(SynchronousTestCase):
    """How a child ended, in words."""

    def test_cause(self) -> None:
        """Without words of its own, the cause."""
        self.assertEqual(str(ChildExit("signal SIGKILL")), "signal SIGKILL")

    def test_words(self) -> None:
        """What it said about it itself says more."""
        self.assertEqual(str(ChildExit("exit code 4", "cannot load 'mod.fn'")), "cannot load 'mod.fn'")
