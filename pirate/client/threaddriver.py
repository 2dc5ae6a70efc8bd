"""
The driver of a client in threads: one of the waiting threads, the leader, does the I/O for all.

A thread that has to wait while there is no leader becomes the leader.  It reads and writes for every thread until its
own wait is over, so a program with one thread needs no other.  A thread that finds a leader leaves its request in the
inbox and waits; a leader that has finished wakes a waiting thread, which becomes the next leader.  While calls are in
flight that no thread waits for, such as those of futures, a background thread leads; it ends after ``_IDLE`` seconds
without work.
"""

from __future__ import annotations

import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pirate.client.arrivals import Waitable, Waiter, wake
from pirate.client.call import Call
from pirate.client.connection import Connection
from pirate.client.endpoints import Outage
from pirate.client.options import ClientOptions, resolve
from pirate.client.session import Session

#: The longest single wait, in seconds: a Ctrl-C that comes just before a wait is noticed when it ends.
_LONGEST_WAIT = 1.0
#: Seconds after which an idle background thread ends.
_IDLE = 5.0

_get_ident = threading.get_ident


class ThreadDriver:
    """
    The connections of a client, and the right to work them, which one thread at a time has.

    :param options: the client's options.
    :ivar session: the calls; for the leading thread only.
    :ivar closed: whether the connections are closed.
    :ivar background: how many calls in flight are the background thread's to finish.
    """

    def __init__(self, options: ClientOptions[Any]) -> None:
        self._options = options
        self._dialer = options.newDialer()
        environment = options.environment
        self._clock = environment.clock
        self.session = Session(options.plain, environment.newRandom(), lambda: environment.secret(16), self)
        self._leading = threading.Lock()
        self._leaderId = 0
        # How many nested leads the leading thread has, beyond the first: its callbacks may call again.
        self._depth = 0
        self._inbox: deque[tuple[Callable[[Any, float], object], Any]] = deque()
        self._callbacks: deque[tuple[Callable[[Any], object], Any]] = deque()
        self._waiting: deque[Waitable] = deque()
        self._closing = False
        self.closed = False
        self.background = 0
        self._work = threading.Event()
        self._threadLock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._connections: list[Connection] = []
        self._poll = _Poll()
        try:
            for endpoint in options.endpoints:
                for address in resolve(endpoint):
                    self.connect(address)
        except BaseException:
            self._dispose()
            raise

    # --- for any thread

    def perform(self, call: Call) -> None:
        """Begin a call, and wait until it ends."""
        if self._tryLead():
            try:
                self.session.begin(call, call.began)
                turn = self._turn
                while not call.finished and not self._closing:
                    turn(call)
            finally:
                self._stopLeading()
            if call.finished:
                return
        else:
            self._inbox.append((self.session.collect, call))
        self.until(call)

    def until(self, waitable: Waitable) -> None:
        """Wait for something that has begun, or that the inbox will begin."""
        while not waitable.finished:
            lock = threading.Lock()
            lock.acquire()
            waitable.waiter = lock
            self._waiting.append(waitable)
            if self._tryLead():
                waitable.waiter = None
                try:
                    while not waitable.finished and not self._closing:
                        self._turn(waitable)
                finally:
                    self._stopLeading()
            else:
                self._poll.wake()
                self._await(waitable, lock)

    def _await(self, waitable: Waitable, lock: threading.Lock) -> None:
        """Wait until something is finished, or this thread is woken to lead."""
        try:
            while not waitable.finished and not lock.acquire(timeout=_LONGEST_WAIT):
                pass
        except BaseException:
            # It may have been woken to lead: wake another.
            waitable.waiter = None
            self._passLead()
            raise

    def post(self, act: Callable[[Any, float], object], argument: Any) -> None:
        """
        Have the leader call a function soon, or call it now if there is no leader.

        :param act: a method of the session, called with the argument and the time.
        """
        if self._tryLead():
            try:
                act(argument, self._clock())
            finally:
                self._stopLeading()
            return
        self._inbox.append((act, argument))
        self._poll.wake()
        if not self._leading.locked():
            self._passLead()

    def postFromFinalizer(self, act: Callable[[Any, float], object], argument: Any) -> None:
        """Have the next leader call a function.  Garbage collection may use this, at any moment in any thread."""
        self._inbox.append((act, argument))
        self._poll.wake()

    def afterTurn(self, act: Callable[[Any], object], argument: Any) -> None:
        """Call a function between turns, in the leading thread: a user's callback, which may do anything."""
        self._callbacks.append((act, argument))

    def close(self) -> None:
        """End all calls, and close the connections."""
        self._closing = True
        if self._leaderId == _get_ident():
            return
        self._poll.wake()
        with self._leading:
            self._leaderId = _get_ident()
            try:
                self._finishClosing()
            finally:
                self._leaderId = 0
        self._passLead()
        self._work.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LONGEST_WAIT)

    # --- for the session: pirate.client.session.SessionDriver

    def connect(self, endpoint: str) -> None:
        """Open one more connection to an endpoint."""
        self._connections.append(Connection(self._dialer, self.session, endpoint, self, self._clock))

    def reportOutage(self, outage: Outage) -> None:
        """Pass an outage on to the user, between turns."""
        self.afterTurn(self._options.reportOutage, outage)

    # --- for the connections: pirate.client.connection.ConnectionOwner

    def descriptorsOpened(self, connection: Connection) -> None:
        """Wait for the descriptors of a connection from now on."""
        self._poll.add(connection.socket, connection.socketReadable)
        if connection.monitor >= 0:
            self._poll.add(connection.monitor, connection.monitorReadable)

    def descriptorsClosing(self, connection: Connection) -> None:
        """Wait for them no longer."""
        self._poll.remove(connection.socket)
        if connection.monitor >= 0:
            self._poll.remove(connection.monitor)

    # --- leading

    def _tryLead(self) -> bool:
        """Become the leader, if there is none or it is this thread."""
        if self._leading.acquire(False):
            self._leaderId = _get_ident()
            return True
        if self._leaderId == _get_ident():
            # A callback in the leading thread.
            self._depth += 1
            return True
        return False

    def _stopLeading(self) -> None:
        if self._depth:
            self._depth -= 1
            if self._closing:
                self._finishClosing()
            return
        try:
            if self._inbox or self._callbacks:
                self._runPosted()
            if self.session.hasCollected:
                self.session.flush(self._clock())
            if self._closing:
                self._finishClosing()
        finally:
            self._leaderId = 0
            self._leading.release()
            if self._waiting or self.background or self._inbox:
                self._passLead()

    def _passLead(self) -> None:
        """If there is no leader, wake a waiting thread, or the background thread if it is needed."""
        waiting = self._waiting
        while waiting and not self._leading.locked():
            with suppress(IndexError):
                waitable = waiting.popleft()
                if waitable.waiter is not None:
                    wake(waitable)
                    return
        if (self.background or self._inbox) and not self._leading.locked():
            self._startThread()

    def _turn(self, waitable: Waitable) -> None:
        """
        Do what there is to do; if there is nothing, wait for it.

        :param waitable: what the leading thread waits for.
        """
        session = self.session
        if self._inbox or self._callbacks:
            self._runPosted()
        if session.hasCollected:
            session.flush(self._clock())
        moved = False
        for connection in self._connections:
            if connection.pending and connection.attend():
                moved = True
        if moved or self._callbacks or waitable.finished:
            return
        now = self._clock()
        if now >= session.nextWake:
            # A message that arrived in time counts, however late it is read.
            for connection in self._connections:
                connection.attend()
            session.wake(now)
            return
        self._poll.willWait = True
        if self._inbox or self._closing:
            self._poll.willWait = False
            return
        self._poll.wait(min(session.nextWake - now, _LONGEST_WAIT))

    def _runPosted(self) -> None:
        """Call what other threads have posted, and the callbacks of users."""
        inbox, callbacks = self._inbox, self._callbacks
        while inbox:
            act, argument = inbox.popleft()
            act(argument, self._clock())
        while callbacks:
            callback, argument = callbacks.popleft()
            callback(argument)

    # --- the background thread

    def _startThread(self) -> None:
        """Give the background thread work, and start it if it does not run."""
        with self._threadLock:
            self._work.set()
            if self._thread is None and not self.closed:
                self._thread = threading.Thread(target=self._lead, name="pirate client", daemon=True)
                self._thread.start()

    def _lead(self) -> None:
        """Lead whenever there is work that no other thread does: the background thread's function."""
        while True:
            idle = not self._work.wait(_IDLE)
            with self._threadLock:
                if self.closed or (idle and not self._work.is_set()):
                    self._thread = None
                    return
                self._work.clear()
            self._leading.acquire()
            self._leaderId = _get_ident()
            try:
                while (self.background or self._inbox or self._callbacks) and not self._closing:
                    self._turn(_UNTIL_IDLE)
            finally:
                self._stopLeading()

    # --- closing

    def _finishClosing(self) -> None:
        self._runPosted()
        if not self.closed:
            self.closed = True
            self.session.close()
            self._runPosted()
            self._dispose()

    def _dispose(self) -> None:
        for connection in self._connections:
            connection.close()
        self._dialer.close()
        self._poll.close()


class _UntilIdle:
    """The waitable of the background thread, which is never finished."""

    finished = False
    waiter: Waiter | None = None


_UNTIL_IDLE = _UntilIdle()


class _Poll:
    """
    A ``select.poll`` that another thread can wake.

    The thread that is about to wait sets ``willWait`` and then looks for posted work once more; a thread that posts
    work and then calls :meth:`wake` is never missed.

    :ivar willWait: whether a thread waits, or is about to.
    """

    def __init__(self) -> None:
        self.willWait = False
        self._acts: dict[int, Callable[[], object]] = {}
        self._poll = select.poll()
        self._reader, self._writer = socket.socketpair()
        for each in (self._reader, self._writer):
            each.setblocking(False)
        self.add(self._reader.fileno(), self._drain)

    def add(self, descriptor: int, act: Callable[[], object]) -> None:
        """Call a function, in :meth:`wait`, when a descriptor is readable."""
        self._poll.register(descriptor, select.POLLIN)
        self._acts[descriptor] = act

    def remove(self, descriptor: int) -> None:
        """Forget a descriptor."""
        self._poll.unregister(descriptor)
        del self._acts[descriptor]

    def wait(self, seconds: float) -> None:
        """Wait until a descriptor is readable, and call its function; or until a time has passed, at least 1 ms."""
        for descriptor, _ in self._poll.poll(int(seconds * 1000) + 1):
            # The function of one descriptor may have removed another.
            act = self._acts.get(descriptor)
            if act is not None:
                act()
        self.willWait = False

    def wake(self) -> None:
        """Wake the thread that waits, if there is one.  Any thread may call this."""
        if self.willWait:
            self.willWait = False
            # A full pair wakes the thread as well; a closed one has none to wake.
            with suppress(OSError):
                self._writer.send(b"!")

    def close(self) -> None:
        """Close the socket pair."""
        self._reader.close()
        self._writer.close()

    def _drain(self) -> None:
        try:
            while len(self._reader.recv(64)) == 64:
                pass
        except BlockingIOError:
            pass
