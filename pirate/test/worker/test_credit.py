# -*- test-case-name: pirate.test.worker.test_credit -*-
"""Tests of the adaptive credit: its rules, and a worker and a broker that follow it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.broker import Broker
from pirate.broker.request import Request
from pirate.test.support.broker import BrokerBench
from pirate.test.support.quietenvironment import QuietEnvironment
from pirate.wire.backend import Announcement
from pirate.wire.words import MAX_CREDIT
from pirate.worker.app import prepare
from pirate.worker.credit import LONGEST, STEADY, Credit
from pirate.worker.serialrunner import SerialRunner

#: Enough jobs for the estimate to fall from any duration to a shorter one.
MANY = 2000


def follow(credit: Credit, durations: Iterable[float]) -> list[int]:
    """
    Note the durations of jobs, as a worker does.

    :return: the credits that it announces, in order.
    """
    announced = []
    for duration in durations:
        if credit.note(duration):
            credit.announced = credit.earned
            announced.append(credit.announced)
    return announced


class CreditTests(SynchronousTestCase):
    """The credit follows the durations of jobs by the rules."""

    def setUp(self) -> None:
        """Make a credit that no duration was noted for."""
        self.credit = Credit()

    def test_one(self) -> None:
        """The credit starts at 1, which gives strict least-recently-used dispatch."""
        self.assertEqual((self.credit.announced, self.credit.earned), (1, 1))

    def test_notAtOnce(self) -> None:
        """The credit rises only after many short jobs."""
        self.assertEqual(follow(self.credit, [0.00002] * 10), [])
        self.assertEqual(follow(self.credit, [0.00002] * MANY), [2, 4, 8, 16, 32])

    def test_millisecond(self) -> None:
        """Short jobs earn a credit of as many requests as fit into a millisecond, at most 64."""
        for duration, most in ((0.0001, 10), (0.00003, 33), (0.000001, MAX_CREDIT)):
            credit = Credit()
            follow(credit, [duration] * 5 * MANY)
            self.assertTrue(most - 1 <= credit.earned <= most, (duration, credit.earned))
            self.assertLessEqual(credit.announced, credit.earned)
            self.assertGreater(credit.announced * 2, credit.earned // 2)

    def test_bounds(self) -> None:
        """The credit is between 1 and 64 for every duration, even 0."""
        for duration in (0.0, 1e-9, 1.0, 1e6):
            follow(self.credit, [duration] * MANY)
            self.assertTrue(1 <= self.credit.earned <= MAX_CREDIT)
            self.assertTrue(1 <= self.credit.announced <= MAX_CREDIT)

    def test_fallsAtOnce(self) -> None:
        """The first longer job lowers the credit at once, so that no request waits behind the next."""
        follow(self.credit, [0.00002] * MANY)
        self.assertEqual(follow(self.credit, [0.2]), [1])
        self.assertEqual(follow(self.credit, [0.00002] * 60), [])

    def test_slowSide(self) -> None:
        """One long job in fifty keeps the credit low: the slow side of the durations counts."""
        follow(self.credit, islice(cycle([0.00002] * 49 + [0.1]), 20 * MANY))
        self.assertEqual(self.credit.earned, 1)

    def test_seldomTold(self) -> None:
        """Durations that vary by a factor of two seldom change the credit."""
        random = Random(1)
        self.assertLess(len(follow(self.credit, (random.uniform(0.00004, 0.00008) for _ in range(MANY)))), 8)
        self.assertLess(len(follow(self.credit, (random.uniform(0.00004, 0.00008) for _ in range(MANY)))), 2)

    def test_steady(self) -> None:
        """Jobs of 1 to 10 ms earn a credit of 2 once enough of them have taken about as long, and never more."""
        for duration in (0.0007, 0.001, 0.002, 0.005, 0.0105):
            credit = Credit()
            self.assertEqual(follow(credit, [duration] * (STEADY - 1)), [], duration)
            self.assertEqual(follow(credit, [duration] * MANY), [2], duration)

    def test_ratherSteady(self) -> None:
        """Durations that vary by half count as steady."""
        random = Random(1)
        follow(self.credit, (random.uniform(0.002, 0.003) for _ in range(2 * STEADY)))
        self.assertEqual(self.credit.announced, 2)
        self.assertEqual(follow(self.credit, (random.uniform(0.002, 0.003) for _ in range(MANY))), [])

    def test_unsteady(self) -> None:
        """Jobs of 1 to 10 ms whose durations differ much keep the credit at 1."""
        self.assertEqual(follow(self.credit, islice(cycle([0.001, 0.009]), MANY)), [])
        random = Random(1)
        self.assertEqual(follow(Credit(), (random.choice([0.001, 0.004, 0.009]) for _ in range(MANY))), [])

    def test_outlier(self) -> None:
        """One job that takes much longer, or much less, ends a credit of 2 at once."""
        for odd in (0.008, 0.5, 0.00005):
            credit = Credit()
            follow(credit, [0.003] * 2 * STEADY)
            self.assertEqual(credit.announced, 2)
            self.assertEqual(follow(credit, [odd]), [1], odd)
            self.assertEqual(follow(credit, [0.003] * MANY), [2], odd)

    def test_long(self) -> None:
        """Longer jobs keep the credit at 1, however steady their durations are."""
        for duration in (LONGEST * 1.01, 0.05, 1.0, 100.0):
            self.assertEqual(follow(Credit(), [duration] * MANY), [], duration)

    def test_growing(self) -> None:
        """Jobs that grow slowly lose the credit of 2 when they take longer than 10 ms."""
        follow(self.credit, [0.008] * 2 * STEADY)
        self.assertEqual(follow(self.credit, [0.009, 0.0099, LONGEST]), [])
        self.assertEqual(follow(self.credit, [LONGEST * 1.01]), [1])

    def test_fromTinyToShort(self) -> None:
        """When tiny jobs grow to some milliseconds, the credit falls to 1, and rises to 2 when they are steady."""
        follow(self.credit, [0.00002] * MANY)
        self.assertEqual(follow(self.credit, [0.003] * MANY), [1, 2])

    def test_fromShortToTiny(self) -> None:
        """When jobs of some milliseconds become tiny, the credit falls to 1 and rises by the rule for short jobs."""
        follow(self.credit, [0.003] * MANY)
        announced = follow(self.credit, [0.00002] * MANY)
        self.assertEqual(announced, [1, 2, 4, 8, 16, 32])


class FakeWorker:
    """
    A worker without a socket or a clock, whose jobs take as long as their bodies say.

    :param broker: the broker that it replies to.
    :ivar held: the requests in flight, oldest first.
    :ivar most: the most requests that were in flight.
    :ivar said: the messages that it has sent: the word ``credit`` and a number, or ``reply``.
    """

    def __init__(self, identity: bytes, broker: Broker) -> None:
        self._identity = identity
        self._broker = broker
        self.environment = QuietEnvironment()
        self.runner = SerialRunner(prepare(self._work), self, self.environment, credit=Credit())
        self.held: deque[list[bytes]] = deque()
        self.most = 0
        self.said: list[str] = []
        self.creditChanged(1)

    def received(self, frames: list[bytes]) -> None:
        """Take a message of the broker."""
        self.held.append(frames)
        self.most = max(self.most, len(self.held))

    def step(self) -> None:
        """Execute the oldest request."""
        self.runner.execute(self.held[0])

    def _work(self, seconds: bytes) -> bytes:
        self.environment.time += float(seconds)
        return seconds

    def creditChanged(self, credit: int) -> None:
        """Tell the broker."""
        self.said.append(f"credit {credit}")
        self._broker.dispatcher.workerReady(self._identity, Announcement("", credit))

    def isCancelled(self, request: bytes) -> bool:
        """Return false: nothing is cancelled."""
        return False

    def requestFailed(self, error: BaseException) -> None:
        """Raise an error of the app."""
        raise error

    def post(self, frames: list[bytes]) -> None:
        """Send the broker a reply."""
        self.said.append("reply")
        self.held.popleft()
        self._broker.dispatcher.replyReceived(self._identity, frames[0], frames[1:])


class WorkerBench(BrokerBench):
    """
    A bench whose broker serves such workers.

    :ivar workers: the workers by identity.
    """

    def __init__(self) -> None:
        super().__init__()
        self.workers: dict[bytes, FakeWorker] = {}

    def toWorker(self, frames: Sequence[bytes]) -> bool:
        """Hand a request to its worker."""
        self.workers[frames[0]].received(list(frames[1:]))
        return True


class WorkerTests(SynchronousTestCase):
    """A broker sends as many requests ahead as its workers announce."""

    def setUp(self) -> None:
        """Make a broker and two workers, on a clock that only jobs move."""
        bench = WorkerBench()
        self.workers = bench.workers
        self.broker = bench.broker
        self.time = 0.0
        self.workers.update({name: FakeWorker(name, self.broker) for name in (b"A", b"B")})

    def serve(self, durations: Iterable[float]) -> None:
        """Request jobs of these durations all at once, and have both workers execute them in turn."""
        for duration in durations:
            self.broker.requestReceived(Request([b"client", b""], [b"%r" % duration]))
        while any(worker.held for worker in self.workers.values()):
            for worker in self.workers.values():
                if worker.held:
                    worker.environment.time = self.time
                    worker.step()
                    self.time = worker.environment.time
        self.assertTrue(self.broker.isQuiet())

    def test_strict(self) -> None:
        """Long jobs are sent one by one to an idle worker; no worker ever holds two."""
        self.serve([0.1] * 300)
        self.assertEqual([worker.most for worker in self.workers.values()], [1, 1])
        self.assertEqual(self.workers[b"A"].said, ["credit 1", *["reply"] * 150])

    def test_tiny(self) -> None:
        """Tiny jobs are sent ahead, never more than the worker has announced."""
        self.serve([0.00002] * 4000)
        for worker in self.workers.values():
            told = [int(each.split()[1]) for each in worker.said if each != "reply"]
            self.assertEqual(told, [1, 2, 4, 8, 16, 32])
            self.assertEqual(worker.most, 32)

    def test_toldBeforeTheReply(self) -> None:
        """A lower credit is announced before the reply, at which the broker would send requests ahead."""
        self.serve([0.00002] * 4000)
        worker = self.workers[b"A"]
        worker.said.clear()
        self.serve([0.5] * 20)
        self.assertEqual(worker.said[:2], ["credit 1", "reply"])
        worker.most = 0
        self.serve([0.5] * 20)
        self.assertEqual(worker.most, 1)

    def test_steady(self) -> None:
        """Of steady jobs of some milliseconds, each worker has the next one ahead, and no more."""
        self.serve([0.003] * 200)
        self.assertEqual([worker.most for worker in self.workers.values()], [2, 2])

    def test_unsteady(self) -> None:
        """An unsteady job never waits behind another in a worker."""
        self.serve(islice(cycle([0.001, 0.001, 0.009, 0.009]), 400))
        self.assertEqual([worker.most for worker in self.workers.values()], [1, 1])

    def test_fewer(self) -> None:
        """With a credit of 2, no request is sent ahead while another worker is idle."""
        self.serve([0.003] * 200)
        for worker in self.workers.values():
            worker.most = 0
        for _ in range(2):
            self.broker.requestReceived(Request([b"client", b""], [b"0.003"]))
        self.assertEqual([worker.most for worker in self.workers.values()], [1, 1])
        self.serve([])

    def test_fixed(self) -> None:
        """A fixed credit is not changed."""
        worker = self.workers[b"A"]
        worker.runner = SerialRunner(prepare(worker._work), worker, worker.environment)
        self.serve([0.00002] * 4000)
        self.assertEqual([each for each in worker.said if each != "reply"], ["credit 1"])


class PreemptedTests(SynchronousTestCase):
    """Being preempted is not working long."""

    def setUp(self) -> None:
        """Make a credit that is told how long the thread waited for a processor."""
        self.waited = 0.0
        self.asked = 0
        self.credit = Credit(self.delay)

    def delay(self) -> float:
        """Return how long the thread waited, once."""
        self.asked += 1
        waited, self.waited = self.waited, 0.0
        return waited

    def note(self, work: float, waited: float = 0.0) -> int:
        """Note a job that took so much work, and so much waiting; return the announced credit."""
        self.waited = waited
        if self.credit.note(work + waited):
            self.credit.announced = self.credit.earned
        return self.credit.announced

    def test_reaches(self) -> None:
        """Jobs of microseconds reach 64 and stay there, although every fifth is preempted for milliseconds."""
        random = Random(1)
        credits = [
            self.note(random.uniform(0.000003, 0.000008), random.uniform(0.001, 0.02) if number % 5 == 4 else 0.0)
            for number in range(20_000)
        ]
        self.assertEqual((credits[1000], set(credits[1000:])), (64, {64}))

    def test_sleeps(self) -> None:
        """A job that sleeps, and is not preempted, lowers the credit at once; so does what is left of a long one."""
        for work, waited in ((0.003, 0.0), (0.003, 0.01), (0.02, 0.002)):
            self.credit = Credit(self.delay)
            for _ in range(2000):
                self.note(0.000005)
            self.assertEqual((self.credit.announced, self.note(work, waited)), (64, 1))

    def test_seldomAsked(self) -> None:
        """The kernel is asked only where a duration jumps."""
        for _ in range(2000):
            self.note(0.000005)
            self.note(0.000009)
        self.assertEqual(self.asked, 0)
        self.note(0.0002)
        self.assertEqual(self.asked, 1)

    def test_steady(self) -> None:
        """Steady jobs of some milliseconds keep a credit of 2 although some are preempted."""
        for number in range(200):
            self.note(0.003, 0.01 if number % 10 == 9 else 0.0)
        self.assertEqual(self.credit.announced, 2)
        # Not twice as long, but longer than another request may wait.
        self.credit = Credit(self.delay)
        for number in range(200):
            self.note(0.010, 0.005 if number % 10 == 9 else 0.0)
        self.assertEqual(self.credit.announced, 2)

    def test_hiccup(self) -> None:
        """Single jobs of some 200 us among those of microseconds do not lower the credit; many do."""
        for _ in range(1000):
            self.note(0.000005)
        self.assertEqual({self.note(0.0002 if number % 200 == 0 else 0.000005) for number in range(4000)}, {64})
        self.assertLess(min(self.note(0.0002) for _ in range(20)), 16)

    def test_back(self) -> None:
        """A credit that has fallen to more than half of the highest returns to it."""
        for _ in range(1000):
            self.note(0.000005)
        while self.credit.announced == 64:
            self.note(0.0001)
        self.assertGreater(self.credit.announced, 32)
        for _ in range(1000):
            self.note(0.000005)
        self.assertEqual(self.credit.announced, 64)
