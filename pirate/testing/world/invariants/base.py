"""An invariant, and what all of them use."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pirate.broker.request import Request
    from pirate.server.running import RunningServer
    from pirate.testing.world.run import World
    from pirate.testing.world.servers import ServerProcess

#: Seconds by which a call may end later than its timeout says.
SLACK = 0.05
#: Seconds between two looks at what must hold at any time.
SAMPLE = 0.1
#: Seconds from the last end of a worker until the pool is complete again: its longest back-off, and a start.
REFILL = 8.0
#: Seconds that a server has to catch up after it was stopped.
CATCH_UP = 0.3


#: For how many seconds something may be so, and what it is.
Timed = tuple[float, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Violation:
    """
    An invariant that did not hold.

    :ivar number: the number of the invariant; 0 for an error in the code.
    :ivar time: when it was noticed.
    :ivar text: what was the matter.
    """

    number: int
    time: float
    text: str

    def __str__(self) -> str:
        return f"invariant {self.number} at {self.time:.6f}: {self.text}"


class Invariant:
    """
    Something that must hold.

    :cvar number: its number in the register.
    :cvar statement: what must hold.
    """

    number = 0
    statement = ""

    def __init__(self, world: World) -> None:
        self.world = world
        self._since: dict[Hashable, float] = {}
        self.watch()

    def watch(self) -> None:
        """Ask the journal for events."""

    def atRest(self) -> None:
        """Check what must hold when all calls have had the time to end."""

    def atTimes(self) -> None:
        """Check what must hold at any time; this is called every :data:`SAMPLE` seconds."""

    def atEnd(self) -> None:
        """Check what must hold when everything has been stopped."""

    def violated(self, text: str) -> None:
        """Note that this does not hold."""
        self.world.violated(self.number, text)

    def running(self) -> Iterator[tuple[ServerProcess, RunningServer]]:
        """Yield the servers that run, or are stopping, with their parts."""
        for server in self.world.livingServers():
            running = server.server._runningServer
            if running is not None:
                yield server, running

    def awake(self, seconds: float = 1.0) -> Iterator[tuple[ServerProcess, RunningServer]]:
        """Yield those of them that have not been stopped in the last so many seconds."""
        for server, running in self.running():
            if server.isAwake(seconds):
                yield server, running

    def lasting(self, current: Iterable[Hashable], seconds: float) -> list[Hashable]:
        """
        Return what has been so for too long.

        :param current: what is so now; it was so since the first of the calls in a row that had it, too.
        """
        now = self.world.agenda.now
        self._since = {each: self._since.get(each, now) for each in current}
        return [each for each, since in self._since.items() if now - since > seconds]

    def overdue(self, current: Iterable[Timed]) -> list[tuple[object, ...]]:
        """
        Return what has been so for too long, as :meth:`lasting` does.

        :param current: for how many seconds each may be so, and what it is.
        """
        now = self.world.agenda.now
        self._since = {each: self._since.get(each, now) for each in current}
        return [each[1] for each, since in self._since.items() if now - since > each[0]]  # type: ignore[index]

    def hasFault(self, *kinds: str) -> bool:
        """Return whether the plan has a fault of one of these kinds."""
        return any(fault.kind in kinds for fault in self.world.plan.faults)

    def serverOf(self, worker: str) -> ServerProcess:
        """Return the server whose worker has this name in the journal."""
        return self.world.processes[int(worker.split()[1])].parent  # type: ignore[return-value]


def held(running: RunningServer) -> Iterator[Request]:
    """Yield the requests that the workers of a server hold, those that have ended among them."""
    for worker in running._broker.dispatcher.workers.values():
        yield from worker.inFlight.values()
