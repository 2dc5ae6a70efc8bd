# -*- test-case-name: pirate.test.transport.test_chance -*-
"""The C library's random numbers."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

#: Makes a ROUTER, has a peer without a name connect to it, and prints what the ROUTER calls it.
PROGRAM = """
import sys
import zmq
from pirate.transport.chance import seedLibrary
if "seeded" in sys.argv:
    seedLibrary()
with zmq.Context() as context, context.socket(zmq.ROUTER) as router, context.socket(zmq.DEALER) as dealer:
    router.bind("inproc://here")
    dealer.connect("inproc://here")
    dealer.send(b"")
    print(router.recv_multipart()[0].hex())
"""


class SeedTests(SynchronousTestCase):
    """What a ROUTER calls a peer that has no name of its own."""

    def names(self, *arguments: str) -> set[str]:
        """What it is called in each of three processes."""
        command = [sys.executable, "-c", PROGRAM, *arguments]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        return {process.communicate(timeout=60)[0] for process in processes}

    def test_unpredictable(self) -> None:
        """Once the library is seeded, the first name is another in every process."""
        self.assertEqual(len(self.names("seeded")), 3)
