# -*- test-case-name: pirate.test.integration.test_client -*-
"""The blocking client against a small broker on a real ROUTER."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import zmq
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import pirate
from pirate.client import Busy, Client, Timeout, TooLarge, Unavailable
from pirate.wire.frontend import NativeRequest, header, parseRequest
from pirate.wire.words import Code

#: What a broker sends when a message comes in: whole messages, routing id first.
Script = Callable[[list[bytes]], list[list[bytes]]]

#: Ends a test that would wait for ever, in seconds; nothing is as slow as this.
PATIENCE = 30.0

ROOT = Path(pirate.__file__).parent.parent


class ScriptedBroker:
    """
    A ROUTER in a thread of its own.

    :ivar seen: every message that came in, in order.
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
        """End the thread and let go of the endpoint.  Twice does no harm."""
        if not self._context.closed:
            self._stop.send(b"")
            self._thread.join(PATIENCE)
            self._context.destroy(linger=0)

    def next(self) -> list[bytes]:
        """The next message that came in."""
        return self.seen.get(timeout=PATIENCE)


def echo(frames: list[bytes]) -> list[list[bytes]]:
    """A broker that knows only the envelope rule: everything comes back."""
    return [frames]


def silent(frames: list[bytes]) -> list[list[bytes]]:
    """A broker that never answers."""
    return []


def perl(frames: list[bytes]) -> list[list[bytes]]:
    """What Net::Server::ZMQ makes of a message: the third frame is the payload, whatever it is; the rest is lost."""
    return [[frames[0], b"", frames[2].upper()]]


def inTurn(*scripts: Script) -> Script:
    """A broker that follows one script for each message, and the last one from then on."""
    left = list(scripts)
    return lambda frames: (left.pop(0) if len(left) > 1 else left[0])(frames)


def native(frames: list[bytes]) -> NativeRequest:
    """A message that must be a native request."""
    request = parseRequest(frames)
    assert isinstance(request, NativeRequest)
    return request


class ClientCase(SynchronousTestCase):
    """Brokers and clients that are closed when the test ends."""

    def broker(
        self, script: Script, endpoint: str = "tcp://127.0.0.1:*", options: dict[int, int | bytes] | None = None
    ) -> ScriptedBroker:
        """A broker that follows a script."""
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
        """A client that, unless told otherwise, tries once and waits long."""
        client = Client(endpoint, timeout=timeout, attempts=attempts, identity=identity, plain=plain)
        self.addCleanup(client.close)
        return client

    def program(self, *argv: str, cwd: str | None = None) -> subprocess.Popen[bytes]:
        """A Python program with pipes for all three streams; a warning is an error in it."""
        process = subprocess.Popen(
            [sys.executable, "-W", "error", *argv],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(process.__exit__, None, None, None)
        self.addCleanup(process.kill)
        return process

    def path(self) -> str:
        """An ipc endpoint that nobody listens at yet."""
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        return f"ipc://{folder}/frontend"

    def refused(self) -> str:
        """A tcp endpoint that refuses connections for as long as the test lasts."""
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"

    def timesOut(self, client: Client, timeout: float) -> Timeout:
        """The Timeout of a call, which must come neither before its time nor long after."""
        start = monotonic()
        error: Timeout = self.assertRaises(Timeout, client.call, b"x", timeout=timeout)
        self.assertTrue(timeout <= monotonic() - start < timeout + 3.0)
        return error


class NativeTests(ClientCase):
    """Requests with a header."""

    def test_echo(self) -> None:
        """One frame, several, none that has content, and a large one come back as they went."""
        with self.client(self.broker(echo).endpoint) as client:
            large = bytes(3_000_000)
            for frame in (b"a", b"", b"waiting", large):
                self.assertEqual(client.call(frame), frame)
            self.assertEqual(client.call(b"a", b"", large), [b"a", b"", large])

    def test_request(self) -> None:
        """The broker reads a native request with the time left, the service asked for, and a new id each time."""
        broker = self.broker(echo)
        client = self.client(broker.endpoint)
        client.call(b"a", b"b", timeout=20, service="resize")
        client.call(b"c")
        first, second = native(broker.next()), native(broker.next())
        self.assertEqual((first.body, first.service, second.body, second.service), ([b"a", b"b"], "resize", [b"c"], ""))
        self.assertTrue(0 < (first.timeout or 0) <= 20 < (second.timeout or 0) <= PATIENCE)
        self.assertNotEqual(first.key, second.key)

    def test_retry(self) -> None:
        """A try without a reply is sent again with the same id and what is left of the time."""
        broker = self.broker(inTurn(silent, echo))
        self.assertEqual(self.client(broker.endpoint, attempts=150).call(b"x"), b"x")
        first, second = native(broker.next()), native(broker.next())
        self.assertEqual((first.key, first.body), (second.key, second.body))
        self.assertTrue((second.timeout or 0) <= (first.timeout or 0) - 0.19)

    def test_lateReply(self) -> None:
        """The reply to the first try is as good as any, even after the second was sent."""

        def late(frames: list[bytes]) -> list[list[bytes]]:
            return [native(frames).reply([b"late"])]

        broker = self.broker(inTurn(silent, late))
        self.assertEqual(self.client(broker.endpoint, attempts=150).call(b"x"), b"late")

    def test_foreignReplies(self) -> None:
        """Replies to an earlier call, with an unknown id, or without sense are passed over."""
        earlier: list[list[bytes]] = []

        def confused(frames: list[bytes]) -> list[list[bytes]]:
            strange = [
                [frames[0], header(os.urandom(16), {}), b"", b"no"],
                [frames[0], b"", b"no"],
                [frames[0], b"PIR1"],
            ]
            sent = [*earlier, *strange, frames]
            earlier.append(frames)
            return sent

        client = self.client(self.broker(confused).endpoint)
        self.assertEqual([client.call(b"1"), client.call(b"2"), client.call(b"3")], [b"1", b"2", b"3"])

    def test_error(self) -> None:
        """The server's error is raised with what it said, and the client goes on."""
        broker = self.broker(inTurn(lambda frames: [native(frames).error(Code.BUSY, "1000 wait")], echo))
        client = self.client(broker.endpoint)
        error: Busy = self.assertRaises(Busy, client.call, b"x")
        self.assertEqual((error.detail, error.endpoint), ("1000 wait", broker.endpoint))
        self.assertEqual(error.request, native(broker.next()).key)
        self.assertEqual(client.call(b"y"), b"y")

    def test_silence(self) -> None:
        """Without a reply Timeout comes in time and tells how often the request was sent."""
        broker = self.broker(inTurn(echo, silent))
        client = self.client(broker.endpoint, attempts=2)
        client.call(b"connected")
        broker.next()
        error = self.timesOut(client, 0.2)
        self.assertEqual(error.tries, 2)
        self.assertEqual(error.request, native(broker.next()).key)

    def test_nobody(self) -> None:
        """Where nobody listens Timeout comes in time too, and tells that nothing was sent."""
        for endpoint in (self.refused(), self.path()):
            self.assertEqual(self.timesOut(self.client(endpoint, attempts=3), 0.2).tries, 0)

    def test_notOurs(self) -> None:
        """A broker that loses the header is found out: the Timeout advises plain mode."""
        client = self.client(self.broker(inTurn(echo, perl)).endpoint)
        client.call(b"connected")
        self.assertIn("plain mode", str(self.timesOut(client, 0.2)))

    def test_serverComesLater(self) -> None:
        """A server may start after its client; what was given up before is never sent to it."""
        endpoint = self.path()
        client = self.client(endpoint)
        self.timesOut(client, 0.1)
        broker = self.broker(echo, endpoint)
        self.assertEqual(client.call(b"y"), b"y")
        self.assertEqual(native(broker.next()).body, [b"y"])
        self.assertTrue(broker.seen.empty())

    def test_serverRestarts(self) -> None:
        """A client survives the end of its server and the start of another at the same endpoint."""
        first = self.broker(echo)
        client = self.client(first.endpoint, attempts=150)
        self.assertEqual(client.call(b"x"), b"x")
        first.close()
        second = self.broker(echo, first.endpoint)
        self.assertEqual(client.call(b"y"), b"y")
        self.assertEqual(native(second.next()).body, [b"y"])

    def test_cutOff(self) -> None:
        """A request whose frame has the connection closed is sent once, and then compared with the server's limit."""
        limits = {"server": "pirate", "max_message_size": 64 << 10}

        def limited(frames: list[bytes]) -> list[list[bytes]]:
            return [native(frames).pingReply(limits) if native(frames).command == "ping" else frames]

        broker = self.broker(limited, options={zmq.MAXMSGSIZE: 64 << 10})
        for attempts in (1, 5):
            client = self.client(broker.endpoint, attempts=attempts)
            error: TooLarge = self.assertRaises(TooLarge, client.call, bytes(100 << 10))
            self.assertEqual(error.tries, 1)
            self.assertIn("102400 bytes in one frame, and at most 65536 are allowed there", str(error))
            self.assertEqual(native(broker.next()).command, "ping")
            self.assertEqual(client.call(b"small"), b"small")
            self.assertEqual(native(broker.next()).body, [b"small"])

    def test_neverMoreOften(self) -> None:
        """A request that breaks its connection each time is sent as often as it may be, and not for all its time."""
        options: dict[int, int | bytes] = {zmq.MAXMSGSIZE: 32 << 10}
        client = self.client(self.broker(silent, options=options).endpoint, attempts=3)
        error: Unavailable = self.assertRaises(Unavailable, client.call, bytes(48 << 10))
        self.assertEqual(error.tries, 3)

    def test_newConnection(self) -> None:
        """After a call in silence the next one has a connection, and a name, of its own."""
        for identity, names in ((b"me", [b"me", b"me", b"me.2", b"me.2"]), (None, None)):
            broker = self.broker(inTurn(echo, silent, echo))
            client = self.client(broker.endpoint, identity=identity)
            client.call(b"w")
            self.timesOut(client, 0.2)
            client.call(b"y")
            client.call(b"z")
            seen = [broker.next()[0] for _ in range(4)]
            self.assertEqual([seen[0] == seen[1], seen[1] == seen[2], seen[2] == seen[3]], [True, False, True])
            self.assertIn(names, (None, seen))

    def test_interrupted(self) -> None:
        """A call that an exception in a signal's handler ended leaves the client fit for the next."""

        class Interrupt(BaseException):
            """What the signal raises."""

        def interrupt(number: int, frame: FrameType | None) -> None:
            raise Interrupt

        def interrupting(frames: list[bytes]) -> list[list[bytes]]:
            if frames[-1] == b"x":
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
                return []
            return [frames]

        self.addCleanup(signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, interrupt))
        for plain in (False, True):
            client = self.client(self.broker(interrupting).endpoint, plain=plain)
            self.assertRaises(Interrupt, client.call, b"x")
            self.assertEqual(client.call(b"y"), b"y")

    def test_interruptedSending(self) -> None:
        """So does one that came between two frames: no server takes the next message for the rest of the first."""
        for frames in (1, 2, 3):
            broker = self.broker(echo)
            client = self.client(broker.endpoint)
            client.call(b"before")
            link = client._leader._connections[0]
            send, number = link._send, count()

            def interrupted(frame: bytes, flags: int, send: Any = send, number: Any = number, at: int = frames) -> None:
                if next(number) == at:
                    raise KeyboardInterrupt
                send(frame, flags)

            link._send = interrupted
            self.assertRaises(KeyboardInterrupt, client.call, b"torn", b"two")
            self.assertEqual(client.call(b"after"), b"after")
            broker.next()
            self.assertEqual(broker.next()[-2:], [b"", b"after"])

    def test_longTimeout(self) -> None:
        """The longest timeout is not too long for ZeroMQ."""
        self.assertEqual(self.client(self.broker(echo).endpoint).call(b"x", timeout=1e9), b"x")

    def test_ipv6(self) -> None:
        """An IPv6 address in brackets is dialled as such."""
        try:
            broker = self.broker(echo, "tcp://[::1]:*")
        except zmq.ZMQError:
            raise SkipTest("there is no IPv6 here") from None
        self.assertEqual(self.client(broker.endpoint).call(b"x"), b"x")
