"""A real server on the reactor of a trial test."""

from __future__ import annotations

from typing import Any

from pirate.service import JobServer
from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy

#: The classes of the settings that are grouped, by their names in :class:`~pirate.settings.settings.Settings`.
_GROUPS: dict[str, Any] = {"limits": PoolLimits, "policy": RequestPolicy, "peerLimits": PeerLimits}


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

    async def startServer(self, reactor: Any, app: str, *, workers: int = 1, **settings: Any) -> JobServer:
        """
        Start a server on free ports of the loopback interface, and wait until its workers are ready.

        The server stops when the test ends.

        :param app: an import path.
        :param workers: the number of workers, unless ``minServers`` or ``maxServers`` is given.
        :param settings: any other setting, including the fields of ``PoolLimits``, ``RequestPolicy`` and
            ``PeerLimits``.
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
