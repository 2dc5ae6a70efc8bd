# -*- test-case-name: pirate.test.integration.test_client_apis -*-
"""Tests of all clients alike, with real servers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from pirate.client import AppError, Busy, Cancelled, Client, Outage, Stopping, Timeout, Unavailable
from pirate.service import JobServer
from pirate.settings.limits import RequestPolicy
from pirate.test.support.apis import APIS, Api
from pirate.test.support.gate import PATIENCE
from pirate.test.support.scripted import Script, ScriptedBroker, echo, native, silent
from pirate.test.support.servers import ProgramCase, ServerCase
from pirate.wire.frontend import header
from pirate.wire.words import Code

#: Where apps are that answer in parts.
JOBS = "pirate.test.support.jobs"


class ApiCase(ServerCase):
    """A test case that closes its clients."""

    def each(self, endpoints: Any, act: Callable[[Api], object], **options: Any) -> Deferred[None]:
        """Do something with each client in turn, in a thread, so that the reactor can run."""

        def all() -> None:
            for kind in APIS:
                try:
                    self.api(kind, endpoints, act, **options)
                except Exception as error:
                    error.add_note(f"with the {kind.name} client")
                    raise

        return deferToThread(all)

    def api(self, kind: type[Any], endpoints: Any, act: Callable[[Api], object], **options: Any) -> None:
        """Do something with one client."""
        api = kind(endpoints, **{"timeout": PATIENCE, **options})
        try:
            act(api)
        finally:
            api.close()

    def await_(self, condition: Callable[[], bool]) -> None:
        """Wait in a thread until a condition holds."""
        end, pause = monotonic() + PATIENCE, threading.Event()
        while not condition():
            self.assertTrue(monotonic() < end)
            # The server runs in another thread of this process, and needs the interpreter.
            pause.wait(0.001)

    def front(self, server: JobServer) -> str:
        """Return the frontend of a server."""
        return str(server.endpoints.frontend[0])

    def broker(self, script: Script, endpoint: str = "tcp://127.0.0.1:*") -> ScriptedBroker:
        """Return a broker that follows a script."""
        broker = ScriptedBroker(script, endpoint)
        self.addCleanup(broker.close)
        return broker

    def path(self) -> str:
        """Return an ipc endpoint without a server."""
        return f"ipc://{self.folder}/{len(os.listdir(self.folder))}-{os.urandom(4).hex()}"


class ConformanceTests(ApiCase):
    """The behaviour that all clients share."""

    async def test_reply(self) -> None:
        """A reply is bytes, or with the codec ``frames`` a list; without it, several frames raise an error."""

        def act(api: Api) -> None:
            self.assertEqual(api.call(b"upper", b"x"), b"X")
            error = self.assertRaises(ValueError, api.call, b"several", b"x", b"")
            self.assertEqual(str(error), "the reply has 3 frames: codec='frames' returns them as a list")

        def frames(api: Api) -> None:
            self.assertEqual(api.call(b"upper", b"x"), [b"X"])
            self.assertEqual(api.call(b"several", b"x", b""), [b"x", b"", b"2"])

        front = self.front(await self.serve())
        await self.each(front, act)
        await self.each(front, frames, codec="frames")
        await self.each(front.replace("127.0.0.1", "localhost"), act)

    async def test_appError(self) -> None:
        """An exception of the app raises AppError with its type, its text, the request's id and the endpoint."""
        server = await self.serve()
        front = self.front(server)

        def act(api: Api) -> None:
            error: AppError = self.assertRaises(AppError, api.call, b"fail", b"bad")
            self.assertEqual((error.type, error.text, error.endpoint), ("ValueError", "bad", front))
            self.assertEqual(len(error.request), 16)

        await self.each(front, act)

    async def test_timeout(self) -> None:
        """A call ends in time, and says whether anything was sent; the client can be used again."""
        broker = self.broker(lambda frames: [] if frames[-1] == b"held" else [frames])

        def act(api: Api) -> None:
            began = monotonic()
            error: Timeout = self.assertRaises(Timeout, api.call, b"held")
            self.assertTrue(0.2 <= monotonic() - began < 5.0)
            self.assertEqual((error.sent, isinstance(error, Unavailable)), (2, False))
            self.assertEqual(api.call(b"next"), b"next")

        def nobody(api: Api) -> None:
            self.assertEqual(self.assertRaises(Unavailable, api.call, b"x").sent, 0)

        await self.each(broker.endpoint, act, timeout=0.2)
        await self.each(self.path(), nobody, timeout=0.05)

    async def test_outage(self) -> None:
        """The loss of a connection with calls in flight is reported; when it is back, the request is sent again."""

        def restart(kind: type[Any]) -> None:
            told: list[Outage] = []
            first = self.broker(silent)

            def act(api: Api) -> None:
                with ThreadPoolExecutor(1) as threads:
                    reply = threads.submit(api.call, b"x")
                    lost = native(first.next())
                    first.close()
                    self.await_(lambda: bool(told))
                    self.assertEqual(told, [Outage("lost", first.endpoint, 1)])
                    second = self.broker(echo, first.endpoint)
                    self.assertEqual(reply.result(PATIENCE), b"x")
                    again = native(second.next())
                    self.assertEqual((again.requestId, again.body), (lost.requestId, lost.body))
                self.assertEqual(told[1:], [Outage("connected", first.endpoint, 0)])

            self.api(kind, first.endpoint, act, outage=told.append)

        for kind in APIS:
            await deferToThread(restart, kind)

    async def test_strays(self) -> None:
        """Replies that no call waits for, arriving at any moment, do not hide others."""

        def noisy(frames: list[bytes]) -> list[list[bytes]]:
            stray = [frames[0], header(os.urandom(16), {}), b"", b"no"]
            return [stray, frames, stray]

        def act(api: Api) -> None:
            for number in range(100):
                self.assertEqual(api.call(b"%d" % number), b"%d" % number)

        await self.each(self.broker(noisy).endpoint, act)

    async def test_restart(self) -> None:
        """A call in flight when its server dies is answered by the next server at the same endpoint."""
        path = self.path()

        def act(api: Api) -> None:
            first = self.broker(silent, path)
            call = api.start(b"x")
            sent = native(first.next())
            first.close()
            second = self.broker(echo, path)
            self.assertEqual(call.result(PATIENCE), b"x")
            self.assertEqual(native(second.next()).requestId, sent.requestId)
            second.close()

        await self.each(path, act)

    async def test_failover(self) -> None:
        """The calls of a server that dies go to another with the same id, and so does a refused call."""

        def refusing(frames: list[bytes]) -> list[list[bytes]]:
            return [native(frames).error(Code.STOPPING, "")]

        def act(api: Api) -> None:
            call = api.start(b"x")
            sent = native(first.next())
            second = self.broker(echo, other)
            first.close()
            self.assertEqual(call.result(PATIENCE), b"x")
            self.assertEqual(native(second.next()).requestId, sent.requestId)
            third = self.broker(refusing, path)
            while third.seen.empty():
                self.assertEqual(api.call(b"y"), b"y")
            third.close()
            second.close()

        for kind in APIS:
            path, other = self.path(), self.path()
            first = self.broker(silent, path)
            await deferToThread(self.api, kind, [path, other], act)

    async def test_allRefuse(self) -> None:
        """If every server refuses a call, it raises that error."""
        broker = self.broker(lambda frames: [native(frames).error(Code.STOPPING, "")])
        await self.each(broker.endpoint, lambda api: self.assertRaises(Stopping, api.call, b"x"))

    async def test_cancel(self) -> None:
        """A cancelled call ends at once for its caller, and for the server."""
        server = await self.serve()
        told: list[Future[Any]] = []

        def act(api: Api) -> None:
            held = api.start(b"meet", self.gate.path)
            guest = self.gate.next()
            waiting = api.start(b"upper", b"x")
            for call in (waiting, held):
                self.assertTrue(call.cancel())
                self.assertRaises((CancelledError, Cancelled), call.result, PATIENCE)
                told.append(call)
                self.await_(lambda: server.stats()["failed"].get(Code.CANCELLED) == len(told))
            guest.close()
            self.assertEqual(api.call(b"upper", b"y"), b"Y")

        await self.each(self.front(server), act)
        self.assertEqual(len(told), 2 * len(APIS))

    async def test_stream(self) -> None:
        """Parts arrive one by one; closing the stream cancels the request."""
        server = await self.serve(f"{JOBS}.count")

        def act(api: Api) -> None:
            if api.name == "executor":
                return
            self.assertEqual(api.parts(b"3"), [b"0", b"1", b"2", b"end"])
            self.assertRaises(ValueError, api.call, b"3")
            self.assertEqual(api.parts(b"1000000", most=2), [b"0", b"1"])
            self.assertEqual(api.parts(b"1"), [b"0", b"end"])

        await self.each(self.front(server), act)
        self.assertEqual(server.stats()["failed"], {Code.CANCELLED: len(APIS) - 1})

    async def test_busy(self) -> None:
        """If the server's backlog is full, the call raises Busy at once."""
        server = await self.serve(policy=RequestPolicy(backlog=1, backlogPolicy="reject"))

        def act(api: Api) -> None:
            held = api.start(b"meet", self.gate.path)
            guest = self.gate.next()
            waiting = api.start(b"upper", b"x")
            self.await_(lambda: server.stats()["backlog"] == 1)
            self.assertRaises(Busy, api.call, b"upper", b"y")
            guest.close()
            self.assertEqual((held.result(PATIENCE), waiting.result(PATIENCE)), (b"", b"X"))

        await self.each(self.front(server), act)

    async def test_threads(self) -> None:
        """Five hundred concurrent calls from 16 threads all get their own replies."""
        server = await self.serve("upper", workers=2)

        def act(api: Api) -> None:
            answers: dict[int, list[bytes]] = {}

            def ask(number: int) -> None:
                calls = [api.start(b"x%d-%d" % (number, each)) for each in range(31)]
                one = api.call(b"y%d" % number)
                answers[number] = [one, *(call.result(PATIENCE) for call in calls)]

            threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
            for number in range(16):
                expected = [b"Y%d" % number, *(b"X%d-%d" % (number, each) for each in range(31))]
                self.assertEqual(answers.get(number), expected)

        await self.each(self.front(server), act)

    async def test_close(self) -> None:
        """Closing a client ends the calls in flight."""
        broker = self.broker(silent)

        def act(api: Api) -> None:
            calls = [api.start(b"%d" % number) for number in range(3)]
            broker.next()
            api.close()
            for call in calls:
                self.assertRaises((CancelledError, Cancelled), call.result, PATIENCE)

        await self.each(broker.endpoint, act)


class KillTests(ProgramCase):
    """Two servers, one of which dies."""

    def test_underLoad(self) -> None:
        """When one of two servers is killed under load from 8 threads, no call with two seconds left fails."""
        servers = [self.twistd("upper", "--workers=1") for _ in range(2)]
        killed, failed = threading.Event(), list[Exception]()
        counts, warm = [0] * 8, threading.Semaphore(0)

        def ask(number: int) -> None:
            left = 50
            while left:
                try:
                    self.assertEqual(client.call(b"x%d" % counts[number], timeout=2), b"X%d" % counts[number])
                except Exception as error:
                    failed.append(error)
                    return
                counts[number] += 1
                if counts[number] == 20:
                    warm.release()
                left -= killed.is_set()

        with Client([server.ready().frontend for server in servers]) as client:
            threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for _ in threads:
                self.assertTrue(warm.acquire(timeout=PATIENCE), failed)
            servers[0].kill()
            killed.set()
            for thread in threads:
                thread.join(PATIENCE)
        self.assertEqual(failed, [])
        self.assertStops(servers[1])
