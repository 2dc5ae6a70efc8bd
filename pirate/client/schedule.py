"""A schedule of calls: when each is due for its next attempt, or times out."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from pirate.client.call import Call

#: How many entries of calls that have ended may accumulate, at least.
_SPARE = 256


class Schedule:
    """
    A queue of calls in the order in which they are due.

    Most calls end long before they are due; their entries are skipped, and removed when they are the majority.

    :ivar next: when the first call is due; infinite if there is none.
    """

    __slots__ = ("_count", "_times", "next")

    def __init__(self) -> None:
        self._times: list[tuple[float, int, Call]] = []
        self._count = 0
        self.next = float("inf")

    def __len__(self) -> int:
        return len(self._times)

    def plan(self, call: Call, now: float, open: int) -> None:
        """
        Add a call, unless it has ended.

        :param open: how many calls have not ended.
        """
        if call.finished:
            return
        when = call.deadline if call.peer is None or call.deadline < call.next else call.next
        self._count += 1
        times = self._times
        heappush(times, (when if when > now else now, self._count, call))
        if len(times) > 2 * open + _SPARE:
            self._times = times = [each for each in times if not each[2].finished]
            heapify(times)
        self.next = times[0][0]

    def planAll(self, calls: Iterable[Call], now: float, open: int) -> None:
        """Add several calls."""
        times, number = self._times, self._count
        for call in calls:
            if not call.finished:
                when = call.deadline if call.peer is None or call.deadline < call.next else call.next
                number += 1
                heappush(times, (when if when > now else now, number, call))
        self._count = number
        if len(times) > 2 * open + _SPARE:
            self._times = times = [each for each in times if not each[2].finished]
            heapify(times)
        self.next = times[0][0] if times else float("inf")

    def due(self, now: float) -> Call | None:
        """
        Remove and return a call that is due; add it again with :meth:`plan` if it goes on.

        :return: the call, or ``None`` if none is due.
        """
        times = self._times
        found = None
        while found is None and times and times[0][0] <= now:
            call = heappop(times)[2]
            found = None if call.finished else call
        self.next = times[0][0] if times else float("inf")
        return found
