"""How many requests a worker may hold, from how long its jobs take."""

from __future__ import annotations

from pirate.wire.words import MAX_CREDIT

#: Seconds of work that a worker may hold: about what it costs to wait for the network.
TARGET = 0.001
#: The share of the way to a shorter duration that one short job moves the estimate.
DECAY = 1 / 64
#: An estimate above which the credit depends on how steady the durations are.
_SHORT = TARGET / 2
#: Seconds that a job may take at most for another to be sent after it.
LONGEST = 0.010
#: Durations in a row that must not differ by more than :data:`SPREAD` times before they count as steady.
STEADY, SPREAD = 32, 2.0


class Credit:
    """
    Measures a worker's credit.

    The estimate of a job's duration follows a longer job at once and shorter ones slowly, so it is the slow side of
    the recent durations that counts.  It starts at :data:`TARGET`, which is a credit of 1.

    - Jobs far shorter than :data:`TARGET` earn as many requests as fit into it.
    - Jobs of up to :data:`LONGEST` earn 2 once their durations are steady, so that their worker does not wait for the
      broker between two of them.
    - Behind longer jobs, or unsteady ones, no request waits: the credit is 1.

    :ivar announced: the credit that the broker knows.
    """

    __slots__ = ("_estimate", "_steady", "announced")

    def __init__(self) -> None:
        self._estimate = TARGET
        self._steady = 0
        self.announced = 1

    def note(self, duration: float) -> bool:
        """
        Note that a job has taken so many seconds.

        :return: whether the credit that the broker knows should be changed to :attr:`earned`: at once when it falls,
            and when it rises only to at least the double.
        """
        estimate = self._estimate
        if duration < estimate:
            self._estimate = shorter = estimate + (duration - estimate) * DECAY
            if shorter <= _SHORT:
                return self.announced * 2 * shorter <= TARGET and self.announced < MAX_CREDIT
            steady = duration * SPREAD >= estimate
        else:
            self._estimate = duration
            if duration <= _SHORT:
                return self.earned < self.announced
            steady = duration <= estimate * SPREAD
        self._steady = self._steady + 1 if steady else 0
        earned = self.earned
        return earned < self.announced or earned >= 2 * self.announced

    @property
    def earned(self) -> int:
        """The credit that the durations so far have earned, 1 to 64."""
        if self._estimate <= _SHORT:
            return min(max(int(TARGET / self._estimate), 1), MAX_CREDIT)
        return 2 if self._steady >= STEADY and self._estimate <= LONGEST else 1
