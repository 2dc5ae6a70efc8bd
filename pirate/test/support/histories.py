"""
Histories: what peers do to a server, told so that it can be done in the simulated world and in the real one.

A history is a generator.  It acts through a :class:`Stage`, and yields conditions: it goes on when each holds.  What
the server has seen and done then must be the same on every stage, apart from times.
"""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Protocol

from zope.interface import implementer

from pirate.service import JobServer
from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.settings.settings import Settings
from pirate.testing.arguments import settingsOf
from pirate.testing.world.apps import Step, body
from pirate.transport.interfaces import ITransport
from pirate.wire.backend import ErrorReply, PackedReplies, Part, Status, parseWorkerMessage
from pirate.wire.frontend import header, packRequests, parseReplies, parseServerReply
from pirate.wire.words import WAITING

#: What a history waits for.
Condition = Callable[[], bool]
#: The settings of a server whose only worker takes one request at a time.
ONE_WORKER: dict[str, Any] = {"minServers": 1, "maxServers": 1, "prefetch": 1}


class HistoryPeer(Protocol):
    """
    A client, or an external worker.

    :ivar received: the messages that it has received.
    :ivar reads: whether it reads.
    """

    received: list[list[bytes]]
    reads: bool

    def send(self, *frames: bytes) -> None:
        """Send a message."""

    def close(self) -> None:
        """Close its socket."""


class Stage(Protocol):
    """
    The place of a history: a server with its workers, and means to act on them.

    :ivar record: what the server has seen and done.
    :ivar server: the server.
    """

    record: Record
    server: JobServer

    def connect(self, name: str, kind: str = "DEALER", side: str = "frontend") -> HistoryPeer:
        """
        Connect a peer.

        :param name: its routing id, if it is a DEALER and the name is not empty.
        :param kind: ``DEALER`` or ``REQ``.
        """

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a worker."""

    def after(self, seconds: float) -> Condition:
        """Return a condition that holds in so many seconds."""


@dataclass
class Record:
    """
    What a server has seen and done, by the names of its peers.

    :ivar clients: events of each client, in their order.
    :ivar workers: events of each worker; the first to announce itself is ``worker 0``.
    :ivar ends: how worker processes have ended.
    :ivar pids: the process ids of the workers, by their names.
    :ivar connections: the numbers of their connections.
    """

    clients: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    workers: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[int, str] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)
    connections: dict[str, int] = field(default_factory=dict)
    _names: dict[bytes, str] = field(default_factory=dict)
    _clientConnections: dict[int, str] = field(default_factory=dict)

    def client(self, route: bytes, connection: int | None = None) -> list[str]:
        """Return the events of a client."""
        name = route.decode() if route[:1] != b"\0" else self._names.setdefault(route, f"nameless {len(self._names)}")
        if connection is not None:
            self._clientConnections[connection] = name
        return self.clients[name]

    def worker(self, identity: bytes, connection: int | None = None) -> list[str]:
        """Return the events of a worker."""
        name = self._names.get(identity)
        if name is None:
            own = identity.startswith(b"child_")
            name = self._names[identity] = f"worker {len(self.pids)}" if own else identity.decode()
            if own:
                self.pids[name] = int(identity.split(b"_")[1])
        if connection is not None:
            self.connections[name] = connection
        return self.workers[name]

    def disconnected(self, connection: int) -> None:
        """Note the end of a client's connection."""
        name = self._clientConnections.pop(connection, None)
        if name is not None:
            self.clients[name].append("is gone")

    def told(self) -> dict[str, Any]:
        """Return everything that must be the same on every stage."""
        ends = {name: self.ends.get(pid, "") for name, pid in self.pids.items()}
        return deepcopy({"clients": dict(self.clients), "workers": dict(self.workers), "ends": ends})


@implementer(ITransport)
class RecordingTransport:
    """A transport that records what passes through it."""

    def __init__(self, transport: Any, record: Record) -> None:
        self._transport = transport
        self._record = record

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def start(self, events: Any, *limits: Any) -> None:
        """Put a recorder in front of the receiver of events."""
        self._transport.start(RecordingEvents(events, self._transport, self._record), *limits)

    def toClient(self, frames: Sequence[bytes]) -> bool:
        """Record a message to a client, and whether it was sent."""
        sent: bool = self._transport.toClient(frames)
        self._record.client(frames[0]).append(f"is sent {shownReply(frames[1:])}{'' if sent else ', in vain'}")
        return sent

    def postToClient(self, frames: Sequence[bytes]) -> None:
        """Record a message to a client."""
        self._record.client(frames[0]).append(f"is sent {shownReply(frames[1:])}")
        self._transport.postToClient(frames)

    def toWorker(self, frames: Sequence[bytes]) -> bool:
        """Record a message to a worker, and whether it was sent."""
        sent: bool = self._transport.toWorker(frames)
        self._toWorker(frames, "" if sent else ", in vain")
        return sent

    def postToWorker(self, frames: Sequence[bytes]) -> None:
        """Record a message to a worker."""
        self._toWorker(frames)
        self._transport.postToWorker(frames)

    def postRequests(self, worker: bytes, requests: Sequence[bytes], bodies: Sequence[bytes]) -> None:
        """Record requests to a worker."""
        for each in bodies:
            self._record.worker(worker).append(f"is sent {shown(each)}")
        self._transport.postRequests(worker, requests, bodies)

    def _toWorker(self, frames: Sequence[bytes], how: str = "") -> None:
        told = f"the word {frames[2].decode()}" if frames[2][:1] < b"\x80" else shown(frames[-1])
        self._record.worker(frames[0]).append(f"is sent {told}{how}")


class RecordingEvents:
    """The receiver of a transport's events, with a recorder in front of it."""

    def __init__(self, events: Any, transport: Any, record: Record) -> None:
        self._events = events
        self._transport = transport
        self._record = record

    def __getattr__(self, name: str) -> Any:
        return getattr(self._events, name)

    def clientMessageReceived(self, frames: list[bytes]) -> Any:
        """Record a client's message."""
        events = self._record.client(frames[0], self._transport.clientSender().connection())
        events.append(f"sends {' '.join(shown(each) for each in frames[1:])}")
        return self._events.clientMessageReceived(frames)

    def clientMessageRejected(self, frames: list[bytes], reason: str) -> None:
        """Record the rejection of a client's message."""
        events = self._record.client(frames[0], self._transport.clientSender().connection())
        events.append(f"is rejected: {reason}")
        self._events.clientMessageRejected(frames, reason)

    def clientDisconnected(self, connection: int) -> None:
        """Record the end of a client's connection."""
        self._record.disconnected(connection)
        self._events.clientDisconnected(connection)

    def workerMessageReceived(self, frames: list[bytes]) -> Any:
        """Record a worker's message."""
        events = self._record.worker(frames[0], self._transport.workerSender().connection())
        events.extend(shownStatus(frames))
        return self._events.workerMessageReceived(frames)


def arguments(settings: dict[str, Any], module: str) -> dict[str, Any]:
    """
    Return settings as the arguments of a :class:`~pirate.service.JobServer`.

    :param module: the import path of the module with the apps.
    """
    return {
        "app": f"{module}.workOnLoop" if "loop" in settings else f"{module}.work",
        "limits": PoolLimits(**settingsOf(PoolLimits, settings)),
        "policy": RequestPolicy(**settingsOf(RequestPolicy, settings)),
        "peerLimits": PeerLimits(**settingsOf(PeerLimits, settings)),
        **settingsOf(Settings, settings),
    }


def countersOf(server: Any) -> dict[str, Any]:
    """Return the counters of a server's broker."""
    counters = server._runningServer._broker.counters
    return {name: getattr(counters, name) for name in type(counters).__slots__}


def shown(frame: bytes) -> str:
    """Return a frame as a text: the token of a request, the id and the options of a header, or its first bytes."""
    data = bytes(frame)
    if data[:4] == b"PIR1":
        return f"header {data[4:20].hex()[:2]} {data[20:].decode('ascii', 'backslashreplace')}".rstrip()
    if data[:2] == b'["':
        return data.split(b'"')[1].decode()
    return repr(data[:20])


def shownReply(frames: Sequence[bytes]) -> str:
    """Return a message to a client as a text: without what differs from run to run, such as process ids and times."""
    reply = parseServerReply([bytes(each) for each in frames])
    if reply is None:
        return " ".join(repr(bytes(each)[:20]) for each in frames)
    if reply.options.get("status") == "batch":
        return f"a batch of {len(parseReplies(reply.body) or ())}"
    told = [str(reply.options[name]) for name in ("status", "code", "attempts", "state") if name in reply.options]
    frames = () if reply.options.get("status") in ("error", "pong") else reply.body
    return " ".join([reply.requestId.hex()[:2], *told, *(repr(bytes(each)[:20]) for each in frames)])


def shownStatus(frames: list[bytes]) -> Iterator[str]:
    """Yield a message of a worker as texts, one for each reply in it."""
    message = parseWorkerMessage(frames)
    if isinstance(message, Status):
        yield f"says {message.word.decode()}" + (f", credit {message.info.credit}" if message.info is not None else "")
    elif isinstance(message, PackedReplies):
        for each in message.bodies:
            yield f"replies {bytes(each)[:20]!r}"
    elif isinstance(message, Part):
        yield f"sends a part {bytes(message.body[0])[:20]!r}"
    elif isinstance(message, ErrorReply):
        yield f"reports {message.text.decode()}"
    elif isinstance(message, tuple):
        yield f"replies {bytes(message[2][0])[:20]!r}"
    else:
        yield f"sends {message}"


# --- the histories


class History(Protocol):
    """A history, with the settings of its server."""

    settings: dict[str, Any]

    def __call__(self, stage: Stage) -> Iterator[Condition]:
        """Act."""


#: All histories, by their names.
HISTORIES: dict[str, History] = {}


def history(**settings: Any) -> Callable[[Callable[[Stage], Iterator[Condition]]], History]:
    """Add a history, whose server has one worker and these settings."""

    def add(act: Any) -> History:
        act.settings = {**ONE_WORKER, **settings}
        HISTORIES[act.__name__] = act
        added: History = act
        return added

    return add


def native(number: int, token: str, *steps: Step, **options: Any) -> list[bytes]:
    """Return the frames of a native request."""
    return [header(bytes([number]) * 16, options), b"", body(token, list(steps))]


def command(number: int, word: str) -> list[bytes]:
    """Return the frames of a native command."""
    return [header(bytes([number]) * 16, {"command": word}), b"", b""]


def plain(token: str, *steps: Step) -> list[bytes]:
    """Return the frames of a plain request on a DEALER."""
    return [b"", body(token, list(steps))]


def has(peer: HistoryPeer, count: int) -> Condition:
    """Return the condition that a peer has received so many messages."""
    return lambda: len(peer.received) >= count


def saw(stage: Stage, event: str, times: int = 1) -> Condition:
    """Return the condition that an event of some peer has been recorded so many times."""

    def holds() -> bool:
        record = stage.record
        return sum(each.count(event) for each in (*record.clients.values(), *record.workers.values())) >= times

    return holds


def ended(stage: Stage, worker: str) -> Condition:
    """Return the condition that a worker has ended, and the next one is ready."""
    record = stage.record
    return lambda: (
        record.pids[worker] in record.ends
        and any(
            "says waiting, credit 1" in record.workers[name]
            for name, pid in record.pids.items()
            if pid not in record.ends
        )
    )


def waiting(stage: Stage, count: int) -> Condition:
    """Return the condition that so many requests wait for a worker."""
    return lambda: stage.server._runningServer._broker.queues.waiting == count  # type: ignore[union-attr]


@history()
def requestAndReply(stage: Stage) -> Iterator[Condition]:
    """A native client, a plain DEALER and a REQ are answered; a request with the same id gets the same outcome."""
    client, dealer, req = stage.connect("c"), stage.connect("d"), stage.connect("", "REQ")
    client.send(*native(1, "a"))
    yield has(client, 1)
    dealer.send(*plain("b"))
    yield has(dealer, 1)
    req.send(body("e", []))
    yield has(req, 1)
    client.send(*native(1, "a"))
    yield has(client, 2)
    client.send(*native(2, "f", ["raise", "no"]))
    yield has(client, 3)


@history()
def parts(stage: Stage) -> Iterator[Condition]:
    """A reply in parts goes in parts to a client that takes them, and in one message to others."""
    client, dealer = stage.connect("c"), stage.connect("d")
    client.send(*native(1, "a", ["parts", 5], partial=True))
    yield has(client, 6)
    client.send(*native(2, "b", ["parts", 3]))
    yield has(client, 7)
    dealer.send(*plain("e", ["parts", 2]))
    yield has(dealer, 1)


@history(prefetch=None, loop="asyncio", concurrency=8)
def onLoop(stage: Stage) -> Iterator[Condition]:
    """Requests on a loop are executed at the same time, in parts or not, and end as they end."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["sleep", 0.6]))
    yield saw(stage, "is sent a")
    client.send(*native(2, "b", ["sleep", 0.1]))
    yield has(client, 1)
    client.send(*native(3, "e", ["parts", 3], partial=True))
    yield has(client, 5)
    client.send(*native(4, "f", ["cancellable", 60]))
    yield saw(stage, "is sent f")
    client.send(*command(4, "cancel"))
    yield has(client, 6)
    yield has(client, 7)


@history(prefetch=None, loop="asyncio", concurrency=8)
def secondTerm(stage: Stage) -> Iterator[Condition]:
    """A second TERM ends a worker on a loop at once: it answers nothing, and its requests go to the next worker."""
    client = stage.connect("c")
    for number in range(1, 7):
        client.send(*native(number, f"t{number}", ["sleep", 60]))
        yield saw(stage, f"is sent t{number}")
    yield stage.after(0.3)
    for _ in range(2):
        stage.signal(stage.record.pids["worker 0"], signal.SIGTERM)
        yield stage.after(0.3)
    yield saw(stage, "is sent t6", 2)
    for number in range(1, 7):
        client.send(*command(number, "cancel"))
        yield has(client, number)
        yield saw(stage, "reports it was cancelled", number)


@history()
def batch(stage: Stage) -> Iterator[Condition]:
    """Several requests in a message are executed in their order."""
    client = stage.connect("c")
    requests = [(bytes([number]) * 16, 5000, body(f"t{number}", [["sleep", 0.001]])) for number in range(1, 6)]
    client.send(header(bytes(16), {"command": "batch"}), b"", packRequests(requests))
    yield lambda: stage.server._runningServer._broker.counters.replied == 5  # type: ignore[union-attr]


@history(maxAttempts=2)
def workerKilled(stage: Stage) -> Iterator[Condition]:
    """The request of a worker that is killed goes to the next, and is given up when that is killed too."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["sleep", 60]))
    yield saw(stage, "is sent a")
    stage.signal(stage.record.pids["worker 0"], signal.SIGKILL)
    yield saw(stage, "is sent a", 2)
    stage.signal(stage.record.pids["worker 1"], signal.SIGKILL)
    yield has(client, 1)
    yield ended(stage, "worker 1")


@history(maxAttempts=3)
def poison(stage: Stage) -> Iterator[Condition]:
    """A request that kills its workers takes down three, and another client is answered after that."""
    client, other = stage.connect("c"), stage.connect("d")
    client.send(*native(1, "a", ["die", "SIGSEGV"]))
    yield has(client, 1)
    other.send(*plain("b"))
    yield has(other, 1)


@history()
def appEnds(stage: Stage) -> Iterator[Condition]:
    """An app that ends its process by an exit code costs an attempt, and the client may allow only one."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["end", 7], attempts=1))
    yield has(client, 1)
    yield ended(stage, "worker 0")


def _cutWorker(stage: Stage) -> None:
    running: Any = stage.server._runningServer
    running._transport.dropWorker(stage.record.connections["worker 0"])


@history()
def workerReconnects(stage: Stage) -> Iterator[Condition]:
    """A worker whose connection is cut connects again, and its reply counts, but another takes its place."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["sleep", 1.0]))
    yield saw(stage, "is sent a")
    yield stage.after(0.2)
    _cutWorker(stage)
    yield has(client, 1)
    client.send(*native(2, "b"))
    yield has(client, 2)


@history()
def workerUnreachable(stage: Stage) -> Iterator[Condition]:
    """A worker that is cut off while it is stopped, and so does not return, is ended, and its request moved."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["sleep", 1.0]))
    yield saw(stage, "is sent a")
    yield stage.after(0.2)
    stage.signal(stage.record.pids["worker 0"], signal.SIGSTOP)
    _cutWorker(stage)
    yield has(client, 1)
    yield ended(stage, "worker 0")


@history()
def clientGoneWhileWaiting(stage: Stage) -> Iterator[Condition]:
    """The waiting request of a client that disconnects is withdrawn; one that is executed is not."""
    client, gone = stage.connect("c"), stage.connect("d")
    client.send(*native(1, "a", ["sleep", 1.0]))
    yield saw(stage, "is sent a")
    gone.send(*native(2, "b"))
    yield waiting(stage, 1)
    gone.close()
    yield waiting(stage, 0)
    yield has(client, 1)


@history()
def clientGoneWhileExecuted(stage: Stage) -> Iterator[Condition]:
    """The reply to a client that has disconnected is not delivered, and remembered."""
    gone = stage.connect("c")
    gone.send(*native(1, "a", ["sleep", 1.0]))
    yield saw(stage, "is sent a")
    gone.close()
    yield saw(stage, "is gone")
    yield saw(stage, "replies b'a'")
    yield stage.after(0.1)
    again = stage.connect("d")
    again.send(*native(1, "a", ["sleep", 1.0]))
    yield has(again, 1)


@history(highWaterMark=10)
def fullQueue(stage: Stage) -> Iterator[Condition]:
    """What a client does not read waits for it, in order, and holds up nobody else."""
    deaf, other = stage.connect("c"), stage.connect("d")
    deaf.reads = False
    running: Any = stage.server._runningServer
    for number in range(150):
        deaf.send(*plain(f"n{number}", ["bytes", 100_000]))
        yield lambda number=number: running._broker.counters.replied > number  # type: ignore[misc]
    yield lambda: bool(running._transport._outbox.postponed)
    other.send(*plain("b"))
    yield has(other, 1)
    deaf.reads = True
    yield has(deaf, 150)
    assert [each[1] for each in deaf.received] == [b"n%d" % number for number in range(150)]


@history()
def duplicateIdentity(stage: Stage) -> Iterator[Condition]:
    """A second client with the routing id of the first is not heard; once the first has left, another one is."""
    first = stage.connect("c")
    first.send(*native(1, "a"))
    yield has(first, 1)
    second = stage.connect("c")
    second.send(*native(2, "b"))
    yield stage.after(0.3)
    first.send(*native(3, "e"))
    yield has(first, 2)
    first.close()
    yield saw(stage, "is gone")
    third = stage.connect("c")
    third.send(*native(4, "f"))
    yield stage.after(0.3)
    third.send(*native(5, "g"))
    yield has(third, 2)
    second.close()
    yield stage.after(0.1)


@history()
def reconnect(stage: Stage) -> Iterator[Condition]:
    """A client that comes back with the same identity and the same request shares the outcome of the first."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["sleep", 1.0]))
    yield saw(stage, "is sent a")
    client.close()
    yield saw(stage, "is gone")
    again = stage.connect("c")
    again.send(*native(1, "a", ["sleep", 1.0]))
    yield has(again, 1)


@history()
def cancel(stage: Stage) -> Iterator[Condition]:
    """A request that waits is cancelled at once, one that is executed when its app looks, and an unknown one never."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["cancellable", 20]))
    yield saw(stage, "is sent a")
    client.send(*native(2, "b"))
    yield waiting(stage, 1)
    client.send(*command(2, "cancel"))
    yield has(client, 1)
    client.send(*command(1, "cancel"))
    yield has(client, 2)
    client.send(*command(9, "cancel"))
    yield has(client, 3)
    client.send(*native(3, "e"))
    yield has(client, 4)


@history()
def deadline(stage: Stage) -> Iterator[Condition]:
    """A request that still waits at its deadline expires, and does not run."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["sleep", 1.2]))
    yield saw(stage, "is sent a")
    client.send(*native(2, "b", timeout_ms=200))
    client.send(*native(3, "e", timeout_ms=0))
    yield has(client, 2)
    yield has(client, 3)


@history(jobTimeout=0.5)
def jobTimeout(stage: Stage) -> Iterator[Condition]:
    """A job that takes too long is stopped with its worker, and not tried again."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["sleep", 60]))
    yield has(client, 1)
    yield ended(stage, "worker 0")
    client.send(*native(2, "b"))
    yield has(client, 2)


@history(maxRequests=3, maxRequestsJitter=0)
def retire(stage: Stage) -> Iterator[Condition]:
    """A worker leaves after its number of requests, and another takes its place."""
    client = stage.connect("c")
    for number in range(1, 5):
        client.send(*native(number, f"t{number}"))
        yield has(client, number)
    yield ended(stage, "worker 0")


@history()
def reload(stage: Stage) -> Iterator[Condition]:
    """A reload starts a new worker, and retires the old one when it has done what it holds."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["cancellable", 60]))
    yield saw(stage, "is sent a")
    reloaded = stage.server.reload()
    yield saw(stage, "is sent the word retire")
    client.send(*command(1, "cancel"))
    yield has(client, 1)
    yield ended(stage, "worker 0")
    yield lambda: reloaded.called
    client.send(*native(2, "b"))
    yield has(client, 2)


@history()
def ping(stage: Stage) -> Iterator[Condition]:
    """A ping is answered while the worker is busy."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["sleep", 0.6]))
    yield saw(stage, "is sent a")
    client.send(*command(2, "ping"))
    yield has(client, 2)


@history()
def malformed(stage: Stage) -> Iterator[Condition]:
    """What is no request is answered if its sender would understand that, or dropped, and nobody else is disturbed."""
    client = stage.connect("c")
    key = b"\1" * 16
    for frames in (
        [b"x"],
        [b""],
        [b"", b""],
        [b"PIR1" + key + b"{", b"", b"x"],
        [b"PIR1short", b"", b"x"],
        [header(key, {"timeout_ms": -1}), b"", b"x"],
        [header(key, {"command": "dance"}), b"", b"x"],
        [header(key, {"service": "nobody"}), b"", b"x"],
        [b"e"] * 40,
    ):
        client.send(*frames)
    client.send(*native(2, "a"))
    yield lambda: any(b"a" in each[-1:] for each in client.received)


@history(maxMessageSize=0.01, maxMessageFrames=8, maxMessageTotal=0.02)
def oversize(stage: Stage) -> Iterator[Condition]:
    """A message above a limit is rejected, or its connection is closed, and the next one is read."""
    client = stage.connect("c")
    for number, frames in enumerate(([bytes(12_000)], [b"x"] * 20, [bytes(8_000)] * 3), 1):
        client.send(header(bytes([number]) * 16, {}), b"", *frames)
        client.send(*native(number + 10, f"t{number}"))
        yield saw(stage, f"is sent t{number}")
        yield saw(stage, f"replies b't{number}'")
    huge = stage.connect("d")
    huge.send(*native(1, "a"))
    yield has(huge, 1)
    huge.send(b"", bytes(40_000))
    yield saw(stage, "is gone")


@history(backlog=2, backlogPolicy="reject")
def busy(stage: Stage) -> Iterator[Condition]:
    """Requests beyond a full backlog are refused."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["sleep", 0.8]))
    yield saw(stage, "is sent a")
    for number in range(2, 6):
        client.send(*native(number, f"t{number}"))
    yield has(client, 5)


@history(backlog=2, backlogPolicy="wait", clientShare=1.0)
def backpressure(stage: Stage) -> Iterator[Condition]:
    """Requests beyond a full backlog stay with ZeroMQ until there is room; a ping is answered meanwhile."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["sleep", 1.0]))
    yield saw(stage, "is sent a")
    for number in range(2, 9):
        client.send(*native(number, f"t{number}"))
    yield waiting(stage, 2)
    other = stage.connect("d")
    other.send(*command(20, "ping"))
    yield has(other, 1)
    yield has(client, 8)


@history(externalWorkers=True)
def externalWorker(stage: Stage) -> Iterator[Condition]:
    """A worker that the server has not started, of the simplest kind, gets what the server's own cannot take."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["sleep", 1.0]))
    yield saw(stage, "is sent a")
    external = stage.connect("external", side="backend")
    external.send(b"", WAITING)
    client.send(*native(2, "b"))
    yield has(external, 1)
    _, request, *_ = external.received[0]
    external.send(b"", request, b"", b"b")
    yield has(client, 1)
    external.send(b"", b"exiting")
    yield has(client, 2)
    external.close()


@history(externalWorkers=True)
def forgedReply(stage: Stage) -> Iterator[Condition]:
    """A peer of the backend that was given no request cannot reply to one."""
    client = stage.connect("c")
    client.send(*native(1, "a", ["sleep", 0.6]))
    yield saw(stage, "is sent a")
    forger = stage.connect("forger", side="backend")
    forger.send(b"", b"\x80" * 8, b"", b"forged")
    forger.send(b"", b"nonsense")
    yield has(client, 1)
    yield saw(stage, "sends Malformed(reason='unknown-word', reply=None)")
