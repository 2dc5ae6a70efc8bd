# -*- test-case-name: pirate.test.integration.test_transport -*-
"""The tests of the transport of ZeroMQ sockets: the suite of all transports, and what only sockets can show."""

from __future__ import annotations

import os
import select
import shutil
import socket
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import zmq
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest, TestCase
from txzmq import ZmqConnection, ZmqEndpoint, ZmqEndpointType, ZmqFactory

import pirate.transport.sockets
from pirate.auth.rules import AddressRules, SocketPolicy
from pirate.errors import BindError
from pirate.settings.limits import PeerLimits
from pirate.test.support.transport import Listener, Peer, TransportCase, TransportTests
from pirate.testing.zmtp import RawPeer, frame, message
from pirate.transport.router import Router
from pirate.transport.sockets import SocketTransport
from pirate.transport.unfinished import SUPPORTED
from pirate.wire.words import MAX_BATCH

reactor: Any = _reactor

#: Seconds after which a test that waits for something has failed.
PATIENCE = 30
#: Seconds that a delayed call may be late during a flood of messages, and messages that may be read before it.
LATENESS, BURST = 1.0, 500


class SocketPeer(ZmqConnection):
    """
    A DEALER on the reactor.

    :ivar received: all messages that it has received.
    """

    socketType = zmq.DEALER

    def __init__(self, factory: ZmqFactory, endpoint: str, name: bytes, told: Callable[[], None]) -> None:
        self.received: list[list[bytes]] = []
        self._told = told
        super().__init__(factory, identity=name)
        self.socket.set(zmq.IPV6, int("[" in endpoint))
        self.addEndpoints([ZmqEndpoint(ZmqEndpointType.connect, endpoint)])

    def say(self, *frames: bytes) -> None:
        """Send a message."""
        self.send(list(frames))

    def messageReceived(self, message: list[bytes]) -> None:
        """Keep a message."""
        self.received.append(message)
        self._told()


class Users:
    """Users without keys."""

    def userOf(self, key: bytes) -> str | None:
        """See :class:`~pirate.auth.rules.Users`."""
        return None


class SocketCase(TransportCase):
    """A test case of a transport of ZeroMQ sockets."""

    timeout = PATIENCE

    def setUp(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self._transports: list[SocketTransport] = []
        self._peers = ZmqFactory()
        self._peers.lingerPeriod = 0
        self.addCleanup(self._closeAll)
        super().setUp()

    def makeTransport(self) -> SocketTransport:
        self._transports.append(SocketTransport(reactor))
        return self._transports[-1]

    def connect(self, side: str, name: bytes) -> Peer:
        endpoint = self.endpoints[["frontend", "backend"].index(side)][0]
        return self.connectTo(endpoint, name)

    def connectTo(self, endpoint: str, name: bytes) -> SocketPeer:
        """Connect a peer to an endpoint."""
        return SocketPeer(self._peers, endpoint, name, self._look)

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._waiting.append((condition, done))
        self._look()
        return done

    def fired(self, *deferreds: Deferred[None]) -> Deferred[Any]:
        return gatherResults(deferreds)

    async def settle(self) -> None:
        await self.turn(20)

    async def turn(self, times: int = 1) -> None:
        """Wait for some turns of the reactor."""
        for _ in range(times):
            turned: Deferred[None] = Deferred()
            reactor.callLater(0, turned.callback, None)
            await turned

    def turnEnded(self) -> None:
        super().turnEnded()
        self._look()

    def _look(self) -> None:
        """Fire the Deferreds whose conditions hold."""
        for each in self._waiting[:]:
            if each in self._waiting and each[0]():
                self._waiting.remove(each)
                # Not from within the transport, whose turn this may be.
                reactor.callLater(0, each[1].callback, None)

    async def _closeAll(self) -> None:
        self._peers.shutdown()
        for transport in self._transports:
            await transport.close()


class RealTransportTests(SocketCase, TransportTests, TestCase):
    """Pass the suite of all transports."""


class UnfinishedTests(SocketCase, TestCase):
    """Close the connection of a message that never ends, and no other."""

    peerLimits = PeerLimits(maxMessageTotal=80 / 1024)

    def setUp(self) -> None:
        if not SUPPORTED:
            raise SkipTest("this system does not count the bytes of a connection")
        super().setUp()
        self.frontend: Router = self.transport._frontend

    def exceeds(self) -> bool:
        """Return whether more has come from a connection than one message may have."""
        self.frontend.closeUnfinished(reactor.seconds())
        return any(each.exceeds for each in self.frontend._unfinished.watched.values())

    async def test_heldBack(self) -> None:
        """Complete messages may wait unread, however many bytes they have; once they are read they no longer count."""
        self.wanted = False
        peer = RawPeer(self.endpoints[0][0])
        self.addCleanup(peer.close)
        await deferToThread(peer.handshake)
        whole = message(b"", bytes(1 << 16))
        sent = deferToThread(lambda: [peer.send(whole) for _ in range(200)])
        while not self.exceeds():
            await self.turn()
        for _ in range(3):
            self.frontend.closeUnfinished(reactor.seconds())
            await self.turn()
        self.wanted = True
        self.transport.wake()
        await self.until(lambda: len(self.fromClients) == 200)
        self.assertNotIn(False, await sent)
        self.assertFalse(self.exceeds())
        self.assertFalse(self.exceeds())
        self.assertEqual((self.unfinished, self.transport.connectionCounts()["frontend"]["open"]), ([], 1))

    async def test_endless(self) -> None:
        """The connection of an endless message is closed at the second look after it has exceeded the limit."""
        peer = RawPeer(self.endpoints[0][0])
        self.addCleanup(peer.close)
        await deferToThread(peer.handshake)
        chunk = frame(bytes(1 << 16), True)
        sent = deferToThread(lambda: all(peer.send(chunk) for _ in range(16_000)))
        while not self.exceeds():
            await self.turn()
        await self.turn()
        self.assertFalse(self.exceeds())
        self.assertEqual(self.unfinished, [("frontend", "127.0.0.1")])
        self.assertFalse(await sent)


class FairnessTests(SocketCase, TestCase):
    """Hold up no peer and no other part of the program."""

    async def test_flood(self) -> None:
        """20,000 messages at once arrive in order, and delayed calls of the reactor are made in time."""
        client = self.connect("frontend", b"c")
        steps: list[int] = []
        lateness: list[float] = []
        seen = 0

        def tick(due: float) -> None:
            nonlocal seen
            now = reactor.seconds()
            lateness.append(now - due)
            steps.append(len(self.fromClients) - seen)
            seen = len(self.fromClients)
            if seen < 20_000:
                reactor.callLater(0, tick, now)

        for number in range(20_000):
            client.say(b"", b"%d" % number)
        tick(reactor.seconds())
        await self.until(lambda: len(self.fromClients) == 20_000)
        await self.turn()
        self.assertEqual([int(frames[2]) for frames in self.fromClients], list(range(20_000)))
        self.assertLess(max(steps), BURST)
        self.assertLess(max(lateness), LATENESS)

    async def test_batches(self) -> None:
        """The requests in a message count, so that a turn reads no more of them than of single ones."""
        client = self.connect("frontend", b"c")
        turns: list[int] = []
        self.clientSent = lambda frames: turns.append(self.turns)
        self.further = MAX_BATCH - 1
        for number in range(500):
            client.say(b"", b"%d" % number)
        await self.until(lambda: len(self.fromClients) == 500)
        self.assertLessEqual(max(Counter(turns).values()), 2)

    async def test_floodAndWorker(self) -> None:
        """A worker is read while a client floods the frontend."""
        client, worker = self.connect("frontend", b"c"), self.connect("backend", b"w")
        worker.say(b"", b"hello")
        await self.until(lambda: bool(self.fromWorkers))
        heard: list[int] = []
        self.workerSent = lambda frames: heard.append(len(self.fromClients))
        for number in range(20_000):
            client.say(b"", b"%d" % number)
        worker.say(b"", b"waiting")
        await self.until(lambda: len(self.fromClients) == 20_000)
        self.assertLess(heard[0], 10_000)

    async def test_late(self) -> None:
        """When a deadline has passed, the backend is read to its end, even if its descriptor has reported nothing."""
        await self.acquaintances()
        reads: list[Router] = []

        def read(router: Router, received: object, rejected: object, expected: bool) -> None:
            if not self.turns:
                reads.append(router)
            router.armed = reads.count(router) == 3

        self.patch(Router, "read", read)
        self.late, self.turns = True, 0
        self.transport.wake()
        await self.until(lambda: self.turns > 0)
        # The frontend is read no more than in any turn.
        self.assertEqual(sorted(reads.count(each) for each in set(reads)), [1, 3])

    async def test_pausedIsIdle(self) -> None:
        """Unread requests cause no busy loop while no requests are wanted."""
        client, _ = await self.acquaintances()
        self.wanted = False
        for number in range(10):
            client.say(b"", b"%d" % number)
        await self.until(lambda: self.turns > 0)
        before = self.turns
        await self.turn(500)
        self.assertLess(self.turns - before, 50)
        self.assertEqual(self.fromClients, [])
        self.wanted = True
        self.transport.wake()
        await self.until(lambda: len(self.fromClients) == 10)

    async def test_idle(self) -> None:
        """There are no turns while nothing happens."""
        client = self.connect("frontend", b"c")
        client.say(b"", b"x")
        await self.until(lambda: bool(self.fromClients))
        await self.turn(10)
        before = self.turns
        await self.turn(500)
        self.assertEqual(self.turns, before)

    async def test_afterFailedSend(self) -> None:
        """Messages that have arrived before a send fails are read, although the descriptor reports them no more."""
        client, _ = await self.acquaintances()
        for body in (b"one", b"two"):
            client.say(b"", body)
        readers = [each for each in reactor.getReaders() if isinstance(each, Router)]
        ready, _, _ = select.select(readers, [], [], PATIENCE)
        self.assertEqual(len(ready), 1)
        self.assertFalse(self.transport.toClient([b"nobody", b"", b"x"]))
        await self.until(lambda: len(self.fromClients) == 2)

    async def test_deaf(self) -> None:
        """A client that reads nothing takes a bounded amount of memory, and other clients are served."""
        await self.deafen()
        other = self.connect("frontend", b"other")
        other.say(b"", b"x")
        await self.until(lambda: len(self.fromClients) == 2)
        self.assertTrue(self.transport.toClient([b"other", b"", b"y"]))
        await self.until(lambda: bool(other.received))

    async def test_closedTwiceWhileDeaf(self) -> None:
        """A client that reads nothing does not keep the transport from closing; a second close fires, too."""
        await self.deafen()
        await self.fired(self.transport.close(), self.transport.close())

    async def deafen(self) -> None:
        """Fill the queue of a client that reads nothing."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.addCleanup(context.destroy, linger=0)
        deaf = context.socket(zmq.DEALER)
        self.addCleanup(deaf.close, 0)
        deaf.set(zmq.IDENTITY, b"deaf")
        deaf.set(zmq.RCVHWM, 1)
        deaf.connect(self.endpoints[0][0])
        deaf.send_multipart([b"", b"x"])
        await self.until(lambda: bool(self.fromClients))
        taken = 0
        while taken < 5000 and self.transport.toClient([b"deaf", b"", bytes(10_000)]):
            taken += 1
        self.assertLess(taken, 5000)


class MessageTests(SocketCase, TestCase):
    """Pass messages of every size and shape."""

    async def test_large(self) -> None:
        """A frame of 64 MiB passes in both directions."""
        body = bytes(range(256)) * (1 << 18)
        client = self.connect("frontend", b"c")
        self.clientSent = self.transport.toClient
        client.say(b"", body, b"end")
        await self.until(lambda: bool(client.received))
        [[delimiter, echoed, end]] = client.received
        self.assertEqual((delimiter, end, len(echoed)), (b"", b"end", len(body)))
        self.assertTrue(echoed == body)

    async def test_aligned(self) -> None:
        """Messages of several workers arrive whole and apart, whatever their frames."""
        random = Random(11)
        pieces = (
            b"",
            b"",
            b"\x80" * 8,
            b"\xff" + bytes(7),
            b"waiting",
            b"partial",
            b"error",
            b"w0",
            b"w1",
            b"x" * 5000,
        )
        workers = {name: self.connect("backend", name) for name in (b"w0", b"w1", b"w2")}
        sent: dict[bytes, list[list[bytes]]] = {name: [] for name in workers}
        shapes = [[b""], [b"", b"\x80" * 8], [b"", b"\x80" * 8, b""], [b"\x80" * 8], [b"w1", b"", b"waiting"]]
        shapes += [random.choices(pieces, k=random.randrange(1, 7)) for _ in range(600)]
        for shape in shapes:
            name = random.choice(list(workers))
            sent[name].append(shape)
            workers[name].say(*shape)
        await self.until(lambda: len(self.fromWorkers) == len(shapes))
        for name, messages in sent.items():
            self.assertEqual([frames[1:] for frames in self.fromWorkers if frames[0] == name], messages)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_lastReplies(self) -> None:
        """Messages sent just before the transport is closed arrive."""
        client = self.connect("frontend", b"c")
        client.say(b"", b"x")
        await self.until(lambda: bool(self.fromClients))
        for number in range(100):
            self.transport.toClient([b"c", b"%d" % number, bytes(10_000)])
        await self.transport.close()
        await self.until(lambda: len(client.received) == 100)
        self.assertEqual([int(frames[0]) for frames in client.received], list(range(100)))

    async def test_afterDrain(self) -> None:
        """After draining the frontend, clients are still connected."""
        client = self.connect("frontend", b"c")
        client.say(b"", b"x")
        await self.until(lambda: bool(self.fromClients))
        self.transport.drainFrontend()
        self.assertTrue(self.transport.toClient([b"c", b"", b"late"]))
        await self.until(lambda: bool(client.received))


class RoutingIdTests(TestCase):
    """Make the routing ids that ZeroMQ generates unpredictable."""

    def test_seeded(self) -> None:
        """The C library is seeded before the first ROUTER is made, which draws a number from it."""
        done: list[str] = []

        def router(factory: ZmqFactory, *arguments: object, **more: object) -> Router:
            done.append("made")
            factory.context.term()
            raise LookupError

        self.patch(pirate.transport.sockets, "seedRoutingIds", lambda: done.append("seeded"))
        self.patch(pirate.transport.sockets, "Router", router)
        self.assertRaises(LookupError, SocketTransport, reactor)
        self.assertEqual(done, ["seeded", "made"])


class EndpointTests(SocketCase, TestCase):
    """Bind endpoints of every kind."""

    def setUp(self) -> None:
        super().setUp()
        self.root = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.root)
        self.path = self.root / "frontend"
        self.ipc = f"ipc://{self.path}"

    def bind(self, frontend: str, backend: str = "tcp://127.0.0.1:*") -> tuple[SocketTransport, str]:
        """Return another transport, and the endpoint of its frontend."""
        transport = self.startTransport()
        [bound], _ = transport.bind([frontend], [backend])
        return transport, bound

    def test_identifies(self) -> None:
        """Clients prove who they are only if the frontend requires keys; networks tell nothing about them."""
        networks = SocketPolicy(AddressRules.fromTexts(("127.0.0.1",), ()))
        secret = zmq.curve_keypair()[1]
        for policy, identifies in (
            (SocketPolicy(), False),
            (networks, False),
            (SocketPolicy(users=Users(), secret=secret), True),
        ):
            transport = self.startTransport()
            transport.protect(policy, SocketPolicy(), list)
            self.assertIs(transport.identifiesClients, identifies)

    async def test_own(self) -> None:
        """Only this process's user, and the one it will become, can connect to the socket without a file."""
        if not sys.platform.startswith("linux"):
            raise SkipTest("there are no such sockets here")
        me, other = os.geteuid(), os.geteuid() + 1
        for user, becomes, allowed in ((me, None, True), (other, None, False), (other, me, True)):
            transport = SocketTransport(reactor, becomes)
            self._transports.append(transport)
            transport.start(Listener(self, transport), self.peerLimits, self.connectionLimits)
            with mock.patch("os.geteuid", lambda user=user: user):
                endpoint = transport.bindForOwnWorkers()
            assert endpoint is not None
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(PATIENCE)
                peer.connect(endpoint.removeprefix("ipc://").replace("@", "\0", 1))
                # What ZeroMQ says first, or the end.
                self.assertEqual(len(await deferToThread(peer.recv, 1)), int(allowed), (user, becomes))

    async def test_ipc(self) -> None:
        """A UNIX socket has mode 0700, serves, reports the address of a peer, and is removed."""
        transport, bound = self.bind(self.ipc)
        self.assertEqual(bound, self.ipc)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o700)
        client = self.connectTo(bound, b"c")
        client.say(b"", b"x")
        await self.until(lambda: bool(self.fromClients))
        self.assertIn(str(os.getpid()), str(self.addresses[0]))
        await transport.close()
        self.assertFalse(self.path.exists())

    async def test_ipcAgain(self) -> None:
        """A UNIX socket can be bound again as soon as its transport is closed."""
        for name in (b"one", b"two"):
            transport, bound = self.bind(self.ipc)
            self.connectTo(bound, name).say(b"", name)
            await self.until(partial(self.fromClients.__contains__, [name, b"", name]))
            await transport.close()

    async def test_stale(self) -> None:
        """The file of a UNIX socket that a killed server has left is replaced."""
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.path))
        _, bound = self.bind(self.ipc)
        self.connectTo(bound, b"c").say(b"", b"x")
        await self.until(lambda: bool(self.fromClients))

    async def test_live(self) -> None:
        """A UNIX socket in use is refused, and goes on serving."""
        _, bound = self.bind(self.ipc)
        error = self.assertRaises(BindError, self.bind, self.ipc)
        self.assertIn(self.ipc, str(error))
        self.connectTo(bound, b"c").say(b"", b"x")
        await self.until(lambda: bool(self.fromClients))

    async def test_otherFile(self) -> None:
        """A file that is not a socket is refused, and left alone."""
        self.path.write_text("precious")
        error = self.assertRaises(BindError, self.bind, self.ipc)
        self.assertIn("not a socket", str(error))
        self.assertEqual(self.path.read_text(), "precious")

    async def test_ipv6(self) -> None:
        """An IPv6 endpoint reports its port, and serves."""
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError:
            raise SkipTest("there is no ::1 here") from None
        _, bound = self.bind("tcp://[::1]:*")
        self.assertRegex(bound, r"^tcp://\[::1\]:[0-9]+$")
        self.connectTo(bound, b"c").say(b"", b"x")
        await self.until(lambda: bool(self.fromClients))
        self.assertIn("::1", str(self.addresses[0]))

    async def test_nothingLeft(self) -> None:
        """If one endpoint cannot be bound, the others are free again at once, and no file is left."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = f"tcp://127.0.0.1:{other.getsockname()[1]}"
            error = self.assertRaises(BindError, self.bind, self.ipc, taken)
            self.assertEqual(str(error), f"backend {taken}: {os.strerror(98)}")
            self.assertFalse(self.path.exists())
            _, free = self.bind("tcp://127.0.0.1:*")
            await self._transports[-1].close()
            self.assertRaises(BindError, self.bind, free, taken)
            self.bind(free)

    async def test_unknownHost(self) -> None:
        """An address of another host is a BindError with a reason."""
        error = self.assertRaises(BindError, self.bind, "tcp://192.0.2.1:*")
        self.assertRegex(str(error), r"^frontend tcp://192\.0\.2\.1:\*: [A-Z]")

    async def test_closedEarly(self) -> None:
        """A transport that was never bound, or whose bind failed, can be closed."""
        await self.makeTransport().close()
        self.path.write_text("")
        transport = self.startTransport()
        self.assertRaises(BindError, transport.bind, [self.ipc], ["tcp://127.0.0.1:*"])
        await transport.close()
