"""What the broker has to do at a certain time: for requests that expire, long jobs and silent workers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice

from pirate.broker.queues import WorkerRecord
from pirate.broker.request import Request, State
from pirate.settings.limits import RequestPolicy

NEVER = float("inf")
#: Requests that are given up at a time because their time is over.
MOST = 200

#: Seconds between two looks for the sake of deadlines of requests that workers hold, at least.
GRAIN = 0.01


class Deadlines:
    """
    Knows when the broker must look, and finds what is due then.

    Nothing here is done for a message but a comparison: workers are looked through only when one may be due, which is
    no more often than once in the shortest of the time limits.

    :ivar due: when to look.
    :ivar look: when workers are to be looked through.
    """

    def __init__(self, policy: RequestPolicy) -> None:
        self._policy = policy
        self._shortest = min(policy.deliveryTimeout, policy.jobTimeout or NEVER)
        self._deadlines: list[tuple[float, bytes, Request]] = []
        self._most = 1000
        self.look = NEVER
        self.due = NEVER

    def began(self, now: float) -> None:
        """A worker has begun a job."""
        if self.look == NEVER:
            self.note(now + self._shortest)

    def note(self, time: float) -> None:
        """Workers are to be looked through at this time, if not before."""
        if time < self.look:
            self.look = time
            self._reckon()

    def waits(self, request: Request) -> None:
        """A request waits, and may have a deadline."""
        if request.deadline != NEVER:
            heappush(self._deadlines, (request.deadline, request.id, request))
            if len(self._deadlines) > self._most:
                self._prune()
            if request.deadline < self.due:
                self._reckon()

    def _prune(self) -> None:
        """Forget the requests that wait no more."""
        self._deadlines = [entry for entry in self._deadlines if entry[2].state is State.QUEUED]
        heapify(self._deadlines)
        self._most = max(len(self._deadlines) * 2, 1000)

    def expired(self, now: float, most: int = MOST) -> Iterator[Request]:
        """
        Requests that have waited too long.

        :param most: how many, at most; if there are more, the next look is due at once.
        """
        deadlines = self._deadlines
        left = most
        while left and deadlines and (deadlines[0][0] <= now or deadlines[0][2].state is not State.QUEUED):
            request = heappop(deadlines)[2]
            if request.state is State.QUEUED:
                left -= 1
                yield request
        self._reckon()

    def overdue(self, workers: Collection[WorkerRecord], now: float) -> list[tuple[WorkerRecord, str]]:
        """The workers that are to be stopped, and why."""
        found = []
        limit = self._policy.jobTimeout or NEVER
        if now >= self.look:
            for worker in workers:
                if worker.inFlight and worker.began + limit <= now:
                    found.append((worker, f"the job took longer than {limit:g} seconds"))
                elif worker.killAt <= now:
                    found.append((worker, "a cancelled job did not end"))
        return found

    def overtaken(self, workers: Collection[WorkerRecord], now: float) -> list[tuple[WorkerRecord, Request]]:
        """
        Return the requests whose time is over while another is being executed by the worker that holds them.

        A worker with a concurrency executes all that it holds, and a plain one holds one.
        """
        if now < self.look:
            return []
        return [
            (worker, request)
            for worker in workers
            for request in _behind(worker)
            if request.deadline <= now and request.state is State.IN_FLIGHT
        ]

    def late(self, worker: WorkerRecord, now: float) -> list[Request]:
        """Of what an overdue worker holds, what it has begun too long ago: the first, or as many as it executes."""
        if worker.concurrency == 1:
            return [next(iter(worker.inFlight.values()))]
        limit = self._policy.jobTimeout or NEVER
        return [request for request in worker.inFlight.values() if request.since + limit <= now]

    def silent(self, workers: Collection[WorkerRecord], now: float) -> list[WorkerRecord]:
        """The workers that have held something for long without a sign of life; those that can answer are asked."""
        if now < self.look:
            return []
        found = []
        look = NEVER
        for worker in workers:
            if not worker.inFlight:
                continue
            look = min(look, worker.began + (self._policy.jobTimeout or NEVER), worker.killAt)
            for request in _behind(worker):
                # Not each deadline is worth a look of its own.
                if request.deadline < look and request.state is State.IN_FLIGHT:
                    look = max(request.deadline, now + GRAIN)
            if worker.plain:
                continue
            if worker.heard + self._policy.deliveryTimeout <= now:
                found.append(worker)
                look = min(look, now + self._policy.deliveryTimeout)
            else:
                look = min(look, worker.heard + self._policy.deliveryTimeout)
        self.look = max(look, now)
        self._reckon()
        return found

    def _reckon(self) -> None:
        self.due = min(self.look, self._deadlines[0][0] if self._deadlines else NEVER)


def _behind(worker: WorkerRecord) -> Iterator[Request]:
    """What a worker holds and does not execute yet: all but the first, if it executes one after the other."""
    if len(worker.inFlight) > 1 and worker.concurrency == 1:
        yield from islice(worker.inFlight.values(), 1, None)
