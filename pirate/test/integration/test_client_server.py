# -*- test-case-name: pirate.test.integration.test_client_server -*-
"""Tests of the Python client and the command with a real server that is busy, broken or gone."""

from __future__ import annotations

import io
import os
import signal
from typing import Any

from twisted.internet.threads import deferToThread

from pirate.client import Client, Expired, Malformed, TooLarge
from pirate.commands.client import ExitStatus, main
from pirate.service import JobServer
from pirate.settings.limits import PeerLimits
from pirate.test.support.gate import PATIENCE, Guest
from pirate.test.support.servers import ServerCase


def command(*argv: str) -> tuple[int, bytes, str]:
    """
    Run ``pirate-client``.

    :return: its exit status, and what it wrote to standard output and standard error.
    """
    out, err = io.BytesIO(), io.StringIO()
    return main(argv, io.BytesIO(), out, err), out.getvalue(), err.getvalue()


def outcomes(endpoint: str, count: int, timeout: float, **given: Any) -> list[Any]:
    """Return the replies and errors of concurrent calls."""
    with Client(endpoint, timeout=timeout, **given) as client:
        payloads = [b"x"] * count
        return list(client.map(payloads, concurrency=count, return_exceptions=True))


class BusyTests(ServerCase):
    """A server whose workers are all busy."""

    async def occupied(self) -> tuple[JobServer, Guest]:
        """Start a server whose only worker waits at the gate."""
        server = await self.serve()
        self.ask(server, b"meet", self.gate.path).addErrback(lambda failure: None)
        return server, await deferToThread(self.gate.next)

    async def test_expired(self) -> None:
        """A request that waits for a worker until its timeout raises Expired; the command exits with status 5."""
        server, guest = await self.occupied()
        endpoint = server.endpoints.frontend[0]
        for attempts in (1, 2):
            found = await deferToThread(outcomes, endpoint, 100, 0.4, attempts=attempts)
            expired = [each for each in found if isinstance(each, Expired)]
            self.assertGreaterEqual(len(expired), 95, [type(each).__name__ for each in found])
        status, out, err = await deferToThread(command, "-e", endpoint, "-t", "0.4", "x")
        self.assertEqual((status, out, err.count("\n")), (ExitStatus.EXPIRED, b"", 1))
        guest.close()


class PingTests(ServerCase):
    """The health check."""

    async def test_crashLoop(self) -> None:
        """A server whose workers are all dead or dying answers a ping, and the command's status shows it."""
        server = await self.serve("Fragile", 2)
        ping = ("-e", server.endpoints.frontend[0], "--ping")
        status, out, _ = await deferToThread(command, *ping)
        self.assertEqual(status, ExitStatus.OK)
        self.assertIn(b": ready, workers 2, busy 0, idle 2, backlog 0, ", out)
        with open(self.broken, "w"):
            for pid in list(server.workers):
                os.kill(pid, signal.SIGKILL)
            await self.until(lambda: len(self.logged("could not start: cannot load")) > 1)
        status, out, err = await deferToThread(command, *ping)
        self.assertEqual((status, err), (ExitStatus.NOT_READY, ""))
        self.assertIn(b": no-workers, workers 0, busy 0, idle 0, backlog 0, ", out)


class SizeTests(ServerCase):
    """Requests that exceed the server's limits."""

    async def test_tooLarge(self) -> None:
        """Each raises TooLarge at once, after one attempt at most, and small requests beside it are answered."""
        peerLimits = PeerLimits(maxMessageSize=0.25, maxMessageTotal=3, maxMessageFrames=300)
        server = await self.serve("several", peerLimits=peerLimits)

        def calls() -> list[Any]:
            with Client(server.endpoints.frontend[0], codec="frames", timeout=30, attempts=3) as client:
                beside = client.submit(b"small")
                large = [bytes(300 << 10)], [bytes(2 << 20)], [bytes(200 << 10)] * 16, [b""] * 400
                found = [client.submit(*body).exception() for body in large]
                return [*found, beside.result(), client.call(bytes(200 << 10), b"")[-1]]

        *errors, beside, last = await deferToThread(calls)
        self.assertEqual([type(each) for each in errors], [TooLarge] * 4)
        # Only the first was sent: it is small enough not to ask for limits first.
        self.assertEqual([each.sent for each in errors], [1, 0, 0, 0])
        self.assertIn("max-message-size", str(errors[0]))
        self.assertIn("2097152 bytes in one frame, and the server accepts 262144", str(errors[1]))
        self.assertIn("max-message-frames", str(errors[3]))
        self.assertEqual((beside[0], last), (b"small", b"2"))

    async def test_small(self) -> None:
        """A small request raises TooLarge, too, if a low limit makes the server close its connection."""
        server = await self.serve("several", peerLimits=PeerLimits(maxMessageSize=2 / 1024))

        def call(attempts: int) -> Any:
            with Client(server.endpoints.frontend[0], timeout=30, attempts=attempts) as client:
                return client.submit(bytes(5 << 10)).exception()

        for attempts in (1, 3):
            error = await deferToThread(call, attempts)
            self.assertEqual((type(error), error.sent), (TooLarge, 1))


class BackendTests(ServerCase):
    """A client that connects to the backend."""

    async def test_backend(self) -> None:
        """It is told so at once, in Python and by the command."""
        server = await self.serve()
        backend = server.endpoints.backend[0]
        [error] = await deferToThread(outcomes, backend, 1, PATIENCE)
        told = f"{backend} is a server's backend, where its workers connect: call its frontend"
        self.assertEqual((type(error), str(error)), (Malformed, told))
        status, _, err = await deferToThread(command, "-e", backend, "-t", str(PATIENCE), "x")
        self.assertEqual((status, err), (ExitStatus.MALFORMED, f"pirate-client: {told}\n"))
