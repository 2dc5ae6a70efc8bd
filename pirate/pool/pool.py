"""
How many workers live: Net::Server::PreFork's algorithm, without processes, reactor or clock.

The rules, in the order in which they are applied whenever the pool is asked:

1. What was due is done: a child that never said ``waiting`` is killed, a signalled one that is still there is killed,
   and one that was asked to leave and does not is sent TERM, ABRT, which shows its stack, and KILL.
2. A reload goes on: one old child is retired for each new one that is ready.
3. Fewer than ``min-servers``: the difference is started at once.
4. Fewer idle than ``min-spare-servers``, or requests waiting with nobody idle, and fewer than ``max-servers``: more
   are started, in batches that double every second.
5. More than ``max-servers``: the difference is retired, those that are still starting first, then the idle.
6. More idle than ``max-spare-servers``, or nothing to do for half a minute and more idle than ``min-spare-servers``:
   the difference is retired, the oldest first, no sooner than ``min-child-ttl`` after the last start and
   ``check-for-waiting`` after the last retirement.
7. A worker that is older than ``max-age`` or larger than ``max-memory``, or will soon have had its ``max-requests``, is
   counted no more, so that another takes its place; it goes on meanwhile, and is retired when nobody is missing.
8. A dequeue child is started when one is due.

Those that are on their way out make room for others within ``max-servers``; but there are never more than twice
``max-servers`` in all, so that workers which hang when they should leave do not pile up.

A child that fails to start, or dies within a second of being ready and without a request, makes the next start wait,
twice as long each time; one that a signal from outside ends does not, unless that is all that happens.  If no child has
ever been ready, and the app cannot be loaded or three rounds have failed, the pool gives up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum
from random import Random

from pirate.pool.backoff import STABLE, Backoff
from pirate.pool.child import (
    ABRT,
    KILL,
    TERM,
    Action,
    Child,
    ChildExit,
    ChildKind,
    ChildState,
    CutOff,
    GiveUp,
    Load,
    Reloaded,
    Retire,
    Signal,
    Spawn,
    Sweep,
)
from pirate.pool.recycling import SUCCESSOR_WAIT, Recycling
from pirate.pool.reload import Reload
from pirate.pool.scaling import Scaling
from pirate.settings.limits import PoolLimits

#: Rounds of failures after which a server that has never had a ready worker gives up.
HOPELESS = 3
#: Seconds between two looks at the children's memory.
MEMORY_INTERVAL = 1.0
#: Seconds between TERM, which lets a worker finish its request, and a second TERM, which does not; then KILL.
SECOND_TERM = 0.2
LAST_GRACE = 0.8
#: What becomes of a child that was asked to leave and is still there when its time is over.
LADDER = (TERM, ABRT, KILL)
#: How many times ``max-servers`` workers there may be, with those that are on their way out.
MOST = 2


class Mode(Enum):
    """What the pool is there for at the moment."""

    RUNNING = "running"
    #: The backlog is worked off, nothing new is started but what that needs.
    DRAINING = "draining"
    #: Everybody has been asked to leave.
    CLOSING = "closing"


class Pool:
    """
    The ledger of children, and the decisions about them.

    Each call says what has happened; :meth:`check` gives what should be done about it.

    :param limits: how many, how long.
    :param random: where jitter comes from.
    :ivar mode: what the pool is there for at the moment.
    :ivar everReady: whether any worker has ever been ready.
    """

    def __init__(self, limits: PoolLimits, random: Random) -> None:
        self.limits = limits
        self.mode = Mode.RUNNING
        self._random = random
        self._children: dict[int, Child] = {}
        self._retiring = 0
        self._keys = 0
        self._reload = Reload()
        self._recycling = Recycling(random)
        self._urgent: list[Action] = []
        self._extra = 0
        self.everReady = False
        self._gaveUp = False
        self._backoff = Backoff(random)
        self._scaling = Scaling()
        self._lastSpawn = self._nextSweep = self._nextDequeue = float("-inf")
        self._cutOffAt: float | None = None

    # --- what has happened

    @property
    def children(self) -> Collection[Child]:
        """Every child that is not gone."""
        return self._children.values()

    def ready(self, child: Child, now: float) -> None:
        """A child has said ``waiting``, or ``dequeue``, for the first time."""
        if child.state is not ChildState.STARTING:
            return
        child.become(ChildState.WAITING if child.kind is ChildKind.WORKER else ChildState.DEQUEUE)
        child.ready = now
        child.killAt = None
        if child.kind is ChildKind.DEQUEUE and self.limits.dequeueTimeout:
            child.deadline(now + self.limits.dequeueTimeout, *LADDER)
        if child.kind is ChildKind.WORKER:
            self.everReady = True
            self._backoff.noteReady()
            self._reload.ready(child)
            self._recycling.ready(child, now)

    def lifetimeHalved(self, child: Child, now: float) -> bool:
        """
        A child has been given half of the requests that it had left.

        :return: whether another is to be started for it.
        """
        if not self._recycling.lifetimeHalved(child, now) or child.ending:
            return False
        child.ending = True
        child.oldAt = min(child.oldAt, now + SUCCESSOR_WAIT)
        return True

    def leaving(self, child: Child, now: float) -> None:
        """Let another take the place of a child that is on its way out, asked or of its own will."""
        if child.state in (ChildState.RETIRING, ChildState.GONE):
            return
        child.become(ChildState.RETIRING)
        self._retiring += 1
        child.ending = False
        child.deadline(now + (self.limits.reloadTimeout or float("inf")), *LADDER)

    def unreachable(self, child: Child, now: float) -> None:
        """Give a child that takes no messages a moment to end by itself."""
        if child.killAt is None or child.killAt > now + LAST_GRACE:
            child.deadline(now + LAST_GRACE, KILL)

    def exited(self, child: Child, how: ChildExit, now: float, worked: bool = False) -> None:
        """
        A child is gone.

        :param worked: whether it had been given a request: if so, its end says nothing about how workers start.
        """
        state = child.state
        child.become(ChildState.GONE)
        self._children.pop(child.key, None)
        if state is ChildState.RETIRING:
            self._retiring -= 1
        if child.kind is ChildKind.DEQUEUE or state is ChildState.RETIRING:
            return
        if child.ready is not None:
            if not worked and now - child.ready < STABLE and not how.outside:
                self._backoff.failed(child, now)
            return
        failed = True
        if how.outside and not child.verdict:
            failed = self._backoff.killed(child, now)
        else:
            self._backoff.failed(child, now)
        rounds = self._backoff.failures + self._backoff.kills
        if not self.everReady and (how.hopeless or rounds >= HOPELESS):
            if not self._gaveUp:
                self._gaveUp = True
                self._urgent.append(GiveUp(_whyNotReady(child, how)))
        elif failed and self._reload.concerns(child):
            self._urgent.append(self._endReload(f"a new worker could not start: {child.verdict or how}"))

    def abortChild(self, child: Child, now: float, why: str) -> None:
        """Stop a child that is of no use any more by a signal that makes it show its stack, then kill it."""
        if child.state is not ChildState.GONE:
            self.leaving(child, now)
            child.deadline(now + LAST_GRACE, KILL)
            self._urgent.append(Signal(child, ABRT, why))

    # --- commands

    def grow(self) -> None:
        """One worker more, at once."""
        before = self.limits.maxServers
        self.limits = self.limits.resized(1)
        self._extra += self.limits.maxServers - before

    def shrink(self) -> None:
        """One worker fewer, at once, but never fewer than 0 of min-servers and 1 of max-servers."""
        before = self.limits
        self.limits = before.resized(-1)
        self._extra -= max(before.maxServers - self.limits.maxServers, before.minServers - self.limits.minServers)

    def reload(self) -> None:
        """Replace every child by a new one, which must be ready before an old one is retired."""
        self._reload.begin()

    def drain(self, now: float, grace: float | None) -> None:
        """
        Work off what has been accepted, then close.

        :param grace: seconds; ``None``: as long as it takes.
        """
        self.mode = Mode.DRAINING
        self._cutOffAt = None if grace is None else now + grace
        if self._reload.active:
            self._urgent.append(self._endReload("the server is stopping"))

    def close(self, now: float) -> None:
        """Ask every child to leave."""
        self.mode = Mode.CLOSING
        for child in self._serving():
            self._urgent.append(self._retire(child, now))

    def abort(self, now: float) -> None:
        """Kill every child."""
        self.mode = Mode.CLOSING
        for child in self._children.values():
            self.leaving(child, now)
            self._urgent.append(Signal(child, KILL, "the server is to stop at once"))

    # --- decisions

    def check(self, now: float, load: Load) -> list[Action]:
        """What should be done now; the caller does it, all of it."""
        actions, self._urgent = self._urgent, []
        self._scaling.note(load, now)
        actions += self._overdue(now, load)
        worn = self._worn(now, load) if self.mode is Mode.RUNNING else []
        if self.mode is not Mode.CLOSING:
            actions += self._replace(now, load)
            actions += self._start(self._shortfall(now, load), now)
        if self.mode is Mode.RUNNING:
            actions += [self._retire(child, now) for child in worn if self._complete()]
            actions += [self._retire(child, now) for child in self._surplus(now, load)]
            actions += self._dequeue(now)
        if now >= self._nextSweep:
            self._nextSweep = now + self.limits.checkForDead
            actions.append(Sweep())
        self._extra = 0
        return actions

    def nextWake(self, now: float) -> float:
        """When the pool wants to be asked again, if nothing happens before."""
        times = [self._nextSweep, now + self.limits.checkForWaiting]
        times += [child.killAt for child in self._children.values() if child.killAt is not None]
        times += [
            each
            for each in (self._cutOffAt, self._backoff.until, self._scaling.nextBatch)
            if each is not None and each > now
        ]
        if self.limits.checkForDequeue and self.mode is Mode.RUNNING:
            times.append(self._nextDequeue)
        if self.limits.maxMemory:
            times.append(now + MEMORY_INTERVAL)
        if self.mode is Mode.RUNNING:
            times.append(self._recycling.nextWorn(self._serving(), now))
        return max(min(times), now)

    def mayGrow(self, now: float) -> bool:
        """Whether a shortage of idle workers, if there is one, can be acted on now."""
        return (
            self.mode is Mode.RUNNING
            and now >= self._scaling.nextBatch
            and now >= self._backoff.until
            and len(self._children) - self._retiring < self.limits.maxServers
            and len(self._children) < MOST * self.limits.maxServers
        )

    def isFailing(self, now: float) -> bool:
        """Return whether workers fail to start, or die at once, and none has lasted."""
        return self._backoff.failures > 0 and not any(
            child.ready is not None and child.ready <= now - STABLE for child in self._serving()
        )

    # --- rule 1

    def _overdue(self, now: float, load: Load) -> Iterable[Action]:
        if self._cutOffAt is not None and now >= self._cutOffAt:
            self._cutOffAt = None
            self.mode = Mode.CLOSING
            yield CutOff()
            for child in self._children.values():
                self.leaving(child, now)
                child.deadline(now + SECOND_TERM, TERM, KILL)
                yield Signal(child, TERM, "the time for stopping is over")
        for child in self._children.values():
            if child.state is ChildState.RETIRING and child.killBy == LADDER and child.key in load.idle:
                # It has nothing to do any more but to leave.
                soon = now + max(self.limits.stopTimeout, LAST_GRACE)
                child.deadline(soon if child.killAt is None else min(child.killAt, soon), *LADDER)
            if child.killAt is not None and now >= child.killAt:
                yield self._late(child, now)

    def _late(self, child: Child, now: float) -> Action:
        """Send a child the next signal, because its time is over."""
        if child.state is ChildState.STARTING:
            child.verdict = "it did not become ready in time"
        elif child.state is ChildState.DEQUEUE:
            child.verdict = f"it took longer than dequeue-timeout ({self.limits.dequeueTimeout:g} seconds)"
            self.leaving(child, now)
        elif not child.verdict:
            child.verdict = "it did not leave in time"
        name, *others = child.killBy
        child.deadline(now + LAST_GRACE, *(others or [name]))
        return Signal(child, name, child.verdict)

    # --- rule 2

    def _replace(self, now: float, load: Load) -> list[Action]:
        if not self._reload.active:
            return []
        old = self._byIdleness(self._reload.old(self._live()), load)
        going = self._reload.mayGo(old)
        actions = [self._retire(child, now) for child in going]
        if len(going) == len(old):
            # For these, others are started as for all that come to their ends: are they there?
            ending = [child for child in self._reload.old(self._serving()) if child.ending]
            if ending and not self._complete():
                return actions
            actions += [self._retire(child, now) for child in ending]
            return [*actions, self._endReload(None)]
        places = self._places()
        if places <= 0:
            # Until those are gone that should leave: otherwise each reload would add to them.
            return actions
        return [*actions, *self._start(min(self._reload.toStart(len(old) - len(going), self._live()), places), now)]

    def _endReload(self, error: str | None) -> Action:
        self._reload.end(self._children.values())
        return Reloaded(error)

    # --- rules 3 and 4

    def _shortfall(self, now: float, load: Load) -> int:
        """How many workers to start now."""
        live = self._live()
        starting = sum(child.state is ChildState.STARTING for child in live)
        self._backoff.noteSuccess(live, now)
        room = min(self.limits.maxServers - len(live), self._places())
        missing = min(max(self.limits.minServers - len(live), min(self._extra, room)), self._places())
        if self.mode is Mode.DRAINING:
            missing = min(max(missing, 0 if live else 1), room, load.backlog - starting)
        elif missing <= 0:
            missing = self._scaling.toStart(self.limits, load, len(self._idle(load)), starting, room, now)
        if missing <= 0 or now < self._backoff.until:
            return 0
        if self._backoff.wary:
            return 0 if starting else 1
        return missing

    def _start(self, count: int, now: float, kind: ChildKind = ChildKind.WORKER) -> Iterable[Action]:
        for _ in range(count):
            self._keys += 1
            self._lastSpawn = now
            lifetime = self._recycling.lifetime(self.limits)
            child = Child(self._keys, kind, lifetime, self._reload.generation, now, now + self.limits.startTimeout)
            child.oldAt = self._recycling.oldAt(self.limits, now)
            self._children[child.key] = child
            yield Spawn(child)

    # --- rules 5 to 7

    def _surplus(self, now: float, load: Load) -> list[Child]:
        """The children to retire now."""
        if self._reload.active:
            return []
        live, idle = self._live(), self._idle(load)
        least, spare = self.limits.minServers, self.limits.minSpareServers
        count = max(len(live) - self.limits.maxServers, min(-self._extra, len(live) - least, len(idle) - spare))
        if count > 0:
            return self._byIdleness(live, load)[:count]
        count = self._scaling.toRetire(self.limits, len(live), len(idle), self._lastSpawn, now)
        return sorted(idle, key=lambda child: child.born)[:count]

    def _worn(self, now: float, load: Load) -> list[Child]:
        """The workers that are too old or too large, and are to be replaced."""
        if self._reload.active:
            return []
        serving = self._serving()
        worn = [child for child in serving if self._recycling.worn(child, now, load.memory, self.limits)]
        for child in [child for child in worn if not child.ending][: self._recycling.mayEnd(serving)]:
            child.ending = True
        return [child for child in worn if child.ending]

    def _complete(self) -> bool:
        """Whether there are workers enough without those on their way out, and all of them are ready."""
        live = self._live()
        return len(live) >= self.limits.minServers and all(child.ready is not None for child in live)

    def _retire(self, child: Child, now: float) -> Action:
        if child.state is ChildState.STARTING:
            self.leaving(child, now)
            child.deadline(now + LAST_GRACE, KILL)
            return Signal(child, TERM, "it is not needed any more")
        self.leaving(child, now)
        return Retire(child)

    # --- rule 8

    def _dequeue(self, now: float) -> Iterable[Action]:
        if not self.limits.checkForDequeue or now < self._nextDequeue:
            return
        first = self._nextDequeue == float("-inf")
        self._nextDequeue = now + self.limits.checkForDequeue
        if (
            not first
            and sum(child.kind is ChildKind.DEQUEUE for child in self._children.values()) < self.limits.maxDequeue
        ):
            yield from self._start(1, now, ChildKind.DEQUEUE)

    # --- who there is

    def _places(self) -> int:
        """How many more workers there may be, if those count that were asked to leave and are still there."""
        there = [child for child in self._children.values() if child.kind is ChildKind.WORKER and not child.ending]
        places = MOST * self.limits.maxServers - len(there)
        # A second reload finds the new workers of the first beside the old: nobody leaves before there is another.
        return places if any(child.state is ChildState.RETIRING for child in there) else max(places, 1)

    def _serving(self) -> list[Child]:
        """Workers that have not been asked to leave."""
        return [
            child
            for child in self._children.values()
            if child.kind is ChildKind.WORKER and child.state in (ChildState.STARTING, ChildState.WAITING)
        ]

    def _live(self) -> list[Child]:
        """Of these, those that are there to stay."""
        return [child for child in self._serving() if not child.ending]

    def _idle(self, load: Load) -> list[Child]:
        return [child for child in self._live() if child.key in load.idle]

    @staticmethod
    def _byIdleness(children: Iterable[Child], load: Load) -> list[Child]:
        """Those that are of no use yet first; then the idle, the oldest of them first; then the busy."""
        return sorted(
            children,
            key=lambda child: (child.state is not ChildState.STARTING, child.key not in load.idle, child.born),
        )


def _whyNotReady(child: Child, how: ChildExit) -> str:
    """Tell why a child never was ready, to somebody who knows of no others."""
    if child.verdict:
        return f"a worker was killed: {child.verdict}"
    return how.words or f"a worker ended before it was ready: {how.cause}"
