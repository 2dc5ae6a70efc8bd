"""A pool with numbers for time and values for children."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from pirate.pool.actions import Action, Retire, Signal, Spawn, Sweep
from pirate.pool.child import Child, ChildExit, ChildState
from pirate.pool.pool import Pool
from pirate.pool.scaling import Load
from pirate.settings.limits import PoolLimits

KILLED = ChildExit("signal SIGKILL", killed=True)
CRASHED = ChildExit("exit code 1", "cannot use it")
UNLOADABLE = ChildExit("exit code 4", "cannot load 'mod.fn'", fatal=True)
LEFT = ChildExit("exit code 0", clean=True)


class PoolBench:
    """
    A pool with a clock.  After each decision, the time of the next one is checked.

    :ivar now: the time, in seconds.
    :ivar busy: the keys of the children that hold requests.
    :ivar backlog: how many requests wait.
    :ivar received: how many requests have been received.
    :ivar memory: the children's memory, in MiB.
    """

    def __init__(self, **limits: Any) -> None:
        self.now = 100.0
        self.pool = Pool(PoolLimits(**limits), Random(1))
        self.busy: set[int] = set()
        self.backlog = 0
        self.received = 0
        self.memory: dict[int, float] = {}

    def decide(self, seconds: float = 0.0) -> list[Action]:
        """
        Let time pass, and ask the pool until it decides nothing more.

        :return: all decisions.
        """
        self.now += seconds
        done: list[Action] = []
        while actions := self.pool.decide(self.now, self.load()):
            done += [action for action in actions if not isinstance(action, Sweep)]
            assert len(done) < 1000
        wake = self.pool.nextDecision(self.now)
        assert self.now < wake <= self.now + self.pool.limits.checkForWaiting, (self.now, wake)
        return done

    def load(self) -> Load:
        """Return what the supervisor would report."""
        settled = (ChildState.READY, ChildState.RETIRING)
        idle = [
            child.number for child in self.pool.children if child.state in settled and child.number not in self.busy
        ]
        return Load(idle, self.backlog, self.received, self.memory)

    def spawned(self, seconds: float = 0.0) -> list[Child]:
        """
        Let time pass, and check that the pool decides nothing but to spawn.

        :return: the children to spawn.
        """
        actions = self.decide(seconds)
        assert all(isinstance(action, Spawn) for action in actions), actions
        return [action.child for action in actions if isinstance(action, Spawn)]

    def retired(self, seconds: float = 0.0) -> list[Child]:
        """
        Let time pass, and check that the pool decides nothing but to retire.

        :return: the children to retire.
        """
        actions = self.decide(seconds)
        assert all(isinstance(action, Retire) for action in actions), actions
        return [action.child for action in actions if isinstance(action, Retire)]

    def signals(self, seconds: float = 0.0) -> list[tuple[int, str]]:
        """
        Let time pass, and check that the pool decides nothing but to signal.

        :return: the keys of the children, and the signals.
        """
        actions = self.decide(seconds)
        assert all(isinstance(action, Signal) for action in actions), actions
        return [(action.child.number, action.name) for action in actions if isinstance(action, Signal)]

    def ready(self, children: Iterable[Child]) -> list[Child]:
        """Report children as ready, and return them."""
        several = list(children)
        for child in several:
            self.pool.childReady(child, self.now)
        return several

    def left(self) -> None:
        """Report the end of the children that were asked to leave."""
        self.gone([child for child in self.pool.children if child.state is ChildState.RETIRING], LEFT)

    def gone(self, children: Iterable[Child], how: ChildExit = KILLED) -> None:
        """Report the end of children."""
        for child in children:
            self.pool.childExited(child, how, self.now)

    def started(self, seconds: float = 60.0) -> list[Child]:
        """
        Spawn the first workers, report them as ready, and let time pass.

        :return: the workers.
        """
        self.ready(self.spawned())
        self.now += seconds
        self.received += 1
        return list(self.pool.children)
