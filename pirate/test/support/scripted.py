"""A broker that follows a script, and a test case with clients that call it."""

from __future__ import annotations

import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from time import monotonic

import zmq
from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.request import NativeRequest, readRequest
from pirate.client import Client, Timeout
from pirate.test.support.program import environmentWith

#: Returns the messages that a broker sends for a message it receives; the routing id is the first frame of each.
Script = Callable[[list[bytes]], list[list[bytes]]]


#: The longest time that a test waits for anything, in seconds.
PATIENCE = 30.0


class ScriptedBroker:
    """
    A ROUTER in a thread of its own.

    :ivar seen: the messages that arrived, in order.
    """

    def __init__(
        self, script: Script, endpoint: str = "tcp://127.0.0.1:*", options: dict[int, int | bytes] | None = None
    ) -> None:
        self._script = script
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.set(zmq.IPV6, int("[" in endpoint))
        for option, value in (options or {}).items():
            self._router.set(option, value)
        self._router.bind(endpoint)
        self.endpoint = self._router.get_string(zmq.LAST_ENDPOINT)
        self.seen: queue.Queue[list[bytes]] = queue.Queue()
        self._stop = self._context.socket(zmq.PAIR)
        self._stop.bind("inproc://stop")
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        stop = self._context.socket(zmq.PAIR)
        stop.connect("inproc://stop")
        poller = zmq.Poller()
        poller.register(stop, zmq.POLLIN)
        poller.register(self._router, zmq.POLLIN)
        while stop not in (ready := dict(poller.poll())):
            if self._router in ready:
                frames = self._router.recv_multipart()
                self.seen.put(frames)
                for each in self._script(frames):
                    self._router.send_multipart(each)
        stop.close(linger=0)
        self._router.close(linger=0)

    def close(self) -> None:
        """Stop the thread, and close the socket.  A second call does nothing."""
        if not self._context.closed:
            self._stop.send(b"")
            self._thread.join(PATIENCE)
            self._context.destroy(linger=0)

    def next(self) -> list[bytes]:
        """Return the next message that arrived."""
        return self.seen.get(timeout=PATIENCE)


def echo(frames: list[bytes]) -> list[list[bytes]]:
    """Return every message unchanged, as a broker does that knows only the envelope rule."""
    return [frames]


def silent(frames: list[bytes]) -> list[list[bytes]]:
    """Never answer."""
    return []


def perl(frames: list[bytes]) -> list[list[bytes]]:
    """Answer as Net::Server::ZMQ does: the third frame is the payload; the rest is lost."""
    return [[frames[0], b"", frames[2].upper()]]


def inTurn(*scripts: Script) -> Script:
    """Follow one script for each message, and the last one from then on."""
    left = list(scripts)
    return lambda frames: (left.pop(0) if len(left) > 1 else left[0])(frames)


def native(frames: list[bytes]) -> NativeRequest:
    """Return a message as a native request, which it must be."""
    request = readRequest(frames)
    assert isinstance(request, NativeRequest)
    return request


class ClientCase(SynchronousTestCase):
    """A test case that closes its brokers and clients."""

    def broker(
        self, script: Script, endpoint: str = "tcp://127.0.0.1:*", options: dict[int, int | bytes] | None = None
    ) -> ScriptedBroker:
        """Return a broker that follows a script."""
        broker = ScriptedBroker(script, endpoint, options)
        self.addCleanup(broker.close)
        return broker

    def client(
        self,
        endpoint: str,
        timeout: float = PATIENCE,
        attempts: int = 1,
        identity: bytes | None = None,
        plain: bool = False,
    ) -> Client:
        """Return a client that by default makes one attempt and waits long."""
        client = Client(endpoint, timeout=timeout, attempts=attempts, identity=identity, plain=plain)
        self.addCleanup(client.close)
        return client

    def program(self, *argv: str, cwd: str | None = None) -> subprocess.Popen[bytes]:
        """Start a Python program with pipes for all three streams; a warning is an error in it."""
        process = subprocess.Popen(
            [sys.executable, "-W", "error", *argv],
            cwd=cwd,
            env=environmentWith({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(process.__exit__, None, None, None)
        self.addCleanup(process.kill)
        return process

    def path(self) -> str:
        """Return an ipc endpoint without a server."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        return f"ipc://{folder}/frontend"

    def refused(self) -> str:
        """Return a tcp endpoint that refuses connections until the test ends."""
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"

    def timesOut(self, client: Client, timeout: float) -> Timeout:
        """Return the Timeout of a call, which must come neither early nor late."""
        start = monotonic()
        error: Timeout = self.assertRaises(Timeout, client.call, b"x", timeout=timeout)
        self.assertTrue(timeout <= monotonic() - start < timeout + 3.0)
        return error
