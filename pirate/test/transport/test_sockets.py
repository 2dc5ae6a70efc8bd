# -*- test-case-name: pirate.test.transport.test_sockets -*-
"""
What a server relies on in its transport: one suite, here for the memory transport.

``pirate.test.integration.test_transport`` runs the same suite on real sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import TestCase

from pirate.test.support.transport import Peer, TransportTests
from pirate.testing import MemoryRouter, MemoryTransport, ProcessReactor


class MemoryPeer:
    """A peer of a memory transport."""

    def __init__(self, router: MemoryRouter, name: bytes) -> None:
        self._router = router
        self._name = name
        self.received: list[list[bytes]] = []
        router.connect(name, self.received.append)

    def say(self, *frames: bytes) -> None:
        """Send a message."""
        self._router.receive(self._name, *frames)


class MemoryTransportTests(TransportTests, TestCase):
    """The suite on the memory transport."""

    def setUp(self) -> None:
        self.reactor = ProcessReactor()
        self.taken: dict[str, str] = {}
        super().setUp()
        self.taken[self.endpoints[0][0]] = "Address already in use"

    def makeTransport(self) -> MemoryTransport:
        return MemoryTransport(self.reactor, self.taken)

    def connect(self, side: str, name: bytes) -> Peer:
        return MemoryPeer(getattr(self.transport, side), name)

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        self.reactor.advance(0)
        self.assertTrue(condition(), "nothing more happens")
        return succeed(None)

    def fired(self, *deferreds: Deferred[None]) -> Deferred[Any]:
        self.reactor.advance(0)
        return succeed([self.successResultOf(each) for each in deferreds])
