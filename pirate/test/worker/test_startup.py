# -*- test-case-name: pirate.test.worker.test_startup -*-
"""What a worker's process does before it works."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pirate.worker.startup import peerAddress


class PeerTests(SynchronousTestCase):
    """What the system calls the backend's end of a connection."""

    def test_address(self) -> None:
        """Name, file, or address and port."""
        for endpoint, address in (
            ("ipc://@pirate-1", b"\0pirate-1"),
            ("ipc:///run/pirate/backend", "/run/pirate/backend"),
            ("tcp://127.0.0.1:6661", ("127.0.0.1", 6661)),
            ("tcp://[::1]:6661", ("::1", 6661)),
        ):
            self.assertEqual(peerAddress(endpoint), address)
