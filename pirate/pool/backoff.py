"""How long to wait before the next child is started, when children fail to start."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from pirate.pool.child import Child

#: Seconds that a ready child must live for its start to have been a success.
STABLE = 1.0
#: Seconds that the next start waits after the first failure, and at most.
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0
#: Rounds of starts that were ended from outside, with none ready in between, after which the next start waits as well.
KILLS = 3
#: Seconds that it waits then, at most: what kills them may be lack of memory, which an operator is working on.
LONGEST_KILLED = 1.0


class Backoff:
    """
    A delay that doubles with every round of failures, with a quarter of jitter either way.

    A failure is what the app does: it cannot be loaded, exits, crashes at once or is never ready.  A child that
    something outside kills while it starts says nothing about that, so it counts only if :data:`KILLS` rounds end so
    and no child has become ready in between.

    :param random: where jitter comes from.
    :ivar failures: rounds of failures in a row.  Children of one round that fail together count once.
    :ivar kills: the same for children that were killed from outside while they were starting.
    :ivar until: when the next start may be.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.failures = self.kills = 0
        self.until = self._last = self._lastKill = self._firstBorn = float("-inf")

    @property
    def wary(self) -> bool:
        """Whether children should be started one at a time."""
        return self.failures > 1 or self.kills >= KILLS

    def failed(self, child: Child, now: float) -> None:
        """Count a child that could not start, or died too soon."""
        if child.born > self._last:
            if not self.failures:
                self._firstBorn = child.born
            self.failures += 1
            self._last = now
            self._wait(self.failures, LONGEST_DELAY, now)

    def killed(self, child: Child, now: float) -> bool:
        """
        Count a child that was killed from outside while it was starting.

        :return: whether that is a failure by now.
        """
        if child.born > self._lastKill:
            self.kills += 1
            self._lastKill = now
            if self.kills >= KILLS:
                self._wait(self.kills - KILLS + 1, LONGEST_KILLED, now)
        return self.kills >= KILLS

    def noteReady(self) -> None:
        """Forget the kills: a child has become ready."""
        self.kills = 0

    def noteSuccess(self, children: Iterable[Child], now: float) -> None:
        """Forget the failures if one of these children was started since they began, became ready, and has lived."""
        if self.failures and any(
            each.ready is not None and each.born >= self._firstBorn and each.ready <= now - STABLE for each in children
        ):
            self.failures = 0

    def _wait(self, rounds: int, longest: float, now: float) -> None:
        # Hours of failures make a power of two that no float can hold.
        delay = min(FIRST_DELAY * 2 ** min(rounds - 1, 30), longest)
        self.until = max(self.until, now + delay * self._random.uniform(0.75, 1.25))
