"""A real server on the reactor of a test, for trial."""

from __future__ import annotations

from typing import Any

from pirate.service import JobServer
from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy

#: The settings that are grouped, by the name of their group in :class:`~pirate.settings.settings.Settings`.
_GROUPS: dict[str, Any] = {"limits": PoolLimits, "policy": RequestPolicy, "peerLimits": PeerLimits}


class ServerMixin:
    """
    For a ``twisted.trial.unittest.TestCase``: servers on its reactor, with real sockets and workers.

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
        :param workers: how many, unless ``minServers`` and ``maxServers`` say so.
        :param settings: any others of the table, those of ``PoolLimits``, ``RequestPolicy`` and ``PeerLimits`` among
            them.
        :raise StartError: if the workers cannot start.
        """
        if not {"minServers", "maxServers"} & set(settings):
            settings |= {"minServers": workers, "maxServers": workers}
        groups = {
            group: kind(**{name: settings.pop(name) for name in list(settings) if name in kind.__dataclass_fields__})
            for group, kind in _GROUPS.items()
        }
        given = {"frontend": "*", "backend": "*", **groups, **settings}
        server = JobServer(reactor, app=app, **given)
        self.addCleanup(server.stopService)
        server.startService()
        await server.whenReady()
        return server
