"""What a client does in an event loop, whichever loop that is: no thread, nothing that blocks."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from time import monotonic
from typing import Protocol

from pirate.client.call import Call
from pirate.client.connection import Connection
from pirate.client.errors import MisuseError
from pirate.client.options import ClientOptions, addresses, isName
from pirate.client.session import Session


class Loop(Protocol):
    """What a loop must be able to do."""

    def watch(self, descriptor: int, act: Callable[[], object]) -> None:
        """Call something whenever a file descriptor is readable."""

    def unwatch(self, descriptor: int) -> None:
        """Do so no more."""

    def later(self, seconds: float, act: Callable[[], object]) -> Callable[[], object]:
        """
        Call something once.

        :return: cancels that.
        """

    def lookUp(self, host: str, port: int, found: Callable[[list[tuple[object, ...]]], None]) -> None:
        """Look up a name, and give what ``getaddrinfo`` would; nothing if it is not known."""


class LoopDriver:
    """
    The connections of a client, in a loop.

    :param options: where they go.
    :ivar session: what the calls belong to.
    """

    def __init__(self, options: ClientOptions, loop: Loop) -> None:
        self._loop = loop
        self._dialer = options.dialer()
        self.session = Session(options.plain, Random(), lambda: os.urandom(16), options.tellOutage)
        self.session.peers.widen = self._dial
        self._connections: list[Connection] = []
        self._cancelTurn: Callable[[], object] | None = None
        self._cancelTimer: Callable[[], object] | None = None
        self._timerAt = 0.0
        self.closed = False
        try:
            for endpoint in options.endpoints:
                self._open(endpoint)
        except BaseException:
            self.close()
            raise

    def begin(self, call: Call) -> None:
        """
        Begin a call.

        :raise MisuseError: if this is closed.
        """
        if self.closed:
            raise MisuseError("this client is closed: make a new one")
        self.session.begin(call, monotonic())
        self._look()

    def cancel(self, call: Call) -> None:
        """The caller does not want the answer any more."""
        if not call.finished:
            self.session.cancel(call, monotonic())
            self._soon()

    def cancelId(self, key: bytes) -> None:
        """The same for a request of which only the id is known."""
        if self.closed:
            raise MisuseError("this client is closed: make a new one")
        self.session.cancelId(key, monotonic())
        self._soon()

    def close(self) -> None:
        """End all calls, and close the connections.  Twice does no harm."""
        if self.closed:
            return
        self.closed = True
        self.session.close()
        for connection in self._connections:
            self._changed(connection, True)
            connection.close()
        self._dialer.close()
        for cancel in (self._cancelTurn, self._cancelTimer):
            if cancel is not None:
                cancel()
        self._cancelTurn = self._cancelTimer = None

    def _open(self, endpoint: str) -> None:
        if not isName(endpoint):
            self._dial(endpoint)
            return

        def found(several: list[tuple[object, ...]]) -> None:
            if not self.closed:
                for address in addresses(endpoint, several):
                    self._dial(address)
                self._soon()

        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        self._loop.lookUp(host, int(port), found)

    def _dial(self, endpoint: str) -> None:
        self._connections.append(Connection(self._dialer, self.session, endpoint, self._changed))

    def _changed(self, connection: Connection, going: bool) -> None:
        def readable() -> None:
            connection.fired()
            self._turn()

        def told() -> None:
            connection.watch()
            self._turn()

        for descriptor, act in ((connection.socket, readable), (connection.monitor, told)):
            if descriptor >= 0 and going:
                self._loop.unwatch(descriptor)
            elif descriptor >= 0:
                self._loop.watch(descriptor, act)

    def _soon(self) -> None:
        """Have a turn, once for all that is done before it."""
        if self._cancelTurn is None and not self.closed:
            self._cancelTurn = self._loop.later(0, self._turnNow)

    def _turnNow(self) -> None:
        self._cancelTurn = None
        self._turn()

    def _turn(self) -> None:
        """Read what has come, a bounded number of messages; see to what is due."""
        now = monotonic()
        due = now >= self.session.nextWake
        for connection in self._connections:
            # What has come in time counts, however late it is read.
            if (connection.touched or due) and not self.closed:
                connection.attend()
        if due and not self.closed:
            self.session.wake(now)
        if not self.closed:
            self._look()

    def _look(self) -> None:
        """See to it that there is a turn when there must be one."""
        session = self.session
        if session.open and any(connection.touched for connection in self._connections):
            self._soon()
        if session.open and (self._cancelTimer is None or session.nextWake < self._timerAt):
            if self._cancelTimer is not None:
                self._cancelTimer()
            self._timerAt = session.nextWake
            self._cancelTimer = self._loop.later(max(0.0, session.nextWake - monotonic()), self._timeOver)

    def _timeOver(self) -> None:
        self._cancelTimer = None
        self._turn()
