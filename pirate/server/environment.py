"""The environment of a server: randomness, and what the operating system knows of processes."""

from __future__ import annotations

import os
from random import Random
from secrets import token_bytes

from pirate.server.descriptors import descriptorLimit
from pirate.server.procfs import isStopped, residentMemory


class ServerEnvironment:
    """
    What a server needs of the outside world beside its reactor.

    A simulation has another one, which repeats itself.

    :ivar random: the source of jitter; nothing secret comes from it.
    :ivar pid: the process id of the server.
    """

    def __init__(self) -> None:
        self.random = Random()
        self.pid = os.getpid()

    def secret(self, size: int) -> bytes:
        """Return so many bytes that nobody can guess."""
        return token_bytes(size)

    def isStopped(self, pid: int) -> bool:
        """Return whether a signal has stopped a process; ``False`` where that is not known."""
        return isStopped(pid)

    def residentMemory(self, pid: int) -> float:
        """Return how many MiB of memory a process has resident; 0 where that is not known."""
        return residentMemory(pid)

    def descriptorLimit(self) -> int:
        """Return how many file descriptors this process may have open."""
        return descriptorLimit()

    def reapProcesses(self) -> None:
        """Reap processes whose end was not reported, because this process does not handle SIGCHLD."""
        from twisted.internet.process import reapAllProcesses

        reapAllProcesses()
