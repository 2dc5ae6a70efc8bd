"""Batches: many calls at a time from an iterable of payloads, and their replies one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, Generic, TypeVar

from pirate.client.arrivals import Arrivals
from pirate.client.call import Call
from pirate.client.errors import CallError
from pirate.client.loop import LoopDriver
from pirate.client.options import ClientOptions, checkConcurrency
from pirate.client.threaddriver import ThreadDriver

#: How many replies may wait for an earlier one, for each call that may be in flight.
_AHEAD = 16

Item = TypeVar("Item")


class Window:
    """
    The calls of a batch that are in flight, and those whose replies were not taken yet.

    :param payloads: the requests; each is one value, or a tuple of values.
    :param concurrency: how many calls may be in flight.
    :param ordered: whether to give replies in the order of the payloads, or else as they arrive.
    :param returnExceptions: whether to return a ``CallError`` in the place of a reply, or else raise it.
    :param progress: called with how many calls have ended, and how many there are; ``None`` if that is unknown.
    :param timeout: the timeout of each call.
    :param service: the service of all calls.
    :raise ConfigurationError: if the concurrency is invalid.
    :raise TypeError: if the payloads are one bytes object or one text.
    :ivar concurrency: how many calls may be in flight.
    :ivar running: how many are, as far as has been counted.
    :ivar arrivals: the calls that have ended and were not counted yet.
    """

    def __init__(
        self,
        options: ClientOptions[Any],
        payloads: Iterable[Any],
        concurrency: int,
        ordered: bool,
        returnExceptions: bool,
        progress: Callable[[int, int | None], object] | None,
        timeout: float | None,
        service: str,
    ) -> None:
        if isinstance(payloads, (bytes, bytearray, str)):
            raise TypeError("map takes an iterable of payloads: put a single one into a list")
        self._options = options
        self._payloads: Iterator[Any] | None = iter(payloads)
        self.concurrency = checkConcurrency(concurrency)
        self._ordered = ordered
        self._returnExceptions = returnExceptions
        self._progress = progress
        self._timeout = timeout
        self._service = service
        self._total = len(payloads) if isinstance(payloads, Sized) else None
        # Ordered: the calls whose replies were not taken, in order.  Unordered: the calls in flight, and those that
        # have ended.
        self._order: deque[Call] = deque()
        self._inFlight: set[Call] = set()
        self._ready: deque[Call] = deque()
        self.arrivals = Arrivals()
        self.running = 0
        self._done = 0

    def advance(self) -> list[Call]:
        """Count the calls that have ended, and return new ones to begin."""
        if self.arrivals.items:
            self._count()
        return self._fill() if self._payloads is not None and self.running < self.concurrency else []

    def take(self) -> Call | None:
        """
        Remove the next call that has ended.

        :return: the call, or ``None`` if there is none yet.
        :raise StopIteration: if there is none left.
        """
        if self._ordered:
            call = self._order.popleft() if self._order and self._order[0].finished else None
        else:
            call = self._ready.popleft() if self._ready else None
        if call is None and not self.running:
            raise StopIteration
        return call

    def conclude(self, call: Call) -> Any:
        """
        Return the reply of a call.

        :raise CallError: if it ended in an error, and errors are not returned.
        """
        try:
            return self._options.conclude(call)
        except CallError as error:
            if self._returnExceptions:
                return error
            raise

    def open(self) -> list[Call]:
        """Return the calls that may not have ended."""
        return [*self._order, *self._inFlight]

    def close(self) -> list[Call]:
        """Take no more payloads, and return the calls to cancel."""
        self._payloads = None
        rest = [call for call in self.open() if not call.finished]
        self._order.clear()
        self._inFlight.clear()
        self._ready.clear()
        return rest

    def _fill(self) -> list[Call]:
        fresh: list[Call] = []
        capacity = self.concurrency - self.running
        if self._ordered:
            capacity = min(capacity, self.concurrency * _AHEAD - len(self._order))
        while len(fresh) < capacity and self._payloads is not None:
            try:
                payload = next(self._payloads)
            except StopIteration:
                self._payloads = None
                break
            values = payload if isinstance(payload, tuple) else (payload,)
            fresh.append(self._options.newCall(values, self.arrivals.add, self._timeout, self._service))
        self.running += len(fresh)
        if self._ordered:
            self._order.extend(fresh)
        else:
            self._inFlight.update(fresh)
        return fresh

    def _count(self) -> None:
        arrived = self.arrivals.items
        while arrived:
            call = arrived.popleft()
            self.running -= 1
            if not self._ordered:
                self._inFlight.discard(call)
                self._ready.append(call)
            if self._progress is not None:
                self._done += 1
                self._progress(self._done, self._total)


class Batch(Generic[Item]):
    """
    An iterator of the replies of :meth:`~pirate.client.Client.map`.

    A batch that is no longer used cancels its calls.
    """

    def __init__(self, driver: ThreadDriver, window: Window) -> None:
        self._driver = driver
        self._window = window
        self._closed = False

    def __iter__(self) -> Batch[Item]:
        return self

    def __del__(self) -> None:
        # Garbage collection runs at any moment, in any thread: only leave a message.
        if not self._closed:
            for call in self._window.open():
                self._driver.postFromFinalizer(self._driver.session.cancel, call)

    def __next__(self) -> Item:
        """
        Return the next reply.

        :raise CallError: if there is none, and errors are not returned.
        """
        if self._closed:
            raise StopIteration
        window, driver = self._window, self._driver
        try:
            while True:
                if (window.arrivals.items or window.running < window.concurrency) and (calls := window.advance()):
                    driver.post(driver.session.beginAll, calls)
                if (call := window.take()) is not None:
                    return window.conclude(call)  # type: ignore[no-any-return]
                driver.until(window.arrivals)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Cancel the calls that are in flight, and end the iteration.  A second call does nothing."""
        if not self._closed:
            self._closed = True
            for call in self._window.close():
                self._driver.post(self._driver.session.cancel, call)


class AsyncBatch(Generic[Item]):
    """
    An asynchronous iterator of the replies of :meth:`~pirate.client.AsyncClient.map`, in an event loop.

    A batch that is no longer used cancels its calls; :meth:`aclose` does so at once.
    """

    def __init__(self, driver: LoopDriver, window: Window) -> None:
        self._driver = driver
        self._window = window
        self._closed = False

    def __aiter__(self) -> AsyncBatch[Item]:
        return self

    def __del__(self) -> None:
        # Garbage collection runs at any moment, in any thread: only leave a message.
        if not self._closed:
            for call in self._window.open():
                self._driver.loop.fromThread(self._driver.cancel, call)

    async def __anext__(self) -> Item:
        """
        Return the next reply.

        :raise CallError: if there is none, and errors are not returned.
        """
        if self._closed:
            raise StopAsyncIteration
        window, arrivals = self._window, self._window.arrivals
        try:
            while True:
                if (window.arrivals.items or window.running < window.concurrency) and (calls := window.advance()):
                    self._driver.begin(*calls)
                if (call := window.take()) is not None:
                    return window.conclude(call)  # type: ignore[no-any-return]
                while not arrivals.finished:
                    arrivals.waiter = waiter = self._driver.loop.newWaiter()
                    await waiter
        except StopIteration:
            await self.aclose()
            raise StopAsyncIteration from None
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Cancel the calls that are in flight, and end the iteration.  A second call does nothing."""
        if not self._closed:
            self._closed = True
            for call in self._window.close():
                self._driver.cancel(call)
