# -*- test-case-name: pirate.test.integration.test_bounds -*-
"""Tests of the limits of peers over real sockets."""

from __future__ import annotations

import os
import signal
from typing import Any

import zmq
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

import pirate.transport.router
from pirate.service import JobServer
from pirate.settings.limits import PeerLimits
from pirate.test.support.clients import askNative
from pirate.test.support.dealer import Dealer
from pirate.test.support.servers import ServerCase
from pirate.testing.zmtp import RawPeer, frame, message
from pirate.transport.discard import discardRest, monitored_queue
from pirate.transport.sockets import SocketTransport
from pirate.transport.unfinished import SUPPORTED

#: One KiB in MiB, the unit of the settings.
KIB = 1 / 1024


class LimitsTests(ServerCase):
    """A server with low limits."""

    async def serveWithin(self, app: str = "several", **peerLimits: Any) -> JobServer:
        """Start a server with one worker."""
        return await self.serve(app, peerLimits=PeerLimits(**peerLimits), checkForWaiting=0.02)

    async def raw(self, server: JobServer, side: str = "frontend") -> RawPeer:
        """Return a raw peer after its handshake."""
        peer = RawPeer(getattr(server.endpoints, side)[0])
        self.addCleanup(peer.close)
        self.assertTrue(await deferToThread(peer.handshake))
        return peer

    async def native(self, server: JobServer, *body: bytes) -> tuple[dict[str, Any], list[bytes]]:
        """Return the reply to a native client."""
        answer: tuple[dict[str, Any], list[bytes]]
        answer = await deferToThread(askNative, server.endpoints.frontend[0], *body)
        return answer

    async def test_frames(self) -> None:
        """A message with the most frames gets a reply; with one more, a native client gets ``denied``."""
        server = await self.serveWithin(maxMessageFrames=8)
        self.assertEqual((await self.native(server, *[b"x"] * 6))[1][-1], b"6")
        told, _ = await self.native(server, *[b"x"] * 7)
        self.assertEqual(told["code"], "denied")
        self.assertEqual(server.stats()["dropped"], {"too-many-frames": 1})

    async def test_total(self) -> None:
        """A message of the greatest total size gets a reply; a larger one gets ``denied``."""
        server = await self.serveWithin(maxMessageTotal=16 * KIB)
        self.assertEqual((await self.native(server, bytes(8000), bytes(8000)))[1][-1], b"2")
        told, _ = await self.native(server, bytes(8000), bytes(8000), bytes(1000))
        self.assertEqual(told["code"], "denied")
        self.assertEqual(server.stats()["dropped"], {"too-large": 1})

    async def test_rest(self) -> None:
        """After a rejected message, the next message of the connection is read from its first frame."""
        server = await self.serveWithin(maxMessageFrames=8)
        peer = await self.raw(server)
        peer.send(message(b"", *[b"x"] * 100) + message(b"", b"a", b"b"))
        self.assertEqual(await deferToThread(peer.receive), [b"", b"a", b"b", b"2"])

    async def test_flood(self) -> None:
        """The connection of an endless message is closed, its frames are dropped, and others are served."""
        server = await self.serveWithin(maxMessageFrames=8)
        results: list[bool] = []

        def discard(socket: Any) -> bool:
            results.append(discardRest(socket))
            return results[-1]

        self.patch(pirate.transport.router, "discardRest", discard)
        for side in ("frontend", "backend"):
            peer = await self.raw(server, side)
            peer.send(frame(b"", True) * 10_000 + frame(b""))
            self.assertTrue(await deferToThread(peer.awaitEnd, 30))
            self.assertEqual(server.stats()["connections"][side]["cut-off"], 1)
        self.assertEqual(await self.ask(server, b"x"), [b"x", b"1"])
        self.assertEqual(server.stats()["dropped"], {"too-many-frames": 2})
        self.assertEqual(results, [monitored_queue is not None] * 2)

    async def test_unfinished(self) -> None:
        """The connection of a message that goes on beyond the limit and never ends is closed and counted."""
        if not SUPPORTED:
            raise SkipTest("this system does not count the bytes of a connection")
        server = await self.serveWithin(maxMessageTotal=16 * KIB)
        for side in ("frontend", "backend"):
            peer = await self.raw(server, side)
            await deferToThread(self.sendOn, peer)
            # A sender whose bytes were no longer read may not have noticed the end yet.
            self.assertTrue(await deferToThread(peer.awaitEnd, 30))
            self.assertEqual(server.stats()["connections"][side]["cut-off"], 1)
        self.assertEqual(server.stats()["dropped"], {"unfinished": 2})
        self.assertEqual(len(self.logged(r"unfinished \(1\); the last one from 127.0.0.1")), 2)
        self.assertEqual(await self.ask(server, b"x"), [b"x", b"1"])

    def sendOn(self, peer: RawPeer) -> None:
        """Send frames of one message until the connection is closed, or there have been a gigabyte of them."""
        chunk = frame(bytes(1 << 16), True) * 16
        for _ in range(1000):
            if not peer.send(chunk):
                return

    async def test_name(self) -> None:
        """The user id in a peer's handshake is ignored: only ZAP sets it."""
        server = await self.serveWithin("caller")
        peer = RawPeer(server.endpoints.frontend[0])
        self.addCleanup(peer.close)
        self.assertTrue(await deferToThread(peer.handshake, None, **{"User-Id": b"admin"}))
        peer.send(message(b"", b"x"))
        self.assertEqual(await deferToThread(peer.receive), [b"", b"None"])

    async def test_extremes(self) -> None:
        """The lowest limits let a worker connect, and ZeroMQ accepts the highest."""
        most = dict.fromkeys(("maxMessageSize", "maxMessageTotal", "handshakeTimeout", "heartbeat"), 1e6)
        for peerLimits in ({"maxMessageSize": KIB}, most):
            server = await self.serveWithin("several", **peerLimits)
            self.assertEqual(await self.ask(server, b"x"), [b"x", b"1"])

    async def test_frameSize(self) -> None:
        """A frame of more than twice the limit closes its connection at once, on both sockets."""
        server = await self.serveWithin(maxMessageSize=16 * KIB)
        for side in ("frontend", "backend"):
            peer = await self.raw(server, side)
            peer.send(frame(bytes(2 * 16384 + 1))[:100])
            self.assertTrue(await deferToThread(peer.awaitEnd, 30))
        self.assertEqual(await self.ask(server, bytes(16384)), [bytes(16384), b"1"])

    async def test_frameSizeTold(self) -> None:
        """A frame slightly above the limit is counted, and a native client gets ``denied`` with the reason."""
        for size in (2, 16):
            server = await self.serveWithin(maxMessageSize=size * KIB)
            told, _ = await self.native(server, bytes(size * 1024 + 1), b"more")
            self.assertEqual(told["code"], "denied")
            self.assertIn("max-message-size", told["message"])
            self.assertEqual(await self.ask(server, bytes(size * 1024)), [bytes(size * 1024), b"1"])
            self.assertEqual(server.stats()["dropped"], {"frame-too-large": 1})

    async def test_answers(self) -> None:
        """A reply above the limits becomes an app error at once, and the worker continues."""
        server = await self.serveWithin("many", maxMessageSize=16 * KIB, maxMessageTotal=32 * KIB, maxMessageFrames=8)
        for count, size, words in ((1, 20_000, "max-message-size"), (9, 1, "frames"), (3, 12_000, "max-message-total")):
            told, _ = await self.native(server, b"%d" % count, b"%d" % size)
            self.assertEqual(told["code"], "app-error")
            self.assertIn(words, told["message"])
        self.assertEqual((await self.native(server, b"8", b"1"))[1], [b"\0"] * 8)
        self.assertEqual(server.stats()["exits"], {})

    async def test_connections(self) -> None:
        """A surplus connection is closed at once; after another one has ended, a new one is accepted."""
        server = await self.serveWithin(maxConnections=3)
        peers = [await self.raw(server) for _ in range(3)]
        excess = RawPeer(server.endpoints.frontend[0])
        self.addCleanup(excess.close)
        self.assertTrue(await deferToThread(excess.awaitEnd, 30))
        counts = server.stats()["connections"]["frontend"]
        self.assertEqual((counts["refused"], counts["accepted"]), (1, 4))
        peers[0].send(message(b"", b"x"))
        self.assertEqual(await deferToThread(peers[0].receive), [b"", b"x", b"1"])
        peers[1].close()
        self.assertEqual(await self.ask(server, b"y"), [b"y", b"1"])

    async def test_ownPlaces(self) -> None:
        """While unknown peers fill the backend and reconnect, a killed worker is replaced and serves."""
        server = await self.serveWithin(maxConnections=3)
        strangers = [await self.raw(server, "backend") for _ in range(6)]
        [pid] = server.workers
        os.kill(pid, signal.SIGKILL)
        await self.until(lambda: list(server.workers.values()) == ["waiting"] and pid not in server.workers)
        self.assertEqual(await self.ask(server, b"x"), [b"x", b"1"])
        # The unknown peers that have been connected longest have been closed.
        await self.assertCut(strangers[:3], strangers[3:])
        self.assertEqual(server.stats()["connections"]["backend"]["refused"], 3)

    async def assertCut(self, cut: list[RawPeer], left: list[RawPeer]) -> None:
        """Check which connections the server closes."""
        for each in cut:
            self.assertTrue(await deferToThread(each.awaitEnd, 30))
        for each in left:
            self.assertFalse(await deferToThread(each.awaitEnd, 0.01))

    async def test_ownPlacesOverTcp(self) -> None:
        """A worker over TCP is an unknown peer until it announces itself; then its connection stays."""
        self.patch(SocketTransport, "bindForOwnWorkers", lambda transport: None)
        strangers: list[RawPeer] = []
        server = self.server("several", peerLimits=PeerLimits(maxConnections=3), checkForWaiting=0.02)
        server.startService()
        strangers += [await self.raw(server, "backend") for _ in range(3)]
        await server.whenReady()
        strangers += [await self.raw(server, "backend") for _ in range(6)]
        self.assertEqual(await self.ask(server, b"x"), [b"x", b"1"])
        self.assertEqual(server.stats()["exits"], {})
        await self.assertCut(strangers[:6], strangers[6:])

    async def test_cutOff(self) -> None:
        """After the connection of a worker is closed, another one takes its request at once, and it is replaced."""
        server = await self.serve("perform", 2)
        asked = self.ask(server, b"meet", self.gate.path)
        first = await deferToThread(self.gate.next)
        assert server._runningServer is not None
        [busy] = [each for each, worker in server._runningServer._broker.dispatcher.workers.items() if worker.inFlight]
        server._runningServer._transport.dropWorker(server._runningServer.supervisor._connections._connections[busy])
        second = await deferToThread(self.gate.next)
        first.close()
        second.close()
        await asked
        self.assertEqual(server.stats()["redispatched"], 1)
        await self.until(lambda: list(server.workers.values()) == ["waiting"] * 2)

    async def test_handshake(self) -> None:
        """A silent peer is closed after the handshake timeout."""
        server = await self.serveWithin(handshakeTimeout=0.05)
        peer = RawPeer(server.endpoints.frontend[0])
        self.addCleanup(peer.close)
        self.assertTrue(await deferToThread(peer.awaitEnd, 30))
        self.assertEqual(await self.ask(server, b"x"), [b"x", b"1"])
        self.assertEqual(server.stats()["connections"]["frontend"]["handshake-failed"], 1)

    async def test_noHeartbeat(self) -> None:
        """A peer that knows only ZMTP 3.0 gets no command but READY; TCP keepalive watches its connection."""
        server = await self.serveWithin()
        silent = RawPeer(server.endpoints.frontend[0])
        self.addCleanup(silent.close)
        self.assertTrue(await deferToThread(silent.handshake))
        assert server._runningServer is not None
        transport: Any = server._runningServer._transport
        for each in (transport._frontend.socket, transport._backend.socket):
            # Without an interval, no silence of the peer is too long.
            self.assertEqual(each.get(zmq.HEARTBEAT_IVL), 0)
            options = (zmq.TCP_KEEPALIVE, zmq.TCP_KEEPALIVE_IDLE, zmq.TCP_KEEPALIVE_INTVL, zmq.TCP_KEEPALIVE_CNT)
            self.assertEqual([each.get(option) for option in (*options, zmq.TCP_MAXRT)], [1, 60, 10, 3, 60_000])
        silent.send(message(b"", b"x"))
        self.assertEqual(await deferToThread(silent.receiveRaw), frame(b"", True) + frame(b"x", True) + frame(b"1"))

    async def test_heartbeat(self) -> None:
        """
        With heartbeats a client that does not respond to them is dropped, but not an idle one.

        The one that is dropped gets a command that ZMTP 3.0 does not have.
        """
        server = await self.serveWithin(heartbeat=0.5)
        silent = await self.raw(server)
        dealer = await deferToThread(Dealer, server.endpoints.frontend[0])
        self.addCleanup(dealer.close)
        self.assertIn(b"\4PING", await deferToThread(silent.receiveRaw))
        self.assertTrue(await deferToThread(silent.awaitEnd, 30))
        await self.until(lambda: server.stats()["connections"]["frontend"]["closed"] == 1)
        self.assertEqual(await deferToThread(dealer.ask, b"x"), [b"x", b"1"])
        self.assertEqual(server.stats()["connections"]["frontend"]["accepted"], 2)

    async def test_rate(self) -> None:
        """A client beyond its rate gets ``busy``; another connection has its own rate."""
        server = await self.serveWithin(rate=0.01, burst=1)
        peer = await self.raw(server)
        for number in (b"1", b"2"):
            peer.send(message(b"PIR1" + number * 16, b"", b"x"))
        first, second = [await deferToThread(peer.receive) for _ in range(2)]
        replies = {each[0][4:5]: each for each in (first, second)}
        self.assertEqual(replies[b"1"][1:], [b"", b"x", b"1"])
        self.assertIn(b'"code":"busy"', replies[b"2"][0])
        self.assertEqual(await self.ask(server, b"x"), [b"x", b"1"])

    async def test_vanished(self) -> None:
        """The request of a client that has disconnected is not run, even without other traffic."""
        server = await self.serveWithin("perform")
        busy = self.ask(server, b"meet", self.gate.path)
        guest = await deferToThread(self.gate.next)
        peer = await self.raw(server)
        peer.send(message(b"", b"never"))
        await self.until(lambda: server.stats()["backlog"] == 1)
        peer.close()
        await self.until(lambda: server.stats()["withdrawn"] == 1)
        guest.close()
        await busy
