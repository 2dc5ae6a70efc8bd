"""A child process on a fake reactor, and a supervisor that records what it is told."""

from __future__ import annotations

from pirate.pool.child import Child, ChildExit, ChildKind
from pirate.server.childprocess import ChildProcess
from pirate.server.environment import ServerEnvironment
from pirate.server.output import OutputLog
from pirate.testing import FakeProcess, ProcessReactor
from pirate.wire.workerconfig import WorkerConfig

#: A configuration that a child can be given.
CONFIG = WorkerConfig(backend="tcp://127.0.0.1:7001", app="mod.fn", importPath=[], parent=1, title="worker")


class RecordingSupervisor:
    """
    A supervisor that records the ends of children, and has no keys for them.

    :ivar exits: how each child ended.
    :ivar ended: the children whose streams are closed.
    """

    def __init__(self) -> None:
        self.exits: list[ChildExit] = []
        self.ended: list[ChildProcess] = []

    def childExited(self, process: ChildProcess, how: ChildExit) -> None:
        """See :class:`~pirate.server.childprocess.ChildEvents`."""
        self.exits.append(how)

    def streamsClosed(self, process: ChildProcess) -> None:
        """See :class:`~pirate.server.childprocess.ChildEvents`."""
        self.ended.append(process)

    def issue(self, identity: bytes) -> dict[str, str]:
        """See :class:`~pirate.server.interfaces.ChildKeys`."""
        return {}

    def revoke(self, keys: dict[str, str]) -> None:
        """See :class:`~pirate.server.interfaces.ChildKeys`."""


def spawnChild(
    reactor: ProcessReactor, log: OutputLog, supervisor: RecordingSupervisor, kind: ChildKind = ChildKind.WORKER
) -> tuple[ChildProcess, FakeProcess]:
    """Spawn a child on a fake reactor."""
    child = ChildProcess(Child(1, kind, -1, 0, 0.0, 30.0), reactor, ServerEnvironment(), log, supervisor)
    child.spawn(CONFIG, supervisor)
    return child, reactor.processes[-1]
