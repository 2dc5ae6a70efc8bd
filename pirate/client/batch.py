"""Many calls at once, and their replies one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

from pirate.client.arrivals import Arrivals
from pirate.client.call import Call
from pirate.client.errors import CallError
from pirate.client.leader import Leader
from pirate.client.options import ClientOptions
from pirate.errors import ConfigurationError

#: The most calls that may be under way at a time.
MAX_OUTSTANDING = 100_000
#: How many replies may wait for an earlier one, for each call that may be under way.
_AHEAD = 16


class Batch:
    """
    An iterator of replies; see ``Client.map``.

    :param newCall: makes a call of a payload.
    """

    # Until it is made.
    _over = True

    def __init__(
        self,
        leader: Leader,
        options: ClientOptions,
        newCall: Callable[[Any], Call],
        payloads: Iterable[Any],
        concurrency: int,
        ordered: bool,
        returnExceptions: bool,
        progress: Callable[[int, int | None], object] | None,
    ) -> None:
        if isinstance(payloads, (bytes, bytearray, str)):
            raise TypeError("map takes several payloads: give a list of one for one")
        self._leader = leader
        self._options = options
        self._newCall = newCall
        self._payloads: Iterator[Any] | None = iter(payloads)
        self._concurrency = checked(concurrency)
        self._ordered = ordered
        self._returnExceptions = returnExceptions
        self._progress = progress
        self._total = len(payloads) if isinstance(payloads, Sized) else None
        # Those that are under way or not given yet: in their order, if that matters.
        self._order: deque[Call] = deque()
        self._open: set[Call] = set()
        # Those that have ended: as told by whoever has the lead, and then as counted here.
        self._arrivals = Arrivals()
        self._ready: deque[Call] = deque()
        self._running = 0
        self._done = 0
        self._over = False

    def __iter__(self) -> Batch:
        return self

    def __del__(self) -> None:
        # At any moment, in any thread: nothing may be done here but to leave a wish.
        if not self._over:
            for call in (*self._order, *self._open):
                self._leader.leave(self._leader.session.cancel, call)

    def __next__(self) -> Any:
        """
        The next reply.

        :raise CallError: if there is none, and errors are not to come in the place of replies.
        """
        try:
            while True:
                if self._arrivals.items:
                    self._count()
                if self._running < self._concurrency and self._payloads is not None:
                    self._fill()
                call = self._next()
                if call is not None:
                    return self._conclude(call)
                if not self._running:
                    raise StopIteration
                self._leader.until(self._arrivals)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Cancel what is under way, and give no more.  Twice does no harm."""
        if not self._over:
            self._over = True
            self._payloads = None
            for call in (*self._order, *self._open):
                if not call.finished:
                    self._leader.post(self._leader.session.cancel, call)
            self._order.clear()
            self._ready.clear()

    def _next(self) -> Call | None:
        """A call that has ended, and is the next to be given."""
        if self._ordered:
            return self._order.popleft() if self._order and self._order[0].finished else None
        return self._ready.popleft() if self._ready else None

    def _conclude(self, call: Call) -> Any:
        try:
            return self._options.conclude(call)
        except CallError as error:
            if self._returnExceptions:
                return error
            raise

    def _fill(self) -> None:
        """Begin as many calls as may be under way."""
        fresh: list[Call] = []
        room = self._concurrency - self._running
        if self._ordered:
            room = min(room, self._concurrency * _AHEAD - len(self._order))
        while len(fresh) < room and self._payloads is not None:
            try:
                payload = next(self._payloads)
            except StopIteration:
                self._payloads = None
                break
            call = self._newCall(payload)
            call.done = self._arrivals.add
            fresh.append(call)
        if fresh:
            self._running += len(fresh)
            if self._ordered:
                self._order.extend(fresh)
            else:
                self._open.update(fresh)
            self._leader.post(self._leader.session.beginAll, fresh)

    def _count(self) -> None:
        """Note what has ended since the last time."""
        arrived = self._arrivals.items
        while arrived:
            call = arrived.popleft()
            self._running -= 1
            if not self._ordered:
                self._open.discard(call)
                self._ready.append(call)
            if self._progress is not None:
                self._done += 1
                self._progress(self._done, self._total)


def checked(value: int) -> int:
    """
    How many calls may be under way at a time.

    :raise ConfigurationError: if it is not 1 to ``MAX_OUTSTANDING``.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_OUTSTANDING:
        return value
    raise ConfigurationError(f"concurrency {value!r} is not right: give a number, 1 to {MAX_OUTSTANDING}")
