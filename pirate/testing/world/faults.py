"""What goes wrong in a world."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pirate.testing.world.network import Link
from pirate.testing.world.plan import Fault
from pirate.testing.world.processes import SimulatedProcess

if TYPE_CHECKING:
    from pirate.testing.world.run import World

Victim = TypeVar("Victim")


def happen(world: World, fault: Fault) -> None:
    """Let a fault happen, if there is a victim."""
    FAULTS[fault.kind](world, fault)


def _choose(victims: Sequence[Victim], fault: Fault) -> Victim | None:
    return victims[fault.target % len(victims)] if victims else None


def _note(world: World, fault: Fault, *more: Any) -> None:
    world.journal.note("fault", fault.kind, *more)


def _workerSignal(number: int) -> Callable[[World, Fault], None]:
    def send(world: World, fault: Fault) -> None:
        process = _choose(world.livingWorkers(), fault)
        if process is not None:
            _note(world, fault, process.pid)
            process.send(number)

    return send


def _stopWorker(world: World, fault: Fault) -> None:
    process = _choose(world.livingWorkers(), fault)
    if process is not None:
        _note(world, fault, process.pid, fault.seconds)
        process.stop()
        world.agenda.after(fault.seconds, lambda: _continue(process))


def _continue(process: SimulatedProcess) -> None:
    if process.alive:
        process.send(signal.SIGCONT)


def _links(world: World, ofWorkers: bool) -> list[Link]:
    return [each for each in world.network.links if bool(each.pid) is ofWorkers and not each.up.over]


def _cut(ofWorkers: bool) -> Callable[[World, Fault], None]:
    def cut(world: World, fault: Fault) -> None:
        link = _choose(_links(world, ofWorkers), fault)
        if link is not None:
            _note(world, fault, link.name)
            kept = int(fault.seconds * 1000)
            link.cut(kept % (len(link.up.transit) + 1), kept % (len(link.down.transit) + 1))

    return cut


def _stick(ofWorkers: bool) -> Callable[[World, Fault], None]:
    """Let nothing arrive for some seconds; then go on, or notice that the connection is broken."""

    def stick(world: World, fault: Fault) -> None:
        link = _choose(_links(world, ofWorkers), fault)
        if link is None:
            return
        _note(world, fault, link.name, fault.seconds)
        link.stick(True)

        def end() -> None:
            if fault.target % 2:
                link.cut()
            link.stick(False)

        world.agenda.after(fault.seconds, end)

    return stick


def _slow(ofWorkers: bool) -> Callable[[World, Fault], None]:
    def slow(world: World, fault: Fault) -> None:
        link = _choose(_links(world, ofWorkers), fault)
        if link is None:
            return
        _note(world, fault, link.name, fault.seconds)
        link.slow = 100.0

        def end() -> None:
            link.slow = 1.0

        world.agenda.after(fault.seconds, end)

    return slow


def _stopServer(world: World, fault: Fault) -> None:
    server = _choose(world.livingServers(), fault)
    if server is not None and not server.stopped:
        _note(world, fault, server.name, fault.seconds)
        server.stop()
        world.agenda.after(fault.seconds, lambda: server.resume() if server.alive else None)


def _killServer(world: World, fault: Fault) -> None:
    server = _choose(world.livingServers(), fault)
    if server is not None:
        _note(world, fault, server.name)
        world.killServer(server)
        world.startAgain(server, fault.seconds)


def _restart(world: World, fault: Fault) -> None:
    server = _choose(world.runningServers(), fault)
    if server is not None:
        _note(world, fault, server.name)
        server.stopServer(fault.seconds).addCallback(lambda ignored: world.startAgain(server, 0.1))


def _command(name: str) -> Callable[[World, Fault], None]:
    def command(world: World, fault: Fault) -> None:
        server = _choose(world.runningServers(), fault)
        if server is None:
            return
        _note(world, fault, server.name)
        done = getattr(server.server, name)()
        if done is not None:
            done.addErrback(lambda reason: world.journal.note(server.name, "refused", str(reason.value)))

    return command


#: What each kind of fault does.
FAULTS: dict[str, Callable[[World, Fault], None]] = {
    "killWorker": _workerSignal(signal.SIGKILL),
    "termWorker": _workerSignal(signal.SIGTERM),
    "abortWorker": _workerSignal(signal.SIGABRT),
    "stopWorker": _stopWorker,
    "cutWorker": _cut(True),
    "cutClient": _cut(False),
    "stickWorker": _stick(True),
    "stickClient": _stick(False),
    "slowWorker": _slow(True),
    "slowClient": _slow(False),
    "stopServer": _stopServer,
    "killServer": _killServer,
    "restart": _restart,
    "reload": _command("reload"),
    "grow": _command("grow"),
    "shrink": _command("shrink"),
}
