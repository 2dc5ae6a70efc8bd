"""What waits for each service name, and which workers are ready to serve it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from enum import Enum

from pirate.wire.frontend import Request, State


class Standing(Enum):
    """Whether a worker may be given requests."""

    SERVING = "serving"
    RETIRING = "retiring"


class Worker:
    """
    A worker as the broker knows it.

    :ivar identity: its routing id.
    :ivar credit: how many requests it says that it may hold.
    :ivar room: how many it may hold now: its credit, or 1 while it holds a request that must be alone.
    :ivar concurrency: more than 1 if it executes all that it holds at the same time; otherwise it executes the first.
    :ivar services: the names that it serves.
    :ivar wantsContext: whether requests are sent to it with their context.
    :ivar plain: whether it never announced itself, and so says C{waiting} after each reply.
    :ivar began: when it began the first in its hand, on the broker's clock.
    :ivar heard: when it last gave a sign of life since then.
    :ivar probed: what it held when it was asked for a sign of life; C{None} if no answer is due.
    :ivar doomed: when it is to be stopped because a request that it executes was cancelled; infinite: it is not.
    :ivar dooms: the same for each cancelled one that it executes, by the broker's request id.
    :ivar lifetime: how many more requests it is given before it is retired; negative: no limit.
    :ivar half: the lifetime at which it will have been given half of what it had left.
    :ivar held: what it holds, by the broker's request id, in the order sent.  A plain worker
        holds its request until it says C{waiting}.
    :ivar level: its place among the L{ReadyWorkers} of its services, -1 if it is not among them.
    """

    __slots__ = (
        "began",
        "concurrency",
        "credit",
        "doomed",
        "dooms",
        "half",
        "heard",
        "held",
        "identity",
        "level",
        "lifetime",
        "plain",
        "probed",
        "room",
        "services",
        "standing",
        "wantsContext",
    )

    def __init__(self, identity: bytes, credit: int = 1, services: tuple[str, ...] = ("",)) -> None:
        self.identity = identity
        self.credit = self.room = credit
        self.concurrency = 1
        self.services = services
        self.standing = Standing.SERVING
        self.wantsContext = False
        self.plain = False
        self.lifetime = -1
        self.half = 0
        self.held: dict[bytes, Request] = {}
        self.level = -1
        self.began = self.heard = 0.0
        self.probed: list[bytes] | None = None
        self.doomed = float("inf")
        self.dooms: dict[bytes, float] = {}


class ReadyWorkers:
    """
    One service's workers with room: fewest in hand first, then least recently used.

    Each call takes the same time whatever the number of workers.
    """

    __slots__ = ("_least", "_levels")

    def __init__(self) -> None:
        self._levels: list[OrderedDict[Worker, None]] = [OrderedDict()]
        self._least = 0

    def add(self, worker: Worker, level: int) -> None:
        """Put a worker last among those that hold C{level} requests."""
        while level >= len(self._levels):
            self._levels.append(OrderedDict())
        self._levels[level][worker] = None
        if level < self._least:
            self._least = level

    def remove(self, worker: Worker, level: int) -> None:
        """Take a worker out, from the level at which it was added."""
        del self._levels[level][worker]

    def first(self) -> Worker | None:
        """The worker that is next, which stays where it is; C{None} if nobody has room."""
        levels = self._levels
        while not levels[self._least]:
            if self._least + 1 == len(levels):
                return None
            self._least += 1
        return next(iter(levels[self._least]))


class Service:
    """
    One service name.

    :ivar workers: how many serve it, ready or not.
    :ivar backlog: who waits, in order.
    :ivar dispatching: whether what waits is being given out at the moment.
    """

    __slots__ = ("backlog", "dispatching", "ready", "workers")

    def __init__(self) -> None:
        self.backlog: deque[Request] = deque()
        self.ready = ReadyWorkers()
        self.workers = 0
        self.dispatching = False

    def head(self) -> Request | None:
        """The request that is next, which stays where it is; those that are done meanwhile are dropped."""
        backlog = self.backlog
        while backlog and backlog[0].state is not State.QUEUED:
            backlog.popleft()
        return backlog[0] if backlog else None


class Services:
    """
    Every service name that is known: the unnamed one, and those that a worker serves or somebody waits for.

    :ivar waiting: how many requests wait.
    :ivar waitingBytes: the bytes of all of them.
    """

    def __init__(self) -> None:
        self._byName: dict[str, Service] = {"": Service()}
        self.get = self._byName.get
        self.waiting = 0
        self.waitingBytes = 0

    def enroll(self, worker: Worker) -> None:
        """A worker has come."""
        for name in worker.services:
            self._byName.setdefault(name, Service()).workers += 1

    def dismiss(self, worker: Worker) -> list[Service]:
        """
        A worker has gone; a name that nobody serves or waits for is forgotten.

        :return: the services that are left of those that it served.
        """
        left = []
        for name in worker.services:
            service = self._byName[name]
            service.workers -= 1
            if name and not service.workers and service.head() is None:
                del self._byName[name]
            else:
                left.append(service)
        return left

    def place(self, worker: Worker) -> None:
        """Put a worker where it belongs among the ready ones of its services, or take it out."""
        level = len(worker.held)
        if level >= worker.room or worker.standing is not Standing.SERVING:
            level = -1
        before = worker.level
        if level == before:
            return
        worker.level = level
        for name in worker.services:
            ready = self._byName[name].ready
            if before >= 0:
                ready.remove(worker, before)
            if level >= 0:
                ready.add(worker, level)

    def put(self, request: Request, now: float, front: bool = False) -> Service:
        """
        Let a request wait for its service, last or, with C{front}, first.

        :return: the service, a new one if its name has been forgotten meanwhile.
        """
        service = self._byName.get(request.service)
        if service is None:
            service = self._byName[request.service] = Service()
        request.state = State.QUEUED
        request.since = now
        self.waiting += 1
        self.waitingBytes += request.weight()
        if front:
            service.backlog.appendleft(request)
        else:
            service.backlog.append(request)
        return service

    def leave(self, request: Request) -> None:
        """A request that waited waits no more."""
        self.waiting -= 1
        self.waitingBytes -= request.weight()

    def oldest(self, worker: Worker) -> Service | None:
        """Of a worker's services, the one whose next request is the oldest; C{None} if nobody waits."""
        names = worker.services
        if len(names) == 1:
            service = self._byName[names[0]]
            return None if service.head() is None else service
        heads = [(head.id, name) for name in names if (head := self._byName[name].head())]
        return self._byName[min(heads)[1]] if heads else None

    def oldestSince(self) -> Iterator[float]:
        """Since when the next request of each service has waited."""
        return (head.since for service in self._byName.values() if (head := service.head()) is not None)

    def queued(self) -> list[Request]:
        """All that wait, service by service."""
        return [each for service in self._byName.values() for each in service.backlog if each.state is State.QUEUED]
