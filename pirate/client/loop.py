"""The driver of a client in an event loop, whichever loop that is: it has no thread and never blocks."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

from pirate.client.call import Call
from pirate.client.connection import Connection
from pirate.client.endpoints import Outage
from pirate.client.errors import MisuseError
from pirate.client.options import ClientOptions, isName, resolve
from pirate.client.session import Session


class LoopWaiter(Protocol):
    """An awaitable that ends when it is released; see :class:`~pirate.client.arrivals.Waiter`."""

    def release(self) -> None:
        """Let the coroutine that awaits this go on."""

    def __await__(self) -> Generator[Any, Any, object]:
        """Wait."""


class ClientLoop(Protocol):
    """An event loop."""

    def watch(self, descriptor: int, act: Callable[[], object]) -> None:
        """Call a function whenever a file descriptor is readable."""

    def unwatch(self, descriptor: int) -> None:
        """Stop watching a file descriptor."""

    def later(self, seconds: float, act: Callable[[], object]) -> Callable[[], object]:
        """
        Call a function once.

        :return: a function that cancels this.
        """

    def fromThread(self, act: Callable[[Any], object], argument: Any) -> None:
        """Call a function in the loop; this may be used in any thread, and after the loop was closed."""

    def lookUp(self, host: str, port: int, found: Callable[[list[tuple[object, ...]]], None]) -> None:
        """Look up a host name, and pass on the result of ``getaddrinfo``, which is empty for an unknown name."""

    def newWaiter(self) -> LoopWaiter:
        """Return an awaitable for a coroutine of this loop."""


class LoopDriver:
    """
    The connections of a client, in an event loop.

    :param options: the client's options.
    :param loop: the event loop.
    :ivar session: the calls.
    :ivar closed: whether :meth:`close` was called.
    """

    def __init__(self, options: ClientOptions[Any], loop: ClientLoop) -> None:
        self.loop = loop
        self._options = options
        self._dialer = options.newDialer()
        environment = options.environment
        self._clock = environment.clock
        self.session = Session(options.plain, environment.newRandom(), lambda: environment.secret(16), self)
        self._connections: list[Connection] = []
        self._cancelTurn: Callable[[], object] | None = None
        self._cancelTimer: Callable[[], object] | None = None
        self._timerAt = 0.0
        self.closed = False
        try:
            for endpoint in options.endpoints:
                self._connectByName(endpoint)
        except BaseException:
            self.close()
            raise

    def begin(self, *calls: Call) -> None:
        """
        Begin calls.

        :raise MisuseError: if the driver is closed.
        """
        if self.closed:
            raise MisuseError("this client is closed: make a new one")
        session, now = self.session, self._clock()
        if session.calls or len(calls) > 1:
            for call in calls:
                session.collect(call, now)
        else:
            # A call that is alone need not wait for others.
            session.begin(calls[0], now)
        if self._cancelTurn is None:
            self._turnSoon()

    def cancel(self, call: Call) -> None:
        """Cancel a call, unless it has ended."""
        if not call.finished:
            self.session.cancel(call, self._clock())
            self._turnSoon()

    def cancelId(self, requestId: bytes) -> None:
        """
        Cancel a request by its id.

        :raise MisuseError: if the driver is closed.
        """
        if self.closed:
            raise MisuseError("this client is closed: make a new one")
        self.session.cancelId(requestId, self._clock())
        self._turnSoon()

    def close(self) -> None:
        """End all calls, and close the connections.  A second call does nothing."""
        if self.closed:
            return
        self.closed = True
        self.session.close()
        for connection in self._connections:
            self.descriptorsClosing(connection)
            connection.close()
        self._dialer.close()
        for cancel in (self._cancelTurn, self._cancelTimer):
            if cancel is not None:
                cancel()
        self._cancelTurn = self._cancelTimer = None

    # --- for the session: pirate.client.session.SessionDriver

    def connect(self, endpoint: str) -> None:
        """Open one more connection to an endpoint."""
        self._connections.append(Connection(self._dialer, self.session, endpoint, self, self._clock))

    def reportOutage(self, outage: Outage) -> None:
        """Pass an outage on to the user."""
        self._options.reportOutage(outage)

    # --- for the connections: pirate.client.connection.ConnectionOwner

    def descriptorsOpened(self, connection: Connection) -> None:
        """Watch the descriptors of a connection."""

        def socketReadable() -> None:
            connection.socketReadable()
            self._turn()

        def monitorReadable() -> None:
            connection.monitorReadable()
            self._turn()

        self.loop.watch(connection.socket, socketReadable)
        if connection.monitor >= 0:
            self.loop.watch(connection.monitor, monitorReadable)

    def descriptorsClosing(self, connection: Connection) -> None:
        """Stop watching the descriptors of a connection."""
        self.loop.unwatch(connection.socket)
        if connection.monitor >= 0:
            self.loop.unwatch(connection.monitor)

    # --- turns

    def _connectByName(self, endpoint: str) -> None:
        """Connect to an endpoint, or to each address of its host name when that was looked up."""
        if not isName(endpoint):
            self.connect(endpoint)
            return

        def found(several: list[tuple[object, ...]]) -> None:
            if not self.closed:
                for address in resolve(endpoint, several):
                    self.connect(address)
                self._turnSoon()

        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        self.loop.lookUp(host, int(port), found)

    def _turnSoon(self) -> None:
        """Schedule one turn for everything that happens before it."""
        if self._cancelTurn is None and not self.closed:
            self._cancelTurn = self.loop.later(0, self._scheduledTurn)

    def _scheduledTurn(self) -> None:
        self._cancelTurn = None
        self._turn()

    def _turn(self) -> None:
        """Read a bounded number of messages, and do what is due."""
        now = self._clock()
        session = self.session
        if session.hasCollected:
            session.flush(now)
        due = now >= session.nextWake
        for connection in self._connections:
            # A message that arrived in time counts, however late it is read.
            if (connection.pending or due) and not self.closed:
                connection.attend()
        if self.closed:
            return
        if due:
            session.wake(now)
        if session.hasCollected:
            session.flush(now)
        self._planTurn()

    def _planTurn(self) -> None:
        """Schedule the next turn if one is needed."""
        session = self.session
        if not session.open:
            return
        if self._cancelTurn is None:
            for connection in self._connections:
                if connection.pending:
                    self._turnSoon()
                    break
        if self._cancelTimer is None or session.nextWake < self._timerAt:
            if self._cancelTimer is not None:
                self._cancelTimer()
            self._timerAt = session.nextWake
            self._cancelTimer = self.loop.later(max(0.0, session.nextWake - self._clock()), self._timerFired)

    def _timerFired(self) -> None:
        self._cancelTimer = None
        self._turn()
