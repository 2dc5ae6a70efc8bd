# -*- test-case-name: pirate.test.integration.test_clients -*-
"""Tests of a real server with clients of all kinds."""

from __future__ import annotations

import threading
from hashlib import sha256

import zmq
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from pirate.client import Client
from pirate.service import JobServer
from pirate.test.support.clients import ask, askNative, contextWithoutLinger
from pirate.test.support.gate import PATIENCE
from pirate.test.support.servers import ServerCase


class Proxy:
    """A queue between clients and a server, as in zguide's chapter 2: a ROUTER and a DEALER in a thread."""

    def __init__(self, server: JobServer) -> None:
        self._context = contextWithoutLinger()
        router, dealer = self._context.socket(zmq.ROUTER), self._context.socket(zmq.DEALER)
        router.bind("tcp://127.0.0.1:*")
        self.endpoint = router.get_string(zmq.LAST_ENDPOINT)
        dealer.connect(server.endpoints.frontend[0])
        self._thread = threading.Thread(target=self._run, args=(router, dealer))
        self._thread.start()

    def _run(self, router: zmq.Socket[bytes], dealer: zmq.Socket[bytes]) -> None:
        try:
            zmq.proxy(router, dealer)
        except zmq.ContextTerminated:
            router.close()
            dealer.close()

    def close(self) -> None:
        """Stop the queue."""
        self._context.term()
        self._thread.join()


class FramesTests(ServerCase):
    """Requests and replies."""

    async def test_bodies(self) -> None:
        """Every body returns frame for frame, with empty frames and the words of the wire."""
        server = await self.serve("several")
        bodies = [
            [b"x"],
            [b""],
            [b"", b""],
            [b"a", b"", b"b"],
            [b"", b"waiting", b"", b"exiting"],
            [b"retire"],
            [bytes(range(256)), b"\0" * 100_000],
            [b"%d" % each for each in range(300)],
        ]
        for body in bodies:
            self.assertEqual(await self.ask(server, *body), [*body, b"%d" % len(body)])
        self.assertUntroubled()

    async def test_large(self) -> None:
        """A body of 64 MiB returns whole, and small ones after it."""
        server = await self.serve("several")
        body = sha256(b"seed").digest() * (1 << 21)
        reply = await self.ask(server, b"before", body)
        self.assertEqual(len(reply), 3)
        self.assertEqual(sha256(reply[1]).digest(), sha256(body).digest())
        self.assertEqual(await self.ask(server, b"x"), [b"x", b"1"])

    async def test_defaultApp(self) -> None:
        """A server without an app echoes."""
        server = await self.serve(app=None)
        self.assertEqual(await self.ask(server, b"One", b"", b"Two"), [b"One", b"", b"Two"])


class ShapesTests(ServerCase):
    """The kinds of clients."""

    async def test_correlate(self) -> None:
        """A REQ_CORRELATE client gets its number back."""
        server = await self.serve("upper")
        self.assertEqual(await self.ask(server, b"x", req_correlate=1, req_relaxed=1), [b"X"])

    async def test_identities(self) -> None:
        """Clients whose identity is a word of the wire, or a worker's, are clients like any other."""
        server = await self.serve("upper", 2)
        worker = next(iter(server.workers))
        names = [b"waiting", b"processing", b"dequeue", b"exiting", b"retire", b"child_%d" % worker, b"\xff" * 8]
        replies = [self.ask(server, name, identity=name) for name in names]
        self.assertEqual(await gatherResults(replies), [[name.upper()] for name in names])
        self.assertEqual(list(server.workers.values()), ["waiting"] * 2)
        self.assertUntroubled()

    async def test_proxy(self) -> None:
        """Plain, REQ_CORRELATE and native clients behind a proxy each get their own reply."""
        server = await self.serve("upper", 2)
        proxy = Proxy(server)
        self.addCleanup(proxy.close)
        plain = [deferToThread(ask, proxy.endpoint, b"plain %d" % each) for each in range(3)]
        correlating = deferToThread(ask, proxy.endpoint, b"correlating", req_correlate=1)
        native = deferToThread(askNative, proxy.endpoint, b"native")
        self.assertEqual(await gatherResults(plain), [[b"PLAIN %d" % each] for each in range(3)])
        self.assertEqual((await correlating, await native), ([b"CORRELATING"], ({}, [b"NATIVE"])))

    def mapped(self, endpoint: str) -> list[bytes]:
        """Send 2,000 requests, 64 at a time, and return the replies."""
        with Client(endpoint) as client:
            return list(client.map([b"request %d" % number for number in range(2000)], timeout=PATIENCE))

    async def test_batches(self) -> None:
        """Requests that a client sends together each get their reply, and so they do through a proxy, sent singly."""
        server = await self.serve("upper", 2)
        proxy = Proxy(server)
        self.addCleanup(proxy.close)
        for endpoint, refused in ((server.endpoints.frontend[0], {}), (proxy.endpoint, {"bad-batch": 1})):
            replies = await deferToThread(self.mapped, endpoint)
            self.assertEqual(replies, [b"REQUEST %d" % number for number in range(2000)])
            self.assertEqual(server.stats()["dropped"], refused)
        self.assertEqual((server.stats()["received"], server.stats()["replied"]), (4000, 4000))

    async def test_malformed(self) -> None:
        """A malformed request is dropped and counted by its reason; the server goes on."""
        server = await self.serve("upper")
        with contextWithoutLinger() as ctx, ctx.socket(zmq.DEALER) as dealer:
            dealer.connect(server.endpoints.frontend[0])
            for frames in ([b"no delimiter"], [b"x"] * 40, [b"x", b""], [b"PIR1short", b"", b"x"], [b""]):
                dealer.send_multipart(frames)
            dealer.send_multipart([b"hop", b"", b"x"])
            self.assertTrue(await deferToThread(dealer.poll, int(PATIENCE * 1000)))
            self.assertEqual(dealer.recv_multipart(), [b"hop", b"", b"X"])
        dropped = server.stats()["dropped"]
        self.assertEqual(sum(dropped.values()), 4, dropped)
        self.assertEqual((server.stats()["received"], server.stats()["replied"]), (1, 1))

    async def test_gone(self) -> None:
        """A client that disconnects before its reply affects no other; the reply is counted and logged."""
        server = await self.serve(workers=2)
        with contextWithoutLinger() as ctx, ctx.socket(zmq.DEALER) as dealer:
            dealer.connect(server.endpoints.frontend[0])
            dealer.send_multipart([b"", b"meet", self.gate.path])
            guest = await deferToThread(self.gate.next)
        # A later client is heard later: by then the server knows that the first one has disconnected.
        self.assertEqual(await self.ask(server, b"upper", b"x"), [b"X"])
        guest.tell(b"upper", b"late")
        await deferToThread(guest.awaitEnd)
        self.assertEqual([await self.ask(server, b"upper", b"y") for _ in range(2)], [[b"Y"]] * 2)
        self.assertEqual(server.stats()["undeliverable"], 1)
        self.assertEqual(len(self.logged("replies not delivered: their clients are gone")), 1)

    async def test_ping(self) -> None:
        """A native ping is answered by the broker, without a worker."""
        server = await self.serve("upper", 0)
        told, body = await deferToThread(askNative, server.endpoints.frontend[0], b"", command="ping")
        self.assertEqual((told["server"], told["backlog"], body), ("pirate", 0, [b""]))
