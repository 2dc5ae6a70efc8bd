# -*- test-case-name: pirate.test.integration.test_pool -*-
"""Tests of a pool that grows, shrinks and replaces its workers under load, and runs every request exactly once."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from time import monotonic

from twisted.internet.threads import deferToThread

from pirate.errors import ReloadError
from pirate.service import JobServer
from pirate.test.support.clients import Load
from pirate.test.support.processes import remaining
from pirate.test.support.servers import ProgramCase, ServerCase, executions


class SteadyLoadTests(ProgramCase):
    """A steady load of REQ clients while the pool changes."""

    def assertNothingLost(self, load: Load) -> None:
        """Check that every request was run once and got its own reply."""
        load.finish()
        self.assertEqual(load.answers, {each: [each.upper()] for each in load.asked})
        executed = Counter(line.split()[0] for line in executions(self.record))
        self.assertEqual(executed, Counter(each.decode() for each in load.asked))

    def test_commands(self) -> None:
        """Repeated HUP, TTIN and TTOU lose no request and run none twice."""
        server = self.twistd("record", "--workers=2", "--max-requests=0", "--log-level=3").ready()
        first = server.workers()
        load = self.load(server.frontend, 8)
        load.more(100)
        for turn in (1, 2):
            server.signal(signal.SIGHUP)
            server.out.until("reloaded", turn)
            load.more(100)
            server.signal(signal.SIGTTIN)
            server.out.until("is ready", 2 + 3 * turn)
            load.more(100)
            server.signal(signal.SIGTTOU)
            server.out.until("has left", 3 * turn)
            load.more(100)
        self.assertFalse(set(first) & set(server.workers()))
        self.assertEqual(len(server.workers()), 2)
        self.assertNothingLost(load)
        self.assertStops(server)

    def test_terminated(self) -> None:
        """Workers that get TERM from outside exit and are replaced; no request is lost or run twice."""
        server = self.twistd("record", "--workers=2", "--max-requests=0", "--log-level=3").ready()
        load = self.load(server.frontend, 8)
        for count in range(1, 4):
            load.more(100)
            os.kill(server.workers()[0], signal.SIGTERM)
            server.out.until("has left|ended", count)
            server.out.until("is ready", 2 + count)
        self.assertNothingLost(load)
        self.assertStops(server)

    def test_recycling(self) -> None:
        """With ``max-requests`` 50 no worker runs more and each is replaced; no request is lost or run twice."""
        server = self.twistd("record", "--workers=2", "--max-requests=50", "--max-requests-jitter=0").ready()
        load = self.load(server.frontend, 8, 300)
        load.until(300)
        self.assertNothingLost(load)
        shares = Counter(line.split()[1] for line in executions(self.record))
        self.assertGreaterEqual(len(shares), 6)
        self.assertLessEqual(max(shares.values()), 50)
        self.assertStops(server)

    def test_demand(self) -> None:
        """A backlog makes the pool grow to max-servers; without it the surplus workers exit."""
        server = self.twistd(
            *("mixed", "--min-servers=1", "--max-servers=4", "--min-spare-servers=1", "--max-spare-servers=1"),
            *("--min-child-ttl=0.2", "--check-for-waiting=0.1", "--prefetch=1", "--log-level=3"),
        ).ready()
        load = self.load(server.frontend, 2)
        held = [self.asking(server.frontend, self.gate.path) for _ in range(5)]
        guests = [self.gate.next() for _ in range(4)]
        self.assertEqual(len(server.workers()), 4)
        for guest in guests:
            guest.tell(b"pid")
        self.gate.next().tell(b"pid")
        self.assertEqual({int(each.result()[0]) for each in held}, {guest.pid for guest in guests})
        left = server.out.until("worker (\\d+) has left", 2)
        self.assertEqual(remaining([int(each[1]) for each in left], 5.0), [])
        load.more(100)
        self.assertNothingLost(load)
        self.assertStops(server)


class ReplacementTests(ServerCase):
    """Workers that end are replaced, even without traffic."""

    async def test_killedAll(self) -> None:
        """If all workers of an idle server are killed at once, all are replaced within a second."""
        server = self.server("pid", 5)
        started = monotonic()
        server.startService()
        await server.whenReady()
        first = monotonic() - started
        # On a busy machine, five starts of any program may take longer than a second.
        enough = 1.0 if first < 0.25 else 10 * first
        pids, killed = set(server.workers), monotonic()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await self.until(lambda: list(server.workers.values()) == ["waiting"] * 5 and not pids & set(server.workers))
        self.assertLess(monotonic() - killed, enough)
        self.assertEqual(server.stats()["exits"], {"signal SIGKILL": 5})
        self.assertEqual(len(self.logged("ended while waiting: signal SIGKILL$")), 5)
        self.assertIn(int((await self.ask(server, b""))[0]), server.workers)

    async def test_killedNext(self) -> None:
        """If the idle worker that is next is killed, the next request gets its reply from another."""
        server = await self.serve("pid", 2)
        for _ in range(3):
            following = int((await self.ask(server, b""))[0])
            victim = next(pid for pid in server.workers if pid != following)
            os.kill(victim, signal.SIGKILL)
            self.assertNotEqual(await self.ask(server, b""), [b"%d" % victim])
            await self.until(self.replaces(server, victim))

    def replaces(self, server: JobServer, victim: int) -> Callable[[], bool]:
        """Return a condition: two workers are ready, and the victim is not among them."""
        return lambda: list(server.workers.values()) == ["waiting"] * 2 and victim not in server.workers

    async def test_crashLoop(self) -> None:
        """While every start fails, starts become rarer; once they succeed again, the waiting request gets its reply."""
        server = await self.serve("Fragile", 2)
        with open(self.broken, "w"):
            for pid in list(server.workers):
                os.kill(pid, signal.SIGKILL)
            asked = self.ask(server, b"")
            # The pauses double from 0.1 s, and a quarter may be missing: the third is 0.3 s even at its shortest.
            await self.until(lambda: max(self.pauses(), default=0) > 0.25)
        self.assertLess(server.stats()["spawns"], 12)
        self.assertGreaterEqual(len(self.logged("could not start: cannot load")), 3)
        os.unlink(self.broken)
        await self.until(lambda: list(server.workers.values()) == ["waiting"] * 2)
        self.assertIn(int((await asked)[0]), server.workers)

    def pauses(self) -> list[float]:
        """Return the seconds from each end of a child to the next start, if no other end came between."""
        told = [
            (moment[0], at)
            for moment, at in zip(self.moments, self.times, strict=True)
            if moment[0] in ("childStarted", "childExited")
        ]
        return [
            start - end
            for (what, end), (then, start) in pairwise(told)
            if (what, then) == ("childExited", "childStarted")
        ]

    async def test_startTimeout(self) -> None:
        """A child that is not ready in time is killed, even if it ignores TERM, and counts as a failed start."""
        server = await self.serve("Fragile", 1)
        server.reconfigure(startTimeout=0.5)
        with open(self.broken, "w") as broken:
            broken.write("hang")
        error = await self.assertFails(server.reload(), ReloadError)
        self.assertIn("it did not become ready in time", error)
        self.assertEqual(len(self.logged("gets SIGKILL: it did not become ready in time")), 1)
        self.assertEqual(len(self.logged(r"worker \d+ could not start: signal SIGKILL")), 1)
        self.assertEqual(server.stats()["exits"], {"signal SIGKILL": 1})
        self.assertIn(int((await self.ask(server, b""))[0]), server.workers)


class ReloadTests(ServerCase):
    """Rolling reloads."""

    async def test_failing(self) -> None:
        """A reload whose new workers cannot start fails with the reason, and all old workers keep serving."""
        server = await self.serve("Fragile", 2)
        pids = set(server.workers)
        with open(self.broken, "w"):
            error = await self.assertFails(server.reload(), ReloadError)
        self.assertIn("RuntimeError: it is broken", error)
        self.assertEqual({int((await self.ask(server, b""))[0]) for _ in range(4)}, pids)
        os.unlink(self.broken)
        await server.reload()
        await self.until(lambda: not pids & set(server.workers))
        self.assertEqual({int((await self.ask(server, b""))[0]) for _ in range(4)}, set(server.workers))

    async def test_busy(self) -> None:
        """A worker that is busy during a reload finishes its request, while the new one serves others."""
        server = await self.serve("perform", 1)
        held = self.ask(server, b"meet", self.gate.path)
        guest = await deferToThread(self.gate.next)
        await server.reload()
        (newcomer,) = set(server.workers) - {guest.pid}
        self.assertEqual(await self.ask(server, b"pid"), [b"%d" % newcomer])
        guest.tell(b"pid")
        self.assertEqual(await held, [b"%d" % guest.pid])
        await self.until(lambda: set(server.workers) == {newcomer})
        self.assertUntroubled()
