# -*- test-case-name: pirate.test.test_hooks -*-
"""Tests of the hooks."""

from __future__ import annotations

from typing import Any

from pirate.hooks import Hooks
from pirate.pool.child import ChildExit, ChildStatus
from pirate.service import JobServer
from pirate.settings.limits import PoolLimits
from pirate.test.support.testbed import TestBedCase

#: The hooks that report an event.
HOOKS = [name for name in vars(Hooks) if not name.startswith("_") and name != "allowRequest"]
#: From each status, those that may follow, besides the end of the process.
FOLLOWING = {
    "starting": {"waiting", "dequeue", "retiring"},
    "waiting": {"processing", "retiring"},
    "processing": {"waiting", "retiring"},
    "dequeue": {"retiring"},
    "retiring": set[str](),
}


class RecordingHooks(Hooks):
    """Hooks that record the events of children."""

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


class RecordingStates(RecordingHooks):
    """Hooks that record the states of children too."""

    def __init__(self) -> None:
        super().__init__()
        #: The process id, the status before, and the one after; ``gone`` at the end of the process.
        self.steps: list[tuple[int, str, str]] = []

    def statusChanged(self, server: JobServer, pid: int, before: ChildStatus, after: ChildStatus) -> None:
        self.steps.append((pid, before.value, after.value))

    def childExited(self, server: JobServer, pid: int, how: ChildExit) -> None:
        super().childExited(server, pid, how)
        self.steps.append((pid, self.steps[-1][2], "gone"))


class Failing(Hooks):
    """Hooks that raise an exception in every method."""

    def __getattribute__(self, name: str) -> Any:
        if name not in HOOKS:
            return super().__getattribute__(name)

        def hook(*arguments: object) -> None:
            raise ValueError(name)

        hook.__name__ = name
        return hook


class ChildHookTests(TestBedCase):
    """The hooks for children."""

    def test_spawning(self) -> None:
        """``spawning`` gets the number of workers, then ``childStarted`` the process id of each."""
        hooks = RecordingHooks()
        self.serve(3, hooks=hooks)
        self.assertEqual((hooks.counts, hooks.started), ([3], self.pids()))

    def test_exited(self) -> None:
        """``childExited`` gets the cause of the end, and whether it was clean."""
        hooks = RecordingHooks()
        server = self.serve(2, hooks=hooks)
        first, second = self.bed.workers
        self.settle(5)
        first.process.end(signal="KILL")
        self.settle()
        server.shrink()
        self.settle()
        self.assertEqual(hooks.exited[0], (first.process.pid, ChildExit("signal SIGKILL", killed=True)))
        self.assertEqual(hooks.exited[1], (second.process.pid, ChildExit("exit code 0", clean=True)))

    def test_idle(self) -> None:
        """``idle`` is called every check-for-waiting seconds, with and without traffic."""
        hooks = RecordingHooks()
        self.serve(1, hooks=hooks)
        self.settle(30)
        before = hooks.idles
        for _ in range(10):
            self.settle(10)
        self.assertEqual(hooks.idles - before, 10)

    def test_commands(self) -> None:
        """A hook may call the methods of the server."""

        class Grower(Hooks):
            def serverStarted(self, server: JobServer) -> None:
                server.grow()

        server = self.serve(1, hooks=Grower())
        self.settle()
        self.assertEqual(server.stats()["workers"], {"waiting": 2})


class StatusTests(TestBedCase):
    """The hook for the changes of a worker's state."""

    def setUp(self) -> None:
        super().setUp()
        self.bed.autoReply = False
        self.hooks = RecordingStates()

    def names(self, pid: int) -> list[str]:
        """Return the states of one worker in their order."""
        return [after for each, _, after in self.hooks.steps if each == pid]

    def steps(self) -> None:
        """The changes of each worker are contiguous, and the table has them all."""
        statuses: dict[int, str] = {}
        for pid, before, after in self.hooks.steps:
            if after != "gone":
                self.assertEqual(before, statuses.get(pid, "starting"))
                self.assertIn(after, FOLLOWING[before])
            statuses[pid] = after

    def test_request(self) -> None:
        """A request makes its worker busy, and its reply idle again."""
        self.serve(1, hooks=self.hooks)
        [worker] = self.bed.workers
        self.bed.request(b"c", b"x")
        worker.reply()
        self.settle()
        self.assertEqual(self.names(worker.process.pid), ["waiting", "processing", "waiting"])
        self.steps()

    def test_severalInHand(self) -> None:
        """A worker with several requests is busy until its last reply."""
        self.serve(1, hooks=self.hooks)
        [worker] = self.bed.workers
        worker.announce(credit=2)
        for client in (b"a", b"b"):
            self.bed.request(client, b"x")
        worker.reply()
        self.settle()
        self.assertEqual(self.names(worker.process.pid)[-1], "processing")
        worker.reply()
        self.settle()
        self.assertEqual(self.names(worker.process.pid)[-1], "waiting")
        self.steps()

    def test_recycled(self) -> None:
        """A worker with its last request is busy, then retiring, and never idle again."""
        limits = PoolLimits(minServers=1, maxServers=1, maxRequests=1, maxRequestsJitter=0)
        self.serve(hooks=self.hooks, limits=limits)
        [worker] = self.bed.workers
        self.bed.request(b"c", b"x")
        worker.reply()
        self.settle()
        self.assertEqual(self.names(worker.process.pid), ["waiting", "processing", "retiring", "gone"])
        self.steps()

    def test_reloadedWhileBusy(self) -> None:
        """A worker that is retired while it is busy is never idle again."""
        server = self.serve(1, hooks=self.hooks)
        [worker] = self.bed.workers
        self.bed.request(b"c", b"x")
        server.reload()
        self.settle()
        worker.reply()
        self.settle()
        self.assertEqual(self.names(worker.process.pid), ["waiting", "processing", "retiring", "gone"])
        self.steps()

    def test_earlyRequest(self) -> None:
        """A worker that gets a waiting request at once is idle before it is busy."""
        self.bed.autoAnnounce = False
        self.serve(1, hooks=self.hooks)
        self.bed.request(b"c", b"x")
        self.bed.workers[0].announce()
        self.settle()
        self.assertEqual(self.names(self.bed.workers[0].process.pid), ["waiting", "processing"])
        self.steps()

    def test_death(self) -> None:
        """No change is reported after the end of a worker."""
        self.serve(2, hooks=self.hooks)
        self.bed.request(b"c", b"x")
        dead = self.busy()
        dead.process.end(signal="KILL")
        dead.reply()
        self.settle(1)
        self.assertEqual(self.names(dead.process.pid), ["waiting", "processing", "gone"])
        self.steps()


class FailingTests(TestBedCase):
    """Hooks that raise an exception."""

    def test_harmless(self) -> None:
        """An exception in a hook is logged with the name of the hook, and the server continues."""
        server = self.serve(2, hooks=Failing())
        self.assertEqual(self.bed.request(b"c", b"x"), [[b"", b"x"]])
        self.bed.workers[0].process.end(signal="KILL")
        self.settle(1, steps=10)
        self.assertEqual(server.stats()["workers"], {"waiting": 2})
        stopped = server.stopService()
        self.settle()
        self.successResultOf(stopped)
        failures = self.flushLoggedErrors(ValueError)
        hooks = {str(failure.value) for failure in failures}
        self.assertEqual(hooks, set(HOOKS))
        for name in hooks:
            self.assertIn(f"the hook {name} failed", self.log())
