"""
The network: links between the sockets that connect and those that are bound.

It behaves as ZeroMQ over TCP does.  A link is a connection with a lane in each direction.  What is sent on a lane
arrives in order, each message with a delay of its own; the lanes of different links know nothing of each other.  A lane
holds a bounded number of messages that have not arrived, and a bounded number that have arrived and were not read.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Protocol

from pirate.testing.world.agenda import Agenda
from pirate.testing.world.choices import Noise
from pirate.testing.world.journal import Journal

#: Seconds that a message is on its way, at least and at most.
LATENCY = 0.00005, 0.003
#: The mark at the end of what comes from a peer that has closed its connection.
END = None


class Reader(Protocol):
    """The socket at the end of a lane."""

    def arrived(self, lane: Lane) -> None:
        """Note that there is something to read on a lane that had nothing."""

    def ended(self, lane: Lane) -> None:
        """Note that the connection is closed; what has arrived before can still be read."""


class Writer(Protocol):
    """The socket at the beginning of a lane."""

    def writable(self, lane: Lane) -> None:
        """Note that a full lane has room again."""


class Lane:
    """
    One direction of a link.

    :param writer: the socket that sends.
    :param reader: the socket that receives.
    :param room: how many messages may be on their way.
    :param space: how many may have arrived unread; 0 for any number.
    :ivar limit: the bytes of the largest frame that the reader takes; a larger one breaks the connection.
    :ivar link: the link.
    :ivar inbox: the messages that have arrived.
    :ivar transit: those on their way; the last is :data:`END` once the writer has closed the connection.
    :ivar stuck: whether nothing arrives for now.
    :ivar over: whether the end has arrived.
    :ivar asleep: whether the reader has found the inbox empty, and so must be told of the next message.  ZeroMQ tells
        nothing to a reader that has stopped at the last message.
    """

    __slots__ = (
        *("_due", "_full", "_last", "asleep", "inbox", "limit", "link", "over", "reader", "room", "space", "stuck"),
        *("transit", "writer"),
    )

    def __init__(self, link: Link, writer: Writer, reader: Reader, room: int, space: int) -> None:
        self.link = link
        self.writer = writer
        self.reader = reader
        self.room = room
        self.space = space
        self.limit = 1 << 62
        self.inbox: deque[list[bytes]] = deque()
        self.transit: deque[list[bytes] | None] = deque()
        self.stuck = False
        self.over = False
        self.asleep = False
        self._last = 0.0
        self._due = 0
        self._full = False

    def isFull(self) -> bool:
        """Return whether no message can be sent; if so, the writer will be told when one can."""
        if len(self.transit) < self.room:
            return False
        self._full = True
        return True

    def send(self, frames: Sequence[bytes]) -> None:
        """Send a message; the lane must not be full."""
        self.transit.append([bytes(each) for each in frames])
        self._schedule()

    def finish(self) -> None:
        """Close the lane behind what is on its way."""
        if not self.over and (not self.transit or self.transit[-1] is not END):
            self.transit.append(END)
            self._schedule()

    def cut(self, kept: int) -> None:
        """
        Lose what is on its way, and close the lane.

        :param kept: how many messages still arrive.
        """
        while len(self.transit) > kept:
            self.transit.pop()
        if not self.over:
            self.transit.append(END)
            self._due = min(self._due, len(self.transit))
            self._schedule()

    def take(self) -> list[bytes]:
        """Return the oldest message that has arrived."""
        frames = self.inbox.popleft()
        if self._due:
            self._move()
        return frames

    def unstick(self) -> None:
        """Let messages arrive again."""
        self.stuck = False
        self._move()

    def _schedule(self) -> None:
        network = self.link.network
        self._last = max(self._last, network.agenda.now + self.link.latency())
        network.agenda.at(self._last, self._arrive)

    def _arrive(self) -> None:
        self._due += 1
        self._move()

    def _move(self) -> None:
        """Move what is due from the way to the inbox, as far as there is room."""
        while self._due and self.transit and not self.stuck:
            if self.transit[0] is END:
                self.transit.clear()
                self._due = 0
                self.over = True
                self.reader.ended(self)
                return
            if self.space and len(self.inbox) >= self.space:
                return
            self._due -= 1
            frames = self.transit.popleft()
            assert frames is not None
            if any(len(each) > self.limit for each in frames):
                self.link.cut()
                continue
            self.inbox.append(frames)
            if self.asleep:
                self.asleep = False
                self.reader.arrived(self)
            if self._full and len(self.transit) <= self.room // 2:
                self._full = False
                self.writer.writable(self)
        if not self.transit:
            self._due = 0


class Link:
    """
    A connection between a socket that has connected and one that is bound.

    :ivar number: the file descriptor of the connection at the bound socket; later connections reuse it.
    :ivar up: the lane to the bound socket.
    :ivar down: the lane from it.
    :ivar pid: the process id of the peer; 0 if it is not on this machine.
    :ivar kind: the type of the peer's socket: ``DEALER`` or ``REQ``.
    :ivar identity: the routing id that the peer claims; empty if it claims none.
    :ivar route: the routing id by which the bound socket knows it.
    """

    def __init__(self, network: Network, name: str, kind: str, identity: bytes, pid: int) -> None:
        self.network = network
        self.name = name
        self.kind = kind
        self.identity = identity
        self.pid = pid
        self.number = 0
        self.route = b""
        self.slow = 1.0
        self._noise = network.newNoise(name)
        self.up: Lane
        self.down: Lane

    def latency(self) -> float:
        """Return how many seconds a message takes."""
        return self._noise.seconds(*LATENCY) * self.slow

    @property
    def address(self) -> str:
        """The address that ZeroMQ reports of the peer."""
        return f"localhost:0:0:{self.pid}" if self.pid else "127.0.0.1"

    def cut(self, keptUp: int = 0, keptDown: int = 0) -> None:
        """Break the connection: both ends notice, and what is on its way is lost."""
        self.up.cut(keptUp)
        self.down.cut(keptDown)

    def stick(self, stuck: bool) -> None:
        """Let nothing arrive any more, in either direction, or end that."""
        for lane in (self.up, self.down):
            if stuck:
                lane.stuck = True
            elif lane.stuck:
                lane.unstick()


class Bound(Reader, Writer, Protocol):
    """A socket that is bound."""

    def accept(self, link: Link) -> None:
        """Accept a connection, whose handshake is complete."""


class Network:
    """
    All endpoints and links of a world.

    :ivar links: the links that are not over at both ends.
    """

    def __init__(self, agenda: Agenda, journal: Journal, noise: Noise) -> None:
        self.agenda = agenda
        self.journal = journal
        self._noise = noise
        self._noises: Counter[str] = Counter()
        self.links: list[Link] = []
        self._bound: dict[str, Bound] = {}

    def newNoise(self, name: str) -> Noise:
        """
        Return the noise of a socket or a link.

        :param name: the name of its actor; each of one actor has its own noise.
        """
        self._noises[name] += 1
        return self._noise.part(f"{name} {self._noises[name]}")

    def bind(self, endpoint: str, socket: Bound) -> None:
        """
        Bind a socket to an endpoint.

        :raise OSError: if another is bound to it.
        """
        if endpoint in self._bound:
            raise OSError("Address already in use")
        self._bound[endpoint] = socket

    def unbind(self, socket: Bound) -> None:
        """Unbind a socket from all endpoints."""
        self._bound = {endpoint: each for endpoint, each in self._bound.items() if each is not socket}

    def isBound(self, endpoint: str) -> bool:
        """Return whether a socket is bound to an endpoint."""
        return endpoint in self._bound

    def connect(self, endpoint: str, link: Link, socket: Any, sizes: tuple[int, int, int, int]) -> bool:
        """
        Connect a socket to an endpoint.

        :param sizes: the room and the space of the lane up, and of the lane down.
        :return: whether a socket is bound there.
        """
        bound = self._bound.get(endpoint)
        if bound is None:
            return False
        link.up = Lane(link, socket, bound, sizes[0], sizes[1])
        link.down = Lane(link, bound, socket, sizes[2], sizes[3])
        self.links.append(link)
        bound.accept(link)
        return True

    def forgetOver(self) -> None:
        """Forget the links whose ends have arrived at both sides."""
        self.links = [each for each in self.links if not (each.up.over and each.down.over)]
