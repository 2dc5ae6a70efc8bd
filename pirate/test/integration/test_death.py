# -*- test-case-name: pirate.test.integration.test_death -*-
"""Tests of sudden deaths: of the server, and of workers with requests in flight."""

from __future__ import annotations

import contextlib
import os
import signal
from time import monotonic

from twisted.internet.threads import deferToThread

from pirate.client import Client, WorkerLost
from pirate.test.support.clients import ask
from pirate.test.support.gate import PATIENCE
from pirate.test.support.processes import processesIn, processorTime, remaining
from pirate.test.support.servers import ProgramCase, ServerCase


class ParentTests(ProgramCase):
    """A server that is killed."""

    def assertAllGo(self, pid: int) -> None:
        """Kill a server, and check that all of its workers end within a second."""
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(remaining(processesIn(self.folder), 1.0), [])

    def awaitWork(self, pid: int) -> None:
        """Wait until a process has used processor time, and so is busy."""
        enough = processorTime([pid]) + 0.05
        while processorTime([pid]) < enough:
            self.assertEqual(remaining([pid], 0.02), [pid])

    def test_killed(self) -> None:
        """No worker outlives its server: neither an idle one, nor one in a system call, nor one in C code."""
        endpoints = [f"--{each}=ipc://{self.folder}/{each}" for each in ("frontend", "backend")]
        server = self.twistd("mixed", *endpoints, "--workers=4").ready()
        workers = server.workers()
        client = self.native(server.frontend)
        for _ in range(3):
            client.send(self.gate.path)
        _waiting, matching, hogging = [self.gate.next() for _ in range(3)]
        matching.tell(b"match")
        hogging.tell(b"hog")
        self.awaitWork(matching.pid)
        self.awaitWork(hogging.pid)
        self.assertEqual(remaining(workers, 0), workers)
        self.assertEqual(len(workers), 4)
        self.assertAllGo(server.pid)
        # The next server replaces the socket files that this one has left.
        self.assertEqual(ask(self.twistd("upper", *endpoints, "--workers=1").ready().frontend, b"x"), [b"X"])

    def test_killedWhileStopped(self) -> None:
        """A worker that a signal has stopped ends too, although it cannot react before it is continued."""
        server = self.twistd("upper", "--workers=2").ready()
        for pid in server.workers():
            os.kill(pid, signal.SIGSTOP)
        self.assertAllGo(server.pid)

    def test_killedWhileStarting(self) -> None:
        """A worker that is still starting ends too."""
        server = self.twistd("Stuck", "--workers=3", "--log-level=3")
        server.out.until("stdout: stuck", 2)
        self.assertAllGo(server.pid)

    def test_killedDaemon(self) -> None:
        """The workers of a daemon end too."""
        endpoints = [f"--{each}=ipc://{self.folder}/{each}" for each in ("frontend", "backend")]
        self.assertEqual(self.twistd("upper", *endpoints, "--workers=3", options=("--pidfile=",)).wait(), 0)
        self.assertEqual(ask(f"ipc://{self.folder}/frontend", b"x"), [b"X"])
        pids = processesIn(self.folder)
        (daemon,) = [pid for pid in pids if parentOf(pid) not in pids]
        self.assertAllGo(daemon)


def parentOf(pid: int) -> int:
    """Return the parent of a process."""
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def socketsOf(pid: int) -> set[str]:
    """Return the sockets that a process has open, by their names in ``/proc``."""
    folder = f"/proc/{pid}/fd"
    links = {os.readlink(f"{folder}/{each}") for each in os.listdir(folder)}
    return {each for each in links if each.startswith("socket:")}


class WorkerTests(ServerCase):
    """Workers that get signals from outside, and die of them."""

    async def test_killedBusy(self) -> None:
        """The request of a worker that is killed goes to another one at once."""
        server = await self.serve(workers=2)
        asked = self.ask(server, b"meet", self.gate.path)
        first = await deferToThread(self.gate.next)
        killed = monotonic()
        os.kill(first.pid, signal.SIGKILL)
        second = await deferToThread(self.gate.next)
        self.assertLess(monotonic() - killed, 1.0)
        second.tell(b"pid")
        self.assertEqual(await asked, [b"%d" % second.pid])
        await self.until(lambda: list(server.workers.values()) == ["waiting"] * 2)
        self.assertEqual(len(self.logged(f"worker {first.pid} ended while processing: signal SIGKILL$")), 1)

    async def test_once(self) -> None:
        """A request of a client with one attempt does not run again when its worker is killed."""
        server = await self.serve(workers=2)
        client = Client(server.endpoints.frontend[0], codec="frames", attempts=1, timeout=PATIENCE)
        self.addCleanup(client.close)
        calls = [deferToThread(client.call, b"meet", self.gate.path) for _ in range(2)]
        for _ in calls:
            guest = await deferToThread(self.gate.next)
            os.kill(guest.pid, signal.SIGKILL)
        for call in calls:
            await self.assertFailure(call, WorkerLost)
        self.assertEqual(server.stats()["redispatched"], 0)

    async def test_terminated(self) -> None:
        """A worker that gets TERM finishes its request, exits and is replaced, without a warning in the log."""
        server = await self.serve(workers=1)
        held = self.ask(server, b"meet", self.gate.path)
        guest = await deferToThread(self.gate.next)
        next = self.ask(server, b"pid")
        os.kill(guest.pid, signal.SIGTERM)
        guest.tell(b"pid")
        self.assertEqual(await held, [b"%d" % guest.pid])
        newcomer = int((await next)[0])
        self.assertNotEqual(newcomer, guest.pid)
        os.kill(newcomer, signal.SIGTERM)
        self.assertNotIn((await self.ask(server, b"pid"))[0], (b"%d" % guest.pid, b"%d" % newcomer))
        await self.until(lambda: server.stats()["exits"] == {"exit code 0": 2})
        self.assertUntroubled()

    async def test_terminatedTwice(self) -> None:
        """A second TERM ends the worker at once, and its request goes to another."""
        server = await self.serve(workers=1)
        held = self.ask(server, b"meet", self.gate.path)
        first = await deferToThread(self.gate.next)
        os.kill(first.pid, signal.SIGTERM)
        os.kill(first.pid, signal.SIGTERM)
        while remaining([first.pid], 0.1):
            os.kill(first.pid, signal.SIGTERM)
        second = await deferToThread(self.gate.next)
        second.tell(b"pid")
        self.assertEqual(await held, [b"%d" % second.pid])

    async def test_deafToTheTerminal(self) -> None:
        """INT, HUP and QUIT, which a terminal sends to every process, have no effect on a worker."""
        server = await self.serve(workers=1)
        (pid,) = server.workers
        asked = self.ask(server, b"meet", self.gate.path)
        guest = await deferToThread(self.gate.next)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
            os.kill(pid, number)
        guest.tell(b"pid")
        self.assertEqual(await asked, [b"%d" % pid])
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
            os.kill(pid, number)
        self.assertEqual(await self.ask(server, b"pid"), [b"%d" % pid])
        self.assertUntroubled()

    async def test_grandchild(self) -> None:
        """A process that an app has started delays neither the replacement of its worker nor the stop of the server."""
        server = await self.serve(workers=1)
        (pid,) = server.workers
        grandchild = int((await self.ask(server, b"spawn"))[0])
        self.addCleanup(self.end, grandchild)
        killed = monotonic()
        os.kill(pid, signal.SIGKILL)
        await self.until(lambda: self.moments[-1][0] == "childStarted")
        # The server waits for the end of the streams for a second at most.
        self.assertLess(self.times[-1] - killed, 0.9)
        self.assertNotEqual(await self.ask(server, b"pid"), [b"%d" % pid])
        started = monotonic()
        await server.stopService()
        self.assertLess(monotonic() - started, PATIENCE / 4)
        self.assertEqual(remaining([grandchild], 0), [grandchild])

    async def test_fork(self) -> None:
        """A process that an app has forked does not keep the connection of its worker open."""
        for backend in ("*", f"ipc://{self.folder}/backend"):
            server = await self.serve(workers=1, backend=backend)
            (pid,) = server.workers
            child = int((await self.ask(server, b"fork"))[0])
            self.addCleanup(self.end, child)
            self.assertTrue(socketsOf(pid))
            self.assertEqual(socketsOf(pid) & socketsOf(child), set())
            self.assertEqual(await self.ask(server, b"pid"), [b"%d" % pid])
            os.kill(pid, signal.SIGKILL)
            self.assertNotEqual(await self.ask(server, b"pid"), [b"%d" % pid])
            self.assertEqual(server.stats()["connections"]["backend"]["open"], 1)
            self.assertEqual(remaining([child], 0), [child])
            await server.stopService()

    def end(self, pid: int) -> None:
        """Kill a process, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
