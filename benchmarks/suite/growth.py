"""Scenarios in which there are many: clients, workers, waiting requests."""

from __future__ import annotations

import os
import resource
from time import monotonic, sleep

import zmq

from pirate.settings.settings import Settings
from pirate.settings.table import table
from pirate.wire.frontend import header, parseHeader
from suite.contestants import AUTO, PROXY, Contestant, Running, pirate
from suite.measure import Load, loaded, measure
from suite.processes import residentBytes
from suite.scenario import Case, Figures, Scenario, Target
from suite.stage import PATIENCE, Failed, TestBed

#: Descriptors that a process needs for other things than its clients.
_OTHERS = 500


def raiseLimit() -> int:
    """
    Allow this process and its children as many descriptors as they may have.

    :return: how many.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def _most(wanted: int) -> int:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return wanted if allowed == resource.RLIM_INFINITY else min(wanted, allowed - _OTHERS)


_FEW_CLIENTS, _MANY_CLIENTS = "100 clients", f"{_most(10_000):,} clients"


def _manyClients(contestant: Contestant, count: int, what: str) -> Case:
    return loaded(contestant, 2, Load(clients=count, outstanding=100, rotate=True), what)


CLIENTS = Scenario(
    "clients",
    "32 bytes echoed, 2 workers; the clients take turns, with 100 requests of all of them under way",
    ("cpu", "rate", "load"),
    tuple(
        _manyClients(each, count, what)
        for each in (AUTO, PROXY)
        for count, what in ((100, _FEW_CLIENTS), (_most(10_000), _MANY_CLIENTS))
    ),
    (Target("cpu", f"{AUTO.name}, {_MANY_CLIENTS}", f"{AUTO.name}, {_FEW_CLIENTS}", most=1.5),),
)


class Asker:
    """A client with a native header, which may ask the broker about itself."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.set_hwm(0)
        self.socket.connect(endpoint)

    def ping(self) -> dict[str, int]:
        """What the broker says of itself: ``idle`` workers, ``backlog``."""
        self.socket.send_multipart([header(os.urandom(16), {"command": "ping"}), b"", b""])
        if not self.socket.poll(int(PATIENCE * 1000)):
            raise Failed("the broker does not answer a ping")
        told = parseHeader(self.socket.recv_multipart()[0])
        return dict(told[1]) if told else {}

    def until(self, name: str, count: int) -> None:
        """Wait for a number of the answer to a ping."""
        deadline = monotonic() + PATIENCE
        while (found := self.ping()[name]) != count:
            if monotonic() > deadline:
                raise Failed(f"the broker has {found} of {count} {name}")
            sleep(0.05)

    def close(self) -> None:
        """Leave."""
        self._context.destroy(0)


def _brokerOnly(stage: TestBed, *options: str) -> tuple[Running, Asker]:
    running = pirate(stage, 0, *options)
    return running, Asker(running.frontend)


def _manyWorkers(count: int) -> Case:
    def run(stage: TestBed, seconds: float) -> Figures:
        running, asker = _brokerOnly(stage, "--external-workers")
        stage.python("crowd", running.backend, count)
        asker.until("idle", count)
        asker.close()
        return measure(stage, running, Load(), seconds)

    return Case(AUTO, f"{count:,} workers", run)


WORKERS = Scenario(
    "workers",
    "32 bytes echoed by plain workers, all in one process; 64 clients with 4 requests each under way",
    ("cpu", "rate", "load"),
    (_manyWorkers(10), _manyWorkers(1000)),
    (Target("cpu", f"{AUTO.name}, 1,000 workers", f"{AUTO.name}, 10 workers", most=1.5),),
)


def _waiting() -> tuple[int, list[str]]:
    """How many requests can wait, and what to tell the server for it."""
    if any(each.name == "backlog" for each in table(Settings)):
        return 100_000, ["--backlog", "200000"]
    return 9_000, []


_BODY = 32


def _memory(stage: TestBed, seconds: float) -> Figures:
    count, options = _waiting()
    running, asker = _brokerOnly(stage, *options)
    asker.ping()
    before = residentBytes(running.broker.pid)
    for _ in range(count):
        asker.socket.send_multipart([b"", os.urandom(_BODY)])
    asker.until("backlog", count)
    after = residentBytes(running.broker.pid)
    # Not before: nothing waits any more for a client that has left.
    asker.close()
    return {"waiting": (after - before) / count}


MEMORY = Scenario(
    "memory",
    f"{_waiting()[0]:,} requests of {_BODY} bytes wait, as there are no workers",
    ("waiting",),
    (Case(AUTO, "", _memory),),
    (Target("waiting", AUTO.name, most=1000 + _BODY),),
)
