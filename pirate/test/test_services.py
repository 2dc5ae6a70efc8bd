# -*- test-case-name: pirate.test.test_services -*-
"""What waits for each service, and who is ready to serve it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.services import ReadyWorkers, Services, Standing, Worker
from pirate.wire.frontend import Request, State


def makeWorker(name: bytes = b"A", credit: int = 1, services: tuple[str, ...] = ("",)) -> Worker:
    """A worker that has just come."""
    return Worker(name, credit, services)


def makeRequest(number: int, service: str = "", size: int = 1) -> Request:
    """A request that was accepted as the so-manyth."""
    request = Request([b"c", b""], [b"x" * size], service)
    request.id = number.to_bytes(8, "big")
    return request


class ReadyWorkersTests(SynchronousTestCase):
    """The order in which workers are chosen."""

    def test_nobody(self) -> None:
        """Without workers nobody is next."""
        self.assertIsNone(ReadyWorkers().first())

    def test_fewest(self) -> None:
        """Those with fewer in hand come first, whenever they were added."""
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
        """To ask who is next takes nobody out."""
        ready = ReadyWorkers()
        worker = makeWorker()
        ready.add(worker, 2)
        self.assertIs(ready.first(), worker)
        self.assertIs(ready.first(), worker)

    def test_lessAgain(self) -> None:
        """After only busy ones were left, one with nothing in hand is first again."""
        ready = ReadyWorkers()
        busy, idle = makeWorker(), makeWorker()
        ready.add(busy, 5)
        ready.first()
        ready.add(idle, 0)
        self.assertIs(ready.first(), idle)


class PlaceTests(SynchronousTestCase):
    """Which workers are ready for their services."""

    def setUp(self) -> None:
        """Two services and a worker of both."""
        self.services = Services()
        self.worker = makeWorker(credit=2, services=("a", "b"))
        self.services.enroll(self.worker)

    def firsts(self) -> list[Worker | None]:
        """Who is next for each of the two."""
        found = [self.services.get(name) for name in ("a", "b")]
        return [None if service is None else service.ready.first() for service in found]

    def test_everyName(self) -> None:
        """A worker is ready for all of its names, or for none."""
        self.assertEqual(self.firsts(), [None, None])
        self.services.place(self.worker)
        self.assertEqual(self.firsts(), [self.worker, self.worker])
        self.worker.held = {b"1": makeRequest(1), b"2": makeRequest(2)}
        self.services.place(self.worker)
        self.assertEqual((self.firsts(), self.worker.level), ([None, None], -1))

    def test_room(self) -> None:
        """Its room counts, not its credit."""
        self.worker.held = {b"1": makeRequest(1)}
        self.services.place(self.worker)
        self.assertEqual(self.worker.level, 1)
        self.worker.room = 1
        self.services.place(self.worker)
        self.assertEqual(self.firsts(), [None, None])

    def test_retiring(self) -> None:
        """One that is to leave is ready for nothing."""
        self.services.place(self.worker)
        self.worker.standing = Standing.RETIRING
        self.services.place(self.worker)
        self.assertEqual(self.firsts(), [None, None])

    def test_unchanged(self) -> None:
        """To be placed where one is already does not send one to the end of the line."""
        other = makeWorker(b"B", 2, ("a",))
        self.services.enroll(other)
        self.services.place(self.worker)
        self.services.place(other)
        self.services.place(self.worker)
        self.assertIs(self.firsts()[0], self.worker)


class WaitingTests(SynchronousTestCase):
    """Requests that wait."""

    def test_counts(self) -> None:
        """Requests and bytes, those of their envelopes among them, are counted as they come and go."""
        services = Services()
        one, two = makeRequest(1, size=10), makeRequest(2, size=5)
        services.put(one, 0.0)
        services.put(two, 0.0)
        self.assertEqual((services.waiting, services.waitingBytes, one.state), (2, 17, State.QUEUED))
        services.leave(one)
        self.assertEqual((services.waiting, services.waitingBytes), (1, 6))

    def test_front(self) -> None:
        """One may be put in front of all."""
        services = Services()
        one, two = makeRequest(1), makeRequest(2)
        services.put(two, 0.0)
        service = services.put(one, 0.0, front=True)
        self.assertEqual(list(service.backlog), [one, two])
        self.assertEqual(services.queued(), [one, two])

    def test_head(self) -> None:
        """The next is the first that still waits; those that are done meanwhile are passed over."""
        services = Services()
        one, two = makeRequest(1), makeRequest(2)
        services.put(one, 0.0)
        service = services.put(two, 0.0)
        one.state = State.DONE
        self.assertEqual(services.queued(), [two])
        self.assertIs(service.head(), two)
        two.state = State.DONE
        self.assertIsNone(service.head())

    def test_oldest(self) -> None:
        """A worker of several names serves whoever came first."""
        services = Services()
        worker = makeWorker(services=("a", "b", "c"))
        services.enroll(worker)
        self.assertIsNone(services.oldest(worker))
        services.put(makeRequest(2, "a"), 0.0)
        services.put(makeRequest(1, "b"), 0.0)
        self.assertIs(services.oldest(worker), services.get("b"))


class NameTests(SynchronousTestCase):
    """Which names are known."""

    def test_unnamed(self) -> None:
        """The unnamed service is always known, another one only while somebody serves it."""
        services = Services()
        worker = makeWorker(services=("", "a"))
        self.assertIsNone(services.get("a"))
        services.enroll(worker)
        self.assertIsNotNone(services.get("a"))
        self.assertEqual(services.dismiss(worker), [services.get("")])
        self.assertIsNone(services.get("a"))

    def test_lastOne(self) -> None:
        """A name is forgotten with its last worker, not before."""
        services = Services()
        first, second = makeWorker(services=("a",)), makeWorker(services=("a",))
        services.enroll(first)
        services.enroll(second)
        services.dismiss(first)
        self.assertIsNotNone(services.get("a"))
        services.dismiss(second)
        self.assertIsNone(services.get("a"))

    def test_waitedFor(self) -> None:
        """A name that somebody waits for is kept for the next worker, with who waits."""
        services = Services()
        worker, request = makeWorker(services=("a",)), makeRequest(1, "a")
        services.enroll(worker)
        service = services.put(request, 0.0)
        self.assertEqual(services.dismiss(worker), [service])
        other = makeWorker(services=("a",))
        services.enroll(other)
        self.assertIs(services.oldest(other), service)

    def test_forgottenMeanwhile(self) -> None:
        """A request for a name that was forgotten a moment ago waits for the next worker all the same."""
        services = Services()
        request = makeRequest(1, "a")
        service = services.put(request, 0.0)
        self.assertIs(services.get("a"), service)
        self.assertIs(service.head(), request)
