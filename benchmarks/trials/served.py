"""A server under trial: ``twistd pirate`` in a process of its own, and what can be seen of it from outside."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from suite.contestants import twistd
from suite.processes import cpuSeconds, family, residentBytes
from suite.stage import Failed, TestBed
from trials.load import askOnce

#: Seconds after which something that is waited for will not happen, and after which a server should have started.
PATIENCE, STARTING = 10.0, 60.0
#: Seconds between two looks.
LOOK = 0.01
#: The environment variable by which ``programs/statsfile.py`` finds its file.
_STATS = "PIRATE_TRIAL_STATS"
#: What must never be in a log: an error in the server itself.
_BROKEN = re.compile(r"Traceback|Unhandled|was dropped|Too many open files|Resource temporarily unavailable")
#: What an app has printed is no error of the server's.
_PRINTED = re.compile(r"worker \d+ std(out|err)")


class Server:
    """
    A server with the app of the trials.

    :param workers: how many; 0: the options say.
    :param options: of ``pirate``; one that is given twice counts the second time.
    :param environment: for the app.
    :param files: how many files the server may have open; 0: as many as this process.
    :param counts: whether it writes its counts into a file, for :meth:`stats`.
    :ivar frontend: the endpoint for clients.
    :ivar backend: the endpoint for workers.
    """

    def __init__(
        self,
        stage: TestBed,
        workers: int,
        *options: str,
        environment: Mapping[str, str] | None = None,
        files: int = 0,
        counts: bool = True,
    ) -> None:
        self.frontend, self.backend = stage.endpoint(), stage.endpoint()
        self._counts = counts
        self._stats = stage.path(f"stats-{len(stage.programs)}")
        fixed = ["--app=trialapp.App", f"--frontend={self.frontend}", f"--backend={self.backend}", "--stop-timeout=1"]
        fixed += [f"--workers={workers}"] if workers else []
        fixed += ["--hooks=statsfile.StatsFile", "--check-for-waiting=0.05"] if counts else []
        self._program = stage.start(
            "pirate",
            *(*twistd(), "--nodaemon", "--pidfile=", "pirate", *fixed, *options),
            environment={_STATS: str(self._stats), **(environment or {})},
            files=files,
        )
        self.pid = self._program.pid

    def ready(self) -> Server:
        """
        Wait until it answers, whatever it logs, and all its workers are ready.

        :return: this.
        """
        deadline = monotonic() + STARTING
        while askOnce(self.frontend, b"echo", within=LOOK * 50) is None:
            self.check()
            if monotonic() > deadline:
                raise Failed("the server does not answer")
        if self._counts:
            self.until(lambda stats: set(stats["pids"].values()) == {"waiting"}, STARTING)
        return self

    def running(self) -> Server:
        """
        Wait until it says that its workers are ready; for other apps than that of the trials.

        :return: this.
        """
        self._program.until("ready, with")
        return self

    def stats(self) -> dict[str, Any]:
        """
        Return its counts as they are now.

        :raise Failed: if it does not tell them in time.
        """
        asked = monotonic()
        while monotonic() < asked + PATIENCE:
            with suppress(FileNotFoundError):
                stats: dict[str, Any] = json.loads(self._stats.read_text())
                if stats["written"] > asked:
                    return stats
            self.check()
            sleep(LOOK)
        raise Failed("the server does not tell its counts any more")

    def until(self, holds: Callable[[dict[str, Any]], bool], within: float = PATIENCE) -> bool:
        """
        Wait until something holds of its counts.

        :return: whether it did in time.
        """
        deadline = monotonic() + within
        while not holds(self.stats()):
            if monotonic() > deadline:
                return False
        return True

    def check(self) -> None:
        """
        Make sure that it runs.

        :raise Failed: if it has ended.
        """
        status = self._program.ended()
        if status is not None:
            raise Failed(f"the server has ended with {status}")

    def workers(self) -> list[int]:
        """The process ids of its children."""
        return [pid for pid in family(self.pid)[1:] if _parent(pid) == self.pid]

    def cpu(self) -> float:
        """The processor time of the broker's process so far, in seconds."""
        return cpuSeconds(self.pid)

    def memory(self) -> float:
        """The resident memory of the broker's process, in MiB."""
        return residentBytes(self.pid) / (1 << 20)

    def descriptors(self) -> int:
        """How many files the broker's process has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def logged(self) -> list[str]:
        """The lines of its log so far."""
        return self._program.lines()

    def broken(self) -> list[str]:
        """The lines of its log that tell of an error in the server itself."""
        return [line for line in self.logged() if _BROKEN.search(line) and not _PRINTED.search(line)]

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)


def _parent(pid: int) -> int:
    """The process id of a process's parent; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
