"""The stage of histories in the simulated world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pirate.server.interfaces import IServerReactor
from pirate.test.support.histories import History, Record, RecordingTransport, arguments, countersOf
from pirate.testing.world import sockets
from pirate.testing.world.agenda import Actor, Agenda
from pirate.testing.world.choices import Noise
from pirate.testing.world.journal import Journal
from pirate.testing.world.network import Network
from pirate.testing.world.processes import SimulatedProcess
from pirate.testing.world.run import backend, frontend
from pirate.testing.world.servers import ServerProcess
from pirate.testing.world.sockets import EVENTS, NOBLOCK, POLLIN, Connecting, Descriptors, Free

#: Simulated seconds after which a condition will never hold.
PATIENCE = 60.0


class RecordedServer(ServerProcess):
    """A simulated server whose transport is recorded."""

    record: Record

    def _makeTransport(self, reactor: IServerReactor) -> Any:
        return RecordingTransport(super()._makeTransport(reactor), self.record)


class SimulatedPeer:
    """A peer in the simulated world; see :class:`~pirate.test.support.histories.HistoryPeer`."""

    def __init__(self, socket: Connecting, descriptors: Descriptors) -> None:
        self.received: list[list[bytes]] = []
        self._socket = socket
        self._reads = True
        descriptors.watch(socket.fileno(), self._read)

    @property
    def reads(self) -> bool:
        """Whether it reads."""
        return self._reads

    @reads.setter
    def reads(self, reads: bool) -> None:
        self._reads = reads
        if reads:
            self._socket.signal()

    def send(self, *frames: bytes) -> None:
        """Send a message."""
        self._socket.send_multipart(list(frames), NOBLOCK)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _read(self) -> None:
        self._socket.signalled = False
        while self._reads and self._socket.get(EVENTS) & POLLIN:
            self.received.append(self._socket.recv_multipart(NOBLOCK))


class SimulatedStage:
    """
    A server in the simulated world; see :class:`~pirate.test.support.histories.Stage`.

    :param seed: the seed of all delays.
    """

    def __init__(self, settings: dict[str, Any], seed: int) -> None:
        settings = dict(settings)
        self._highWaterMark = settings.pop("highWaterMark", sockets.HIGH_WATER_MARK)
        self.agenda = Agenda()
        self.record = Record()
        self._seed = seed
        self._journal = Journal(self.agenda)
        self._network = Network(self.agenda, self._journal, Noise(seed, "network"))
        self._processes: dict[int, SimulatedProcess] = {}
        self._peers = 0
        record = self.record
        self._journal.watch("reaps", lambda who, pid, how: record.ends.__setitem__(pid, how))
        self._process = type("Server", (RecordedServer,), {"record": record})(
            self.agenda,
            "server",
            self._network,
            self._journal,
            Noise(seed, "server"),
            self._spawn,
            self._processes,
            {"frontend": frontend(0), "backend": backend(0), **arguments(settings, "pirate.testing.world.apps")},
        )
        self.server = self._process.server
        self._process.start()

    def _spawn(self, parent: ServerProcess, protocol: Any) -> SimulatedProcess:
        pid = 1001 + len(self._processes)
        noise = Noise(self._seed, f"worker {pid}")
        self._processes[pid] = SimulatedProcess(self.agenda, self._network, self._journal, noise, parent, protocol, pid)
        return self._processes[pid]

    def connect(self, name: str, kind: str = "DEALER", side: str = "frontend") -> SimulatedPeer:
        """Connect a peer."""
        self._peers += 1
        actor = Actor(self.agenda, f"peer {self._peers}")
        descriptors = Descriptors(actor, Noise(self._seed, actor.name).seconds)
        endpoint = frontend(0) if side == "frontend" else backend(0)
        mark = self._highWaterMark
        socket = descriptors.add(
            lambda number: Connecting(
                number, self._network, actor, Free(), kind=kind, identity=name.encode(), space=mark, room=mark
            )
        )
        socket.connect(endpoint)
        return SimulatedPeer(socket, descriptors)

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a worker."""
        self._processes[pid].send(number)

    def after(self, seconds: float) -> Callable[[], bool]:
        """Return a condition that holds in so many seconds."""
        end = self.agenda.now + seconds
        return lambda: self.agenda.now >= end

    def until(self, condition: Callable[[], bool]) -> None:
        """
        Let time pass until a condition holds.

        :raise AssertionError: if it does not in :data:`PATIENCE` seconds.
        """
        end = self.agenda.now + PATIENCE
        while not condition():
            if not self.agenda.step(min(self.agenda.now + 0.05, end)) and self.agenda.now >= end:
                raise AssertionError(f"this does not come: {self.record.told()}")

    def stop(self) -> None:
        """Stop the server, and wait until it has stopped."""
        stopped = self.server.stop(5.0)
        self.until(lambda: stopped.called)


def simulate(history: History, seed: int) -> dict[str, Any]:
    """Let a history happen in the simulated world, and return what the server has seen and done."""
    stage = SimulatedStage(history.settings, seed)
    ready = stage.server.whenReady()
    stage.until(lambda: ready.called)
    for condition in history(stage):
        stage.until(condition)
    stage.until(stage.after(0.2))
    told = stage.record.told()
    counters = countersOf(stage.server)
    stage.stop()
    return {**told, "counters": counters}
