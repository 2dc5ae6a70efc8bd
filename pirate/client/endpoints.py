"""
The servers of a client as its session sees them: their connections, which of them is best for a call, which are silent,
and how large a message each accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from enum import Enum
from random import Random
from typing import Any, Protocol

from pirate.client.call import Call
from pirate.wire.frontend import header
from pirate.wire.words import Frames, Value

#: The most connections of a plain client to one endpoint: each carries one call at a time.
MAX_PLAIN_CONNECTIONS = 64
#: Seconds of silence after which a connection with calls in flight is pinged, if there are other endpoints.
PING_AFTER = 1.0
#: Seconds after which a connection that has not answered a ping is suspect.
PING_PATIENCE = 0.5

_NEVER = float("inf")


class Outage(Value):
    """
    A change in the connections that calls wait for.  ``str()`` gives a line for the user.

    :ivar kind: ``lost``: a connection was lost with calls in flight; ``unreachable``: calls have waited for a second
        without any connection; ``connected``: one of these is over.
    :ivar endpoint: the server's address; with ``unreachable``, all addresses that the calls may be sent to.
    :ivar calls: how many calls wait.
    """

    __slots__ = ("calls", "endpoint", "kind")

    def __init__(self, kind: str, endpoint: str, calls: int) -> None:
        self.kind = kind
        self.endpoint = endpoint
        self.calls = calls

    def __str__(self) -> str:
        if self.kind == "lost":
            return f"connection to {self.endpoint} lost, waiting"
        return f"waiting for {self.endpoint}" if self.kind == "unreachable" else f"connected to {self.endpoint}"


class SizeLimits(Value):
    """
    A server's limits for one message; infinite where it does not state one.

    :ivar frame: the most bytes of one frame.
    :ivar total: the most bytes of all frames.
    :ivar frames: the most frames.
    """

    __slots__ = ("frame", "frames", "total")

    def __init__(self, frame: float = _NEVER, total: float = _NEVER, frames: float = _NEVER) -> None:
        self.frame = frame
        self.total = total
        self.frames = frames

    def excess(self, message: Frames) -> str:
        """
        Describe by how much a message exceeds a limit, and which setting of the server raises it.

        :param message: all frames as they are sent.
        :return: the description, or an empty text if the message exceeds none.
        """
        largest, total = max(map(len, message)), sum(map(len, message))
        for size, most, unit, setting in (
            (largest, self.frame, "bytes in one frame", "max-message-size"),
            (total, self.total, "bytes in all", "max-message-total"),
            (len(message), self.frames, "frames", "max-message-frames"),
        ):
            if size > most:
                return f"{size} {unit}, and the server accepts {most}: send less, or raise --{setting}"
        return ""


def sizeLimits(options: dict[str, Any]) -> SizeLimits:
    """
    Return the limits that a server states in its answer to a ping.

    :param options: the JSON object in the header of that answer.
    """
    return SizeLimits(*(_limit(options, f"max_message_{name}") for name in ("size", "total", "frames")))


def _limit(options: dict[str, Any], name: str) -> float:
    value = options.get(name)
    return value if isinstance(value, int) and value > 0 else _NEVER


class MessageSink(Protocol):
    """The sending side of a connection."""

    def send(self, frames: Frames) -> bool:
        """
        Send a message.

        :return: whether the connection has accepted it.
        """

    def reopen(self) -> None:
        """Replace the connection with a new one to the same endpoint."""


class Batches(Enum):
    """Whether a server takes several requests in a message; ask only a server that has shown that it is a pirate."""

    UNKNOWN = "unknown"
    #: The next batch is a trial.
    TRY = "try"
    #: The trial was sent and has no answer yet.
    TRYING = "trying"
    YES = "yes"
    NO = "no"


class Peer:
    """
    A connection as its session sees it.

    :ivar endpoint: the server's address.
    :ivar connection: sends messages.
    :ivar connected: whether there is a connection to the server.
    :ivar ready: whether the connection accepts messages, as far as is known.
    :ivar inFlight: how many calls were sent on it and have not ended.
    :ivar heardAt: when a message last arrived.
    :ivar pingedAt: when an unanswered ping was sent; ``None`` if there is none.
    :ivar suspect: whether the server has left a ping unanswered.
    :ivar silent: whether a call timed out without any message from the server.
    :ivar stopping: whether the server has said that it is stopping.
    :ivar denied: whether the server rejects this client.
    :ivar call: in plain mode, the call in flight.
    :ivar limits: the server's message limits; ``None`` until they are known.
    :ivar held: the calls that wait for the limits.
    :ivar batches: whether the server takes several requests in a message, as far as is known.
    :ivar trial: the id and the calls of the first batch, until the server has answered it.
    :ivar collected: calls to send with the next batch.
    """

    __slots__ = (
        *("batches", "call", "collected", "connected", "connection", "denied", "endpoint", "heardAt", "held"),
        *("inFlight", "limits", "pingedAt", "ready", "silent", "stopping", "suspect", "trial"),
    )

    def __init__(self, endpoint: str, connection: MessageSink) -> None:
        self.endpoint = endpoint
        self.connection = connection
        self.connected = False
        self.ready = False
        self.inFlight = 0
        self.heardAt = -_NEVER
        self.pingedAt: float | None = None
        self.suspect = False
        self.silent = False
        self.stopping = False
        self.denied = False
        self.call: Call | None = None
        self.limits: SizeLimits | None = None
        self.held: dict[Call, None] = {}
        self.batches = Batches.UNKNOWN
        self.trial: tuple[bytes, list[Call]] | None = None
        self.collected: list[Call] = []

    def forgetServer(self) -> None:
        """Forget what is known of the server: after a new connection it may be another."""
        self.limits = None
        self.batches = Batches.UNKNOWN
        self.trial = None


class PeerSet(list[Peer]):
    """
    All connections of a session, in the order in which they were added.

    :param plain: whether a connection carries one call at a time.
    :param random: chooses among equals.
    :param connect: called with an endpoint to which a plain session needs one more connection.
    :ivar several: whether there is more than one endpoint.
    :ivar only: the connection, if there is exactly one.
    """

    def __init__(self, plain: bool, random: Random, connect: Callable[[str], object]) -> None:
        super().__init__()
        self._plain = plain
        self._random = random.random
        self._connect = connect
        self.several = False
        self.only: Peer | None = None

    def add(self, endpoint: str, connection: MessageSink) -> Peer:
        """Add a connection, which is not ready yet."""
        peer = Peer(endpoint, connection)
        self.append(peer)
        self.only = peer if len(self) == 1 else None
        self.several = len({each.endpoint for each in self}) > 1
        return peer

    @property
    def denied(self) -> bool:
        """Whether every server rejects this client."""
        return bool(self) and all(peer.denied for peer in self)

    @property
    def connected(self) -> bool:
        """Whether there is a connection to any server."""
        return any(peer.connected for peer in self)

    def choose(self, call: Call, avoid: Peer | None = None) -> Peer | None:
        """
        Return the best connection for a call.  Replace those that were silent or denied, which are not ready then.

        :param avoid: a connection to choose only if there is no other.
        :return: the connection, or ``None`` if none is ready.
        """
        best = None
        if len(self) == 1 and not self._plain and not call.refused:
            # A shortcut for the usual case.
            peer = self[0]
            if (peer.silent or peer.denied) and not peer.inFlight:
                self.replace(peer)
            return peer if peer.ready else None
        for peer in self:
            if (peer.silent or peer.denied) and not peer.inFlight:
                self.replace(peer)
            if not peer.ready or (self._plain and peer.inFlight) or (call.refused and peer in call.refused):
                continue
            if best is None or self._rank(peer, avoid) < self._rank(best, avoid):
                best = peer
        return best

    def _rank(self, peer: Peer, avoid: Peer | None) -> tuple[bool, bool, int, float]:
        return (peer.suspect or peer.stopping, peer is avoid, peer.inFlight, self._random())

    def replace(self, peer: Peer) -> None:
        """Open a connection anew: ZeroMQ does not reconnect by itself after it was rejected."""
        peer.ready = peer.connected = peer.silent = peer.denied = False
        peer.forgetServer()
        peer.connection.reopen()

    def connectMore(self, waiting: int) -> None:
        """
        Open further connections for plain calls, one for each that waits, less those that are being opened.

        :param waiting: how many calls wait.
        """
        opening = sum(1 for peer in self if not peer.ready)
        for endpoint in dict.fromkeys(peer.endpoint for peer in self):
            same = [peer for peer in self if peer.endpoint == endpoint]
            if opening < waiting and len(same) < MAX_PLAIN_CONNECTIONS and any(peer.ready for peer in same):
                self._connect(endpoint)
                opening += 1


class Health:
    """
    Pings silent connections, and suspects those that do not answer.

    :param newId: returns the id of a ping, 16 bytes.
    :ivar next: when :meth:`examine` is due; infinite if nothing is in flight.
    """

    def __init__(self, peers: PeerSet, newId: Callable[[], bytes]) -> None:
        self._peers = peers
        self._newId = newId
        self.next = _NEVER

    def callSent(self, now: float) -> None:
        """Start to watch, if there are several endpoints."""
        if self._peers.several and self.next == _NEVER:
            self.next = now + PING_PATIENCE

    def heard(self, peer: Peer) -> None:
        """Trust a connection on which a message has arrived."""
        peer.suspect = peer.silent = False
        peer.pingedAt = None

    def examine(self, calls: Collection[Call], now: float) -> Iterator[Peer]:
        """
        Ping the connections that are silent with calls in flight.

        :param calls: all calls that have not ended.
        :return: the connections that have become suspect, whose calls must move at once.
        """
        for peer in self._peers:
            if not peer.inFlight or not peer.ready:
                continue
            if peer.pingedAt is not None and now >= peer.pingedAt + PING_PATIENCE:
                peer.suspect = True
                yield peer
                peer.pingedAt = None
            if peer.pingedAt is None and now >= _quietSince(peer, calls) + PING_AFTER:
                peer.pingedAt = now
                peer.connection.send([header(self._newId(), {"command": "ping"}), b"", b""])
        self.next = now + PING_PATIENCE / 2 if calls else _NEVER


def _quietSince(peer: Peer, calls: Collection[Call]) -> float:
    """Return the time since which a connection owes a reply."""
    oldest = min((call.sentAt for call in calls if call.peer is peer), default=_NEVER)
    return max(peer.heardAt, oldest)
