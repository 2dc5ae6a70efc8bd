# -*- test-case-name: pirate.test.pool.test_pool -*-
"""Every rule of the pool, with numbers for time and values for children."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.pool.actions import AbandonRequests, Action, GiveUp, Reloaded, Retire, Signal, Spawn, Sweep
from pirate.pool.backoff import MAX_DELAY
from pirate.pool.child import Child, ChildExit, ChildKind, ChildState
from pirate.pool.pool import KILL_DELAY, SECOND_TERM_DELAY, Mode, Pool
from pirate.pool.recycling import SUCCESSOR_WAIT
from pirate.pool.scaling import MAX_BATCH, QUIET_TIME, Load
from pirate.settings.limits import PoolLimits
from pirate.test.support.pool import CRASHED, LEFT, UNLOADABLE, PoolBench


def keys(children: Iterable[Child]) -> list[int]:
    """Return the keys of some children."""
    return [child.number for child in children]


class StartTests(SynchronousTestCase):
    """Rule 4: ``min-servers`` workers are kept alive."""

    def test_atOnce(self) -> None:
        """All of the first workers are spawned together, and no more while they are starting."""
        bench = PoolBench(minServers=7)
        children = bench.spawned()
        self.assertEqual(
            [(child.state, child.kind) for child in children], [(ChildState.STARTING, ChildKind.WORKER)] * 7
        )
        self.assertEqual(len(set(keys(children))), 7)
        self.assertEqual(bench.spawned(0.5), [])

    def test_refill(self) -> None:
        """Killed workers are all replaced at once, without a request."""
        bench = PoolBench()
        bench.gone(bench.started())
        self.assertEqual(len(bench.spawned()), 5)

    def test_refillOne(self) -> None:
        """One killed worker is replaced by one."""
        bench = PoolBench()
        bench.gone(bench.started()[:1])
        self.assertEqual(len(bench.spawned()), 1)

    def test_retiredAreReplaced(self) -> None:
        """A retiring worker no longer counts: its successor is spawned before it ends."""
        bench = PoolBench()
        child = bench.started()[2]
        bench.pool.childLeaving(child, bench.now)
        self.assertEqual(len(bench.spawned()), 1)
        bench.gone([child], LEFT)
        self.assertEqual(bench.spawned(), [])

    def test_none(self) -> None:
        """A server without workers of its own spawns none, however many requests wait."""
        bench = PoolBench(minServers=0, maxServers=0)
        bench.backlog = 1000
        self.assertEqual([bench.decide(seconds) for seconds in (0, 1, 10, 100)], [[]] * 4)

    def test_onDemand(self) -> None:
        """With a ``min-servers`` of 0, the first worker is spawned for the first request."""
        bench = PoolBench(minServers=0)
        self.assertEqual(bench.decide(), [])
        bench.backlog = 1
        self.assertEqual(len(bench.spawned()), 1)

    def test_limitsAtRunTime(self) -> None:
        """New limits apply at once."""
        bench = PoolBench(minServers=2)
        bench.started()
        bench.pool.reconfigure(PoolLimits(minServers=6))
        self.assertEqual(len(bench.spawned()), 4)


class MaxRequestsTests(SynchronousTestCase):
    """How many requests a worker is given."""

    def maxRequests(self, **limits: Any) -> set[int]:
        """Return how many requests each of two hundred workers may be given."""
        bench = PoolBench(minServers=200, **limits)
        return {child.maxRequests for child in bench.spawned()}

    def test_jitter(self) -> None:
        """The jitter is added to ``max-requests``, so that workers which start together do not end together."""
        found = self.maxRequests(maxRequests=1000)
        self.assertTrue(1000 <= min(found) < 1010 and 1090 < max(found) <= 1100, found)
        self.assertEqual(self.maxRequests(maxRequests=10, maxRequestsJitter=2), {10, 11, 12})

    def test_noJitter(self) -> None:
        """Without jitter a worker is given ``max-requests``."""
        self.assertEqual(self.maxRequests(maxRequests=50, maxRequestsJitter=0), {50})

    def test_endless(self) -> None:
        """A ``max-requests`` of 0 means no limit."""
        self.assertTrue(all(number < 0 for number in self.maxRequests(maxRequests=0, maxRequestsJitter=5)))


class SpareTests(SynchronousTestCase):
    """Rule 5: workers are spawned when too few are spare."""

    def test_enough(self) -> None:
        """With ``min-spare-servers`` idle workers, none is spawned."""
        bench = PoolBench()
        bench.busy = set(keys(bench.started()[:3]))
        self.assertEqual(bench.decide(), [])

    def test_short(self) -> None:
        """With one fewer, one is spawned, and counts as idle while it is starting."""
        bench = PoolBench()
        bench.busy = set(keys(bench.started()[:4]))
        self.assertEqual(len(bench.spawned()), 1)
        self.assertEqual([bench.decide(seconds) for seconds in (1, 1, 1)], [[]] * 3)

    def test_doubling(self) -> None:
        """A large shortage is met in batches of 1, 2, 4 and so on, one a second."""
        bench = PoolBench(minServers=1, maxServers=200, minSpareServers=100, maxSpareServers=150)
        self.assertEqual(len(bench.spawned()), 1 + 1)
        self.assertEqual(bench.spawned(0.5), [])
        self.assertEqual(bench.pool.nextDecision(bench.now), bench.now + 0.5)
        batches = [len(bench.spawned(1.0 if batch else 0.5)) for batch in range(8)]
        self.assertEqual(batches, [2, 4, 8, 16, 32, 32, 4, 0])
        self.assertEqual(max(batches), MAX_BATCH)

    def test_doublingStartsAnew(self) -> None:
        """After the end of a shortage the next one begins with a batch of 1."""
        bench = PoolBench(minServers=1, maxServers=50, minSpareServers=4)
        bench.spawned()
        for _ in range(3):
            bench.spawned(1.0)
        children = bench.ready(bench.pool.children)
        self.assertEqual(bench.decide(60.0), [])
        bench.busy = set(keys(children))
        self.assertEqual([len(bench.spawned(1.0)) for _ in range(3)], [1, 2, 1])

    def test_backlog(self) -> None:
        """With no worker idle, as many are wanted as requests wait."""
        bench = PoolBench(minServers=2, minSpareServers=0)
        bench.busy = set(keys(bench.started()))
        self.assertEqual(bench.decide(), [])
        bench.backlog = 6
        batches = [bench.spawned(1.0) for _ in range(4)]
        self.assertEqual([len(batch) for batch in batches], [1, 2, 3, 0])

    def test_backlogWithIdle(self) -> None:
        """While a worker is idle, a backlog spawns none."""
        bench = PoolBench(minServers=5, minSpareServers=1)
        bench.busy = set(keys(bench.started()[1:]))
        bench.backlog = 100
        self.assertEqual(bench.decide(), [])

    def test_maximum(self) -> None:
        """There are never more than ``max-servers``, whatever waits."""
        bench = PoolBench(minServers=1, maxServers=6, minSpareServers=4)
        bench.backlog = 1000
        for _ in range(20):
            for child in bench.ready(bench.spawned(1.0)):
                bench.busy.add(child.number)
        self.assertEqual(len(bench.pool.children), 6)

    def test_mayGrow(self) -> None:
        """The pool can grow only if a worker could be spawned now."""
        bench = PoolBench(minServers=1, maxServers=3, minSpareServers=1)
        self.assertTrue(bench.pool.canGrow(bench.now))
        bench.busy = set(keys(bench.started()))
        self.assertEqual(len(bench.spawned()), 1)
        self.assertFalse(bench.pool.canGrow(bench.now))
        self.assertTrue(bench.pool.canGrow(bench.now + 1))
        bench.busy |= set(keys(bench.pool.children))
        bench.ready(bench.pool.children)
        self.assertEqual(len(bench.spawned(1.0)), 1)
        self.assertFalse(bench.pool.canGrow(bench.now + 1))
        bench.pool.drain(bench.now, None)
        bench.gone(list(bench.pool.children))
        self.assertFalse(bench.pool.canGrow(bench.now + 100))

    def test_mayGrowBesideDequeue(self) -> None:
        """Dequeue children take no worker's place; workers that hang when they should leave do."""
        bench = PoolBench(minServers=1, maxServers=2, minSpareServers=0, checkForDequeue=5, reloadTimeout=0)
        bench.started(0.0)
        bench.decide()
        bench.ready(bench.spawned(5.0))
        bench.busy = set(range(100))
        bench.decide()
        self.assertTrue(bench.pool.canGrow(bench.now))
        for _ in range(3):
            (child,) = (each for each in bench.pool.children if each.state is ChildState.READY)
            bench.pool.childLeaving(child, bench.now)
            bench.ready(bench.spawned())
        self.assertFalse(bench.pool.canGrow(bench.now))


class SurplusTests(SynchronousTestCase):
    """Rule 8: spare workers are retired when there are too many."""

    def idlePool(self, count: int = 15, **limits: Any) -> PoolBench:
        """Return a pool of idle workers, each a second older than the next, the youngest 60 seconds old."""
        bench = PoolBench(**{"minServers": 1, "minSpareServers": 1, **limits})
        bench.pool.reconfigure(PoolLimits(minServers=count, maxServers=50))
        for child in bench.ready(bench.spawned()):
            child.spawnedAt += child.number
        bench.now += 60
        bench.decide()
        bench.pool.reconfigure(PoolLimits(**{"minServers": 1, "minSpareServers": 1, **limits}))
        bench.received += 1
        return bench

    def test_oldestIdle(self) -> None:
        """The difference is retired, the oldest first."""
        bench = self.idlePool(15, maxSpareServers=10)
        self.assertEqual(keys(bench.retired()), [1, 2, 3, 4, 5])
        self.assertEqual({child.state for child in list(bench.pool.children)[:5]}, {ChildState.RETIRING})
        self.assertEqual(bench.decide(), [])

    def test_notBusy(self) -> None:
        """Busy workers stay, however old they are."""
        bench = self.idlePool(15, maxSpareServers=10)
        bench.busy = {1, 3}
        self.assertEqual(keys(bench.retired()), [2, 4, 5])

    def test_notBelowLeast(self) -> None:
        """``min-servers`` workers stay."""
        bench = self.idlePool(15, minServers=13, maxSpareServers=5)
        self.assertEqual(len(bench.retired()), 2)

    def test_restAfterStart(self) -> None:
        """None is retired within ``min-child-ttl`` of the last start: the load that it was for may return."""
        bench = self.idlePool(15, maxSpareServers=10, minChildTtl=20)
        bench.gone([next(iter(bench.pool.children))])
        bench.pool.reconfigure(PoolLimits(minServers=15, maxSpareServers=10, minChildTtl=20))
        bench.ready(bench.spawned())
        bench.pool.reconfigure(PoolLimits(minServers=1, minSpareServers=1, maxSpareServers=10, minChildTtl=20))
        self.assertEqual([bench.decide(seconds) for seconds in (0, 10, 9.9)], [[]] * 3)
        self.assertEqual(len(bench.retired(0.1)), 5)

    def test_restAfterRetirement(self) -> None:
        """None is retired within ``check-for-waiting`` of the last retirement."""
        bench = self.idlePool(15, maxSpareServers=10, checkForWaiting=7)
        self.assertEqual(len(bench.retired()), 5)
        bench.pool.reconfigure(PoolLimits(minServers=1, minSpareServers=1, maxSpareServers=4, checkForWaiting=7))
        self.assertEqual([bench.decide(seconds) for seconds in (0, 6.9)], [[]] * 2)
        self.assertEqual(len(bench.retired(0.1)), 6)

    def test_quietTime(self) -> None:
        """Without a request for half a minute, ``min-spare-servers`` idle workers are enough."""
        bench = self.idlePool(8, minSpareServers=3)
        self.assertEqual(bench.decide(), [])
        self.assertEqual(bench.decide(QUIET_TIME - 0.1), [])
        self.assertEqual(len(bench.retired(0.1)), 5)

    def test_notQuiet(self) -> None:
        """The half minute begins again with each request."""
        bench = self.idlePool(8, minSpareServers=3)
        bench.decide(QUIET_TIME - 0.1)
        bench.received += 1
        self.assertEqual([bench.decide(seconds) for seconds in (0.1, QUIET_TIME - 0.1)], [[]] * 2)
        self.assertEqual(len(bench.retired(0.1)), 5)

    def test_notQuietAtFirst(self) -> None:
        """The half minute begins with the server."""
        bench = PoolBench(minServers=1, minSpareServers=1, minChildTtl=0)
        bench.pool.reconfigure(PoolLimits(minServers=6, minChildTtl=0))
        bench.ready(bench.spawned())
        bench.pool.reconfigure(PoolLimits(minServers=1, minSpareServers=1, minChildTtl=0))
        self.assertEqual(bench.decide(QUIET_TIME - 0.1), [])
        self.assertEqual(len(bench.retired(0.1)), 5)


class MaximumTests(SynchronousTestCase):
    """Rule 7: there are more than ``max-servers`` workers."""

    def test_atOnce(self) -> None:
        """Surplus workers are retired at once: the starting, then the idle, then the busy, the oldest of each first."""
        bench = PoolBench(minServers=8, maxServers=50)
        children = bench.spawned()
        bench.ready(children[:7])
        bench.busy = {1, 2, 3, 4}
        for most, action in ((7, Signal), (5, Retire), (3, Retire), (2, Retire)):
            bench.pool.reconfigure(PoolLimits(minServers=1, maxServers=most, minSpareServers=0))
            self.assertEqual({type(each) for each in bench.decide()}, {action})
        left = [child.number for child in children if child.state is ChildState.READY]
        self.assertEqual(left, [3, 4])

    def test_starting(self) -> None:
        """A starting worker is ended by a signal, and its end is no failure."""
        bench = PoolBench(minServers=2)
        children = bench.spawned()
        bench.pool.reconfigure(PoolLimits(minServers=0, maxServers=1, minSpareServers=0))
        self.assertEqual(bench.signals(), [(1, "TERM")])
        self.assertEqual(bench.signals(KILL_DELAY), [(1, "KILL")])
        bench.gone(children[:1])
        bench.pool.reconfigure(PoolLimits(minServers=2))
        self.assertEqual(len(bench.spawned()), 1)


class ResizeTests(SynchronousTestCase):
    """The commands TTIN and TTOU."""

    def test_grow(self) -> None:
        """One worker more is spawned at once, and kept."""
        bench = PoolBench(minServers=3, maxServers=3)
        bench.started()
        bench.pool.grow()
        self.assertEqual(len(bench.ready(bench.spawned())), 1)
        self.assertEqual((bench.pool.limits.minServers, bench.pool.limits.maxServers), (4, 4))
        self.assertEqual(bench.decide(100), [])

    def test_growAboveLeast(self) -> None:
        """One worker more is spawned even if there are more than ``min-servers``."""
        bench = PoolBench(minServers=1, minSpareServers=0)
        bench.started()
        bench.pool.reconfigure(PoolLimits(minServers=0, minSpareServers=0))
        bench.pool.grow()
        self.assertEqual(len(bench.spawned()), 1)

    def test_growTwice(self) -> None:
        """Two commands spawn two workers."""
        bench = PoolBench(minServers=3)
        bench.started()
        bench.pool.grow()
        bench.pool.grow()
        self.assertEqual(len(bench.spawned()), 2)

    def test_growFromNothing(self) -> None:
        """A broker without workers gets one."""
        bench = PoolBench(minServers=0, maxServers=0)
        bench.decide()
        bench.pool.grow()
        self.assertEqual(len(bench.spawned()), 1)

    def test_shrink(self) -> None:
        """The oldest idle worker is retired at once, without waiting for the next scale-down."""
        bench = PoolBench(minServers=5)
        bench.ready(bench.spawned())
        bench.busy = {1}
        bench.pool.shrink()
        self.assertEqual(keys(bench.retired()), [2])
        self.assertEqual((bench.pool.limits.minServers, bench.pool.limits.maxServers), (4, 49))

    def test_shrinkToNothing(self) -> None:
        """With a ``min-servers`` of 0, the last worker stays, because ``max-servers`` allows it."""
        bench = PoolBench(minServers=1, maxServers=2)
        bench.started()
        for _ in range(5):
            bench.pool.shrink()
        self.assertEqual(bench.decide(), [])
        self.assertEqual((bench.pool.limits.minServers, bench.pool.limits.maxServers), (0, 1))

    def test_both(self) -> None:
        """One worker more and one fewer cancel out."""
        bench = PoolBench(minServers=3)
        bench.started()
        bench.pool.grow()
        bench.pool.shrink()
        self.assertEqual(bench.decide(), [])
        self.assertEqual(bench.pool.limits.minServers, 3)

    def test_shrinkDuringReload(self) -> None:
        """A worker fewer during a reload is retired when the reload has ended."""
        bench = PoolBench(minServers=3, maxServers=10, minSpareServers=0, minChildTtl=1000)
        old = bench.started()
        bench.pool.reload()
        new = bench.ready(bench.spawned())
        bench.pool.shrink()
        retired = []
        for _ in range(10):
            for action in bench.decide(0.1):
                if isinstance(action, Spawn):
                    new += bench.ready([action.child])
                elif isinstance(action, Retire):
                    retired.append(action.child)
        self.assertEqual(len([child for child in bench.pool.children if child.state is ChildState.READY]), 2)
        self.assertEqual(set(keys(old)) - set(keys(retired)), set())

    def test_shrinkAndGrowDuringReload(self) -> None:
        """A worker fewer and one more during a reload cancel out."""
        bench = PoolBench(minServers=1, minSpareServers=0, minChildTtl=1000)
        bench.started()
        bench.pool.reload()
        new = bench.spawned()
        bench.pool.shrink()
        self.assertEqual(bench.decide(), [])
        bench.pool.grow()
        self.assertEqual(bench.decide(), [])
        bench.ready(new)
        bench.decide()
        self.assertIs(new[0].state, ChildState.READY)

    def test_loweredDuringReload(self) -> None:
        """Old workers in excess of a lower ``max-servers`` are retired at once, and the reload goes on."""
        bench = PoolBench(minServers=8, maxServers=8)
        old = bench.started()
        bench.pool.reload()
        bench.pool.reconfigure(PoolLimits(minServers=1, maxServers=2, minSpareServers=0))
        actions = bench.decide()
        self.assertEqual([action.child for action in actions if isinstance(action, Retire)], old[:6])
        for _ in range(10):
            bench.left()
            actions = bench.decide(0.01)
            bench.ready(action.child for action in actions if isinstance(action, Spawn))
            if Reloaded(None) in actions:
                return
        self.fail("the reload did not end")


class TimeoutTests(SynchronousTestCase):
    """Rule 1: missed deadlines."""

    def test_start(self) -> None:
        """A worker that is not ready within ``start-timeout`` is killed, repeatedly if need be."""
        bench = PoolBench(minServers=2, startTimeout=5)
        children = bench.spawned()
        bench.ready(children[:1])
        self.assertEqual(bench.signals(4.9), [])
        self.assertEqual(bench.pool.nextDecision(bench.now), 105.0)
        self.assertEqual(bench.signals(0.1), [(2, "KILL")])
        self.assertEqual(bench.signals(KILL_DELAY - 0.1), [])
        self.assertEqual(bench.signals(0.1), [(2, "KILL")])

    def test_startIsAFailure(self) -> None:
        """Its end counts as a failure to start."""
        bench = PoolBench(minServers=1, startTimeout=5)
        children = bench.spawned()
        bench.signals(5)
        bench.gone(children)
        self.assertEqual(bench.spawned(0.01), [])
        self.assertEqual(len(bench.spawned(0.2)), 1)

    def test_ready(self) -> None:
        """A ready worker is not killed, however long it works."""
        bench = PoolBench(minServers=1, startTimeout=5)
        child = bench.started()[0]
        bench.busy = {child.number}
        bench.pool.reconfigure(PoolLimits(minServers=1, maxServers=1))
        self.assertEqual([bench.decide(1000.0) for _ in range(3)], [[]] * 3)

    def test_leaving(self) -> None:
        """An idle worker that was asked to leave and does not is stopped after ``stop-timeout``."""
        bench = PoolBench(minServers=2, maxServers=2, stopTimeout=12)
        bench.started()
        bench.pool.shrink()
        (child,) = bench.retired()
        self.assertEqual(bench.signals(11.9), [])
        self.assertEqual(bench.signals(0.1), [(child.number, "TERM")])
        self.assertEqual(bench.signals(KILL_DELAY), [(child.number, "ABRT")])
        for _ in range(2):
            self.assertEqual(bench.signals(KILL_DELAY), [(child.number, "KILL")])

    def test_leavingBusy(self) -> None:
        """That time begins when the worker becomes idle; without a ``reload-timeout``, nothing stops it before."""
        bench = PoolBench(minServers=2, maxServers=2, stopTimeout=12, reloadTimeout=0)
        bench.busy = set(keys(bench.started()))
        bench.pool.shrink()
        (child,) = bench.retired()
        self.assertEqual(bench.signals(1000), [])
        bench.busy.clear()
        self.assertEqual(bench.signals(), [])
        self.assertEqual(bench.signals(11.9), [])
        self.assertEqual(bench.signals(0.1), [(child.number, "TERM")])

    def test_noTimeToLeave(self) -> None:
        """Even a ``stop-timeout`` of 0 leaves the worker time to leave."""
        bench = PoolBench(minServers=2, maxServers=2, stopTimeout=0)
        bench.started()
        bench.pool.shrink()
        bench.retired()
        self.assertEqual(bench.signals(KILL_DELAY / 2), [])
        self.assertEqual(len(bench.signals(KILL_DELAY / 2)), 1)

    def test_sweep(self) -> None:
        """Unreported ends of children are looked for every ``check-for-dead`` seconds."""
        pool = Pool(PoolLimits(minServers=0, checkForDead=30), Random(1))
        found = [
            sum(isinstance(each, Sweep) for each in pool.decide(now, Load())) for now in (0.0, 29.0, 30.0, 31.0, 60.0)
        ]
        self.assertEqual(found, [1, 0, 1, 0, 1])


class AgeTests(SynchronousTestCase):
    """Workers that exceed ``max-age`` or ``max-memory``."""

    def test_worksOn(self) -> None:
        """A worker that is too old is retired when its successor is ready, not before."""
        bench = PoolBench(minServers=1, maxServers=1, maxAge=100)
        [old] = bench.started()
        [new] = bench.spawned(60)
        self.assertEqual(bench.decide(5), [])
        bench.ready([new])
        self.assertEqual(bench.retired(), [old])
        self.assertEqual(bench.decide(5), [])

    def test_noSuccessor(self) -> None:
        """While no successor can start, the old worker stays."""
        bench = PoolBench(minServers=1, maxServers=1, maxAge=100)
        [old] = bench.started()
        for _ in range(5):
            bench.gone(bench.spawned(60), CRASHED)
        self.assertEqual([child.state for child in bench.pool.children if child is old], [ChildState.READY])

    def test_notAllAtOnce(self) -> None:
        """If all workers are too large, a quarter is replaced at a time, so that there is memory for the new ones."""
        bench = PoolBench(minServers=8, minSpareServers=1, maxMemory=100)
        old = bench.started()
        bench.memory = {child.number: 200.0 for child in old}
        bench.busy = {child.number for child in old}
        steps = []
        for _ in range(4):
            actions = bench.decide(1)
            new = [action.child for action in actions if isinstance(action, Spawn)]
            steps.append((len(new), len(actions) - len(new)))
            bench.ready(new)
        self.assertEqual(steps, [(2, 0), (2, 2), (2, 2), (2, 2)])

    def test_timeForARequest(self) -> None:
        """However low the limits are, each worker serves for a second."""
        for limits in ({"maxMemory": 1}, {"maxAge": 0.1}):
            bench = PoolBench(minServers=1, maxServers=1, **limits)
            bench.memory = dict.fromkeys(range(10), 200.0)
            [old] = bench.ready(bench.spawned())
            for _ in range(3):
                self.assertEqual(bench.decide(0.9), [])
                self.assertLessEqual(bench.pool.nextDecision(bench.now), bench.now + 1)
                [new] = bench.ready(bench.spawned(0.1))
                self.assertEqual(bench.retired(), [old])
                bench.left()
                old = new

    def test_surplus(self) -> None:
        """A worker that is too old is not replaced if there are enough without it."""
        bench = PoolBench(minServers=1, maxServers=4, minSpareServers=1, maxAge=100)
        [old] = bench.started()
        bench.busy = {old.number}
        bench.ready(bench.spawned())
        bench.busy = set()
        self.assertEqual(bench.retired(60), [old])

    def test_draining(self) -> None:
        """A draining pool does not wake for the age of a worker."""
        bench = PoolBench(minServers=1, maxAge=3)
        bench.started()
        bench.now += 10
        bench.pool.drain(bench.now, 60)
        bench.decide()
        self.assertGreater(bench.pool.nextDecision(bench.now), bench.now + 1)


class LastRequestsTests(SynchronousTestCase):
    """Workers that have nearly reached ``max-requests``."""

    def requestsHalfUsed(self, bench: PoolBench, child: Child, seconds: float) -> bool:
        """Report, some time later, that a child has been given half of the requests that it had left."""
        bench.now += seconds
        return bench.pool.requestsHalfUsed(child, bench.now)

    def bench(self, **limits: Any) -> tuple[PoolBench, list[Child]]:
        """Return a pool and its workers, each of which took 2 seconds to start."""
        bench = PoolBench(**limits)
        children = bench.spawned()
        bench.now += 2
        return bench, bench.ready(children)

    def test_inTime(self) -> None:
        """A successor is spawned when the remaining requests will last up to three times as long as a start takes."""
        bench, [child] = self.bench(minServers=1, maxServers=1)
        self.assertEqual([self.requestsHalfUsed(bench, child, seconds) for seconds in (60, 30, 15, 7)], [False] * 4)
        self.assertEqual(bench.spawned(), [])
        self.assertTrue(self.requestsHalfUsed(bench, child, 4))
        self.assertEqual(len(bench.spawned()), 1)
        self.assertFalse(self.requestsHalfUsed(bench, child, 2))
        self.assertEqual(bench.spawned(), [])

    def test_goesOn(self) -> None:
        """A worker with a ready successor is given its remaining requests; no other is spawned when it leaves."""
        bench, [child] = self.bench(minServers=1, maxServers=1)
        self.requestsHalfUsed(bench, child, 5)
        bench.ready(bench.spawned())
        self.assertEqual(bench.decide(), [])
        bench.pool.childLeaving(child, bench.now)
        self.assertEqual(bench.decide(), [])
        bench.gone([child], LEFT)
        self.assertEqual(bench.decide(), [])

    def test_noMoreRequests(self) -> None:
        """If the remaining requests do not arrive, the worker is retired without them."""
        bench, [child] = self.bench(minServers=1, maxServers=1)
        self.requestsHalfUsed(bench, child, 5)
        bench.ready(bench.spawned())
        self.assertEqual(bench.decide(SUCCESSOR_WAIT - 0.1), [])
        self.assertEqual(bench.retired(0.1), [child])

    def test_together(self) -> None:
        """Of several workers that reach the limit together, a quarter, but at least one, get a successor at a time."""
        for workers, atOnce in ((3, 1), (8, 2)):
            bench, children = self.bench(minServers=workers, maxServers=workers)
            halved = [self.requestsHalfUsed(bench, each, 1) for each in children]
            self.assertEqual(halved, [True] * atOnce + [False] * (workers - atOnce))
            self.assertEqual(len(bench.ready(bench.spawned())), atOnce)

    def test_oneAfterTheOther(self) -> None:
        """When a worker with a successor has left, the next one gets a successor."""
        bench, [first, second, _] = self.bench(minServers=3, maxServers=3)
        self.assertTrue(self.requestsHalfUsed(bench, first, 1))
        bench.ready(bench.spawned())
        self.assertFalse(self.requestsHalfUsed(bench, second, 1))
        self.assertEqual(bench.spawned(), [])
        bench.pool.childLeaving(first, bench.now)
        bench.gone([first], LEFT)
        self.assertTrue(self.requestsHalfUsed(bench, second, 1))
        self.assertEqual(len(bench.spawned()), 1)

    def test_slowStarts(self) -> None:
        """A slow start, as on a busy machine, counts for some time."""
        bench, [child] = self.bench(minServers=1, maxServers=1)
        bench.pool.childLeaving(child, bench.now)
        [quick] = bench.ready(bench.spawned())
        bench.left()
        self.assertFalse(self.requestsHalfUsed(bench, quick, 5))
        self.assertTrue(self.requestsHalfUsed(bench, quick, 4))

    def test_closing(self) -> None:
        """A worker with a successor is asked to leave like all others when the server stops."""
        bench, [child] = self.bench(minServers=1, maxServers=1)
        self.requestsHalfUsed(bench, child, 5)
        [other] = bench.ready(bench.spawned())
        bench.pool.close(bench.now)
        self.assertEqual(bench.retired(), [child, other])

    def test_reload(self) -> None:
        """A reload replaces it as well."""
        bench, [child] = self.bench(minServers=1, maxServers=1)
        self.requestsHalfUsed(bench, child, 5)
        [other] = bench.ready(bench.spawned())
        bench.pool.reload()
        gone = []
        for _ in range(4):
            for action in bench.decide(1):
                if isinstance(action, Spawn):
                    bench.ready([action.child])
                elif isinstance(action, Retire):
                    gone.append(action.child)
                    bench.gone([action.child], LEFT)
        self.assertEqual(sorted(keys(gone)), keys([child, other]))

    def test_reloadOfTheLast(self) -> None:
        """If a worker reaches the limit during a reload, the reload ends when its successor is ready."""
        bench, [child] = self.bench(minServers=1, maxServers=1)
        bench.pool.reload()
        [new] = bench.spawned()
        self.requestsHalfUsed(bench, child, 5)
        self.assertEqual(bench.decide(SUCCESSOR_WAIT), [])
        bench.ready([new])
        self.assertEqual(bench.decide(), [Retire(child), Reloaded(None)])

    def test_reloadOfABrokenApp(self) -> None:
        """A worker whose successor cannot start stays when a reload fails for the same reason."""
        bench, [child] = self.bench(minServers=1, maxServers=1)
        self.requestsHalfUsed(bench, child, 5)
        bench.gone(bench.spawned(), CRASHED)
        bench.pool.reload()
        self.assertEqual(bench.decide(), [])
        bench.gone(bench.spawned(5), CRASHED)
        [reloaded] = bench.decide()
        assert isinstance(reloaded, Reloaded)
        self.assertIn("could not start", reloaded.error or "")
        self.assertIs(child.state, ChildState.READY)


class BackoffTests(SynchronousTestCase):
    """Children that fail to start after others have been ready."""

    def crashed(self, **limits: Any) -> PoolBench:
        """Return a pool that was well, all of whose workers have just died, and whose new ones fail."""
        bench = PoolBench(**limits)
        bench.gone(bench.started())
        bench.gone(bench.spawned(), CRASHED)
        return bench

    def test_noStorm(self) -> None:
        """The next start is delayed; from the second round on workers are spawned one at a time, with longer delays."""
        bench = self.crashed(minServers=5)
        self.assertEqual(bench.decide(), [])
        starts = []
        for _ in range(4000):
            children = bench.spawned(0.05)
            if children:
                starts.append((round(bench.now - 160, 2), len(children)))
                bench.gone(children, CRASHED)
        self.assertEqual([count for _, count in starts[:4]], [5, 1, 1, 1])
        waits = [after - before for (before, _), (after, _) in pairwise(starts)]
        self.assertTrue(all(wait <= MAX_DELAY * 1.25 + 0.1 for wait in waits), waits)
        self.assertTrue(all(wait >= MAX_DELAY * 0.75 - 0.1 for wait in waits[8:]), waits)
        self.assertLess(len(starts), 60)

    def test_wakes(self) -> None:
        """The pool wakes when the delay is over."""
        bench = self.crashed(minServers=1)
        for _ in range(6):
            wake = bench.pool.nextDecision(bench.now)
            self.assertGreater(wake, bench.now)
            children = bench.spawned(wake - bench.now)
            self.assertEqual(len(children), 1)
            bench.gone(children, CRASHED)

    def test_neverGivesUp(self) -> None:
        """A server that has had ready workers does not give up, even if the app cannot be loaded any more."""
        bench = self.crashed(minServers=3)
        for _ in range(20):
            actions = bench.decide(30.0)
            self.assertTrue(actions and all(isinstance(action, Spawn) for action in actions))
            bench.gone([action.child for action in actions if isinstance(action, Spawn)], UNLOADABLE)

    def test_recovers(self) -> None:
        """When a new worker has been ready for a second, all that are missing are spawned at once."""
        bench = self.crashed(minServers=5)
        for _ in range(3):
            children = bench.spawned(30.0)
            bench.gone(children, CRASHED)
        first = bench.ready(bench.spawned(30.0))
        second = bench.ready(bench.spawned())
        self.assertEqual((len(first), len(second)), (1, 1))
        third = bench.spawned()
        self.assertEqual(len(third), 1)
        self.assertEqual(len(bench.spawned(1.0)), 2)
        bench.ready(bench.pool.children)
        bench.gone(list(bench.pool.children), CRASHED)
        self.assertEqual(bench.decide(), [])

    def test_isFailing(self) -> None:
        """The pool is failing from the first failed start until a worker has lived for a second."""
        bench = PoolBench(minServers=2)
        bench.started()
        self.assertFalse(bench.pool.isFailing(bench.now))
        bench = self.crashed(minServers=2)
        self.assertTrue(bench.pool.isFailing(bench.now))
        bench.ready(bench.spawned(30.0))
        self.assertEqual([bench.pool.isFailing(bench.now + age) for age in (0.0, 0.9, 1.0)], [True, True, False])

    def test_earlyDeath(self) -> None:
        """A death within a second of being ready is a failure to start; a later one is not."""
        bench = PoolBench(minServers=1)
        bench.started()
        for age, count in ((1.0, 1), (0.9, 0)):
            bench.gone(list(bench.pool.children), CRASHED)
            bench.ready(bench.spawned(100.0))
            bench.now += age
            bench.gone(list(bench.pool.children), CRASHED)
            self.assertEqual(len(bench.spawned()), count)

    def test_earlyRetirement(self) -> None:
        """The early end of a worker that was asked to leave is no failure."""
        bench = PoolBench(minServers=1)
        (child,) = bench.ready(bench.spawned())
        bench.pool.childLeaving(child, bench.now)
        bench.ready(bench.spawned())
        bench.gone([child], LEFT)
        bench.gone(list(bench.pool.children), CRASHED)
        self.assertEqual(bench.spawned(), [])


class KilledTests(SynchronousTestCase):
    """Workers that are killed from outside, again and again."""

    def simulate(self, bench: PoolBench, seconds: float, kill: Callable[[list[Child]], Child | None]) -> list[int]:
        """
        Let time pass in steps of a sixtieth of a second; a worker takes 0.3 seconds to become ready.

        :param kill: chooses, six times a second, the child of all that is killed.
        :return: how many workers were ready at each step.
        """
        counts = []
        for step in range(int(seconds * 60)):
            if step % 10 == 0:
                victim = kill(list(bench.pool.children))
                bench.gone([] if victim is None else [victim])
            bench.ready(child for child in bench.pool.children if bench.now - child.spawnedAt >= 0.3)
            bench.decide(1 / 60)
            counts.append(sum(child.readyAt is not None for child in bench.pool.children))
        return counts

    def test_anyWorker(self) -> None:
        """With six kills a second, also of starting workers, a pool of ten stays near ten."""
        bench = PoolBench(minServers=10, maxServers=10)
        bench.started()
        counts = self.simulate(bench, 60, Random(1).choice)
        self.assertGreater(sum(counts) / len(counts), 7.5)
        self.assertGreaterEqual(min(counts), 5)

    def test_startingOnly(self) -> None:
        """The pool fills even if only starting workers are killed."""
        bench = PoolBench(minServers=10, maxServers=10)
        bench.gone(bench.started())
        counts = self.simulate(
            bench, 20, lambda children: next((child for child in children if child.readyAt is None), None)
        )
        self.assertGreaterEqual(counts[-1], 8)

    def test_everyStart(self) -> None:
        """If every start is killed, as without memory, workers are spawned one at a time and a second apart."""
        bench = PoolBench(minServers=10, maxServers=10)
        bench.gone(bench.started())
        starts = 0
        for _ in range(600):
            children = bench.spawned(0.1)
            starts += len(children)
            bench.gone(children)
        self.assertLess(starts, 3 * 10 + 60 / 0.7)

    def test_reload(self) -> None:
        """One killed new worker does not end a reload; three rounds of them do."""
        bench = PoolBench(minServers=2, maxServers=2)
        bench.started()
        bench.pool.reload()
        for _ in range(2):
            bench.gone(bench.spawned(1.0))
        bench.gone(bench.spawned(1.0))
        self.assertEqual([type(action) for action in bench.decide(1.0)], [Reloaded])

    def test_crashSignal(self) -> None:
        """A signal that the app causes itself is a failure to start."""
        bench = PoolBench(minServers=1)
        bench.gone(bench.started())
        bench.gone(bench.spawned(), ChildExit("signal SIGSEGV"))
        self.assertEqual(bench.spawned(), [])


class HangingTests(SynchronousTestCase):
    """Workers that were asked to leave, and hang."""

    def hang(self, bench: PoolBench) -> list[Child]:
        """Return the workers of a pool all of whose workers, present and future, are busy for ever."""
        bench.busy = set(range(1000))
        return bench.started()

    def startSlowly(self, bench: PoolBench) -> list[Child]:
        """Return the same workers, each of which took 2 seconds to start."""
        bench.busy = set(range(1000))
        children = bench.spawned()
        bench.now += 2
        return bench.ready(children)

    def test_escalation(self) -> None:
        """After ``reload-timeout`` a hanging worker is sent TERM, then ABRT, which writes its stack, then KILL."""
        bench = PoolBench(minServers=2, maxServers=2, reloadTimeout=20)
        self.hang(bench)
        bench.pool.shrink()
        (child,) = bench.retired()
        self.assertEqual(bench.signals(19.9), [])
        self.assertEqual(bench.signals(0.1), [(child.number, "TERM")])
        self.assertEqual(bench.signals(KILL_DELAY), [(child.number, "ABRT")])
        self.assertEqual(bench.signals(KILL_DELAY), [(child.number, "KILL")])

    def test_everyRetirement(self) -> None:
        """The same deadline holds after a reload, at ``max-age``, and for a worker that leaves by itself."""
        for cause in ("reload", "age", "leaves"):
            bench = PoolBench(minServers=1, maxServers=1, reloadTimeout=20, maxAge=100 if cause == "age" else 0)
            (child,) = self.hang(bench)
            if cause == "reload":
                bench.pool.reload()
            elif cause == "leaves":
                bench.pool.childLeaving(child, bench.now)
            bench.ready(bench.spawned(60 if cause == "age" else 0))
            bench.decide()
            self.assertIs(child.state, ChildState.RETIRING, cause)
            self.assertEqual(bench.signals(20), [(child.number, "TERM")], cause)

    def test_manyReloads(self) -> None:
        """However often the pool is reloaded, it has no more than twice ``max-servers``; the reload goes on later."""
        bench = PoolBench(minServers=4, maxServers=4, reloadTimeout=20)
        self.hang(bench)
        most = 0
        for _ in range(10):
            bench.pool.reload()
            for _ in range(10):
                bench.ready(action.child for action in bench.decide(0.01) if isinstance(action, Spawn))
                most = max(most, len(bench.pool.children))
        self.assertEqual(most, 8)
        bench.left()
        for _ in range(10):
            actions = bench.decide(0.01)
            bench.ready(action.child for action in actions if isinstance(action, Spawn))
            if Reloaded(None) in actions:
                return
        self.fail("the reload did not end")

    def test_recycling(self) -> None:
        """Workers that hang in their last request do not pile up either."""
        bench = PoolBench(minServers=2, maxServers=2, reloadTimeout=20)
        self.hang(bench)
        for _ in range(10):
            for child in list(bench.pool.children):
                if child.readyAt is not None:
                    bench.pool.childLeaving(child, bench.now)
            bench.backlog = 100
            bench.ready(action.child for action in bench.decide(0.1) if isinstance(action, Spawn))
        self.assertEqual(len(bench.pool.children), 4)
        bench.left()
        self.assertEqual(len(bench.spawned(0.1)), 2)

    def test_successors(self) -> None:
        """Recycled workers that are slow to leave count as well, so that there are never more than twice as many."""
        bench = PoolBench(minServers=4, maxServers=4, reloadTimeout=20)
        self.startSlowly(bench)
        most = 0
        for _ in range(20):
            for child in list(bench.pool.children):
                if child.state is ChildState.READY and child.beingReplaced:
                    bench.pool.childLeaving(child, bench.now)
                elif child.state is ChildState.READY:
                    bench.pool.requestsHalfUsed(child, bench.now)
            bench.ready(action.child for action in bench.decide(0.1) if isinstance(action, Spawn))
            most = max(most, len(bench.pool.children))
        self.assertEqual(most, 8)
        bench.left()
        bench.ready(action.child for action in bench.decide(0.1) if isinstance(action, Spawn))
        self.assertGreaterEqual(len(bench.pool.children), 4)

    def test_noPlaceForASuccessor(self) -> None:
        """A worker whose successor would have no place is not replaced before it leaves."""
        bench = PoolBench(minServers=1, maxServers=1)
        [old] = self.startSlowly(bench)
        self.assertTrue(bench.pool.requestsHalfUsed(old, bench.now))
        [new] = bench.ready(bench.spawned())
        self.assertFalse(bench.pool.requestsHalfUsed(new, bench.now))
        self.assertEqual(bench.decide(), [])

    def test_reloadBesideSuccessors(self) -> None:
        """A reload that finds no place retires the workers whose successors are ready, and goes on."""
        bench = PoolBench(minServers=1, maxServers=1)
        old = self.startSlowly(bench)
        for child in old:
            bench.pool.requestsHalfUsed(child, bench.now)
        bench.ready(bench.spawned())
        bench.pool.reload()
        self.assertEqual(bench.retired(), old)
        for _ in range(10):
            bench.left()
            actions = bench.decide(0.01)
            bench.ready(action.child for action in actions if isinstance(action, Spawn))
            if Reloaded(None) in actions:
                return
        self.fail("the reload did not end")

    def test_loweredBelowSuccessors(self) -> None:
        """If new limits leave no place for successors, the workers that were to be replaced stay."""
        bench = PoolBench(minServers=4, maxServers=4)
        old = self.startSlowly(bench)
        for child in old:
            bench.pool.requestsHalfUsed(child, bench.now)
        bench.pool.reconfigure(PoolLimits(minServers=1, maxServers=1))
        actions = [action for _ in range(5) for action in bench.decide(SUCCESSOR_WAIT)]
        self.assertNotIn(Spawn, {type(action) for action in actions})
        self.assertEqual(len([child for child in old if child.state is ChildState.READY]), 1)


class GiveUpTests(SynchronousTestCase):
    """Children that fail to start before any has been ready."""

    def test_unloadable(self) -> None:
        """If the app cannot be loaded, the pool gives up at once, and says why once."""
        bench = PoolBench(minServers=5)
        children = bench.spawned()
        bench.gone(children[:1], UNLOADABLE)
        self.assertEqual(bench.decide(), [GiveUp("cannot load 'mod.fn'")])
        bench.gone(children[1:], UNLOADABLE)
        self.assertEqual(bench.decide(), [])

    def test_threeRounds(self) -> None:
        """After any other failure the pool tries three rounds."""
        bench = PoolBench(minServers=4)
        for _ in range(2):
            bench.gone(bench.spawned(1.0), CRASHED)
            self.assertEqual(bench.decide(), [])
        bench.gone(bench.spawned(1.0), CRASHED)
        self.assertEqual(bench.decide(), [GiveUp("cannot use it")])

    def test_silent(self) -> None:
        """A child that gave no reason is described by how it ended."""
        bench = PoolBench(minServers=1)
        for _ in range(3):
            bench.gone(bench.spawned(1.0), ChildExit("signal SIGSEGV"))
        self.assertEqual(bench.decide(), [GiveUp("a worker ended before it was ready: signal SIGSEGV")])

    def test_killed(self) -> None:
        """A child that was not ready in time is described as killed."""
        bench = PoolBench(minServers=1, startTimeout=5)
        for _ in range(3):
            children = bench.spawned(1.0)
            bench.signals(5.0)
            bench.gone(children)
        self.assertEqual(bench.decide(), [GiveUp("a worker was killed: it did not become ready in time")])

    def test_notAfterReady(self) -> None:
        """If one worker of the first round has been ready, the pool does not give up."""
        bench = PoolBench(minServers=2)
        first, second = bench.spawned()
        bench.ready([first])
        bench.gone([second], UNLOADABLE)
        self.assertEqual(bench.decide(), [])

    def test_dequeueDoesNotCount(self) -> None:
        """A dequeue child says nothing about the app, whether it starts or fails."""
        bench = PoolBench(minServers=1, checkForDequeue=5)
        workers = bench.spawned()
        (dequeue,) = bench.spawned(5.0)
        bench.gone([dequeue], UNLOADABLE)
        self.assertEqual(bench.decide(), [])
        (dequeue,) = bench.spawned(5.0)
        bench.ready([dequeue])
        bench.gone(workers, UNLOADABLE)
        self.assertEqual([type(each) for each in bench.decide()], [GiveUp])


class ReloadTests(SynchronousTestCase):
    """Rule 3: every worker is replaced."""

    def reload(self, bench: PoolBench) -> tuple[list[int], list[int], list[Action]]:
        """
        Reload, with each new worker ready at once.

        :return: the sizes of the batches, the keys of the retired children, and the last decision.
        """
        bench.pool.reload()
        batches: list[int] = []
        retired: list[int] = []
        last: list[Action] = []
        while not last:
            actions = bench.decide()
            batch = bench.ready(action.child for action in actions if isinstance(action, Spawn))
            batches.append(len(batch))
            retired += [action.child.number for action in actions if isinstance(action, Retire)]
            last = [action for action in actions if isinstance(action, Reloaded)]
            if not actions:
                bench.left()
        return batches, retired, last

    def test_batches(self) -> None:
        """One worker is replaced first, then 2, 4 and so on, the oldest first."""
        bench = PoolBench(minServers=8, maxServers=8)
        old = bench.started()
        self.assertEqual(self.reload(bench), ([1, 2, 4, 1, 0], keys(old), [Reloaded(None)]))
        self.assertEqual({child.state for child in old}, {ChildState.RETIRING})
        bench.gone(old, LEFT)
        self.assertEqual(len(bench.pool.children), 8)
        self.assertEqual(bench.decide(), [])

    def test_oneForOne(self) -> None:
        """One old worker is retired for each new one that is ready, not before."""
        bench = PoolBench(minServers=8, maxServers=8)
        bench.started()
        bench.pool.reload()
        canary = bench.spawned()
        self.assertEqual(bench.decide(5.0), [])
        bench.ready(canary)
        actions = bench.decide()
        new = [action.child for action in actions if isinstance(action, Spawn)]
        self.assertEqual((len(new), len(actions)), (2, 3))
        bench.ready(new[:1])
        self.assertEqual(len(bench.retired()), 1)
        self.assertEqual(bench.decide(5.0), [])

    def test_busyLast(self) -> None:
        """Busy workers are retired after the idle ones."""
        bench = PoolBench(minServers=4, maxServers=4)
        bench.started()
        bench.busy = {1, 2}
        self.assertEqual(self.reload(bench)[1], [3, 4, 1, 2])

    def test_canaryFails(self) -> None:
        """If the first new worker cannot start, the reload fails with its reason, and the old workers stay."""
        bench = PoolBench(minServers=5, maxServers=5)
        old = bench.started()
        bench.pool.reload()
        bench.gone(bench.spawned(), UNLOADABLE)
        self.assertEqual(bench.decide(), [Reloaded("a new worker could not start: cannot load 'mod.fn'")])
        self.assertEqual(list(bench.pool.children), old)
        self.assertEqual([bench.decide(1.0) for _ in range(5)], [[]] * 5)

    def test_canaryIsLate(self) -> None:
        """A new worker that is not ready in time fails the reload as well."""
        bench = PoolBench(minServers=5, startTimeout=3)
        bench.started()
        bench.pool.reload()
        canary = bench.spawned()
        self.assertEqual(bench.signals(3.0), [(canary[0].number, "KILL")])
        bench.gone(canary)
        self.assertEqual(bench.decide(), [Reloaded("a new worker could not start: it did not become ready in time")])

    def test_laterFailure(self) -> None:
        """If a later one cannot start, no more old ones are retired, and the starting new ones are ended."""
        bench = PoolBench(minServers=5, maxServers=5)
        old = bench.started()
        bench.pool.reload()
        bench.ready(bench.spawned())
        first, second = (action.child for action in bench.decide() if isinstance(action, Spawn))
        bench.gone([first], CRASHED)
        actions = bench.decide()
        self.assertEqual([type(action) for action in actions], [Reloaded, Signal])
        self.assertIs(second.state, ChildState.RETIRING)
        self.assertEqual([child.state for child in old].count(ChildState.READY), 4)

    def test_afterFailure(self) -> None:
        """A reload after a failed one replaces every worker, the new ones of the failed reload included."""
        bench = PoolBench(minServers=3, maxServers=3)
        bench.started()
        bench.pool.reload()
        bench.ready(bench.spawned())
        bench.gone([action.child for action in bench.decide() if isinstance(action, Spawn)], CRASHED)
        bench.decide()
        before = {child.number for child in bench.pool.children if child.state is ChildState.READY}
        self.assertEqual(len(before), 3)
        bench.left()
        bench.now += 60
        self.assertEqual(set(self.reload(bench)[1]), before)

    def test_again(self) -> None:
        """A reload during a reload begins again: in the end only workers of the last one are left."""
        bench = PoolBench(minServers=3, maxServers=3)
        bench.started()
        bench.pool.reload()
        bench.ready(bench.spawned())
        bench.ready(action.child for action in bench.decide() if isinstance(action, Spawn))
        bench.left()
        last = max(child.number for child in bench.pool.children)
        self.assertEqual(self.reload(bench)[2], [Reloaded(None)])
        left = [child.number for child in bench.pool.children if child.state is ChildState.READY]
        self.assertEqual(len(left), 3)
        self.assertGreater(min(left), last)

    def test_deathMeanwhile(self) -> None:
        """Old workers that die meanwhile are replaced like any others, and the reload ends."""
        bench = PoolBench(minServers=4, maxServers=4)
        old = bench.started()
        bench.pool.reload()
        canary = bench.spawned()
        bench.gone(old[:3])
        more = bench.spawned()
        self.assertEqual(len(more), 2)
        bench.ready([*canary, *more])
        actions = bench.decide()
        self.assertEqual([action.child for action in actions if isinstance(action, Retire)], old[3:])
        self.assertIn(Reloaded(None), actions)

    def test_diesLater(self) -> None:
        """The death of a new worker that was ready does not fail the reload."""
        bench = PoolBench(minServers=2, maxServers=2)
        bench.started()
        bench.pool.reload()
        canary = bench.ready(bench.spawned())
        bench.decide()
        bench.now += 5
        bench.gone(canary)
        actions = bench.decide()
        self.assertEqual([action for action in actions if isinstance(action, Reloaded)], [])

    def test_noScaleDown(self) -> None:
        """No worker is retired meanwhile except by the reload."""
        bench = PoolBench(minServers=12, maxServers=50)
        bench.started()
        bench.pool.reconfigure(PoolLimits(minServers=1, minSpareServers=1, maxSpareServers=2))
        bench.pool.reload()
        self.assertEqual(len(bench.spawned()), 1)

    def test_nothingToReplace(self) -> None:
        """A reload without workers ends at once."""
        bench = PoolBench(minServers=0)
        bench.decide()
        bench.pool.reload()
        self.assertEqual(bench.decide(), [Reloaded(None)])


class DrainTests(SynchronousTestCase):
    """A pool that serves the accepted requests, then asks its workers to leave."""

    def test_nothingNew(self) -> None:
        """No worker is spawned, retired or reloaded without requests."""
        bench = PoolBench(minServers=5, checkForDequeue=5)
        old = bench.started(0.0)
        bench.decide(4.0)
        bench.pool.drain(bench.now, None)
        bench.gone(old[:3])
        self.assertEqual([bench.decide(seconds) for seconds in (0, 5, 60)], [[]] * 3)

    def test_forBacklog(self) -> None:
        """Dead workers are replaced for waiting requests, by no more than there are requests."""
        bench = PoolBench(minServers=5)
        old = bench.started()
        bench.pool.drain(bench.now, None)
        bench.backlog = 2
        bench.gone(old)
        self.assertEqual(len(bench.spawned()), 2)

    def test_onlyWhatIsMissing(self) -> None:
        """Workers that are alive are enough, however many requests wait."""
        bench = PoolBench(minServers=1)
        bench.started()
        bench.pool.drain(bench.now, None)
        bench.backlog = 100
        self.assertEqual(bench.decide(), [])

    def test_onDemand(self) -> None:
        """With a ``min-servers`` of 0, one worker is spawned for waiting requests."""
        bench = PoolBench(minServers=0)
        bench.decide()
        bench.pool.drain(bench.now, None)
        bench.backlog = 7
        self.assertEqual(len(bench.spawned()), 1)

    def test_close(self) -> None:
        """Closing retires the ready workers and signals the starting ones."""
        bench = PoolBench(minServers=3)
        children = bench.spawned()
        bench.ready(children[:2])
        bench.pool.drain(bench.now, 30)
        bench.pool.close(bench.now)
        actions = bench.decide()
        self.assertEqual(
            [(type(action), action.child) for action in actions if isinstance(action, Retire | Signal)],
            [(Retire, children[0]), (Retire, children[1]), (Signal, children[2])],
        )
        self.assertEqual([child.state for child in children], [ChildState.RETIRING] * 3)

    def test_closeDequeue(self) -> None:
        """Closing gives a dequeue child, which reads no messages, ``stop-timeout`` to end."""
        bench = PoolBench(minServers=0, checkForDequeue=5, stopTimeout=7, dequeueTimeout=3600)
        bench.decide()
        [ready] = bench.ready(bench.spawned(5.0))
        bench.pool.drain(bench.now, None)
        bench.pool.close(bench.now)
        self.assertEqual(bench.retired(), [ready])
        self.assertEqual(bench.signals(6.9), [])
        self.assertEqual(bench.signals(0.1), [(ready.number, "TERM")])
        self.assertEqual(bench.signals(KILL_DELAY), [(ready.number, "ABRT")])
        self.assertEqual(bench.signals(KILL_DELAY), [(ready.number, "KILL")])

    def test_closeStartingDequeue(self) -> None:
        """Closing signals a dequeue child that is starting."""
        bench = PoolBench(minServers=0, checkForDequeue=5)
        bench.decide()
        [child] = bench.spawned(5.0)
        bench.pool.drain(bench.now, None)
        bench.pool.close(bench.now)
        self.assertEqual(bench.signals(), [(child.number, "TERM")])

    def test_noneAfterClose(self) -> None:
        """After closing no worker is spawned, whatever dies and whatever waits."""
        bench = PoolBench(minServers=3)
        children = bench.started()
        bench.pool.drain(bench.now, None)
        bench.pool.close(bench.now)
        bench.decide()
        bench.backlog = 5
        bench.gone(children)
        self.assertEqual([bench.decide(seconds) for seconds in (0, 10, 100)], [[]] * 3)
        self.assertIs(bench.pool.mode, Mode.CLOSING)

    def test_reload(self) -> None:
        """Draining ends a reload in progress with the reason."""
        bench = PoolBench(minServers=3)
        bench.started()
        bench.pool.reload()
        bench.decide()
        bench.pool.drain(bench.now, None)
        self.assertEqual(bench.decide(), [Reloaded("the server is stopping")])


class AbandonTests(SynchronousTestCase):
    """The end of ``stop-timeout``."""

    def test_escalation(self) -> None:
        """Requests are given up, then all workers are sent TERM, soon TERM again, then KILL until they are gone."""
        bench = PoolBench(minServers=2, minSpareServers=0, checkForDequeue=20)
        bench.busy = set(keys(bench.started(0.0)))
        bench.decide()
        bench.ready(bench.spawned(20.0))
        bench.pool.drain(bench.now, 1.5)
        self.assertEqual(bench.decide(1.4), [])
        self.assertAlmostEqual(bench.pool.nextDecision(bench.now) - bench.now, 0.1)
        abandon, *signals = bench.decide(0.11)
        self.assertEqual(abandon, AbandonRequests())
        self.assertEqual(
            [(each.child.number, each.name) for each in signals if isinstance(each, Signal)],
            [(1, "TERM"), (2, "TERM"), (3, "TERM")],
        )
        self.assertEqual(bench.decide(SECOND_TERM_DELAY - 0.01), [])
        self.assertEqual(bench.signals(0.02), [(1, "TERM"), (2, "TERM"), (3, "TERM")])
        bench.gone([child for child in bench.pool.children if child.number == 2])
        for _ in range(3):
            self.assertEqual(bench.decide(KILL_DELAY - 0.01), [])
            self.assertEqual(bench.signals(0.02), [(1, "KILL"), (3, "KILL")])
        bench.gone(list(bench.pool.children))
        self.assertEqual(bench.decide(100), [])

    def test_atOnce(self) -> None:
        """A time of 0 is over at once."""
        bench = PoolBench(minServers=1)
        bench.started()
        bench.pool.drain(bench.now, 0)
        self.assertEqual([type(action) for action in bench.decide()], [AbandonRequests, Signal])

    def test_closing(self) -> None:
        """The time applies to leaving workers too."""
        bench = PoolBench(minServers=1)
        bench.busy = set(keys(bench.started()))
        bench.pool.drain(bench.now, 5)
        bench.pool.close(bench.now)
        self.assertEqual(len(bench.retired()), 1)
        self.assertEqual([type(action) for action in bench.decide(5.0)], [AbandonRequests, Signal])

    def test_never(self) -> None:
        """Without a limit busy workers are left alone."""
        bench = PoolBench(minServers=1)
        bench.busy = set(keys(bench.started()))
        bench.pool.drain(bench.now, None)
        self.assertEqual([bench.decide(10_000) for _ in range(5)], [[]] * 5)

    def test_abort(self) -> None:
        """Aborting kills every child, ready or not, of either kind."""
        bench = PoolBench(minServers=2, checkForDequeue=20)
        bench.started(0.0)
        bench.decide()
        bench.spawned(20.0)
        bench.pool.abort(bench.now)
        self.assertEqual(bench.signals(), [(1, "KILL"), (2, "KILL"), (3, "KILL")])
        bench.gone(list(bench.pool.children))
        self.assertEqual(bench.decide(100), [])

    def test_abortWhileClosing(self) -> None:
        """Aborting ends a stop that takes too long."""
        bench = PoolBench(minServers=1)
        children = bench.started()
        bench.pool.drain(bench.now, None)
        bench.pool.close(bench.now)
        bench.decide()
        bench.pool.abort(bench.now)
        self.assertEqual(bench.signals(), [(children[0].number, "KILL")])


class DequeueTests(SynchronousTestCase):
    """Rule 9: children that run the dequeue callable."""

    def test_interval(self) -> None:
        """One is spawned every ``check-for-dequeue`` seconds, the first after the first interval."""
        bench = PoolBench(minServers=1, checkForDequeue=4, maxDequeue=10)
        bench.started(0.0)
        self.assertEqual(bench.decide(), [])
        self.assertEqual(bench.pool.nextDecision(bench.now), bench.now + 4)
        self.assertEqual(bench.decide(3.9), [])
        for wait in (0.1, 4.0, 4.0):
            self.assertEqual([child.kind for child in bench.spawned(wait)], [ChildKind.DEQUEUE])

    def test_maximum(self) -> None:
        """There are no more than ``max-dequeue`` at a time."""
        bench = PoolBench(minServers=1, checkForDequeue=4, maxDequeue=2)
        bench.started(0.0)
        bench.decide()
        first, second = [bench.spawned(4.0)[0] for _ in range(2)]
        self.assertEqual(bench.decide(4.0), [])
        bench.ready([first, second])
        self.assertEqual((first.state, bench.decide(4.0)), (ChildState.DEQUEUE, []))
        bench.gone([first], LEFT)
        self.assertEqual(bench.decide(), [])
        self.assertEqual(len(bench.spawned(4.0)), 1)

    def test_noWorker(self) -> None:
        """A dequeue child is no spare worker, does not count for ``max-servers``, and its end is no failure."""
        bench = PoolBench(minServers=2, maxServers=2, checkForDequeue=4)
        bench.started(0.0)
        bench.decide()
        for _ in range(5):
            (child,) = bench.spawned(4.0)
            bench.gone([child], CRASHED)
        bench.ready(bench.spawned(4.0))
        bench.gone([child for child in bench.pool.children if child.kind is ChildKind.WORKER])
        self.assertEqual([child.kind for child in bench.spawned()], [ChildKind.WORKER] * 2)

    def test_notReloaded(self) -> None:
        """A reload does not replace it, and does not wait for it."""
        bench = PoolBench(minServers=1, maxServers=1, checkForDequeue=4)
        bench.started(0.0)
        bench.decide()
        (child,) = bench.spawned(4.0)
        bench.ready([child])
        bench.pool.reload()
        bench.ready(bench.spawned())
        actions = bench.decide()
        self.assertEqual([type(action) for action in actions], [Retire, Reloaded])
        self.assertIs(child.state, ChildState.DEQUEUE)

    def test_late(self) -> None:
        """A dequeue child that cannot start is killed; one that has started may work."""
        bench = PoolBench(minServers=0, checkForDequeue=50, startTimeout=3, maxDequeue=2)
        bench.decide()
        bench.ready(bench.spawned(50.0))
        (child,) = bench.spawned(50.0)
        self.assertEqual(bench.signals(3.0), [(child.number, "KILL")])

    def test_never(self) -> None:
        """By default there are none."""
        bench = PoolBench(minServers=0)
        self.assertEqual([bench.decide(seconds) for seconds in (0, 10, 100, 1000)], [[]] * 4)


class WakeTests(SynchronousTestCase):
    """The times at which the pool has to be asked for decisions if nothing happens."""

    def test_idle(self) -> None:
        """An idle pool is asked no more often than ``check-for-waiting`` and ``check-for-dead`` require."""
        bench = PoolBench()
        bench.started()
        end, asked = bench.now + 3600, 0
        while bench.now < end:
            self.assertEqual(bench.decide(), [])
            asked += 1
            bench.now = bench.pool.nextDecision(bench.now)
        self.assertLessEqual(asked, 3600 / 10 + 3600 / 30 + 1)

    def test_first(self) -> None:
        """A new pool has to be asked at once."""
        pool = Pool(PoolLimits(), Random(1))
        self.assertEqual(pool.nextDecision(12.5), 12.5)

    def test_alone(self) -> None:
        """A pool that is asked at these times only does all that it has to do."""
        bench = PoolBench(
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
        while bench.now < 115:
            for action in bench.decide():
                if isinstance(action, Spawn):
                    spawned.append((bench.now - 100, action.child.kind))
                elif isinstance(action, Signal):
                    killed.append(bench.now - 100)
            bench.now = max(bench.pool.nextDecision(bench.now), bench.now + 0.001)
        workers = [round(at) for at, kind in spawned if kind is ChildKind.WORKER]
        self.assertEqual(workers, [0, 0, 1, 1, 2, 2])
        self.assertEqual([round(at) for at, kind in spawned if kind is ChildKind.DEQUEUE], [7, 14])
        self.assertEqual(min(killed), 5.0)
