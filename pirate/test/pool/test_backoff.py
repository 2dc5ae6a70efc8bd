# -*- test-case-name: pirate.test.pool.test_backoff -*-
"""The delay before the next start."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from pirate.pool.backoff import FIRST_DELAY, MAX_DELAY, MAX_KILLED_DELAY, MAX_KILLED_ROUNDS, STABLE_TIME, Backoff
from pirate.pool.child import Child, ChildKind


def makeChild(spawnedAt: float, ready: float | None = None) -> Child:
    """Return a worker of a certain age."""
    child = Child(1, ChildKind.WORKER, -1, 0, spawnedAt, spawnedAt + 30)
    child.readyAt = ready
    return child


class Middle(Random):
    """A source of no jitter."""

    def uniform(self, a: float, b: float) -> float:
        """Return the middle."""
        return (a + b) / 2


class BackoffTests(SynchronousTestCase):
    """Rounds of failures, and the delays that follow."""

    def test_atFirst(self) -> None:
        """Nothing is delayed before the first failure."""
        backoff = Backoff(Middle())
        self.assertEqual(backoff.failures, 0)
        self.assertLess(backoff.until, 0)

    def test_doubling(self) -> None:
        """The delay doubles with each round, up to the longest."""
        backoff, now, delays = Backoff(Middle()), 0.0, []
        for _ in range(12):
            backoff.startFailed(makeChild(now), now)
            delays.append(backoff.until - now)
            now = backoff.until
        self.assertEqual([round(delay, 6) for delay in delays[:4]], [0.1, 0.2, 0.4, 0.8])
        self.assertEqual(round(max(delays), 6), MAX_DELAY)
        self.assertEqual([round(delay, 6) for delay in delays], sorted(round(delay, 6) for delay in delays))

    def test_forHours(self) -> None:
        """After thousands of rounds the delay is still the longest."""
        backoff, now = Backoff(Middle()), 0.0
        for _ in range(5000):
            backoff.startFailed(makeChild(now), now)
            self.assertLessEqual(backoff.until - now, MAX_DELAY * 1.001)
            now = backoff.until
        self.assertEqual(backoff.failures, 5000)

    def test_jitter(self) -> None:
        """The jitter is a quarter either way, so that servers which failed together do not try again together."""
        delays = []
        for seed in range(200):
            backoff = Backoff(Random(seed))
            backoff.startFailed(makeChild(0.0), 0.0)
            delays.append(backoff.until)
        self.assertTrue(all(FIRST_DELAY * 0.75 <= delay <= FIRST_DELAY * 1.25 for delay in delays))
        self.assertGreater(max(delays) - min(delays), FIRST_DELAY * 0.4)

    def test_oneRound(self) -> None:
        """Children of one round that fail one after the other count once."""
        backoff = Backoff(Middle())
        for at in (0.5, 0.6, 0.7):
            backoff.startFailed(makeChild(0.0), at)
        self.assertEqual((backoff.failures, round(backoff.until, 6)), (1, 0.6))
        backoff.startFailed(makeChild(0.6), 0.9)
        self.assertEqual(backoff.failures, 2)

    def test_oneMoment(self) -> None:
        """Children that fail at the moment of their start, as when the system has no process left, count once."""
        backoff = Backoff(Middle())
        for _ in range(5):
            backoff.startFailed(makeChild(7.0), 7.0)
        self.assertEqual(backoff.failures, 1)

    def test_success(self) -> None:
        """The failures are forgotten when a child that started since has been ready for a second."""
        backoff = Backoff(Middle())
        backoff.startFailed(makeChild(0.0), 1.0)
        child = makeChild(1.1, ready=2.0)
        backoff.forgetIfStable([child], 2.0 + STABLE_TIME - 0.01)
        self.assertEqual(backoff.failures, 1)
        backoff.forgetIfStable([child], 2.0 + STABLE_TIME)
        self.assertEqual(backoff.failures, 0)
        backoff.startFailed(makeChild(4.0), 4.0)
        self.assertEqual(round(backoff.until - 4.0, 6), FIRST_DELAY)

    def test_noSuccess(self) -> None:
        """A child that started before the failures, or was never ready, does not end them."""
        backoff = Backoff(Middle())
        backoff.startFailed(makeChild(0.0), 5.0)
        backoff.forgetIfStable([makeChild(-0.1, ready=1.0), makeChild(5.0)], 100.0)
        self.assertEqual(backoff.failures, 1)

    def test_siblings(self) -> None:
        """The failures are forgotten when one child of a failed round is stable, and counted again if another fails."""
        backoff = Backoff(Middle())
        backoff.startFailed(makeChild(1.0), 1.5)
        backoff.startFailed(makeChild(2.0), 2.5)
        backoff.forgetIfStable([makeChild(1.0, ready=1.4)], 1.4 + STABLE_TIME)
        self.assertEqual((backoff.failures, backoff.cautious), (0, False))
        backoff.startFailed(makeChild(3.0), 3.5)
        backoff.forgetIfStable([makeChild(1.0, ready=1.4)], 100.0)
        self.assertEqual(backoff.failures, 1)

    def test_killed(self) -> None:
        """Children that are killed from outside while they start are no failures."""
        backoff = Backoff(Middle())
        for now in range(1, MAX_KILLED_ROUNDS):
            self.assertFalse(backoff.startKilled(makeChild(now), now + 0.5))
        self.assertEqual((backoff.failures, backoff.until, backoff.cautious), (0, float("-inf"), False))

    def test_killedTogether(self) -> None:
        """Kills of one round count once."""
        backoff = Backoff(Middle())
        self.assertEqual([backoff.startKilled(makeChild(1.0), 2.0 + number / 10) for number in range(9)], [False] * 9)

    def test_alwaysKilled(self) -> None:
        """If every round is killed, starts are delayed by up to a second."""
        backoff, now, delays = Backoff(Middle()), 1.0, []
        for _ in range(MAX_KILLED_ROUNDS + 8):
            backoff.startKilled(makeChild(now), now + 0.1)
            delays.append(max(backoff.until - now - 0.1, 0))
            now = max(now + 0.2, backoff.until)
        self.assertEqual([round(delay, 6) for delay in delays[: MAX_KILLED_ROUNDS + 2]], [0, 0, 0.1, 0.2, 0.4])
        self.assertEqual(round(max(delays), 6), MAX_KILLED_DELAY)
        self.assertTrue(backoff.cautious)

    def test_readyBetweenKills(self) -> None:
        """A child that becomes ready between the kills ends their count."""
        backoff = Backoff(Middle())
        for now in range(1, 50):
            self.assertFalse(backoff.startKilled(makeChild(now), now + 0.5))
            if not now % (MAX_KILLED_ROUNDS - 1):
                backoff.childReady()
        self.assertFalse(backoff.cautious)

    def test_timeZero(self) -> None:
        """A clock may begin at 0, or below."""
        backoff = Backoff(Middle())
        backoff.startFailed(makeChild(-2.0), -1.0)
        backoff.forgetIfStable([makeChild(-0.5, ready=0.0)], 1.0)
        self.assertEqual(backoff.failures, 0)
