# -*- test-case-name: pirate.test.broker.test_queues -*-
"""The queues of requests that wait, and the order of ready workers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.queues import ClientUsage, Queues
from pirate.broker.request import Request, State
from pirate.broker.workers import ReadyWorkers, Standing, WorkerRecord


def makeWorker(name: bytes = b"A", credit: int = 1, services: tuple[str, ...] = ("",)) -> WorkerRecord:
    """Make a new worker."""
    return WorkerRecord(name, credit, services)


def makeRequest(number: int, service: str = "", size: int = 1) -> Request:
    """Make a request that was accepted as the one with this number."""
    request = Request([b"c", b""], [b"x" * size], service)
    request.brokerId = number.to_bytes(8, "big")
    return request


class ReadyWorkersTests(SynchronousTestCase):
    """The order in which workers are chosen."""

    def test_none(self) -> None:
        """Without workers none is next."""
        self.assertIsNone(ReadyWorkers().first())

    def test_fewest(self) -> None:
        """Workers with fewer requests come first, whenever they were added."""
        ready = ReadyWorkers()
        workers = [makeWorker() for _ in range(4)]
        for worker, level in zip(workers, (3, 1, 0, 1), strict=True):
            ready.add(worker, level)
        order = []
        for level in (0, 1, 1, 3):
            first = ready.first()
            assert first is not None
            order.append(workers.index(first))
            ready.remove(first, level)
        self.assertEqual((order, ready.first()), ([2, 1, 3, 0], None))

    def test_stays(self) -> None:
        """Asking for the next worker removes none."""
        ready = ReadyWorkers()
        worker = makeWorker()
        ready.add(worker, 2)
        self.assertIs(ready.first(), worker)
        self.assertIs(ready.first(), worker)

    def test_lessAgain(self) -> None:
        """After only busy workers were left, an idle one is first again."""
        ready = ReadyWorkers()
        busy, idle = makeWorker(), makeWorker()
        ready.add(busy, 5)
        ready.first()
        ready.add(idle, 0)
        self.assertIs(ready.first(), idle)


class PlaceTests(SynchronousTestCase):
    """Which workers are ready for their services."""

    def setUp(self) -> None:
        """Make two services and a worker of both."""
        self.queues = Queues()
        self.worker = makeWorker(credit=2, services=("a", "b"))
        self.queues.addWorker(self.worker)

    def firsts(self) -> list[WorkerRecord | None]:
        """Return the next worker of each of the two."""
        found = [self.queues.services.get(name) for name in ("a", "b")]
        return [None if service is None else service.ready.first() for service in found]

    def test_everyName(self) -> None:
        """A worker is ready for all of its names, or for none."""
        self.assertEqual(self.firsts(), [None, None])
        self.queues.place(self.worker)
        self.assertEqual(self.firsts(), [self.worker, self.worker])
        self.worker.inFlight = {b"1": makeRequest(1), b"2": makeRequest(2)}
        self.queues.place(self.worker)
        self.assertEqual((self.firsts(), self.worker.level), ([None, None], -1))

    def test_room(self) -> None:
        """The capacity of a worker counts, not its credit."""
        self.worker.inFlight = {b"1": makeRequest(1)}
        self.queues.place(self.worker)
        self.assertEqual(self.worker.level, 1)
        self.worker.capacity = 1
        self.queues.place(self.worker)
        self.assertEqual(self.firsts(), [None, None])

    def test_retiring(self) -> None:
        """A retiring worker is not ready."""
        self.queues.place(self.worker)
        self.worker.standing = Standing.RETIRING
        self.queues.place(self.worker)
        self.assertEqual(self.firsts(), [None, None])

    def test_unchanged(self) -> None:
        """A worker that is placed where it is already keeps its place in the line."""
        other = makeWorker(b"B", 2, ("a",))
        self.queues.addWorker(other)
        self.queues.place(self.worker)
        self.queues.place(other)
        self.queues.place(self.worker)
        self.assertIs(self.firsts()[0], self.worker)


class WaitingTests(SynchronousTestCase):
    """Requests that wait."""

    def test_counts(self) -> None:
        """Requests and bytes, including those of envelopes, are counted as they come and go."""
        queues = Queues()
        one, two = makeRequest(1, size=10), makeRequest(2, size=5)
        queues.put(one, 0.0)
        queues.put(two, 0.0)
        self.assertEqual((queues.waiting, queues.waitingBytes, one.state), (2, 17, State.QUEUED))
        queues.leave(one)
        self.assertEqual((queues.waiting, queues.waitingBytes), (1, 6))

    def test_front(self) -> None:
        """A request may be put in front of all others."""
        queues = Queues()
        one, two = makeRequest(1), makeRequest(2)
        queues.put(two, 0.0)
        service = queues.put(one, 0.0, front=True)
        self.assertIs(service.head(), one)
        self.assertEqual(queues.queued(), [one, two])

    def test_head(self) -> None:
        """The next request is the first that still waits; those that have ended are removed."""
        queues = Queues()
        one, two = makeRequest(1), makeRequest(2)
        queues.put(one, 0.0)
        service = queues.put(two, 0.0)
        one.state = State.DONE
        self.assertEqual(queues.queued(), [two])
        self.assertIs(service.head(), two)
        two.state = State.DONE
        self.assertIsNone(service.head())

    def test_inTurn(self) -> None:
        """A worker of several names serves them in turn, however much waits for each."""
        queues = Queues()
        worker = makeWorker(services=("a", "b", "c"))
        queues.addWorker(worker)
        self.assertIsNone(queues.nextFor(worker))
        for number in range(3):
            queues.put(makeRequest(number, "a"), 0.0)
        queues.put(makeRequest(3, "b"), 0.0)
        served: list[str] = []
        while (service := queues.nextFor(worker)) is not None:
            request = service.head()
            assert request is not None
            queues.leave(request, service)
            served.append(request.service)
        self.assertEqual(served, ["a", "b", "a", "a"])


class TurnTests(SynchronousTestCase):
    """Clients that wait for the same service."""

    def setUp(self) -> None:
        """Make empty queues."""
        self.queues = Queues(maxPerClient=4, maxBytesPerClient=100)
        self.number = 0

    def put(self, *clients: bytes, front: bool = False, user: str | None = None) -> list[Request]:
        """Queue a request of each client."""
        requests = []
        for client in clients:
            self.number += 1
            request = Request([client, b""], [b"x"])
            request.brokerId = self.number.to_bytes(8, "big")
            request.user = user
            self.queues.put(request, 0.0, front)
            requests.append(request)
        return requests

    def serve(self, most: int = 1000) -> bytes:
        """Serve a number of requests, and return their clients in order."""
        served: list[bytes] = []
        service = self.queues.services.get("")
        assert service is not None
        while len(served) < most and (request := service.head()) is not None:
            self.queues.leave(request, service)
            request.state = State.IN_FLIGHT
            served.append(request.route[0])
        return b"".join(served)

    def give(self, request: Request) -> None:
        """Give up a request that waits."""
        self.queues.leave(request)
        request.state = State.DONE

    def test_inTurn(self) -> None:
        """Each client that has a request waiting is served one in turn, whichever came first."""
        self.put(*[b"F"] * 5, b"a", b"b", b"a")
        self.assertEqual(self.serve(), b"FabFaFFF")

    def test_newcomer(self) -> None:
        """A new client waits for one request of each that waits, however often these come back."""
        self.put(*[b"F"] * 5, b"a", b"b")
        self.assertEqual(self.serve(1), b"F")
        self.put(b"n")
        self.assertEqual(self.serve(1), b"a")
        self.put(b"a")
        self.assertEqual(self.serve(), b"bFnaFFF")

    def test_inOrder(self) -> None:
        """The requests of one client are served in the order of their arrival."""
        requests = self.put(*[b"F"] * 4)
        service = self.queues.services.get("")
        assert service is not None
        for request in requests:
            self.assertIs(service.head(), request)
            self.queues.leave(request, service)

    def test_keepsItsTurn(self) -> None:
        """A client that gives up a request and sends another does not go to the end of the line."""
        (given,) = self.put(b"a")
        self.put(*[b"b", b"c"], *[b"F"] * 3)
        self.put(b"a")
        self.give(given)
        self.assertEqual(self.serve(), b"abcFFF")

    def test_returned(self) -> None:
        """A request that returns from a lost worker is served before all others, and takes no client's turn."""
        self.put(b"F", b"F", b"a")
        self.put(b"r", front=True)
        self.put(b"s", front=True)
        self.assertEqual(self.serve(), b"srFaF")

    def share(self, request: Request) -> ClientUsage:
        """Return the share of a request that has waited."""
        assert request.share is not None
        return request.share

    def test_user(self) -> None:
        """A user is one client, however many connections it has."""
        self.put(b"1", b"2", b"3", user="mary")
        self.put(b"4")
        self.assertEqual(self.serve(), b"1423")
        self.put(*[b"5", b"6", b"7"] * 2, user="mary")
        self.assertEqual(self.share(self.put(b"8", user="mary")[0]).waiting, 7)

    def test_over(self) -> None:
        """A client with more than its share is counted until it has less."""
        requests = self.put(*[b"F"] * 6)
        self.queues.noteOver(self.share(requests[0]))
        self.queues.noteOver(self.share(requests[0]))
        self.assertEqual(self.queues.over, 1)
        self.serve(1)
        self.assertEqual(self.queues.over, 1)
        self.give(requests[3])
        self.assertEqual((self.queues.over, self.share(requests[0]).waiting), (0, 4))

    def test_bounded(self) -> None:
        """The queues do not grow with requests that were given up, nor with clients that have gone."""
        for _ in range(5000):
            (request,) = self.put(b"a")
            self.give(request)
        self.put(b"a", b"a")
        for number in range(5000):
            (request,) = self.put(b"c%d" % number)
            self.give(request)
        service = self.queues.services.get("")
        assert service is not None
        (queue,) = (each for each in service.ring if each.first is not None and each.first.route[0] == b"a")
        self.assertLess(len(queue.rest or ()), 1100)
        self.assertLess(max(len(service.ring), len(service.queues)), 2100)
        self.assertEqual((self.serve(), self.queues.waiting, self.queues.waitingBytes), (b"aa", 0, 0))


class NameTests(SynchronousTestCase):
    """Which names are known."""

    def test_unnamed(self) -> None:
        """The unnamed service is always known, another one only while a worker serves it."""
        queues = Queues()
        worker = makeWorker(services=("", "a"))
        self.assertIsNone(queues.services.get("a"))
        queues.addWorker(worker)
        self.assertIsNotNone(queues.services.get("a"))
        self.assertEqual(queues.removeWorker(worker), [queues.services.get("")])
        self.assertIsNone(queues.services.get("a"))

    def test_lastOne(self) -> None:
        """A name is removed with its last worker, not before."""
        queues = Queues()
        first, second = makeWorker(services=("a",)), makeWorker(services=("a",))
        queues.addWorker(first)
        queues.addWorker(second)
        queues.removeWorker(first)
        self.assertIsNotNone(queues.services.get("a"))
        queues.removeWorker(second)
        self.assertIsNone(queues.services.get("a"))

    def test_waitedFor(self) -> None:
        """A name that a request waits for is kept for the next worker, with its queue."""
        queues = Queues()
        worker, request = makeWorker(services=("a",)), makeRequest(1, "a")
        queues.addWorker(worker)
        service = queues.put(request, 0.0)
        self.assertEqual(queues.removeWorker(worker), [service])
        other = makeWorker(services=("a",))
        queues.addWorker(other)
        self.assertIs(queues.nextFor(other), service)

    def test_forgottenMeanwhile(self) -> None:
        """A request for a name that has just been removed waits for the next worker all the same."""
        queues = Queues()
        request = makeRequest(1, "a")
        service = queues.put(request, 0.0)
        self.assertIs(queues.services.get("a"), service)
        self.assertIs(service.head(), request)
