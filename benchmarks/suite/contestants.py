"""Who is measured: what to start for each, and where its clients connect."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pirate.auth.keygen import writePair
from suite.processes import family
from suite.stage import PROGRAMS, Program, TestBed


@dataclass(frozen=True, slots=True)
class Running:
    """
    A contestant that is ready to serve.

    :ivar broker: the process whose CPU time is shown; its descendants are workers.
    :ivar frontend: the endpoint for clients.
    :ivar backend: the endpoint for workers, if there is one.
    :ivar keys: the folder with the keys that clients need, if they need any.
    :ivar workers: the workers that are no descendants of the broker.
    :ivar trace: the file that tells of its turns, if there is one; see ``programs/traced.py``.
    """

    broker: Program
    frontend: str
    backend: str = ""
    keys: str = ""
    workers: tuple[Program, ...] = ()
    trace: Path | None = None

    def workerPids(self) -> list[int]:
        """The processes of all workers that there are now."""
        return [*family(self.broker.pid)[1:], *(each.pid for each in self.workers)]


@dataclass(frozen=True, slots=True)
class Contestant:
    """
    One of those who are measured side by side.

    :ivar key: what it is called on the command line.
    :ivar name: what it is called in tables.
    :ivar start: starts it on a stage with so many workers, and waits until they are ready.
    """

    key: str
    name: str
    start: Callable[[TestBed, int], Running]


def twistd() -> list[str]:
    """The command ``twistd``: the one beside this interpreter, or else the one on the path."""
    beside = Path(sys.executable).with_name("twistd")
    found = str(beside) if beside.exists() else shutil.which("twistd")
    if found is None:
        raise SystemExit("twistd is not installed: pip install . in the checkout first")
    return [sys.executable, found]


def launch(stage: TestBed, workers: int, *options: str, before: tuple[str, ...] = ()) -> Running:
    """
    Start ``twistd pirate`` as the project's README does, with so many workers, and do not wait.

    :param options: of ``pirate``.
    :param before: of ``twistd``.
    """
    return _launch(stage, twistd(), workers, *options, before=before)


def _launch(
    stage: TestBed, twistd: Sequence[str], workers: int, *options: str, before: tuple[str, ...] = ()
) -> Running:
    frontend, backend = stage.endpoint(), stage.endpoint()
    command = [*twistd, "--nodaemon", "--pidfile=", *before, "pirate"]
    command += ["--frontend", frontend, "--backend", backend, "--app", "job.work", "--workers", str(workers)]
    return Running(stage.start("pirate", *command, *options, *stage.options), frontend, backend)


def pirate(stage: TestBed, workers: int, *options: str, before: tuple[str, ...] = ()) -> Running:
    """``twistd pirate``, as a user starts it."""
    running = launch(stage, workers, *options, before=before)
    running.broker.until("ready, with")
    return running


def traced(stage: TestBed, workers: int) -> Running:
    """The same in a program that counts the messages of each turn; see ``programs/traced.py``."""
    path = stage.path("trace.jsonl")
    running = _launch(stage, [sys.executable, str(PROGRAMS / "traced.py"), str(path)], workers)
    running.broker.until("ready, with")
    return replace(running, trace=path)


def strict(stage: TestBed, workers: int) -> Running:
    """The same, if no worker may ever hold two requests."""
    return pirate(stage, workers, "--prefetch", "1")


def guarded(stage: TestBed, workers: int) -> Running:
    """The same, if it asks clients and workers for CURVE keys."""
    folder = stage.path("keys")
    folder.mkdir(exist_ok=True)
    for name in ("server", "client"):
        if not (folder / f"{name}.key").exists():
            writePair(folder, name)
    curve = ("--curve-secret", str(folder / "server.key_secret"), "--curve-clients", str(folder / "client.key"))
    return replace(pirate(stage, workers, *curve), keys=str(folder))


def listed(stage: TestBed, workers: int) -> Running:
    """The same, if it asks clients where they come from."""
    return pirate(stage, workers, "--allow", "127.0.0.0/8")


def concurrent(*options: str) -> Callable[[TestBed, int], Running]:
    """The same, if each worker runs many requests at once."""
    return lambda stage, workers: pirate(stage, workers, *options)


def stock(stage: TestBed, workers: int) -> Running:
    """``JobServer`` on txZMQ's own reading and sending."""
    return embedded(stage, workers, "--stock")


def embedded(stage: TestBed, workers: int, *options: str) -> Running:
    """``JobServer`` in a program of its own."""
    frontend, backend = stage.endpoint(), stage.endpoint()
    broker = stage.python("embedded", frontend, backend, "--workers", workers, *options)
    broker.until("ready")
    return Running(broker, frontend, backend)


def lruQueue(stage: TestBed, workers: int) -> Running:
    """The guide's queue in plain pyzmq, with REQ workers."""
    return _withWorkers(stage, "lruqueue", "lruworker", workers)


def proxy(stage: TestBed, workers: int) -> Running:
    """libzmq's proxy, with REP workers."""
    return _withWorkers(stage, "proxy", "repworker", workers)


def direct(stage: TestBed, workers: int) -> Running:
    """No broker: the clients' requests are answered where they arrive, by one process."""
    frontend = stage.endpoint()
    broker = stage.python("direct", frontend)
    broker.until("ready")
    return Running(broker, frontend)


def _withWorkers(stage: TestBed, broker: str, worker: str, workers: int) -> Running:
    frontend, backend = stage.endpoint(), stage.endpoint()
    process = stage.python(broker, frontend, backend)
    process.until("ready")
    programs = tuple(stage.python(worker, backend) for _ in range(workers))
    for each in programs:
        each.until("ready")
    return Running(process, frontend, backend, workers=programs)


AUTO = Contestant("auto", "pirate", pirate)
STRICT = Contestant("strict", "pirate --prefetch 1", strict)
CURVE = Contestant("curve", "pirate, CURVE", guarded)
LISTED = Contestant("listed", "pirate --allow", listed)
TRACED = Contestant("traced", "pirate", traced)
STOCK = Contestant("stock", "pirate on stock txZMQ", stock)
QUEUE = Contestant("queue", "pyzmq LRU queue", lruQueue)
PROXY = Contestant("proxy", "zmq.proxy", proxy)
DIRECT = Contestant("direct", "no broker", direct)

#: These are pirate, too, with other apps.
SEVERAL = (
    Contestant("auto", "pirate --concurrency 100", concurrent("--app", "job.nap", "--concurrency", "100")),
    Contestant(
        "auto",
        "pirate --concurrency 100 --loop twisted",
        concurrent("--app", "job.defer", "--concurrency", "100", "--loop", "twisted"),
    ),
    Contestant("auto", "pirate --threads 100", concurrent("--threads", "100")),
)

CONTESTANTS = (AUTO, STRICT, STOCK, QUEUE, PROXY, DIRECT)
