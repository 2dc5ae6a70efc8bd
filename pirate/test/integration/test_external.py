# -*- test-case-name: pirate.test.integration.test_external -*-
"""Tests of workers that the server did not start."""

from __future__ import annotations

import json
import threading

import zmq
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from pirate.service import JobServer
from pirate.test.support.clients import NativeClient, contextWithoutLinger
from pirate.test.support.gate import PATIENCE
from pirate.test.support.plainworker import PlainWorker, Work, upper
from pirate.test.support.servers import ServerCase


class AdmittedTests(ServerCase):
    """A server that admits external workers."""

    def worker(self, server: JobServer, name: bytes, work: Work = upper, last: int | None = None) -> PlainWorker:
        """Return an external worker that is closed when the test ends."""
        worker = PlainWorker(server, name, work, last)
        self.addCleanup(worker.close)
        return worker

    async def test_tenLines(self) -> None:
        """A server without workers of its own keeps a request until an external worker connects."""
        server = await self.serve(workers=0, externalWorkers=True)
        client = NativeClient(server.endpoints.frontend[0])
        self.addCleanup(client.close)
        early = client.send(b"early", b"", b"frames")
        self.assertEqual(await deferToThread(client.backlog), 1)
        self.worker(server, b"child_1")
        self.assertEqual(await deferToThread(client.receive, early), ({}, [b"EARLY", b"", b"FRAMES"]))
        self.assertEqual(await self.ask(server, b"waiting", identity=b"waiting"), [b"WAITING"])
        self.assertUntroubled()

    async def test_several(self) -> None:
        """Several external workers share the requests with each other and with the server's own."""
        server = await self.serve("perform", 1, externalWorkers=True)
        everybody = threading.Barrier(3)

        def together(body: list[bytes]) -> list[bytes]:
            everybody.wait(PATIENCE)
            return [b"foreign"]

        for name in (b"child_1", b"any name"):
            self.worker(server, name, together)
        asked = [self.ask(server, b"meet", self.gate.path) for _ in range(3)]
        guest = await deferToThread(self.gate.next)
        await deferToThread(everybody.wait, PATIENCE)
        guest.tell(b"pid")
        self.assertEqual(sorted(await gatherResults(asked)), [[b"%d" % guest.pid], [b"foreign"], [b"foreign"]])
        self.assertUntroubled()

    async def test_perl(self) -> None:
        """A worker of Net::Server::ZMQ, which replies with one frame, gets no requests after its ``exiting``."""
        server = await self.serve(workers=0, externalWorkers=True)
        self.worker(server, b"child_4711", lambda body: [b"perl: " + body[0]], last=2)
        self.assertEqual([await self.ask(server, b"x") for _ in range(2)], [[b"perl: x"]] * 2)
        asked = self.ask(server, b"y")
        self.worker(server, b"child_4712")
        self.assertEqual(await asked, [b"Y"])
        self.assertUntroubled()

    async def test_goneIdle(self) -> None:
        """The request for an external worker that has disconnected without ``exiting`` goes to the next one."""
        server = await self.serve(workers=0, externalWorkers=True)
        gone = self.worker(server, b"gone")
        self.assertEqual(await self.ask(server, b"x"), [b"X"])
        gone.close()
        self.worker(server, b"here", lambda body: [b"here"])
        self.assertEqual([await self.ask(server, b"y") for _ in range(2)], [[b"here"]] * 2)


class RefusedTests(ServerCase):
    """A server that does not admit external workers."""

    async def test_refused(self) -> None:
        """A worker without a token gets no request, cannot reply to one, and is counted."""
        server = await self.serve("pid")
        pid = next(iter(server.workers))
        info = json.dumps({"pirate": 1, "pid": pid, "token": "0" * 32, "credit": 64}).encode()
        attempts = [[b"waiting"], [b"waiting", info], [b"exiting"], [b"\x80" + b"\0" * 7, b"", b"forged"]]
        with contextWithoutLinger() as ctx, ctx.socket(zmq.DEALER) as rogue:
            rogue.identity = b"child_%d_00000000" % pid
            rogue.connect(server.endpoints.backend[0])
            for each in attempts:
                rogue.send_multipart([b"", *each])
            await self.until(lambda: bool(self.logged("unknown-worker")))
            replies = await gatherResults([self.ask(server, b"") for _ in range(8)])
            self.assertEqual(replies, [[b"%d" % pid]] * 8)
            self.assertFalse(rogue.poll(0))
        self.assertEqual(server.stats()["dropped"], {"unknown-worker": 3})
        self.assertEqual((server.stats()["late"], server.workers), (1, {pid: "waiting"}))
