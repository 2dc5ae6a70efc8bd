"""How many workers should be idle: the part of Net::Server::PreFork's algorithm that follows the load."""

from __future__ import annotations

from pirate.pool.child import Load
from pirate.settings.limits import PoolLimits

#: Seconds between two batches of spare workers, and the most of one batch.
BATCH_INTERVAL = 1.0
MAX_BATCH = 32
#: Seconds without a request after which surplus idle workers are retired.
QUIET = 30.0


class Scaling:
    """
    Has more started quickly, and some retired slowly.

    :ivar nextBatch: when the next ones may be started.
    """

    def __init__(self) -> None:
        self._batch = 1
        self.nextBatch = self._lastScaleDown = float("-inf")
        self._received = 0
        self._lastRequest = float("-inf")

    def note(self, load: Load, now: float) -> None:
        """See whether there have been requests since this was called last."""
        if load.received != self._received or self._lastRequest == float("-inf"):
            self._received, self._lastRequest = load.received, now

    def toStart(self, limits: PoolLimits, load: Load, idle: int, starting: int, room: int, now: float) -> int:
        """
        How many to start now: 1, 2, 4 and so on, a second apart, as long as too few are idle.

        :param idle: how many hold nothing.
        :param starting: how many soon will.
        :param room: how many more there may be.
        """
        wanted = limits.minSpareServers
        if load.backlog and not idle:
            wanted = max(wanted, load.backlog)
        short = min(wanted - idle - starting, room)
        if short <= 0:
            self._batch = 1
            return 0
        if now < self.nextBatch:
            return 0
        count = min(short, self._batch)
        self._batch = min(self._batch * 2, MAX_BATCH)
        self.nextBatch = now + BATCH_INTERVAL
        return count

    def toRetire(self, limits: PoolLimits, live: int, idle: int, lastSpawn: float, now: float) -> int:
        """How many of the idle to retire now, no sooner than some time after the last start and the last of these."""
        if now - lastSpawn < limits.minChildTtl or now - self._lastScaleDown < limits.checkForWaiting:
            return 0
        enough = limits.minSpareServers if now - self._lastRequest >= QUIET else limits.maxSpareServers
        count = max(min(idle - enough, live - limits.minServers), 0)
        if count:
            self._lastScaleDown = now
        return count
