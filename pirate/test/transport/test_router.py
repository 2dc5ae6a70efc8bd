# -*- test-case-name: pirate.test.transport.test_router -*-
"""The tests of the ROUTER that need no reactor."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

#: Makes a ROUTER, has a peer without a routing id connect to it, and prints the routing id that the ROUTER generates.
PROGRAM = """
import zmq
from pirate.transport.router import seedRoutingIds
seedRoutingIds()
with zmq.Context() as context, context.socket(zmq.ROUTER) as router, context.socket(zmq.DEALER) as dealer:
    router.bind("inproc://here")
    dealer.connect("inproc://here")
    dealer.send(b"")
    print(router.recv_multipart()[0].hex())
"""


class SeedTests(SynchronousTestCase):
    """Generate routing ids that a peer cannot predict."""

    def test_unpredictable(self) -> None:
        """Once the C library is seeded, the first routing id differs from process to process."""
        command = [sys.executable, "-c", PROGRAM]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        self.assertEqual(len({process.communicate(timeout=60)[0] for process in processes}), 2)
