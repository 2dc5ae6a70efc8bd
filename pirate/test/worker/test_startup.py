# -*- test-case-name: pirate.test.worker.test_startup -*-
"""Tests of how a worker's process starts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.worker.startup import peerAddress


class PeerTests(SynchronousTestCase):
    """The address of the backend's end of a connection is derived from the endpoint."""

    def test_address(self) -> None:
        """The address is a name, a file, or a host and a port."""
        for endpoint, address in (
            ("ipc://@pirate-1", b"\0pirate-1"),
            ("ipc:///run/pirate/backend", "/run/pirate/backend"),
            ("tcp://127.0.0.1:6661", ("127.0.0.1", 6661)),
            ("tcp://[::1]:6661", ("::1", 6661)),
        ):
            self.assertEqual(peerAddress(endpoint), address)
