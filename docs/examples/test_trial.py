"""The same for trial, with the server on the test's own reactor.  Run it: python -m twisted.trial test_trial"""

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from pirate.client import Client
from pirate.testing import ServerMixin


def ask(endpoint, payload):
    with Client(endpoint) as client:
        return client.call(payload)


class ServerTests(ServerMixin, TestCase):
    """The app, in the workers of a server that runs in this process."""

    async def test_reply(self):
        server = await self.startServer(reactor, "shout.shout", workers=2)
        reply = await deferToThread(ask, server.endpoints.frontend[0], b"ahoy")
        self.assertEqual(reply, b"AHOY")
