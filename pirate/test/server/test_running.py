# -*- test-case-name: pirate.test.server.test_running -*-
"""A running server on a test bed: what it accepts, what it tells its workers, how it ends."""

from __future__ import annotations

import os
from typing import Any

from pirate.broker.deadlines import MAX_EXPIRED
from pirate.server.protocol import CATCH_UP
from pirate.service import ServerState
from pirate.settings.limits import PoolLimits, RequestPolicy
from pirate.test.support.testbed import TestBedCase
from pirate.wire.frontend import header, parseHeader
from pirate.wire.workerconfig import WorkerConfig

REQUEST_ID = bytes(16)


class StopTests(TestBedCase):
    """From running to stopped, with and without requests."""

    def test_idle(self) -> None:
        """An idle server stops at once, and retires its workers without signals."""
        server = self.serve()
        stopped = server.stopService()
        self.settle()
        self.successResultOf(stopped)
        self.assertEqual([worker.process.signals for worker in self.bed.workers], [[], []])
        self.assertTrue(self.bed.transports[0].closed)

    def test_inFlight(self) -> None:
        """Accepted requests get their replies, whether they are in flight or wait."""
        self.bed.autoReply = False
        server = self.serve(1)
        self.bed.request(b"c", b"held")
        self.bed.request(b"d", b"waiting")
        stopped = server.stopService()
        self.settle(20)
        self.assertNoResult(stopped)
        for _ in range(2):
            self.busy().reply()
            self.settle()
        self.successResultOf(stopped)
        frontend = self.bed.transports[0].frontend
        self.assertEqual(frontend.sent, [[b"c", b"", b"held"], [b"d", b"", b"waiting"]])

    def test_lastCall(self) -> None:
        """Requests sent before the stop are accepted, and later ones are not."""
        self.bed.autoReply = False
        server = self.serve(1)
        frontend = self.bed.transports[0].frontend
        frontend.receive(b"c", b"", b"in time")
        server.stopService()
        self.bed.request(b"d", b"late")
        self.busy().reply()
        self.settle()
        self.assertIs(server.state, ServerState.STOPPED)
        self.assertEqual(frontend.sent, [[b"c", b"", b"in time"]])

    def test_deadline(self) -> None:
        """After stop-timeout the remaining requests are given up and logged, and the workers are stopped."""
        self.bed.autoReply = False
        limits = PoolLimits(minServers=1, maxServers=1, stopTimeout=3.0)
        server = self.serve(limits=limits)
        self.bed.request(b"c", b"held")
        self.bed.request(b"d", b"waiting")
        worker = self.busy()
        worker.process.termDelay = None
        stopped = server.stopService()
        self.settle(2.9)
        self.assertEqual(worker.process.signals, [])
        self.settle(0.1)
        self.assertEqual(worker.process.signals, ["TERM"])
        self.assertIn("stopped with 1 requests in flight and 1 waiting, unanswered", self.log())
        self.settle(1.5, steps=15)
        self.successResultOf(stopped)
        self.assertEqual(worker.process.signals[-1], "KILL")

    def test_noDeadline(self) -> None:
        """Without a deadline the server waits for its requests as long as they take."""
        self.bed.autoReply = False
        server = self.serve(1)
        self.bed.request(b"c", b"x")
        stopped = server.stop(None)
        self.settle(86_400, steps=100)
        self.assertNoResult(stopped)
        self.assertEqual(self.busy().process.signals, [])
        self.busy().reply()
        self.settle()
        self.successResultOf(stopped)

    def test_abort(self) -> None:
        """An abort kills the workers at once, busy or not, even if the server is stopping already."""
        self.bed.autoReply = False
        server = self.serve()
        self.bed.request(b"c", b"x")
        stopped = server.stopService()
        aborted = server.abort()
        self.settle(0.1, steps=10)
        self.successResultOf(stopped)
        self.successResultOf(aborted)
        self.assertEqual(self.bed.livingWorkers(), [])
        self.assertIn("stopped with 1 requests in flight and 0 waiting, unanswered", self.log())

    def test_stopped(self) -> None:
        """Stopping a server twice, or one that does not run, or one that has just started, is no error."""
        server = self.make()
        self.successResultOf(server.stopService())
        self.successResultOf(server.abort())
        server.startService()
        both = [server.stopService(), server.stopService()]
        self.settle()
        for stopped in both:
            self.successResultOf(stopped)
        self.reactor.run()
        self.settle(10)
        self.assertEqual(self.reactor.processes, [])

    def test_externalWork(self) -> None:
        """A server without workers of its own waits for the requests that external workers hold."""
        server = self.serve(0, externalWorkers=True)
        backend = self.bed.transports[0].backend
        backend.receive(b"child_1", b"", b"waiting")
        self.bed.request(b"c", b"x")
        [[_, request, *_]] = backend.sentTo(b"child_1")
        stopped = server.stopService()
        self.settle(1)
        self.assertNoResult(stopped)
        backend.receive(b"child_1", b"", request, b"", b"done")
        self.settle()
        self.successResultOf(stopped)
        self.assertEqual(self.bed.transports[0].frontend.sentTo(b"c"), [[b"", b"done"]])

    def test_startAgain(self) -> None:
        """A server that has stopped can be started again, any number of times, with nothing left over."""
        server = self.make()
        self.reactor.run()
        for run in range(3):
            server.startService()
            self.settle()
            self.assertIs(server.state, ServerState.RUNNING)
            self.assertEqual(self.bed.request(b"c", b"%d" % run), [[b"", b"%d" % run]])
            self.assertEqual((server.stats()["received"], len(server.workers)), (1, 2))
            stopped = server.stopService()
            self.settle()
            self.successResultOf(stopped)
            self.assertEqual((server.state, server.stats(), server.workers), (ServerState.STOPPED, {}, {}))
            self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual((len(self.bed.transports), len(self.bed.workers)), (3, 6))

    def test_twoServers(self) -> None:
        """Two servers in one process serve their own clients, and one stops while the other goes on."""
        first = self.serve(1, frontend="*", backend="*")
        second = self.serve(2, frontend="*", backend="*")
        self.assertEqual((len(first.workers), len(second.workers)), (1, 2))
        stopped = first.stopService()
        self.settle()
        self.successResultOf(stopped)
        self.assertEqual(self.bed.request(b"c", b"x"), [[b"", b"x"]])
        self.assertEqual((second.stats()["received"], len(second.workers)), (1, 2))


class DemandTests(TestBedCase):
    """Requests that find no worker idle."""

    def test_scaleUp(self) -> None:
        """A backlog starts more workers, in growing batches, up to max-servers."""
        self.bed.autoReply = False
        server = self.serve(limits=PoolLimits(minServers=1, maxServers=8))
        for number in range(20):
            self.bed.request(b"c%d" % number, b"x")
        counts = []
        for _ in range(6):
            self.settle(1)
            counts.append(len(server.workers))
        self.assertEqual(sorted(counts), counts)
        self.assertEqual((counts[-1], server.stats()["in_flight"], server.stats()["backlog"]), (8, 8, 12))

    def test_leastRecentlyUsed(self) -> None:
        """Each worker gets a request before any gets a second."""
        self.serve(3)
        for number in range(6):
            self.bed.request(b"c", b"%d" % number)
        backend = self.bed.transports[0].backend
        taken = [frames[0] for frames in backend.sent]
        self.assertEqual(len(set(taken[:3])), 3)
        self.assertEqual(taken[:3], taken[3:])

    def test_full(self) -> None:
        """
        While the backlog is full, the frontend is read from once in a hundredth of a second, and nothing is lost.

        One client fills no more than half of the backlog.  Its further messages are read when there is room.
        """
        self.bed.autoReply = False
        server = self.serve(limits=PoolLimits(minServers=1, maxServers=1, maxRequests=0))
        frontend = self.bed.transports[0].frontend
        for number in range(10_200):
            frontend.receive(b"c", b"", b"%d" % number)
        self.settle()
        self.assertTrue(5_000 <= server.stats()["received"] < 5_300, server.stats()["received"])
        turns, before = self.bed.transports[0].turns, server.stats()["received"]
        self.settle(1)
        self.assertTrue(1 <= self.bed.transports[0].turns - turns <= 210)
        self.assertTrue(1 <= server.stats()["received"] - before <= 101)
        self.bed.workers[0].autoReply = True
        self.bed.workers[0].reply()
        self.settle()
        self.assertEqual(len(frontend.sent), 10_200)
        self.assertEqual([int(frames[2]) for frames in frontend.sent], list(range(10_200)))

    def test_clientGone(self) -> None:
        """A reply whose client has gone is counted, and disturbs no other client."""
        self.bed.autoReply = False
        server = self.serve(1)
        self.bed.request(b"c", b"x")
        self.bed.transports[0].frontend.disconnect(b"c")
        self.busy().reply()
        self.settle()
        self.assertEqual((server.stats()["undeliverable"], server.stats()["in_flight"]), (1, 0))


class TimeTests(TestBedCase):
    """The actions when a deadline passes."""

    def test_stoodStill(self) -> None:
        """When the server itself stood still, a reply that came meanwhile counts, and its worker lives."""
        self.bed.autoReply = False
        server = self.serve(1, policy=RequestPolicy(jobTimeout=5))
        self.bed.request(b"c", b"x")
        self.busy().reply()
        self.reactor.advance(6)
        self.settle(1, steps=10)
        self.assertEqual(self.bed.transports[0].frontend.sent, [[b"c", b"", b"x"]])
        self.assertEqual((self.bed.workers[0].process.signals, server.stats()["failed"]), ([], {}))

    def test_wasStopped(self) -> None:
        """If the whole process was stopped, it reads for a moment, and no longer, before any worker counts as late."""
        self.bed.autoReply = False
        server = self.serve(2, policy=RequestPolicy(jobTimeout=5))
        self.bed.request(b"a", b"x")
        one = self.busy()
        self.bed.request(b"b", b"y")
        self.reactor.advance(10)
        self.settle(CATCH_UP / 2)
        one.reply()
        self.settle()
        self.assertEqual(server.stats()["failed"], {})
        self.settle(CATCH_UP / 2)
        self.settle()
        self.assertEqual(self.bed.transports[0].frontend.sent, [[b"a", b"", b"x"]])
        self.assertEqual(server.stats()["failed"], {"timeout": 1})

    def test_manyExpire(self) -> None:
        """If very many requests expire at once, all of their clients are told, over several turns."""
        self.bed.autoReply = False
        server = self.serve(1, policy=RequestPolicy(requestTimeout=5))
        self.bed.request(b"a", b"x")
        frontend = self.bed.transports[0].frontend
        for number in range(2 * MAX_EXPIRED + 1):
            frontend.receive(b"c", header(b"%16d" % number, {}), b"", b"x")
        self.settle()
        turns = self.bed.transports[0].turns
        self.settle(6)
        self.assertGreaterEqual(self.bed.transports[0].turns - turns, 3)
        self.assertEqual((len(frontend.sentTo(b"c")), server.stats()["backlog"]), (2 * MAX_EXPIRED + 1, 0))

    def test_manyExpireBeforeAFreeWorker(self) -> None:
        """A free worker gets the first request that has not expired."""
        self.bed.autoReply = False
        server = self.serve(1)
        self.bed.request(b"a", b"x")
        frontend = self.bed.transports[0].frontend
        for number in range(2 * MAX_EXPIRED):
            frontend.receive(b"c", header(b"%16d" % number, {"timeout_ms": 1000}), b"", b"x")
        self.bed.request(b"d", b"last")
        self.reactor.advance(2)
        self.busy().reply()
        self.settle()
        self.busy().reply()
        self.settle()
        self.assertEqual(frontend.sentTo(b"d"), [[b"", b"last"]])
        self.assertEqual(server.stats()["failed"], {"expired": 2 * MAX_EXPIRED})

    def test_jobTimeout(self) -> None:
        """A job that takes too long is given up when its time is over, without any traffic."""
        self.bed.autoReply = False
        server = self.serve(1, policy=RequestPolicy(jobTimeout=5))
        self.bed.request(b"c", b"x")
        self.settle(4.9)
        self.assertEqual(server.stats()["failed"], {})
        self.settle(0.2)
        self.settle()
        self.assertEqual(server.stats()["failed"], {"timeout": 1})


class TellingTests(TestBedCase):
    """The configuration of the workers, and the reports of the server about itself."""

    def config(self, **given: Any) -> WorkerConfig:
        """Return the configuration of a worker of a server with some settings."""
        self.serve(1, **given)
        return self.bed.workers[-1].config

    def test_job(self) -> None:
        """A worker is told where to connect, who it is, what to run, where modules are, and its title."""
        config = self.config(app="mod.fn", backend=7001)
        self.assertEqual((config.backend, config.app, config.dequeue), ("tcp://127.0.0.1:7001", "mod.fn", None))
        self.assertRegex(config.identity, rf"^child_{self.pids()[0]}_[0-9a-f]+$")
        self.assertEqual(config.title, "zmq worker 7001")
        self.assertTrue(config.importPath)

    def test_secrets(self) -> None:
        """No two workers have the same token or identity."""
        self.serve(5)
        configs = [worker.config for worker in self.bed.workers]
        self.assertEqual(
            (len({config.token for config in configs}), len({config.identity for config in configs})), (5, 5)
        )

    def test_environment(self) -> None:
        """A worker is told its parent, and the ``PYTHONPATH`` for its own children."""
        for environment, expected in (({"PYTHONPATH": "/a"}, "/a"), ({}, None)):
            self.patch(os, "environ", environment)
            config = self.config(frontend="*", backend="*")
            self.assertEqual((config.parent, config.pythonPath), (os.getpid(), expected))

    def test_ipcBackend(self) -> None:
        """Workers connect through a UNIX socket if there is one."""
        config = self.config(backend=["*", "ipc:///tmp/b"])
        self.assertEqual(config.backend, "ipc:///tmp/b")

    def test_traceback(self) -> None:
        """The traceback of an app that cannot be loaded is written at the log level for debugging."""
        self.assertFalse(self.config(frontend="*", backend="*").showTraceback)
        self.assertTrue(self.config(frontend="*", backend="*", logLevel=4).showTraceback)

    def test_context(self) -> None:
        """An app that wants the context gets the client's address and the attempt; others get plain requests."""
        self.bed.autoAnnounce = self.bed.autoReply = False
        self.serve(1)
        [worker] = self.bed.workers
        worker.announce(context=True)
        self.settle()
        self.bed.request(b"c", b"x")
        _, context, delimiter, body = worker.inFlight[0]
        self.assertEqual((delimiter, body), (b"", b"x"))
        self.assertEqual(context, b'{"client":"127.0.0.1","service":"","attempt":1}')

    def test_stats(self) -> None:
        """A snapshot has every count that the documentation names, from the start."""
        server = self.serve()
        stats = server.stats()
        zeros = ("received", "replied", "redispatched", "late", "undeliverable", "backlog", "in_flight")
        self.assertEqual({name: stats.pop(name) for name in zeros}, dict.fromkeys(zeros, 0))
        self.assertEqual(
            {name: stats[name] for name in ("failed", "dropped", "workers", "spawns", "exits")},
            {"failed": {}, "dropped": {}, "workers": {"waiting": 2}, "spawns": 2, "exits": {}},
        )

    def test_snapshot(self) -> None:
        """A snapshot does not change afterwards."""
        server = self.serve()
        before = server.stats()
        self.bed.transports[0].frontend.receive(b"c", b"no delimiter")
        self.bed.workers[0].process.end(signal="KILL")
        self.settle()
        self.assertEqual((before["dropped"], before["exits"]), ({}, {}))

    def test_givenUp(self) -> None:
        """A request that kills every worker is given up, counted, and logged with what its client was told."""
        for options, untold in (({}, 1), ({"errorReply": True}, 0)):
            self.setUp()
            self.bed.autoReply = False
            server = self.serve(1, **options)
            self.bed.request(b"c", b"poison")
            for _ in range(3):
                self.busy().process.end(signal="SEGV")
                self.settle(2, steps=20)
            self.assertEqual((server.stats()["failed"], server.stats()["redispatched"]), ({"worker-lost": 1}, 2))
            [line] = [line for line in self.log() if "given up" in line]
            self.assertIn("signal SIGSEGV", line)
            self.assertEqual(line.count("was not told"), untold)
            self.assertEqual(len(self.bed.transports[0].frontend.sent), int("errorReply" in options))

    def test_stopping(self) -> None:
        """A native client that sends a request to a stopping server gets an error at once."""
        self.bed.autoReply = False
        server = self.serve(1)
        self.bed.request(b"c", b"x")
        server.stopService()
        frontend = self.bed.transports[0].frontend
        frontend.receive(b"n", header(REQUEST_ID, {}), b"", b"late")
        self.settle()
        [[frame, *_]] = frontend.sentTo(b"n")
        parsed = parseHeader(frame)
        assert parsed is not None
        self.assertEqual((parsed[0], parsed[1]["code"]), (REQUEST_ID, "stopping"))
