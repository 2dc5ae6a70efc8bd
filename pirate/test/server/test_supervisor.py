# -*- test-case-name: pirate.test.server.test_supervisor -*-
"""The supervisor on a test bed: how children start, who gets their requests, how they end."""

from __future__ import annotations

import errno
import json
from signal import SIGABRT

from twisted.logger import LogLevel

from pirate.pool.pool import KILL_DELAY
from pirate.server.connections import LAST_MESSAGES
from pirate.server.environment import ServerEnvironment
from pirate.server.supervisor import CLOSED_GRACE, LAST_REPLIES, SPAWN_INTERVAL, SPAWN_TRIES
from pirate.settings.limits import PoolLimits, RequestPolicy
from pirate.test.support.testbed import REQUEST_ID, TestBedCase
from pirate.wire.frontend import header, parseHeader
from pirate.wire.words import DEQUEUE, EXITING, WAITING


class DeathTests(TestBedCase):
    """Workers that end without having been asked to."""

    def test_replaced(self) -> None:
        """Dead workers are replaced at once, without any traffic, and counted by cause."""
        server = self.serve(3)
        self.settle(5)
        for worker in self.bed.livingWorkers():
            worker.process.end(signal="KILL")
        self.assertEqual((len(self.bed.livingWorkers()), len(self.bed.workers)), (3, 6))
        self.settle()
        stats = server.stats()
        self.assertEqual((stats["workers"], stats["spawns"]), ({"waiting": 3}, 6))
        self.assertEqual(stats["exits"], {"signal SIGKILL": 3})

    def test_logged(self) -> None:
        """A death is logged as a warning, with its cause and the state of the worker."""
        self.bed.autoReply = False
        self.serve(1)
        self.bed.request(b"c", b"x")
        pid = self.busy().process.pid
        self.busy().process.end(signal="SEGV")
        self.assertIn(f"worker {pid} ended while processing: signal SIGSEGV", self.log())
        [event] = [event for event in self.events if "how" in event]
        self.assertIs(event["log_level"], LogLevel.warn)

    def test_moved(self) -> None:
        """The request of a dead worker goes to another within milliseconds, and its client gets one reply."""
        self.bed.autoReply = False
        server = self.serve(2)
        self.bed.request(b"c", b"x")
        self.busy().process.end(signal="KILL")
        self.settle(LAST_REPLIES)
        self.busy().reply()
        self.settle()
        self.assertEqual(self.bed.transports[0].frontend.sent, [[b"c", b"", b"x"]])
        self.assertEqual((server.stats()["redispatched"], server.stats()["replied"]), (1, 1))

    def test_movedTooLate(self) -> None:
        """A request whose deadline has passed when its worker dies fails at once, although nothing else happens."""
        self.bed.autoReply = False
        self.serve(1)
        frontend = self.bed.transports[0].frontend
        frontend.receive(b"c", header(REQUEST_ID, {"timeout_ms": 1000}), b"", b"x")
        self.settle(2, steps=2)
        self.bed.autoAnnounce = False
        self.busy().process.end(signal="KILL")
        self.settle(LAST_REPLIES)
        self.settle()
        [[head, *_]] = frontend.sentTo(b"c")
        parsed = parseHeader(head)
        assert parsed is not None
        self.assertEqual(parsed[1]["code"], "expired")

    def test_lastAnswer(self) -> None:
        """A reply that was on its way when its worker died counts, and the request is not run again."""
        self.bed.autoReply = False
        server = self.serve(2)
        self.bed.request(b"c", b"x")
        worker = self.busy()
        worker.process.end(signal="KILL")
        worker.reply(b"last words")
        self.settle(1)
        self.assertEqual(self.bed.transports[0].frontend.sent, [[b"c", b"", b"last words"]])
        self.assertEqual((server.stats()["redispatched"], server.stats()["in_flight"]), (0, 0))

    def test_lateAnswer(self) -> None:
        """A reply that arrives after the request was moved counts, and the second one is dropped."""
        self.bed.autoReply = False
        server = self.serve(2)
        self.bed.request(b"c", b"x")
        dead = self.busy()
        dead.process.end(signal="KILL")
        self.settle(LAST_REPLIES)
        heir = self.busy()
        dead.reply(b"first")
        self.settle()
        heir.reply(b"second")
        self.settle()
        self.assertEqual(self.bed.transports[0].frontend.sent, [[b"c", b"", b"first"]])
        self.assertEqual(server.stats()["late"], 1)
        self.assertEqual(self.bed.request(b"d", b"y"), [])
        self.busy().reply()
        self.settle()
        self.assertEqual(self.bed.transports[0].frontend.sentTo(b"d"), [[b"", b"y"]])

    def test_noOther(self) -> None:
        """Without another worker, the request waits for the successor."""
        self.bed.autoReply = False
        self.serve(1)
        self.bed.request(b"c", b"x")
        self.busy().process.end(1)
        self.settle(1, steps=10)
        self.busy().reply()
        self.settle()
        self.assertEqual(self.bed.transports[0].frontend.sent, [[b"c", b"", b"x"]])

    def test_exitsByItself(self) -> None:
        """A worker that exits with code 0 without having been asked to is replaced like any other."""
        server = self.serve(1)
        self.bed.workers[0].process.end()
        self.settle(1, steps=10)
        self.assertEqual(server.stats()["workers"], {"waiting": 1})

    def test_unreachable(self) -> None:
        """A worker that accepts no messages is killed a moment later, and its request goes to another."""
        self.serve(2)
        self.settle(5)
        broken = self.bed.workers[0]
        self.bed.transports[0].backend.disconnect(broken.identity)
        self.assertEqual(self.bed.request(b"c", b"x"), [[b"", b"x"]])
        self.assertEqual(broken.process.signals, [])
        self.settle(1, steps=10)
        self.assertEqual(broken.process.signals, ["KILL"])
        self.assertEqual(len(self.bed.livingWorkers()), 2)

    def test_connectionClosed(self) -> None:
        """
        A worker that ends by itself closes its connection before its process is gone.

        Its request is moved at once, and the worker is not stopped by a signal.
        """
        self.bed.autoReply = False
        server = self.serve(2)
        self.settle(5)
        self.bed.request(b"c", b"x")
        leaver = self.busy()
        self.bed.transports[0].disconnectWorker(leaver.identity)
        self.settle(LAST_MESSAGES)
        [heir] = [worker for worker in self.bed.livingWorkers() if worker.inFlight and worker is not leaver]
        self.settle(CLOSED_GRACE - 0.1)
        leaver.process.end(5)
        self.settle(CLOSED_GRACE, steps=10)
        self.assertEqual((leaver.process.signals, server.stats()["exits"]), ([], {"exit code 5": 1}))
        self.assertIn(f"worker {leaver.process.pid} ended while processing: exit code 5", self.log())
        heir.reply()
        self.settle()
        self.assertEqual(self.bed.transports[0].frontend.sent, [[b"c", b"", b"x"]])

    def test_connectionClosedIdle(self) -> None:
        """An idle worker whose connection is closed before its process ends has ended while waiting."""
        self.serve(1)
        self.settle(5)
        [leaver] = self.bed.workers
        self.bed.transports[0].disconnectWorker(leaver.identity)
        self.settle(LAST_MESSAGES)
        leaver.process.end(5)
        self.settle()
        self.assertIn(f"worker {leaver.process.pid} ended while waiting: exit code 5", self.log())

    def test_disconnected(self) -> None:
        """A worker whose connection is closed and whose process stays is stopped and replaced."""
        self.serve(1)
        self.settle(5)
        [lost] = self.bed.workers
        lost.process.termDelay = None
        self.bed.transports[0].disconnectWorker(lost.identity)
        self.settle(LAST_MESSAGES)
        self.assertEqual(lost.process.signals, [])
        self.settle(CLOSED_GRACE + 2 * KILL_DELAY, steps=20)
        self.assertEqual(lost.process.signals, [SIGABRT, "KILL"])
        self.assertIn(f"worker {lost.process.pid}: its connection was closed", self.log())
        self.assertEqual(len(self.bed.livingWorkers()), 1)

    def test_closedAtTheEnd(self) -> None:
        """A server that stops meanwhile leaves no timer behind."""
        server = self.serve(1)
        self.bed.transports[0].disconnectWorker(self.bed.workers[0].identity)
        self.settle(LAST_MESSAGES)
        stopped = server.abort()
        self.settle()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """
        A worker that was stopped by a signal counts as dead, and is killed.

        Its request may have been begun, so it is charged an attempt, and given up if it may not be tried again.
        """
        self.bed.autoReply = False
        stopped: list[int] = []
        self.patch(ServerEnvironment, "isStopped", lambda environment, pid: pid in stopped)
        server = self.serve(2, policy=RequestPolicy(deliveryTimeout=5, maxAttempts=2))
        self.bed.request(b"c", b"x")
        first = self.busy()
        stopped.append(first.process.pid)
        self.settle(6, steps=6)
        [second] = [worker for worker in self.bed.livingWorkers() if worker.inFlight and worker is not first]
        self.assertEqual((first.process.signals[-1], server.stats()["redispatched"]), ("KILL", 1))
        stopped.append(second.process.pid)
        self.settle(6, steps=6)
        self.assertEqual((server.stats()["redispatched"], server.stats()["failed"]), (1, {"worker-lost": 1}))

    def test_crashLoop(self) -> None:
        """Workers that crash at every start are started ever more rarely, until one succeeds."""
        server = self.serve(1)
        self.settle(60)
        self.bed.autoAnnounce = False
        self.bed.workers[0].process.end(1)
        for _ in range(600):
            for worker in self.bed.livingWorkers():
                worker.process.end(1)
            self.settle(0.1)
        self.assertLess(len(self.bed.workers), 25)
        self.bed.autoAnnounce = True
        for worker in self.bed.livingWorkers():
            worker.process.end(1)
        self.settle(30, steps=30)
        self.assertEqual(server.stats()["workers"], {"waiting": 1})

    def test_cannotSpawn(self) -> None:
        """When the system refuses to start a process, the other workers go on, and the start is tried again."""
        server = self.serve(2)
        self.settle(5)
        self.reactor.spawnError = OSError(11, "Resource temporarily unavailable")
        self.bed.workers[0].process.end(signal="KILL")
        self.settle()
        self.assertEqual(self.bed.request(b"c", b"x"), [[b"", b"x"]])
        self.assertTrue(any("Resource temporarily unavailable" in line for line in self.log()))
        self.reactor.spawnError = None
        self.settle(3, steps=30)
        self.assertEqual(server.stats()["workers"], {"waiting": 2})


class SlowTests(TestBedCase):
    """Workers that miss a deadline."""

    def test_noDescriptors(self) -> None:
        """Without file descriptors a start is repeated very soon and is no failure; many such attempts are one."""
        server = self.serve(2)
        self.reactor.spawnError = OSError(errno.EMFILE, "Too many open files")
        self.bed.livingWorkers()[0].process.end(signal="KILL")
        self.settle(3 * SPAWN_INTERVAL)
        self.assertNotIn("could not start", "".join(self.log()))
        self.reactor.spawnError = None
        self.settle(SPAWN_INTERVAL)
        self.assertEqual(server.stats()["workers"], {"waiting": 2})
        self.reactor.spawnError = OSError(errno.EMFILE, "Too many open files")
        self.bed.livingWorkers()[0].process.end(signal="KILL")
        self.settle((SPAWN_TRIES + 1) * SPAWN_INTERVAL, SPAWN_TRIES + 1)
        self.assertIn("worker 0 could not start: cannot start a process: Too many open files", self.log())

    def test_stopWithoutDescriptors(self) -> None:
        """A server that is stopped between two attempts stops."""
        server = self.serve(2)
        self.reactor.spawnError = OSError(errno.EMFILE, "Too many open files")
        self.bed.livingWorkers()[0].process.end(signal="KILL")
        self.settle(SPAWN_INTERVAL)
        stopped = server.abort()
        self.settle()
        self.successResultOf(stopped)

    def test_startTimeout(self) -> None:
        """A worker that does not become ready in time is killed, and another is started."""
        limits = PoolLimits(minServers=1, maxServers=1, startTimeout=5.0)
        self.bed.autoAnnounce = False
        self.serve(limits=limits)
        [slow] = self.bed.workers
        self.settle(4.9)
        self.assertEqual(slow.process.signals, [])
        self.settle(0.1)
        self.assertEqual(slow.process.signals, ["KILL"])
        self.settle(1, steps=10)
        self.assertEqual(len(self.bed.workers), 2)

    def test_hangsWhenIdle(self) -> None:
        """An idle worker that was asked to leave and does not is killed after stop-timeout."""
        self.assertEqual(self.hang(busy=False), ["TERM", SIGABRT, "KILL"])

    def test_hangsAfterExiting(self) -> None:
        """So is a worker that has said that it leaves, after its last reply, and whose process stays."""
        self.assertEqual(self.hang(busy=True), ["TERM", SIGABRT, "KILL"])

    def test_hangsBusy(self) -> None:
        """A retired worker that hangs in a job is stopped after reload-timeout, and its request goes to another."""
        self.bed.autoReply = False
        limits = PoolLimits(minServers=1, maxServers=1, minSpareServers=0, reloadTimeout=7.0)
        server = self.serve(limits=limits)
        self.bed.request(b"c", b"x")
        stuck = self.busy()
        stuck.process.termDelay = None
        server.reload()
        self.settle(6.9, steps=10)
        self.assertEqual((stuck.process.signals, server.workers[stuck.process.pid]), ([], "retiring"))
        self.settle(3 * KILL_DELAY, steps=30)
        self.assertEqual(stuck.process.signals, ["TERM", SIGABRT, "KILL"])
        self.settle(1, steps=10)
        self.busy().reply()
        self.settle()
        self.assertEqual(self.bed.transports[0].frontend.sent, [[b"c", b"", b"x"]])
        self.assertEqual((server.stats()["redispatched"], len(self.bed.livingWorkers())), (1, 1))

    def test_hangsInDequeue(self) -> None:
        """A dequeue worker is stopped after dequeue-timeout, and the next one is started."""
        limits = PoolLimits(minServers=1, maxServers=1, checkForDequeue=10.0, dequeueTimeout=15.0)
        self.serve(limits=limits, dequeue="mod.dequeue")
        self.bed.autoAnnounce = False
        self.settle(10)
        _, dequeue = self.bed.workers
        dequeue.process.termDelay = None
        dequeue.announce(DEQUEUE)
        self.settle()
        self.settle(14, steps=14)
        self.assertEqual((dequeue.process.signals, len(self.bed.workers)), ([], 2))
        self.settle(1 + 3 * KILL_DELAY, steps=30)
        self.assertEqual(dequeue.process.signals, ["TERM", SIGABRT, "KILL"])
        self.assertTrue(any("it took longer than dequeue-timeout (15 seconds)" in line for line in self.log()))
        self.settle(10, steps=10)
        self.assertEqual(len(self.bed.workers), 3)

    def hang(self, busy: bool) -> list[str]:
        """Return the signals that a retired worker got which does not leave."""
        self.bed.autoReply = False
        limits = PoolLimits(minServers=1, maxServers=1, minSpareServers=0, stopTimeout=3.0)
        server = self.serve(limits=limits)
        [stuck] = self.bed.workers
        stuck.process.termDelay = None
        if busy:
            self.bed.request(b"c", b"x")
        self.bed.transports[0].backend.connect(stuck.identity)
        server.reload()
        self.settle(1)
        self.assertEqual(server.workers[stuck.process.pid], "retiring")
        if busy:
            [request, *_] = stuck.inFlight.pop()
            stuck.send(request, b"", b"done")
            stuck.send(EXITING)
        self.settle(2.5)
        before = list(stuck.process.signals)
        self.settle(3 + 3 * KILL_DELAY, steps=30)
        self.assertEqual(before, [])
        self.assertEqual(len(self.bed.livingWorkers()), 1)
        return stuck.process.signals

    def test_startingAndNotNeeded(self) -> None:
        """A worker that is not needed any more before it is ready is sent TERM, then KILL."""
        self.bed.autoAnnounce = False
        server = self.serve(2)
        stubborn, meek = self.bed.workers
        stubborn.process.termDelay = None
        stopped = server.stopService()
        self.settle()
        self.assertEqual([worker.process.signals for worker in (stubborn, meek)], [["TERM"], ["TERM"]])
        self.assertFalse(meek.process.alive)
        self.settle(KILL_DELAY)
        self.assertEqual(stubborn.process.signals, ["TERM", "KILL"])
        self.settle()
        self.successResultOf(stopped)


class LeavingTests(TestBedCase):
    """Workers that leave because they are asked to."""

    def test_recycled(self) -> None:
        """After max-requests a worker is replaced: all requests have replies, and no worker is signalled."""
        limits = PoolLimits(minServers=1, maxServers=1, maxRequests=3, maxRequestsJitter=0)
        server = self.serve(limits=limits)
        for number in range(10):
            self.assertEqual(self.bed.request(b"c", b"%d" % number)[-1], [b"", b"%d" % number])
        self.assertEqual(server.stats()["exits"], {"exit code 0": 3})
        self.assertEqual([worker.process.signals for worker in self.bed.workers], [[], [], [], []])
        self.assertFalse(any(event["log_level"] is LogLevel.warn for event in self.events))

    def test_replacementFirst(self) -> None:
        """A worker whose last request takes long is replaced meanwhile."""
        self.bed.autoReply = False
        limits = PoolLimits(minServers=1, maxServers=1, maxRequests=2, maxRequestsJitter=0)
        server = self.serve(limits=limits)
        self.bed.workers[0].autoReply = True
        self.bed.request(b"c", b"quick")
        self.bed.workers[0].autoReply = False
        self.bed.request(b"c", b"slow")
        self.bed.request(b"d", b"next")
        first, second = self.bed.livingWorkers()[:2]
        states = server.workers
        self.assertEqual([states[each.process.pid] for each in (first, second)], ["retiring", "processing"])
        first.reply()
        second.reply()
        self.settle()
        self.assertEqual(len(self.bed.transports[0].frontend.sent), 3)

    def test_replacementReady(self) -> None:
        """A successor is ready when a worker has been given its last request."""
        server = self.serve(limits=PoolLimits(minServers=1, maxServers=1, maxRequests=4, maxRequestsJitter=0))
        for number in range(3):
            self.bed.request(b"c", b"%d" % number)
            self.settle()
        self.assertEqual(list(server.workers.values()), ["waiting", "waiting"])
        for worker in self.bed.workers:
            worker.autoReply = False
        self.bed.request(b"c", b"one of the other's")
        self.bed.request(b"c", b"last")
        self.assertEqual(list(server.workers.values()), ["retiring", "processing"])

    def test_oldestFirst(self) -> None:
        """Of several idle workers the oldest is retired."""
        server = self.serve(3)
        server.shrink()
        self.settle()
        self.assertEqual([worker.process.alive for worker in self.bed.workers], [False, True, True])

    def test_busyLast(self) -> None:
        """A busy worker is not retired while another is idle."""
        self.bed.autoReply = False
        server = self.serve(2)
        self.bed.request(b"c", b"x")
        busy = self.busy()
        server.shrink()
        self.settle()
        self.assertEqual(self.bed.livingWorkers(), [busy])

    def test_leavesByItself(self) -> None:
        """A worker that says that it leaves is given no more, and its unfinished request goes to another."""
        self.bed.autoReply = False
        server = self.serve(1)
        self.bed.request(b"c", b"x")
        leaving = self.busy()
        leaving.send(EXITING)
        leaving.process.end()
        leaving.inFlight.clear()
        self.settle(1, steps=10)
        self.busy().reply()
        self.settle()
        self.assertEqual(self.bed.transports[0].frontend.sent, [[b"c", b"", b"x"]])
        self.assertEqual(server.stats()["redispatched"], 1)

    def test_lastLines(self) -> None:
        """The last output of a worker, read after its requests were settled, is logged even if the server stops."""
        server = self.serve(1)
        [worker] = self.bed.workers
        process = worker.process
        self.bed.transports[0].backend.connect(worker.identity)
        stopped = server.stopService()
        worker.send(EXITING)
        self.settle()
        process.exit()
        self.settle()
        process.writeOutput(b"bye\n")
        self.assertNoResult(stopped)
        self.settle(2)
        self.successResultOf(stopped)
        self.assertIn(f"worker {process.pid} stdout: bye", self.log())


class DequeueTests(TestBedCase):
    """Children that run the dequeue callable."""

    def test_dequeue(self) -> None:
        """One is started every check-for-dequeue seconds, gets no requests, and its end is no fault."""
        limits = PoolLimits(minServers=1, maxServers=1, checkForDequeue=10.0)
        server = self.serve(limits=limits, dequeue="mod.dequeue")
        self.bed.autoAnnounce = False
        self.settle(10)
        _, dequeue = self.bed.workers
        self.assertEqual(dequeue.config.dequeue, "mod.dequeue")
        self.assertIsNone(self.bed.workers[0].config.dequeue)
        dequeue.announce(DEQUEUE)
        self.settle()
        self.assertEqual(server.workers[dequeue.process.pid], "dequeue")
        for number in range(3):
            self.bed.request(b"c", b"%d" % number)
        self.assertEqual(dequeue.inFlight, [])
        self.settle(10)
        self.assertEqual(len(self.bed.workers), 2)
        dequeue.send(EXITING)
        dequeue.process.end()
        self.settle(10)
        self.assertEqual(len(self.bed.workers), 3)
        self.assertFalse(any(event["log_level"] is LogLevel.warn for event in self.events))


class TokenTests(TestBedCase):
    """A child proves by its token that it is the server's."""

    def setUp(self) -> None:
        super().setUp()
        self.bed.autoAnnounce = False
        self.server = self.serve(1)
        [self.worker] = self.bed.workers

    def refused(self) -> None:
        """Check that the worker was not admitted, and that the message was counted."""
        self.settle()
        self.assertEqual(self.server.workers, {self.worker.process.pid: "starting"})
        self.assertEqual(self.server.stats()["dropped"], {"wrong-token": 1})
        self.assertEqual(self.bed.request(b"c", b"x"), [])
        self.assertEqual(self.worker.inFlight, [])

    def test_right(self) -> None:
        """The right token admits the worker."""
        self.worker.announce()
        self.settle()
        self.assertEqual(self.server.workers, {self.worker.process.pid: "waiting"})
        self.assertEqual(self.server.stats()["dropped"], {})

    def test_before(self) -> None:
        """Requests that came before the first worker carry the client's address: its app may want it."""
        self.worker.autoReply = False
        self.bed.request(b"c", b"x")
        self.worker.announce(context=True)
        self.settle()
        [[_, context, *_]] = self.worker.inFlight
        self.assertEqual(json.loads(context)["client"], "127.0.0.1")

    def test_name(self) -> None:
        """The routing id of a worker holds eight random bytes, so that no peer can claim it before the worker."""
        self.server.grow()
        self.settle()
        names = [each.config.identity for each in self.bed.workers]
        guesses = [f"child_{each.process.pid}_" for each in self.bed.workers]
        found = [name.removeprefix(guess) for name, guess in zip(names, guesses, strict=True)]
        self.assertEqual([len(bytes.fromhex(each)) for each in found], [8, 8])
        self.assertEqual(len(set(found)), 2)

    def test_wrong(self) -> None:
        """A wrong token is rejected."""
        self.worker.announce(token="0" * 32)
        self.refused()

    def test_empty(self) -> None:
        """An empty token is rejected."""
        self.worker.announce(token="")
        self.refused()

    def test_missing(self) -> None:
        """An announcement without a token is rejected."""
        self.worker.send(WAITING)
        self.refused()

    def test_notText(self) -> None:
        """A token that is no valid text is rejected, and breaks nothing."""
        self.worker.send(WAITING, b'{"token":"\\ud800"}')
        self.refused()

    def test_anothers(self) -> None:
        """The token of another worker is rejected."""
        self.server.grow()
        self.settle()
        other = self.bed.workers[1]
        self.worker.announce(token=other.config.token)
        self.settle()
        self.assertEqual(set(self.server.workers.values()), {"starting"})

    def test_anotherProcess(self) -> None:
        """On a UNIX socket the right token is rejected if it comes from another process."""
        transport = self.bed.transports[-1]
        for address, state in (
            ("localhost:0:0:1", "starting"),
            (f"localhost:0:0:{self.worker.process.pid}", "waiting"),
        ):
            transport.address = address
            self.worker.announce()
            self.settle()
            self.assertEqual(self.server.workers, {self.worker.process.pid: state})
        self.assertEqual(self.server.stats()["dropped"], {"wrong-process": 1})

    def test_otherWords(self) -> None:
        """A peer that has taken a child's routing id before it cannot say that it leaves, nor anything else."""
        self.worker.send(EXITING)
        self.settle()
        self.worker.announce(EXITING)
        self.settle()
        self.assertEqual(self.server.workers, {self.worker.process.pid: "starting"})
        self.assertEqual(self.server.stats()["dropped"], {"wrong-token": 1, "not-ready": 1})
        self.worker.announce()
        self.settle()
        self.assertEqual(self.server.workers, {self.worker.process.pid: "waiting"})

    def test_secondTry(self) -> None:
        """The right token is accepted after a wrong one."""
        self.worker.announce(token="wrong")
        self.worker.announce()
        self.settle()
        self.assertEqual(self.server.workers, {self.worker.process.pid: "waiting"})
