"""One measurement: the load against a contestant that is ready, and what the processes of both use meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic

from suite import turns
from suite.contestants import Contestant, Running
from suite.processes import Snapshot, cpuBetween, snapshot, threadsBetween
from suite.scenario import Case, Figures
from suite.stage import PATIENCE, Program, TestBed
from suite.table import threadFigures


@dataclass(frozen=True, slots=True)
class Load:
    """
    What the clients do; see ``programs/load.py``.

    :ivar clients: how many.
    :ivar outstanding: requests under way, of all clients together.
    :ivar rate: requests a second, whether or not they are answered; 0: one for each reply.
    :ivar rotate: whether the clients take turns.
    :ivar size: bytes of a second frame; 0: there is none.
    :ivar job: seconds that a job takes.
    :ivar share: share of the jobs that take that time.
    """

    clients: int = 64
    outstanding: int = 256
    rate: float = 0
    rotate: bool = False
    size: int = 0
    job: float = 0
    share: float = 1

    def options(self, seconds: float) -> list[str]:
        """The command line, to measure for so many seconds, after a third of that for warming up."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "rotate"}
        given = [f"--{name}={value}" for name, value in values.items()]
        return [*given, f"--seconds={seconds}", f"--warm={seconds / 3}", *(["--rotate"] if self.rotate else [])]


def measure(stage: TestBed, running: Running, load: Load, seconds: float) -> Figures:
    """
    Let the clients ask.

    :return: ``rate`` (requests a second), ``cpu``, ``worker`` and ``load`` (CPU seconds of the broker, of all workers
        and of the load for 1,000 requests), ``p50``, ``p99`` and ``p99.9`` (milliseconds, of the requests whose job
        takes no time), ``busy`` (jobs at a time, on average), ``mb`` (megabytes of second frames a second, one way);
        what each thread used; and, of a contestant that is traced, the figures of its turns.
    """
    keys = [f"--keys={running.keys}"] if running.keys else []
    program = stage.python("load", running.frontend, *load.options(seconds), *keys)
    program.until("measuring", within=PATIENCE + seconds)
    meter = Meter(running, program)
    told = json.loads(program.until("{", within=PATIENCE + seconds))
    used = meter.figures(told["requests"])
    rate = told["requests"] / told["seconds"]
    return {
        **used,
        "rate": rate,
        "load": told["cpu"] / told["requests"] * 1000,
        "p50": told["p50"] * 1e3,
        "p99": told["p99"] * 1e3,
        "p99.9": told["p99.9"] * 1e3,
        "busy": told["busy"] / told["seconds"],
        "mb": rate * load.size / 1e6,
    }


class Meter:
    """
    Measures what a contestant and its client use, from now on.

    :param running: the contestant.
    :param client: the program that asks.
    """

    def __init__(self, running: Running, client: Program) -> None:
        self._running = running
        self._client = client
        self._began = monotonic()
        self._before = self._look([])

    def figures(self, requests: int) -> Figures:
        """
        Return what was used, for 1,000 requests.

        :param requests: how many there were.
        :return: ``cpu``, ``worker`` and ``client``, seconds of CPU time; and what each thread used.
        """
        # The list of a process's children may miss some while others come and go.
        ended, after = monotonic(), self._look(self._before[1].processes)
        thousands = max(requests, 1) / 1000
        figures: Figures = {}
        for (name, process), earlier, later in zip(_PROCESSES.items(), self._before, after, strict=True):
            figures[name] = cpuBetween(earlier, later) / thousands
            figures.update(threadFigures(process, threadsBetween(earlier, later), thousands))
        if self._running.trace is not None:
            lines = self._running.trace.read_text().splitlines()
            figures.update(turns.figures(turns.parse(lines), self._began, ended, requests))
        return figures

    def _look(self, known: Iterable[int]) -> tuple[Snapshot, ...]:
        broker = self._running.broker.pid
        workers = snapshot({*known, *self._running.workerPids()}, parents=[broker])
        return snapshot([broker]), workers, snapshot([self._client.pid])


#: The figure of each kind of process, and what it is called in the table of threads.
_PROCESSES = {"cpu": "broker", "worker": "workers", "client": "client"}


def loaded(contestant: Contestant, workers: int, load: Load, what: str = "") -> Case:
    """A case in which a contestant with so many workers is under a load."""

    def run(stage: TestBed, seconds: float) -> Figures:
        figures = measure(stage, contestant.start(stage, workers), load, seconds)
        return {**figures, "efficiency": figures["busy"] / workers}

    return Case(contestant, what, run)


Measurement = Callable[[TestBed, float], Figures]
