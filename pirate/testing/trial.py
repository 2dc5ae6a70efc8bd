"""A real server on the reactor of a trial test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from pirate.hooks import Hooks
from pirate.service import JobServer
from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.settings.settings import Settings
from pirate.testing.arguments import ServerArguments, completeSettings, settingsOf


class ServerMixin:
    """
    A mixin for ``twisted.trial.unittest.TestCase``: servers on the test's reactor, with real sockets and workers.

    ::

        class ShoutTests(ServerMixin, TestCase):

            async def test_shout(self):
                server = await self.startServer(reactor, "shout.shout")
                ...
    """

    addCleanup: Any

    async def startServer(
        self,
        reactor: Any,
        app: str | Callable[..., Any],
        *,
        workers: int = 1,
        hooks: Hooks | None = None,
        **settings: Unpack[ServerArguments],
    ) -> JobServer:
        """
        Start a server on free ports of the loopback interface, and wait until its workers are ready.

        The server stops when the test ends.

        :param app: an import path, or a callable or class that has one.
        :param workers: the number of workers, unless ``minServers`` or ``maxServers`` is given.
        :param hooks: the hooks of the server.
        :param settings: any of :class:`~pirate.testing.ServerArguments`, such as ``jobTimeout=2`` or
            ``maxMessageFrames=8``.
        :raise StartError: if the workers cannot start.
        :raise ConfigurationError: if a setting does not exist, or is wrong.
        """
        given = completeSettings(settings, workers)
        server = JobServer(
            reactor,
            app=app,
            hooks=hooks,
            limits=PoolLimits(**settingsOf(PoolLimits, given)),
            policy=RequestPolicy(**settingsOf(RequestPolicy, given)),
            peerLimits=PeerLimits(**settingsOf(PeerLimits, given)),
            **settingsOf(Settings, given),
        )
        self.addCleanup(server.stopService)
        server.startService()
        await server.whenReady()
        return server
