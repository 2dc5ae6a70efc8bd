# -*- test-case-name: pirate.test.integration.test_concurrency -*-
"""Workers that run several requests at once: on asyncio's loop, on Twisted's reactor, in threads."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any, NoReturn

import zmq
from twisted.trial.unittest import SynchronousTestCase

from pirate.service import JobServer
from pirate.settings.limits import PoolLimits, RequestPolicy
from pirate.test.support.caller import Caller, ReliabilityCase
from pirate.test.support.gate import PATIENCE, Guest
from pirate.test.support.servers import executions
from pirate.worker.app import App
from pirate.worker.asynciorunner import run

CROWDS = "pirate.test.support.concurrentapps"
#: Each way: the app, and what makes it run three requests at once.
WAYS: dict[str, dict[str, Any]] = {
    "visit": {"concurrency": 3},
    "visitLater": {"concurrency": 3, "loop": "twisted"},
    "visitInThread": {"threads": 3},
}


class CrowdCase(ReliabilityCase):
    """Servers with an app of ``crowds``, one worker each."""

    async def start(self, app: str, workers: int = 1, **given: Any) -> JobServer:
        """A server whose worker runs three at once, if nothing else is said."""
        policy = {name: given.pop(name) for name in list(given) if name in RequestPolicy.__dataclass_fields__}
        given = {**WAYS.get(app, {"concurrency": 3}), **given}
        more = {"checkForWaiting": 0.02, **given}
        return await self.serve(f"{CROWDS}.{app}", workers, policy=RequestPolicy(**policy), **more)

    async def crowd(self, caller: Caller, *keys: bytes, **options: Any) -> list[Guest]:
        """Send requests, and wait until each of them is at the gate."""
        guests = []
        for key in keys:
            caller.send(key, self.gate.path, **options)
            guests.append(await self.guest())
        return guests

    async def answers(self, caller: Caller, count: int) -> dict[bytes, Any]:
        """The next answers: the reply to each key, or the error's code."""
        found = [await caller.next() for _ in range(count)]
        return {key: told.get("code") or b"".join(body) for key, told, body in found}


class WaysTests(CrowdCase):
    """What they all do."""

    async def test_atOnce(self) -> None:
        """As many as may run do so, in one process; answers come in any order; one more waits for the first of them."""
        for app in WAYS:
            server = await self.start(app)
            caller = self.caller(server)
            guests = await self.crowd(caller, b"a", b"b", b"c")
            self.assertEqual({guest.pid for guest in guests}, set(server.workers))
            caller.send(b"d", self.gate.path)
            await self.until(lambda server=server: server.stats()["backlog"] == 1)  # type: ignore[misc]
            guests[1].tell(b"raise")
            self.assertEqual(await self.answers(caller, 1), {b"b": "app-error"})
            (await self.guest()).tell(b"4")
            guests[0].tell(b"1")
            guests[2].tell(b"3")
            self.assertEqual(await self.answers(caller, 3), {b"a": b"1", b"c": b"3", b"d": b"4"})
            self.assertEqual(server.stats()["exits"], {})
            await server.stopService()

    async def test_stop(self) -> None:
        """A server that stops waits for all that is in hand, and its worker leaves in order."""
        for app in WAYS:
            server = await self.start(app)
            caller = self.caller(server)
            guests = await self.crowd(caller, b"a", b"b")
            stopped = server.stopService()
            for guest in guests:
                guest.tell(b"done")
            self.assertEqual(await self.answers(caller, 2), {b"a": b"done", b"b": b"done"})
            await stopped
        self.assertUntroubled()

    async def test_term(self) -> None:
        """A worker that gets TERM finishes what it has begun, and begins nothing more; another does."""
        for app in WAYS:
            server = await self.start(app)
            caller = self.caller(server)
            (first,) = await self.crowd(caller, b"a")
            os.kill(first.pid, signal.SIGTERM)
            first.tell(b"done")
            self.assertEqual(await self.answers(caller, 1), {b"a": b"done"})
            (second,) = await self.crowd(caller, b"b")
            self.assertNotEqual(first.pid, second.pid)
            second.tell(b"done")
            await self.answers(caller, 1)
            self.assertEqual(server.stats()["exits"], {"exit code 0": 1})
            await server.stopService()

    async def test_leave(self) -> None:
        """An app that ends the process loses what it holds to the next, where each can end otherwise."""
        for app in WAYS:
            server = await self.start(app)
            caller = self.caller(server)
            _, leaver = await self.crowd(caller, b"a", b"b")
            leaver.tell(b"leave")
            for _ in range(2):
                (await self.guest()).tell(b"done")
            self.assertEqual(await self.answers(caller, 2), {b"a": b"done", b"b": b"done"})
            self.assertEqual(server.stats()["exits"], {"exit code 5": 1})
            await server.stopService()


class LoopTests(CrowdCase):
    """What becomes of requests on a loop."""

    async def test_death(self) -> None:
        """When the worker is killed, all that it had in hand runs again in another, but what may be tried only once."""
        server = await self.start("visit")
        caller = self.caller(server)
        (first, _) = await self.crowd(caller, b"a", b"b")
        await self.crowd(caller, b"c", attempts=1)
        os.kill(first.pid, signal.SIGKILL)
        self.assertEqual(await self.answers(caller, 1), {b"c": "worker-lost"})
        for _ in range(2):
            (await self.guest()).tell(b"done")
        self.assertEqual(await self.answers(caller, 2), {b"a": b"done", b"b": b"done"})

    async def test_cancel(self) -> None:
        """A cancelled request's task is cancelled; its neighbour and its worker stay."""
        server = await self.start("visit")
        caller = self.caller(server)
        stays, goes = await self.crowd(caller, b"a", b"b")
        caller.send(b"b", b"", command="cancel")
        self.assertEqual(await self.answers(caller, 1), {b"b": "cancelled"})
        goes.awaitEnd()
        stays.tell(b"done")
        self.assertEqual(await self.answers(caller, 1), {b"a": b"done"})
        self.assertEqual((executions(self.record), server.stats()["exits"]), (["cancelled"], {}))

    async def test_softTimeout(self) -> None:
        """At the soft time limit a task is cancelled, and its caller told of a timeout; the worker stays."""
        server = await self.start("visit", jobSoftTimeout=0.3)
        caller = self.caller(server)
        await self.crowd(caller, b"a", b"b")
        self.assertEqual(await self.answers(caller, 2), {b"a": "timeout", b"b": "timeout"})
        self.assertEqual((executions(self.record), server.stats()["exits"]), (["cancelled"] * 2, {}))

    async def test_jobTimeout(self) -> None:
        """A job that blocks the loop is stopped with its worker; one that began later runs again in the next."""
        server = await self.start("visit", jobTimeout=0.7)
        caller = self.caller(server)
        (first,) = await self.crowd(caller, b"a")
        first.tell(b"hog")
        await self.until(lambda: executions(self.record) == ["hogging"])
        caller.send(b"b", self.gate.path)
        self.assertEqual(await self.answers(caller, 1), {b"a": "timeout"})
        (await self.guest()).tell(b"done")
        self.assertEqual(await self.answers(caller, 1), {b"b": b"done"})

    async def test_retire(self) -> None:
        """A worker whose lifetime is over answers all that it holds, and is replaced."""
        server = await self.start("visit", maxRequests=2, maxRequestsJitter=0)
        caller = self.caller(server)
        guests = await self.crowd(caller, b"a", b"b", b"c")
        self.assertEqual(guests[0].pid, guests[1].pid)
        self.assertNotEqual(guests[0].pid, guests[2].pid)
        for guest in guests:
            guest.tell(b"done")
        await self.answers(caller, 3)
        await self.until(lambda: server.stats()["exits"] == {"exit code 0": 1})
        self.assertUntroubled()

    async def test_heartbeat(self) -> None:
        """A worker that is asked whether it is there, in the middle of long jobs, loses none of them."""
        server = await self.start("visit", deliveryTimeout=0.05)
        caller = self.caller(server)
        guests = await self.crowd(caller, b"a", b"b", b"c")
        # By the time that this one is given up, it has been asked.
        caller.send(b"d", self.gate.path, timeout_ms=200)
        self.assertEqual(await self.answers(caller, 1), {b"d": "expired"})
        for guest in guests:
            guest.tell(b"done")
        self.assertEqual(await self.answers(caller, 3), dict.fromkeys((b"a", b"b", b"c"), b"done"))
        self.assertEqual(server.stats()["redispatched"], 0)

    async def test_parts(self) -> None:
        """More parts than ZeroMQ holds arrive, in order, those of two answers between each other."""
        server = await self.start("parts")
        caller = self.caller(server)
        for key in (b"a", b"b"):
            caller.send(key, b"3000", partial=True)
        got: dict[bytes, list[bytes]] = {b"a": [], b"b": []}
        ended: set[bytes] = set()
        while len(ended) < 2:
            key, told, body = await caller.next()
            if told.get("status") == "partial":
                got[key] += body
            else:
                ended.add(key)
        numbers = [b"%d" % number for number in range(3000)]
        self.assertEqual(got, {b"a": numbers, b"b": numbers})

    async def test_life(self) -> None:
        """A class is made and set up on the loop before there are requests, and closed there after the last."""
        server = await self.start("Housed")
        self.assertEqual(executions(self.record), ["made", "setup"])
        caller = self.caller(server)
        (guest,) = await self.crowd(caller, b"a")
        stopped = server.stopService()
        guest.tell(b"done")
        self.assertEqual(await self.answers(caller, 1), {b"a": b"done"})
        await stopped
        self.assertEqual(executions(self.record)[2:], ["closed"])
        self.assertUntroubled()

    async def test_fewWorkers(self) -> None:
        """No more workers are started while those that are there could do with more."""
        limits = PoolLimits(minServers=1, maxServers=4, minSpareServers=1, maxSpareServers=2, stopTimeout=PATIENCE)
        server = await self.start("visit", limits=limits)
        caller = self.caller(server)
        guests = await self.crowd(caller, b"a")
        self.assertEqual(server.stats()["spawns"], 1)
        guests += await self.crowd(caller, b"b")
        await self.until(lambda: server.stats()["spawns"] == 2)
        for guest in guests:
            guest.tell(b"done")
        await self.answers(caller, 2)


class LeavingTests(SynchronousTestCase):
    """A worker on asyncio's loop whose app ends the process, at the other end of a socket."""

    def test_beginsNothing(self) -> None:
        """What comes while the app is being closed is not begun: another worker is to have it."""
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.addCleanup(context.destroy, linger=0)
        broker, worker = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
        broker.bind("inproc://backend")
        worker.connect("inproc://backend")
        begun: list[bytes] = []

        class Quitter:
            async def __call__(self, body: bytes) -> bytes:
                begun.append(body)
                raise SystemExit(5)

            async def close(self) -> None:
                broker.send_multipart([b"", b"2", b"", b"late"])
                for _ in range(10):
                    await asyncio.sleep(0)

        class Events:
            def appReady(self, app: App) -> None:
                broker.send_multipart([b"", b"1", b"", b"first"])

            def appFailed(self, error: BaseException) -> NoReturn:
                raise error

            def creditChanged(self, credit: int) -> None:
                pass

        error = self.assertRaises(SystemExit, run, Quitter, worker, Events(), softTimeout=0)
        self.assertEqual((error.code, begun), (5, [b"first"]))
