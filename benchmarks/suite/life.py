"""Scenarios about the process itself: how it starts, what it does when idle, and when it is flooded."""

from __future__ import annotations

import sys
from time import monotonic, sleep

from suite.contestants import AUTO, PROXY, QUEUE, STOCK, Contestant, Running, embedded, launch
from suite.processes import cpuSeconds, family
from suite.scenario import Case, Figures, Scenario, Target
from suite.stage import TestBed

#: How many workers are started.
_WORKERS = 50
#: Nobody: processes that import pyzmq and end.
BARE = Contestant("bare", 'bare python -c "import zmq"', lambda stage, workers: Running(stage.start("nothing"), ""))


def _start(stage: TestBed, seconds: float) -> Figures:
    broker = launch(stage, _WORKERS).broker
    broker.until("frontend: ")
    bound = monotonic()
    broker.until("ready, with")
    ready = monotonic()
    return {"start": ready - broker.started, "spawning": ready - bound}


def _startBare(stage: TestBed, seconds: float) -> Figures:
    began = monotonic()
    programs = [stage.start("bare", sys.executable, "-c", "import zmq") for _ in range(_WORKERS)]
    for each in programs:
        each.wait(60)
    took = monotonic() - began
    return {"start": took, "spawning": took}


START = Scenario(
    "start",
    f"{_WORKERS} workers, from nothing to all ready, and from bound sockets; as many bare interpreters, all at once",
    ("start", "spawning"),
    (Case(AUTO, "", _start), Case(BARE, "", _startBare)),
    (Target("start", AUTO.name, BARE.name, most=1.3),),
)


def _idle(contestant: Contestant) -> Case:
    def run(stage: TestBed, seconds: float) -> Figures:
        contestant.start(stage, 5)
        everybody = [pid for program in stage.programs for pid in family(program.pid)]
        sleep(seconds / 3)
        # Ten seconds, unless all is to be shorter, or longer, than usual.
        before = sum(map(cpuSeconds, everybody))
        sleep(seconds * 10 / 3)
        return {"idle": sum(map(cpuSeconds, everybody)) - before}

    return Case(contestant, "", run)


IDLE = Scenario(
    "idle",
    "5 workers and nothing to do, for 10 seconds; CPU time of all processes together",
    ("idle",),
    tuple(_idle(each) for each in (AUTO, QUEUE, PROXY)),
    (Target("idle", AUTO.name, most=0.05),),
)


def _flood(contestant: Contestant, *options: str) -> Case:
    def run(stage: TestBed, seconds: float) -> Figures:
        running = embedded(stage, 2, "--watch", *options)
        client = stage.python("flood", running.frontend, seconds)
        sent = float(client.until("sent").split()[-1])
        running.broker.terminate()
        stall = float(running.broker.until("longest stall").split()[-1])
        return {"stall": stall * 1000, "sent": sent / seconds}

    return Case(contestant, "", run)


FLOOD = Scenario(
    "flood",
    "one client sends as fast as it can; the longest time that nothing else could run in the broker",
    ("stall", "sent"),
    (_flood(AUTO), _flood(STOCK, "--stock")),
    (Target("stall", AUTO.name, most=20),),
)
