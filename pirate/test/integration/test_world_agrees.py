# -*- test-case-name: pirate.test.integration.test_world_agrees -*-
"""Real and simulated servers agree: the same histories give the same events of each peer, outcomes and counters."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from unittest import mock

import zmq
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, TestCase

from pirate.hooks import ChildExit, Hooks
from pirate.service import JobServer
from pirate.test.support.clients import contextWithoutLinger
from pirate.test.support.histories import HISTORIES, History, Record, RecordingTransport, arguments, countersOf
from pirate.transport.router import Router
from pirate.transport.sockets import SocketTransport

reactor: Any = _reactor

#: Seconds between two looks at the peers and at a condition.
INTERVAL = 0.002
#: Seconds after which a test has failed.
PATIENCE = 40


class RealPeer:
    """A peer with a real socket; see :class:`~pirate.test.support.histories.HistoryPeer`."""

    def __init__(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        self.received: list[list[bytes]] = []
        self.reads = True
        self._socket = socket
        socket.connect(endpoint)

    def send(self, *frames: bytes) -> None:
        """Send a message."""
        self._socket.send_multipart(frames, zmq.NOBLOCK)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(0)

    def look(self) -> None:
        """Read what there is."""
        while self.reads and not self._socket.closed and self._socket.poll(0):
            self.received.append(self._socket.recv_multipart())


class RecordingHooks(Hooks):
    """Hooks that record the ends of workers."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def childExited(self, server: JobServer, pid: int, how: ChildExit) -> None:
        """Record it."""
        self._record.ends[pid] = str(how)


class RealStage:
    """A real server with real workers; see :class:`~pirate.test.support.histories.Stage`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.record = Record()
        settings = dict(settings)
        self._highWaterMark = settings.pop("highWaterMark", None)
        self._context = contextWithoutLinger()
        self._peers: list[RealPeer] = []
        with mock.patch.object(Router, "highWaterMark", self._highWaterMark or Router.highWaterMark):
            self.server = JobServer(
                reactor,
                frontend="tcp://127.0.0.1:*",
                backend="tcp://127.0.0.1:*",
                transport=lambda reactor: RecordingTransport(SocketTransport(reactor), self.record),
                hooks=RecordingHooks(self.record),
                **arguments(settings, "pirate.test.support.historyapp"),
            )
            self.server.startService()

    def connect(self, name: str, kind: str = "DEALER", side: str = "frontend") -> RealPeer:
        """Connect a peer."""
        socket = self._context.socket(getattr(zmq, kind))
        if name:
            socket.identity = name.encode()
        if self._highWaterMark:
            socket.hwm = self._highWaterMark
        peer = RealPeer(socket, getattr(self.server.endpoints, side)[0])
        self._peers.append(peer)
        return peer

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a worker."""
        os.kill(pid, number)

    def after(self, seconds: float) -> Callable[[], bool]:
        """Return a condition that holds in so many seconds."""
        end = reactor.seconds() + seconds
        return lambda: bool(reactor.seconds() >= end)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        while True:
            for peer in self._peers:
                peer.look()
            if condition():
                return
            looked: Deferred[None] = Deferred()
            reactor.callLater(INTERVAL, looked.callback, None)
            await looked

    async def stop(self) -> None:
        """Stop the server, and close the sockets of the peers."""
        await self.server.stopService()
        for peer in self._peers:
            peer.close()
        self._context.term()


class AgreementTests(TestCase):
    """A test for each history."""

    timeout = PATIENCE

    async def agree(self, history: History) -> None:
        """Let a history happen on both stages, and compare what their servers have seen and done."""
        try:
            from pirate.test.support.worldstage import simulate
        except ImportError:
            raise SkipTest("needs greenlet") from None
        stage = RealStage(history.settings)
        self.addCleanup(stage.stop)
        await stage.server.whenReady()
        try:
            for condition in history(stage):
                await stage.until(condition)
        except BaseException:
            raise AssertionError(f"the history goes no further: {stage.record.told()}") from None
        await stage.until(stage.after(0.2))
        real = {**stage.record.told(), "counters": countersOf(stage.server)}
        simulated = simulate(history, 1)
        for what, seen in real.items():
            self.assertEqual(seen, simulated[what], what)


for _name, _history in HISTORIES.items():
    setattr(AgreementTests, f"test_{_name}", lambda self, history=_history: self.agree(history))
