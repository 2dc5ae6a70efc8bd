# -*- test-case-name: pirate.test.integration.test_walk -*-
"""Compare the Python calls that a request takes in the broker with a limit and with the documentation."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import zmq
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

import pirate
from pirate.test.support.servers import ServerCase

DESIGN = Path(pirate.__file__).resolve().parent.parent / "docs" / "topics" / "design.rst"
#: The number of requests before the calls are counted, and while they are.
WARM_UP, MEASURED = 20, 100
#: The number of calls that a request must stay below.
LIMIT = 45


def ask(endpoint: str, requests: int) -> None:
    """Send so many tiny requests from a REQ socket, one after the other."""
    with zmq.Context() as context, context.socket(zmq.REQ) as client:
        client.rcvtimeo = 60_000
        client.connect(endpoint)
        for _ in range(requests):
            client.send(b"x" * 32)
            client.recv()


class WalkTests(ServerCase):
    """The way of a plain tiny request, which finds an idle worker, and of its reply."""

    def note(self, frame: FrameType, event: str, argument: Any) -> None:
        """Count a call of the package."""
        if event == "call":
            module = frame.f_globals.get("__name__", "")
            if module.startswith("pirate.") and not module.startswith("pirate.test."):
                self.calls[frame.f_code.co_qualname] += 1

    async def measure(self) -> Counter[str]:
        """Return how often each function was called in so many requests."""
        self.calls: Counter[str] = Counter()
        server = await self.serve("pirate.echo.echo", workers=2, minSpareServers=1, maxSpareServers=2)
        endpoint = server.endpoints.frontend[0]
        await deferToThread(ask, endpoint, WARM_UP)
        sys.setprofile(self.note)
        try:
            await deferToThread(ask, endpoint, MEASURED)
        finally:
            sys.setprofile(None)
        return self.calls

    async def test_calls(self) -> None:
        """A request takes fewer calls than the limit."""
        calls = await self.measure()
        total = sum(calls.values()) / MEASURED
        shown = "\n".join(f"{count / MEASURED:6.2f} {name}" for name, count in calls.most_common())
        self.assertLess(total, LIMIT, f"{total:.1f} calls a request:\n{shown}")

    async def test_documented(self) -> None:
        """The docs name each function that is called, and no other."""
        if not DESIGN.exists():
            raise SkipTest("the docs are not here")
        section = DESIGN.read_text().partition("\nThe calls of one request\n")[2].partition("\n\n\n")[0]
        documented = set(re.findall(r"^ {4,}([A-Za-z_.]+)(?:  .*)?$", section, re.M))
        calls = await self.measure()
        # A turn that follows at once is not begun by a descriptor.
        found = {name for name, count in calls.items() if count >= MEASURED / 4} - {"SocketTransport.wake"}
        self.assertEqual(found - documented, set())
        self.assertEqual(documented - calls.keys(), set())
