# -*- test-case-name: pirate.test.integration.test_app -*-
"""Tests of apps in real workers: what they may return, and every way to fail."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial

from twisted.internet.threads import deferToThread

from pirate.server.output import MAX_LINES
from pirate.test.support.clients import NativeClient, askNative
from pirate.test.support.hostile import HOSTILE
from pirate.test.support.processes import remaining
from pirate.test.support.servers import ServerCase, executions

#: Seconds to wait for a reply that must not come; a later request has already got its reply by then.
SILENCE = 0.1


class AnswersTests(ServerCase):
    """Apps that work."""

    async def test_class(self) -> None:
        """Each worker makes one instance of a class, and closes it when the worker exits."""
        server = await self.serve("Counted", 2)
        pids = sorted(server.workers)
        replies = [(await self.ask(server, b""))[0] for _ in range(6)]
        self.assertEqual(replies, [b"1", b"1", b"2", b"2", b"3", b"3"])
        self.assertEqual(sorted(executions(self.record)), [f"made {pid}" for pid in pids])
        await server.stopService()
        self.assertEqual(sorted(executions(self.record)[2:]), [f"closed {pid}" for pid in pids])
        self.assertUntroubled()

    async def test_context(self) -> None:
        """The context has the worker, the number of the attempt, and the client."""
        server = await self.serve("informed")
        pid, attempt, service, client, request = await self.ask(server, b"")
        self.assertEqual((int(pid), attempt, service), (next(iter(server.workers)), b"1", b""))
        self.assertEqual((client, len(bytes.fromhex(request.decode()))), (b"127.0.0.1", 8))

    async def test_attempts(self) -> None:
        """A request whose worker dies goes to another with the same id and the next number of the attempt."""
        server = await self.serve("informed", 3)
        first = list(server.workers)
        told, body = await deferToThread(askNative, server.endpoints.frontend[0], b"die")
        self.assertEqual((told, body[1]), ({}, b"3"))
        self.assertIn(int(body[0]), first)
        self.assertEqual(server.stats()["redispatched"], 2)
        self.assertEqual(server.stats()["exits"], {"signal SIGKILL": 2})

    async def test_output(self) -> None:
        """Each line that a worker writes is logged with its process id and the name of the stream."""
        server = await self.serve()
        pid = next(iter(server.workers))
        await self.ask(server, b"say", b"one\ntwo", b"three")
        await self.until(lambda: len(self.logged(" std(out|err): ")) == 3)
        self.assertEqual(len(self.logged(f"worker {pid} stdout: (one|two)$")), 2)
        self.assertEqual(len(self.logged(f"worker {pid} stderr: three$")), 1)

    async def test_noise(self) -> None:
        """Of a worker that writes without end a few lines are logged and the rest is counted; it keeps serving."""
        server = await self.serve()
        pid = next(iter(server.workers))
        await self.ask(server, b"say", b"\n" * 20_000, b"\n" * 100_000)
        await self.until(lambda: len(self.logged(rf"worker {pid} stderr: ... and \d+ more lines \(\d+ bytes\)")) > 0)
        self.assertLess(len(self.logged(" std(out|err): ")), 10 * MAX_LINES)
        self.assertEqual(await self.ask(server, b"pid"), [b"%d" % pid])


class ErrorsTests(ServerCase):
    """Apps that fail."""

    async def test_raises(self) -> None:
        """A native client gets an app's error, a plain one no reply; it is logged once, and the worker stays."""
        server = await self.serve()
        pid = next(iter(server.workers))
        plain = self.ask(server, b"fail", b"no channel", within=SILENCE)
        told, body = await deferToThread(askNative, server.endpoints.frontend[0], b"fail", b"boom")
        self.assertEqual((told["status"], told["code"], told["message"]), ("error", "app-error", "ValueError: boom"))
        self.assertEqual(body, [b""])
        self.assertEqual(await plain, [])
        self.assertEqual(await self.ask(server, b"pid"), [b"%d" % pid])
        lines = r"at \S+/apps.py:\d+ in fail, from \S+/apps.py:\d+ in perform"
        event = f"#error. app error: ValueError: (boom|no channel), {lines}; request "
        await self.until(lambda: len(self.logged(event)) == 2)
        self.assertEqual(self.logged(" stderr: |Traceback"), [])
        self.assertEqual(server.stats()["failed"], {"app-error": 2})

    async def test_hostile(self) -> None:
        """An error whose own code fails, or whose text is no string, is sent like any other, and the worker stays."""
        server = await self.serve("pirate.test.support.hostile.raising")
        workers = list(server.workers)
        with closing(NativeClient(server.endpoints.frontend[0])) as client:
            for name in HOSTILE:
                told, _ = await deferToThread(lambda key: client.receive(key), client.send(name.encode()))
                self.assertEqual((told["code"], told["attempts"]), ("app-error", 0), name)
        self.assertEqual((list(server.workers), server.stats()["exits"]), (workers, {}))

    async def test_errorReply(self) -> None:
        """With errorReply, a plain client gets the error as one JSON object."""
        server = await self.serve(errorReply=True)
        (reply,) = await self.ask(server, b"fail", b"boom", req_correlate=1)
        told = json.loads(reply)
        self.assertEqual(
            told, {"pirate": "error", "code": "app-error", "message": "ValueError: boom", "attempts": told["attempts"]}
        )
        (reply,) = await self.ask(server, b"die")
        self.assertEqual((json.loads(reply)["code"], json.loads(reply)["attempts"]), ("worker-lost", 3))

    async def test_nonsense(self) -> None:
        """A result that is not a reply is an error of the app, and so is a body that does not fit its parameters."""
        server = await self.serve()
        pid = next(iter(server.workers))
        told, _ = await deferToThread(askNative, server.endpoints.frontend[0], b"number")
        self.assertRegex(told["message"], "^TypeError: an app must return bytes, .* not int$")
        told, _ = await deferToThread(askNative, server.endpoints.frontend[0], b"upper", b"two", b"frames")
        self.assertRegex(told["message"], r"^TypeError: upper\(\) takes 1 positional argument")
        self.assertEqual(await self.ask(server, b"pid"), [b"%d" % pid])

    async def test_ends(self) -> None:
        """However an app ends its worker, the cause is logged, the request moves to another, and a new one starts."""
        ends = {
            (b"leave", b"5"): "exit code 5",
            (b"drop", b"6"): "exit code 6",
            (b"die",): "signal SIGKILL",
        }
        server = await self.serve(workers=2)
        for words, cause in ends.items():
            asked = self.ask(server, b"meet", self.gate.path)
            first = await deferToThread(self.gate.next)
            first.tell(*words)
            second = await deferToThread(self.gate.next)
            second.tell(b"pid")
            self.assertEqual(await asked, [b"%d" % second.pid])
            self.assertNotEqual(first.pid, second.pid)
            ended = f"worker {first.pid} ended while processing: {cause}$"
            await self.until(partial(self.logged, ended))
            self.assertEqual(len(self.logged(ended)), 1)
            await self.until(lambda: list(server.workers.values()) == ["waiting"] * 2)
        self.assertEqual(len(self.logged("stderr: half a line$")), 1)
        self.assertEqual(server.stats()["exits"], dict.fromkeys(ends.values(), 1))

    async def test_poison(self) -> None:
        """A request that kills its workers ends after three attempts, or as many as its client allows."""
        server = await self.serve(workers=3)
        held = self.ask(server, b"meet", self.gate.path)
        guest = await deferToThread(self.gate.next)
        told, body = await deferToThread(askNative, server.endpoints.frontend[0], b"die")
        self.assertEqual((told["status"], told["code"], told["attempts"], body), ("error", "worker-lost", 3, [b""]))
        self.assertIn("signal SIGKILL", told["message"])
        told, _ = await deferToThread(askNative, server.endpoints.frontend[0], b"die", attempts=1)
        self.assertEqual((told["code"], told["attempts"]), ("worker-lost", 1))
        self.assertEqual(remaining([guest.pid], 0), [guest.pid])
        guest.tell(b"pid")
        self.assertEqual(await held, [b"%d" % guest.pid])
        self.assertEqual(server.stats()["exits"], {"signal SIGKILL": 4})
