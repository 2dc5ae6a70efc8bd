"""Information about processes, from ``/proc``."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic


def processesIn(folder: str) -> list[int]:
    """
    Return the living processes with this working directory.

    A server under test has a folder of its own, which its workers inherit, so orphans are found too.
    """
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        # The process may have ended meanwhile, or belong to another user.
        with suppress(OSError):
            if os.readlink(each / "cwd") == folder:
                found.append(int(each.name))
    return sorted(found)


def remaining(pids: Iterable[int], within: float) -> list[int]:
    """
    Wait for processes to end.

    :param within: seconds, at most.
    :return: those that still run then; zombies do not count.
    """
    deadline = monotonic() + within
    poll = select.poll()
    watched = {}
    for pid in pids:
        with suppress(ProcessLookupError):
            watched[os.pidfd_open(pid)] = pid
    for descriptor in watched:
        poll.register(descriptor, select.POLLIN)
    try:
        while watched:
            ended = poll.poll(max(deadline - monotonic(), 0) * 1000)
            for descriptor, _ in ended:
                poll.unregister(descriptor)
                os.close(descriptor)
                del watched[descriptor]
            if not ended:
                break
        return list(watched.values())
    finally:
        for descriptor in watched:
            os.close(descriptor)


def processorTime(pids: Iterable[int]) -> float:
    """Return the processor time that processes have used with all their threads, in seconds."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def title(pid: int) -> str:
    """Return the title of a process, as ``ps`` shows it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
