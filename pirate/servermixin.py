"""A real server on the reactor of a test, for trial."""

from __future__ import annotations

from typing import Any

from pirate.service import JobServer
from pirate.settings import Limits, Terms


class ServerMixin:
    """
    For a C{twisted.trial.unittest.TestCase}: servers on its reactor, with real sockets and workers.

    ::

        class ShoutTests(ServerMixin, TestCase):

            async def test_shout(self):
                server = await self.startServer(reactor, "shout.shout")
                ...
    """

    addCleanup: Any

    async def startServer(self, reactor: Any, app: str, *, workers: int = 1, **settings: Any) -> JobServer:
        """
        A server on free ports of the loopback interface, with its workers ready, which is stopped when the test ends.

        :param app: an import path.
        :param workers: how many, unless C{minServers} and C{maxServers} say so.
        :param settings: any others, those of C{Limits} and C{Terms} among them.
        :raise StartError: if the workers cannot start.
        """
        if not {"minServers", "maxServers"} & set(settings):
            settings |= {"minServers": workers, "maxServers": workers}
        limits = Limits(**{name: settings.pop(name) for name in list(settings) if name in Limits.__dataclass_fields__})
        terms = Terms(**{name: settings.pop(name) for name in list(settings) if name in Terms.__dataclass_fields__})
        given = {"frontend": "*", "backend": "*", "limits": limits, "terms": terms, **settings}
        server = JobServer(reactor, app=app, **given)
        self.addCleanup(server.stopService)
        server.startService()
        await server.whenReady()
        return server
