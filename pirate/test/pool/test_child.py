# -*- test-case-name: pirate.test.pool.test_child -*-
"""The states of a child, and the description of its end."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from pirate.pool.child import CHILD_TRANSITIONS, Child, ChildExit, ChildKind, ChildState

STARTING, READY, DEQUEUE, RETIRING, GONE = ChildState


def makeChild(state: ChildState = STARTING) -> Child:
    """Return a child in some state."""
    child = Child(1, ChildKind.WORKER, 100, 0, 5.0, 35.0)
    child.state = state
    return child


class LifeTests(SynchronousTestCase):
    """The transitions between states."""

    def test_born(self) -> None:
        """A new child is starting, is not ready, and is killed at its start deadline."""
        child = makeChild()
        self.assertEqual((child.state, child.readyAt, child.signalAt, child.signals), (STARTING, None, 35.0, ("KILL",)))

    def test_lives(self) -> None:
        """A child can pass through these sequences of states."""
        for life in (
            (READY, RETIRING, GONE),
            (READY, GONE),
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
        """Every other transition is refused, and changes nothing."""
        for before, after in product(ChildState, ChildState):
            if after not in CHILD_TRANSITIONS[before]:
                child = makeChild(before)
                error = self.assertRaises(ValueError, child.become, after)
                self.assertIn(f"{before.value} to {after.value}", str(error))
                self.assertIs(child.state, before)

    def test_oneWay(self) -> None:
        """A gone child stays gone, a retiring one does not return, and none starts twice."""
        self.assertEqual(CHILD_TRANSITIONS[GONE], frozenset())
        self.assertEqual(CHILD_TRANSITIONS[RETIRING], {GONE})
        self.assertTrue(all(STARTING not in after for after in CHILD_TRANSITIONS.values()))

    def test_goneFromAnyState(self) -> None:
        """A child may be gone after any other state."""
        self.assertTrue(all(GONE in CHILD_TRANSITIONS[state] for state in ChildState if state is not GONE))


class ExitTests(SynchronousTestCase):
    """The description of a child's end."""

    def test_cause(self) -> None:
        """Without a message, the cause describes the end."""
        self.assertEqual(str(ChildExit("signal SIGKILL")), "signal SIGKILL")

    def test_words(self) -> None:
        """The message of the child takes precedence."""
        self.assertEqual(str(ChildExit("exit code 4", "cannot load 'mod.fn'")), "cannot load 'mod.fn'")
