"""A queue between the code that receives replies and the one caller that waits for them."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any, Protocol


class Waiter(Protocol):
    """A caller that waits: a lock in a thread, a future or a Deferred in an event loop."""

    def release(self) -> None:
        """Wake the caller."""


class Waitable(Protocol):
    """
    Something that a caller waits for.

    :ivar waiter: the caller that waits; ``None`` if none does.
    """

    waiter: Waiter | None

    @property
    def finished(self) -> bool:
        """Whether the caller need not wait any longer."""


def wake(waitable: Waitable) -> None:
    """Wake the caller that waits for something, if one does, so that it looks again."""
    waiter = waitable.waiter
    if waiter is not None:
        waitable.waiter = None
        # Two threads may wake it at the same moment.
        with suppress(RuntimeError):
            waiter.release()


class Arrivals:
    """
    A queue of items for a caller that may be waiting for them, or may have been forgotten.

    Calls in flight refer to this queue and not to the object that reads it, so that a reader which is no longer used is
    garbage-collected, and can cancel them.

    :ivar items: the items that have arrived and were not taken.
    :ivar over: whether nothing more will arrive.
    :ivar waiter: see :class:`Waitable`.
    """

    __slots__ = ("items", "over", "waiter")

    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self.over = False
        self.waiter: Waiter | None = None

    @property
    def finished(self) -> bool:
        """Whether there is an item to take, or nothing to wait for."""
        return self.over or bool(self.items)

    def add(self, item: Any) -> None:
        """Add an item."""
        self.items.append(item)
        if self.waiter is not None:
            wake(self)

    def end(self, last: object) -> None:
        """Mark the end: nothing more will arrive."""
        self.over = True
        wake(self)
