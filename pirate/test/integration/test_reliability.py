"""Tests that no request is lost or run twice when workers die or hang, and when clients retry or cancel."""

from __future__ import annotations

import os
import signal

from twisted.internet.threads import deferToThread

from pirate.test.support.caller import ReliabilityCase
from pirate.test.support.flood import Flood
from pirate.test.support.gate import PATIENCE
from pirate.test.support.servers import executions


class DeathTests(ReliabilityCase):
    """Workers that die with requests in flight."""

    async def test_poison(self) -> None:
        """
        A request that kills its workers kills three, and then its client gets an error with the cause.  Other requests
        that were in flight in the same workers get their replies.
        """
        server = await self.start("record", workers=2, prefetch=16, backlog=2000)
        caller = self.caller(server)
        for number in range(1000):
            if number == 500:
                caller.send(b"poison", b"poison")
            caller.send(b"%d" % number, b"%d" % number)
        answers = {key: (told, body) for key, told, body in [await caller.next() for _ in range(1001)]}
        told, _ = answers.pop(b"poison")
        self.assertEqual((told["code"], told["attempts"]), ("worker-lost", 3))
        self.assertIn("SIGKILL", told["message"])
        self.assertEqual(answers, {b"%d" % number: ({}, [b"%d" % number]) for number in range(1000)})
        self.assertEqual(server.stats()["exits"], {"signal SIGKILL": 3})
        self.assertEqual(executions(self.record).count("poison"), 3)

    async def test_onlyOnce(self) -> None:
        """A client that allows one attempt gets an error after the first worker's death."""
        server = await self.start("record")
        caller = self.caller(server)
        caller.send(b"a", b"poison", attempts=1)
        told, _ = await caller.answer(b"a")
        self.assertEqual((told["code"], told["attempts"]), ("worker-lost", 1))

    async def test_midStream(self) -> None:
        """If a worker dies after it has sent parts, they are not sent again, and the client gets an error."""
        server = await self.start("count")
        caller = self.caller(server)
        caller.send(b"a", b"2", self.gate.path, partial=True)
        parts = [await caller.answer(b"a") for _ in range(2)]
        self.assertEqual(parts, [({"status": "partial"}, [b"0"]), ({"status": "partial"}, [b"1"])])
        os.kill((await self.guest()).pid, signal.SIGKILL)
        told, _ = await caller.answer(b"a")
        self.assertEqual(told["code"], "worker-lost")


class RetryTests(ReliabilityCase):
    """Clients that send the same request again."""

    async def test_joins(self) -> None:
        """A request that is sent again while it runs is run once, and every sender gets the reply."""
        server = await self.start("recordAndMeet")
        first, second, third = (self.caller(server) for _ in range(3))
        first.send(b"a", b"once", self.gate.path)
        guest = await self.guest()
        second.send(b"a", b"once", self.gate.path)
        await self.until(lambda: server.stats()["joined"] == 1)
        guest.tell(b"pid")
        answer = await first.answer(b"a")
        self.assertEqual(answer, ({}, [b"%d" % guest.pid]))
        self.assertEqual(await second.answer(b"a"), answer)
        third.send(b"a", b"once", self.gate.path)
        self.assertEqual(await third.answer(b"a"), answer)
        self.assertEqual(executions(self.record), ["once"])
        self.assertEqual(server.stats()["remembered"], 1)

    async def test_forgets(self) -> None:
        """With ``rememberSeconds`` 0, a request that is sent again after its reply is run again."""
        server = await self.start("record", rememberSeconds=0)
        caller = self.caller(server)
        for _ in range(2):
            caller.send(b"a", b"again")
            await caller.answer(b"a")
        self.assertEqual(executions(self.record), ["again", "again"])


class TimeTests(ReliabilityCase):
    """Requests with a deadline, and limits for jobs."""

    async def test_expires(self) -> None:
        """A request whose deadline passes while it waits is not run, and its client gets ``expired`` then."""
        server = await self.start("recordAndMeet")
        caller = self.caller(server)
        caller.send(b"a", b"first", self.gate.path)
        guest = await self.guest()
        caller.send(b"b", b"second", self.gate.path, timeout_ms=50)
        told, _ = await caller.answer(b"b")
        self.assertEqual(told["code"], "expired")
        guest.close()
        await caller.answer(b"a")
        self.assertEqual(executions(self.record), ["first"])

    async def test_expiresInHand(self) -> None:
        """A request that waits in a worker behind another expires as well."""
        server = await self.start("recordAndMeet", prefetch=2)
        caller = self.caller(server)
        caller.send(b"a", b"first", self.gate.path)
        guest = await self.guest()
        caller.send(b"b", b"second", self.gate.path, timeout_ms=50)
        told, _ = await caller.answer(b"b")
        self.assertEqual((told["code"], told["attempts"]), ("expired", 0))
        guest.close()
        await caller.answer(b"a")
        caller.send(b"c", b"third", self.gate.path)
        (await self.guest()).close()
        await caller.answer(b"c")
        self.assertEqual(executions(self.record), ["first", "third"])

    async def test_knowsWhatIsLeft(self) -> None:
        """The app gets the remaining time of its caller, and the caller's trace."""
        server = await self.start("told")
        caller = self.caller(server)
        caller.send(b"a", b"", timeout_ms=50_000, trace="00-1-2-01")
        caller.send(b"b", b"")
        _, (left, trace) = await caller.answer(b"a")
        self.assertTrue(0 < float(left) <= 50, left)
        self.assertEqual(trace, b"00-1-2-01")
        self.assertEqual(await caller.answer(b"b"), ({}, [b"None", b""]))

    async def test_jobTimeout(self) -> None:
        """
        A job in C code that exceeds its time limit is stopped with its worker, which is replaced.  Its stack is logged,
        its client gets an error, it is not run again, and the other worker is not affected.
        """
        server = await self.start("endure", workers=2, jobTimeout=0.3)
        caller = self.caller(server)
        before = set(server.workers)
        caller.send(b"a", b"stubborn")
        caller.send(b"b", b"brief")
        _, (neighbour,) = await caller.answer(b"b")
        told, _ = await caller.answer(b"a")
        self.assertEqual((told["code"], told["attempts"]), ("timeout", 0))
        (pid,) = before - {int(neighbour)}
        await self.until(lambda: list(server.workers.values()) == ["waiting"] * 2 and pid not in server.workers)
        self.assertEqual(before & set(server.workers), {int(neighbour)})
        self.assertTrue(self.logged(f"worker {pid} stderr: .*in hog"))
        stats = server.stats()
        self.assertEqual((stats["exits"], stats["failed"]), ({"signal SIGABRT": 1}, {"timeout": 1}))
        self.assertEqual((stats["redispatched"], stats["replied"]), (0, 1))

    async def test_stopped(self) -> None:
        """A worker that a signal stops during a job is killed at the time limit."""
        server = await self.start("recordAndMeet", jobTimeout=0.3)
        caller = self.caller(server)
        caller.send(b"a", b"once", self.gate.path)
        os.kill((await self.guest()).pid, signal.SIGSTOP)
        told, _ = await caller.answer(b"a")
        self.assertEqual(told["code"], "timeout")
        await self.until(lambda: server.stats()["exits"] == {"signal SIGKILL": 1})

    async def test_stoppedIdle(self) -> None:
        """A worker that was stopped before it got a request is replaced, and another one replies."""
        server = await self.start("record", deliveryTimeout=0.2)
        caller = self.caller(server)
        (pid,) = server.workers
        os.kill(pid, signal.SIGSTOP)
        caller.send(b"a", b"moved")
        self.assertEqual(await caller.answer(b"a"), ({}, [b"moved"]))
        self.assertEqual(executions(self.record), ["moved"])
        await self.until(lambda: server.stats()["exits"] == {"signal SIGKILL": 1})

    async def test_softTimeout(self) -> None:
        """The soft time limit raises an exception in the app, which may clean up and still reply."""
        server = await self.start("endure", jobSoftTimeout=0.1, jobTimeout=PATIENCE)
        caller = self.caller(server)
        (pid,) = server.workers
        caller.send(b"a", b"tidy")
        self.assertEqual(await caller.answer(b"a"), ({}, [b"in order"]))
        caller.send(b"b", b"untidy")
        told, _ = await caller.answer(b"b")
        self.assertEqual(told["code"], "timeout")
        self.assertEqual(list(server.workers), [pid])

    async def test_softTimeoutBetweenParts(self) -> None:
        """The soft time limit never interrupts the sending of a message; the worker keeps serving."""
        server = await self.start("ceaseless", jobSoftTimeout=0.1)
        caller = self.caller(server)
        (pid,) = server.workers
        for key in (b"a", b"b", b"c", b"d", b"e"):
            caller.send(key, b"x" * 100)
            told, _ = await caller.answer(key)
            self.assertEqual(told["code"], "timeout")
        self.assertEqual((list(server.workers), server.stats()["dropped"]), ([pid], {}))

    async def test_partsAreNoExcuse(self) -> None:
        """The hard time limit counts from the start of the job, even if it sends parts."""
        server = await self.start("ceaseless", jobTimeout=0.2)
        caller = self.caller(server)
        caller.send(b"a", b"")
        told, _ = await caller.answer(b"a")
        self.assertEqual(told["code"], "timeout")

    async def test_cancelInHand(self) -> None:
        """A request that is cancelled while it waits in a worker is not run."""
        server = await self.start("recordAndMeet", prefetch=4)
        caller = self.caller(server)
        caller.send(b"a", b"first", self.gate.path)
        guest = await self.guest()
        caller.send(b"b", b"second", self.gate.path)
        caller.send(b"b", b"", command="cancel")
        await caller.answer(b"b")
        guest.close()
        await caller.answer(b"a")
        await self.until(lambda: list(server.workers.values()) == ["waiting"])
        self.assertEqual(executions(self.record), ["first"])


class OddTests(ReliabilityCase):
    """Apps that reply and fail in unusual ways."""

    async def test_odd(self) -> None:
        """A discontiguous memoryview is a reply, a ``BaseException`` is an error, and the worker stays."""
        server = await self.start("odd")
        caller = self.caller(server)
        (pid,) = server.workers
        caller.send(b"a", b"view")
        self.assertEqual(await caller.answer(b"a"), ({}, [b"ace"]))
        caller.send(b"b", b"raise")
        told, _ = await caller.answer(b"b")
        self.assertEqual((told["code"], told["message"]), ("app-error", "CancelledError: not an Exception"))
        self.assertEqual(list(server.workers), [pid])

    async def test_largeHeader(self) -> None:
        """A native header of several kilobytes is accepted."""
        server = await self.start("odd")
        caller = self.caller(server)
        caller.send(b"a", b"raise", unknown="x" * 5000)
        told, _ = await caller.answer(b"a")
        self.assertEqual(told["code"], "app-error")


class ChangeOfMindTests(ReliabilityCase):
    """Clients that cancel a request, or disconnect."""

    async def test_cancelQueued(self) -> None:
        """A request that is cancelled while it waits is not run."""
        server = await self.start("recordAndMeet")
        caller = self.caller(server)
        caller.send(b"a", b"first", self.gate.path)
        guest = await self.guest()
        caller.send(b"b", b"second", self.gate.path)
        caller.send(b"b", b"", command="cancel")
        told, _ = await caller.answer(b"b")
        self.assertEqual(told["code"], "cancelled")
        guest.close()
        await caller.answer(b"a")
        self.assertEqual(executions(self.record), ["first"])

    async def test_cancelRunning(self) -> None:
        """An app that asks whether its request is cancelled can stop, and its worker stays."""
        server = await self.start("watch")
        caller = self.caller(server)
        caller.send(b"a", self.gate.path)
        guest = await self.guest()
        caller.send(b"a", b"", command="cancel")
        told, _ = await caller.answer(b"a")
        self.assertEqual(told["code"], "cancelled")
        guest.close()
        await self.until(lambda: server.stats()["late"] == 1)
        self.assertEqual(executions(self.record), ["cancelled"])
        self.assertEqual(list(server.workers), [guest.pid])

    async def test_cancelGrace(self) -> None:
        """With ``cancelGrace``, an app that does not ask is stopped with its worker after that many seconds."""
        server = await self.start("endure", cancelGrace=0.1)
        caller = self.caller(server)
        (pid,) = server.workers
        caller.send(b"a", b"untidy")
        await self.until(lambda: server.stats()["in_flight"] == 1)
        caller.send(b"a", b"", command="cancel")
        await caller.answer(b"a")
        await self.until(lambda: list(server.workers.values()) == ["waiting"] and pid not in server.workers)

    async def test_cancelUnknown(self) -> None:
        """The cancellation of an unknown request gets an error."""
        server = await self.start("record")
        caller = self.caller(server)
        caller.send(b"a", b"", command="cancel")
        told, _ = await caller.answer(b"a")
        self.assertEqual((told["code"], told["message"]), ("cancelled", "there is no such request"))

    async def test_vanishes(self) -> None:
        """The request of a plain client that disconnects while it waits is not run."""
        server = await self.start("recordAndMeet")
        caller = self.caller(server)
        caller.send(b"a", b"first", self.gate.path)
        guest = await self.guest()
        await self.ask(server, b"second", self.gate.path, within=0.05)
        await self.until(lambda: server.stats()["withdrawn"] == 1)
        guest.close()
        await caller.answer(b"a")
        self.assertEqual(executions(self.record), ["first"])


class PartTests(ReliabilityCase):
    """Apps that reply in parts."""

    async def test_asTheyCome(self) -> None:
        """A client that accepts parts gets each as soon as the app yields it, and then the end."""
        server = await self.start("count")
        caller = self.caller(server)
        caller.send(b"a", b"2", self.gate.path, partial=True)
        self.assertEqual(await caller.answer(b"a"), ({"status": "partial"}, [b"0"]))
        self.assertEqual(await caller.answer(b"a"), ({"status": "partial"}, [b"1"]))
        (await self.guest()).tell(b"several", b"2")
        self.assertEqual(await caller.answer(b"a"), ({"status": "partial"}, [b"2", b"1"]))
        self.assertEqual(await caller.answer(b"a"), ({}, [b"end"]))

    async def test_allAtOnce(self) -> None:
        """Other clients get one reply with the frames of all parts in order."""
        server = await self.start("count")
        self.assertEqual(await self.ask(server, b"3"), [b"0", b"1", b"2", b"end"])
        caller = self.caller(server)
        caller.send(b"a", b"0")
        self.assertEqual(await caller.answer(b"a"), ({}, [b"end"]))

    async def test_tooSlow(self) -> None:
        """A client that reads too slowly loses parts, but gets the last message."""
        server = await self.start("ceaseless")
        caller = self.caller(server)
        caller.send(b"a", b"x" * 5000, partial=True)
        await self.until(lambda: bool(server.stats()["failed"]))
        while True:
            told, _ = await caller.answer(b"a")
            if told["status"] != "partial":
                break
        self.assertEqual((told["code"], told["message"]), ("cancelled", "its client does not read the parts"))


class BacklogTests(ReliabilityCase):
    """A full backlog."""

    async def test_reject(self) -> None:
        """With the policy ``reject``, a native client gets ``busy``; the waiting requests get replies."""
        server = await self.start("recordAndMeet", backlog=1, backlogPolicy="reject")
        caller = self.caller(server)
        caller.send(b"a", b"first", self.gate.path)
        guest = await self.guest()
        caller.send(b"b", b"second", self.gate.path)
        caller.send(b"c", b"third", self.gate.path)
        told, _ = await caller.answer(b"c")
        self.assertEqual(told["code"], "busy")
        guest.close()
        await caller.answer(b"a")
        (await self.guest()).close()
        await caller.answer(b"b")
        self.assertEqual(executions(self.record), ["first", "second"])

    async def test_wait(self) -> None:
        """With the policy ``wait``, a plain client is held back, and all replies arrive in order."""
        server = await self.start("record", backlog=2)
        flood = Flood(server, 500)
        self.addCleanup(flood.close)
        self.assertEqual(await deferToThread(flood.receive, 500), [b"%d" % number for number in range(500)])


class WearTests(ReliabilityCase):
    """Workers that are replaced because of their age or memory, or by a reload."""

    async def test_hangs(self) -> None:
        """A worker that hangs when it is replaced is stopped, with its stack in the log and an error for its client."""
        server = await self.start("endure", reloadTimeout=0.1)
        (pid,) = server.workers
        caller = self.caller(server)
        caller.send(b"a", b"hang", attempts=1)
        await self.until(lambda: server.workers[pid] == "processing")
        await server.reload()
        told, _ = await caller.answer(b"a")
        self.assertEqual(told["code"], "worker-lost")
        self.assertTrue(self.logged(f"worker {pid} gets SIGABRT: it did not leave in time"))
        self.assertTrue(self.logged(f"worker {pid} stderr: .*in endure"))
        self.assertNotIn(pid, server.workers)

    async def test_memory(self) -> None:
        """A worker above the memory limit is replaced, and no request is lost."""
        server = await self.start("record", maxMemory=1.0)
        (pid,) = server.workers
        load = self.load(server, 4)
        await self.until(lambda: pid not in server.workers)
        await deferToThread(load.finish)
        self.assertEqual(load.answers, {asked: [asked] for asked in load.asked})

    async def test_age(self) -> None:
        """A worker above the age limit is replaced."""
        server = await self.start("record", maxAge=0.3)
        (pid,) = server.workers
        await self.until(lambda: pid not in server.workers)
