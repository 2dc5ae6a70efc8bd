# -*- test-case-name: pirate.test.pool.test_pool -*-
"""How many workers live: every rule of the pool, with numbers for time and values for children."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.pool.actions import Action, CutOff, GiveUp, Reloaded, Retire, Signal, Spawn, Sweep
from pirate.pool.backoff import MAX_DELAY
from pirate.pool.child import Child, ChildExit, ChildKind, ChildState
from pirate.pool.pool import KILL_DELAY, SECOND_TERM_DELAY, Mode, Pool
from pirate.pool.recycling import SUCCESSOR_WAIT
from pirate.pool.scaling import MAX_BATCH, QUIET_TIME, Load
from pirate.settings.limits import PoolLimits
from pirate.test.support.pool import CRASHED, HOPELESS, LEFT, PoolBench


def keys(children: Iterable[Child]) -> list[int]:
    """The pool's numbers for some children."""
    return [child.key for child in children]


class StartTests(SynchronousTestCase):
    """Rule 3: ``min-servers`` are kept alive."""

    def test_atOnce(self) -> None:
        """All of the first are started together, and not again while they are starting."""
        yard = PoolBench(minServers=7)
        children = yard.spawned()
        self.assertEqual(
            [(child.state, child.kind) for child in children], [(ChildState.STARTING, ChildKind.WORKER)] * 7
        )
        self.assertEqual(len(set(keys(children))), 7)
        self.assertEqual(yard.spawned(0.5), [])

    def test_refill(self) -> None:
        """Killed workers are replaced at once, all of them, without a request."""
        yard = PoolBench()
        yard.gone(yard.started())
        self.assertEqual(len(yard.spawned()), 5)

    def test_refillOne(self) -> None:
        """One is replaced by one."""
        yard = PoolBench()
        yard.gone(yard.started()[:1])
        self.assertEqual(len(yard.spawned()), 1)

    def test_retiredAreReplaced(self) -> None:
        """One that is on its way out counts no more: its successor need not wait for its end."""
        yard = PoolBench()
        child = yard.started()[2]
        yard.pool.childLeaving(child, yard.now)
        self.assertEqual(len(yard.spawned()), 1)
        yard.gone([child], LEFT)
        self.assertEqual(yard.spawned(), [])

    def test_none(self) -> None:
        """Without workers of its own a server starts none, however many requests wait."""
        yard = PoolBench(minServers=0, maxServers=0)
        yard.backlog = 1000
        self.assertEqual([yard.ask(seconds) for seconds in (0, 1, 10, 100)], [[]] * 4)

    def test_onDemand(self) -> None:
        """With none at least, the first is started for the first request."""
        yard = PoolBench(minServers=0)
        self.assertEqual(yard.ask(), [])
        yard.backlog = 1
        self.assertEqual(len(yard.spawned()), 1)

    def test_limitsAtRunTime(self) -> None:
        """New limits hold at once."""
        yard = PoolBench(minServers=2)
        yard.started()
        yard.pool.limits = PoolLimits(minServers=6)
        self.assertEqual(len(yard.spawned()), 4)


class LifetimeTests(SynchronousTestCase):
    """How many requests a worker is given."""

    def lifetimes(self, **limits: Any) -> set[int]:
        """Those of two hundred workers."""
        yard = PoolBench(minServers=200, **limits)
        return {child.lifetime for child in yard.spawned()}

    def test_jitter(self) -> None:
        """From ``max-requests`` up to the jitter more, so that workers that started together do not end together."""
        found = self.lifetimes(maxRequests=1000)
        self.assertTrue(1000 <= min(found) < 1010 and 1090 < max(found) <= 1100, found)
        self.assertEqual(self.lifetimes(maxRequests=10, maxRequestsJitter=2), {10, 11, 12})

    def test_noJitter(self) -> None:
        """Without jitter it is what was given."""
        self.assertEqual(self.lifetimes(maxRequests=50, maxRequestsJitter=0), {50})

    def test_endless(self) -> None:
        """0 means for ever."""
        self.assertTrue(all(lifetime < 0 for lifetime in self.lifetimes(maxRequests=0, maxRequestsJitter=5)))


class SpareTests(SynchronousTestCase):
    """Rule 4: more are started when too few are idle."""

    def test_enough(self) -> None:
        """As many idle as ``min-spare-servers``: nothing happens."""
        yard = PoolBench()
        yard.busy = set(keys(yard.started()[:3]))
        self.assertEqual(yard.ask(), [])

    def test_short(self) -> None:
        """One fewer: one is started, and counts as idle as long as it is starting."""
        yard = PoolBench()
        yard.busy = set(keys(yard.started()[:4]))
        self.assertEqual(len(yard.spawned()), 1)
        self.assertEqual([yard.ask(seconds) for seconds in (1, 1, 1)], [[]] * 3)

    def test_doubling(self) -> None:
        """A great shortage is met in batches of 1, 2, 4 ... one a second."""
        yard = PoolBench(minServers=1, maxServers=200, minSpareServers=100, maxSpareServers=150)
        self.assertEqual(len(yard.spawned()), 1 + 1)
        self.assertEqual(yard.spawned(0.5), [])
        self.assertEqual(yard.pool.nextDecision(yard.now), yard.now + 0.5)
        batches = [len(yard.spawned(1.0 if batch else 0.5)) for batch in range(8)]
        self.assertEqual(batches, [2, 4, 8, 16, 32, 32, 4, 0])
        self.assertEqual(max(batches), MAX_BATCH)

    def test_doublingStartsAnew(self) -> None:
        """After a shortage is over the next one begins with a batch of 1."""
        yard = PoolBench(minServers=1, maxServers=50, minSpareServers=4)
        yard.spawned()
        for _ in range(3):
            yard.spawned(1.0)
        children = yard.ready(yard.pool.children)
        self.assertEqual(yard.ask(60.0), [])
        yard.busy = set(keys(children))
        self.assertEqual([len(yard.spawned(1.0)) for _ in range(3)], [1, 2, 1])

    def test_backlog(self) -> None:
        """With nobody idle, as many are wanted as requests wait."""
        yard = PoolBench(minServers=2, minSpareServers=0)
        yard.busy = set(keys(yard.started()))
        self.assertEqual(yard.ask(), [])
        yard.backlog = 6
        batches = [yard.spawned(1.0) for _ in range(4)]
        self.assertEqual([len(batch) for batch in batches], [1, 2, 3, 0])

    def test_backlogWithIdle(self) -> None:
        """While somebody is idle a backlog is a matter of the next moment."""
        yard = PoolBench(minServers=5, minSpareServers=1)
        yard.busy = set(keys(yard.started()[1:]))
        yard.backlog = 100
        self.assertEqual(yard.ask(), [])

    def test_most(self) -> None:
        """Never more than ``max-servers``, whatever is waiting."""
        yard = PoolBench(minServers=1, maxServers=6, minSpareServers=4)
        yard.backlog = 1000
        for _ in range(20):
            for child in yard.ready(yard.spawned(1.0)):
                yard.busy.add(child.key)
        self.assertEqual(len(yard.pool.children), 6)

    def test_mayGrow(self) -> None:
        """A shortage is worth a question only if something could be done about it now."""
        yard = PoolBench(minServers=1, maxServers=3, minSpareServers=1)
        self.assertTrue(yard.pool.canGrow(yard.now))
        yard.busy = set(keys(yard.started()))
        self.assertEqual(len(yard.spawned()), 1)
        self.assertFalse(yard.pool.canGrow(yard.now))
        self.assertTrue(yard.pool.canGrow(yard.now + 1))
        yard.busy |= set(keys(yard.pool.children))
        yard.ready(yard.pool.children)
        self.assertEqual(len(yard.spawned(1.0)), 1)
        self.assertFalse(yard.pool.canGrow(yard.now + 1))
        yard.pool.drain(yard.now, None)
        yard.gone(list(yard.pool.children))
        self.assertFalse(yard.pool.canGrow(yard.now + 100))


class SurplusTests(SynchronousTestCase):
    """Rule 6: some are retired when too many are idle."""

    def crowd(self, count: int = 15, **limits: Any) -> PoolBench:
        """So many idle workers, each a second older than the next, the last 60 seconds old."""
        yard = PoolBench(**{"minServers": 1, "minSpareServers": 1, **limits})
        yard.pool.limits = PoolLimits(minServers=count, maxServers=50)
        for child in yard.ready(yard.spawned()):
            child.spawnedAt += child.key
        yard.now += 60
        yard.ask()
        yard.pool.limits = PoolLimits(**{"minServers": 1, "minSpareServers": 1, **limits})
        yard.received += 1
        return yard

    def test_oldestIdle(self) -> None:
        """The difference is retired, those first that have lived longest."""
        yard = self.crowd(15, maxSpareServers=10)
        self.assertEqual(keys(yard.retired()), [1, 2, 3, 4, 5])
        self.assertEqual({child.state for child in list(yard.pool.children)[:5]}, {ChildState.RETIRING})
        self.assertEqual(yard.ask(), [])

    def test_notBusy(self) -> None:
        """Busy ones stay, however old."""
        yard = self.crowd(15, maxSpareServers=10)
        yard.busy = {1, 3}
        self.assertEqual(keys(yard.retired()), [2, 4, 5])

    def test_notBelowLeast(self) -> None:
        """``min-servers`` stay."""
        yard = self.crowd(15, minServers=13, maxSpareServers=5)
        self.assertEqual(len(yard.retired()), 2)

    def test_restAfterStart(self) -> None:
        """Not within ``min-child-ttl`` of the last start: the load that it was for may come back."""
        yard = self.crowd(15, maxSpareServers=10, minChildTtl=20)
        yard.gone([next(iter(yard.pool.children))])
        yard.pool.limits = PoolLimits(minServers=15, maxSpareServers=10, minChildTtl=20)
        yard.ready(yard.spawned())
        yard.pool.limits = PoolLimits(minServers=1, minSpareServers=1, maxSpareServers=10, minChildTtl=20)
        self.assertEqual([yard.ask(seconds) for seconds in (0, 10, 9.9)], [[]] * 3)
        self.assertEqual(len(yard.retired(0.1)), 5)

    def test_restAfterRetirement(self) -> None:
        """Not within ``check-for-waiting`` of the last retirement either."""
        yard = self.crowd(15, maxSpareServers=10, checkForWaiting=7)
        self.assertEqual(len(yard.retired()), 5)
        yard.pool.limits = PoolLimits(minServers=1, minSpareServers=1, maxSpareServers=4, checkForWaiting=7)
        self.assertEqual([yard.ask(seconds) for seconds in (0, 6.9)], [[]] * 2)
        self.assertEqual(len(yard.retired(0.1)), 6)

    def test_quiet(self) -> None:
        """With no request for half a minute, ``min-spare-servers`` idle ones are enough."""
        yard = self.crowd(8, minSpareServers=3)
        self.assertEqual(yard.ask(), [])
        self.assertEqual(yard.ask(QUIET_TIME - 0.1), [])
        self.assertEqual(len(yard.retired(0.1)), 5)

    def test_notQuiet(self) -> None:
        """One request in between, and it is half a minute from then."""
        yard = self.crowd(8, minSpareServers=3)
        yard.ask(QUIET_TIME - 0.1)
        yard.received += 1
        self.assertEqual([yard.ask(seconds) for seconds in (0.1, QUIET_TIME - 0.1)], [[]] * 2)
        self.assertEqual(len(yard.retired(0.1)), 5)

    def test_notQuietAtFirst(self) -> None:
        """The half minute begins with the server."""
        yard = PoolBench(minServers=1, minSpareServers=1, minChildTtl=0)
        yard.pool.limits = PoolLimits(minServers=6, minChildTtl=0)
        yard.ready(yard.spawned())
        yard.pool.limits = PoolLimits(minServers=1, minSpareServers=1, minChildTtl=0)
        self.assertEqual(yard.ask(QUIET_TIME - 0.1), [])
        self.assertEqual(len(yard.retired(0.1)), 5)


class OverTests(SynchronousTestCase):
    """Rule 5: more than ``max-servers``."""

    def test_atOnce(self) -> None:
        """They leave at once, however young: first those of no use yet, then the idle, then the busy, each by age."""
        yard = PoolBench(minServers=8, maxServers=50)
        children = yard.spawned()
        yard.ready(children[:7])
        yard.busy = {1, 2, 3, 4}
        for most, action in ((7, Signal), (5, Retire), (3, Retire), (2, Retire)):
            yard.pool.limits = PoolLimits(minServers=1, maxServers=most, minSpareServers=0)
            self.assertEqual({type(each) for each in yard.ask()}, {action})
        left = [child.key for child in children if child.state is ChildState.WAITING]
        self.assertEqual(left, [3, 4])

    def test_starting(self) -> None:
        """One that is still starting is ended by a signal, and its end is no failure."""
        yard = PoolBench(minServers=2)
        children = yard.spawned()
        yard.pool.limits = PoolLimits(minServers=0, maxServers=1, minSpareServers=0)
        self.assertEqual(yard.signals(), [(1, "TERM")])
        self.assertEqual(yard.signals(KILL_DELAY), [(1, "KILL")])
        yard.gone(children[:1])
        yard.pool.limits = PoolLimits(minServers=2)
        self.assertEqual(len(yard.spawned()), 1)


class ResizeTests(SynchronousTestCase):
    """TTIN and TTOU."""

    def test_grow(self) -> None:
        """One more at once, to stay."""
        yard = PoolBench(minServers=3, maxServers=3)
        yard.started()
        yard.pool.grow()
        self.assertEqual(len(yard.ready(yard.spawned())), 1)
        self.assertEqual((yard.pool.limits.minServers, yard.pool.limits.maxServers), (4, 4))
        self.assertEqual(yard.ask(100), [])

    def test_growAboveLeast(self) -> None:
        """One more also where there are more than ``min-servers`` already."""
        yard = PoolBench(minServers=1, minSpareServers=0)
        yard.started()
        yard.pool.limits = PoolLimits(minServers=0, minSpareServers=0)
        yard.pool.grow()
        self.assertEqual(len(yard.spawned()), 1)

    def test_growTwice(self) -> None:
        """Two asked for together are two."""
        yard = PoolBench(minServers=3)
        yard.started()
        yard.pool.grow()
        yard.pool.grow()
        self.assertEqual(len(yard.spawned()), 2)

    def test_growFromNothing(self) -> None:
        """A broker without workers gets one."""
        yard = PoolBench(minServers=0, maxServers=0)
        yard.ask()
        yard.pool.grow()
        self.assertEqual(len(yard.spawned()), 1)

    def test_shrink(self) -> None:
        """One fewer at once, the oldest idle one; nothing waits for the next scale-down."""
        yard = PoolBench(minServers=5)
        yard.ready(yard.spawned())
        yard.busy = {1}
        yard.pool.shrink()
        self.assertEqual(keys(yard.retired()), [2])
        self.assertEqual((yard.pool.limits.minServers, yard.pool.limits.maxServers), (4, 49))

    def test_shrinkBelow(self) -> None:
        """With no ``min-servers`` left, the last one stays as ``max-servers`` allows it."""
        yard = PoolBench(minServers=1, maxServers=2)
        yard.started()
        for _ in range(5):
            yard.pool.shrink()
        self.assertEqual(yard.ask(), [])
        self.assertEqual((yard.pool.limits.minServers, yard.pool.limits.maxServers), (0, 1))

    def test_both(self) -> None:
        """One more and one fewer is as before."""
        yard = PoolBench(minServers=3)
        yard.started()
        yard.pool.grow()
        yard.pool.shrink()
        self.assertEqual(yard.ask(), [])
        self.assertEqual(yard.pool.limits.minServers, 3)


class TimeoutTests(SynchronousTestCase):
    """Rule 1: what is late."""

    def test_start(self) -> None:
        """One that is not ready within ``start-timeout`` is killed, again and again if that is not enough."""
        yard = PoolBench(minServers=2, startTimeout=5)
        children = yard.spawned()
        yard.ready(children[:1])
        self.assertEqual(yard.signals(4.9), [])
        self.assertEqual(yard.pool.nextDecision(yard.now), 105.0)
        self.assertEqual(yard.signals(0.1), [(2, "KILL")])
        self.assertEqual(yard.signals(KILL_DELAY - 0.1), [])
        self.assertEqual(yard.signals(0.1), [(2, "KILL")])

    def test_startIsAFailure(self) -> None:
        """Its end counts as a failure to start."""
        yard = PoolBench(minServers=1, startTimeout=5)
        children = yard.spawned()
        yard.signals(5)
        yard.gone(children)
        self.assertEqual(yard.spawned(0.01), [])
        self.assertEqual(len(yard.spawned(0.2)), 1)

    def test_ready(self) -> None:
        """Once ready, nobody kills it, however long it is at work."""
        yard = PoolBench(minServers=1, startTimeout=5)
        child = yard.started()[0]
        yard.busy = {child.key}
        yard.pool.limits = PoolLimits(minServers=1, maxServers=1)
        self.assertEqual([yard.ask(1000.0) for _ in range(3)], [[]] * 3)

    def test_leaving(self) -> None:
        """One that was asked to leave, holds nothing and does not go, is stopped after ``stop-timeout``."""
        yard = PoolBench(minServers=2, maxServers=2, stopTimeout=12)
        yard.started()
        yard.pool.shrink()
        (child,) = yard.retired()
        self.assertEqual(yard.signals(11.9), [])
        self.assertEqual(yard.signals(0.1), [(child.key, "TERM")])
        self.assertEqual(yard.signals(KILL_DELAY), [(child.key, "ABRT")])
        for _ in range(2):
            self.assertEqual(yard.signals(KILL_DELAY), [(child.key, "KILL")])

    def test_leavingBusy(self) -> None:
        """That time begins when it holds nothing any more; without a ``reload-timeout``, nothing ends it before."""
        yard = PoolBench(minServers=2, maxServers=2, stopTimeout=12, reloadTimeout=0)
        yard.busy = set(keys(yard.started()))
        yard.pool.shrink()
        (child,) = yard.retired()
        self.assertEqual(yard.signals(1000), [])
        yard.busy.clear()
        self.assertEqual(yard.signals(), [])
        self.assertEqual(yard.signals(11.9), [])
        self.assertEqual(yard.signals(0.1), [(child.key, "TERM")])

    def test_noTimeToLeave(self) -> None:
        """Even a ``stop-timeout`` of 0 leaves it the time that leaving takes."""
        yard = PoolBench(minServers=2, maxServers=2, stopTimeout=0)
        yard.started()
        yard.pool.shrink()
        yard.retired()
        self.assertEqual(yard.signals(KILL_DELAY / 2), [])
        self.assertEqual(len(yard.signals(KILL_DELAY / 2)), 1)

    def test_sweep(self) -> None:
        """Every ``check-for-dead`` seconds it is looked for those who died unnoticed."""
        pool = Pool(PoolLimits(minServers=0, checkForDead=30), Random(1))
        found = [
            sum(isinstance(each, Sweep) for each in pool.decide(now, Load())) for now in (0.0, 29.0, 30.0, 31.0, 60.0)
        ]
        self.assertEqual(found, [1, 0, 1, 0, 1])


class AgeTests(SynchronousTestCase):
    """Workers that grow old, or large."""

    def test_worksOn(self) -> None:
        """One that is too old goes when another is ready, and not before."""
        yard = PoolBench(minServers=1, maxServers=1, maxAge=100)
        [old] = yard.started()
        [new] = yard.spawned(60)
        self.assertEqual(yard.ask(5), [])
        yard.ready([new])
        self.assertEqual(yard.retired(), [old])
        self.assertEqual(yard.ask(5), [])

    def test_noSuccessor(self) -> None:
        """While no other can start, the old one stays."""
        yard = PoolBench(minServers=1, maxServers=1, maxAge=100)
        [old] = yard.started()
        for _ in range(5):
            yard.gone(yard.spawned(60), CRASHED)
        self.assertEqual([child.state for child in yard.pool.children if child is old], [ChildState.WAITING])

    def test_notAllAtOnce(self) -> None:
        """If all are too large, a quarter is replaced at a time, so that there is memory for the new ones."""
        yard = PoolBench(minServers=8, minSpareServers=1, maxMemory=100)
        old = yard.started()
        yard.memory = {child.key: 200.0 for child in old}
        yard.busy = {child.key for child in old}
        steps = []
        for _ in range(4):
            actions = yard.ask(1)
            new = [action.child for action in actions if isinstance(action, Spawn)]
            steps.append((len(new), len(actions) - len(new)))
            yard.ready(new)
        self.assertEqual(steps, [(2, 0), (2, 2), (2, 2), (2, 2)])

    def test_timeForARequest(self) -> None:
        """However low the limits are, each has a second, so that there is not a start after the other."""
        for limits in ({"maxMemory": 1}, {"maxAge": 0.1}):
            yard = PoolBench(minServers=1, maxServers=1, **limits)
            yard.memory = dict.fromkeys(range(10), 200.0)
            [old] = yard.ready(yard.spawned())
            for _ in range(3):
                self.assertEqual(yard.ask(0.9), [])
                self.assertLessEqual(yard.pool.nextDecision(yard.now), yard.now + 1)
                [new] = yard.ready(yard.spawned(0.1))
                self.assertEqual(yard.retired(), [old])
                yard.left()
                old = new

    def test_surplus(self) -> None:
        """If there are enough without it, one that is too old is not replaced."""
        yard = PoolBench(minServers=1, maxServers=4, minSpareServers=1, maxAge=100)
        [old] = yard.started()
        yard.busy = {old.key}
        yard.ready(yard.spawned())
        yard.busy = set()
        self.assertEqual(yard.retired(60), [old])

    def test_draining(self) -> None:
        """While the server stops, nobody is woken for a worker's age."""
        yard = PoolBench(minServers=1, maxAge=3)
        yard.started()
        yard.now += 10
        yard.pool.drain(yard.now, 60)
        yard.ask()
        self.assertGreater(yard.pool.nextDecision(yard.now), yard.now + 1)


class LastRequestsTests(SynchronousTestCase):
    """Workers that will soon have had their ``max-requests``."""

    def lifetimeHalved(self, yard: PoolBench, child: Child, seconds: float) -> bool:
        """Some time later, a child has been given half of the requests that it had left."""
        yard.now += seconds
        return yard.pool.lifetimeHalved(child, yard.now)

    def yard(self, **limits: Any) -> tuple[PoolBench, list[Child]]:
        """Workers each of which took 2 seconds to start."""
        yard = PoolBench(**limits)
        children = yard.spawned()
        yard.now += 2
        return yard, yard.ready(children)

    def test_inTime(self) -> None:
        """Another is started when the rest will be over in no more than three times what a start takes."""
        yard, [child] = self.yard(minServers=1, maxServers=1)
        self.assertEqual([self.lifetimeHalved(yard, child, seconds) for seconds in (60, 30, 15, 7)], [False] * 4)
        self.assertEqual(yard.spawned(), [])
        self.assertTrue(self.lifetimeHalved(yard, child, 4))
        self.assertEqual(len(yard.spawned()), 1)
        self.assertFalse(self.lifetimeHalved(yard, child, 2))
        self.assertEqual(yard.spawned(), [])

    def test_goesOn(self) -> None:
        """When the other is ready, it gets the requests that it has left; none is started when it has gone."""
        yard, [child] = self.yard(minServers=1, maxServers=1)
        self.lifetimeHalved(yard, child, 5)
        yard.ready(yard.spawned())
        self.assertEqual(yard.ask(), [])
        yard.pool.childLeaving(child, yard.now)
        self.assertEqual(yard.ask(), [])
        yard.gone([child], LEFT)
        self.assertEqual(yard.ask(), [])

    def test_noMoreRequests(self) -> None:
        """If its last requests do not come, it is retired all the same."""
        yard, [child] = self.yard(minServers=1, maxServers=1)
        self.lifetimeHalved(yard, child, 5)
        yard.ready(yard.spawned())
        self.assertEqual(yard.ask(SUCCESSOR_WAIT - 0.1), [])
        self.assertEqual(yard.retired(0.1), [child])

    def test_together(self) -> None:
        """Of several that come to their ends together, each is replaced in time."""
        yard, children = self.yard(minServers=3, maxServers=3)
        self.assertEqual([self.lifetimeHalved(yard, each, 1) for each in children], [True] * 3)
        self.assertEqual(len(yard.spawned()), 3)

    def test_slowStarts(self) -> None:
        """A start that was slow, as one is while the machine is busy, counts for some time."""
        yard, [child] = self.yard(minServers=1, maxServers=1)
        yard.pool.childLeaving(child, yard.now)
        [quick] = yard.ready(yard.spawned())
        self.assertFalse(self.lifetimeHalved(yard, quick, 5))
        self.assertTrue(self.lifetimeHalved(yard, quick, 4))

    def test_closing(self) -> None:
        """One whose successor has come is asked to leave like all others when the server stops."""
        yard, [child] = self.yard(minServers=1, maxServers=1)
        self.lifetimeHalved(yard, child, 5)
        [other] = yard.ready(yard.spawned())
        yard.pool.close(yard.now)
        self.assertEqual(yard.retired(), [child, other])

    def test_reload(self) -> None:
        """A reload replaces it too."""
        yard, [child] = self.yard(minServers=1, maxServers=1)
        self.lifetimeHalved(yard, child, 5)
        [other] = yard.ready(yard.spawned())
        yard.pool.reload()
        gone = []
        for _ in range(4):
            for action in yard.ask(1):
                if isinstance(action, Spawn):
                    yard.ready([action.child])
                elif isinstance(action, Retire):
                    gone.append(action.child)
                    yard.gone([action.child], LEFT)
        self.assertEqual(sorted(keys(gone)), keys([child, other]))

    def test_reloadOfTheLast(self) -> None:
        """One that comes to its end during a reload goes when the new one is ready, and the reload ends then."""
        yard, [child] = self.yard(minServers=1, maxServers=1)
        yard.pool.reload()
        [new] = yard.spawned()
        self.lifetimeHalved(yard, child, 5)
        self.assertEqual(yard.ask(SUCCESSOR_WAIT), [])
        yard.ready([new])
        self.assertEqual(yard.ask(), [Retire(child), Reloaded(None)])

    def test_reloadOfABrokenApp(self) -> None:
        """One that has no successor, because none can start, stays when a reload fails for the same reason."""
        yard, [child] = self.yard(minServers=1, maxServers=1)
        self.lifetimeHalved(yard, child, 5)
        yard.gone(yard.spawned(), CRASHED)
        yard.pool.reload()
        self.assertEqual(yard.ask(), [])
        yard.gone(yard.spawned(5), CRASHED)
        [reloaded] = yard.ask()
        assert isinstance(reloaded, Reloaded)
        self.assertIn("could not start", reloaded.error or "")
        self.assertIs(child.state, ChildState.WAITING)


class BackoffTests(SynchronousTestCase):
    """Children that fail to start, later on."""

    def crashed(self, **limits: Any) -> PoolBench:
        """A server that was well, all of whose workers have just died, and whose new ones fail."""
        yard = PoolBench(**limits)
        yard.gone(yard.started())
        yard.gone(yard.spawned(), CRASHED)
        return yard

    def test_noStorm(self) -> None:
        """The next start waits; after the second round one at a time is tried, each after a longer wait."""
        yard = self.crashed(minServers=5)
        self.assertEqual(yard.ask(), [])
        starts = []
        for _ in range(4000):
            children = yard.spawned(0.05)
            if children:
                starts.append((round(yard.now - 160, 2), len(children)))
                yard.gone(children, CRASHED)
        self.assertEqual([count for _, count in starts[:4]], [5, 1, 1, 1])
        waits = [after - before for (before, _), (after, _) in pairwise(starts)]
        self.assertTrue(all(wait <= MAX_DELAY * 1.25 + 0.1 for wait in waits), waits)
        self.assertTrue(all(wait >= MAX_DELAY * 0.75 - 0.1 for wait in waits[8:]), waits)
        self.assertLess(len(starts), 60)

    def test_wakes(self) -> None:
        """The pool wakes when the wait is over, not before and not much later."""
        yard = self.crashed(minServers=1)
        for _ in range(6):
            wake = yard.pool.nextDecision(yard.now)
            self.assertGreater(wake, yard.now)
            children = yard.spawned(wake - yard.now)
            self.assertEqual(len(children), 1)
            yard.gone(children, CRASHED)

    def test_neverGivesUp(self) -> None:
        """A server that has been well waits for better times, even if the app cannot be loaded any more."""
        yard = self.crashed(minServers=3)
        for _ in range(20):
            actions = yard.ask(30.0)
            self.assertTrue(actions and all(isinstance(action, Spawn) for action in actions))
            yard.gone([action.child for action in actions if isinstance(action, Spawn)], HOPELESS)

    def test_recovers(self) -> None:
        """When one is ready again and lives for a second, all that are missing follow at once."""
        yard = self.crashed(minServers=5)
        for _ in range(3):
            children = yard.spawned(30.0)
            yard.gone(children, CRASHED)
        first = yard.ready(yard.spawned(30.0))
        second = yard.ready(yard.spawned())
        self.assertEqual((len(first), len(second)), (1, 1))
        third = yard.spawned()
        self.assertEqual(len(third), 1)
        self.assertEqual(len(yard.spawned(1.0)), 2)
        yard.ready(yard.pool.children)
        yard.gone(list(yard.pool.children), CRASHED)
        self.assertEqual(yard.ask(), [])

    def test_isFailing(self) -> None:
        """The pool is failing from the first failed start until a worker has lived for a second."""
        yard = PoolBench(minServers=2)
        yard.started()
        self.assertFalse(yard.pool.isFailing(yard.now))
        yard = self.crashed(minServers=2)
        self.assertTrue(yard.pool.isFailing(yard.now))
        yard.ready(yard.spawned(30.0))
        self.assertEqual([yard.pool.isFailing(yard.now + age) for age in (0.0, 0.9, 1.0)], [True, True, False])

    def test_diesYoung(self) -> None:
        """To die within a second of being ready is a failure to start as well; later it is not."""
        yard = PoolBench(minServers=1)
        yard.started()
        for age, count in ((1.0, 1), (0.9, 0)):
            yard.gone(list(yard.pool.children), CRASHED)
            yard.ready(yard.spawned(100.0))
            yard.now += age
            yard.gone(list(yard.pool.children), CRASHED)
            self.assertEqual(len(yard.spawned()), count)

    def test_retiredYoung(self) -> None:
        """To leave young because one was asked to is none."""
        yard = PoolBench(minServers=1)
        (child,) = yard.ready(yard.spawned())
        yard.pool.childLeaving(child, yard.now)
        yard.ready(yard.spawned())
        yard.gone([child], LEFT)
        yard.gone(list(yard.pool.children), CRASHED)
        self.assertEqual(yard.spawned(), [])


class OutsideTests(SynchronousTestCase):
    """Workers that something outside kills, again and again."""

    def simulate(self, yard: PoolBench, seconds: float, kill: Callable[[list[Child]], Child | None]) -> list[int]:
        """
        Let time pass in steps of a sixtieth of a second; a worker takes 0.3 seconds to become ready.

        :param kill: called six times a second with all children for the one that is killed.
        :return: how many were ready at each step.
        """
        counts = []
        for step in range(int(seconds * 60)):
            if step % 10 == 0:
                victim = kill(list(yard.pool.children))
                yard.gone([] if victim is None else [victim])
            yard.ready(child for child in yard.pool.children if yard.now - child.spawnedAt >= 0.3)
            yard.ask(1 / 60)
            counts.append(sum(child.readyAt is not None for child in yard.pool.children))
        return counts

    def test_anyone(self) -> None:
        """Six kills a second, those of workers that are starting among them, leave a pool of ten near ten."""
        yard = PoolBench(minServers=10, maxServers=10)
        yard.started()
        counts = self.simulate(yard, 60, Random(1).choice)
        self.assertGreater(sum(counts) / len(counts), 7.5)
        self.assertGreaterEqual(min(counts), 5)

    def test_thoseThatStart(self) -> None:
        """If it is always a worker that is starting which is killed, the pool still fills."""
        yard = PoolBench(minServers=10, maxServers=10)
        yard.gone(yard.started())
        counts = self.simulate(
            yard, 20, lambda children: next((child for child in children if child.readyAt is None), None)
        )
        self.assertGreaterEqual(counts[-1], 8)

    def test_all(self) -> None:
        """If every start ends so, as when there is no memory, they come one at a time and a second apart."""
        yard = PoolBench(minServers=10, maxServers=10)
        yard.gone(yard.started())
        starts = 0
        for _ in range(600):
            children = yard.spawned(0.1)
            starts += len(children)
            yard.gone(children)
        self.assertLess(starts, 3 * 10 + 60 / 0.7)

    def test_reload(self) -> None:
        """A new worker that is killed does not end a reload; three rounds of them do."""
        yard = PoolBench(minServers=2, maxServers=2)
        yard.started()
        yard.pool.reload()
        for _ in range(2):
            yard.gone(yard.spawned(1.0))
        yard.gone(yard.spawned(1.0))
        self.assertEqual([type(action) for action in yard.ask(1.0)], [Reloaded])

    def test_crashSignal(self) -> None:
        """A signal that the app brings upon itself is a failure to start."""
        yard = PoolBench(minServers=1)
        yard.gone(yard.started())
        yard.gone(yard.spawned(), ChildExit("signal SIGSEGV"))
        self.assertEqual(yard.spawned(), [])


class RetiredTests(SynchronousTestCase):
    """Workers that were asked to leave, and hang."""

    def hang(self, yard: PoolBench) -> list[Child]:
        """Let every worker that is there, and every one that comes, be busy for ever."""
        yard.busy = set(range(1000))
        return yard.started()

    def test_ladder(self) -> None:
        """After ``reload-timeout`` it is sent TERM, then ABRT, which shows its stack, then KILL."""
        yard = PoolBench(minServers=2, maxServers=2, reloadTimeout=20)
        self.hang(yard)
        yard.pool.shrink()
        (child,) = yard.retired()
        self.assertEqual(yard.signals(19.9), [])
        self.assertEqual(yard.signals(0.1), [(child.key, "TERM")])
        self.assertEqual(yard.signals(KILL_DELAY), [(child.key, "ABRT")])
        self.assertEqual(yard.signals(KILL_DELAY), [(child.key, "KILL")])

    def test_everyRetirement(self) -> None:
        """The same holds for reloads, for age, and for those that leave after their last request or by themselves."""
        for cause in ("reload", "age", "leaves"):
            yard = PoolBench(minServers=1, maxServers=1, reloadTimeout=20, maxAge=100 if cause == "age" else 0)
            (child,) = self.hang(yard)
            if cause == "reload":
                yard.pool.reload()
            elif cause == "leaves":
                yard.pool.childLeaving(child, yard.now)
            yard.ready(yard.spawned(60 if cause == "age" else 0))
            yard.ask()
            self.assertIs(child.state, ChildState.RETIRING, cause)
            self.assertEqual(yard.signals(20), [(child.key, "TERM")], cause)

    def test_manyReloads(self) -> None:
        """However often it is reloaded, there are no more than twice ``max-servers``; the reload goes on later."""
        yard = PoolBench(minServers=4, maxServers=4, reloadTimeout=20)
        self.hang(yard)
        most = 0
        for _ in range(10):
            yard.pool.reload()
            for _ in range(10):
                yard.ready(action.child for action in yard.ask(0.01) if isinstance(action, Spawn))
                most = max(most, len(yard.pool.children))
        self.assertEqual(most, 8)
        yard.left()
        for _ in range(10):
            actions = yard.ask(0.01)
            yard.ready(action.child for action in actions if isinstance(action, Spawn))
            if Reloaded(None) in actions:
                return
        self.fail("the reload did not end")

    def test_recycling(self) -> None:
        """Nor do those pile up that hang in their last request."""
        yard = PoolBench(minServers=2, maxServers=2, reloadTimeout=20)
        self.hang(yard)
        for _ in range(10):
            for child in list(yard.pool.children):
                if child.readyAt is not None:
                    yard.pool.childLeaving(child, yard.now)
            yard.backlog = 100
            yard.ready(action.child for action in yard.ask(0.1) if isinstance(action, Spawn))
        self.assertEqual(len(yard.pool.children), 4)
        yard.left()
        self.assertEqual(len(yard.spawned(0.1)), 2)


class GiveUpTests(SynchronousTestCase):
    """Children that fail to start at the very first."""

    def test_hopeless(self) -> None:
        """An app that cannot be loaded: the server is stopped at once, once, with what the worker said."""
        yard = PoolBench(minServers=5)
        children = yard.spawned()
        yard.gone(children[:1], HOPELESS)
        self.assertEqual(yard.ask(), [GiveUp("cannot load 'mod.fn'")])
        yard.gone(children[1:], HOPELESS)
        self.assertEqual(yard.ask(), [])

    def test_threeRounds(self) -> None:
        """Anything else is tried three times."""
        yard = PoolBench(minServers=4)
        for _ in range(2):
            yard.gone(yard.spawned(1.0), CRASHED)
            self.assertEqual(yard.ask(), [])
        yard.gone(yard.spawned(1.0), CRASHED)
        self.assertEqual(yard.ask(), [GiveUp("cannot use it")])

    def test_silent(self) -> None:
        """One that ends without a word is told by how it ended."""
        yard = PoolBench(minServers=1)
        for _ in range(3):
            yard.gone(yard.spawned(1.0), ChildExit("signal SIGSEGV"))
        self.assertEqual(yard.ask(), [GiveUp("a worker ended before it was ready: signal SIGSEGV")])

    def test_killed(self) -> None:
        """So is one that is killed, or not ready in time."""
        yard = PoolBench(minServers=1, startTimeout=5)
        for _ in range(3):
            children = yard.spawned(1.0)
            yard.signals(5.0)
            yard.gone(children)
        self.assertEqual(yard.ask(), [GiveUp("a worker was killed: it did not become ready in time")])

    def test_notAfterReady(self) -> None:
        """One that was ready in the first round proves that it can be done."""
        yard = PoolBench(minServers=2)
        first, second = yard.spawned()
        yard.ready([first])
        yard.gone([second], HOPELESS)
        self.assertEqual(yard.ask(), [])

    def test_dequeueDoesNotCount(self) -> None:
        """A dequeue child says nothing about the app, dead or alive."""
        yard = PoolBench(minServers=1, checkForDequeue=5)
        workers = yard.spawned()
        (dequeue,) = yard.spawned(5.0)
        yard.gone([dequeue], HOPELESS)
        self.assertEqual(yard.ask(), [])
        (dequeue,) = yard.spawned(5.0)
        yard.ready([dequeue])
        yard.gone(workers, HOPELESS)
        self.assertEqual([type(each) for each in yard.ask()], [GiveUp])


class ReloadTests(SynchronousTestCase):
    """Rule 2: every worker is replaced."""

    def reload(self, yard: PoolBench) -> tuple[list[int], list[int], list[Action]]:
        """
        Reload, each new worker being ready at once.

        :return: the batches, who was retired, and the last words.
        """
        yard.pool.reload()
        batches: list[int] = []
        retired: list[int] = []
        words: list[Action] = []
        while not words:
            actions = yard.ask()
            batch = yard.ready(action.child for action in actions if isinstance(action, Spawn))
            batches.append(len(batch))
            retired += [action.child.key for action in actions if isinstance(action, Retire)]
            words = [action for action in actions if isinstance(action, Reloaded)]
            if not actions:
                yard.left()
        return batches, retired, words

    def test_batches(self) -> None:
        """One is tried first, then 2, 4 ... until all have been replaced, the oldest first."""
        yard = PoolBench(minServers=8, maxServers=8)
        old = yard.started()
        self.assertEqual(self.reload(yard), ([1, 2, 4, 1, 0], keys(old), [Reloaded(None)]))
        self.assertEqual({child.state for child in old}, {ChildState.RETIRING})
        yard.gone(old, LEFT)
        self.assertEqual(len(yard.pool.children), 8)
        self.assertEqual(yard.ask(), [])

    def test_oneForOne(self) -> None:
        """One old worker is retired for each new one that is ready, not before."""
        yard = PoolBench(minServers=8, maxServers=8)
        yard.started()
        yard.pool.reload()
        canary = yard.spawned()
        self.assertEqual(yard.ask(5.0), [])
        yard.ready(canary)
        actions = yard.ask()
        new = [action.child for action in actions if isinstance(action, Spawn)]
        self.assertEqual((len(new), len(actions)), (2, 3))
        yard.ready(new[:1])
        self.assertEqual(len(yard.retired()), 1)
        self.assertEqual(yard.ask(5.0), [])

    def test_busyLast(self) -> None:
        """Those at work are retired when the idle ones have been."""
        yard = PoolBench(minServers=4, maxServers=4)
        yard.started()
        yard.busy = {1, 2}
        self.assertEqual(self.reload(yard)[1], [3, 4, 1, 2])

    def test_canaryFails(self) -> None:
        """If the first cannot start, the old stay, and the reload has failed with its words.  Nothing is retried."""
        yard = PoolBench(minServers=5, maxServers=5)
        old = yard.started()
        yard.pool.reload()
        yard.gone(yard.spawned(), HOPELESS)
        self.assertEqual(yard.ask(), [Reloaded("a new worker could not start: cannot load 'mod.fn'")])
        self.assertEqual(list(yard.pool.children), old)
        self.assertEqual([yard.ask(1.0) for _ in range(5)], [[]] * 5)

    def test_canaryIsLate(self) -> None:
        """One that is not ready in time has failed as well."""
        yard = PoolBench(minServers=5, startTimeout=3)
        yard.started()
        yard.pool.reload()
        canary = yard.spawned()
        self.assertEqual(yard.signals(3.0), [(canary[0].key, "KILL")])
        yard.gone(canary)
        self.assertEqual(yard.ask(), [Reloaded("a new worker could not start: it did not become ready in time")])

    def test_laterFailure(self) -> None:
        """If a later one cannot start, no other old one leaves: the new ones on their way are too many now."""
        yard = PoolBench(minServers=5, maxServers=5)
        old = yard.started()
        yard.pool.reload()
        yard.ready(yard.spawned())
        first, second = (action.child for action in yard.ask() if isinstance(action, Spawn))
        yard.gone([first], CRASHED)
        actions = yard.ask()
        self.assertEqual([type(action) for action in actions], [Reloaded, Signal])
        self.assertIs(second.state, ChildState.RETIRING)
        self.assertEqual([child.state for child in old].count(ChildState.WAITING), 4)

    def test_afterFailure(self) -> None:
        """After a failed reload the next one replaces every worker, those of the failed one too."""
        yard = PoolBench(minServers=3, maxServers=3)
        yard.started()
        yard.pool.reload()
        yard.ready(yard.spawned())
        yard.gone([action.child for action in yard.ask() if isinstance(action, Spawn)], CRASHED)
        yard.ask()
        before = {child.key for child in yard.pool.children if child.state is ChildState.WAITING}
        self.assertEqual(len(before), 3)
        yard.left()
        yard.now += 60
        self.assertEqual(set(self.reload(yard)[1]), before)

    def test_again(self) -> None:
        """A reload during a reload begins anew: in the end only workers of the last one are left."""
        yard = PoolBench(minServers=3, maxServers=3)
        yard.started()
        yard.pool.reload()
        yard.ready(yard.spawned())
        yard.ready(action.child for action in yard.ask() if isinstance(action, Spawn))
        yard.left()
        last = max(child.key for child in yard.pool.children)
        self.assertEqual(self.reload(yard)[2], [Reloaded(None)])
        left = [child.key for child in yard.pool.children if child.state is ChildState.WAITING]
        self.assertEqual(len(left), 3)
        self.assertGreater(min(left), last)

    def test_deathMeanwhile(self) -> None:
        """Old workers that die meanwhile are replaced like any, and the reload comes to its end."""
        yard = PoolBench(minServers=4, maxServers=4)
        old = yard.started()
        yard.pool.reload()
        canary = yard.spawned()
        yard.gone(old[:3])
        more = yard.spawned()
        self.assertEqual(len(more), 2)
        yard.ready([*canary, *more])
        actions = yard.ask()
        self.assertEqual([action.child for action in actions if isinstance(action, Retire)], old[3:])
        self.assertIn(Reloaded(None), actions)

    def test_diesLater(self) -> None:
        """A new worker that was ready and dies is no failure of the reload, which goes on."""
        yard = PoolBench(minServers=2, maxServers=2)
        yard.started()
        yard.pool.reload()
        canary = yard.ready(yard.spawned())
        yard.ask()
        yard.now += 5
        yard.gone(canary)
        actions = yard.ask()
        self.assertEqual([action for action in actions if isinstance(action, Reloaded)], [])

    def test_noScaleDown(self) -> None:
        """Nobody is retired meanwhile but by the reload."""
        yard = PoolBench(minServers=12, maxServers=50)
        yard.started()
        yard.pool.limits = PoolLimits(minServers=1, minSpareServers=1, maxSpareServers=2)
        yard.pool.reload()
        self.assertEqual(len(yard.spawned()), 1)

    def test_nothingToReplace(self) -> None:
        """With no workers there is nothing to wait for."""
        yard = PoolBench(minServers=0)
        yard.ask()
        yard.pool.reload()
        self.assertEqual(yard.ask(), [Reloaded(None)])


class DrainTests(SynchronousTestCase):
    """The server stops: what has been accepted is worked off, then everybody leaves."""

    def test_nothingNew(self) -> None:
        """Nobody is started, retired or reloaded for what may come."""
        yard = PoolBench(minServers=5, checkForDequeue=5)
        old = yard.started(0.0)
        yard.ask(4.0)
        yard.pool.drain(yard.now, None)
        yard.gone(old[:3])
        self.assertEqual([yard.ask(seconds) for seconds in (0, 5, 60)], [[]] * 3)

    def test_forBacklog(self) -> None:
        """For those that wait, workers that die are replaced, no more than there are requests."""
        yard = PoolBench(minServers=5)
        old = yard.started()
        yard.pool.drain(yard.now, None)
        yard.backlog = 2
        yard.gone(old)
        self.assertEqual(len(yard.spawned()), 2)

    def test_onlyWhatIsMissing(self) -> None:
        """Those that are alive can do it, however many wait."""
        yard = PoolBench(minServers=1)
        yard.started()
        yard.pool.drain(yard.now, None)
        yard.backlog = 100
        self.assertEqual(yard.ask(), [])

    def test_onDemand(self) -> None:
        """Where none is kept alive, one is started for them."""
        yard = PoolBench(minServers=0)
        yard.ask()
        yard.pool.drain(yard.now, None)
        yard.backlog = 7
        self.assertEqual(len(yard.spawned()), 1)

    def test_close(self) -> None:
        """Then all are asked to leave, and those that are still starting are told to."""
        yard = PoolBench(minServers=3)
        children = yard.spawned()
        yard.ready(children[:2])
        yard.pool.drain(yard.now, 30)
        yard.pool.close(yard.now)
        actions = yard.ask()
        self.assertEqual(
            [(type(action), action.child) for action in actions if isinstance(action, Retire | Signal)],
            [(Retire, children[0]), (Retire, children[1]), (Signal, children[2])],
        )
        self.assertEqual([child.state for child in children], [ChildState.RETIRING] * 3)

    def test_noneAfterClose(self) -> None:
        """Nobody is started any more, whoever dies and whatever waits."""
        yard = PoolBench(minServers=3)
        children = yard.started()
        yard.pool.drain(yard.now, None)
        yard.pool.close(yard.now)
        yard.ask()
        yard.backlog = 5
        yard.gone(children)
        self.assertEqual([yard.ask(seconds) for seconds in (0, 10, 100)], [[]] * 3)
        self.assertIs(yard.pool.mode, Mode.CLOSING)

    def test_reload(self) -> None:
        """A reload that is on its way ends, and says why."""
        yard = PoolBench(minServers=3)
        yard.started()
        yard.pool.reload()
        yard.ask()
        yard.pool.drain(yard.now, None)
        self.assertEqual(yard.ask(), [Reloaded("the server is stopping")])


class CutOffTests(SynchronousTestCase):
    """The time for stopping is over."""

    def test_ladder(self) -> None:
        """Requests are given up, then everybody gets TERM, soon TERM again, then KILL until they are gone."""
        yard = PoolBench(minServers=2, minSpareServers=0, checkForDequeue=20)
        yard.busy = set(keys(yard.started(0.0)))
        yard.ask()
        yard.ready(yard.spawned(20.0))
        yard.pool.drain(yard.now, 1.5)
        self.assertEqual(yard.ask(1.4), [])
        self.assertAlmostEqual(yard.pool.nextDecision(yard.now) - yard.now, 0.1)
        cutOff, *signals = yard.ask(0.11)
        self.assertEqual(cutOff, CutOff())
        self.assertEqual(
            [(each.child.key, each.name) for each in signals if isinstance(each, Signal)],
            [(1, "TERM"), (2, "TERM"), (3, "TERM")],
        )
        self.assertEqual(yard.ask(SECOND_TERM_DELAY - 0.01), [])
        self.assertEqual(yard.signals(0.02), [(1, "TERM"), (2, "TERM"), (3, "TERM")])
        yard.gone([child for child in yard.pool.children if child.key == 2])
        for _ in range(3):
            self.assertEqual(yard.ask(KILL_DELAY - 0.01), [])
            self.assertEqual(yard.signals(0.02), [(1, "KILL"), (3, "KILL")])
        yard.gone(list(yard.pool.children))
        self.assertEqual(yard.ask(100), [])

    def test_atOnce(self) -> None:
        """With no time at all it is over at once."""
        yard = PoolBench(minServers=1)
        yard.started()
        yard.pool.drain(yard.now, 0)
        self.assertEqual([type(action) for action in yard.ask()], [CutOff, Signal])

    def test_closing(self) -> None:
        """The time holds also for those that are leaving."""
        yard = PoolBench(minServers=1)
        yard.busy = set(keys(yard.started()))
        yard.pool.drain(yard.now, 5)
        yard.pool.close(yard.now)
        self.assertEqual(len(yard.retired()), 1)
        self.assertEqual([type(action) for action in yard.ask(5.0)], [CutOff, Signal])

    def test_never(self) -> None:
        """Without a limit nobody at work is disturbed."""
        yard = PoolBench(minServers=1)
        yard.busy = set(keys(yard.started()))
        yard.pool.drain(yard.now, None)
        self.assertEqual([yard.ask(10_000) for _ in range(5)], [[]] * 5)

    def test_abort(self) -> None:
        """To stop at once is KILL for everybody, ready or not, whatever they are for."""
        yard = PoolBench(minServers=2, checkForDequeue=20)
        yard.started(0.0)
        yard.ask()
        yard.spawned(20.0)
        yard.pool.abort(yard.now)
        self.assertEqual(yard.signals(), [(1, "KILL"), (2, "KILL"), (3, "KILL")])
        yard.gone(list(yard.pool.children))
        self.assertEqual(yard.ask(100), [])

    def test_abortWhileClosing(self) -> None:
        """It helps against a stop that takes too long."""
        yard = PoolBench(minServers=1)
        children = yard.started()
        yard.pool.drain(yard.now, None)
        yard.pool.close(yard.now)
        yard.ask()
        yard.pool.abort(yard.now)
        self.assertEqual(yard.signals(), [(children[0].key, "KILL")])


class DequeueTests(SynchronousTestCase):
    """Rule 7: children that run the dequeue callable."""

    def test_interval(self) -> None:
        """One every ``check-for-dequeue`` seconds, the first after the first interval."""
        yard = PoolBench(minServers=1, checkForDequeue=4, maxDequeue=10)
        yard.started(0.0)
        self.assertEqual(yard.ask(), [])
        self.assertEqual(yard.pool.nextDecision(yard.now), yard.now + 4)
        self.assertEqual(yard.ask(3.9), [])
        for wait in (0.1, 4.0, 4.0):
            self.assertEqual([child.kind for child in yard.spawned(wait)], [ChildKind.DEQUEUE])

    def test_most(self) -> None:
        """No more at a time than ``max-dequeue``."""
        yard = PoolBench(minServers=1, checkForDequeue=4, maxDequeue=2)
        yard.started(0.0)
        yard.ask()
        first, second = [yard.spawned(4.0)[0] for _ in range(2)]
        self.assertEqual(yard.ask(4.0), [])
        yard.ready([first, second])
        self.assertEqual((first.state, yard.ask(4.0)), (ChildState.DEQUEUE, []))
        yard.gone([first], LEFT)
        self.assertEqual(yard.ask(), [])
        self.assertEqual(len(yard.spawned(4.0)), 1)

    def test_noWorker(self) -> None:
        """It is no worker: it is no spare, leaves room for all of ``max-servers``, and its end is nobody's failure."""
        yard = PoolBench(minServers=2, maxServers=2, checkForDequeue=4)
        yard.started(0.0)
        yard.ask()
        for _ in range(5):
            (child,) = yard.spawned(4.0)
            yard.gone([child], CRASHED)
        yard.ready(yard.spawned(4.0))
        yard.gone([child for child in yard.pool.children if child.kind is ChildKind.WORKER])
        self.assertEqual([child.kind for child in yard.spawned()], [ChildKind.WORKER] * 2)

    def test_notReloaded(self) -> None:
        """A reload leaves it alone, and is not held up by it."""
        yard = PoolBench(minServers=1, maxServers=1, checkForDequeue=4)
        yard.started(0.0)
        yard.ask()
        (child,) = yard.spawned(4.0)
        yard.ready([child])
        yard.pool.reload()
        yard.ready(yard.spawned())
        actions = yard.ask()
        self.assertEqual([type(action) for action in actions], [Retire, Reloaded])
        self.assertIs(child.state, ChildState.DEQUEUE)

    def test_late(self) -> None:
        """One that cannot start is killed; one that has is left to its work."""
        yard = PoolBench(minServers=0, checkForDequeue=50, startTimeout=3, maxDequeue=2)
        yard.ask()
        yard.ready(yard.spawned(50.0))
        (child,) = yard.spawned(50.0)
        self.assertEqual(yard.signals(3.0), [(child.key, "KILL")])

    def test_never(self) -> None:
        """By default there are none."""
        yard = PoolBench(minServers=0)
        self.assertEqual([yard.ask(seconds) for seconds in (0, 10, 100, 1000)], [[]] * 4)


class WakeTests(SynchronousTestCase):
    """When the pool wants to be asked again, with nobody to remind it."""

    def test_idle(self) -> None:
        """With nothing to do it is no more often than ``check-for-waiting`` and ``check-for-dead`` ask for."""
        yard = PoolBench()
        yard.started()
        end, asked = yard.now + 3600, 0
        while yard.now < end:
            self.assertEqual(yard.ask(), [])
            asked += 1
            yard.now = yard.pool.nextDecision(yard.now)
        self.assertLessEqual(asked, 3600 / 10 + 3600 / 30 + 1)

    def test_first(self) -> None:
        """Before anything was asked it is now."""
        pool = Pool(PoolLimits(), Random(1))
        self.assertEqual(pool.nextDecision(12.5), 12.5)

    def test_alone(self) -> None:
        """Asked at just these times and no other, it does all that it has to do."""
        yard = PoolBench(
            minServers=1,
            maxServers=10,
            minSpareServers=6,
            maxSpareServers=8,
            startTimeout=5,
            checkForDequeue=7,
            maxDequeue=2,
        )
        spawned: list[tuple[float, ChildKind]] = []
        killed: list[float] = []
        while yard.now < 115:
            for action in yard.ask():
                if isinstance(action, Spawn):
                    spawned.append((yard.now - 100, action.child.kind))
                elif isinstance(action, Signal):
                    killed.append(yard.now - 100)
            yard.now = max(yard.pool.nextDecision(yard.now), yard.now + 0.001)
        workers = [round(at) for at, kind in spawned if kind is ChildKind.WORKER]
        self.assertEqual(workers, [0, 0, 1, 1, 2, 2])
        self.assertEqual([round(at) for at, kind in spawned if kind is ChildKind.DEQUEUE], [7, 14])
        self.assertEqual(min(killed), 5.0)
