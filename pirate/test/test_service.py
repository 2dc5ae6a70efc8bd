# -*- test-case-name: pirate.test.test_service -*-
"""The life of a server on a test bed: starting, commands, stopping."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from twisted.application.service import IService, MultiService
from zope.interface.verify import verifyObject

import pirate.server.procfs
from pirate.echo import echo
from pirate.errors import BindError, ConfigurationError, ReloadError, StartError, StopError
from pirate.hooks import Hooks
from pirate.service import SERVER_TRANSITIONS, JobServer, ServerState
from pirate.settings.limits import PoolLimits
from pirate.test.support.testbed import TestBedCase


class RecordingUser:
    """
    A user who is told why a server cannot start; the log need not say it again.

    :ivar reasons: why, each time.
    """

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def startFailed(self, reason: str) -> bool:
        """See :class:`~pirate.server.interfaces.StartEvents`."""
        self.reasons.append(reason)
        return True


class StartTests(TestBedCase):
    """From stopped to running."""

    def test_service(self) -> None:
        """A server is an IService, and serves as a child of any other."""
        server = self.make()
        self.assertTrue(verifyObject(IService, server))
        parent = MultiService()
        server.setServiceParent(parent)
        parent.privilegedStartService()
        self.assertIs(server.state, ServerState.BOUND)
        parent.startService()
        self.reactor.run()
        self.settle()
        self.assertIs(server.state, ServerState.RUNNING)

    def test_callable(self) -> None:
        """The app may be a function that workers can import."""
        server = self.serve(1, app=echo)
        self.assertEqual(server.settings.app, "pirate.echo:echo")
        self.assertEqual([worker.config.app for worker in self.bed.workers], ["pirate.echo:echo"])

    def test_order(self) -> None:
        """The privileged start binds the sockets; no child is spawned before the reactor runs."""
        server = self.make()
        server.privilegedStartService()
        self.assertEqual(server.endpoints.frontend, ("tcp://127.0.0.1:6660",))
        self.assertIs(server.state, ServerState.BOUND)
        server.startService()
        self.assertEqual(len(self.bed.transports), 1)
        self.assertEqual(self.reactor.processes, [])
        self.reactor.run()
        self.assertEqual(len(self.reactor.processes), 2)
        self.assertIs(server.state, ServerState.STARTING)
        self.settle()
        self.assertIs(server.state, ServerState.RUNNING)

    def test_earlyRequest(self) -> None:
        """A request that arrives before any worker is ready gets its reply once one is."""
        self.bed.autoAnnounce = False
        self.serve()
        self.assertEqual(self.bed.request(b"c", b"early"), [])
        self.bed.workers[0].announce()
        self.settle()
        self.assertEqual(self.bed.transports[0].frontend.sentTo(b"c"), [[b"", b"early"]])

    def test_bindFails(self) -> None:
        """After a failed bind there is no child, nothing is bound, and the start can be repeated."""
        self.bed.bindErrors["tcp://127.0.0.1:6661"] = "Address already in use"
        server = self.make()
        error = self.assertRaises(BindError, server.startService)
        self.assertIn("tcp://127.0.0.1:6661", str(error))
        self.reactor.run()
        self.settle(100)
        self.assertEqual(self.reactor.processes, [])
        self.assertEqual((server.state, server.endpoints.frontend), (ServerState.STOPPED, ()))
        self.assertEqual(self.bed.transports[0].bound, [])
        self.bed.bindErrors.clear()
        server.startService()
        self.settle()
        self.assertIs(server.state, ServerState.RUNNING)

    def test_endpoints(self) -> None:
        """The bound ports are reported while they are bound, and logged."""
        server = self.serve(frontend=["*", "ipc:///tmp/f"], backend="*")
        tcp, ipc = server.endpoints.frontend
        self.assertRegex(tcp, r"^tcp://127\.0\.0\.1:[0-9]+$")
        self.assertEqual(ipc, "ipc:///tmp/f")
        self.assertEqual(len({tcp, *server.endpoints.backend}), 2)
        self.assertTrue(any(tcp in line and server.endpoints.backend[0] in line for line in self.log()))
        self.stop(server)
        self.assertEqual((server.endpoints.frontend, server.endpoints.backend), ((), ()))

    def test_whenReady(self) -> None:
        """A server is ready when min-servers workers are; a later call of whenReady fires at once."""
        self.bed.autoAnnounce = False
        server = self.make()
        early = server.whenReady()
        server.startService()
        self.reactor.run()
        first, second = self.bed.workers
        first.announce()
        self.settle()
        self.assertNoResult(early)
        second.announce()
        self.settle()
        self.successResultOf(early)
        self.successResultOf(server.whenReady())

    def test_noWorkers(self) -> None:
        """A server that keeps no workers is ready at once."""
        self.successResultOf(self.serve(0).whenReady())
        self.assertEqual(self.reactor.processes, [])

    def test_stoppedBeforeReady(self) -> None:
        """A server that is stopped before it is ready fails the Deferred of whenReady, and stops its workers."""
        self.bed.autoAnnounce = False
        server = self.serve()
        ready = server.whenReady()
        self.stop(server)
        self.failureResultOf(ready, StopError)
        self.assertEqual(self.bed.livingWorkers(), [])

    def test_hopeless(self) -> None:
        """If the app cannot be loaded, the start fails with the worker's own words, and no worker is left."""
        self.bed.autoAnnounce = False
        server = self.serve(3)
        ready = server.whenReady()
        self.bed.workers[1].failToStart("cannot load 'mod.fn': there is no module 'mod'")
        error = self.failureResultOf(ready, StartError).value
        self.assertEqual(str(error), "cannot load 'mod.fn': there is no module 'mod'")
        self.settle()
        self.settle()
        self.assertEqual(self.bed.livingWorkers(), [])
        self.assertEqual([worker.process.signals[-1:] for worker in self.bed.workers], [["KILL"], [], ["KILL"]])
        self.settle(100)
        self.assertEqual(len(self.bed.workers), 3)
        self.assertIs(server.state, ServerState.STOPPED)
        self.assertTrue(any("there is no module 'mod'" in line for line in self.log()))

    def test_hopelessLater(self) -> None:
        """A server that starts workers on demand gives up when the first cannot load the app."""
        self.bed.autoAnnounce = False
        user = RecordingUser()
        server = self.serve(limits=PoolLimits(minServers=0, maxServers=2), startEvents=user)
        self.bed.request(b"c", b"x")
        self.bed.livingWorkers()[0].failToStart("cannot load 'mod.fn': there is no module 'mod'")
        self.settle()
        self.settle()
        self.assertEqual(user.reasons, ["cannot load 'mod.fn': there is no module 'mod'"])
        self.assertFalse(any("the workers cannot start" in line for line in self.log()))
        self.assertIs(server.state, ServerState.STOPPED)

    def test_memory(self) -> None:
        """A memory limit is refused where memory cannot be measured, at the start and later."""
        self.patch(pirate.server.procfs, "residentMemory", lambda pid: 0.0)
        server = self.make(limits=PoolLimits(maxMemory=100))
        error = self.assertRaises(ConfigurationError, server.privilegedStartService)
        self.assertIn("max-memory is 100", str(error))
        self.assertIn("/proc", str(error))
        self.assertEqual(self.bed.transports, [])
        server = self.serve()
        self.assertRaises(ConfigurationError, server.reconfigure, maxMemory=100)
        self.assertEqual(server.limits.maxMemory, 0)

    def test_setWorkers(self) -> None:
        """The number of workers, the dequeue callable and the log level can be changed while the server runs."""
        server = self.serve(2)
        server.reconfigure(workers=4)
        self.settle()
        self.assertEqual((server.limits.minServers, server.limits.maxServers, len(server.workers)), (4, 4, 4))
        server.reconfigure(dequeue="mod.clean", checkForDequeue=5, logLevel=4)
        self.settle(6, steps=60)
        self.assertEqual([worker.config.dequeue for worker in self.bed.workers].count("mod.clean"), 1)
        self.assertEqual(server.settings.logLevel, 4)
        error = self.assertRaises(ConfigurationError, server.reconfigure, frontend=1)
        self.assertIn("frontend", str(error))
        self.assertRaises(ConfigurationError, server.reconfigure, minServers=9, maxServers=3)
        self.assertEqual(server.limits.minServers, 4)

    def test_noProcesses(self) -> None:
        """If the system refuses to start processes, the server gives up after a few attempts, and says why."""
        self.reactor.spawnError = OSError(11, "Resource temporarily unavailable")
        server = self.serve()
        ready = server.whenReady()
        self.assertNoResult(ready)
        self.settle(3, steps=30)
        self.assertIn("Resource temporarily unavailable", str(self.failureResultOf(ready, StartError).value))
        self.assertIs(server.state, ServerState.STOPPED)

    def test_crashesAtFirst(self) -> None:
        """Workers that crash before they are ready are started again, but not for ever."""
        self.bed.autoAnnounce = False
        server = self.serve(1)
        ready = server.whenReady()
        for tries in (1, 2, 3):
            self.assertNoResult(ready)
            self.assertEqual(len(self.bed.workers), tries)
            self.bed.workers[-1].process.end(1)
            self.settle(1, steps=10)
        self.assertIn("exit code 1", str(self.failureResultOf(ready, StartError).value))
        self.assertEqual(len(self.bed.workers), 3)

    def stop(self, server: JobServer) -> None:
        """Stop a server that is idle."""
        stopped = server.stopService()
        self.settle()
        self.successResultOf(stopped)


class CommandTests(TestBedCase):
    """Commands to a running server."""

    def test_reconfigure(self) -> None:
        """Higher limits start workers at once, lower ones retire them, and the limits are reported."""
        server = self.serve()
        server.reconfigure(minServers=4, maxServers=4)
        self.settle()
        self.assertEqual(len(server.workers), 4)
        server.reconfigure(minServers=1, maxServers=1, minSpareServers=0, maxSpareServers=1)
        self.settle()
        self.assertEqual((len(server.workers), server.limits.maxServers), (1, 1))

    def test_contradiction(self) -> None:
        """Limits that contradict each other are refused by name, and nothing is changed."""
        server = self.serve()
        before = server.limits
        error = self.assertRaises(ConfigurationError, server.reconfigure, minServers=9)
        self.assertIn("min-servers (9)", str(error))
        self.assertRaises(ConfigurationError, server.reconfigure, checkForDequeue=5.0)
        self.settle(1)
        self.assertEqual((server.limits, len(server.workers)), (before, 2))

    def test_workersAndLimits(self) -> None:
        """``workers`` and a limit that it sets must agree, as on the command line."""
        server = self.make()
        before = server.limits
        for name in ("minServers", "maxServers"):
            error = self.assertRaises(ConfigurationError, server.reconfigure, **{"workers": 5, name: 3})
            self.assertIn("workers (5) sets", str(error))
            self.assertIn("is 3", str(error))
        for value in (-1, None):
            error = self.assertRaises(ConfigurationError, server.reconfigure, workers=value)
            self.assertIn(f"workers is {value}", str(error))
        self.assertEqual(server.limits, before)
        server.reconfigure(workers=5, minServers=5)
        self.assertEqual((server.limits.minServers, server.limits.maxServers), (5, 5))

    def test_keptLimits(self) -> None:
        """Limits that are set before the start, or between two, apply to the next."""
        server = self.make()
        server.reconfigure(minServers=1)
        server.startService()
        self.reactor.run()
        self.settle()
        self.assertEqual(len(server.workers), 1)

    def test_growAndShrink(self) -> None:
        """One worker more, or fewer, at once; the limits follow."""
        server = self.serve()
        server.grow()
        self.settle()
        self.assertEqual((len(server.workers), server.limits.minServers, server.limits.maxServers), (3, 3, 3))
        oldest = self.pids()[0]
        server.shrink()
        self.settle()
        self.assertEqual((len(server.workers), server.limits.minServers), (2, 2))
        self.assertNotIn(oldest, server.workers)

    def test_smallest(self) -> None:
        """The limits do not fall below 0 and 1."""
        server = self.serve(1)
        for _ in range(3):
            server.shrink()
            self.settle()
        self.assertEqual((server.limits.minServers, server.limits.maxServers), (0, 1))

    def test_reload(self) -> None:
        """A reload replaces every worker, and retires no old one before a new one is ready."""
        server = self.serve()
        old = self.pids()
        self.bed.autoAnnounce = False
        done = server.reload()
        self.settle()
        self.assertEqual(self.pids()[:2], old)
        while not done.called:
            newest = self.bed.livingWorkers()[-1]
            self.assertNotIn(newest.process.pid, old)
            newest.announce()
            self.settle()
        self.successResultOf(done)
        self.assertEqual(len(self.pids()), 2)
        self.assertEqual(set(self.pids()) & set(old), set())

    def test_reloadFails(self) -> None:
        """If a new worker cannot start, the reload fails with its words, and the old ones go on serving."""
        server = self.serve()
        old = self.pids()
        self.bed.autoAnnounce = False
        done = server.reload()
        self.settle()
        self.bed.workers[-1].failToStart("cannot load 'mod.fn': SyntaxError: invalid syntax")
        error = self.failureResultOf(done, ReloadError).value
        self.assertIn("SyntaxError: invalid syntax", str(error))
        self.settle(30, steps=30)
        self.assertEqual(self.pids(), old)
        self.assertEqual(self.bed.request(b"c", b"x"), [[b"", b"x"]])

    def test_reloadTwice(self) -> None:
        """A second reload during a first one is carried out, and both Deferreds fire."""
        server = self.serve(1)
        self.bed.autoAnnounce = False
        both = [server.reload(), server.reload()]
        self.settle()
        while not all(done.called for done in both):
            self.bed.livingWorkers()[-1].announce()
            self.settle()
        for done in both:
            self.successResultOf(done)

    def test_reloadStopped(self) -> None:
        """A reload fails when the server stops."""
        server = self.serve()
        self.bed.autoAnnounce = False
        done = server.reload()
        server.stopService()
        self.failureResultOf(done, ReloadError)

    def test_stoppedServer(self) -> None:
        """A server that is stopped or stopping accepts no commands."""
        server = self.make()
        for command in (server.grow, server.shrink, server.reload):
            self.assertRaises(StopError, command)
        self.bed.autoReply = False
        server.startService()
        self.reactor.run()
        self.settle()
        self.bed.request(b"c", b"x")
        server.stopService()
        for command in (server.grow, server.shrink, server.reload):
            self.assertRaises(StopError, command)


class Witness(Hooks):
    """Hooks that record each call and the state of the server."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ServerState]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in vars(Hooks) and not name.startswith("_"):
            return lambda server, *arguments: self.calls.append((name, server.state))
        return super().__getattribute__(name)


class StateTests(TestBedCase):
    """The states of a server follow their table."""

    def test_hooksInOrder(self) -> None:
        """The hooks are called in order, each in the state that its name says."""
        witness = Witness()
        server = self.serve(1, hooks=witness)
        server.stopService()
        self.settle()
        told = [call for call in witness.calls if call[0] not in ("idle", "statusChanged")]
        self.assertEqual(
            told,
            [
                ("serverStarting", ServerState.BOUND),
                ("spawning", ServerState.STARTING),
                ("childStarted", ServerState.STARTING),
                ("serverStarted", ServerState.RUNNING),
                ("serverStopping", ServerState.DRAINING),
                ("childExited", ServerState.DRAINING),
                ("serverStopped", ServerState.STOPPED),
            ],
        )

    def test_transitions(self) -> None:
        """Every transition that a server makes is in the table, and every state can be reached."""
        witness = Witness()
        states = [ServerState.STOPPED]
        server = self.serve(1, hooks=witness)
        server.stopService()
        self.settle()
        for _, state in witness.calls:
            if state is not states[-1]:
                states.append(state)
        for before, after in pairwise(states):
            self.assertIn(after, SERVER_TRANSITIONS[before])
        self.assertEqual(set(states), set(ServerState))
