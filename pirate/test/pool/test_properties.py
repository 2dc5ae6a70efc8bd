# -*- test-case-name: pirate.test.pool.test_properties -*-
"""What holds for the pool whatever happens."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from pirate.pool.actions import AbandonRequests, Action, GiveUp, Reloaded, Retire, Signal, Spawn
from pirate.pool.child import Child, ChildExit, ChildKind, ChildState
from pirate.pool.pool import TOTAL_FACTOR, Mode
from pirate.pool.scaling import MAX_BATCH
from pirate.test.support.pool import PoolBench

try:
    from hypothesis import strategies as st

    from pirate.test.support.properties import holds
except ImportError:
    skip = "needs hypothesis, which the extra 'dev' brings"


class RandomPool(PoolBench):
    """A pool whose children do anything.  Each decision is checked."""

    def __init__(self, **limits: Any) -> None:
        super().__init__(**limits)
        self.spawnedKeys: set[int] = set()
        self.retiredKeys: set[int] = set()
        self.decided: Counter[type] = Counter()
        self.reloads = 0
        self.reloading = False
        self.most = 0
        self.highest = self.pool.limits.maxServers
        self.failed = False
        self.deadline: float | None = None

    def children(self, *states: ChildState) -> list[Child]:
        """Return the children in some states."""
        return [child for child in self.pool.children if child.state in states]

    def step(self, name: str, *details: Any) -> None:
        """Let an event happen, and check what the pool decides."""
        mode = self.pool.mode
        getattr(self, name)(*details)
        limits = self.pool.limits
        self.highest = max(self.highest, limits.maxServers)
        self.most = max(self.most, limits.maxServers) if self.reloading else limits.maxServers
        for action in self.decide():
            self.decided[type(action)] += 1
            self.carryOut(action, mode)
        live = [each for each in self.children(ChildState.STARTING, ChildState.READY) if each.kind is ChildKind.WORKER]
        capacity = MAX_BATCH if self.reloading else 0
        stay = [child for child in live if not child.beingReplaced]
        # When the server stops, the workers that a reload has spawned stay beside the others.
        assert len(stay) <= max(self.most, limits.maxServers) + capacity or self.pool.mode is not Mode.RUNNING, (
            "too many"
        )
        workers = sum(child.kind is ChildKind.WORKER for child in self.pool.children)
        # Workers that do not leave keep others from being spawned, so that they do not pile up.
        assert workers <= TOTAL_FACTOR * max(self.most, limits.maxServers) or limits.maxServers < self.highest, (
            "piled up"
        )
        crowded = workers >= TOTAL_FACTOR * limits.maxServers
        if not self.failed and self.pool.mode is Mode.RUNNING and not self.reloading and not crowded:
            assert len(stay) >= limits.minServers, "no successors"
        if not self.failed and self.pool.mode is Mode.RUNNING and not crowded:
            assert len(live) >= limits.minServers, "too few"
        dequeues = sum(child.kind is ChildKind.DEQUEUE for child in self.pool.children)
        assert dequeues <= limits.maxDequeue, "too many dequeue children"
        assert self.decided[Reloaded] <= self.reloads
        assert self.decided[GiveUp] <= 1 and self.decided[AbandonRequests] <= 1

    def carryOut(self, action: Action, before: Mode) -> None:
        """Check a decision, and note it."""
        if isinstance(action, Spawn):
            assert action.child.number not in self.spawnedKeys, "spawned twice"
            assert before is not Mode.CLOSING, "spawned while closing"
            self.spawnedKeys.add(action.child.number)
        elif isinstance(action, Retire):
            assert action.child.number not in self.retiredKeys, "retired twice"
            assert action.child.state is ChildState.RETIRING and action.child.readyAt is not None
            self.retiredKeys.add(action.child.number)
        elif isinstance(action, Signal):
            assert action.child in self.pool.children, "a child that is gone was signalled"
            assert action.name in ("TERM", "ABRT", "KILL")
        elif isinstance(action, GiveUp):
            assert not any(child.readyAt for child in self.children(*ChildState) if child.kind is ChildKind.WORKER)
        elif isinstance(action, Reloaded):
            self.reloading = False
        elif isinstance(action, AbandonRequests):
            assert self.deadline is not None and self.now >= self.deadline, "cut off too early"

    # --- events

    def wait(self, seconds: float) -> None:
        """Let time pass, and ask the pool for decisions when it has to be asked."""
        end = self.now + seconds
        while (wake := self.pool.nextDecision(self.now)) < end:
            self.now = wake
            self.step("nothing")
        self.now = end

    def nothing(self) -> None:
        """Let nothing happen."""

    def start(self, count: int) -> None:
        """Report children as ready."""
        self.ready(self.children(ChildState.STARTING)[:count])

    def die(self, which: int, how: ChildExit) -> None:
        """Report the end of a child."""
        children = list(self.pool.children)
        if children:
            child = children[which % len(children)]
            self.failed = self.failed or child.readyAt is None or self.now - child.readyAt < 1
            self.gone([child], how)
            self.busy.discard(child.number)

    def leave(self, which: int) -> None:
        """Report that a child leaves by itself."""
        children = self.children(ChildState.READY)
        if children:
            self.pool.childLeaving(children[which % len(children)], self.now)

    def work(self, count: int, backlog: int) -> None:
        """Set how many children are busy, and how many requests wait."""
        self.busy = {child.number for child in self.children(ChildState.READY)[:count]}
        self.backlog = backlog
        self.received += count + backlog

    def halve(self, which: int) -> None:
        """Report that a child has been given half of the requests that it had left."""
        children = self.children(ChildState.READY)
        if children:
            self.pool.requestsHalfUsed(children[which % len(children)], self.now)

    def age(self, count: int) -> None:
        """Let some children reach ``max-age``."""
        for child in self.children(ChildState.READY)[:count]:
            child.recycleAt = self.now

    def resize(self, by: int) -> None:
        """Grow or shrink the pool by one worker."""
        (self.pool.grow if by > 0 else self.pool.shrink)()

    def reload(self) -> None:
        """Reload the pool."""
        if self.pool.mode is Mode.RUNNING:
            self.reloads += 1
            self.reloading = True
            self.pool.reload()

    def behave(self) -> None:
        """Report every starting child as ready, and every child that was asked to leave as gone."""
        self.ready(self.children(ChildState.STARTING))
        self.left()

    def end(self, how: int) -> None:
        """Take the next step towards the end of the server."""
        if self.pool.mode is Mode.RUNNING and how < 3:
            self.deadline = None if how == 0 else self.now + how
            self.pool.drain(self.now, None if how == 0 else how)
        elif self.pool.mode is Mode.DRAINING:
            self.pool.close(self.now)
        elif self.pool.mode is Mode.CLOSING:
            self.pool.abort(self.now)


class PoolTests(SynchronousTestCase):
    """The pool's promises hold for any sequence of events."""

    def check(self, limits: dict[str, Any], events: list[tuple[Any, ...]]) -> None:
        """Let some events happen, then stop, and check that no child is left."""
        bench = RandomPool(checkForDequeue=3, startTimeout=4, stopTimeout=2, **limits)
        bench.step("nothing")
        for event in events:
            bench.step(*event)
        for _ in range(50):
            bench.step("behave")
            bench.step("wait", 1.0)
        self.assertFalse(bench.reloading, "the reload did not end")
        while bench.pool.mode is not Mode.CLOSING:
            bench.step("end", 0)
        for _ in range(100):
            if not bench.pool.children:
                break
            bench.step("end", 0)
            for child in list(bench.pool.children):
                bench.gone([child])
        bench.step("wait", 100)
        self.assertEqual(list(bench.pool.children), [])
        self.assertFalse(bench.reloading)

    def test_promises(self) -> None:
        """
        There are never more workers than allowed, and never fewer while nothing has failed; no child is spawned or
        retired twice, and none is spawned while closing; a reload ends, once, if children start and leave; the pool
        gives up once at most, and never after a worker has been ready; and it always has a time for the next decision.
        """
        number = st.integers(0, 9)
        ends = st.sampled_from(
            [
                ChildExit("signal SIGKILL", killed=True),
                ChildExit("exit code 1"),
                ChildExit("exit code 4", fatal=True),
                ChildExit("0", clean=True),
            ]
        )
        event = st.one_of(
            st.tuples(st.just("wait"), st.sampled_from([0.05, 0.3, 1.0, 2.5, 11.0, 31.0])),
            st.tuples(st.just("start"), number),
            st.tuples(st.just("start"), number),
            st.tuples(st.just("die"), number, ends),
            st.tuples(st.just("leave"), number),
            st.tuples(st.just("halve"), number),
            st.tuples(st.just("age"), number),
            st.tuples(st.just("work"), number, st.sampled_from([0, 0, 1, 20])),
            st.tuples(st.just("resize"), st.sampled_from([-1, 1])),
            st.tuples(st.just("reload")),
            st.tuples(st.just("end"), st.integers(0, 9)),
        )
        limits = st.fixed_dictionaries(
            {}, optional={"minServers": st.integers(0, 4), "maxServers": st.integers(4, 9), "minChildTtl": st.just(0)}
        )
        holds(self.check, limits, st.lists(event, min_size=5, max_size=50), examples=200)
