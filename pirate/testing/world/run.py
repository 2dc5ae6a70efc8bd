"""A run of a plan: the world is made, runs through its busy and its quiet time, and is judged."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from pirate.service import ServerState
from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.testing.world.agenda import Agenda
from pirate.testing.world.choices import Noise
from pirate.testing.world.clients import Client, FloodingClient, HostileClient, NativeClient, PlainClient
from pirate.testing.world.faults import happen
from pirate.testing.world.invariants.base import SAMPLE, Invariant, Violation
from pirate.testing.world.invariants.register import INVARIANTS
from pirate.testing.world.journal import Journal
from pirate.testing.world.network import Network
from pirate.testing.world.plan import BUSY, Plan, PlannedClient, draw
from pirate.testing.world.processes import SimulatedProcess, requireGreenlet
from pirate.testing.world.servers import ServerProcess

#: Seconds after the busy time within which every call must have ended, and after which a server must have stopped.
PATIENCE, STOP = 40.0, 30.0
#: Seconds after the busy time in which the pools are complete again.
SETTLED = 12.0
#: Calls of the agenda after which a world is said never to come to rest.
MOST_CALLS = 300_000
#: The log level of the servers.
LOG_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What came of a run.

    :ivar seed: the seed of the plan.
    :ivar digest: the hash of the journal.
    :ivar violations: the invariants that did not hold.
    :ivar world: the world as it was at the end.
    :ivar seconds: how many seconds passed in it.
    :ivar requests: how many calls were made.
    :ivar faults: how many faults happened.
    """

    seed: int
    digest: str
    violations: tuple[Violation, ...]
    world: World
    seconds: float
    requests: int
    faults: int


class World:
    """
    Everything that a plan needs.

    :ivar plan: the plan.
    :ivar agenda: the clock.
    :ivar journal: the events.
    :ivar network: the network.
    :ivar servers: all servers that there have been, in the order of their start.
    :ivar processes: all worker processes that there have been, by process id.
    :ivar clients: the clients.
    :ivar violations: what did not hold so far.
    :ivar quiet: whether nothing goes wrong any more.
    """

    def __init__(self, plan: Plan) -> None:
        requireGreenlet()
        self.plan = plan
        self.agenda = Agenda()
        self.journal = Journal(self.agenda)
        self.network = Network(self.agenda, self.journal, Noise(plan.seed, "network"))
        self.servers: list[ServerProcess] = []
        self.processes: dict[int, SimulatedProcess] = {}
        self.clients: list[Client] = []
        self.violations: list[Violation] = []
        self.quiet = False
        self.agenda.failed = lambda: self.violated(0, traceback.format_exc())
        self._starting = 0
        self._incarnations = [0] * len(plan.servers)
        self._invariants = [each(self) for each in INVARIANTS]
        self._sampled = [each for each in self._invariants if type(each).atTimes is not Invariant.atTimes]

    # --- its actors

    def livingServers(self) -> list[ServerProcess]:
        """Return the servers whose processes have not ended."""
        return [each for each in self.servers if each.alive]

    def runningServers(self) -> list[ServerProcess]:
        """Return the servers that run, and are not stopping."""
        states = (ServerState.STARTING, ServerState.RUNNING)
        return [each for each in self.servers if each.alive and each.server.state in states]

    def livingWorkers(self) -> list[SimulatedProcess]:
        """Return the workers whose processes have not ended."""
        return [each for each in self.processes.values() if each.alive]

    def violated(self, number: int, text: str) -> None:
        """Note that an invariant does not hold."""
        self.violations.append(Violation(number, self.agenda.now, text))
        self.journal.note("invariant", str(number), text)

    def startServer(self, number: int) -> None:
        """Start a server of the plan."""
        self._incarnations[number] += 1
        name = f"server {number}.{self._incarnations[number]}"
        given = self.plan.servers[number]
        settings: dict[str, Any] = {
            "frontend": frontend(number),
            "backend": backend(number),
            "limits": PoolLimits(**given["limits"]),
            "policy": RequestPolicy(**given["policy"]),
            "peerLimits": PeerLimits(**given["peerLimits"]),
            "logLevel": LOG_LEVEL,
            **given["server"],
        }
        noise = Noise(self.plan.seed, name)
        server = ServerProcess(
            self.agenda, name, self.network, self.journal, noise, self._spawn, self.processes, settings
        )
        server.number = number
        self.servers.append(server)
        self.journal.note(name, "runs")
        server.start()

    def startAgain(self, server: ServerProcess, seconds: float) -> None:
        """Start a server's successor in so many seconds."""

        self._starting += 1

        def start() -> None:
            self._starting -= 1
            others = [each for each in self.livingServers() if each.number == server.number]
            if all(each.server.state is ServerState.STOPPED for each in others):
                self.startServer(server.number)

        self.agenda.after(seconds, start)

    def killServer(self, server: ServerProcess) -> None:
        """End a server's process at once."""
        server.kill()

    def _spawn(self, parent: ServerProcess, protocol: Any) -> SimulatedProcess:
        number = len(self.processes)
        pid = 1001 + number
        process = self.processes[pid] = SimulatedProcess(
            self.agenda,
            self.network,
            self.journal,
            Noise(self.plan.seed, f"worker {number}"),
            parent,
            protocol,
            pid,
            crashAt=0 if self.quiet else self.plan.crashes.get(number, 0),
            fate="" if self.quiet else self.plan.fates.get(number, ""),
        )
        return process

    def _makeClient(self, planned: PlannedClient) -> Client:
        noise = Noise(self.plan.seed, planned.name)
        endpoints = [frontend(number) for number in planned.servers]
        arguments = (self.agenda, self.network, self.journal, noise, planned, endpoints)
        if planned.kind == "native":
            return NativeClient(*arguments)
        if planned.kind == "flood":
            return FloodingClient(*arguments)
        if planned.kind == "hostile":
            return HostileClient(*arguments, backends=[backend(number) for number in planned.servers])
        return PlainClient(*arguments)

    # --- its time

    def run(self) -> None:
        """Run the plan to its end."""
        with self._logged():
            for number in range(len(self.plan.servers)):
                self.startServer(number)
            self.clients = [self._makeClient(each) for each in self.plan.clients]
            for fault in self.plan.faults:
                self.agenda.at(fault.at, lambda fault=fault: happen(self, fault))  # type: ignore[misc]
            self._sample()
            self._until(BUSY)
            self.quiet = True
            self.journal.note("world", "quiet")
            for client in self.clients:
                client.hush()
            self._until(BUSY + PATIENCE, self._isIdle)
            self._heal()
            self._until(max(self.agenda.now, BUSY + SETTLED) + 1.0)
            for each in self._invariants:
                each.atRest()
            for client in self.clients:
                client.close()
            for server in self.runningServers():
                server.stopServer(5.0)
            self._until(self.agenda.now + STOP, self._isStopped)
            self._until(self.agenda.now + 2.0)
            self.network.forgetOver()
            for each in self._invariants:
                each.atEnd()

    def _sample(self) -> None:
        for each in self._sampled:
            each.atTimes()
        self.agenda.at(self.agenda.now + SAMPLE, self._sample)

    def _heal(self) -> None:
        for link in self.network.links:
            link.stick(False)
        for process in self.livingWorkers():
            if process.stopped:
                process.resume()
        for server in self.livingServers():
            if server.stopped:
                server.resume()

    def _isIdle(self) -> bool:
        return not self._starting and all(each.idle for each in self.clients)

    def _isStopped(self) -> bool:
        return all(each.server.state is ServerState.STOPPED for each in self.livingServers()) and not any(
            each.alive for each in self.processes.values()
        )

    def _until(self, time: float, done: Any = None) -> None:
        agenda = self.agenda
        while done is None or not done():
            if agenda.made > MOST_CALLS:
                self.violated(0, f"the world does not come to rest: {agenda.made} calls were made")
                return
            if not agenda.step(time):
                return

    @contextmanager
    def _logged(self) -> Iterator[None]:
        """Note what is logged in the journal."""

        @implementer(ILogObserver)
        def observe(event: dict[str, Any]) -> None:
            level = event.get("log_level", LogLevel.info)
            failure = event.get("log_failure")
            text = formatEvent(event)
            self.journal.note("log", level.name, text, *([str(failure.value)] if failure is not None else []))
            if failure is not None:
                self.violated(0, f"{text}: {failure.getTraceback()}")

        globalLogPublisher.addObserver(observe)
        # What is collected may log, and when it is depends on what else this process does.
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
            globalLogPublisher.removeObserver(observe)


def frontend(number: int) -> str:
    """Return the endpoint of the frontend of a server."""
    return f"tcp://127.0.0.{number + 1}:6660"


def backend(number: int) -> str:
    """Return the endpoint of the backend of a server."""
    return f"tcp://127.0.0.{number + 1}:6661"


def run(plan: Plan) -> Outcome:
    """Run a plan."""
    world = World(plan)
    world.run()
    kinds = [what for _, who, what, _ in world.journal.events if what == "calls" or who == "fault"]
    calls = kinds.count("calls")
    return Outcome(
        plan.seed,
        world.journal.digest(),
        tuple(world.violations),
        world,
        world.agenda.now,
        calls,
        len(kinds) - calls,
    )


def runSeed(seed: int) -> Outcome:
    """Run the plan of a seed."""
    return run(draw(seed))
