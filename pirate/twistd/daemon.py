"""A server that has a process to itself: what ``twistd pirate`` runs."""

from __future__ import annotations

import gc
import os
import pwd
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.application.service import MultiService

from pirate.errors import BindError, ConfigurationError, Fatal
from pirate.hooks import Hooks
from pirate.server.descriptors import raiseDescriptorLimit
from pirate.service import Endpoints, JobServer
from pirate.settings.endpoints import portOf
from pirate.settings.settings import Settings
from pirate.twistd.launch import Foreground, ITerminal
from pirate.twistd.signals import EarlySignals, Signals, stopReactor
from pirate.worker.imports import explain, load
from pirate.worker.startup import setTitle


@dataclass(frozen=True, slots=True)
class Change:
    """
    What ``twistd`` is about to change in this process, once its sockets are bound.

    :ivar uid: the user that it becomes; ``None``: it stays who it is.
    :ivar gid: the group; ``None``: that user's own.
    :ivar chroot: the directory that is its root already, if it has been given one.
    """

    uid: int | None = None
    gid: int | None = None
    chroot: str | None = None

    def group(self) -> int:
        """The group that it will belong to, as ``twistd`` has it; -1 if that does not change."""
        if self.gid is None and self.uid is not None:
            with suppress(KeyError):
                return pwd.getpwuid(self.uid).pw_gid
        return -1 if self.gid is None else self.gid


#: Nothing changes.
STAYS = Change()


class ServerProcess(MultiService):
    """
    One :class:`~pirate.service.JobServer`, its signals, its process title, and its exit status.

    :param settings: what the command line said.
    :param change: what becomes of this process when the sockets are bound.
    :param terminal: the terminal that the server was started from; ``None``: this process has it, and the log goes
        there.
    :param waits: whether the terminal is told of the start only when the workers are ready.
    """

    def __init__(
        self, settings: Settings, change: Change = STAYS, terminal: ITerminal | None = None, waits: bool = True
    ) -> None:
        super().__init__()
        self._settings = settings
        self._change = change
        self._terminal = terminal or Foreground()
        self._waits = waits
        self._early = EarlySignals()

    def privilegedStartService(self) -> None:
        """
        Bind the sockets, while there may still be the privilege to.

        :raise Fatal: if that fails, the hooks cannot be loaded, or the system allows too few descriptors; or because of
            a signal.
        """
        if self.services:
            return
        self._early.hold()
        self._terminal.starting()
        try:
            self._bind()
        except (BindError, ConfigurationError) as error:
            line = f"pirate: {error}"
            self._terminal.refused(line)
            raise Fatal(line) from None

    def _bind(self) -> None:
        from twisted.internet import reactor

        if self._change.chroot is not None and not (os.access(sys.executable, os.X_OK) and os.path.exists(__file__)):
            raise ConfigurationError(
                f"chroot is {self._change.chroot}, but must hold {sys.executable}, pyzmq and pirate: workers "
                "are new Python processes"
            )
        raiseDescriptorLimit(self._settings.limits, self._settings.peerLimits.maxConnections)
        hooks = self._hooks()
        self._early.check()
        server = JobServer.fromSettings(reactor, self._settings, hooks, self._change.uid, self._failed)
        server.setServiceParent(self)
        super().privilegedStartService()
        self._giveAway(server.endpoints)
        Signals(reactor, server, self._early).setServiceParent(self)
        self._server = server

    def startService(self) -> None:
        """Start the server; bind first under ``twist``, which knows no privileged start."""
        self.privilegedStartService()
        super().startService()
        endpoints = self._server.endpoints
        setTitle(f"zmq broker {portOf(endpoints.frontend[0])}-{portOf(endpoints.backend[0])}")
        _freezeHeap()
        if self._early.ends():
            self._server.stop(0)
        elif not self._waits:
            self._terminal.ready()
        else:
            # Why it is not ready has been told, or is that it was stopped.
            self._server.whenReady().addCallbacks(lambda ignored: self._terminal.ready(), lambda failure: None)

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
            raise ConfigurationError(f"hooks: cannot load {self._settings.hooks!r}: {explain(error)}") from None
        finally:
            sys.path.remove(os.getcwd())
        raise ConfigurationError(f"hooks is {self._settings.hooks}, but must name a subclass of pirate.hooks.Hooks")

    def _failed(self, reason: str) -> bool:
        """
        End the process, with a status that says that no worker could ever start.

        :return: whether that is all that the terminal needs, and the log, which goes there, need not have it too.
        """
        from twisted.internet import reactor

        self._terminal.failed(f"pirate: {reason}")
        stopped: Any = self._server.stop(0)
        stopped.addCallback(lambda ignored: stopReactor(reactor))
        return self._terminal.showsLog


def _freezeHeap() -> None:
    """What is loaded by now stays: to look for garbage in it again and again would take 10 ms each time."""
    gc.collect()
    gc.freeze()
