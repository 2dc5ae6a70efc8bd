"""When each call is next to be looked at."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from pirate.client.call import Call

#: How many entries of calls that have ended may pile up, at least.
_SPARE = 256


class Schedule:
    """
    Calls by the time of their next try, or of their end.

    Most calls end long before their time; what is left of them is passed over, and cleared away when it is most of what
    there is.

    :ivar next: when the first is due; infinite if there is none.
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
        Note when a call is next to be looked at, if it has not ended.

        :param open: how many calls there are.
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

    def due(self, now: float) -> Call | None:
        """A call that is to be looked at now, which must be planned again if it goes on; ``None``: there is no more."""
        times = self._times
        found = None
        while found is None and times and times[0][0] <= now:
            call = heappop(times)[2]
            found = None if call.finished else call
        self.next = times[0][0] if times else float("inf")
        return found
