"""The delay before the next start while children fail to start."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from pirate.pool.child import Child

#: Seconds that a ready child must live for its start to count as a success.
STABLE_TIME = 1.0
#: Seconds before the next start after the first failure, and the longest delay.
FIRST_DELAY, MAX_DELAY = 0.1, 5.0
#: Rounds of starts ended from outside, with no child ready in between, after which starts are delayed too.
MAX_KILLED_ROUNDS = 3
#: The longest delay then, in seconds: the cause may be a lack of memory that an operator is already working on.
MAX_KILLED_DELAY = 1.0


class Backoff:
    """
    A delay that doubles with each round of failures, with a quarter of jitter either way.

    A failure is caused by the app: it cannot be loaded, exits, crashes at once or is never ready.  A child that is
    killed from outside while it starts says nothing about the app, so kills count only when
    :data:`MAX_KILLED_ROUNDS` rounds end so and no child has become ready in between.

    :param random: the source of jitter.
    :ivar failures: consecutive rounds of failures.  Children of one round that fail together count once.
    :ivar kills: the same for children that were killed from outside while they were starting.
    :ivar until: the time before which nothing is started.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.failures = self.kills = 0
        self.until = self._lastFailure = self._lastKill = self._firstSpawn = float("-inf")

    @property
    def cautious(self) -> bool:
        """``True`` if children are started one at a time."""
        return self.failures > 1 or self.kills >= MAX_KILLED_ROUNDS

    def startFailed(self, child: Child, now: float) -> None:
        """Count a child that could not start, or that ended too soon."""
        if child.spawnedAt > self._lastFailure:
            if not self.failures:
                self._firstSpawn = child.spawnedAt
            self.failures += 1
            self._lastFailure = now
            self._delay(self.failures, MAX_DELAY, now)

    def startKilled(self, child: Child, now: float) -> bool:
        """
        Count a child that was killed from outside while it was starting.

        :return: whether kills count as failures by now.
        """
        if child.spawnedAt > self._lastKill:
            self.kills += 1
            self._lastKill = now
            if self.kills >= MAX_KILLED_ROUNDS:
                self._delay(self.kills - MAX_KILLED_ROUNDS + 1, MAX_KILLED_DELAY, now)
        return self.kills >= MAX_KILLED_ROUNDS

    def childReady(self) -> None:
        """Forget the kills, because a child has become ready."""
        self.kills = 0

    def forgetIfStable(self, children: Iterable[Child], now: float) -> None:
        """Forget the failures if one of the children was spawned since they began, became ready, and has lived on."""
        if self.failures and any(
            child.readyAt is not None and child.spawnedAt >= self._firstSpawn and child.readyAt <= now - STABLE_TIME
            for child in children
        ):
            self.failures = 0

    def _delay(self, rounds: int, longest: float, now: float) -> None:
        # The exponent is bounded: after hours of failures the power would exceed what a float can hold.
        delay = min(FIRST_DELAY * 2 ** min(rounds - 1, 30), longest)
        self.until = max(self.until, now + delay * self._random.uniform(0.75, 1.25))
