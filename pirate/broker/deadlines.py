"""The broker's time, and what is due at a time: requests expire, jobs take too long, workers are silent."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice

from pirate.broker.request import NEVER, Request, State
from pirate.broker.workers import WorkerRecord
from pirate.settings.limits import RequestPolicy

#: Requests that expire in one turn, at most.
MAX_EXPIRED = 200

#: Seconds between two searches, at least, that are due only because of requests that wait in a worker.
MIN_SEARCH_INTERVAL = 0.01


class Deadlines:
    """
    The time, and the deadlines of requests and workers.

    A message costs no more here than a comparison.  The workers are searched only when one may be overdue: at most once
    per shortest time limit, or every ``MIN_SEARCH_INTERVAL`` seconds while deadlines of requests that wait in a worker
    pass.

    :ivar now: the time of the current turn in seconds, on a clock that does not go back.
    :ivar due: when there is something to do.
    :ivar nextScan: when to search the workers.
    """

    def __init__(self, policy: RequestPolicy) -> None:
        self._jobTimeout = policy.jobTimeout or NEVER
        self._deliveryTimeout = policy.deliveryTimeout
        self._cancelGrace = policy.cancelGrace
        self._heap: list[tuple[float, bytes, Request]] = []
        self._pruneAt = 1000
        self.now = 0.0
        self.nextScan = NEVER
        self.due = NEVER

    # --- notes

    def jobBegan(self) -> None:
        """Schedule a search, because a worker has begun a job.  Needed only if no search is scheduled."""
        self.scanBy(self.now + min(self._deliveryTimeout, self._jobTimeout))

    def scanBy(self, time: float) -> None:
        """Have the workers searched at this time at the latest."""
        if time < self.nextScan:
            self.nextScan = time
            self._schedule()

    def requestWaits(self, request: Request) -> None:
        """Note the deadline of a request that begins to wait."""
        heappush(self._heap, (request.deadline, request.brokerId, request))
        if len(self._heap) > self._pruneAt:
            self._prune()
        if request.deadline < self.due:
            self._schedule()

    def _prune(self) -> None:
        """Remove the requests that no longer wait."""
        self._heap = [entry for entry in self._heap if entry[2].state is State.QUEUED]
        heapify(self._heap)
        self._pruneAt = max(len(self._heap) * 2, 1000)

    # --- cancelled requests

    def requestCancelled(self, worker: WorkerRecord, request: Request) -> None:
        """Have a worker stopped if it goes on with a cancelled request for too long."""
        if self._cancelGrace:
            worker.killDeadlines[request.brokerId] = deadline = self.now + self._cancelGrace
            worker.killAt = min(worker.killAt, deadline)
            self.scanBy(deadline)

    def inFlightChanged(self, worker: WorkerRecord, gone: Collection[bytes]) -> None:
        """
        Update what a worker executes after some of its requests have ended or moved.

        :param gone: the broker's ids of those requests.
        """
        first = next(iter(worker.inFlight.values()))
        if worker.killDeadlines:
            for each in gone:
                worker.killDeadlines.pop(each, None)
            worker.killAt = min(worker.killDeadlines.values(), default=NEVER)
        if worker.concurrency > 1:
            worker.began = first.since
        elif first.state is State.DONE and first.brokerId not in worker.killDeadlines:
            # It was cancelled while another was being executed.
            self.requestCancelled(worker, first)

    # --- what is due

    def takeExpired(self, most: int = MAX_EXPIRED) -> Iterator[Request]:
        """
        Remove and return requests that have waited too long.

        :param most: how many, at most; if there are more, the rest is due at once.
        """
        heap = self._heap
        left = most
        while left and heap and (heap[0][0] <= self.now or heap[0][2].state is not State.QUEUED):
            request = heappop(heap)[2]
            if request.state is State.QUEUED:
                left -= 1
                yield request
        self._schedule()

    def expiredInWorkers(self, workers: Collection[WorkerRecord]) -> list[tuple[WorkerRecord, Request]]:
        """
        Return the requests whose deadline has passed while their worker was executing another.

        A worker with a concurrency executes all its requests at once, and a plain worker has only one.
        """
        if self.now < self.nextScan:
            return []
        return [
            (worker, request)
            for worker in workers
            for request in _notBegun(worker)
            if request.deadline <= self.now and request.state is State.IN_FLIGHT
        ]

    def overdue(self, workers: Collection[WorkerRecord]) -> list[tuple[WorkerRecord, str]]:
        """Return the workers that have to be stopped, and why."""
        found = []
        if self.now >= self.nextScan:
            for worker in workers:
                if worker.inFlight and worker.began + self._jobTimeout <= self.now:
                    found.append((worker, f"the job took longer than {self._jobTimeout:g} seconds"))
                elif worker.killAt <= self.now:
                    found.append((worker, "a cancelled job did not end"))
        return found

    def overlong(self, worker: WorkerRecord) -> list[Request]:
        """Return the requests that an overdue worker has been executing for too long."""
        if worker.concurrency == 1:
            return [next(iter(worker.inFlight.values()))]
        return [request for request in worker.inFlight.values() if request.since + self._jobTimeout <= self.now]

    def endScan(self, workers: Collection[WorkerRecord]) -> list[WorkerRecord]:
        """
        Schedule the next search, and return the workers that have held a request for long without sending anything.

        Call this last in a search.
        """
        now = self.now
        if now < self.nextScan:
            return []
        found = []
        soonest = NEVER
        for worker in workers:
            if not worker.inFlight:
                continue
            soonest = min(soonest, worker.began + self._jobTimeout, worker.killAt)
            for request in _notBegun(worker):
                # Not each deadline is worth a search of its own.
                if request.deadline < soonest and request.state is State.IN_FLIGHT:
                    soonest = max(request.deadline, now + MIN_SEARCH_INTERVAL)
            if worker.plain:
                continue
            if worker.heard + self._deliveryTimeout <= now:
                found.append(worker)
                soonest = min(soonest, now + self._deliveryTimeout)
            else:
                soonest = min(soonest, worker.heard + self._deliveryTimeout)
        self.nextScan = max(soonest, now)
        self._schedule()
        return found

    def _schedule(self) -> None:
        self.due = min(self.nextScan, self._heap[0][0] if self._heap else NEVER)


def _notBegun(worker: WorkerRecord) -> Iterator[Request]:
    """Yield the requests that a worker holds but has not begun: all but the first, unless it executes all at once."""
    if len(worker.inFlight) > 1 and worker.concurrency == 1:
        yield from islice(worker.inFlight.values(), 1, None)
