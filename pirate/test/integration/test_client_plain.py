# -*- test-case-name: pirate.test.integration.test_client_plain -*-
"""Tests of plain mode with a small broker on a real ROUTER."""

from __future__ import annotations

from pirate.client import Client, endpoints
from pirate.client.endpoints import Peer
from pirate.errors import ConfigurationError
from pirate.test.support.scripted import PATIENCE, ClientCase, echo, inTurn, perl, silent
from pirate.wire.words import Frames


class PlainTests(ClientCase):
    """Requests without a header, for any Simple Pirate broker."""

    def test_bytes(self) -> None:
        """The message is the empty delimiter and the body; a connection carries call after call."""
        broker = self.broker(perl)
        client = self.client(broker.endpoint, plain=True)
        self.assertEqual([client.call(b"x"), client.call(b"y")], [b"X", b"Y"])
        first, second = broker.next(), broker.next()
        self.assertEqual((first[1:], second[1:]), ([b"", b"x"], [b"", b"y"]))
        self.assertEqual(first[0], second[0])

    def test_frames(self) -> None:
        """Requests and replies may have several frames."""
        with Client(self.broker(echo).endpoint, plain=True, codec="frames", timeout=PATIENCE) as client:
            self.assertEqual(client.call(b"x", b"", b"y"), [b"x", b"", b"y"])

    def test_retry(self) -> None:
        """Each attempt has a socket of its own; a late reply to the first is not taken for the second's."""
        routes: list[bytes] = []

        def late(frames: list[bytes]) -> list[list[bytes]]:
            routes.append(frames[0])
            return [[frames[0], b"", b"%d" % len(routes)]] if len(routes) > 1 else []

        broker = self.broker(late)
        client = self.client(broker.endpoint, attempts=150, identity=b"me", plain=True)
        self.assertEqual([client.call(b"x"), client.call(b"y")], [b"2", b"3"])
        self.assertEqual(
            [broker.next() for _ in range(3)], [[b"me", b"", b"x"], [b"me.2", b"", b"x"], [b"me.2", b"", b"y"]]
        )

    def test_silence(self) -> None:
        """Without a reply a call raises Timeout in time, and the client can be used again."""
        client = self.client(self.broker(inTurn(perl, silent, perl)).endpoint, plain=True)
        client.call(b"connected")
        error = self.timesOut(client, 0.2)
        self.assertEqual((error.sent, error.request), (1, b""))
        self.assertEqual(client.call(b"y"), b"Y")

    def test_nobody(self) -> None:
        """Without a server a call raises Timeout in time, which says that nothing was sent."""
        self.assertEqual(self.timesOut(self.client(self.refused(), attempts=3, plain=True), 0.2).sent, 0)

    def test_nonsense(self) -> None:
        """A malformed reply ends its connection, not the call: the next attempt is answered."""
        broker = self.broker(
            inTurn(lambda frames: [[frames[0], b"no"]], lambda frames: [[frames[0], b"no", b"no"]], echo)
        )
        self.assertEqual(self.client(broker.endpoint, attempts=150, plain=True).call(b"x"), b"x")

    def test_service(self) -> None:
        """A plain request cannot name a service."""
        client = self.client(self.refused(), plain=True)
        self.assertRaises(ConfigurationError, client.call, b"x", service="resize")

    def test_quickReplies(self) -> None:
        """A REQ socket is not read beyond its one reply, however quickly the next arrives."""
        self.patch(endpoints, "MAX_PLAIN_CONNECTIONS", 1)
        client = self.client(self.broker(echo).endpoint, plain=True)
        driver = client._driver
        received = driver.session.received

        def patient(peer: Peer, frames: Frames, now: float) -> None:
            received(peer, frames, now)
            if driver.session.open:
                self.assertTrue(driver._connections[0]._socket.poll(int(PATIENCE * 1000)))

        driver.session.received = patient  # type: ignore[method-assign]
        self.assertEqual(list(client.map([b"a", b"b"])), [b"a", b"b"])
