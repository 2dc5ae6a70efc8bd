"""The service that ``twistd pirate`` runs: a server with a process of its own."""

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
from pirate.twistd.signals import EarlySignals, Signals, stopReactor
from pirate.twistd.terminal import ForegroundTerminal, Terminal
from pirate.worker.imports import explain, load
from pirate.worker.startup import setTitle


@dataclass(frozen=True, slots=True)
class IdentityChange:
    """
    The identity that twistd gives to this process after the sockets are bound, and the root directory before that.

    :ivar uid: the new user; ``None`` if the user stays.
    :ivar gid: the new group; ``None`` for the primary group of the new user.
    :ivar chroot: the root directory; ``None`` if it stays.
    """

    uid: int | None = None
    gid: int | None = None
    chroot: str | None = None

    def group(self) -> int:
        """Return the new group as twistd determines it; -1 if the group stays."""
        if self.gid is None and self.uid is not None:
            with suppress(KeyError):
                return pwd.getpwuid(self.uid).pw_gid
        return -1 if self.gid is None else self.gid


#: No change.
UNCHANGED = IdentityChange()


class TwistdService(MultiService):
    """
    One :class:`~pirate.service.JobServer`, its signals, its process title, and its exit status.

    It implements :class:`~pirate.server.interfaces.StartEvents`.

    :param settings: the settings on the command line.
    :param change: the change of user, group and root directory.
    :param terminal: the terminal from which the server was started; ``None`` for that of this process, which shows the
        log.
    :param waits: whether the terminal waits until the workers are ready.
    """

    def __init__(
        self,
        settings: Settings,
        change: IdentityChange = UNCHANGED,
        terminal: Terminal | None = None,
        waits: bool = True,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._change = change
        self._terminal = terminal or ForegroundTerminal()
        self._waits = waits
        self._early = EarlySignals()
        self._server: JobServer | None = None

    def privilegedStartService(self) -> None:
        """
        Bind the sockets, while the process may still have the privilege to.

        :raise Fatal: if the sockets cannot be bound, the hooks cannot be loaded, the system allows too few file
            descriptors, or a signal has arrived.
        """
        self._boundServer()

    def _boundServer(self) -> JobServer:
        """Return the server, after binding its sockets unless that has been done."""
        if self._server is None:
            self._early.hold()
            self._terminal.starting()
            try:
                self._server = self._bind()
            except (BindError, ConfigurationError) as error:
                line = f"pirate: {error}"
                self._terminal.refused(line)
                raise Fatal(line) from None
        return self._server

    def _bind(self) -> JobServer:
        if self._change.chroot is not None and not (os.access(sys.executable, os.X_OK) and os.path.exists(__file__)):
            raise ConfigurationError(
                f"chroot is {self._change.chroot}, but must contain {sys.executable}, pyzmq and pirate: workers "
                "are new Python processes"
            )
        raiseDescriptorLimit(self._settings.limits, self._settings.peerLimits.maxConnections)
        hooks = self._loadHooks()
        reactor = _reactor()
        self._early.check()
        server = JobServer.fromSettings(reactor, self._settings, hooks, self._change.uid, self)
        server.setServiceParent(self)
        super().privilegedStartService()
        self._changeOwner(server.endpoints)
        Signals(reactor, server, self._early).setServiceParent(self)
        return server

    def startService(self) -> None:
        """Start the server; bind the sockets first under ``twist``, which has no privileged start."""
        server = self._boundServer()
        super().startService()
        endpoints = server.endpoints
        setTitle(f"zmq broker {portOf(endpoints.frontend[0])}-{portOf(endpoints.backend[0])}")
        _freezeHeap()
        if self._early.hasStopSignal():
            server.stop(0)
        elif not self._waits:
            self._terminal.ready()
        else:
            # A failure has been reported, or the server was stopped.
            server.whenReady().addCallbacks(lambda ignored: self._terminal.ready(), lambda failure: None)

    def startFailed(self, reason: str) -> bool:
        """
        End the process with status 1, because no worker could ever start.

        :return: whether the terminal, which shows the reason, shows the log as well.
        """
        self._terminal.failed(f"pirate: {reason}")
        stopped: Any = self._boundServer().stop(0)
        stopped.addCallback(lambda ignored: stopReactor(_reactor()))
        return self._terminal.showsLog

    def _changeOwner(self, endpoints: Endpoints) -> None:
        """Give the UNIX sockets, which only their owner can use, to the new user of this process."""
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

    def _loadHooks(self) -> Hooks | None:
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


def _freezeHeap() -> None:
    """Exempt the loaded modules from garbage collection, which would take 10 ms each time to find nothing."""
    gc.collect()
    gc.freeze()


def _reactor() -> Any:
    """Return the reactor of the process, whose import installs it: not before twistd has forked."""
    from twisted.internet import reactor

    return reactor
