"""A native client that sends requests and collects what becomes of each."""

from __future__ import annotations

from typing import Any

import zmq
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from pirate.service import JobServer
from pirate.settings.limits import RequestPolicy
from pirate.test.support.gate import PATIENCE, Guest
from pirate.test.support.servers import ServerCase
from pirate.wire.frontend import header, parseHeader

#: The module of the apps.
JOBS = "pirate.test.support.jobs"


ServerReply = tuple[dict[str, Any], list[bytes]]


class Caller:
    """A native client whose messages a test sends and receives one by one."""

    def __init__(self, server: JobServer) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(server.endpoints.frontend[0])

    def send(self, requestId: bytes, *body: bytes, **options: Any) -> None:
        """
        Send a request.

        :param requestId: its id, up to 16 bytes.
        :param options: the header's JSON keys.
        """
        self._socket.send_multipart([header(requestId.ljust(16, b"."), options), b"", *body])

    def answer(self, requestId: bytes) -> Deferred[ServerReply]:
        """Return the next message, which must be for this request."""
        return self.next().addCallback(self._check, requestId)

    def next(self) -> Deferred[tuple[bytes, dict[str, Any], list[bytes]]]:
        """Return the next message: the request's id, the header's JSON keys, the body."""
        return deferToThread(self._receive)

    def close(self) -> None:
        """Close the socket."""
        self._context.destroy(0)

    def _receive(self) -> tuple[bytes, dict[str, Any], list[bytes]]:
        if not self._socket.poll(int(PATIENCE * 1000)):
            raise AssertionError("no answer")
        frame, _delimiter, *body = self._socket.recv_multipart()
        parsed = parseHeader(frame)
        assert parsed is not None
        return parsed[0].rstrip(b"."), parsed[1], body

    def _check(self, message: tuple[bytes, dict[str, Any], list[bytes]], requestId: bytes) -> ServerReply:
        if message[0] != requestId:
            raise AssertionError(f"{message!r} is not for {requestId!r}")
        return message[1:]


class ReliabilityCase(ServerCase):
    """A test case with servers, and native clients that are closed."""

    async def start(self, app: str, workers: int = 1, **policy: Any) -> JobServer:
        """Start a server whose ``idle`` hook is called often, so that ``until`` sees its counters."""
        given = {
            name: policy.pop(name) for name in ("prefetch", "maxMemory", "maxAge", "reloadTimeout") if name in policy
        }
        return await self.serve(f"{JOBS}.{app}", workers, policy=RequestPolicy(**policy), checkForWaiting=0.02, **given)

    def caller(self, server: JobServer) -> Caller:
        """Return a native client that is closed when the test ends."""
        caller = Caller(server)
        self.addCleanup(caller.close)
        return caller

    def guest(self) -> Deferred[Guest]:
        """Return the next app that connects to the gate."""
        return deferToThread(self.gate.next)
