# -*- test-case-name: pirate.test.integration.test_concurrency -*-
"""Tests of workers that run several requests at once: on asyncio's loop, on Twisted's reactor, in threads."""

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
from pirate.worker.environment import WorkerEnvironment

APPS = "pirate.test.support.concurrentapps"
#: Each way to run several requests at once: an app, and the settings with which it runs three.
WAYS: dict[str, dict[str, Any]] = {
    "visit": {"concurrency": 3},
    "visitLater": {"concurrency": 3, "loop": "twisted"},
    "visitInThread": {"threads": 3},
}


class ConcurrencyCase(ReliabilityCase):
    """A test with servers of one worker, which runs several requests at once."""

    async def start(self, app: str, workers: int = 1, **given: Any) -> JobServer:
        """Start a server whose worker runs three requests at once, unless told otherwise."""
        policy = {name: given.pop(name) for name in list(given) if name in RequestPolicy.__dataclass_fields__}
        given = {**WAYS.get(app, {"concurrency": 3}), **given}
        more = {"checkForWaiting": 0.02, **given}
        return await self.serve(f"{APPS}.{app}", workers, policy=RequestPolicy(**policy), **more)

    async def begin(self, caller: Caller, *keys: bytes, **options: Any) -> list[Guest]:
        """Send requests, and wait until each of them has connected to the gate."""
        guests = []
        for key in keys:
            caller.send(key, self.gate.path, **options)
            guests.append(await self.guest())
        return guests

    async def replies(self, caller: Caller, count: int) -> dict[bytes, Any]:
        """Return the next replies by their keys; the code of an error in its place."""
        found = [await caller.next() for _ in range(count)]
        return {key: told.get("code") or b"".join(body) for key, told, body in found}


class WaysTests(ConcurrencyCase):
    """Rules that hold for every way."""

    async def test_atOnce(self) -> None:
        """As many requests as allowed run at once in one process and end in any order; one more waits in the broker."""
        for app in WAYS:
            server = await self.start(app)
            caller = self.caller(server)
            guests = await self.begin(caller, b"a", b"b", b"c")
            self.assertEqual({guest.pid for guest in guests}, set(server.workers))
            caller.send(b"d", self.gate.path)
            await self.until(lambda server=server: server.stats()["backlog"] == 1)  # type: ignore[misc]
            guests[1].tell(b"raise")
            self.assertEqual(await self.replies(caller, 1), {b"b": "app-error"})
            (await self.guest()).tell(b"4")
            guests[0].tell(b"1")
            guests[2].tell(b"3")
            self.assertEqual(await self.replies(caller, 3), {b"a": b"1", b"c": b"3", b"d": b"4"})
            self.assertEqual(server.stats()["exits"], {})
            await server.stopService()

    async def test_stop(self) -> None:
        """A server that stops waits for the requests in flight, and its worker exits cleanly."""
        for app in WAYS:
            server = await self.start(app)
            caller = self.caller(server)
            guests = await self.begin(caller, b"a", b"b")
            stopped = server.stopService()
            for guest in guests:
                guest.tell(b"done")
            self.assertEqual(await self.replies(caller, 2), {b"a": b"done", b"b": b"done"})
            await stopped
        self.assertUntroubled()

    async def test_term(self) -> None:
        """A worker that gets TERM finishes its requests and gets no more; the next goes to another worker."""
        for app in WAYS:
            server = await self.start(app)
            caller = self.caller(server)
            first, other = await self.begin(caller, b"a", b"b")
            os.kill(first.pid, signal.SIGTERM)
            # A loop may handle TERM one turn after what it reads at the same time, and accept a request in between.
            # After this reply that turn is next.
            other.tell(b"done")
            self.assertEqual(await self.replies(caller, 1), {b"b": b"done"})
            first.tell(b"done")
            self.assertEqual(await self.replies(caller, 1), {b"a": b"done"})
            (second,) = await self.begin(caller, b"c")
            self.assertNotEqual(first.pid, second.pid, app)
            second.tell(b"done")
            await self.replies(caller, 1)
            self.assertEqual(server.stats()["exits"], {"exit code 0": 1})
            await server.stopService()

    async def test_leave(self) -> None:
        """When the app ends the process, the requests in flight run again in the next worker."""
        for app in WAYS:
            server = await self.start(app)
            caller = self.caller(server)
            _, leaver = await self.begin(caller, b"a", b"b")
            leaver.tell(b"leave")
            for _ in range(2):
                (await self.guest()).tell(b"done")
            self.assertEqual(await self.replies(caller, 2), {b"a": b"done", b"b": b"done"})
            self.assertEqual(server.stats()["exits"], {"exit code 5": 1})
            await server.stopService()


class LoopTests(ConcurrencyCase):
    """Requests on asyncio's loop."""

    async def test_death(self) -> None:
        """When the worker is killed, its requests run again in another, but for one that allows a single attempt."""
        server = await self.start("visit")
        caller = self.caller(server)
        (first, _) = await self.begin(caller, b"a", b"b")
        await self.begin(caller, b"c", attempts=1)
        os.kill(first.pid, signal.SIGKILL)
        self.assertEqual(await self.replies(caller, 1), {b"c": "worker-lost"})
        for _ in range(2):
            (await self.guest()).tell(b"done")
        self.assertEqual(await self.replies(caller, 2), {b"a": b"done", b"b": b"done"})

    async def test_cancel(self) -> None:
        """A cancelled request's task is cancelled; other requests and the worker go on."""
        server = await self.start("visit")
        caller = self.caller(server)
        stays, goes = await self.begin(caller, b"a", b"b")
        caller.send(b"b", b"", command="cancel")
        self.assertEqual(await self.replies(caller, 1), {b"b": "cancelled"})
        goes.awaitEnd()
        stays.tell(b"done")
        self.assertEqual(await self.replies(caller, 1), {b"a": b"done"})
        self.assertEqual((executions(self.record), server.stats()["exits"]), (["cancelled"], {}))

    async def test_softTimeout(self) -> None:
        """At the soft time limit the task is cancelled and the caller gets ``timeout``; the worker goes on."""
        server = await self.start("visit", jobSoftTimeout=0.3)
        caller = self.caller(server)
        await self.begin(caller, b"a", b"b")
        self.assertEqual(await self.replies(caller, 2), {b"a": "timeout", b"b": "timeout"})
        self.assertEqual((executions(self.record), server.stats()["exits"]), (["cancelled"] * 2, {}))

    async def test_jobTimeout(self) -> None:
        """A job that blocks the loop is stopped with its worker; a job that began later runs again in the next."""
        server = await self.start("visit", jobTimeout=0.7)
        caller = self.caller(server)
        (first,) = await self.begin(caller, b"a")
        first.tell(b"hog")
        await self.until(lambda: executions(self.record) == ["hogging"])
        caller.send(b"b", self.gate.path)
        self.assertEqual(await self.replies(caller, 1), {b"a": "timeout"})
        (await self.guest()).tell(b"done")
        self.assertEqual(await self.replies(caller, 1), {b"b": b"done"})

    async def test_retire(self) -> None:
        """A worker at its max-requests finishes its requests in flight, and is replaced."""
        server = await self.start("visit", maxRequests=2, maxRequestsJitter=0)
        caller = self.caller(server)
        guests = await self.begin(caller, b"a", b"b", b"c")
        self.assertEqual(guests[0].pid, guests[1].pid)
        self.assertNotEqual(guests[0].pid, guests[2].pid)
        for guest in guests:
            guest.tell(b"done")
        await self.replies(caller, 3)
        await self.until(lambda: server.stats()["exits"] == {"exit code 0": 1})
        self.assertUntroubled()

    async def test_heartbeat(self) -> None:
        """A heartbeat in the middle of long jobs makes the broker redispatch none of them."""
        server = await self.start("visit", deliveryTimeout=0.05)
        caller = self.caller(server)
        guests = await self.begin(caller, b"a", b"b", b"c")
        # When this request expires, the broker has sent the heartbeat.
        caller.send(b"d", self.gate.path, timeout_ms=200)
        self.assertEqual(await self.replies(caller, 1), {b"d": "expired"})
        for guest in guests:
            guest.tell(b"done")
        self.assertEqual(await self.replies(caller, 3), dict.fromkeys((b"a", b"b", b"c"), b"done"))
        self.assertEqual(server.stats()["redispatched"], 0)

    async def test_parts(self) -> None:
        """More parts than ZeroMQ's buffers hold arrive in order, those of two replies interleaved."""
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
        """A class is made and set up on the loop before the first request, and closed there after the last."""
        server = await self.start("OnLoop")
        self.assertEqual(executions(self.record), ["made", "setup"])
        caller = self.caller(server)
        (guest,) = await self.begin(caller, b"a")
        stopped = server.stopService()
        guest.tell(b"done")
        self.assertEqual(await self.replies(caller, 1), {b"a": b"done"})
        await stopped
        self.assertEqual(executions(self.record)[2:], ["closed"])
        self.assertUntroubled()

    async def test_fewWorkers(self) -> None:
        """No worker is started while those that exist can take more requests."""
        limits = PoolLimits(minServers=1, maxServers=4, minSpareServers=1, maxSpareServers=2, stopTimeout=PATIENCE)
        server = await self.start("visit", limits=limits)
        caller = self.caller(server)
        guests = await self.begin(caller, b"a")
        self.assertEqual(server.stats()["spawns"], 1)
        guests += await self.begin(caller, b"b")
        await self.until(lambda: server.stats()["spawns"] == 2)
        for guest in guests:
            guest.tell(b"done")
        await self.replies(caller, 2)


class ExitTests(SynchronousTestCase):
    """A worker on asyncio's loop whose app ends the process, without a server."""

    def test_beginsNothing(self) -> None:
        """A request that arrives while the app is being closed is not begun; the broker gives it to another worker."""
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
            def appReady(self, app: App, packs: bool = False) -> None:
                broker.send_multipart([b"", b"1", b"", b"first"])

            def appFailed(self, error: BaseException) -> NoReturn:
                raise error

            def creditChanged(self, credit: int) -> None:
                pass

        error = self.assertRaises(SystemExit, run, Quitter, worker, Events(), WorkerEnvironment(), softTimeout=0)
        self.assertEqual((error.code, begun), (5, [b"first"]))
