"""The suite that every transport passes: what a server relies on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from pirate.broker.interfaces import Sender
from pirate.errors import BindError
from pirate.settings.limits import PeerLimits
from pirate.transport.interfaces import IN_PROCESS, ConnectionLimits, ITransport

if TYPE_CHECKING:
    Case = TestCase
else:
    Case = object


class Peer(Protocol):
    """
    A peer of a ROUTER.

    :ivar received: all messages that it has received.
    """

    received: list[list[bytes]]

    def say(self, *frames: bytes) -> None:
        """Send a message."""


class RecordingPeer:
    """A client in this process that records its messages."""

    def __init__(self) -> None:
        self.received: list[list[bytes]] = []

    def messageReceived(self, frames: Sequence[bytes]) -> None:
        """Record a message."""
        self.received.append(list(frames))


class Listener:
    """The receiver of the events of a transport, which passes them on to its test case."""

    def __init__(self, case: TransportCase, transport: ITransport) -> None:
        self._case = case
        self._transport = transport

    def turnStarted(self) -> bool:
        return self._case.late

    def turnEnded(self) -> None:
        self._case.turnEnded()

    def clientMessageReceived(self, frames: list[bytes]) -> int:
        self._case.clientMessageReceived(frames, self._transport.clientSender())
        return self._case.further

    def clientMessageRejected(self, frames: list[bytes], reason: str) -> None:
        self._case.rejected.append((frames, reason))

    def clientDisconnected(self, connection: int) -> None:
        self._case.gone.append(connection)

    def clientHungUp(self, connection: int) -> None:
        self._case.gone.append(connection)

    def clientMessageUnfinished(self, address: str | None) -> None:
        self._case.unfinished.append(("frontend", address))

    def workerMessageReceived(self, frames: list[bytes]) -> None:
        self._case.workerMessageReceived(frames)

    def workerMessageRejected(self, frames: list[bytes], reason: str) -> None:
        self._case.rejected.append((frames, reason))

    def workerMessageUnfinished(self, address: str | None) -> None:
        self._case.unfinished.append(("backend", address))

    def backendConnectionClosed(self, connection: int) -> None:
        self._case.workersGone.append(connection)

    def isOwnWorker(self, pid: int) -> bool:
        return False

    def wantsRequests(self) -> bool:
        return self._case.wanted

    def mayReadExtra(self) -> bool:
        self._case.extra -= 1
        return self._case.extra >= 0

    def secondsUntilExtraRead(self) -> float:
        return 0.01

    def takeHeldBack(self) -> Collection[int]:
        return ()

    def replyUndelivered(self) -> None:
        pass

    def workerMessagesUndelivered(self, messages: list[Sequence[bytes]]) -> None:
        self._case.undelivered.extend(messages)


class TransportCase(Case):
    """A test case that records the events of a transport.  A subclass provides the transport, its peers, and time."""

    peerLimits = PeerLimits()
    connectionLimits = ConnectionLimits(1000, 1000)

    def makeTransport(self) -> Any:
        """Return a transport that is not started."""
        raise NotImplementedError

    def connect(self, side: str, name: bytes) -> Peer:
        """
        Connect a peer.

        :param side: ``frontend`` or ``backend``.
        :param name: its routing id.
        """
        raise NotImplementedError

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Return a Deferred that fires when a condition holds, which is checked after each turn and each message."""
        raise NotImplementedError

    def fired(self, *deferreds: Deferred[None]) -> Deferred[Any]:
        """Return a Deferred that fires when all of these have."""
        raise NotImplementedError

    def setUp(self) -> None:
        """Bind a transport, and record its events."""
        self.fromClients: list[list[bytes]] = []
        self.fromWorkers: list[list[bytes]] = []
        self.addresses: list[str | None] = []
        self.order: list[str] = []
        self.gone: list[int] = []
        self.workersGone: list[int] = []
        self.undelivered: list[Sequence[bytes]] = []
        self.rejected: list[tuple[list[bytes], str]] = []
        self.unfinished: list[tuple[str, str | None]] = []
        self.senders: list[Sender] = []
        self.turns = 0
        self.further = 0
        self.wanted = True
        self.extra = 0
        self.late = False
        self.clientSent: Callable[[list[bytes]], None] = lambda frames: None
        self.workerSent: Callable[[list[bytes]], None] = lambda frames: None
        self.transport = self.startTransport()
        self.endpoints = self.transport.bind(["tcp://127.0.0.1:*"], ["tcp://127.0.0.1:*"])

    def startTransport(self) -> Any:
        """Return another transport whose events are recorded, too."""
        transport = self.makeTransport()
        transport.start(Listener(self, transport), self.peerLimits, self.connectionLimits)
        return transport

    def clientMessageReceived(self, frames: list[bytes], sender: Sender) -> None:
        self.fromClients.append([bytes(frame) for frame in frames])
        self.addresses.append(sender.address())
        self.senders.append(sender)
        self.order.append("client")
        self.clientSent(frames)

    def workerMessageReceived(self, frames: list[bytes]) -> None:
        self.fromWorkers.append([bytes(frame) for frame in frames])
        self.order.append("worker")
        self.workerSent(frames)

    def turnEnded(self) -> None:
        self.turns += 1

    async def settle(self) -> None:
        """Wait until messages on their way have arrived."""

    async def acquaintances(self) -> tuple[Peer, Peer]:
        """Return a client and a worker that are connected, so that the next event is of their next message."""
        client, worker = self.connect("frontend", b"c"), self.connect("backend", b"w")
        client.say(b"", b"hello")
        worker.say(b"", b"hello")
        await self.until(lambda: len(self.order) == 2)
        await self.settle()
        for told in (self.fromClients, self.fromWorkers, self.order):
            told.clear()
        self.turns = 0
        return client, worker


class TransportTests(TransportCase):
    """What a server relies on in a transport."""

    def test_interface(self) -> None:
        """It provides :class:`~pirate.transport.interfaces.ITransport`: every method with its arguments."""
        self.assertTrue(verifyObject(ITransport, self.transport))

    async def test_client(self) -> None:
        """A client's message arrives with its routing id in front, and the reply reaches only this client."""
        one, other = self.connect("frontend", b"one"), self.connect("frontend", b"other")
        one.say(b"", b"question")
        await self.until(lambda: bool(self.fromClients))
        self.assertEqual(self.fromClients, [[b"one", b"", b"question"]])
        self.assertTrue(self.transport.toClient([b"one", b"", b"answer"]))
        await self.until(lambda: bool(one.received))
        self.assertEqual((one.received, other.received, self.fromWorkers), ([[b"", b"answer"]], [], []))

    async def test_worker(self) -> None:
        """A worker's message arrives with its routing id in front, and the worker can be sent messages."""
        worker = self.connect("backend", b"w")
        worker.say(b"", b"waiting")
        await self.until(lambda: bool(self.fromWorkers))
        self.assertEqual(self.fromWorkers, [[b"w", b"", b"waiting"]])
        self.assertTrue(self.transport.toWorker([b"w", b"", b"retire"]))
        await self.until(lambda: bool(worker.received))
        self.assertEqual((worker.received, self.fromClients), ([[b"", b"retire"]], []))

    async def test_posted(self) -> None:
        """Posted messages reach workers in order; undelivered ones are reported later, not at once."""
        worker = self.connect("backend", b"w")
        worker.say(b"", b"waiting")
        await self.until(lambda: bool(self.fromWorkers))
        for frames in ([b"w", b"", b"one"], [b"nobody", b"", b"lost"], [b"w", b"", b"two"]):
            self.transport.postToWorker(frames)
            self.assertEqual(self.undelivered, [])
        await self.until(lambda: len(worker.received) == 2)
        self.assertEqual(worker.received, [[b"", b"one"], [b"", b"two"]])
        await self.until(lambda: bool(self.undelivered))
        self.assertEqual(self.undelivered, [[b"nobody", b"", b"lost"]])

    async def test_workerMessages(self) -> None:
        """Every form of a worker's message arrives as it was sent."""
        messages = [
            [b"", b"waiting", b"{}"],
            [b"", b"heartbeat"],
            [b"\x80" * 8, b"reply"],
            [b"\x80" * 8, b"", b"x" * 5000, b""],
            [b"", b"\x80" * 8, b"", b"reply"],
            [b"", b"\x80" * 8, b"", b"", b"x" * 5000, b""],
            [b"", b"\xff" * 8, b"partial", b"part"],
            [b"", b"\x80" * 8, b"error", b"app-error", b"text"],
            [b"", b"exiting"],
        ]
        worker = self.connect("backend", b"w")
        for message in messages:
            worker.say(*message)
        await self.until(lambda: len(self.fromWorkers) == len(messages))
        self.assertEqual(self.fromWorkers, [[b"w", *message] for message in messages])

    async def test_workerSender(self) -> None:
        """The sender of a worker's message is known while the message is processed."""
        speakers: list[str | None] = []
        self.workerSent = lambda frames: speakers.append(self.transport.workerSender().address())
        self.connect("backend", b"w").say(b"", b"waiting")
        await self.until(lambda: bool(speakers))
        self.assertEqual(speakers, ["127.0.0.1"])

    async def test_sides(self) -> None:
        """A peer of one side is not connected to the other."""
        self.connect("frontend", b"c").say(b"", b"x")
        await self.until(lambda: bool(self.fromClients))
        self.assertFalse(self.transport.toWorker([b"c", b"", b"x"]))

    async def test_unknownPeer(self) -> None:
        """Sending to an unknown peer returns ``False``."""
        self.assertFalse(self.transport.toClient([b"nobody", b"", b"x"]))
        self.assertFalse(self.transport.toWorker([b"nobody", b"", b"x"]))
        await self.until(lambda: True)

    async def test_frames(self) -> None:
        """Empty frames, many frames and all bytes pass unchanged in both directions."""
        message = [b"", *[b"%d" % number for number in range(1000)], b"", bytes(range(256)) * 40, b""]
        client = self.connect("frontend", b"\x01\xff")
        client.say(*message)
        await self.until(lambda: bool(self.fromClients))
        self.assertEqual(self.fromClients, [[b"\x01\xff", *message]])
        self.transport.toClient([b"\x01\xff", *message])
        await self.until(lambda: bool(client.received))
        self.assertEqual(client.received, [message])

    async def test_order(self) -> None:
        """Many messages arrive completely and in order."""
        client = self.connect("frontend", b"c")
        for number in range(500):
            client.say(b"", b"%d" % number)
        await self.until(lambda: len(self.fromClients) == 500)
        self.assertEqual([int(frames[2]) for frames in self.fromClients], list(range(500)))

    async def test_replyWithin(self) -> None:
        """A message may be answered while it is being processed."""
        client = self.connect("frontend", b"c")
        self.clientSent = self.transport.toClient
        for number in range(200):
            client.say(b"", b"%d" % number)
        await self.until(lambda: len(client.received) == 200)

    async def test_notWanted(self) -> None:
        """While no requests are wanted, workers are read and clients are not; later clients are read, too."""
        client, worker = await self.acquaintances()
        self.wanted = False
        client.say(b"", b"x")
        await self.until(lambda: self.turns > 0)
        worker.say(b"", b"waiting")
        await self.until(lambda: bool(self.fromWorkers))
        self.assertEqual(self.fromClients, [])
        self.wanted = True
        self.transport.wake()
        await self.until(lambda: bool(self.fromClients))

    async def test_extra(self) -> None:
        """While no requests are wanted, some messages are read all the same, also of a client in this process."""
        client, _ = await self.acquaintances()
        self.wanted = False
        for question in (b"one", b"two", b"three", b"four"):
            client.say(b"", question)
            self.transport.receiveInProcess([b"", question])
        await self.until(lambda: self.turns > 0)
        self.assertEqual(self.fromClients, [])
        self.extra = 4
        await self.until(lambda: len(self.fromClients) == 4 and self.extra < 0)
        self.assertEqual({bytes(frames[0]) for frames in self.fromClients}, {b"c", IN_PROCESS})
        self.assertEqual(len(self.fromClients), 4)

    async def test_workersFirst(self) -> None:
        """A turn reads workers before clients."""
        client, worker = await self.acquaintances()
        self.wanted = False
        client.say(b"", b"x")
        await self.until(lambda: self.turns > 0)
        self.wanted = True
        worker.say(b"", b"waiting")
        await self.until(lambda: len(self.order) == 2)
        self.assertEqual(self.order, ["worker", "client"])

    async def test_turnEnded(self) -> None:
        """The end of each turn is reported, even if nothing was read."""
        self.transport.wake()
        self.assertEqual(self.turns, 0)
        await self.until(lambda: self.turns > 0)
        self.assertEqual(self.order, [])

    async def test_errorInEvent(self) -> None:
        """An error in processing a message is logged, and the next message is processed."""

        def failing(frames: list[bytes]) -> None:
            if bytes(frames[2]) == b"bad":
                raise ValueError("bad")

        self.clientSent = self.workerSent = failing
        client, worker = self.connect("frontend", b"c"), self.connect("backend", b"w")
        for peer in (client, worker):
            for body in (b"bad", b"good"):
                peer.say(b"", body)
        await self.until(lambda: len(self.order) == 4)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    async def test_sender(self) -> None:
        """The sender of a client's message has an address, and a connection of its own."""
        for name in (b"c", b"d"):
            self.connect("frontend", name).say(b"", b"x")
        await self.until(lambda: len(self.senders) == 2)
        self.assertEqual(self.addresses, ["127.0.0.1"] * 2)
        self.assertEqual(len({sender.connection() for sender in self.senders} - {None}), 2)

    async def test_inProcess(self) -> None:
        """A client in this process is read, and reached by both ways of sending; it has no address."""
        peer = RecordingPeer()
        self.transport.connectInProcess(peer)
        self.transport.receiveInProcess([b"", b"question"])
        self.assertEqual(self.fromClients, [])
        await self.until(lambda: bool(self.fromClients))
        self.assertEqual((self.fromClients, self.addresses), ([[IN_PROCESS, b"", b"question"]], [None]))
        self.assertTrue(self.transport.toClient([IN_PROCESS, b"", b"one"]))
        self.transport.postToClient([IN_PROCESS, b"", b"two"])
        await self.until(lambda: len(peer.received) == 2)
        self.assertEqual(peer.received, [[b"", b"one"], [b"", b"two"]])

    async def test_inProcessNotWanted(self) -> None:
        """While no requests are wanted, a client in this process is not read."""
        self.wanted = False
        self.transport.receiveInProcess([b"", b"question"])
        await self.until(lambda: self.turns > 0)
        self.assertEqual(self.fromClients, [])
        self.wanted = True
        self.transport.wake()
        await self.until(lambda: bool(self.fromClients))

    async def test_inProcessWantedAgain(self) -> None:
        """A client in this process is read if the end of a turn makes room, without any other event."""
        self.wanted = False
        ended = self.turnEnded

        def makeRoom() -> None:
            self.wanted = True
            ended()

        self.patch(self, "turnEnded", makeRoom)
        self.transport.receiveInProcess([b"", b"question"])
        await self.until(lambda: bool(self.fromClients))

    async def test_notInProcess(self) -> None:
        """Without a client in this process, its routing id is unknown."""
        self.assertFalse(self.transport.toClient([IN_PROCESS, b"", b"x"]))
        await self.until(lambda: True)

    async def test_postThenClose(self) -> None:
        """A message posted in a turn is sent even if the transport is closed in that turn."""
        client, worker = await self.acquaintances()
        closed: list[Deferred[None]] = []

        def last(frames: list[bytes]) -> None:
            self.transport.postToClient([b"c", b"", b"last words"])
            closed.append(self.transport.close())

        self.workerSent = last
        worker.say(b"", b"x")
        await self.until(lambda: [b"", b"last words"] in client.received)
        await self.fired(*closed)

    async def test_drainFrontend(self) -> None:
        """Draining the frontend reads what clients have sent, if requests are wanted."""
        client, _ = await self.acquaintances()
        self.wanted = False
        client.say(b"", b"x")
        await self.until(lambda: self.turns > 0)
        self.transport.drainFrontend()
        self.assertEqual(self.fromClients, [])
        self.wanted = True
        self.transport.drainFrontend()
        self.assertEqual(self.fromClients, [[b"c", b"", b"x"]])

    async def test_bind(self) -> None:
        """Each side may have several endpoints, and their real ports are returned."""
        transport = self.startTransport()
        frontend, backend = transport.bind(["tcp://127.0.0.1:*"] * 2, ["tcp://127.0.0.1:*"])
        self.assertEqual((len(frontend), len(backend)), (2, 1))
        for endpoint in (*frontend, *backend):
            self.assertRegex(endpoint, r"^tcp://127\.0\.0\.1:[0-9]+$")
        self.assertEqual(len({*frontend, *backend}), 3)
        await self.fired(transport.close())

    async def test_bindFails(self) -> None:
        """A BindError names the side, the endpoint and the reason."""
        taken = self.endpoints[0][0]
        for endpoints, side in (
            (([taken], ["tcp://127.0.0.1:*"]), "frontend"),
            ((["tcp://127.0.0.1:*"], [taken]), "backend"),
        ):
            error = self.assertRaises(BindError, self.startTransport().bind, *endpoints)
            self.assertEqual(str(error), f"{side} {taken}: Address already in use")
        await self.until(lambda: True)

    async def test_close(self) -> None:
        """A transport may be closed twice, and before it is bound."""
        unbound = self.makeTransport()
        await self.fired(self.transport.close(), self.transport.close(), unbound.close())
        await self.fired(self.transport.close())

    async def test_closeWithin(self) -> None:
        """The receiver of events may close the transport; nothing more is read."""
        closed: Deferred[None] = Deferred()
        client, worker = await self.acquaintances()
        self.wanted = False
        client.say(b"", b"x")
        await self.until(lambda: self.turns > 0)
        self.wanted = True
        self.workerSent = lambda frames: self.transport.close().chainDeferred(closed)
        worker.say(b"", b"exiting")
        await self.fired(closed)
        self.assertEqual(self.order, ["worker"])
