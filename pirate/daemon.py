"""A server that has a process to itself: what C{twistd pirate} runs."""

from __future__ import annotations

import atexit
import gc
import os
import pwd
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.application.service import MultiService

from pirate.descriptors import allowDescriptors
from pirate.endpoints import portOf
from pirate.errors import BindError, ConfigurationError, Fatal
from pirate.hooks import Hooks
from pirate.imports import describe, load, place
from pirate.run import Endpoints
from pirate.service import JobServer
from pirate.settings import Settings
from pirate.signals import Signals, stopReactor
from pirate.startup import setTitle


@dataclass(frozen=True, slots=True)
class Change:
    """
    What C{twistd} is about to change in this process, once its sockets are bound.

    :ivar uid: the user that it becomes; C{None}: it stays who it is.
    :ivar gid: the group; C{None}: that user's own.
    :ivar chroot: the directory that is its root already, if it has been given one.
    """

    uid: int | None = None
    gid: int | None = None
    chroot: str | None = None

    def group(self) -> int:
        """The group that it will belong to, as C{twistd} has it; -1 if that does not change."""
        if self.gid is None and self.uid is not None:
            with suppress(KeyError):
                return pwd.getpwuid(self.uid).pw_gid
        return -1 if self.gid is None else self.gid


#: Nothing changes.
STAYS = Change()


class ServerProcess(MultiService):
    """
    One L{JobServer}, its signals, its process title, and its exit status.

    :param settings: what the command line said.
    :param change: what becomes of this process when the sockets are bound.
    """

    def __init__(self, settings: Settings, change: Change = STAYS) -> None:
        super().__init__()
        self._settings = settings
        self._change = change

    def privilegedStartService(self) -> None:
        """
        Bind the sockets, while there may still be the privilege to.

        :raise Fatal: if that fails, the hooks cannot be loaded, or the system allows too few descriptors.
        """
        from twisted.internet import reactor

        if self.services:
            return
        if self._change.chroot is not None and not (os.access(sys.executable, os.X_OK) and os.path.exists(__file__)):
            raise Fatal(
                f"pirate: chroot is {self._change.chroot}, but must hold {sys.executable}, pyzmq and pirate: workers "
                "are new Python processes"
            )
        try:
            allowDescriptors(self._settings.limits)
            server = JobServer.fromSettings(reactor, self._settings, hooks=self._hooks())
            server.setServiceParent(self)
            super().privilegedStartService()
            self._giveAway(server.endpoints)
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
        _freezeHeap()

    def _giveAway(self, endpoints: Endpoints) -> None:
        """Give the UNIX sockets, which nobody else may use, to the user that this process becomes."""
        change = self._change
        if change.uid is None and change.gid is None:
            return
        paths = [each.removeprefix("ipc://") for each in (*endpoints.frontend, *endpoints.backend) if "ipc://" in each]
        try:
            for path in paths:
                os.chown(path, -1 if change.uid is None else change.uid, change.group(), follow_symlinks=False)
        except OSError as error:
            for each in paths:
                with suppress(OSError):
                    os.unlink(each)
            raise BindError(f"ipc://{path} cannot be given to user {change.uid}: {error.strerror}") from None

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


def _freezeHeap() -> None:
    """What is loaded by now stays: to look for garbage in it again and again would take 10 ms each time."""
    gc.collect()
    gc.freeze()


def _exit(message: str) -> None:
    # Neither twistd nor twist has a way for a running reactor to set the exit status; this runs when both are done.
    sys.stdout.flush()
    print(message, file=sys.__stderr__, flush=True)
    os._exit(1)
