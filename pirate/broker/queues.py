"""What waits for each service name, and which workers are ready to serve it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from enum import Enum

from pirate.broker.request import Request, State

#: Empty queues, and requests that wait no more, of which notes are kept at least before they are looked for.
FEW = 500


class Standing(Enum):
    """Whether a worker may be given requests."""

    SERVING = "serving"
    RETIRING = "retiring"


class WorkerRecord:
    """
    A worker as the broker knows it.

    :ivar identity: its routing id.
    :ivar credit: how many requests it says that it may hold.
    :ivar capacity: how many it may hold now: its credit, or 1 while it holds a request that must be alone.
    :ivar concurrency: more than 1 if it executes all that it holds at the same time; otherwise it executes the first.
    :ivar services: the names that it serves.
    :ivar wantsContext: whether requests are sent to it with their context.
    :ivar plain: whether it never announced itself, and so says ``waiting`` after each reply.
    :ivar began: when it began the first in its hand, on the broker's clock.
    :ivar heard: when it last gave a sign of life since then.
    :ivar probed: what it held when it was asked for a sign of life; ``None`` if no answer is due.
    :ivar killAt: when it is to be stopped because a request that it executes was cancelled; infinite: it is not.
    :ivar killDeadlines: the same for each cancelled one that it executes, by the broker's request id.
    :ivar lifetime: how many more requests it is given before it is retired; negative: no limit.
    :ivar half: the lifetime at which it will have been given half of what it had left.
    :ivar inFlight: what it holds, by the broker's request id, in the order sent.  A plain worker
        holds its request until it says ``waiting``.
    :ivar level: its place among the :class:`ReadyWorkers` of its services, -1 if it is not among them.
    """

    __slots__ = (
        "began",
        "capacity",
        "concurrency",
        "credit",
        "half",
        "heard",
        "identity",
        "inFlight",
        "killAt",
        "killDeadlines",
        "level",
        "lifetime",
        "plain",
        "probed",
        "services",
        "standing",
        "wantsContext",
    )

    def __init__(self, identity: bytes, credit: int = 1, services: tuple[str, ...] = ("",)) -> None:
        self.identity = identity
        self.credit = self.capacity = credit
        self.concurrency = 1
        self.services = services
        self.standing = Standing.SERVING
        self.wantsContext = False
        self.plain = False
        self.lifetime = -1
        self.half = 0
        self.inFlight: dict[bytes, Request] = {}
        self.level = -1
        self.began = self.heard = 0.0
        self.probed: list[bytes] | None = None
        self.killAt = float("inf")
        self.killDeadlines: dict[bytes, float] = {}


class ReadyWorkers:
    """
    One service's workers with room: fewest in hand first, then least recently used.

    Each call takes the same time whatever the number of workers.
    """

    __slots__ = ("_least", "_levels")

    def __init__(self) -> None:
        self._levels: list[OrderedDict[WorkerRecord, None]] = [OrderedDict()]
        self._least = 0

    def add(self, worker: WorkerRecord, level: int) -> None:
        """Put a worker last among those that hold ``level`` requests."""
        while level >= len(self._levels):
            self._levels.append(OrderedDict())
        self._levels[level][worker] = None
        if level < self._least:
            self._least = level

    def remove(self, worker: WorkerRecord, level: int) -> None:
        """Take a worker out, from the level at which it was added."""
        del self._levels[level][worker]

    def first(self) -> WorkerRecord | None:
        """The worker that is next, which stays where it is; ``None`` if nobody has room."""
        levels = self._levels
        while not levels[self._least]:
            if self._least + 1 == len(levels):
                return None
            self._least += 1
        return next(iter(levels[self._least]))


class Share:
    """
    What one client has waiting, for all services together.

    :ivar waiting: how many requests.
    :ivar bytes: the bytes of all of them.
    :ivar over: whether it has more than its share of the backlog, and is counted among those that have.
    """

    __slots__ = ("bytes", "over", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.bytes = 0
        self.over = False


class ClientQueue:
    """
    One client's requests that wait for one service.

    :ivar share: what it has waiting altogether.
    :ivar first: the request that is next, or was until it was given up; ``None``: it has no place in the ring.
    :ivar rest: those behind it, in order; ``None`` until there is one.
    """

    __slots__ = ("first", "rest", "share")

    def __init__(self, share: Share) -> None:
        self.share = share
        self.first: Request | None = None
        self.rest: deque[Request] | None = None

    def prune(self) -> None:
        """Forget the requests behind the first that wait no more."""
        self.rest = deque(each for each in self.rest or () if each.state is State.QUEUED)


class Service:
    """
    One service name.

    :ivar workers: how many serve it, ready or not.
    :ivar returned: requests whose worker was lost; they are served first.
    :ivar ring: the queues of the clients that have something waiting, each of which is served one request in turn.
    :ivar queues: the same by client, and some empty ones.
    :ivar served: the higher, the later it had its turn with a worker of several services.
    :ivar dispatching: whether what waits is being given out at the moment.
    """

    __slots__ = ("dispatching", "queues", "ready", "returned", "ring", "served", "workers")

    def __init__(self) -> None:
        self.returned: deque[Request] = deque()
        self.ring: deque[ClientQueue] = deque()
        self.queues: dict[bytes | str, ClientQueue] = {}
        self.ready = ReadyWorkers()
        self.workers = 0
        self.served = 0
        self.dispatching = False

    def head(self) -> Request | None:
        """Return the request that is next, which stays where it is; those that are done meanwhile are dropped."""
        returned = self.returned
        while returned:
            if returned[0].state is State.QUEUED:
                return returned[0]
            returned.popleft()
        ring = self.ring
        while ring:
            queue = ring[0]
            first = queue.first
            if first is not None and first.state is State.QUEUED:
                return first
            # The client keeps its turn for its next request.
            if queue.rest:
                queue.first = queue.rest.popleft()
            else:
                queue.first = None
                ring.popleft()
        return None

    def skipHead(self) -> None:
        """Pass over the request that is next, although it waits; its client keeps its turn."""
        if self.returned:
            self.returned.popleft()
            return
        queue = self.ring[0]
        if queue.rest:
            queue.first = queue.rest.popleft()
        else:
            queue.first = None
            self.ring.popleft()

    def queued(self) -> Iterator[Request]:
        """Return all that wait."""
        for each in self.returned:
            if each.state is State.QUEUED:
                yield each
        for queue in self.ring:
            for request in (queue.first, *(queue.rest or ())):
                if request is not None and request.state is State.QUEUED:
                    yield request

    def forget(self) -> None:
        """Drop what does not wait any more, and the queues that are empty then."""
        for queue in self.ring:
            if queue.rest:
                queue.prune()
            if queue.first is not None and queue.first.state is not State.QUEUED:
                queue.first = queue.rest.popleft() if queue.rest else None
        left = [queue for queue in self.ring if queue.first is not None]
        self.ring.clear()
        self.ring.extend(left)
        self.queues = {
            client: queue for client, queue in self.queues.items() if queue.first is not None or queue.share.waiting
        }


class Services:
    """
    Every service name that is known: the unnamed one, and those that a worker serves or somebody waits for.

    Within a service, the clients that have something waiting are served in turn, one request each.  Each call takes the
    same time whatever their number.  A client is the user that it proved to be, and else its routing id, which is that
    of one connection.

    :param most: how many requests of one client may wait before it has more than its share.
    :param mostBytes: the same in bytes.
    :ivar waiting: how many requests wait.
    :ivar waitingBytes: the bytes of all of them.
    :ivar over: how many clients have more than their share.
    """

    def __init__(self, most: int = 1 << 62, mostBytes: int = 1 << 62) -> None:
        self.most = most
        self.mostBytes = mostBytes
        self._byName: dict[str, Service] = {"": Service()}
        self.get = self._byName.get
        self.waiting = 0
        self.waitingBytes = 0
        self.over = 0
        self._shares: dict[bytes | str, Share] = {}
        self._served = 0
        self._known = 0
        self._mostKnown = FEW

    def enroll(self, worker: WorkerRecord) -> None:
        """A worker has come."""
        for name in worker.services:
            self._byName.setdefault(name, Service()).workers += 1

    def dismiss(self, worker: WorkerRecord) -> list[Service]:
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

    def place(self, worker: WorkerRecord) -> None:
        """Put a worker where it belongs among the ready ones of its services, or take it out."""
        level = len(worker.inFlight)
        if level >= worker.capacity or worker.standing is not Standing.SERVING:
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
        Let a request wait for its service, last or, with ``front``, first.

        :return: the service, a new one if its name has been forgotten meanwhile.
        """
        service = self._byName.get(request.service)
        if service is None:
            service = self._byName[request.service] = Service()
        request.state = State.QUEUED
        request.since = now
        client = request.user or request.route[0]
        queue = service.queues.get(client)
        if queue is None:
            queue = self._enter(service, client)
        request.share = share = queue.share
        request.waitingBytes = weight = request.weight()
        self.waiting += 1
        self.waitingBytes += weight
        share.waiting += 1
        share.bytes += weight
        if front:
            service.returned.appendleft(request)
        elif queue.first is None:
            queue.first = request
            service.ring.append(queue)
        elif queue.rest is None:
            queue.rest = deque((request,))
        else:
            queue.rest.append(request)
            if len(queue.rest) > 2 * share.waiting + FEW:
                queue.prune()
        return service

    def leave(self, request: Request, head: Service | None = None) -> None:
        """
        A request that waited waits no more.

        :param head: the service whose next request it is, from which it is removed; its client has its next turn after
            all others.
        """
        if head is not None:
            if head.returned:
                head.returned.popleft()
            else:
                queue = head.ring.popleft()
                if queue.rest:
                    queue.first = queue.rest.popleft()
                    head.ring.append(queue)
                else:
                    queue.first = None
        weight = request.waitingBytes
        self.waiting -= 1
        self.waitingBytes -= weight
        share = request.share
        share.waiting -= 1
        share.bytes -= weight
        if share.over and share.waiting <= self.most and share.bytes <= self.mostBytes:
            share.over = False
            self.over -= 1

    def note(self, share: Share) -> None:
        """A client has more than its share."""
        if not share.over:
            share.over = True
            self.over += 1

    def _enter(self, service: Service, client: bytes | str) -> ClientQueue:
        """A client has something waiting that has not lately had."""
        if self._known >= self._mostKnown:
            for each in self._byName.values():
                each.forget()
            kept = [item for each in self._byName.values() for item in each.queues.items()]
            self._shares = {client: queue.share for client, queue in kept}
            self._known = len(kept)
            self._mostKnown = 2 * len(kept) + FEW
        share = self._shares.get(client)
        if share is None:
            share = self._shares[client] = Share()
        queue = service.queues[client] = ClientQueue(share)
        self._known += 1
        return queue

    def nextFor(self, worker: WorkerRecord) -> Service | None:
        """Return the one of a worker's services that it serves next: they take turns; ``None`` if nothing waits."""
        names = worker.services
        if len(names) == 1:
            service = self._byName[names[0]]
            return None if service.head() is None else service
        waiting = [service for name in names if (service := self._byName[name]).head() is not None]
        if not waiting:
            return None
        service = min(waiting, key=lambda each: each.served)
        self._served += 1
        service.served = self._served
        return service

    def oldestSince(self) -> Iterator[float]:
        """Since when the next request of each service has waited."""
        return (head.since for service in self._byName.values() if (head := service.head()) is not None)

    def queued(self) -> list[Request]:
        """All that wait, service by service."""
        return [each for service in self._byName.values() for each in service.queued()]
