"""How many requests a worker may hold, from how long its jobs take."""

from __future__ import annotations

from pirate.wire.words import MAX_CREDIT

#: Seconds of work that a worker may hold: about what it costs to wait for the network.
TARGET = 0.001
#: The share of the way to a shorter duration that one short job moves the estimate.
DECAY = 1 / 64


class Credit:
    """
    A worker's credit, measured.

    The estimate of a job's duration follows a longer job at once and shorter ones slowly, so it is the slow side of
    the recent durations that counts.  It starts at L{TARGET}, which is a credit of 1.

    :ivar announced: the credit that the broker knows.
    """

    __slots__ = ("_estimate", "announced")

    def __init__(self) -> None:
        self._estimate = TARGET
        self.announced = 1

    def note(self, duration: float) -> bool:
        """
        A job has taken so many seconds.

        :return: whether the credit that the broker knows should be changed to L{earned}: at once when it falls, and
            when it rises only to at least the double.
        """
        estimate = self._estimate
        if duration >= estimate:
            self._estimate = duration
            return self.announced > 1 and self.earned < self.announced
        self._estimate = estimate = estimate + (duration - estimate) * DECAY
        return self.announced * 2 * estimate <= TARGET and self.announced < MAX_CREDIT

    @property
    def earned(self) -> int:
        """What the credit should be, 1 to 64."""
        return min(max(int(TARGET / self._estimate), 1), MAX_CREDIT)
