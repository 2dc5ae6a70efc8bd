"""Facts about a process, read from ``/proc``."""

from __future__ import annotations

import os
from pathlib import Path

from pirate.errors import ConfigurationError


def residentMemory(pid: int) -> float:
    """Return the resident memory of a process in MiB; 0 where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def requireMemory(limit: float) -> None:
    """
    Check that a limit of the workers' memory can be enforced.

    :param limit: in MiB; 0: no limit.
    :raise ConfigurationError: if the system does not tell how much memory a process uses.
    """
    if limit and not residentMemory(os.getpid()):
        raise ConfigurationError(
            f"max-memory is {limit:g}, but this system does not tell how much memory a worker uses, because it has no "
            "/proc; leave max-memory out, and use max-requests or max-age"
        )


def isStopped(pid: int) -> bool:
    """Return whether a signal or a debugger has stopped a process; ``False`` where the system does not tell."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
    except (OSError, IndexError):
        return False
