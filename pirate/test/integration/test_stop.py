# -*- test-case-name: pirate.test.integration.test_stop -*-
"""Tests of stopping with requests in flight, which get their replies while there is time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from time import monotonic

from twisted.internet.threads import deferToThread

from pirate.test.support.clients import askNative
from pirate.test.support.gate import PATIENCE
from pirate.test.support.processes import processesIn, remaining
from pirate.test.support.program import Program
from pirate.test.support.servers import ProgramCase, ServerCase, executions
from pirate.wire.words import MAX_CREDIT


class DrainTests(ProgramCase):
    """Stopping under load, with jobs that end last."""

    def assertDrains(self, stop: Callable[[Program], None]) -> None:
        """Check that each request accepted before a stop gets one reply, and that the end leaves nothing behind."""
        endpoints = [f"--{each}=ipc://{self.folder}/{each}" for each in ("frontend", "backend")]
        server = self.twistd("mixed", *endpoints, "--workers=3", f"--stop-timeout={PATIENCE}").ready()
        held = self.asking(server.frontend, self.gate.path)
        client = self.native(server.frontend)
        others = [client.send(self.gate.path)]
        guests = [self.gate.next() for _ in range(2)]
        load = self.load(server.frontend, 6)
        load.more(100)
        others.append(client.send(self.gate.path))
        guests.append(self.gate.next())
        # More requests than one worker may hold.
        waiting = [client.send(b"waiting-%d" % each) for each in range(MAX_CREDIT + 10)]
        self.assertGreaterEqual(client.backlog(), 1)
        stop(server)
        server.out.until("stopping")
        self.assertTrue(server.runs())
        for guest in guests:
            guest.tell(b"upper", b"late")
        self.assertEqual(held.result(), [b"LATE"])
        self.assertEqual([client.receive(each) for each in others], [({}, [b"LATE"])] * 2)
        answers = [client.receive(each) for each in waiting]
        self.assertEqual(answers, [({}, [b"WAITING-%d" % each]) for each in range(len(waiting))])
        self.assertEqual(server.wait(), 0)
        executed = [line.split()[0].encode() for line in executions(self.record)]
        self.assertEqual(len(set(executed)), len(executed))
        load.until(len(executed) - len(waiting))
        load.cut()
        self.assertEqual(load.answers, {each: [each.upper()] for each in executed if each.startswith(b"request")})
        self.assertUntroubled(server)
        self.assertEqual(os.listdir(self.folder), ["record"])

    def test_terminate(self) -> None:
        """TERM to the server."""
        self.assertDrains(lambda server: server.signal(signal.SIGTERM))

    def test_quit(self) -> None:
        """QUIT to the server."""
        self.assertDrains(lambda server: server.signal(signal.SIGQUIT))

    def test_terminateGroup(self) -> None:
        """TERM to the server and its workers, as some supervisors send it."""
        self.assertDrains(lambda server: os.killpg(server.pid, signal.SIGTERM))

    def test_interruptGroup(self) -> None:
        """INT to the server and its workers, as a terminal sends it."""
        self.assertDrains(lambda server: os.killpg(server.pid, signal.SIGINT))


class DeadlineTests(ProgramCase):
    """The time that a stop may take."""

    def test_stopTimeout(self) -> None:
        """With ``--stop-timeout 1`` a stop takes about a second; unfinished requests are logged and get errors."""
        server = self.twistd("mixed", "--workers=1", "--stop-timeout=1").ready()
        client = self.native(server.frontend)
        running = client.send(self.gate.path)
        guest = self.gate.next()
        waiting = client.send(b"x")
        self.assertEqual(client.backlog(), 1)
        started = monotonic()
        self.assertEqual(server.stop(), 0)
        took = monotonic() - started
        self.assertGreater(took, 0.95)
        self.assertLess(took, 3.0)
        self.assertEqual(client.receive(running)[0]["code"], "worker-lost")
        self.assertEqual(client.receive(waiting)[0]["code"], "stopping")
        guest.awaitEnd()
        self.assertEqual(len(server.out.matches("stopped with 1 requests in flight and 1 waiting, unanswered")), 1)
        self.assertEqual(processesIn(self.folder), [])
        self.assertEqual(executions(self.record), [])

    def test_quit(self) -> None:
        """QUIT has no time limit: a job that takes longer than ``stop-timeout`` still gets its reply."""
        server = self.twistd("mixed", "--workers=1", "--stop-timeout=0.1").ready()
        held = self.asking(server.frontend, self.gate.path)
        guest = self.gate.next()
        server.signal(signal.SIGQUIT)
        server.out.until("stopping")
        self.assertEqual(remaining([server.pid, guest.pid], 0.6), [server.pid, guest.pid])
        guest.tell(b"upper", b"late")
        self.assertEqual(held.result(), [b"LATE"])
        self.assertEqual(server.wait(), 0)
        self.assertUntroubled(server)

    def test_secondSignal(self) -> None:
        """A second signal stops the server at once, and the log has the number of unfinished requests."""
        server = self.twistd("mixed", "--workers=2", f"--stop-timeout={PATIENCE}").ready()
        client = self.native(server.frontend)
        running = client.send(self.gate.path)
        guest = self.gate.next()
        guest.tell(b"hog")
        server.signal(signal.SIGINT)
        server.out.until("stopping")
        started = monotonic()
        server.signal(signal.SIGINT)
        self.assertEqual(server.wait(), 0)
        self.assertLess(monotonic() - started, 3.0)
        self.assertEqual(client.receive(running)[0]["code"], "worker-lost")
        self.assertEqual(len(server.out.matches("stopped with 1 requests in flight")), 1)
        self.assertEqual(processesIn(self.folder), [])


class EmbeddedTests(ServerCase):
    """Stopping an embedded server."""

    async def test_grace(self) -> None:
        """``stopService`` waits for the request in flight; a new one gets ``stopping``."""
        server = await self.serve(workers=2)
        held = self.ask(server, b"meet", self.gate.path)
        guest = await deferToThread(self.gate.next)
        endpoint = server.endpoints.frontend[0]
        stopped = server.stopService()
        told, _ = await deferToThread(askNative, endpoint, b"upper", b"too late")
        self.assertEqual(told["code"], "stopping")
        self.assertFalse(stopped.called)
        guest.tell(b"upper", b"late")
        self.assertEqual(await held, [b"LATE"])
        await stopped
        self.assertUntroubled()

    async def test_cut(self) -> None:
        """After the stop timeout, a worker that ignores TERM is killed, and one that obeys it is not."""
        server = await self.serve(workers=2, stopTimeout=0.2)
        endpoint = server.endpoints.frontend[0]
        asked = [deferToThread(askNative, endpoint, b"meet", self.gate.path) for _ in range(2)]
        polite, deaf = [await deferToThread(self.gate.next) for _ in range(2)]
        deaf.tell(b"hog")
        await server.stopService()
        self.assertEqual([(await each)[0]["code"] for each in asked], ["worker-lost"] * 2)
        self.assertEqual(remaining([polite.pid, deaf.pid], 0), [])
        self.assertEqual(len(self.logged("stopped with 2 requests in flight")), 1)
        self.assertEqual(len(self.logged("gets SIGKILL")), 1)
        self.assertEqual(len(self.logged(f"worker {deaf.pid} gets SIGKILL")), 1)

    async def test_abort(self) -> None:
        """``abort`` stops at once, whatever the workers do."""
        server = await self.serve(workers=2)
        asked = deferToThread(askNative, server.endpoints.frontend[0], b"meet", self.gate.path)
        guest = await deferToThread(self.gate.next)
        started = monotonic()
        await server.abort()
        self.assertLess(monotonic() - started, 3.0)
        self.assertEqual(remaining([guest.pid], 0), [])
        self.assertEqual((await asked)[0]["code"], "worker-lost")
