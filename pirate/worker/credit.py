"""The adaptive credit: how many requests a worker may hold, by how long its jobs take."""

from __future__ import annotations

from pirate.wire.words import MAX_CREDIT

#: Seconds of work that a worker may hold: about what waiting for the network costs.
TARGET = 0.001
#: The weight of one shorter duration in the moving average.
DECAY = 1 / 64
#: The estimate, in seconds, above which the credit depends on how steady the durations are.
_SHORT = TARGET / 2
#: The longest job, in seconds, behind which another request may wait.
LONGEST = 0.010
#: How many durations in a row must differ by no more than a factor of :data:`SPREAD` to count as steady.
STEADY, SPREAD = 32, 2.0


class Credit:
    """
    The credit of a worker, measured.

    The estimate of a job's duration rises to a longer duration at once and falls to shorter ones slowly, so the slow
    side of recent durations counts.  It starts at :data:`TARGET`, which gives a credit of 1.

    - Jobs far shorter than :data:`TARGET` earn a credit of as many requests as fit into it.
    - Jobs of up to :data:`LONGEST` earn a credit of 2 once their durations are steady, so that the worker does not wait
      for the broker between two of them.
    - Longer or unsteady jobs earn a credit of 1, so that no request waits behind them.

    :ivar announced: the credit that the broker was last told.
    """

    __slots__ = ("_estimate", "_steady", "announced")

    def __init__(self) -> None:
        self._estimate = TARGET
        self._steady = 0
        self.announced = 1

    def note(self, duration: float) -> bool:
        """
        Note the duration of a job, in seconds.

        :return: whether to announce :attr:`earned`: a lower credit at once, a higher one when it is at least doubled.
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
        """The credit that the durations noted so far have earned, 1 to 64."""
        if self._estimate <= _SHORT:
            return min(max(int(TARGET / self._estimate), 1), MAX_CREDIT)
        return 2 if self._steady >= STEADY and self._estimate <= LONGEST else 1
