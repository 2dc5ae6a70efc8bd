"""
Who does the sockets' work, where there may be many threads: the one that has the lead.

A thread that wants something and finds nobody in the lead takes it, and does the work of all until it has what it
wants.  So a single thread pays for no other.  A thread that finds another in the lead leaves its wish in the inbox and
waits; whoever lays the lead down wakes one of those that wait, to take it up.  For what nobody waits for, a future say,
there is a thread that takes the lead when nobody else has it; it ends when it has had nothing to do for a while.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import Random
from time import monotonic
from typing import Any, Protocol

from pirate.client.arrivals import wake
from pirate.client.call import Call
from pirate.client.connection import Connection
from pirate.client.options import ClientOptions, addresses
from pirate.client.outage import Outage
from pirate.client.session import Session
from pirate.client.watch import Watch

#: The longest single wait, in seconds: a Ctrl-C that comes just before one is not seen until it ends.
_LONGEST_WAIT = 1.0
#: Seconds after which the thread in the background ends, if it has nothing to do.
_IDLE = 5.0

_get_ident = threading.get_ident


class Want(Protocol):
    """
    What a thread waits for.

    :ivar waiter: a lock that is released when that may have changed; ``None`` if nobody waits.
    """

    waiter: Any

    @property
    def finished(self) -> bool:
        """Whether it is there."""


class Leader:
    """
    The connections of a client, and the lead over them.

    :param options: where they go.
    :ivar session: for whoever has the lead.
    :ivar busy: how many things are under way that the thread in the background is to see to.
    """

    def __init__(self, options: ClientOptions) -> None:
        self._dialer = options.dialer()
        self._tellOutage = options.tellOutage
        self.session = Session(options.plain, Random(), lambda: os.urandom(16), self._noteOutage)
        self.session.peers.widen = self._dial
        self._leading = threading.Lock()
        self._leaderId = 0
        self._depth = 0
        self._inbox: deque[tuple[Callable[[Any, float], object], Any]] = deque()
        self._ended: deque[tuple[Callable[[Any], object], Any]] = deque()
        self._waiting: deque[Any] = deque()
        self._closing = False
        self.closed = False
        self.busy = 0
        self._work = threading.Event()
        self._guard = threading.Lock()
        self._background: threading.Thread | None = None
        self._connections: list[Connection] = []
        self._watch = Watch()
        try:
            for endpoint in options.endpoints:
                for address in addresses(endpoint):
                    self._dial(address)
        except BaseException:
            self._dispose()
            raise

    # --- what any thread may do

    def perform(self, call: Call) -> None:
        """Begin a call, and wait for its end."""
        if self._take():
            try:
                self.session.begin(call, call.began)
                turn = self._turn
                while not call.finished and not self._closing:
                    turn(call)
            finally:
                self._layDown()
            if call.finished:
                return
        else:
            self._inbox.append((self.session.begin, call))
        self.until(call)

    def until(self, want: Want) -> None:
        """Wait for something that has begun, or is in the inbox."""
        while not want.finished:
            lock = threading.Lock()
            lock.acquire()
            want.waiter = lock
            self._waiting.append(want)
            if self._take():
                want.waiter = None
                try:
                    while not want.finished and not self._closing:
                        self._turn(want)
                finally:
                    self._layDown()
            else:
                self._watch.ring()
                self._await(want, lock)

    def _await(self, want: Want, lock: threading.Lock) -> None:
        """Wait until something is there, or the lead is to be had."""
        try:
            while not want.finished and not lock.acquire(timeout=_LONGEST_WAIT):
                pass
        except BaseException:
            # It may have been woken to take the lead.
            want.waiter = None
            self._promote()
            raise

    def post(self, act: Callable[[Any, float], object], argument: Any) -> None:
        """Have something done by whoever has the lead, or by this thread: with the argument, and the time."""
        if self._take():
            try:
                act(argument, monotonic())
            finally:
                self._layDown()
            return
        self._inbox.append((act, argument))
        self._watch.ring()
        if not self._leading.locked():
            self._promote()

    def leave(self, act: Callable[[Any, float], object], argument: Any) -> None:
        """The same, whenever somebody has the lead next: it may be called at any moment, by a collector of garbage."""
        self._inbox.append((act, argument))
        self._watch.ring()

    def afterwards(self, act: Callable[[Any], object], argument: Any) -> None:
        """For whoever has the lead: have something done that may do anything, as a user's own callback may."""
        self._ended.append((act, argument))

    def close(self) -> None:
        """End all calls, and close the connections."""
        self._closing = True
        if self._leaderId == _get_ident():
            return
        self._watch.ring()
        with self._leading:
            self._leaderId = _get_ident()
            try:
                self._finishClosing()
            finally:
                self._leaderId = 0
        self._promote()
        self._work.set()
        background = self._background
        if background is not None and background is not threading.current_thread():
            background.join(_LONGEST_WAIT)

    # --- the lead

    def _take(self) -> bool:
        if self._leading.acquire(False):
            self._leaderId = _get_ident()
            return True
        if self._leaderId == _get_ident():
            # A callback of the leader's own.
            self._depth += 1
            return True
        return False

    def _layDown(self) -> None:
        if self._depth:
            self._depth -= 1
            if self._closing:
                self._finishClosing()
            return
        try:
            if self._inbox or self._ended:
                self._settle()
            if self._closing:
                self._finishClosing()
        finally:
            self._leaderId = 0
            self._leading.release()
            if self._waiting or self.busy or self._inbox:
                self._promote()

    def _promote(self) -> None:
        """If nobody has the lead, wake one that waits, or else the thread in the background, if that is needed."""
        waiting = self._waiting
        while waiting and not self._leading.locked():
            with suppress(IndexError):
                want = waiting.popleft()
                if want.waiter is not None:
                    wake(want)
                    return
        if (self.busy or self._inbox) and not self._leading.locked():
            self._lookAfter()

    def _turn(self, want: Any) -> None:
        """
        Do what there is to do; with nothing, wait for it.

        :param want: what the leader waits for, if anything.
        """
        if self._inbox or self._ended:
            self._settle()
        moved = False
        for connection in self._connections:
            if connection.touched and connection.attend():
                moved = True
        if moved or self._ended or want.finished:
            return
        session = self.session
        now = monotonic()
        if now >= session.nextWake:
            # What has come in time counts, however late it is read.
            for connection in self._connections:
                connection.attend()
            session.wake(now)
            return
        self._watch.willWait = True
        if self._inbox or self._closing:
            self._watch.willWait = False
            return
        self._watch.wait(min(session.nextWake - now, _LONGEST_WAIT))

    def _settle(self) -> None:
        """Do what others have asked for, and what may do anything."""
        inbox, ended = self._inbox, self._ended
        while inbox:
            act, argument = inbox.popleft()
            act(argument, monotonic())
        while ended:
            then, argument = ended.popleft()
            then(argument)

    # --- the thread in the background

    def _lookAfter(self) -> None:
        """See to it that somebody does what nobody waits for."""
        with self._guard:
            self._work.set()
            if self._background is None and not self.closed:
                self._background = threading.Thread(target=self._attend, name="pirate client", daemon=True)
                self._background.start()

    def _attend(self) -> None:
        while True:
            idle = not self._work.wait(_IDLE)
            with self._guard:
                if self.closed or (idle and not self._work.is_set()):
                    self._background = None
                    return
                self._work.clear()
            self._leading.acquire()
            self._leaderId = _get_ident()
            try:
                while (self.busy or self._inbox or self._ended) and not self._closing:
                    self._turn(_BUSY)
            finally:
                self._layDown()

    # --- connections

    def _noteOutage(self, outage: Outage) -> None:
        self.afterwards(self._tellOutage, outage)

    def _dial(self, endpoint: str) -> None:
        self._connections.append(Connection(self._dialer, self.session, endpoint, self._changed))

    def _changed(self, connection: Connection, going: bool) -> None:
        for descriptor, act in ((connection.socket, connection.fired), (connection.monitor, connection.watch)):
            if descriptor >= 0 and going:
                self._watch.remove(descriptor)
            elif descriptor >= 0:
                self._watch.add(descriptor, act)

    def _finishClosing(self) -> None:
        self._settle()
        if not self.closed:
            self.closed = True
            self.session.close()
            self._settle()
            self._dispose()

    def _dispose(self) -> None:
        for connection in self._connections:
            connection.close()
        self._dialer.close()
        self._watch.close()


class _Busy:
    """The wish of the thread in the background: to be of use."""

    finished = False
    waiter = None


_BUSY = _Busy()
