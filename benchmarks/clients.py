"""
Measure the faces of the client beside a bare socket and the load generator: ``python benchmarks/clients.py``.

All of them ask the same server, one after the other, again and again; see ``README.rst``, in this folder.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence

from speed import describe, heading
from suite.contestants import Contestant, Running, pirate
from suite.measure import Load, measure
from suite.scenario import Case, Figures, Scenario, Target
from suite.stage import PATIENCE, Failed, TestBed
from suite.table import render

#: Workers of the server.
WORKERS = 2
#: Requests under way at a time, where it is several.
SEVERAL = 64

#: Asks a server that runs.
Ask = Callable[[TestBed, Running, Namespace], Figures]


def caller(kind: str, several: int) -> Ask:
    """One kind of client; see ``programs/caller.py``."""

    def ask(stage: TestBed, running: Running, options: Namespace) -> Figures:
        given = ("--count", options.calls, "--several", several)
        program = stage.python("caller", kind, running.frontend, *given)
        figures: Figures = json.loads(program.until("{", within=PATIENCE + options.calls / 100))
        program.wait()
        return {name: figures[name] for name in ("rate", "load", "p50")}

    return ask


def generator(stage: TestBed, running: Running, options: Namespace) -> Figures:
    """The load generator of the other benchmarks, with as many requests under way."""
    return measure(stage, running, Load(clients=SEVERAL, outstanding=SEVERAL), options.calls / 10_000)


ONE: dict[str, Ask] = {
    "bare REQ socket": caller("req", 1),
    "Client.call": caller("call", 1),
    "AsyncClient.call": caller("coroutines", 1),
    "TwistedClient.call": caller("deferreds", 1),
}
MANY: dict[str, Ask] = {
    "load generator": generator,
    "Client.map": caller("batch", SEVERAL),
    "Client.call, 64 threads": caller("call", SEVERAL),
    "Executor.map": caller("executor", SEVERAL),
    "AsyncClient.call, 64 tasks": caller("coroutines", SEVERAL),
    "TwistedClient.call, 64 Deferreds": caller("deferreds", SEVERAL),
}
#: Who asks, what is shown of it, and how it is done.
SCENARIOS = {
    "one": (ONE, ("rate", "load", "p50"), "one after the other"),
    "many": (MANY, ("rate", "load"), f"{SEVERAL} at a time"),
}
TARGETS = {
    "one": (Target("rate", "Client.call", "bare REQ socket", least=1 / 1.3),),
    "many": (Target("rate", "Client.map", "load generator", least=0.7),),
}


def parse(arguments: Sequence[str]) -> Namespace:
    """The command line."""
    parser = ArgumentParser(description="Measure the faces of the client, in one run.")
    parser.add_argument("--scenario", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), help="only these")
    parser.add_argument("--runs", type=int, default=5, help="how often each is measured; default 5")
    parser.add_argument("--calls", type=int, default=10_000, help="how many requests each sends; default 10000")
    parser.add_argument("--ipc", action="store_true", help="over UNIX sockets; else over TCP")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """
    Do what the command line says.

    :return: 1 if something could not be measured.
    """
    options = parse(arguments)
    options.seconds, options.options = 0, ""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    facts = describe(options)
    print(heading(facts), flush=True)
    try:
        for name in options.scenario:
            kinds, columns, how = SCENARIOS[name]
            runs = measureAll(kinds, options)
            cases = tuple(Case(Contestant(each, each, pirate), "", _never) for each in kinds)
            about = f"{options.calls:,} requests of 32 bytes, {how}"
            print(render(Scenario(name, about, columns, cases, TARGETS[name]), runs), end="\n\n", flush=True)
    except (Failed, subprocess.TimeoutExpired) as error:
        print(f"failed: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def measureAll(kinds: dict[str, Ask], options: Namespace) -> dict[str, list[Figures]]:
    """Let every kind ask the same server, then every kind again, and so on."""
    runs: dict[str, list[Figures]] = {name: [] for name in kinds}
    with TestBed(options.ipc) as stage:
        running = pirate(stage, WORKERS)
        for _ in range(options.runs):
            for name, ask in kinds.items():
                print(name, file=sys.stderr, flush=True)
                runs[name].append(ask(stage, running, options))
    return runs


def _never(stage: TestBed, seconds: float) -> Figures:
    raise AssertionError("these are not measured one by one")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
