"""
What the system says of processes and their threads: CPU time, context switches, memory, children.  Linux only.

The system counts the CPU time of a process, and of the children that it has waited for, for as long as it runs.  What a
thread has used is lost with the thread.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """
    What one thread has used.

    :ivar user: seconds of CPU time in its own code.
    :ivar system: seconds of CPU time in the kernel.
    :ivar voluntary: context switches because it had to wait for something.
    :ivar involuntary: context switches although it had more to do.
    :ivar delayed: seconds that it was ready to run and had to wait for a processor; 0 where the kernel does not tell.
    """

    user: float = 0.0
    system: float = 0.0
    voluntary: float = 0
    involuntary: float = 0
    delayed: float = 0.0

    @property
    def cpu(self) -> float:
        """CPU time, seconds."""
        return self.user + self.system

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __sub__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, each.name) - getattr(other, each.name) for each in fields(self)))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    What several processes have used so far.

    :ivar threads: the name of each thread, and what it has used, by the ids of its process and its own.
    :ivar processes: seconds of CPU time of each process, by its id.
    :ivar reaped: seconds of CPU time of the children that have ended, of those processes that were asked for it.
    """

    threads: Mapping[tuple[int, int], tuple[str, Usage]] = field(default_factory=dict)
    processes: Mapping[int, float] = field(default_factory=dict)
    reaped: float = 0.0


def parseStat(text: str) -> tuple[str, list[float]]:
    """
    Parse a ``stat`` file of ``/proc``.

    :return: the name, which may hold blanks and parentheses, and CPU seconds: user, system, and both of the children
        that have ended.
    """
    before, _, after = text.rpartition(")")
    return before.partition("(")[2], [int(each) / _TICKS for each in after.split()[11:15]]


def parseSwitches(text: str) -> tuple[int, int]:
    """Parse a ``status`` file of ``/proc``: the voluntary and the involuntary context switches."""
    values = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return int(values["voluntary_ctxt_switches"]), int(values["nonvoluntary_ctxt_switches"])


def snapshot(pids: Iterable[int], parents: Collection[int] = ()) -> Snapshot:
    """
    Return what some processes have used so far.

    :param pids: the processes; those that have ended are left out.
    :param parents: the processes whose ended children count.
    """
    threads: dict[tuple[int, int], tuple[str, Usage]] = {}
    processes: dict[int, float] = {}
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            _, times = parseStat(Path(f"/proc/{pid}/stat").read_text())
            processes[pid] = times[0] + times[1]
            for folder in Path(f"/proc/{pid}/task").iterdir():
                with suppress(FileNotFoundError, ProcessLookupError):
                    tid = int(folder.name)
                    name, usage = _thread(folder)
                    threads[pid, tid] = ("main" if tid == pid else name, usage)
    reaped = sum(sum(parseStat(Path(f"/proc/{pid}/stat").read_text())[1][2:]) for pid in parents)
    return Snapshot(threads, processes, reaped)


def cpuBetween(before: Snapshot, after: Snapshot) -> float:
    """
    Return the CPU seconds that the processes of two snapshots have used from one to the other.

    Those that have ended meanwhile are included if their parent has waited for them and was asked.
    """
    ended = sum(used for pid, used in before.processes.items() if pid not in after.processes)
    since = sum(used - before.processes.get(pid, 0.0) for pid, used in after.processes.items())
    return since + max(after.reaped - before.reaped - ended, 0.0)


def threadsBetween(before: Snapshot, after: Snapshot) -> dict[str, Usage]:
    """
    Return what the threads of two snapshots have used from one to the other, by their names.

    Threads of one name are added up, those that have ended meanwhile are left out.
    """
    found: dict[str, Usage] = {}
    for key, (name, usage) in after.threads.items():
        _, earlier = before.threads.get(key, ("", Usage()))
        found[name] = found.get(name, Usage()) + (usage - earlier)
    return found


def _thread(folder: Path) -> tuple[str, Usage]:
    name, times = parseStat((folder / "stat").read_text())
    voluntary, involuntary = parseSwitches((folder / "status").read_text())
    delayed = 0.0
    with suppress(OSError, IndexError, ValueError):
        delayed = int((folder / "schedstat").read_text().split()[1]) / 1e9
    return name, Usage(times[0], times[1], voluntary, involuntary, delayed)


def cpuSeconds(pid: int) -> float:
    """CPU time that a process has used, all its threads together."""
    return sum(parseStat(Path(f"/proc/{pid}/stat").read_text())[1][:2])


def residentBytes(pid: int) -> int:
    """Memory of a process that is in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def ownBytes(pid: int) -> int:
    """Memory of a process that is in RAM, of which pages that it shares with others count in equal parts; 0: ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        with suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, task.read_text().split())
    return found
