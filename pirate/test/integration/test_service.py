# -*- test-case-name: pirate.test.integration.test_service -*-
"""Tests of servers embedded in this process, with real sockets and children, on the global reactor."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
from itertools import pairwise
from pathlib import Path
from time import monotonic

from twisted.application.service import IService, MultiService
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

from pirate.errors import BindError, StartError, StopError
from pirate.hooks import Hooks
from pirate.service import JobServer, ServerState
from pirate.test.support.clients import ask, askNative
from pirate.test.support.processes import remaining
from pirate.test.support.servers import ServerCase, executions
from pirate.transport.binding import Binding
from pirate.transport.sockets import SocketTransport


def own() -> set[str]:
    """Return the UNIX sockets without files by which workers reach servers of this process."""
    links = {os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    with open("/proc/net/unix") as sockets:
        rows = [line.split() for line in sockets if " @pirate-" in line]
    return {row[-1] for row in rows if f"socket:[{row[6]}]" in links}


def yielding() -> set[int]:
    """Return the threads of this process with the policy ``SCHED_BATCH``."""
    threads = map(int, os.listdir("/proc/self/task"))
    return {thread for thread in threads if os.sched_getscheduler(thread) == os.SCHED_BATCH}


class LifeTests(ServerCase):
    """Starting and stopping."""

    async def test_startStopStart(self) -> None:
        """A server can be started again after a stop, which ends its workers and frees its endpoints."""
        server = await self.serve("upper", 2)
        for _ in range(2):
            self.assertEqual(await self.ask(server, b"hello"), [b"HELLO"])
            pids, endpoint = list(server.workers), server.endpoints.frontend[0]
            await server.stopService()
            self.assertEqual(remaining(pids, 0), [])
            self.assertEqual((server.state, server.workers, server.stats()), (ServerState.STOPPED, {}, {}))
            socket.create_server(("127.0.0.1", int(endpoint.rpartition(":")[2]))).close()
            server.startService()
            await server.whenReady()
            self.assertFalse(set(pids) & set(server.workers))
        await server.stopService()
        self.assertUntroubled()

    async def test_twoServers(self) -> None:
        """One of two servers in a process can be stopped and started again while the other serves."""
        staying = await self.serve("record", 2)
        leaving = await self.serve("upper", 2)
        load = self.load(staying, 4)
        await deferToThread(load.more, 20)
        self.assertEqual(await self.ask(leaving, b"x"), [b"X"])
        await leaving.stopService()
        await deferToThread(load.more, 20)
        leaving.startService()
        await leaving.whenReady()
        self.assertEqual(await self.ask(leaving, b"y"), [b"Y"])
        await deferToThread(load.more, 20)
        await deferToThread(load.finish)
        self.assertEqual(load.answers, {each: [each.upper()] for each in load.asked})
        self.assertEqual(len(executions(self.record)), len(load.asked))
        self.assertUntroubled()

    async def test_call(self) -> None:
        """Calls from the server's own process get their replies, large ones among them."""
        server = await self.serve("upper", 2)
        replies = [server.call(b"r%d" % number) for number in range(50)]
        self.assertEqual([await reply for reply in replies], [b"R%d" % number for number in range(50)])
        self.assertEqual(await server.call(b"x" * 100_000), b"X" * 100_000)
        await server.stopService()
        await self.assertFailure(server.call(b"x"), StopError)
        self.assertUntroubled()

    async def test_parent(self) -> None:
        """A server starts and stops with its parent service."""
        parent = MultiService()
        server = self.server("upper")
        server.setServiceParent(IService(parent))
        parent.privilegedStartService()
        parent.startService()
        await server.whenReady()
        self.assertEqual(await self.ask(server, b"x"), [b"X"])
        await parent.stopService()
        self.assertEqual(server.state, ServerState.STOPPED)

    async def test_signalsLeftAlone(self) -> None:
        """An embedded server installs no signal handlers."""
        await self.serve()
        numbers = [each for each in signal.Signals if each not in (signal.SIGKILL, signal.SIGSTOP)]
        before = {each: signal.getsignal(each) for each in numbers}
        await self.serve()
        self.assertEqual({each: signal.getsignal(each) for each in numbers}, before)

    async def test_stoppedBeforeReady(self) -> None:
        """A server that is stopped while its workers start stops soon, and fails the Deferred of ``whenReady``."""
        server = self.server("Stuck", 2)
        server.startService()
        ready = server.whenReady()
        await self.until(lambda: len(self.logged("stdout: stuck")) == 2)
        pids = list(server.workers)
        await server.stopService()
        await self.assertFails(ready, StopError)
        self.assertEqual(remaining(pids, 0), [])
        self.assertEqual(len(self.logged("has left: signal SIGKILL")), 2)

    async def test_unusable(self) -> None:
        """An app that cannot be loaded fails the start with the reason; no worker and no bound socket is left."""
        with open(self.broken, "w"):
            server = self.server("Fragile", 3)
            server.startService()
            endpoint, ready = server.endpoints.frontend[0], server.whenReady()
            error = await self.assertFails(ready, StartError)
        self.assertRegex(error, r"^cannot load '.*Fragile': RuntimeError: it is broken \(.*apps.py, line \d+\)$")
        await self.until(lambda: server.state is ServerState.STOPPED)
        self.assertEqual(remaining([moment[1] for moment in self.moments if moment[0] == "childStarted"], 0), [])
        socket.create_server(("127.0.0.1", int(endpoint.rpartition(":")[2]))).close()

    async def test_portInUse(self) -> None:
        """A port in use is named in the error; the other endpoint does not stay bound, and no child is started."""
        taken = await self.serve()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            free = probe.getsockname()[1]
        server = self.server(frontend=free, backend=taken.endpoints.backend[0])
        error = self.assertRaises(BindError, server.startService)
        self.assertIn(taken.endpoints.backend[0], str(error))
        socket.create_server(("127.0.0.1", free)).close()
        self.assertEqual((server.state, server.workers), (ServerState.STOPPED, {}))


class EndpointTests(ServerCase):
    """The endpoints of a server."""

    async def test_several(self) -> None:
        """A server replies at each of several frontends and backends."""
        server = await self.serve(
            "upper", frontend=["*", f"ipc://{self.folder}/f"], backend=["127.0.0.1:*", f"ipc://{self.folder}/b"]
        )
        self.assertEqual([len(each) for each in (server.endpoints.frontend, server.endpoints.backend)], [2, 2])
        replies = [deferToThread(ask, each, each.encode()) for each in server.endpoints.frontend]
        self.assertEqual(await gatherResults(replies), [[each.encode().upper()] for each in server.endpoints.frontend])

    async def test_ipc(self) -> None:
        """A UNIX socket is its owner's alone and is removed at the stop; one that a dead server left is replaced."""
        paths = [f"{self.folder}/{name}" for name in ("f", "b")]
        for path in paths:
            stale = socket.socket(socket.AF_UNIX)
            stale.bind(path)
            stale.close()
        server = await self.serve("upper", frontend=f"ipc://{paths[0]}", backend=f"ipc://{paths[1]}")
        self.assertEqual([stat.S_IMODE(os.stat(path).st_mode) for path in paths], [0o700, 0o700])
        self.assertEqual(await self.ask(server, b"x"), [b"X"])
        another = self.server(frontend=f"ipc://{paths[0]}")
        self.assertRaises(BindError, another.startService)
        self.assertEqual(await self.ask(server, b"y"), [b"Y"])
        await server.stopService()
        self.assertEqual([os.path.exists(path) for path in paths], [False, False])

    async def test_own(self) -> None:
        """On Linux the server's own workers use a UNIX socket without a file, which ends with the server."""
        if not sys.platform.startswith("linux"):
            raise SkipTest("only Linux has UNIX sockets without files")
        before = own()
        server = await self.serve("upper", 2)
        self.assertEqual(len(own() - before), 1)
        self.assertEqual(await self.ask(server, b"hello"), [b"HELLO"])
        await server.stopService()
        self.assertEqual(own() - before, set())

    async def test_threads(self) -> None:
        """On Linux ZeroMQ's threads in the broker run with ``SCHED_BATCH``, so that they do not preempt the reactor."""
        if not hasattr(os, "SCHED_BATCH"):
            raise SkipTest("this system has no such policy")
        before = yielding()
        await self.serve("upper")
        # One moves the bytes, the other cleans up.
        self.assertEqual(len(yielding() - before), 2)

    async def test_noneOfItsOwn(self) -> None:
        """Without such a socket, the workers connect over TCP."""
        self.patch(SocketTransport, "bindForOwnWorkers", lambda transport: None)
        server = await self.serve("upper", 2)
        self.assertEqual(await self.ask(server, b"hello"), [b"HELLO"])

    async def test_ownRefused(self) -> None:
        """If the system refuses such a socket, the workers connect over TCP."""

        def refuse(binding: Binding) -> str:
            if "@" in binding.endpoint:
                raise BindError("Operation not permitted")
            return bind(binding)

        bind = Binding.bind
        self.patch(Binding, "bind", refuse)
        server = await self.serve("upper", 2)
        self.assertEqual(await self.ask(server, b"hello"), [b"HELLO"])

    async def test_ipv6(self) -> None:
        """IPv6 loopback works for clients and for workers."""
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError as error:
            raise SkipTest(f"there is no IPv6 loopback: {error}") from None
        server = await self.serve("upper", frontend="[::1]:*", backend="tcp://[::1]:*")
        self.assertIn("[::1]", server.endpoints.backend[0])
        self.assertEqual(await self.ask(server, b"x"), [b"X"])


class HooksTests(ServerCase):
    """The hooks of an application."""

    async def test_order(self) -> None:
        """Each hook is called once for its event, in order, with the cause of each worker's end."""
        server = await self.serve("perform", 2)
        pids = list(server.workers)
        await deferToThread(askNative, server.endpoints.frontend[0], b"drop", b"7", attempts=1)
        await self.until(lambda: list(server.workers.values()) == ["waiting"] * 2)
        await server.stopService()
        told = [(each[0], str(each[2]) if len(each) > 2 else None) for each in self.moments]
        begin = [("serverStarting", None), ("spawning", None), ("childStarted", None), ("childStarted", None)]
        self.assertEqual(told[:5], [*begin, ("serverStarted", None)])
        self.assertIn(("childExited", "exit code 7"), told[5:])
        end = told[told.index(("serverStopping", None)) :]
        self.assertEqual(end[-1], ("serverStopped", None))
        self.assertTrue(set(pids) <= {each[1] for each in self.moments if each[0] == "childExited"})

    async def test_status(self) -> None:
        """A hook gets each change of a worker's state."""
        changes: list[tuple[str, str]] = []

        class Follower(Hooks):
            def statusChanged(self, server: JobServer, pid: int, before: object, after: object) -> None:
                changes.append((before.value, after.value))  # type: ignore[attr-defined]

        server = await self.serve("upper", hooks=Follower())
        await self.ask(server, b"x")
        await server.stopService()
        path = ["starting", "waiting", "processing", "waiting", "retiring"]
        self.assertEqual(changes, list(pairwise(path)))

    async def test_faulty(self) -> None:
        """An exception in a hook is logged, and the server continues."""

        class Faulty(Hooks):
            def idle(self, server: JobServer) -> None:
                raise ValueError("a faulty hook")

        server = await self.serve("upper", hooks=Faulty())
        self.assertEqual(await self.ask(server, b"x"), [b"X"])
        await server.stopService()
        self.assertGreater(len(self.flushLoggedErrors(ValueError)), 0)


class LimitsTests(ServerCase):
    """Changes of the number of workers while the server runs."""

    async def test_reconfigure(self) -> None:
        """Changed limits have effect at once, both up and down."""
        server = await self.serve("pid", 1)
        first = list(server.workers)
        server.reconfigure(minServers=3, maxServers=3)
        await self.until(lambda: list(server.workers.values()) == ["waiting"] * 3)
        server.reconfigure(minServers=1, maxServers=1)
        await self.until(lambda: len(server.workers) == 1)
        self.assertEqual(await self.ask(server, b""), [b"%d" % next(iter(server.workers))])
        self.assertEqual(remaining([pid for pid in first if pid not in server.workers], 0), [])
        self.assertUntroubled()

    async def test_growAndShrink(self) -> None:
        """One worker more, and one fewer, at once."""
        server = await self.serve("pid", 2)
        server.grow()
        await self.until(lambda: list(server.workers.values()) == ["waiting"] * 3)
        server.shrink()
        server.shrink()
        await self.until(lambda: len(server.workers) == 1)
        self.assertEqual(await self.ask(server, b""), [b"%d" % next(iter(server.workers))])
        self.assertUntroubled()

    async def test_dequeue(self) -> None:
        """The dequeue callable runs in one child of its own at a time, which gets no requests."""
        server = await self.serve("pid", dequeue="pirate.test.support.apps.dequeue", checkForDequeue=0.1, maxDequeue=1)
        workers = list(server.workers)
        guest = await deferToThread(self.gate.next)
        await self.until(lambda: server.workers == {workers[0]: "waiting", guest.pid: "dequeue"})
        after = monotonic() + 0.5
        await self.until(lambda: monotonic() > after)
        self.assertEqual([await self.ask(server, b"") for _ in range(2)], [[b"%d" % workers[0]]] * 2)
        self.assertEqual(set(server.workers), {workers[0], guest.pid})
        guest.close()
        another = await deferToThread(self.gate.next)
        self.assertNotEqual(another.pid, guest.pid)
        another.close()
        await server.stopService()
        self.assertUntroubled()

    async def test_brokerOnly(self) -> None:
        """A server without workers starts, binds and stops."""
        server = await self.serve(workers=0)
        self.assertEqual((server.state, server.workers), (ServerState.RUNNING, {}))
        await server.stopService()
        self.assertUntroubled()
