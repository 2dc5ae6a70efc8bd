"""What a hostile peer may try; each attack is one try, and tells how many messages or connections it was."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

from pirate.testing.zmtp import COMMAND, GREETING, LONG, MORE, RawPeer, command, frame, message, ready
from pirate.wire.frontend import header, packRequests

#: Frames of the message that is nothing but frames, and bytes of the one that never ends.
MANY, ENDLESS = 200_000, 16 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """
    Who is attacked.

    :ivar pids: the server's children.
    :ivar client: the routing id of a client that works there.
    """

    frontend: str
    backend: str
    pids: tuple[int, ...]
    client: bytes

    @property
    def either(self) -> str:
        """One of both endpoints."""
        return random.choice((self.frontend, self.backend))


def randomBytes(most: int = 40) -> bytes:
    """Some bytes, or none."""
    return os.urandom(random.randrange(most))


def garbage(target: Target) -> int:
    """Something else than ZMTP, from the start or from the middle of the greeting."""
    for endpoint in (target.frontend, target.backend):
        start = random.choice((b"", b"GET / HTTP/1.1\r\n\r\n", GREETING[:10], GREETING[:32], b"\x16\x03\x01"))
        # Random bytes may begin like an old greeting, which is no failure yet; an unknown mechanism always is one.
        for sent in (start + os.urandom(random.randrange(1, 2000)), GREETING.replace(b"NULL", b"NONE")):
            with RawPeer(endpoint) as peer:
                peer.send(sent)
                peer.awaitEnd(0.02)
    return 4


def slowHandshake(target: Target) -> int:
    """Connections that greet one byte at a time, and stop somewhere."""
    peers = [RawPeer(target.either) for _ in range(10)]
    for byte in GREETING[: random.randrange(64)]:
        for peer in peers:
            peer.send(bytes([byte]))
    for peer in peers[:5]:
        peer.awaitEnd(0.01)
    for peer in peers:
        peer.close()
    return len(peers)


def randomFrames(target: Target) -> int:
    """Messages of any number of frames with anything in them."""
    words = (b"", b"", b"waiting", b"exiting", b"partial", b"error", b"heartbeat", b"PIR1" + bytes(16), b"PIR1")
    with RawPeer(target.either) as peer:
        peer.handshake(random.choice((None, randomBytes(20))))
        count = 0
        for _ in range(50):
            bodies = [random.choice((*words, randomBytes())) for _ in range(random.randrange(1, 8))]
            count += peer.send(message(*bodies))
        peer.awaitEnd(0.01)
    return count


def randomStream(target: Target) -> int:
    """Bytes after the handshake that are no frames."""
    with RawPeer(target.either) as peer:
        peer.handshake()
        peer.send(os.urandom(random.randrange(1, 5000)))
        peer.awaitEnd(0.02)
    return 1


def claimedIds(target: Target) -> int:
    """Routing ids that are somebody else's, or ZeroMQ's, or too long."""
    names = [target.client, b"waiting", b"\0" * 255, b"\0", b"\0" + os.urandom(4), os.urandom(300), b"\n\x1b[2J"]
    names += [b"child_%d" % pid for pid in target.pids]
    for name in names:
        for endpoint in (target.frontend, target.backend):
            with RawPeer(endpoint) as peer:
                peer.handshake(name)
                peer.send(message(b"", b"waiting") + message(b"", os.urandom(8), b"", b"forged"))
                peer.awaitEnd(0.002)
    return 2 * len(names)


def endlessMessage(target: Target) -> int:
    """A message whose end never comes."""
    with RawPeer(target.either) as peer:
        peer.handshake()
        chunk = frame(bytes(1 << 16), more=True) * 16
        for _ in range(ENDLESS // len(chunk)):
            if not peer.send(chunk):
                break
    return 1


def hugeFrame(target: Target) -> int:
    """A frame that says it has 20 GiB, or as many bytes as there can be."""
    for size in (20 << 30, (1 << 63) - 1, (1 << 64) - 1):
        with RawPeer(target.frontend) as peer:
            peer.handshake()
            peer.send(struct.pack(">BQ", LONG | random.choice((0, MORE)), size) + bytes(1000))
            peer.awaitEnd(1)
    return 3


def manyFrames(target: Target) -> int:
    """One message of very many empty frames, and the time that it takes to be dropped."""
    with RawPeer(target.frontend) as peer:
        peer.handshake()
        peer.send(frame(b"", True) * MANY + frame(b""))
        peer.awaitEnd(10)
        peer.awaitNothing(0.5)
    return 1


def commands(target: Target) -> int:
    """Commands that are not due, not known, or not whole."""
    several = (
        command(b"PING", struct.pack(">H", 0) + os.urandom(16)),
        command(b"PING", b"\0"),
        command(b"PING", os.urandom(300)),
        command(b"PONG", randomBytes()),
        command(b"SUBSCRIBE", b"topic"),
        command(b"CANCEL", b"topic"),
        command(b"ERROR", b"\5wrong"),
        command(os.urandom(8), randomBytes()),
        ready(b"again"),
        bytes([COMMAND, 0]),
        bytes([COMMAND, 1, 200]),
        bytes([COMMAND | MORE, 4]) + b"\3abc",
    )
    for each in several:
        with RawPeer(target.either) as peer:
            peer.handshake()
            peer.send(each + message(b"", b"after"))
            peer.awaitEnd(0.002)
    return len(several)


def headers(target: Target) -> int:
    """Native headers that are wrong in many ways."""
    requestId = os.urandom(16)
    bad = (
        b"PIR1" + requestId + b"[" * 60000,
        b"PIR1" + requestId + b'{"timeout_ms": ' + b"9" * 5000 + b"}",
        b"PIR1" + requestId + b'{"service": "\xff"}',
        b"PIR1" + requestId + b'{"service": "' + b"x" * 70000 + b'"}',
        header(requestId, {"command": "shutdown"}),
        header(requestId, {"command": "cancel"}),
        header(requestId, {"service": "\n2026-01-01 forged line \x1b]0;title\x07"}),
        header(requestId, {"trace": "\x1b[2J" * 20, "timeout_ms": 1e400 if random.random() < 0.5 else -1}),
    )
    with RawPeer(target.frontend) as peer:
        peer.handshake()
        for each in bad:
            peer.send(message(each, b"", b"body"))
        peer.awaitEnd(0.02)
    return len(bad)


def batches(target: Target) -> int:
    """Messages with several requests, whole ones and such whose counts or sizes are wrong."""
    count = random.randrange(1, 65)
    whole = packRequests([(os.urandom(16), random.randrange(1 << 32), randomBytes()) for _ in range(count)])
    at = random.randrange(len(whole))
    several = (
        whole,
        whole[:at],
        whole + randomBytes(),
        whole[:at] + os.urandom(1) + whole[at + 1 :],
        bytes([random.randrange(256)]) + whole[1:],
        bytes([64]) + bytes(64 * 20) + b"\xff" * 128,
        os.urandom(random.randrange(1, 5000)),
        bytes(1 << 20),
        b"",
    )
    with RawPeer(target.frontend) as peer:
        peer.handshake()
        for each in several:
            head = header(os.urandom(16), {"command": "batch"})
            peer.send(message(*random.choice(((), (b"proxy",))), head, b"", each))
            peer.send(message(head, b"", each, each))
        peer.awaitEnd(0.02)
    return 2 * len(several)


def rogueWorker(target: Target) -> int:
    """A worker that is none, with a token that it has guessed, and answers to what it was never asked."""
    with RawPeer(target.backend) as peer:
        peer.handshake(b"child_%d_%s" % (random.choice(target.pids), os.urandom(4).hex().encode()))
        info = b'{"pirate": 1, "token": "%s", "credit": 64}' % os.urandom(16).hex().encode()
        peer.send(message(b"", b"waiting", info))
        peer.send(message(b"", b"waiting") + message(b"", b"exiting"))
        for _ in range(20):
            peer.send(message(b"", b"\x80" + os.urandom(7), b"", b"forged"))
        peer.send(message(b"", b"waiting", b"{}" * 40000))
        peer.awaitEnd(0.01)
    return 24


def vanish(target: Target) -> int:
    """Connections in bulk whose owner asks something, and is gone."""
    peers = [RawPeer(target.frontend) for _ in range(40)]
    for peer in peers:
        if random.random() < 0.7:
            peer.handshake()
            peer.send(message(b"", b"question"))
        peer.close(abruptly=random.random() < 0.5)
    return len(peers)


def crowd(target: Target) -> int:
    """More connections than there may be, all at once."""
    peers = [RawPeer(target.frontend) for _ in range(350)]
    for peer in peers[-20:]:
        peer.awaitEnd(0.02)
    for peer in peers:
        peer.close()
    return len(peers)


def noReader(target: Target) -> int:
    """A client that asks much and reads nothing."""
    with RawPeer(target.frontend) as peer:
        peer.handshake()
        body = bytes(4000)
        count = sum(peer.send(message(b"", body)) for _ in range(200))
        peer.awaitNothing(0.05)
    return count


#: Every attack, and the counter of the server's that must have grown after it, as a path in its stats.
ATTACKS: dict[Callable[[Target], int], str] = {
    garbage: "handshake-failed",
    slowHandshake: "handshake-failed",
    randomFrames: "dropped",
    randomStream: "closed",
    claimedIds: "unknown-worker",
    endlessMessage: "closed",
    hugeFrame: "closed",
    manyFrames: "too-many-frames",
    commands: "closed",
    headers: "bad-header",
    batches: "bad-batch",
    rogueWorker: "unknown-worker",
    vanish: "closed",
    crowd: "refused",
    noReader: "closed",
}
