"""A pool whose children are numbers."""

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


HOPELESS = ChildExit("exit code 4", "cannot load 'mod.fn'", fatal=True)


LEFT = ChildExit("exit code 0", clean=True)


class PoolBench:
    """
    A pool, its children, and a clock.  After each question the next wake-up is checked.

    :ivar now: the time, in seconds.
    :ivar busy: the children that hold something.
    :ivar backlog: how many requests wait.
    :ivar received: how many requests there have been.
    :ivar memory: the children's memory, in MiB.
    """

    def __init__(self, **limits: Any) -> None:
        self.now = 100.0
        self.pool = Pool(PoolLimits(**limits), Random(1))
        self.busy: set[int] = set()
        self.backlog = 0
        self.received = 0
        self.memory: dict[int, float] = {}

    def ask(self, seconds: float = 0.0) -> list[Action]:
        """
        Some time later, ask the pool until there is nothing to be done.

        :return: all that is to be done.
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
        """What the broker would say."""
        settled = (ChildState.WAITING, ChildState.RETIRING)
        idle = [child.key for child in self.pool.children if child.state in settled and child.key not in self.busy]
        return Load(idle, self.backlog, self.received, self.memory)

    def spawned(self, seconds: float = 0.0) -> list[Child]:
        """
        Some time later, ask; nothing but starts may be the answer.

        :return: whom to start.
        """
        actions = self.ask(seconds)
        assert all(isinstance(action, Spawn) for action in actions), actions
        return [action.child for action in actions if isinstance(action, Spawn)]

    def retired(self, seconds: float = 0.0) -> list[Child]:
        """
        Some time later, ask; nothing but retirements may be the answer.

        :return: whom to retire.
        """
        actions = self.ask(seconds)
        assert all(isinstance(action, Retire) for action in actions), actions
        return [action.child for action in actions if isinstance(action, Retire)]

    def signals(self, seconds: float = 0.0) -> list[tuple[int, str]]:
        """
        Some time later, ask; nothing but signals may be the answer.

        :return: the keys, and which signal.
        """
        actions = self.ask(seconds)
        assert all(isinstance(action, Signal) for action in actions), actions
        return [(action.child.key, action.name) for action in actions if isinstance(action, Signal)]

    def ready(self, children: Iterable[Child]) -> list[Child]:
        """Children say that they are ready."""
        several = list(children)
        for child in several:
            self.pool.childReady(child, self.now)
        return several

    def left(self) -> None:
        """Let the children that were asked to leave do so."""
        self.gone([child for child in self.pool.children if child.state is ChildState.RETIRING], LEFT)

    def gone(self, children: Iterable[Child], how: ChildExit = KILLED) -> None:
        """Children have ended."""
        for child in children:
            self.pool.childExited(child, how, self.now)

    def started(self, rest: float = 60.0) -> list[Child]:
        """
        Start the first workers, let all be ready, and some time pass.

        :return: those that there are.
        """
        self.ready(self.spawned())
        self.now += rest
        self.received += 1
        return list(self.pool.children)
