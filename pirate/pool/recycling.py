"""Workers that have done enough: each works on until another is ready, so that no request waits for a start."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from random import Random

from pirate.pool.child import Child
from pirate.settings.limits import PoolLimits

#: Seconds for which no worker is too large or too old, however low the limits are: each has time for a request.
LEAST_AGE = 1.0
#: The next worker is started when the requests that are left to one will last so many times as long as a start takes.
LEAD_TIME = 3.0
#: Seconds after which one whose last requests do not come is retired without them.
SUCCESSOR_WAIT = 10.0
#: The share of the workers that may be on their way out at the same time if they could stay as well; one always may.
SHARE = 0.25
#: How much of a slow start is still reckoned with at each quicker one after it.
SLOWLY = 0.8


class Recycling:
    """
    Knows who has done enough.

    :param random: where jitter comes from.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._startTook = 0.0

    def lifetime(self, limits: PoolLimits) -> int:
        """How many requests a new worker may be given; negative: no limit."""
        return limits.maxRequests + self._random.randint(0, limits.maxRequestsJitter) if limits.maxRequests else -1

    def oldAt(self, limits: PoolLimits, now: float) -> float:
        """When a new worker will be too old."""
        return now + limits.maxAge * self._random.uniform(0.9, 1.1) if limits.maxAge else float("inf")

    def ready(self, child: Child, now: float) -> None:
        """A worker is ready, which tells how long the next will take to start."""
        self._startTook = max(now - child.born, self._startTook * SLOWLY)
        child.lifetimeHalved = now

    def lifetimeHalved(self, child: Child, now: float) -> bool:
        """
        A worker has been given half of the requests that it had left.

        :return: whether the other half, if it comes as fast, will soon be over.
        """
        took, child.lifetimeHalved = now - child.lifetimeHalved, now
        return took <= LEAD_TIME * self._startTook

    def mayEnd(self, serving: Collection[Child]) -> int:
        """How many more of those that are too old or too large may be on their way out."""
        ending = sum(child.ending for child in serving)
        return max(max(1, int((len(serving) - ending) * SHARE)) - ending, 0)

    def worn(self, child: Child, now: float, memory: Mapping[int, float], limits: PoolLimits) -> bool:
        """Whether a worker is too old or too large."""
        if child.ready is None or now - child.ready < LEAST_AGE:
            return False
        return now >= child.oldAt or memory.get(child.key, 0) > (limits.maxMemory or float("inf"))

    def nextWorn(self, serving: Collection[Child], now: float) -> float:
        """When the next worker will be too old; one that is already waits for another to be ready."""
        times = [max(child.oldAt, child.ready + LEAST_AGE) for child in serving if child.ready is not None]
        return min((time for time in times if time > now), default=float("inf"))
