"""A server that has a process to itself: what C{twistd pirate} runs."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

from twisted.application.service import MultiService

from pirate.descriptors import allowDescriptors
from pirate.endpoints import portOf
from pirate.errors import BindError, ConfigurationError, Fatal
from pirate.hooks import Hooks
from pirate.imports import describe, load, place
from pirate.service import JobServer
from pirate.settings import Settings
from pirate.signals import Signals, stopReactor
from pirate.startup import setTitle


class ServerProcess(MultiService):
    """
    One L{JobServer}, its signals, its process title, and its exit status.

    :param settings: what the command line said.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def privilegedStartService(self) -> None:
        """
        Bind the sockets, while there may still be the privilege to.

        :raise Fatal: if that fails, the hooks cannot be loaded, or the system allows too few descriptors.
        """
        from twisted.internet import reactor

        if self.services:
            return
        try:
            allowDescriptors(self._settings.limits)
            server = JobServer.fromSettings(reactor, self._settings, hooks=self._hooks())
            server.setServiceParent(self)
            super().privilegedStartService()
        except (BindError, ConfigurationError) as error:
            raise Fatal(f"pirate: {error}") from None
        Signals(reactor, server).setServiceParent(self)
        self._server = server

    def startService(self) -> None:
        """Start the server; bind first under C{twist}, which knows no privileged start."""
        self.privilegedStartService()
        super().startService()
        endpoints = self._server.endpoints
        setTitle(f"zmq broker {portOf(endpoints.frontend[0])}-{portOf(endpoints.backend[0])}")
        self._server.gaveUp = self._failed

    def _hooks(self) -> Hooks | None:
        if self._settings.hooks is None:
            return None
        sys.path.insert(0, os.getcwd())
        try:
            hooks = load(self._settings.hooks)
            if isinstance(hooks, type) and issubclass(hooks, Hooks):
                return hooks()
        except Exception as error:
            raise ConfigurationError(f"cannot load {self._settings.hooks!r}: {describe(error)}{place(error)}") from None
        finally:
            sys.path.remove(os.getcwd())
        raise ConfigurationError(f"hooks is {self._settings.hooks}, but must name a subclass of pirate.hooks.Hooks")

    def _failed(self, reason: str) -> None:
        """No worker could ever start: end the process, with a status that says so."""
        from twisted.internet import reactor

        atexit.register(_exit, f"pirate: {reason}")
        stopped: Any = self._server.stop(0)
        stopped.addCallback(lambda ignored: stopReactor(reactor))


def _exit(message: str) -> None:
    # Neither twistd nor twist has a way for a running reactor to set the exit status; this runs when both are done.
    sys.stdout.flush()
    print(message, file=sys.__stderr__, flush=True)
    os._exit(1)
