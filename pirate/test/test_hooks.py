# -*- test-case-name: pirate.test.test_hooks -*-
"""What an application is told, and that it cannot break the server."""

from __future__ import annotations

from typing import Any

from pirate.hooks import Hooks
from pirate.pool.child import CHILD_TRANSITIONS, ChildExit, ChildState
from pirate.service import JobServer
from pirate.settings.limits import PoolLimits
from pirate.test.support.testbed import TestBedCase

#: Every hook that is told of something.
HOOKS = [name for name in vars(Hooks) if not name.startswith("_") and name != "allowRequest"]


class Told(Hooks):
    """Keeps what it is told of children."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.started: list[int] = []
        self.exited: list[tuple[int, ChildExit]] = []
        self.idles = 0

    def spawning(self, server: JobServer, count: int) -> None:
        self.counts.append(count)

    def childStarted(self, server: JobServer, pid: int) -> None:
        self.started.append(pid)

    def childExited(self, server: JobServer, pid: int, how: ChildExit) -> None:
        self.exited.append((pid, how))

    def idle(self, server: JobServer) -> None:
        self.idles += 1


class Watching(Told):
    """Follows the states of children, too."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[int, ChildState, ChildState]] = []

    def statusChanged(self, server: JobServer, pid: int, before: ChildState, after: ChildState) -> None:
        self.steps.append((pid, before, after))

    def childExited(self, server: JobServer, pid: int, how: ChildExit) -> None:
        super().childExited(server, pid, how)
        self.steps.append((pid, self.steps[-1][2], ChildState.GONE))


class Failing(Hooks):
    """Raises in every hook."""

    def __getattribute__(self, name: str) -> Any:
        if name not in HOOKS:
            return super().__getattribute__(name)

        def hook(*arguments: object) -> None:
            raise ValueError(name)

        hook.__name__ = name
        return hook


class ChildHookTests(TestBedCase):
    """The hooks about children."""

    def test_spawning(self) -> None:
        """How many are to come is told before they come, then the pid of each."""
        told = Told()
        self.serve(3, hooks=told)
        self.assertEqual((told.counts, told.started), ([3], self.pids()))

    def test_exited(self) -> None:
        """Each end is told with its cause, and whether it was a clean one."""
        told = Told()
        server = self.serve(2, hooks=told)
        first, second = self.bed.workers
        self.settle(5)
        first.process.ends(signal="KILL")
        self.settle()
        server.shrink()
        self.settle()
        self.assertEqual(told.exited[0], (first.process.pid, ChildExit("signal SIGKILL", killed=True)))
        self.assertEqual(told.exited[1], (second.process.pid, ChildExit("exit code 0", clean=True)))

    def test_idle(self) -> None:
        """Whatever the traffic, the hook for idle moments is called every check-for-waiting seconds."""
        told = Told()
        self.serve(1, hooks=told)
        self.settle(30)
        before = told.idles
        for _ in range(10):
            self.settle(10)
        self.assertEqual(told.idles - before, 10)

    def test_commands(self) -> None:
        """A hook may give the server commands."""

        class Grower(Hooks):
            def serverStarted(self, server: JobServer) -> None:
                server.grow()

        server = self.serve(1, hooks=Grower())
        self.settle()
        self.assertEqual(server.stats()["workers"], {"waiting": 2})


class StatusTests(TestBedCase):
    """The hook for each change of a worker's state."""

    def setUp(self) -> None:
        super().setUp()
        self.bed.answering = False
        self.hooks = Watching()

    def names(self, pid: int) -> list[str]:
        """The states that one worker went through."""
        return [after.value for each, _, after in self.hooks.steps if each == pid]

    def steps(self) -> None:
        """Each worker's steps join on to each other, and are all in the table."""
        states: dict[int, ChildState] = {}
        for pid, before, after in self.hooks.steps:
            if after is not ChildState.GONE:
                self.assertIs(before, states.get(pid, ChildState.STARTING))
                self.assertIn(after, CHILD_TRANSITIONS[before])
            states[pid] = after

    def test_request(self) -> None:
        """A request makes its worker busy and then idle again."""
        self.serve(1, hooks=self.hooks)
        [worker] = self.bed.workers
        self.bed.ask(b"c", b"x")
        worker.answer()
        self.settle()
        self.assertEqual(self.names(worker.process.pid), ["waiting", "processing", "waiting"])
        self.steps()

    def test_severalInHand(self) -> None:
        """A worker that holds several requests is busy until the last is answered."""
        self.serve(1, hooks=self.hooks)
        [worker] = self.bed.workers
        worker.announce(credit=2)
        for client in (b"a", b"b"):
            self.bed.ask(client, b"x")
        worker.answer()
        self.settle()
        self.assertEqual(self.names(worker.process.pid)[-1], "processing")
        worker.answer()
        self.settle()
        self.assertEqual(self.names(worker.process.pid)[-1], "waiting")
        self.steps()

    def test_recycled(self) -> None:
        """A worker that gets its last request is busy, then leaving, and never idle again."""
        limits = PoolLimits(minServers=1, maxServers=1, maxRequests=1, maxRequestsJitter=0)
        self.serve(hooks=self.hooks, limits=limits)
        [worker] = self.bed.workers
        self.bed.ask(b"c", b"x")
        worker.answer()
        self.settle()
        self.assertEqual(self.names(worker.process.pid), ["waiting", "processing", "retiring", "gone"])
        self.steps()

    def test_reloadedWhileBusy(self) -> None:
        """So is one that is retired while it is busy."""
        server = self.serve(1, hooks=self.hooks)
        [worker] = self.bed.workers
        self.bed.ask(b"c", b"x")
        server.reload()
        self.settle()
        worker.answer()
        self.settle()
        self.assertEqual(self.names(worker.process.pid), ["waiting", "processing", "retiring", "gone"])
        self.steps()

    def test_earlyRequest(self) -> None:
        """A worker that finds a request waiting is idle for a moment before it is busy."""
        self.bed.announcing = False
        self.serve(1, hooks=self.hooks)
        self.bed.ask(b"c", b"x")
        self.bed.workers[0].announce()
        self.settle()
        self.assertEqual(self.names(self.bed.workers[0].process.pid), ["waiting", "processing"])
        self.steps()

    def test_death(self) -> None:
        """Nothing is told of a worker after its end."""
        self.serve(2, hooks=self.hooks)
        self.bed.ask(b"c", b"x")
        dead = self.busy()
        dead.process.ends(signal="KILL")
        dead.answer()
        self.settle(1)
        self.assertEqual(self.names(dead.process.pid), ["waiting", "processing", "gone"])
        self.steps()


class FailingTests(TestBedCase):
    """Hooks that raise."""

    def test_harmless(self) -> None:
        """An exception in any hook is logged with its name, and the server does all that it would have done."""
        server = self.serve(2, hooks=Failing())
        self.assertEqual(self.bed.ask(b"c", b"x"), [[b"", b"x"]])
        self.bed.workers[0].process.ends(signal="KILL")
        self.settle(1, steps=10)
        self.assertEqual(server.stats()["workers"], {"waiting": 2})
        stopped = server.stopService()
        self.settle()
        self.successResultOf(stopped)
        failures = self.flushLoggedErrors(ValueError)
        told = {str(failure.value) for failure in failures}
        self.assertEqual(told, set(HOOKS))
        for name in told:
            self.assertIn(f"the hook {name} failed", self.log())
