"""The number of spare workers: the part of Net::Server::PreFork's algorithm that follows the load."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pirate.settings.limits import PoolLimits

#: Seconds between two batches of spare workers, and the largest batch.
BATCH_INTERVAL = 1.0
MAX_BATCH = 32
#: Seconds without a request after which spare workers beyond ``min-spare-servers`` are retired.
QUIET_TIME = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """
    The work that the broker has, as the supervisor reports it to the pool.

    :ivar spare: the numbers of the children with little to do: a retiring one that has no request left, and any other
        one with less than half of what it can run at the same time in flight.
    :ivar backlog: how many requests wait.
    :ivar received: how many requests have been received in all.
    :ivar memory: the resident memory in MiB by the number of the child, if memory is limited.
    """

    spare: Collection[int] = ()
    backlog: int = 0
    received: int = 0
    memory: Mapping[int, float] = field(default_factory=dict)


class Scaling:
    """
    Starts spare workers quickly, and retires them slowly.

    :ivar nextBatch: when the next batch may be started.
    """

    def __init__(self) -> None:
        self._batch = 1
        self.nextBatch = self._lastScaleDown = float("-inf")
        self._received = 0
        self._lastRequest = float("-inf")

    def noteLoad(self, load: Load, now: float) -> None:
        """Note whether requests have been received since the last call."""
        if load.received != self._received or self._lastRequest == float("-inf"):
            self._received, self._lastRequest = load.received, now

    def countToStart(self, limits: PoolLimits, load: Load, spare: int, starting: int, room: int, now: float) -> int:
        """
        Return how many workers to start now: 1, 2, 4 and so on, a second apart, while too few are spare.

        :param spare: how many workers are spare.
        :param starting: how many are starting.
        :param room: how many more there may be.
        """
        wanted = limits.minSpareServers
        if load.backlog and not spare:
            wanted = max(wanted, load.backlog)
        missing = min(wanted - spare - starting, room)
        if missing <= 0:
            self._batch = 1
            return 0
        if now < self.nextBatch:
            return 0
        count = min(missing, self._batch)
        self._batch = min(self._batch * 2, MAX_BATCH)
        self.nextBatch = now + BATCH_INTERVAL
        return count

    def countToRetire(self, limits: PoolLimits, staying: int, spare: int, lastSpawn: float, now: float) -> int:
        """
        Return how many spare workers to retire now.

        :param staying: how many workers there are, without those that are leaving or being replaced.
        :param spare: how many of them are spare.
        :param lastSpawn: when a worker was last started.
        """
        if now - lastSpawn < limits.minChildTtl or now - self._lastScaleDown < limits.checkForWaiting:
            return 0
        enough = limits.minSpareServers if now - self._lastRequest >= QUIET_TIME else limits.maxSpareServers
        count = max(min(spare - enough, staying - limits.minServers), 0)
        if count:
            self._lastScaleDown = now
        return count
