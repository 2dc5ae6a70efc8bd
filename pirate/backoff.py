"""How long to wait before the next child is started, when children fail to start."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from pirate.child import Child

#: Seconds that a ready child must live for its start to have been a success.
STABLE = 1.0
#: Seconds that the next start waits after the first failure, and at most.
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0


class Backoff:
    """
    A delay that doubles with every round of failures, with a quarter of jitter either way.

    :param random: where jitter comes from.
    :ivar failures: rounds of failures in a row.  Children of one round that fail together count once.
    :ivar until: when the next start may be.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.failures = 0
        self.until = self._last = float("-inf")

    def failed(self, child: Child, now: float) -> None:
        """A child could not start, or died too soon."""
        if child.born > self._last:
            self.failures += 1
            self._last = now
            # Hours of failures make a power of two that no float can hold.
            delay = min(FIRST_DELAY * 2 ** min(self.failures - 1, 30), LONGEST_DELAY)
            self.until = now + delay * self._random.uniform(0.75, 1.25)

    def noteSuccess(self, children: Iterable[Child], now: float) -> None:
        """Forget the failures if one of these children became ready after the last of them, and has lived."""
        if self.failures and any(
            each.ready is not None and self._last < each.ready <= now - STABLE for each in children
        ):
            self.failures = 0
