"""What people choose instead, and pirate: one client in Python, two workers in Python, in one run."""

from __future__ import annotations

import importlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from suite.contestants import Contestant, Running, lruQueue, pirate, proxy
from suite.measure import Meter
from suite.processes import ownBytes
from suite.scenario import Figures, Scenario, Target
from suite.stage import PATIENCE, Failed, TestBed

#: Workers of each server.
WORKERS = 2
#: Requests in flight, where it is several.
SEVERAL = 64
#: The share of its own peak that is offered to each contestant.
SHARE = 0.7

_ALL = ("peak", "alone", "open")
#: Of those whose client takes its next request when it needs one.
_CLOSED = ("peak", "alone")


@dataclass(frozen=True, slots=True)
class Rival:
    """
    A contestant with one kind of client.

    :ivar contestant: starts the server and its workers.
    :ivar kind: of ``programs/caller.py``.
    :ivar parts: those of its parts that are measured.
    :ivar how: the server, the workers and the client, in one line.
    :ivar lacks: what is not installed, and how to install it; empty if nothing is missing.
    """

    contestant: Contestant
    kind: str
    parts: tuple[str, ...]
    how: str
    lacks: Callable[[], str]

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return self.contestant.name


# --- the servers


def _natsServer() -> str | None:
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else shutil.which("nats-server")


def _gearmand() -> str | None:
    return shutil.which("gearmand", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin") or shutil.which(
        "gearmand"
    )


def nats(kind: str, stage: TestBed, workers: int) -> Running:
    """A NATS server, and subscribers of a queue group."""
    port = stage.port()
    server = stage.start("nats-server", str(_natsServer()), "--addr", "127.0.0.1", "--port", str(port))
    server.until("Server is ready")
    return _workers(stage, Running(server, f"nats://127.0.0.1:{port}"), workers, "natsworker", kind)


def gearmand(stage: TestBed, workers: int) -> Running:
    """gearmand, and workers on bare sockets."""
    port = stage.port()
    command = (str(_gearmand()), "--listen", "127.0.0.1", "--port", str(port), "--log-file", "stderr")
    server = stage.start("gearmand", *command)
    _untilListening(port)
    return _workers(stage, Running(server, f"tcp://127.0.0.1:{port}"), workers, "gearworker")


def _workers(stage: TestBed, running: Running, count: int, program: str, *arguments: str) -> Running:
    programs = tuple(stage.python(program, *arguments, running.frontend) for _ in range(count))
    for each in programs:
        each.until("ready")
    return Running(running.broker, running.frontend, workers=programs)


def _untilListening(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise Failed(f"nothing listens on port {port}") from None
            time.sleep(0.01)


# --- what is installed


def _nothing() -> str:
    return ""


def _lacksNats(module: str, package: str) -> str:
    if _natsServer() is None:
        return "nats-server is not installed: pip install -e '.[bench]'"
    try:
        connects = hasattr(importlib.import_module(module), "connect")
    except ImportError:
        connects = False
    # The first release of nats-core is empty, and it is the one that an older Python gets.
    needs = "" if package != "nats-core" or sys.version_info >= (3, 13) else ", with Python 3.13 or later"
    return "" if connects else f"{package} is not installed: pip install -e '.[bench]'{needs}"


def _lacksGearmand() -> str:
    return "" if _gearmand() is not None else "gearmand is not installed: apt-get install gearman-job-server"


# --- the contestants

_README = f"twistd -n pirate --frontend F --backend B --app job.work --workers {WORKERS}"


def _pirate(key: str, face: str, kind: str, parts: tuple[str, ...] = _ALL) -> Rival:
    return Rival(Contestant(key, f"pirate, {face}", pirate), kind, parts, f"{_README}; {face}", _nothing)


ASYNC = _pirate("async", "AsyncClient", "coroutines")
MAP = _pirate("map", "Client.map", "batch", _CLOSED)
SUBMIT = _pirate("submit", "Client.submit", "submit")
TWISTED = _pirate("twisted", "TwistedClient", "deferreds")
CALL = _pirate("call", "Client.call", "call", ("alone",))
NATSPY = Rival(
    Contestant("natspy", "NATS, nats-py", partial(nats, "natspy")),
    "natspy",
    _ALL,
    f"nats-server; {WORKERS} subscribers of a queue group and Client.request, both nats-py",
    partial(_lacksNats, "nats", "nats-py"),
)
NATSCORE = Rival(
    Contestant("natscore", "NATS, nats-core", partial(nats, "natscore")),
    "natscore",
    _ALL,
    f"nats-server; {WORKERS} subscribers of a queue group and Client.request, both nats-core",
    partial(_lacksNats, "nats.client", "nats-core"),
)
GEARMAN = Rival(
    Contestant("gearman", "gearmand, bare sockets", gearmand),
    "gearman",
    _ALL,
    f"gearmand; {WORKERS} workers and a client that only pack and unpack Gearman's packets",
    _lacksGearmand,
)
QUEUE = Rival(
    Contestant("queue", "pyzmq LRU queue", lruQueue),
    "dealer",
    _ALL,
    f"the ZeroMQ guide's queue in pyzmq; {WORKERS} REQ workers; a bare DEALER",
    _nothing,
)
PROXY = Rival(
    Contestant("proxy", "zmq.proxy", proxy),
    "dealer",
    _ALL,
    f"zmq.proxy; {WORKERS} REP workers; a bare DEALER",
    _nothing,
)

RIVALS = (ASYNC, MAP, SUBMIT, TWISTED, CALL, NATSPY, NATSCORE, GEARMAN, QUEUE, PROXY)

#: What of a part of ``programs/caller.py`` is shown, under which name.
_FIGURES = {
    "peak": {"rate": "rate", "p50": "p50"},
    "alone": {"p50": "alone p50", "p99": "alone p99"},
    "open": {
        "offered": "offered",
        "rate": "open rate",
        "p50": "open p50",
        "p99": "open p99",
        "p99.9": "open p99.9",
    },
}


def measureRival(rival: Rival, stage: TestBed, seconds: float) -> Figures:
    """
    Start a contestant, and measure all its parts.

    :param seconds: how long each part takes.
    :return: the columns of :data:`SCENARIOS`, and what each thread used at the peak.
    """
    running = rival.contestant.start(stage, WORKERS)
    options = ("--several", SEVERAL, "--share", SHARE, "--seconds", seconds, "--stay", "--parts", *rival.parts)
    program = stage.python("caller", rival.kind, running.frontend, *options)
    figures: Figures = {}
    for part in rival.parts:
        within = PATIENCE + 2 * seconds
        program.until(f"measuring {part}", within)
        meter = Meter(running, program)
        told = json.loads(program.until(f'"part": "{part}"', within))
        if part == "peak":
            figures |= meter.figures(told["requests"])
            memory = sum(map(ownBytes, (running.broker.pid, *running.workerPids()))) / 1e6
            figures |= {"memory": memory, "density": told["rate"] / memory}
        figures |= {name: told[shown] for shown, name in _FIGURES[part].items()}
    return figures


def describeRivals(rivals: tuple[Rival, ...]) -> str:
    """How each contestant is configured, and the versions of the others."""
    lines = [f"{each.name}: {each.how}" for each in rivals]
    found = [_said(command) for command in ([_natsServer(), "--version"], [_gearmand(), "--version"]) if command[0]]
    for package in ("nats-py", "nats-core"):
        try:
            found.append(f"{package} {version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return "\n".join([*lines, ", ".join(found)])


def _said(command: list[str | None]) -> str:
    said = subprocess.run([str(each) for each in command], capture_output=True, text=True).stdout.split(" - ")[0]
    return said.strip().replace(": v", " ")


# --- what is shown

PEAK = Scenario(
    "peak",
    f"one client with {SEVERAL} requests of 32 bytes in flight, {WORKERS} workers; memory of broker and workers",
    ("rate", "cpu", "worker", "client", "p50", "memory", "density"),
    (),
    (
        Target("rate", ASYNC.name, NATSPY.name, least=1.2),
        Target("rate", MAP.name, GEARMAN.name, least=1),
        Target("rate", SUBMIT.name, NATSPY.name, least=1),
    ),
)
ALONE = Scenario(
    "alone",
    "one client with one request at a time",
    ("alone p50", "alone p99"),
    (),
    (Target("alone p50", CALL.name, NATSPY.name, most=1),),
)
OPEN = Scenario(
    "open",
    f"one client that sends at regular times, {SHARE:.0%} of the contestant's own peak in the same run",
    ("open p99", "open p50", "open p99.9", "offered", "open rate"),
    (),
    tuple(Target("open p99", ASYNC.name, each.name, most=1.2) for each in (NATSPY, NATSCORE)),
)
SCENARIOS = (PEAK, ALONE, OPEN)
