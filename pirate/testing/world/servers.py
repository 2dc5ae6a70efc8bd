"""Servers: the real :class:`~pirate.service.JobServer` in a simulated process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from pirate.hooks import ChildExit, Hooks
from pirate.server.environment import ServerEnvironment
from pirate.server.interfaces import IServerReactor
from pirate.service import JobServer
from pirate.testing.world.agenda import Actor, Agenda
from pirate.testing.world.choices import Noise
from pirate.testing.world.journal import Journal
from pirate.testing.world.network import Network
from pirate.testing.world.processes import SimulatedProcess
from pirate.testing.world.transport import WorldTransport

#: Makes the process of a worker, given its server's process and its protocol.
Spawner = Callable[["ServerProcess", Any], SimulatedProcess]


class WorldServerEnvironment(ServerEnvironment):
    """
    The machine of a server: its secrets repeat themselves, and it knows the simulated processes.

    :param processes: the processes, by their ids.
    """

    def __init__(self, noise: Noise, processes: dict[int, SimulatedProcess], pid: int) -> None:
        self._noise = noise
        self._processes = processes
        self.random = noise.random
        self.pid = pid

    def secret(self, size: int) -> bytes:
        """See :class:`~pirate.server.environment.ServerEnvironment`."""
        return self._noise.secret(size)

    def isStopped(self, pid: int) -> bool:
        """See :class:`~pirate.server.environment.ServerEnvironment`."""
        process = self._processes.get(pid)
        return process is not None and process.alive and process.stopped

    def residentMemory(self, pid: int) -> float:
        """See :class:`~pirate.server.environment.ServerEnvironment`."""
        return 30.0

    def descriptorLimit(self) -> int:
        """See :class:`~pirate.server.environment.ServerEnvironment`."""
        return 1 << 16

    def reapProcesses(self) -> None:
        """Do nothing: every end is reported."""


class NotingHooks(Hooks):
    """Hooks that note what the server tells of its workers."""

    def __init__(self, name: str, journal: Journal) -> None:
        self._name = name
        self._journal = journal

    def serverStarted(self, server: JobServer) -> None:
        """See :class:`~pirate.hooks.Hooks`."""
        self._journal.note(self._name, "ready")

    def childExited(self, server: JobServer, pid: int, how: ChildExit) -> None:
        """See :class:`~pirate.hooks.Hooks`."""
        self._journal.note(self._name, "reaps", pid, str(how))


class ServerProcess(Actor):
    """
    The process of a server, which is also the reactor in it.

    :param settings: the server's settings.
    :ivar number: its number in the plan.
    :ivar server: the server.
    :ivar transport: its transport.
    :ivar workers: the workers that it has spawned and that have not ended, by process id.
    """

    def __init__(
        self,
        agenda: Agenda,
        name: str,
        network: Network,
        journal: Journal,
        noise: Noise,
        spawner: Spawner,
        processes: dict[int, SimulatedProcess],
        settings: dict[str, Any],
    ) -> None:
        super().__init__(agenda, name)
        self._network = network
        self._journal = journal
        self._noise = noise
        self._spawner = spawner
        self._all = processes
        self.number = 0
        self.transport: WorldTransport
        environment = WorldServerEnvironment(noise, processes, 1)
        hooks = NotingHooks(name, journal)
        arguments: dict[str, Any] = {"app": "pirate.testing.world.apps.work", **settings}
        self.server = JobServer(self, hooks=hooks, transport=self._makeTransport, environment=environment, **arguments)

    def _makeTransport(self, reactor: IServerReactor) -> Any:
        self.transport = WorldTransport(self, self._network, self._noise)
        return self.transport

    def start(self) -> None:
        """Start the server."""
        self.server.startService()
        self.server.whenReady().addErrback(lambda reason: self._journal.note(self.name, "unready", str(reason.value)))

    def stopServer(self, grace: float) -> Deferred[None]:
        """Stop the server."""
        self._journal.note(self.name, "stopping", grace)
        return self.server.stop(grace).addCallback(lambda ignored: self._journal.note(self.name, "stopped"))

    @property
    def workers(self) -> list[SimulatedProcess]:
        """Its workers that have not ended, oldest first."""
        return [each for each in self._all.values() if each.alive and each.parent is self]

    def callWhenRunning(self, callable: Callable[..., object], *args: Any, **kw: Any) -> None:
        """Make a call in the next turn."""
        self.callLater(0, callable, *args, **kw)

    def callFromThread(self, callable: Callable[..., object], *args: Any, **kw: Any) -> None:
        """Make a call in the next turn."""
        self.callLater(0, callable, *args, **kw)

    def spawnProcess(self, processProtocol: Any, *arguments: Any, **keywords: Any) -> Any:
        """Spawn a worker."""
        process = self._spawner(self, processProtocol)
        self._journal.note(self.name, "spawns", process.pid)
        processProtocol.makeConnection(process)
        return process

    def kill(self) -> None:
        """End the process: its sockets are closed, and its workers end with it."""
        self.end()
        self.transport.kill()
        for process in self.workers:
            process.orphaned()
