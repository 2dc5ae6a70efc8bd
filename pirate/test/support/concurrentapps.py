"""Apps that run several requests at once; each request connects to a test's gate and does what the gate says."""

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
    """Connect to a gate on asyncio's loop, send the process id, and obey."""
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
    """Connect to a gate in a thread, send the process id, and obey."""
    with socket.socket(socket.AF_UNIX) as gate:
        gate.connect(path)
        gate.sendall(b"%d\n" % os.getpid())
        told = gate.makefile("rb").readline()
    return obey(told.strip())


def visitLater(path: bytes) -> Deferred[Any]:
    """Connect to a gate on Twisted's reactor, send the process id, and obey."""
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
    """Do what the gate has said; any other word is the reply."""
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
    """Send so many parts, as fast as possible."""
    for number in range(int(upTo)):
        yield b"%d" % number


class OnLoop:
    """An app that is made, set up, called and closed on the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        apps.note("made")

    async def setup(self) -> None:
        """Prepare for requests."""
        await self._loop.run_in_executor(None, apps.note, "setup")

    async def __call__(self, path: bytes) -> bytes:
        return await visit(path)

    async def close(self) -> None:
        """Finish."""
        await asyncio.sleep(0)
        apps.note("closed")
