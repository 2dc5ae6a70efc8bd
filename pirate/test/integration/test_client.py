# -*- test-case-name: pirate.test.integration.test_client -*-
"""Tests of the blocking client with a small broker on a real ROUTER."""

from __future__ import annotations

import os
import signal
import threading
from itertools import count
from types import FrameType
from typing import Any

import zmq
from twisted.trial.unittest import SkipTest

from pirate.client import Busy, Client, TooLarge, Unavailable
from pirate.test.support.scripted import (
    PATIENCE,
    ClientCase,
    echo,
    inTurn,
    native,
    perl,
    silent,
)
from pirate.wire.frontend import header
from pirate.wire.words import Code


class NativeTests(ClientCase):
    """Requests with a header."""

    def test_echo(self) -> None:
        """One frame, several frames, an empty frame and a large one return unchanged."""
        with self.client(self.broker(echo).endpoint) as client:
            large = bytes(3_000_000)
            for frame in (b"a", b"", b"waiting", large):
                self.assertEqual(client.call(frame), frame)
        with Client(self.broker(echo).endpoint, codec="frames", timeout=PATIENCE) as several:
            self.assertEqual(several.call(b"a", b"", large), [b"a", b"", large])

    def test_request(self) -> None:
        """The broker reads the remaining time, the service, and a new id for each request."""
        broker = self.broker(echo)
        client = Client(broker.endpoint, codec="frames", timeout=PATIENCE, attempts=1)
        self.addCleanup(client.close)
        client.call(b"a", b"b", timeout=20, service="resize")
        client.call(b"c")
        first, second = native(broker.next()), native(broker.next())
        self.assertEqual((first.body, first.service, second.body, second.service), ([b"a", b"b"], "resize", [b"c"], ""))
        self.assertTrue(0 < (first.timeout or 0) <= 20 < (second.timeout or 0) <= PATIENCE)
        self.assertNotEqual(first.requestId, second.requestId)

    def test_retry(self) -> None:
        """An attempt without a reply is followed by another with the same id and the time that is left."""
        broker = self.broker(inTurn(silent, echo))
        self.assertEqual(self.client(broker.endpoint, attempts=150).call(b"x"), b"x")
        first, second = native(broker.next()), native(broker.next())
        self.assertEqual((first.requestId, first.body), (second.requestId, second.body))
        self.assertTrue((second.timeout or 0) <= (first.timeout or 0) - 0.19)

    def test_lateReply(self) -> None:
        """A reply to the first attempt counts, even after the second was sent."""

        def late(frames: list[bytes]) -> list[list[bytes]]:
            return [native(frames).reply([b"late"])]

        broker = self.broker(inTurn(silent, late))
        self.assertEqual(self.client(broker.endpoint, attempts=150).call(b"x"), b"late")

    def test_foreignReplies(self) -> None:
        """Replies to an earlier call, with an unknown id, or malformed, are ignored."""
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
        """The server's error is raised with its message, and the client can be used again."""
        broker = self.broker(inTurn(lambda frames: [native(frames).error(Code.BUSY, "1000 wait")], echo))
        client = self.client(broker.endpoint)
        error: Busy = self.assertRaises(Busy, client.call, b"x")
        self.assertEqual((error.detail, error.endpoint), ("1000 wait", broker.endpoint))
        self.assertEqual(error.request, native(broker.next()).requestId)
        self.assertEqual(client.call(b"y"), b"y")

    def test_silence(self) -> None:
        """Without a reply a call raises Timeout in time, which says how often the request was sent."""
        broker = self.broker(inTurn(echo, silent))
        client = self.client(broker.endpoint, attempts=2)
        client.call(b"connected")
        broker.next()
        error = self.timesOut(client, 0.2)
        self.assertEqual(error.sent, 2)
        self.assertEqual(error.request, native(broker.next()).requestId)

    def test_nobody(self) -> None:
        """Without a server a call raises Timeout in time, which says that nothing was sent."""
        for endpoint in (self.refused(), self.path()):
            self.assertEqual(self.timesOut(self.client(endpoint, attempts=3), 0.2).sent, 0)

    def test_notOurs(self) -> None:
        """A broker that loses the header is recognized: the Timeout recommends plain mode."""
        client = self.client(self.broker(inTurn(echo, perl)).endpoint)
        client.call(b"connected")
        self.assertIn("plain mode", str(self.timesOut(client, 0.2)))

    def test_serverComesLater(self) -> None:
        """A server may start after its client; requests that have timed out are never sent to it."""
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
        """A request that makes the server close the connection is sent once, and then compared with the limit."""
        limits = {"server": "pirate", "max_message_size": 64 << 10}

        def limited(frames: list[bytes]) -> list[list[bytes]]:
            return [native(frames).pingReply(limits) if native(frames).command == "ping" else frames]

        broker = self.broker(limited, options={zmq.MAXMSGSIZE: 64 << 10})
        for attempts in (1, 5):
            client = self.client(broker.endpoint, attempts=attempts)
            error: TooLarge = self.assertRaises(TooLarge, client.call, bytes(100 << 10))
            self.assertEqual(error.sent, 1)
            self.assertIn("102400 bytes in one frame, and the server accepts 65536", str(error))
            self.assertEqual(native(broker.next()).command, "ping")
            self.assertEqual(client.call(b"small"), b"small")
            self.assertEqual(native(broker.next()).body, [b"small"])

    def test_neverMoreOften(self) -> None:
        """A request that breaks its connection each time is sent ``attempts`` times, and no longer."""
        options: dict[int, int | bytes] = {zmq.MAXMSGSIZE: 32 << 10}
        client = self.client(self.broker(silent, options=options).endpoint, attempts=3)
        error: Unavailable = self.assertRaises(Unavailable, client.call, bytes(48 << 10))
        self.assertEqual(error.sent, 3)

    def test_newConnection(self) -> None:
        """After a call without a reply the next one has a new connection, with a new identity."""
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
        """After a signal's handler raises in a call, the client can be used again."""

        class Interrupt(BaseException):
            """The exception of the signal's handler."""

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
        """The same between two frames: the server does not take the next message for the rest of the first."""
        for frames in (1, 2, 3):
            broker = self.broker(echo)
            client = self.client(broker.endpoint)
            client.call(b"before")
            link = client._driver._connections[0]
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
        """An IPv6 address in brackets can be used."""
        try:
            broker = self.broker(echo, "tcp://[::1]:*")
        except zmq.ZMQError:
            raise SkipTest("there is no IPv6 here") from None
        self.assertEqual(self.client(broker.endpoint).call(b"x"), b"x")
