"""
The number of workers: Net::Server::PreFork's algorithm, without processes, reactor or clock.

:meth:`Pool.decide` applies these rules in this order:

1. Deadlines.  At the end of ``stop-timeout``, the unanswered requests are given up, and every child is signalled.  A
   child that is not ready within ``start-timeout`` is killed.  A child that was asked to leave and has not left in time
   is sent TERM, then ABRT, which makes it write its stack, then KILL.
2. Recycling.  A worker that exceeds ``max-age`` or ``max-memory``, or has nearly reached ``max-requests``, no longer
   counts, so that rule 4 starts a successor.  The worker goes on working.  If there is no place for a successor, it
   counts again until there is one.
3. Reload.  One old worker is retired for each new one that is ready, and at once those in excess of ``max-servers``.
4. With fewer than ``min-servers`` workers, the difference is started at once.
5. With fewer than ``min-spare-servers`` spare workers, or with requests waiting and none spare, more workers are
   started, up to ``max-servers``, in batches that double every second.
6. The workers that are being replaced are retired when enough others are ready.  One that has nearly reached
   ``max-requests`` first gets the requests that it has left, for ``SUCCESSOR_WAIT`` seconds at most.
7. With more than ``max-servers`` workers, the difference is retired: the starting ones first, then the spare ones.
8. With more than ``max-spare-servers`` spare workers, or after half a minute without a request more than
   ``min-spare-servers``, the difference is retired, the oldest first, no sooner than ``min-child-ttl`` after the last
   start and ``check-for-waiting`` after the last such retirement.
9. A dequeue child is started when one is due.
10. Children whose end was not reported are looked for every ``check-for-dead`` seconds.

While the server drains, only rules 1, 4 and 10 apply, and workers are started only for the accepted requests.  While it
closes, only rules 1 and 10 apply.

A worker is spare if it is ready and less than half of what it can run at the same time is in flight: a worker that runs
one request at a time is spare when it is idle.

Workers that are being replaced do not count towards ``max-servers``.  No worker is started if there are twice
``max-servers`` in all, the retiring ones included, so that workers which hang when they should leave do not pile up.

A worker that fails to start, or ends within a second of being ready and without having had a request, delays the next
start, twice as long each time.  One that is ended by a signal from outside does not, unless all starts end so.  If no
worker has ever been ready, and the app cannot be loaded or three rounds of starts have failed, the pool gives up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum
from random import Random

from pirate.pool.actions import AbandonRequests, Action, GiveUp, Reloaded, Retire, Signal, Spawn, Sweep
from pirate.pool.backoff import STABLE_TIME, Backoff
from pirate.pool.child import ABRT, KILL, TERM, Child, ChildExit, ChildKind, ChildState
from pirate.pool.recycling import SUCCESSOR_WAIT, Recycling
from pirate.pool.reload import Reload
from pirate.pool.scaling import Load, Scaling
from pirate.settings.limits import PoolLimits

#: Rounds of failed starts after which a server that has never had a ready worker gives up.
MAX_FIRST_FAILURES = 3
#: Seconds between two measurements of the children's memory.
MEMORY_INTERVAL = 1.0
#: Seconds from the first TERM, which lets a worker finish its request, to the second, which does not; and from then to
#: KILL.
SECOND_TERM_DELAY = 0.2
KILL_DELAY = 0.8
#: The signals for a child that was asked to leave and has not left in time.
LEAVE_SIGNALS = (TERM, ABRT, KILL)
#: The most workers in all, those that are being replaced or retiring included, as a multiple of ``max-servers``.
TOTAL_FACTOR = 2


class Mode(Enum):
    """The phase of the pool."""

    RUNNING = "running"
    #: Accepted requests are served; workers are started only if these need them.
    DRAINING = "draining"
    #: Every child has been asked to leave.
    CLOSING = "closing"


class Pool:
    """
    The children, and the decisions about them.

    The caller reports each event by a method, and then carries out the actions that :meth:`decide` returns.

    :param limits: how many workers may live, and how long.
    :param random: the source of jitter.
    :ivar limits: the limits that hold now; :meth:`reconfigure` changes them.
    :ivar mode: the phase of the pool.
    :ivar everReady: whether a worker has ever been ready.
    """

    def __init__(self, limits: PoolLimits, random: Random) -> None:
        self.limits = limits
        self.mode = Mode.RUNNING
        self._children: dict[int, Child] = {}
        self._lastNumber = 0
        self._reload = Reload()
        self._recycling = Recycling(random)
        self._backoff = Backoff(random)
        self._scaling = Scaling()
        self._urgent: list[Action] = []
        # How many workers to start at once beyond the other rules; negative: how many to retire.
        self._extra = 0
        # How many more workers the last decision left room for.
        self._room = limits.maxServers
        self.everReady = False
        self._gaveUp = False
        self._lastSpawn = self._nextSweep = self._nextDequeue = float("-inf")
        self._abandonAt: float | None = None

    # --- events

    @property
    def children(self) -> Collection[Child]:
        """The children that are not gone."""
        return self._children.values()

    def childReady(self, child: Child, now: float) -> None:
        """Note that a child has announced itself for the first time."""
        if child.state is not ChildState.STARTING:
            return
        child.become(ChildState.READY if child.kind is ChildKind.WORKER else ChildState.DEQUEUE)
        child.readyAt = now
        child.signalAt = None
        if child.kind is ChildKind.DEQUEUE and self.limits.dequeueTimeout:
            child.setDeadline(now + self.limits.dequeueTimeout, *LEAVE_SIGNALS)
        if child.kind is ChildKind.WORKER:
            self.everReady = True
            self._backoff.childReady()
            self._reload.childReady(child)
            self._recycling.childReady(child, now)

    def requestsHalfUsed(self, child: Child, now: float) -> bool:
        """
        Note that a child has been given half of the requests that it had left.

        :return: whether a successor has to be started.
        """
        if not self._recycling.noteRequestsHalved(child, now) or child.beingReplaced:
            return False
        if not self._recycling.mayReplaceAnother(self._serving()) or not self._isReplaceable():
            return False
        child.beingReplaced = True
        child.recycleAt = min(child.recycleAt, now + SUCCESSOR_WAIT)
        return True

    def childLeaving(self, child: Child, now: float) -> None:
        """Note that a child is leaving, asked or not, so that another can take its place."""
        if child.state in (ChildState.RETIRING, ChildState.GONE):
            return
        child.become(ChildState.RETIRING)
        child.beingReplaced = False
        child.setDeadline(now + (self.limits.reloadTimeout or float("inf")), *LEAVE_SIGNALS)

    def childUnreachable(self, child: Child, now: float) -> None:
        """Give a child that accepts no messages a moment to end by itself, then kill it."""
        if child.signalAt is None or child.signalAt > now + KILL_DELAY:
            child.setDeadline(now + KILL_DELAY, KILL)

    def childExited(self, child: Child, how: ChildExit, now: float, worked: bool = False) -> None:
        """
        Remove a child whose process has ended.

        :param how: how it ended.
        :param worked: whether it had been given a request; if so, its end says nothing about how workers start.
        """
        state = child.state
        child.become(ChildState.GONE)
        self._children.pop(child.number, None)
        if child.kind is ChildKind.DEQUEUE or state is ChildState.RETIRING:
            return
        if child.readyAt is not None:
            if not worked and now - child.readyAt < STABLE_TIME and not how.killed:
                self._backoff.startFailed(child, now)
            return
        failed = True
        if how.killed and not child.signalReason:
            failed = self._backoff.startKilled(child, now)
        else:
            self._backoff.startFailed(child, now)
        rounds = self._backoff.failures + self._backoff.kills
        if not self.everReady and (how.fatal or rounds >= MAX_FIRST_FAILURES):
            if not self._gaveUp:
                self._gaveUp = True
                self._urgent.append(GiveUp(_describeFailedStart(child, how)))
        elif failed and self._reload.isReplacement(child):
            self._urgent.append(self._endReload(f"a new worker could not start: {child.signalReason or how}"))

    def abortChild(self, child: Child, now: float, why: str) -> None:
        """Stop a child by a signal that makes it write its stack, then kill it."""
        if child.state is not ChildState.GONE:
            self.childLeaving(child, now)
            child.setDeadline(now + KILL_DELAY, KILL)
            self._urgent.append(Signal(child, ABRT, why))

    # --- commands

    def reconfigure(self, limits: PoolLimits) -> None:
        """Change the limits."""
        self.limits = limits

    def grow(self) -> None:
        """Raise ``min-servers`` and ``max-servers`` by one, and start a worker at once."""
        before = self.limits.maxServers
        self.limits = self.limits.resized(1)
        self._extra += self.limits.maxServers - before

    def shrink(self) -> None:
        """Lower ``min-servers`` (down to 0) and ``max-servers`` (down to 1) by one, and retire a worker at once."""
        before = self.limits
        self.limits = before.resized(-1)
        self._extra -= max(before.maxServers - self.limits.maxServers, before.minServers - self.limits.minServers)

    def reload(self) -> None:
        """Begin to replace every worker by a new one."""
        self._reload.begin()

    def drain(self, now: float, grace: float | None) -> None:
        """
        Retire nothing, and start only what the accepted requests need.

        :param grace: seconds until these are given up; ``None``: never.
        """
        self.mode = Mode.DRAINING
        self._abandonAt = None if grace is None else now + grace
        if self._reload.active:
            self._urgent.append(self._endReload("the server is stopping"))

    def close(self, now: float) -> None:
        """
        Ask every child to leave.

        A dequeue child reads no messages: it is signalled if its callable does not return within ``stop-timeout``.
        """
        self.mode = Mode.CLOSING
        for child in self._children.values():
            if child.state is not ChildState.RETIRING:
                self._urgent.append(self._retire(child, now))

    def abort(self, now: float) -> None:
        """Kill every child."""
        self.mode = Mode.CLOSING
        for child in self._children.values():
            self.childLeaving(child, now)
            self._urgent.append(Signal(child, KILL, "the server stops at once"))

    # --- decisions

    def decide(self, now: float, load: Load) -> list[Action]:
        """Return the actions that are due; the caller carries out all of them."""
        actions, self._urgent = self._urgent, []
        self._scaling.noteLoad(load, now)
        actions += self._signalOverdue(now, load)
        exceeding = self._selectExceeding(now, load) if self.mode is Mode.RUNNING else []
        if self.mode is not Mode.CLOSING:
            actions += self._continueReload(now, load)
            actions += self._spawn(self._countMissing(now, load), now)
        if self.mode is Mode.RUNNING:
            actions += [self._retire(child, now) for child in exceeding if self._isComplete()]
            actions += [self._retire(child, now) for child in self._selectSurplus(now, load)]
            actions += self._spawnDequeue(now)
        actions += self._sweep(now)
        # While a reload is in progress, a worker to be retired because of :meth:`shrink` waits for its end.
        self._extra = min(self._extra, 0) if self._reload.active else 0
        self._room = self._countRoom(self._staying())
        return actions

    def nextDecision(self, now: float) -> float:
        """Return when :meth:`decide` has to be called if nothing happens before."""
        times = [self._nextSweep, now + self.limits.checkForWaiting]
        times += [child.signalAt for child in self._children.values() if child.signalAt is not None]
        times += [
            time
            for time in (self._abandonAt, self._backoff.until, self._scaling.nextBatch)
            if time is not None and time > now
        ]
        if self.limits.checkForDequeue and self.mode is Mode.RUNNING:
            times.append(self._nextDequeue)
        if self.limits.maxMemory:
            times.append(now + MEMORY_INTERVAL)
        if self.mode is Mode.RUNNING:
            times.append(self._recycling.nextExceeding(self._serving(), now))
        return max(min(times), now)

    def canGrow(self, now: float) -> bool:
        """Return whether rule 5 could start workers now; the room for them is what the last decision has left."""
        return (
            self._room > 0
            and self.mode is Mode.RUNNING
            and now >= self._scaling.nextBatch
            and now >= self._backoff.until
        )

    def isFailing(self, now: float) -> bool:
        """Return whether workers fail to start, or end at once, and none has been stable."""
        return self._backoff.failures > 0 and not any(
            child.readyAt is not None and child.readyAt <= now - STABLE_TIME for child in self._serving()
        )

    # --- rule 1: deadlines

    def _signalOverdue(self, now: float, load: Load) -> Iterable[Action]:
        if self._abandonAt is not None and now >= self._abandonAt:
            self._abandonAt = None
            self.mode = Mode.CLOSING
            yield AbandonRequests()
            for child in self._children.values():
                self.childLeaving(child, now)
                child.setDeadline(now + SECOND_TERM_DELAY, TERM, KILL)
                yield Signal(child, TERM, "stop-timeout is over")
        for child in self._children.values():
            if child.state is ChildState.RETIRING and child.signals == LEAVE_SIGNALS and child.number in load.spare:
                # It has no work left, so stop-timeout is long enough for it to leave.
                soon = now + max(self.limits.stopTimeout, KILL_DELAY)
                child.setDeadline(soon if child.signalAt is None else min(child.signalAt, soon), *LEAVE_SIGNALS)
            if child.signalAt is not None and now >= child.signalAt:
                yield self._signal(child, now)

    def _signal(self, child: Child, now: float) -> Action:
        """Return the next signal for a child that has missed its deadline, and set the next deadline."""
        if child.state is ChildState.STARTING:
            child.signalReason = "it did not become ready in time"
        elif child.state is ChildState.DEQUEUE:
            child.signalReason = f"it took longer than dequeue-timeout ({self.limits.dequeueTimeout:g} seconds)"
            self.childLeaving(child, now)
        elif not child.signalReason:
            child.signalReason = "it did not leave in time"
        name, *others = child.signals
        child.setDeadline(now + KILL_DELAY, *(others or [name]))
        return Signal(child, name, child.signalReason)

    # --- rules 2 and 6: recycling

    def _selectExceeding(self, now: float, load: Load) -> list[Child]:
        """Return the workers that are being replaced for their age or memory, after adding those due to be."""
        self._cancelReplacements()
        if self._reload.active:
            return []
        serving = self._serving()
        exceeding = [child for child in serving if self._recycling.isExceeding(child, now, load.memory, self.limits)]
        others = [child for child in exceeding if not child.beingReplaced]
        for child in others[: self._recycling.countReplaceable(serving)]:
            child.beingReplaced = self._isReplaceable()
        return [child for child in exceeding if child.beingReplaced]

    def _cancelReplacements(self) -> None:
        """Let workers that are being replaced count again if there is no place for the successors that they need."""
        lacking = self.limits.minServers - len(self._staying()) - max(self._countPlaces(), 0)
        for child in [child for child in self._serving() if child.beingReplaced][: max(lacking, 0)]:
            child.beingReplaced = False

    def _isReplaceable(self) -> bool:
        """Return whether there is a place for the successor of one more worker."""
        return self._countPlaces() > max(self.limits.minServers - len(self._staying()), 0)

    def _isComplete(self) -> bool:
        """Return whether there are enough workers without those that are being replaced, and all of them are ready."""
        staying = self._staying()
        return len(staying) >= self.limits.minServers and all(child.readyAt is not None for child in staying)

    # --- rule 3: reload

    def _continueReload(self, now: float, load: Load) -> list[Action]:
        if not self._reload.active:
            return []
        staying = self._staying()
        old = self._sortByUse(self._reload.selectOld(staying), load)
        replaced = sum(child.readyAt is not None for child in staying) - sum(child.readyAt is not None for child in old)
        retired = self._reload.takeRetirable(old, len(old) + replaced - self.limits.maxServers)
        actions = [self._retire(child, now) for child in retired]
        if len(retired) == len(old):
            # Rule 4 starts the successors of those that are being replaced; the reload ends when they are ready.
            beingReplaced = [child for child in self._reload.selectOld(self._serving()) if child.beingReplaced]
            if beingReplaced and not self._isComplete():
                return actions
            actions += [self._retire(child, now) for child in beingReplaced]
            return [*actions, self._endReload(None)]
        places = self._countPlaces()
        if places <= 0:
            # Wait until children that should leave are gone; otherwise each reload would add to them.
            if self._isComplete():
                actions += [self._retire(child, now) for child in self._serving() if child.beingReplaced]
            return actions
        count = min(self._reload.countToStart(len(old) - len(retired), self._staying()), places)
        return [*actions, *self._spawn(count, now)]

    def _endReload(self, error: str | None) -> Action:
        self._reload.end(self._children.values())
        return Reloaded(error)

    # --- rules 4 and 5: too few workers

    def _countMissing(self, now: float, load: Load) -> int:
        """Return how many workers to start now."""
        staying = self._staying()
        starting = sum(child.state is ChildState.STARTING for child in staying)
        self._backoff.forgetIfStable(staying, now)
        room = self._countRoom(staying)
        missing = min(max(self.limits.minServers - len(staying), min(self._extra, room)), self._countPlaces())
        if self.mode is Mode.DRAINING:
            missing = min(max(missing, 0 if staying else 1), room, load.backlog - starting)
        elif missing <= 0:
            spare = len(self._selectSpare(load))
            missing = self._scaling.countToStart(self.limits, load, spare, starting, room, now)
        if missing <= 0 or now < self._backoff.until:
            return 0
        if self._backoff.cautious:
            return 0 if starting else 1
        return missing

    def _spawn(self, count: int, now: float, kind: ChildKind = ChildKind.WORKER) -> Iterable[Action]:
        for _ in range(count):
            self._lastNumber += 1
            self._lastSpawn = now
            maxRequests = self._recycling.chooseMaxRequests(self.limits)
            child = Child(
                self._lastNumber, kind, maxRequests, self._reload.generation, now, now + self.limits.startTimeout
            )
            child.recycleAt = self._recycling.chooseRecycleTime(self.limits, now)
            self._children[child.number] = child
            yield Spawn(child)

    # --- rules 7 and 8: too many workers

    def _selectSurplus(self, now: float, load: Load) -> list[Child]:
        """Return the children to retire now because there are too many."""
        if self._reload.active:
            return []
        staying, spare = self._staying(), self._selectSpare(load)
        retirable = min(len(staying) - self.limits.minServers, len(spare) - self.limits.minSpareServers)
        count = max(len(staying) - self.limits.maxServers, min(-self._extra, retirable))
        if count > 0:
            return self._sortByUse(staying, load)[:count]
        count = self._scaling.countToRetire(self.limits, len(staying), len(spare), self._lastSpawn, now)
        return sorted(spare, key=lambda child: child.spawnedAt)[:count]

    def _retire(self, child: Child, now: float) -> Action:
        if child.state is ChildState.STARTING:
            self.childLeaving(child, now)
            child.setDeadline(now + KILL_DELAY, KILL)
            return Signal(child, TERM, "it is not needed any more")
        self.childLeaving(child, now)
        return Retire(child)

    # --- rules 9 and 10: dequeue, and unnoticed ends

    def _spawnDequeue(self, now: float) -> Iterable[Action]:
        if not self.limits.checkForDequeue or now < self._nextDequeue:
            return
        first = self._nextDequeue == float("-inf")
        self._nextDequeue = now + self.limits.checkForDequeue
        if (
            not first
            and sum(child.kind is ChildKind.DEQUEUE for child in self._children.values()) < self.limits.maxDequeue
        ):
            yield from self._spawn(1, now, ChildKind.DEQUEUE)

    def _sweep(self, now: float) -> Iterable[Action]:
        if now >= self._nextSweep:
            self._nextSweep = now + self.limits.checkForDead
            yield Sweep()

    # --- selections

    def _countPlaces(self) -> int:
        """Return how many workers may be started before there are ``TOTAL_FACTOR`` times ``max-servers``."""
        present = sum(child.kind is ChildKind.WORKER for child in self._children.values())
        return TOTAL_FACTOR * self.limits.maxServers - present

    def _countRoom(self, staying: Collection[Child]) -> int:
        """Return how many workers may be started before there are ``max-servers``, if there are places for them."""
        return min(self.limits.maxServers - len(staying), self._countPlaces())

    def _serving(self) -> list[Child]:
        """Return the workers that have not been asked to leave."""
        return [
            child
            for child in self._children.values()
            if child.kind is ChildKind.WORKER and child.state in (ChildState.STARTING, ChildState.READY)
        ]

    def _staying(self) -> list[Child]:
        """Return the workers that have not been asked to leave and are not being replaced."""
        return [child for child in self._serving() if not child.beingReplaced]

    def _selectSpare(self, load: Load) -> list[Child]:
        return [child for child in self._staying() if child.number in load.spare]

    @staticmethod
    def _sortByUse(children: Iterable[Child], load: Load) -> list[Child]:
        """Return the starting children first, then the spare, then the others; the oldest of each first."""
        return sorted(
            children,
            key=lambda child: (child.state is not ChildState.STARTING, child.number not in load.spare, child.spawnedAt),
        )


def _describeFailedStart(child: Child, how: ChildExit) -> str:
    """Describe why a child was never ready, to a reader who has not seen the failures of others."""
    if child.signalReason:
        return f"a worker was killed: {child.signalReason}"
    return how.message or f"a worker ended before it was ready: {how.cause}"
