"""The sockets that connect, DEALER and REQ, and their monitor, with the calls of pyzmq that are used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from struct import pack
from typing import Any, Protocol

import zmq

from pirate.testing.world.agenda import Actor, Call
from pirate.testing.world.network import Lane, Link, Network

#: ZeroMQ's constants as plain ints.
NOBLOCK, SNDMORE, POLLIN, POLLOUT = int(zmq.NOBLOCK), int(zmq.SNDMORE), int(zmq.POLLIN), int(zmq.POLLOUT)
EVENTS, RCVMORE, FD = int(zmq.EVENTS), int(zmq.RCVMORE), int(zmq.FD)
#: Messages in a queue, in either direction, if a socket sets nothing else.
HIGH_WATER_MARK = 1000
#: Seconds until a descriptor that is readable is served, at least and at most.
POLL = 0.00001, 0.0004
#: Seconds between two attempts to connect, unless a socket sets others; at first, and at most (0: the same).
RECONNECT, MAX_RECONNECT = 0.1, 0.0


class Host(Protocol):
    """The process that a socket belongs to."""

    def called(self) -> None:
        """Note a call to the outside; the process may be killed in it."""

    def block(self, ready: Callable[[], bool]) -> None:
        """Wait until something is true."""


class Free:
    """A host whose calls do not block."""

    def called(self) -> None:
        """Do nothing."""

    def block(self, ready: Callable[[], bool]) -> None:
        """
        Refuse.

        :raise RuntimeError: always.
        """
        raise RuntimeError("this would block for ever")


class Readable:
    """
    Something with a file descriptor, which becomes readable when something has changed, once for each change.

    :ivar signalled: whether it is readable.
    :ivar woken: called when it becomes readable.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self.signalled = False
        self.woken: Callable[[], object] | None = None

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._number

    def signal(self) -> None:
        """Become readable."""
        self.signalled = True
        if self.woken is not None:
            self.woken()


class Descriptors:
    """
    The file descriptors of an actor, and the loop that watches them: as long as one is readable, it is served again.

    :param owner: the actor.
    :param seconds: returns a duration between two.
    """

    def __init__(self, owner: Actor, seconds: Callable[[float, float], float]) -> None:
        self._owner = owner
        self._seconds = seconds
        self._all: dict[int, Readable] = {}
        self._waiting: dict[int, Call] = {}
        self._acts: dict[int, Callable[[], object]] = {}

    def add(self, make: Callable[[int], Readable]) -> Any:
        """Make something with the next free number, and return it."""
        number = next(each for each in range(3, len(self._all) + 4) if each not in self._all)
        made = self._all[number] = make(number)
        return made

    def remove(self, number: int) -> None:
        """Forget a descriptor, which is closed."""
        self._all.pop(number, None)

    def watch(self, number: int, act: Callable[[], object]) -> None:
        """Call a function whenever a descriptor is readable."""
        readable = self._all[number]
        self._acts[number] = act
        readable.woken = lambda: self._serveSoon(number)
        if readable.signalled:
            self._serveSoon(number)

    def unwatch(self, number: int) -> None:
        """Stop that."""
        if self._acts.pop(number, None) is not None:
            self._all[number].woken = None
        call = self._waiting.pop(number, None)
        if call is not None:
            call.cancel()

    def _serveSoon(self, number: int) -> None:
        if number not in self._waiting:
            self._waiting[number] = self._owner.callLater(self._seconds(*POLL), self._serve, number)

    def _serve(self, number: int) -> None:
        del self._waiting[number]
        readable = self._all[number]
        if readable.signalled:
            self._acts[number]()
            if readable.signalled and self._acts.get(number) is not None and self._all.get(number) is readable:
                self._serveSoon(number)


class Frame:
    """A frame that has been received; see ``zmq.Frame``."""

    __slots__ = ("bytes", "more")

    def __init__(self, data: bytes, more: bool) -> None:
        self.bytes = data
        self.more = more

    def __len__(self) -> int:
        return len(self.bytes)


class MonitorSocket(Readable):
    """The monitor of a socket that connects; it reports as a PAIR does."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._events: deque[int] = deque()
        self.closed = False

    def happened(self, event: int) -> None:
        """Report an event."""
        self._events.append(event)
        self.signal()

    def get(self, option: int) -> int:
        """Return the events of the socket."""
        self.signalled = False
        return POLLIN if self._events else 0

    def recv_multipart(self, flags: int = 0) -> list[bytes]:
        """Return the next event."""
        return [pack("=HI", self._events.popleft(), 0), b""]

    def close(self, linger: int | None = None) -> None:
        """Close it."""
        self.closed = True


class Connecting(Readable):
    """
    A DEALER or REQ that connects to one endpoint, and connects again whenever the connection is lost.

    :param owner: the actor that it belongs to; nothing happens here while that is stopped.
    :param host: the process around its calls.
    :param kind: ``DEALER`` or ``REQ``.
    :param identity: its routing id; empty for none.
    :param pid: the process id that the server sees; 0 for none.
    :param immediate: whether to accept messages only while there is a connection.
    :param space: how many messages may have arrived unread; 0 for any number.
    :param room: how many messages may be on their way, in either direction.
    :ivar monitor: its monitor, if it has one.
    :ivar link: the connection; ``None`` if there is none.
    """

    def __init__(
        self,
        number: int,
        network: Network,
        owner: Actor,
        host: Host,
        *,
        kind: str = "DEALER",
        identity: bytes = b"",
        pid: int = 0,
        immediate: bool = False,
        space: int = HIGH_WATER_MARK,
        room: int = HIGH_WATER_MARK,
        reconnect: tuple[float, float] = (RECONNECT, MAX_RECONNECT),
    ) -> None:
        super().__init__(number)
        self._network = network
        self._owner = owner
        self._host = host
        self._kind = kind
        self.identity = identity
        self._pid = pid
        self._immediate = immediate
        self._space = space
        self._room = room
        self._reconnect = reconnect
        self._pause = reconnect[0]
        self._noise = network.newNoise(owner.name)
        self._endpoint = ""
        self._attempt: Call | None = None
        self._pending: deque[list[bytes]] = deque()
        self._sending: list[bytes] = []
        self._reading: deque[bytes] = deque()
        self._active: deque[Lane] = deque()
        self._asked = False
        self.monitor: MonitorSocket | None = None
        self.link: Link | None = None
        self.closed = False

    # --- the calls of pyzmq

    def connect(self, endpoint: str) -> None:
        """Connect."""
        self._endpoint = endpoint
        self._attempt = self._owner.callLater(self._noise.seconds(0.0001, 0.003), self._tryToConnect)

    def get(self, option: int) -> int:
        """Return one of the options ``EVENTS``, ``RCVMORE`` and ``FD``."""
        self._host.called()
        if option == FD:
            return self.fileno()
        if option == RCVMORE:
            return int(bool(self._reading))
        self.signalled = False
        return (POLLIN if self._hasMessage() else 0) | (POLLOUT if self._hasRoom() else 0)

    def recv(self, flags: int = 0, copy: bool = True, track: bool = False) -> Any:
        """
        Return the next frame.

        :raise zmq.Again: if there is none, and the call may not block.
        """
        self._host.called()
        self.signalled = False
        if not self._reading:
            if not self._hasMessage():
                if flags & NOBLOCK:
                    raise zmq.Again
                self._host.block(self._hasMessage)
            self._reading.extend(self._takeMessage())
        data = self._reading.popleft()
        return data if copy else Frame(data, bool(self._reading))

    def send(self, data: Any, flags: int = 0, copy: bool = True, track: bool = False) -> None:
        """
        Send a frame.

        :raise zmq.Again: if there is no room for a message, and the call may not block.
        """
        self._host.called()
        self.signalled = False
        if not self._sending:
            if self._kind == "REQ":
                if self._asked:
                    raise zmq.ZMQError(zmq.EFSM)
                self._sending.append(b"")
            if not self._hasRoom():
                if flags & NOBLOCK:
                    self._sending.clear()
                    raise zmq.Again
                self._host.block(self._hasRoom)
        self._sending.append(bytes(data))
        if not flags & SNDMORE:
            frames, self._sending = self._sending, []
            self._asked = self._kind == "REQ"
            self._post(frames)

    def send_multipart(self, frames: Sequence[bytes], flags: int = 0) -> None:
        """Send a message."""
        for frame in frames[:-1]:
            self.send(frame, flags | SNDMORE)
        self.send(frames[-1], flags)

    def recv_multipart(self, flags: int = 0) -> list[bytes]:
        """Return the next message."""
        frames = [self.recv(flags)]
        while self._reading:
            frames.append(self.recv(flags))
        return frames

    def disable_monitor(self) -> None:
        """Report nothing more."""
        self.monitor = None

    def close(self, linger: int | None = None) -> None:
        """Close it; what has been sent still arrives."""
        if self.closed:
            return
        self.closed = True
        self._cancelAttempt()
        if self.link is not None:
            self._flush()
            self.link.up.finish()
            self.link = None

    def kill(self, kept: int) -> None:
        """
        Close it as the end of its process does.

        :param kept: how many of the messages on their way still arrive.
        """
        self.closed = True
        self._cancelAttempt()
        if self.link is not None:
            self.link.up.cut(kept)
            self.link.down.cut(0)
            self.link = None

    def isSent(self) -> bool:
        """Return whether everything that was sent has arrived, or never will."""
        return not self._pending and (self.link is None or not self.link.up.transit)

    # --- connecting

    def _tryToConnect(self) -> None:
        self._attempt = None
        link = Link(self._network, self._owner.name, self._kind, self.identity, self._pid)
        self.link = link
        sizes = (self._room, HIGH_WATER_MARK, self._room, self._space)
        if not self._network.connect(self._endpoint, link, self, sizes):
            self.link = None
            self._tryAgainLater()
            return
        self._pause = self._reconnect[0]
        self._active.append(link.down)
        if self.monitor is not None:
            self.monitor.happened(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._flush()
        self.signal()

    def _tryAgainLater(self) -> None:
        pause = self._noise.seconds(self._pause, 2 * self._pause)
        if self._reconnect[1]:
            self._pause = min(2 * self._pause, self._reconnect[1])
        self._attempt = self._owner.callLater(pause, self._tryToConnect)

    def _cancelAttempt(self) -> None:
        if self._attempt is not None and self._attempt.active():
            self._attempt.cancel()
        self._attempt = None

    # --- the network

    def arrived(self, lane: Lane) -> None:
        """See :class:`~pirate.testing.world.network.Reader`."""
        if not self.closed:
            self._active.append(lane)
            self.signal()

    def ended(self, lane: Lane) -> None:
        """See :class:`~pirate.testing.world.network.Reader`."""
        link = lane.link
        link.up.cut(0)
        if self.closed or self.link is not link:
            return
        self.link = None
        if self.monitor is not None:
            self.monitor.happened(zmq.EVENT_DISCONNECTED)
        self._tryAgainLater()
        self.signal()

    def writable(self, lane: Lane) -> None:
        """See :class:`~pirate.testing.world.network.Writer`."""
        if not self.closed:
            self._flush()
            self.signal()

    # --- queues

    def _hasMessage(self) -> bool:
        active = self._active
        while active and not active[0].inbox:
            active.popleft().asleep = True
        return bool(active)

    def _takeMessage(self) -> list[bytes]:
        lane = self._active[0]
        self._active.rotate(-1)
        frames = lane.take()
        if self._kind == "REQ":
            self._asked = False
            return frames[1:]
        return frames

    def _hasRoom(self) -> bool:
        if self.link is None or self._pending:
            return not self._immediate and len(self._pending) < HIGH_WATER_MARK
        return not self.link.up.isFull()

    def _post(self, frames: list[bytes]) -> None:
        if self.link is None or self._pending:
            self._pending.append(frames)
        else:
            self.link.up.send(frames)

    def _flush(self) -> None:
        while self._pending and self.link is not None and not self.link.up.isFull():
            self.link.up.send(self._pending.popleft())
