"""The same for trial, with the server on the test's own reactor.  Run it: python -m twisted.trial test_trial"""

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from pirate.client import TwistedClient
from pirate.testing import ServerMixin


class ServerTests(ServerMixin, TestCase):
    """The app, in the workers of a server that runs in this process."""

    async def test_reply(self) -> None:
        server = await self.startServer(reactor, "shout.shout", workers=2)
        client = TwistedClient(reactor, server.endpoints.frontend[0])
        self.addCleanup(client.close)
        self.assertEqual(await client.call(b"ahoy"), b"AHOY")
