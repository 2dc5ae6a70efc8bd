"""Apps that run several requests at once, for tests; each goes to a gate, and does there what it is told."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from pirate.test.support import apps

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred


async def visit(path: bytes) -> bytes:
    """Connect to a gate, say who is there, and do what one is told."""
    reader, writer = await asyncio.open_unix_connection(path.decode())
    try:
        writer.write(b"%d\n" % os.getpid())
        told = await reader.readline()
    except asyncio.CancelledError:
        apps.note("cancelled")
        raise
    finally:
        writer.close()
    return obey(told.strip())


def visitInThread(path: bytes) -> bytes:
    """The same, in a thread that waits for it."""
    with socket.socket(socket.AF_UNIX) as gate:
        gate.connect(path)
        gate.sendall(b"%d\n" % os.getpid())
        told = gate.makefile("rb").readline()
    return obey(told.strip())


def visitLater(path: bytes) -> Deferred[Any]:
    """The same as a Deferred."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
    from twisted.protocols.basic import LineOnlyReceiver

    told: Deferred[bytes] = Deferred()

    class Visitor(LineOnlyReceiver):
        delimiter = b"\n"

        def connectionMade(self) -> None:
            self.sendLine(b"%d" % os.getpid())

        def lineReceived(self, line: bytes) -> None:
            told.callback(line)

    connectProtocol(UNIXClientEndpoint(reactor, path.decode()), Visitor())
    return told.addCallback(obey)


def obey(told: bytes) -> bytes:
    """Do what the gate has said; what is no deed is the answer."""
    if told == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    if told == b"leave":
        sys.exit(5)
    if told == b"hog":
        apps.note("hogging")
        apps.hog()
    if told == b"raise":
        raise ValueError("as told")
    return told


async def parts(upTo: bytes) -> AsyncIterator[bytes]:
    """So many parts, as fast as it can."""
    for number in range(int(upTo)):
        yield b"%d" % number


class Housed:
    """An app that must be on its loop from its making to its end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        apps.note("made")

    async def setup(self) -> None:
        """Before the first request."""
        await self._loop.run_in_executor(None, apps.note, "setup")

    async def __call__(self, path: bytes) -> bytes:
        return await visit(path)

    async def close(self) -> None:
        """After the last."""
        await asyncio.sleep(0)
        apps.note("closed")
