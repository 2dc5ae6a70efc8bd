"""One measurement: the load against a contestant that is ready, and the CPU time of both meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from suite.contestants import Contestant, Running
from suite.processes import cpuSeconds
from suite.scenario import Case, Figures
from suite.stage import PATIENCE, TestBed


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

    :return: ``rate`` (requests a second), ``cpu`` and ``load`` (CPU seconds of the broker and of the load for 1,000
        requests), ``p50`` and ``p99`` (milliseconds, of the requests whose job takes no time), ``busy`` (jobs at a
        time, on average), ``mb`` (megabytes of second frames a second, one way).
    """
    keys = [f"--keys={running.keys}"] if running.keys else []
    program = stage.python("load", running.frontend, *load.options(seconds), *keys)
    program.until("measuring", within=PATIENCE + seconds)
    before = cpuSeconds(running.broker.pid)
    told = json.loads(program.until("{", within=PATIENCE + seconds))
    spent = cpuSeconds(running.broker.pid) - before
    thousands = told["requests"] / 1000
    rate = told["requests"] / told["seconds"]
    return {
        "rate": rate,
        "cpu": spent / thousands,
        "load": told["cpu"] / thousands,
        "p50": told["p50"] * 1e3,
        "p99": told["p99"] * 1e3,
        "busy": told["busy"] / told["seconds"],
        "mb": rate * load.size / 1e6,
    }


def loaded(contestant: Contestant, workers: int, load: Load, what: str = "") -> Case:
    """A case in which a contestant with so many workers is under a load."""

    def run(stage: TestBed, seconds: float) -> Figures:
        figures = measure(stage, contestant.start(stage, workers), load, seconds)
        return {**figures, "efficiency": figures["busy"] / workers}

    return Case(contestant, what, run)


Measurement = Callable[[TestBed, float], Figures]
