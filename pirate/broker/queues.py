"""The queues of requests that wait, and the workers that are ready, by service name."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from pirate.broker.request import Request, State
from pirate.broker.workers import ReadyWorkers, Standing, WorkerRecord
from pirate.wire.words import PACKED_SIZE

#: How many empty queues, or requests that no longer wait, may be left before they are searched for and removed.
PRUNE_AT = 500


class ClientUsage:
    """
    What one client has waiting, for all services together: its share of the backlog.

    :ivar waiting: how many requests.
    :ivar bytes: the bytes of all of them.
    :ivar over: whether the client is counted among those that have more than their share.
    """

    __slots__ = ("bytes", "over", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.bytes = 0
        self.over = False


class ClientQueue:
    """
    The requests of one client that wait for one service.

    :ivar share: what the client has waiting altogether.
    :ivar first: the next request; it may have ended since.  ``None``: the queue is not in the ring.
    :ivar rest: the requests behind it, in order; ``None`` until there is one.
    """

    __slots__ = ("first", "rest", "share")

    def __init__(self, share: ClientUsage) -> None:
        self.share = share
        self.first: Request | None = None
        self.rest: deque[Request] | None = None

    def prune(self) -> None:
        """Remove the requests behind the first that no longer wait."""
        self.rest = deque(each for each in self.rest or () if each.state is State.QUEUED)


class Service:
    """
    The queues and the ready workers of one service name.

    :ivar workers: how many workers serve it, ready or not.
    :ivar returned: requests whose worker was lost; they are served first.
    :ivar ring: the queues of the clients that have a request waiting, which are served one request each in turn.
    :ivar queues: the same by client, and some empty ones.
    :ivar served: when a multi-service worker last served it, as a sequence number.
    :ivar dispatching: whether its requests are being given to workers at the moment.
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
        """Return the request that is next, which stays where it is; remove those before it that no longer wait."""
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
        """Remove the request that is next from its queue, although it waits; its client keeps its turn."""
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
        """Return all requests that wait."""
        for each in self.returned:
            if each.state is State.QUEUED:
                yield each
        for queue in self.ring:
            for request in (queue.first, *(queue.rest or ())):
                if request is not None and request.state is State.QUEUED:
                    yield request

    def prune(self) -> None:
        """Remove the requests that no longer wait, and the queues that are empty then."""
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


class Queues:
    """
    The services, with the requests that wait for each.

    A service is kept while a worker serves it or a request waits for it; the unnamed one always is.

    Within a service, the clients that have a request waiting are served in turn, one request each.  Each call takes the
    same time whatever their number.  A client is the user that it has proved to be, or else its routing id, which
    belongs to one connection.

    :param maxPerClient: how many requests of one client may wait before it has more than its share.
    :param maxBytesPerClient: the same in bytes.
    :ivar services: the services by name.
    :ivar waiting: how many requests wait.
    :ivar waitingBytes: the bytes of all of them.
    :ivar over: how many clients have more than their share.
    """

    def __init__(self, maxPerClient: int = 1 << 62, maxBytesPerClient: int = 1 << 62) -> None:
        self.maxPerClient = maxPerClient
        self.maxBytesPerClient = maxBytesPerClient
        self.services: dict[str, Service] = {"": Service()}
        self.waiting = 0
        self.waitingBytes = 0
        self.over = 0
        self._shares: dict[bytes | str, ClientUsage] = {}
        self._served = 0
        self._known = 0
        self._pruneAt = PRUNE_AT

    def addWorker(self, worker: WorkerRecord) -> None:
        """Add a worker to the services that it serves."""
        for name in worker.services:
            self.services.setdefault(name, Service()).workers += 1

    def removeWorker(self, worker: WorkerRecord) -> list[Service]:
        """
        Remove a worker from its services, and each service that has neither a worker nor a request then.

        :return: the services that are left of those that the worker served.
        """
        left = []
        for name in worker.services:
            service = self.services[name]
            service.workers -= 1
            if name and not service.workers and service.head() is None:
                del self.services[name]
            else:
                left.append(service)
        return left

    def place(self, worker: WorkerRecord) -> None:
        """Put a worker where it belongs among the ready ones of its services, or remove it."""
        level = len(worker.inFlight)
        if level >= worker.capacity or worker.standing is not Standing.SERVING:
            level = -1
        before = worker.level
        if level == before:
            return
        worker.level = level
        for name in worker.services:
            ready = self.services[name].ready
            if before >= 0:
                ready.remove(worker, before)
            if level >= 0:
                ready.add(worker, level)

    def put(self, request: Request, now: float, front: bool = False) -> Service:
        """
        Queue a request for its service, last or, with ``front``, first.

        :return: the service, which is a new one if it had been removed.
        """
        service = self.services.get(request.service)
        if service is None:
            service = self.services[request.service] = Service()
        request.state = State.QUEUED
        request.since = now
        client = request.user or request.route[0]
        queue = service.queues.get(client)
        if queue is None:
            queue = self._makeQueue(service, client)
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
            if len(queue.rest) > 2 * share.waiting + PRUNE_AT:
                queue.prune()
        return service

    def leave(self, request: Request, head: Service | None = None) -> None:
        """
        Note that a request no longer waits.

        :param head: the service, if the request is its next one: it is removed from its queue, and its client has its
            next turn after all others.  ``None``: the request stays in its queue, and is skipped when it would be next.
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
        assert share is not None, "it has waited"
        share.waiting -= 1
        share.bytes -= weight
        if share.over and share.waiting <= self.maxPerClient and share.bytes <= self.maxBytesPerClient:
            share.over = False
            self.over -= 1

    def takeSmall(self, service: Service, most: int, now: float) -> list[Request]:
        """
        Remove requests that may be packed from a queue, as many as are next, up to a number.

        This does what :meth:`Service.head` and :meth:`leave` do, without a call for each request.

        :return: the requests, in order; none if the next one is large, must be alone, or has expired.
        """
        taken: list[Request] = []
        ring = service.ring
        while ring and len(taken) < most and not service.returned:
            queue = ring[0]
            request, rest = queue.first, queue.rest
            if request is None or request.state is not State.QUEUED:
                # The client keeps its turn for its next request.
                queue.first = rest.popleft() if rest else None
                if queue.first is None:
                    ring.popleft()
                continue
            body = request.body
            if request.alone or request.deadline <= now or len(body) != 1 or len(body[0]) > PACKED_SIZE:
                break
            ring.popleft()
            if rest:
                queue.first = rest.popleft()
                ring.append(queue)
            else:
                queue.first = None
            taken.append(request)
            share, weight = queue.share, request.waitingBytes
            self.waiting -= 1
            self.waitingBytes -= weight
            share.waiting -= 1
            share.bytes -= weight
            if share.over and share.waiting <= self.maxPerClient and share.bytes <= self.maxBytesPerClient:
                share.over = False
                self.over -= 1
        return taken

    def takeBack(self, request: Request) -> None:
        """
        Remove a request that was just queued last, and is about to be given up, from its queue.

        It could stay until it would be next, but then refused requests would need memory meanwhile.
        """
        service = self.services[request.service]
        queue = service.queues[request.user or request.route[0]]
        if queue.rest:
            if queue.rest[-1] is request:
                queue.rest.pop()
        elif queue.first is request and service.ring[-1] is queue:
            queue.first = None
            service.ring.pop()

    def noteOver(self, share: ClientUsage) -> None:
        """Count a client as one that has more than its share."""
        if not share.over:
            share.over = True
            self.over += 1

    def _makeQueue(self, service: Service, client: bytes | str) -> ClientQueue:
        """Make a queue for a client that has none for this service."""
        if self._known >= self._pruneAt:
            for each in self.services.values():
                each.prune()
            kept = [item for each in self.services.values() for item in each.queues.items()]
            self._shares = {client: queue.share for client, queue in kept}
            self._known = len(kept)
            self._pruneAt = 2 * len(kept) + PRUNE_AT
        share = self._shares.get(client)
        if share is None:
            share = self._shares[client] = ClientUsage()
        queue = service.queues[client] = ClientQueue(share)
        self._known += 1
        return queue

    def nextFor(self, worker: WorkerRecord) -> Service | None:
        """Return the service that a worker serves next, of its own in turn; ``None`` if no request waits for it."""
        names = worker.services
        if len(names) == 1:
            service = self.services[names[0]]
            return None if service.head() is None else service
        waiting = [service for name in names if (service := self.services[name]).head() is not None]
        if not waiting:
            return None
        service = min(waiting, key=lambda each: each.served)
        self._served += 1
        service.served = self._served
        return service

    def oldestAge(self, now: float) -> float:
        """Return for how many seconds the oldest of the requests that are next has waited; 0 if none waits."""
        heads = (service.head() for service in self.services.values())
        return max((now - head.since for head in heads if head is not None), default=0.0)

    def queued(self) -> list[Request]:
        """Return all requests that wait, service by service."""
        return [each for service in self.services.values() for each in service.queued()]
