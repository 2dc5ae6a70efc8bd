# -*- test-case-name: pirate.test.integration.test_fair -*-
"""One client's flood beside the requests of others, over real sockets."""

from __future__ import annotations

from time import monotonic

from twisted.internet.threads import deferToThread

from pirate.service import JobServer
from pirate.settings.limits import RequestPolicy
from pirate.test.support.caller import Caller
from pirate.test.support.clients import NativeClient
from pirate.test.support.flood import Flood
from pirate.test.support.servers import ServerCase, executions
from pirate.testing.zmtp import RawPeer, message

#: Seconds in which a message is read that is not held back, with other tests at the same time.
SOON = 3.0
JOBS = "pirate.test.support.jobs"


class FairTests(ServerCase):
    """A server with one worker, and a flood."""

    def flood(self, server: JobServer, requests: int, *more: bytes) -> Flood:
        """Start a flood that ends with the test."""
        flood = Flood(server, requests, *more)
        self.addCleanup(flood.close)
        return flood

    async def start(self, app: str, **policy: object) -> JobServer:
        """Start a server whose ``idle`` hook is called often, so that ``until`` sees its counters."""
        return await self.serve(f"{JOBS}.{app}", policy=RequestPolicy(**policy), checkForWaiting=0.02)  # type: ignore[arg-type]

    async def test_others(self) -> None:
        """Another client waits for a few requests of a flood, not for the thousands that came before."""
        server = await self.start("brief")
        self.flood(server, 4000)
        await self.until(lambda: server.stats()["backlog"] > 2000)
        before = server.stats()["replied"]
        await self.ask(server, b"x")
        self.assertLess(server.stats()["replied"] - before, 1000)

    async def test_heldBack(self) -> None:
        """While a flood is held back, pings are answered, and the requests of other clients run in their turn."""
        server = await self.start("recordAndMeet", backlog=10)
        self.flood(server, 200, self.gate.path)
        guest = await deferToThread(self.gate.next)
        await self.until(lambda: server.stats()["backlog"] > 5)
        client = NativeClient(server.endpoints.frontend[0])
        self.addCleanup(client.close)
        self.assertGreater(await deferToThread(client.backlog), 5)
        key = client.send(b"other", self.gate.path)
        await deferToThread(client.backlog)
        for _ in range(2):
            guest.close()
            guest = await deferToThread(self.gate.next)
        self.assertIn("other", executions(self.record))
        guest.close()
        (await deferToThread(self.gate.next)).close()
        await deferToThread(client.receive, key)
        self.assertLess(server.stats()["received"], 180)

    async def test_full(self) -> None:
        """
        While twenty plain clients flood a server whose jobs do not end, until the backlog and the room beyond it are
        full, pings are answered, a cancelled and a new plain request are accepted, and a request expires in time.
        """
        server = await self.start("recordAndMeet", backlogMib=1)
        caller = Caller(server)
        self.addCleanup(caller.close)
        caller.send(b"running", b"running", self.gate.path)
        guest = await deferToThread(self.gate.next)
        for _ in range(20):
            self.flood(server, 20, bytes(64 << 10))
        await self.until(lambda: server.stats()["overflowed"] > 20)
        client = NativeClient(server.endpoints.frontend[0])
        self.addCleanup(client.close)
        for _ in range(5):
            began = monotonic()
            self.assertGreater(await deferToThread(client.backlog), 5)
            self.assertLess(monotonic() - began, SOON)
        began = monotonic()
        late = client.send(b"late", self.gate.path, timeout_ms=300)
        told, _ = await deferToThread(client.receive, late)
        self.assertEqual(told["code"], "expired")
        self.assertLess(monotonic() - began, SOON)
        caller.send(b"cancelled", b"cancelled", self.gate.path)
        caller.send(b"cancelled", b"", command="cancel")
        told, _ = await caller.answer(b"cancelled")
        self.assertEqual(told["code"], "cancelled")
        self.assertLess(server.stats()["backlog_bytes"], (2 << 20) + (65 << 10))
        before = server.stats()["backlog"]
        reply = self.ask(server, b"newcomer", self.gate.path)
        await self.until(lambda: server.stats()["backlog"] == before + 1)
        self.assertTrue(self.logged(r"given up: busy \(\d+\).*; the backlog is full.*; client 127\.0\.0\.1"))
        guest.close()
        (await deferToThread(self.gate.next)).close()
        self.assertTrue(await reply)
        self.assertEqual([each for each in executions(self.record) if not each.isdigit()], ["running", "newcomer"])

    async def test_hungUp(self) -> None:
        """The same if ZeroMQ itself has not read all of it, and so does not know that the client has gone."""
        server = await self.start("recordAndMeet", backlog=100)
        peer = RawPeer(server.endpoints.frontend[0])
        self.addCleanup(peer.close)
        self.assertTrue(await deferToThread(peer.handshake))
        peer.send(message(b"", b"0", self.gate.path))
        guest = await deferToThread(self.gate.next)
        peer.send(b"".join(message(b"", b"%d" % number, b"") for number in range(1, 2500)))
        await self.until(lambda: server.stats()["backlog"] >= 50)
        peer.close()
        await self.until(lambda: server.stats()["withdrawn"] == 2499)
        self.assertEqual((server.stats()["backlog"], server.stats()["in_flight"]), (0, 1))
        guest.close()
        await self.until(lambda: server.stats()["in_flight"] == 0)
        self.assertEqual(executions(self.record), ["0"])

    async def test_gone(self) -> None:
        """The waiting and the unread requests of a flood are dropped when its client disconnects."""
        server = await self.start("recordAndMeet", backlog=100)
        peer = RawPeer(server.endpoints.frontend[0])
        self.addCleanup(peer.close)
        self.assertTrue(await deferToThread(peer.handshake))
        peer.send(b"".join(message(b"", b"%d" % number, self.gate.path) for number in range(500)))
        guest = await deferToThread(self.gate.next)
        await self.until(lambda: server.stats()["backlog"] >= 50)
        peer.close()
        await self.until(lambda: server.stats()["withdrawn"] == 499)
        self.assertEqual((server.stats()["backlog"], server.stats()["in_flight"]), (0, 1))
        guest.close()
        await self.until(lambda: server.stats()["in_flight"] == 0)
        self.assertEqual(executions(self.record), ["0"])
