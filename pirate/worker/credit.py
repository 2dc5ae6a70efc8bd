"""The adaptive credit: how many requests a worker may hold, by how long its jobs take."""

from __future__ import annotations

from collections.abc import Callable

from pirate.wire.words import MAX_CREDIT

#: Seconds of work that a worker may hold: about what waiting for the network costs.
TARGET = 0.001
#: The weights in the moving average of one shorter duration, and of one longer that is still short.
DECAY, RISE = 1 / 64, 1 / 16
#: The estimate, in seconds, above which the credit depends on how steady the durations are.
_SHORT = TARGET / 2
#: The estimate that earns the highest credit, in seconds.
_HIGHEST = TARGET / MAX_CREDIT
#: A duration of so many seconds that is more than :data:`SPREAD` times the estimate is examined.
JUMP = 0.00005
#: The longest job, in seconds, behind which another request may wait: 10 ms, and what a clock or a timer adds to them.
LONGEST = 0.0125
#: How many durations in a row must differ by no more than a factor of :data:`SPREAD` to count as steady.
STEADY, SPREAD = 32, 2.0


def _neverDelayed() -> float:
    """Return 0: how long the thread has waited for a processor is not known."""
    return 0.0


class Credit:
    """
    The credit of a worker, measured.

    The estimate of a job's duration rises quickly to longer durations, at once to those that are not short, and falls
    to shorter ones slowly, so the slow side of recent durations counts.  It starts at :data:`TARGET`, which gives a
    credit of 1.

    - Jobs far shorter than :data:`TARGET` earn a credit of as many requests as fit into it.
    - Jobs of up to :data:`LONGEST` earn a credit of 2 once their durations are steady, so that the worker does not wait
      for the broker between two of them.
    - Longer or unsteady jobs earn a credit of 1, so that no request waits behind them.

    Being preempted is not working long: where a duration jumps, the time that the thread was ready to run and had no
    processor is subtracted.  Only the kernel's own account of that can tell it from a job that sleeps, which counts by
    the clock on the wall: the thread's CPU time omits both.

    :param delay: returns for how many seconds the thread has waited for a processor since the job, or some job shortly
        before it, began.
    :ivar announced: the credit that the broker was last told.
    """

    __slots__ = ("_delay", "_estimate", "_steady", "announced")

    def __init__(self, delay: Callable[[], float] = _neverDelayed) -> None:
        self._delay = delay
        self._estimate = TARGET
        self._steady = 0
        self.announced = 1

    def note(self, duration: float) -> bool:
        """
        Note the duration of a job, in seconds.

        :return: whether to announce :attr:`earned`: a much lower credit at once, a higher one when it is at least
            doubled, or the highest.
        """
        estimate = self._estimate
        if duration > JUMP and (duration > estimate * SPREAD or duration > LONGEST >= estimate):
            duration = max(duration - self._delay(), 0.0)
        if duration < estimate:
            self._estimate = shorter = estimate + (duration - estimate) * DECAY
            if shorter <= _SHORT:
                announced = self.announced
                return announced < MAX_CREDIT and (announced * 2 * shorter <= TARGET or shorter <= _HIGHEST)
            steady = duration * SPREAD >= estimate
        else:
            if duration <= _SHORT:
                self._estimate = estimate + (duration - estimate) * RISE
                # A little less is not worth a message, and might come and go.
                return self.earned * 4 < self.announced * 3
            self._estimate = duration
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
