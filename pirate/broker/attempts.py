"""
How often a request may be tried, and which request is charged when a worker dies.

- A request that was a worker's only one when the worker died is charged an attempt.  If the worker held several and
  executed one after the other, it is not certain which one it was executing: each of them is suspected, is alone with
  its next worker, and is charged with both deaths if it takes that one down as well.
- A worker with a concurrency executes all its requests at the same time.  When it dies, or is stopped because of one of
  them, all of them are charged.
- A request that may be tried only once is alone with its worker, so that it is certain whether it has been tried.  With
  a worker that has a concurrency that is certain anyway, so there a request is alone only if it has been charged, and
  has one attempt left.
"""

from __future__ import annotations

from pirate.broker.request import Request, State
from pirate.broker.workers import WorkerRecord


class Attempts:
    """
    Counts attempts, and decides which requests must be alone with a worker.

    :param maxAttempts: how many attempts a request has, unless its client allows fewer.
    """

    __slots__ = ("maxAttempts",)

    def __init__(self, maxAttempts: int) -> None:
        self.maxAttempts = maxAttempts

    def cap(self, request: Request) -> None:
        """Cap a client's number of attempts at ours: a client may put fewer workers at risk, and not more."""
        request.maxAttempts = min(request.maxAttempts, self.maxAttempts)
        # One that was sent again may have used some.
        used = request.deaths + request.suspected
        request.alone = used > 0 or (request.maxAttempts or self.maxAttempts) == 1

    def areOver(self, request: Request) -> bool:
        """Return whether a request has used up its attempts."""
        return request.deaths >= (request.maxAttempts or self.maxAttempts)

    def mustBeAlone(self, worker: WorkerRecord, request: Request) -> bool:
        """Return whether a request must be the only one that this worker holds."""
        if worker.concurrency == 1:
            return request.alone
        charged = request.deaths + request.suspected
        return charged > 0 and charged + 1 >= (request.maxAttempts or self.maxAttempts)

    def charge(self, worker: WorkerRecord) -> None:
        """Charge a worker's death to the request that it was executing, or suspect all that it may have been."""
        if len(worker.inFlight) == 1 or worker.concurrency > 1:
            for executed in worker.inFlight.values():
                if executed.state is State.IN_FLIGHT:
                    executed.deaths += 1 + executed.suspected
                    executed.suspected = 0
        else:
            # Replies may have been lost with the worker, so even the first may have been done.
            for request in worker.inFlight.values():
                request.suspected = 1
