"""Replacing workers that reach a limit: each works until its successor is ready, so no request waits for a start."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from random import Random

from pirate.pool.child import Child
from pirate.settings.limits import PoolLimits

#: Seconds that a worker serves, however low ``max-age`` and ``max-memory`` are, so that it has time for a request.
MIN_SERVICE_TIME = 1.0
#: A successor is started when the remaining requests of a worker will last no longer than this many starts take.
LEAD_FACTOR = 3.0
#: Seconds after which a worker with a successor is retired although it has not been given all its requests.
SUCCESSOR_WAIT = 10.0
#: The share of the workers that may be replaced at a time, beside those of a reload; one may always be.
REPLACED_SHARE = 0.25
#: The expected duration of a start falls by no more than this factor at each start that was quicker.
START_TIME_DECAY = 0.8


class Recycling:
    """
    The rules for replacing workers because of ``max-requests``, ``max-age`` and ``max-memory``.

    :param random: the source of jitter.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._startDuration = 0.0

    def chooseMaxRequests(self, limits: PoolLimits) -> int:
        """Return how many requests a new worker may be given, with jitter; negative: no limit."""
        return limits.maxRequests + self._random.randint(0, limits.maxRequestsJitter) if limits.maxRequests else -1

    def chooseRecycleTime(self, limits: PoolLimits, now: float) -> float:
        """Return when a new worker reaches ``max-age``, with a tenth of jitter either way."""
        return now + limits.maxAge * self._random.uniform(0.9, 1.1) if limits.maxAge else float("inf")

    def childReady(self, child: Child, now: float) -> None:
        """Note how long a worker took to start."""
        self._startDuration = max(now - child.spawnedAt, self._startDuration * START_TIME_DECAY)
        child.requestsHalvedAt = now

    def noteRequestsHalved(self, child: Child, now: float) -> bool:
        """
        Note that a worker has been given half of its remaining requests; return whether it needs a successor now.

        It does if the other half, at the same rate, will be over soon.
        """
        duration, child.requestsHalvedAt = now - child.requestsHalvedAt, now
        return duration <= LEAD_FACTOR * self._startDuration

    def countReplaceable(self, serving: Collection[Child]) -> int:
        """Return how many more workers may be replaced now because of age or memory."""
        beingReplaced = sum(child.beingReplaced for child in serving)
        return max(max(1, int((len(serving) - beingReplaced) * REPLACED_SHARE)) - beingReplaced, 0)

    def mayReplaceAnother(self, serving: Collection[Child]) -> bool:
        """Return whether one more worker may be replaced now because it has nearly reached ``max-requests``."""
        beingReplaced = sum(child.beingReplaced for child in serving)
        return beingReplaced < max(1, int(len(serving) * REPLACED_SHARE))

    def isExceeding(self, child: Child, now: float, memory: Mapping[int, float], limits: PoolLimits) -> bool:
        """
        Return whether a worker exceeds ``max-age`` or ``max-memory``.

        :param memory: the resident memory in MiB by the number of the child.
        """
        if child.readyAt is None or now - child.readyAt < MIN_SERVICE_TIME:
            return False
        return now >= child.recycleAt or memory.get(child.number, 0) > (limits.maxMemory or float("inf"))

    def nextExceeding(self, serving: Collection[Child], now: float) -> float:
        """Return when the next worker reaches ``max-age``; those that have reached it already do not count."""
        times = [
            max(child.recycleAt, child.readyAt + MIN_SERVICE_TIME) for child in serving if child.readyAt is not None
        ]
        return min((time for time in times if time > now), default=float("inf"))
