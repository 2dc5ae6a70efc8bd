# -*- test-case-name: pirate.test.integration.test_client_plain -*-
"""The blocking client in plain mode against a small broker on a real ROUTER."""

from __future__ import annotations

from pirate.client import Client, endpoints
from pirate.client.endpoints import Peer
from pirate.errors import ConfigurationError
from pirate.test.support.scripted import PATIENCE, ClientCase, echo, inTurn, perl, silent
from pirate.wire.words import Frames


class PlainTests(ClientCase):
    """Bare requests, for any Simple Pirate broker."""

    def test_bytes(self) -> None:
        """On the wire is the empty delimiter, the body, and nothing else; a connection serves call after call."""
        broker = self.broker(perl)
        client = self.client(broker.endpoint, plain=True)
        self.assertEqual([client.call(b"x"), client.call(b"y")], [b"X", b"Y"])
        first, second = broker.next(), broker.next()
        self.assertEqual((first[1:], second[1:]), ([b"", b"x"], [b"", b"y"]))
        self.assertEqual(first[0], second[0])

    def test_frames(self) -> None:
        """Several frames go and come as several."""
        with Client(self.broker(echo).endpoint, plain=True, codec="frames", timeout=PATIENCE) as client:
            self.assertEqual(client.call(b"x", b"", b"y"), [b"x", b"", b"y"])

    def test_retry(self) -> None:
        """Each try has a socket of its own; a late reply to the first is not taken for the second's."""
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
        """Without a reply Timeout comes in time, and the next call is not the worse for it."""
        client = self.client(self.broker(inTurn(perl, silent, perl)).endpoint, plain=True)
        client.call(b"connected")
        error = self.timesOut(client, 0.2)
        self.assertEqual((error.sent, error.request), (1, b""))
        self.assertEqual(client.call(b"y"), b"Y")

    def test_nobody(self) -> None:
        """Where nobody listens Timeout comes in time and tells that nothing was sent."""
        self.assertEqual(self.timesOut(self.client(self.refused(), attempts=3, plain=True), 0.2).sent, 0)

    def test_nonsense(self) -> None:
        """What a REQ cannot read as a reply ends its connection, not the call: the next try is answered."""
        broker = self.broker(
            inTurn(lambda frames: [[frames[0], b"no"]], lambda frames: [[frames[0], b"no", b"no"]], echo)
        )
        self.assertEqual(self.client(broker.endpoint, attempts=150, plain=True).call(b"x"), b"x")

    def test_service(self) -> None:
        """A plain request has no place for the name of a service."""
        client = self.client(self.refused(), plain=True)
        self.assertRaises(ConfigurationError, client.call, b"x", service="resize")

    def test_quickReplies(self) -> None:
        """A REQ is not read beyond its one reply, however quickly the next comes."""
        self.patch(endpoints, "MAX_PLAIN_CONNECTIONS", 1)
        client = self.client(self.broker(echo).endpoint, plain=True)
        leader = client._leader
        received = leader.session.received

        def patient(peer: Peer, frames: Frames, now: float) -> None:
            received(peer, frames, now)
            if leader.session.open:
                self.assertTrue(leader._connections[0]._socket.poll(int(PATIENCE * 1000)))

        leader.session.received = patient  # type: ignore[method-assign]
        self.assertEqual(list(client.map([b"a", b"b"])), [b"a", b"b"])
