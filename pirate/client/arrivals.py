"""Where threads wait for what others bring them."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any


def wake(want: Any) -> None:
    """
    Let the thread that waits for something look again.

    :param want: what it waits for, with a lock ``waiter``.
    """
    waiter = want.waiter
    if waiter is not None:
        want.waiter = None
        # Two may wake it at once.
        with suppress(RuntimeError):
            waiter.release()


class Arrivals:
    """
    What has come for somebody who may be waiting for it, or may have gone.

    Calls that are under way refer to this, and not to whoever reads it, so that one who is forgotten can be noticed.

    :ivar items: what has come, and has not been taken.
    :ivar over: whether nothing more will come.
    :ivar waiter: a lock that is released when something comes, if somebody waits.
    """

    __slots__ = ("items", "over", "waiter")

    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self.over = False
        self.waiter: Any = None

    @property
    def finished(self) -> bool:
        """Whether there is something to take, or nothing to wait for."""
        return self.over or bool(self.items)

    def add(self, item: Any) -> None:
        """Something has come."""
        self.items.append(item)
        if self.waiter is not None:
            wake(self)

    def end(self, last: Any) -> None:
        """Nothing more will come."""
        self.over = True
        wake(self)
