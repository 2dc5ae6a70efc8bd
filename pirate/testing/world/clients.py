"""Clients: the real client core on simulated sockets, plain sockets as in the guide, and peers that misbehave."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from pirate.client.call import Call
from pirate.client.connection import Dialer
from pirate.client.environment import ClientEnvironment
from pirate.client.errors import CallError
from pirate.client.loop import LoopDriver
from pirate.client.options import ClientOptions
from pirate.testing.world.agenda import Actor, Agenda
from pirate.testing.world.apps import body
from pirate.testing.world.choices import Noise
from pirate.testing.world.journal import Journal
from pirate.testing.world.network import Network
from pirate.testing.world.plan import PlannedCall, PlannedClient, token
from pirate.testing.world.sockets import EVENTS, NOBLOCK, POLLIN, POLLOUT, Connecting, Descriptors, Free, MonitorSocket
from pirate.wire.frontend import header
from pirate.wire.words import ERROR, EXITING, HEARTBEAT, PARTIAL, WAITING

#: How many messages fit into each queue to a client that floods.
QUEUE = 3
#: Seconds between two attempts of the real client to connect; see :mod:`pirate.client.connection`.
RECONNECT, MAX_RECONNECT = 0.05, 1.0


class WorldDialer(Dialer):
    """Opens simulated sockets."""

    def __init__(self, owner: Actor, network: Network, descriptors: Descriptors, plain: bool, identity: bytes | None):
        self.plain = plain
        self._identity = identity
        self._opened = 0
        self._owner = owner
        self._network = network
        self._descriptors = descriptors

    def open(self, endpoint: str) -> tuple[Any, Any]:
        """See :class:`~pirate.client.connection.Dialer`."""
        self._opened += 1
        identity = self._identity or b""
        if identity and self._opened > 1:
            identity += b".%d" % self._opened
        monitor = None if self.plain else self._descriptors.add(MonitorSocket)
        socket = self._descriptors.add(
            lambda number: Connecting(
                number,
                self._network,
                self._owner,
                Free(),
                kind="REQ" if self.plain else "DEALER",
                identity=identity,
                immediate=True,
                space=0,
                reconnect=(RECONNECT, MAX_RECONNECT),
            )
        )
        socket.monitor = monitor
        socket.connect(endpoint)
        return socket, monitor

    def shut(self, socket: Any, monitor: Any) -> None:
        """See :class:`~pirate.client.connection.Dialer`."""
        for each in (socket, monitor):
            if each is not None:
                each.close(0)
                self._descriptors.remove(each.fileno())

    def close(self) -> None:
        """Do nothing: every socket has been shut."""


class WorldClientEnvironment(ClientEnvironment):
    """The surroundings of a simulated client."""

    def __init__(self, owner: Actor, network: Network, noise: Noise, descriptors: Descriptors) -> None:
        self.clock = owner.seconds
        self.secret = noise.secret
        self._owner = owner
        self._network = network
        self._noise = noise
        self._descriptors = descriptors

    def newRandom(self) -> Random:
        """See :class:`~pirate.client.environment.ClientEnvironment`."""
        return Random(self._noise.random.random())

    def newDialer(self, plain: bool, identity: bytes | None, curve: tuple[bytes, bytes, bytes] | None) -> Dialer:
        """See :class:`~pirate.client.environment.ClientEnvironment`."""
        return WorldDialer(self._owner, self._network, self._descriptors, plain, identity)


class WorldLoop:
    """The loop of a simulated client, a :class:`~pirate.client.loop.ClientLoop`."""

    def __init__(self, owner: Actor, descriptors: Descriptors) -> None:
        self._owner = owner
        self.watch = descriptors.watch
        self.unwatch = descriptors.unwatch

    def later(self, seconds: float, act: Callable[[], object]) -> Callable[[], object]:
        """See :class:`~pirate.client.loop.ClientLoop`."""
        return self._owner.callLater(seconds, act).cancel

    def fromThread(self, act: Callable[[Any], object], argument: Any) -> None:
        """See :class:`~pirate.client.loop.ClientLoop`."""
        self._owner.callLater(0, act, argument)

    def lookUp(self, host: str, port: int, found: Callable[[list[tuple[object, ...]]], None]) -> None:
        """See :class:`~pirate.client.loop.ClientLoop`."""
        found([])

    def newWaiter(self) -> Any:
        """Not used: calls are made without coroutines."""
        raise NotImplementedError


class Client(Actor):
    """
    A client of a world.

    :param planned: what it does.
    :param endpoints: the frontends of its servers.
    :ivar open: its calls that have not ended, by their tokens.
    """

    def __init__(
        self,
        agenda: Agenda,
        network: Network,
        journal: Journal,
        noise: Noise,
        planned: PlannedClient,
        endpoints: list[str],
    ) -> None:
        super().__init__(agenda, planned.name)
        self._network = network
        self._journal = journal
        self._noise = noise
        self.planned = planned
        self._endpoints = endpoints
        self._descriptors = Descriptors(self, noise.seconds)
        self.open: dict[str, PlannedCall] = {}
        for number, call in enumerate(planned.calls):
            self.callLater(call.at, self._begin, token(planned.name, number), call)

    @property
    def idle(self) -> bool:
        """Whether all its calls have ended."""
        return self.agenda.now >= max((each.at for each in self.planned.calls), default=0.0) and not self.open

    def _begin(self, token: str, call: PlannedCall) -> None:
        self.open[token] = call
        self._journal.note(self.name, "calls", token, call.timeout, call.attempts)
        self.call(token, call)

    def call(self, token: str, call: PlannedCall) -> None:
        """Make a call, and call :meth:`ended` when it has ended."""
        raise NotImplementedError

    def ended(self, token: str, outcome: str, value: Any = b"") -> None:
        """
        Note the end of a call.

        :param outcome: ``reply``, ``silence``, or the code of an error.
        """
        self.open.pop(token, None)
        self._journal.note(self.name, "gets", token, outcome, value)

    def hush(self) -> None:
        """Send nothing new, because the world becomes quiet."""

    def close(self) -> None:
        """Close its sockets."""


class NativeClient(Client):
    """A client with the real session, attempts and fail-over."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        environment = WorldClientEnvironment(self, self._network, self._noise, self._descriptors)
        self._options: ClientOptions[bytes] = ClientOptions(self._endpoints, "bytes", environment=environment)
        self.driver = LoopDriver(self._options, WorldLoop(self, self._descriptors))

    def call(self, token: str, call: PlannedCall) -> None:
        """See :class:`Client`."""
        part = partial(self._partReceived, token) if call.stream else None
        done = partial(self._done, token)
        made = self._options.newCall((body(token, call.steps),), done, call.timeout, part=part)
        made.attempts = call.attempts
        self._journal.note(self.name, "asks", token, made.request.hex())
        if call.cancelAt:
            self.callLater(call.cancelAt - self.seconds(), self._cancel, token, made)
        self.driver.begin(made)

    def _cancel(self, token: str, made: Call) -> None:
        if not made.finished:
            self._journal.note(self.name, "cancels", token)
            self.driver.cancel(made)

    def _partReceived(self, token: str, frames: list[bytes]) -> None:
        self._journal.note(self.name, "part", token, *frames)

    def _done(self, token: str, made: Call) -> None:
        self._journal.note(self.name, "sent", token, made.request.hex(), made.sent, made.attempts)
        if made.error is None:
            assert made.reply is not None
            self.ended(token, "reply", b"".join(made.reply.body))
        else:
            self.ended(token, made.error.code if isinstance(made.error, CallError) else "?", str(made.error))

    def close(self) -> None:
        """See :class:`Client`."""
        self.driver.close()


class PlainClient(Client):
    """
    A REQ socket with one request at a time.

    It waits for a reply until its time is over.  Then it opens another socket, and if it is a ``pirate``, it sends the
    request again: the guide's Lazy Pirate.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._waiting: deque[tuple[str, PlannedCall]] = deque()
        self._current: tuple[str, PlannedCall, int] | None = None
        self._timer: Any = None
        self._open()

    def _open(self) -> None:
        self._socket = self._descriptors.add(
            lambda number: Connecting(number, self._network, self, Free(), kind="REQ", reconnect=(0.1, 0.0))
        )
        self._descriptors.watch(self._socket.fileno(), self._readable)
        self._socket.connect(self._endpoints[0])

    def _shut(self) -> None:
        self._descriptors.unwatch(self._socket.fileno())
        self._socket.close()
        self._descriptors.remove(self._socket.fileno())

    def call(self, token: str, call: PlannedCall) -> None:
        """See :class:`Client`."""
        self._waiting.append((token, call))
        self._sendNext()

    def _sendNext(self) -> None:
        if self._current is None and self._waiting:
            token, call = self._waiting.popleft()
            self._current = (token, call, call.attempts if self.planned.kind == "pirate" else 1)
            self._send()

    def hush(self) -> None:
        """See :class:`Client`."""
        while self._waiting:
            self.ended(self._waiting.popleft()[0], "silence")
        if self._current is not None:
            self._current = (*self._current[:2], 0)

    def _send(self) -> None:
        assert self._current is not None
        token, call, left = self._current
        self._current = (token, call, left - 1)
        self._journal.note(self.name, "sends", token)
        self._socket.send(body(token, call.steps), 0)
        self._timer = self.callLater(call.timeout, self._timedOut)

    def _readable(self) -> None:
        while self._socket.get(EVENTS) & POLLIN:
            frames = self._socket.recv_multipart(NOBLOCK)
            if self._current is not None:
                token = self._current[0]
                self._current = None
                self._timer.cancel()
                self.ended(token, *_read(frames))
        self._sendNext()

    def _timedOut(self) -> None:
        assert self._current is not None
        token, _, left = self._current
        self._shut()
        self._open()
        if left:
            self._send()
        else:
            self._current = None
            self.ended(token, "silence")
            self._sendNext()

    def close(self) -> None:
        """See :class:`Client`."""
        self._shut()


class FloodingClient(Client):
    """A DEALER with short queues that sends all its requests at once; some of them read slowly what comes back."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._unsent: deque[str] = deque()
        self._pause = self._noise.random.choice([0.0, 0.0, 0.005, 0.05])
        self._pausing = False
        self._socket = self._descriptors.add(
            lambda number: Connecting(number, self._network, self, Free(), room=QUEUE, space=QUEUE)
        )
        self._descriptors.watch(self._socket.fileno(), self._readable)
        self._socket.connect(self._endpoints[0])

    def call(self, token: str, call: PlannedCall) -> None:
        """See :class:`Client`."""
        self._unsent.append(token)
        self.callLater(call.timeout, self._timedOut, token)
        self._readable()

    def _readable(self) -> None:
        while (events := self._socket.get(EVENTS)) & POLLIN or (self._unsent and events & POLLOUT):
            if events & POLLIN:
                if self._pausing:
                    return
                if self._pause:
                    self._pausing = True
                    self.callLater(self._pause, self._readOn)
                outcome, reply = _read(self._socket.recv_multipart(NOBLOCK)[1:])
                # A plain reply says nothing of its request, but our app's does, at its end.
                token = self.name.replace(" ", "") + "." + reply.decode().rpartition(".")[2]
                if outcome == "reply" and token in self.open:
                    self.ended(token, outcome, reply)
                else:
                    self._journal.note(self.name, "counts", outcome, reply)
            else:
                token = self._unsent.popleft()
                self._journal.note(self.name, "sends", token)
                self._socket.send_multipart([b"", body(token, self.open[token].steps)], NOBLOCK)

    def _readOn(self) -> None:
        self._pausing = False
        self._readable()

    def _timedOut(self, token: str) -> None:
        if token in self.open:
            if token in self._unsent:
                self._unsent.remove(token)
            self.ended(token, "silence")

    def close(self) -> None:
        """See :class:`Client`."""
        self._descriptors.unwatch(self._socket.fileno())
        self._socket.close()


def _read(body: list[bytes]) -> tuple[str, bytes]:
    """Return the outcome that a body means to a plain client, and the body."""
    whole = b"".join(body)
    return "error" if whole.startswith(b'{"pirate":"error"') else "reply", whole


class HostileClient(Client):
    """
    A peer that sends what no client or worker would: to the frontend, and to the backend as if it were a worker.

    :param backends: the public endpoints of the backends of its servers.
    """

    def __init__(self, *arguments: Any, backends: list[str]) -> None:
        super().__init__(*arguments)
        self._sockets: list[Connecting] = []
        for endpoint in (*self._endpoints[:1], *backends[:1]):
            network = self._network
            identity = self._noise.random.choice([b"", b"hostile", b"child_1001_0011223344556677"])
            connecting = partial(Connecting, network=network, owner=self, host=Free(), identity=identity, space=50)
            socket = self._descriptors.add(connecting)
            socket.connect(endpoint)
            self._sockets.append(socket)

    def call(self, token: str, call: PlannedCall) -> None:
        """See :class:`Client`."""
        for socket in self._sockets:
            for _ in range(self._noise.random.randint(1, 20)):
                if socket.get(EVENTS) & POLLOUT:
                    frames = self._frames(token)
                    self._journal.note(self.name, "sends", token, *frames)
                    socket.send_multipart(frames, NOBLOCK)
            while socket.get(EVENTS) & POLLIN:
                socket.recv_multipart(NOBLOCK)
        self.ended(token, "silence")

    def _frames(self, token: str) -> list[bytes]:
        random = self._noise.random
        key, request = random.randbytes(16), bytes([0x80 | random.getrandbits(7)]) + random.randbytes(7)
        some: list[list[bytes]] = [
            [b""],
            [b"", b""],
            [b"x"],
            [random.randbytes(5), b"", random.randbytes(3)],
            [header(key, {"timeout_ms": random.randint(-5, 5)}), b"", b"x"],
            [header(key, {"command": "cancel"}), b"", b""],
            [header(key, {"command": "ping"}), b"", b""],
            [header(key, {"attempts": 0}), b"", b"x"],
            [header(key, {"attempts": 99}), b"", body(token, [["die", "SIGKILL"]])],
            [header(key, {})[:-1], b"", b"x"],
            [b"PIR1" + random.randbytes(10), b"", b"x"],
            [b"", body(token, [["die", "SIGKILL"]])],
            [header(key, {"timeout_ms": 1}), b"", body(token, [["sleep", 1.0]])],
            [b"", WAITING],
            [b"", WAITING, b'{"pirate":1,"token":"guessed","credit":5}'],
            [b"", EXITING],
            [b"", HEARTBEAT],
            [request, b"", b"forged"],
            [b"", request, PARTIAL, b"forged"],
            [b"", request, ERROR, b"app-error", b"forged"],
            [b""] * random.randint(3, 40),
        ]
        return random.choice(some)

    def close(self) -> None:
        """See :class:`Client`."""
        for socket in self._sockets:
            socket.close()
