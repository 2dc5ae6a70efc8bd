"""
A server that is attacked in every way that there is while a good client works: what does that client notice?

The test and the benchmark run the same code with other numbers.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pirate.test.integration.attacks import ATTACKS, MANY, Target, manyFrames
from pirate.test.integration.goodclient import NAME
from pirate.test.integration.program import Program, script
from pirate.test.integration.statsfile import VARIABLE

#: Seconds that the good client may wait longer than in the quiet run.
STALL = 0.05
#: The same for each frame of the one message that has nothing but frames: nothing else of its socket can be read
#: before ZeroMQ has given out its last.
STALL_PER_FRAME = 5e-6
#: MiB that the server may grow by after the first round of attacks.
GROWTH = 16.0
#: Seconds after which something that is waited for will not happen.
PATIENCE = 10.0
#: Connections that the server allows.
CONNECTIONS = 300


@dataclass
class Kind:
    """One way of attacking.  :ivar stall: the longest that the good client waited meanwhile, in seconds."""

    name: str
    tries: int = 0
    messages: int = 0
    stall: float = 0.0
    windows: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class Report:
    """What has happened."""

    seconds: float
    kinds: list[Kind]
    quiet: float
    asked: int
    wrong: int
    memory: tuple[float, float, float]
    refused: dict[str, int]
    faults: list[str]

    def rows(self) -> Iterator[str]:
        """The lines of the table."""
        yield f"{'kind':24} {'tries':>8} {'messages':>10} {'longest stall (ms)':>20}"
        for kind in self.kinds:
            yield f"{kind.name:24} {kind.tries:8} {kind.messages:10} {kind.stall * 1000:20.1f}"
        yield ""
        for reason, count in sorted(self.refused.items()):
            yield f"{reason:44} {count:>20}"
        yield ""
        yield f"{'seconds of attacks':44} {self.seconds:>20.0f}"
        yield f"{'good client: requests, wrong or lost':44} {f'{self.asked}, {self.wrong}':>20}"
        yield f"{'longest in a quiet run (ms)':44} {self.quiet * 1000:>20.1f}"
        memory = ", ".join(f"{each:.1f}" for each in self.memory)
        yield f"{'resident MiB: start, first round, end':44} {memory:>20}"


class Fuzz:
    """
    One run.

    :param seconds: how long the attacks go on.
    :param quiet: how long the good client works undisturbed before.
    :param stall: seconds that the good client may wait longer than in the quiet run.
    :param standBack: called when the server and the good client run, before anything is attacked.
    """

    def __init__(
        self, seconds: float, quiet: float, stall: float = STALL, standBack: Callable[[], None] = lambda: None
    ) -> None:
        self._seconds = seconds
        self._quiet = quiet
        self._stall = stall
        self._standBack = standBack
        self._pid = 0
        self._folder = os.path.realpath(tempfile.mkdtemp())
        self._stats = os.path.join(self._folder, "stats")
        self._kinds = {attack: Kind(attack.__name__) for attack in ATTACKS}
        self._faults: list[str] = []

    def run(self) -> Report:
        """Start a server and a client, attack, and see what is left."""
        options = (
            "-n",
            "--pidfile=",
            "pirate",
            "--frontend=*",
            "--backend=*",
            "--workers=2",
            "--check-for-waiting=0.02",
            # At thousands of requests a second, a thousand are over in no time: a process to start every fifth of a
            # second is the price of that default, and not the attack's.
            "--max-requests=0",
        )
        bounds = (f"--max-connections={CONNECTIONS}", "--handshake-timeout=0.5", "--client-requests=16")
        hooks = "--hooks=pirate.test.integration.statsfile.StatsFile"
        environment = {VARIABLE: self._stats}
        server = Program((*script("twistd"), *options, *bounds, hooks), self._folder, environment)
        try:
            [found] = server.out.until(r"frontend: (\S+); backend: (\S+)")
            server.out.until("ready, with")
            return self._attackAll(server, *found.groups())
        finally:
            server.kill()
            shutil.rmtree(self._folder)

    def _attackAll(self, server: Program, frontend: str, backend: str) -> Report:
        self._pid = pid = server.pid
        start = residentMiB(pid)
        client = Program(_clientCommand(frontend), self._folder, {})
        try:
            client.out.until("^ready")
            began = time.monotonic()
            time.sleep(self._quiet)
            quiet = (began, time.monotonic())
            target = Target(frontend, backend, tuple(self.stats()["pids"]), NAME)
            before = self.stats()
            self._standBack()
            self._round(target, 0)
            began = time.monotonic()
            slice = self._seconds / 4 / len(ATTACKS)
            middle = 0.0
            while time.monotonic() < began + self._seconds:
                self._round(target, slice)
                middle = middle or self._settled(pid)
            end = self._settled(pid)
            after = self.stats()
            client.stop()
            told = client.out.all()
        finally:
            client.kill()
        status = server.stop()
        if status:
            self._faults.append(f"the server has ended with {status}")
        return self._report(quiet, told, (start, middle, end), before, after)

    def _round(self, target: Target, seconds: float) -> None:
        """Every attack once, or for some time, with a look at its counter."""
        for attack, reason in ATTACKS.items():
            kind = self._kinds[attack]
            before = _leaves(self.stats())[reason]
            began = time.monotonic()
            while True:
                kind.tries += 1
                try:
                    kind.messages += attack(target)
                except OSError as error:
                    self._faults.append(f"{kind.name}: {error}")
                if time.monotonic() - began >= seconds:
                    break
            if not seconds and not self._grows(reason, before):
                self._faults.append(f"{kind.name}: nothing has been counted as {reason}")
            kind.windows.append((began, time.monotonic()))
            self._settled(self._pid)

    def _grows(self, reason: str, before: int) -> bool:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if _leaves(self.stats())[reason] > before:
                return True
        return False

    def _settled(self, pid: int) -> float:
        """The server's memory, once the connections of the attacks are closed."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            stats = self.stats()
            if stats["connections"]["frontend"]["open"] <= 1 and stats["backlog"] < 2:
                break
        return residentMiB(pid)

    def stats(self) -> dict[str, Any]:
        """The server's counts as they are now."""
        asked = time.monotonic()
        while time.monotonic() < asked + PATIENCE:
            with suppress(FileNotFoundError):
                stats: dict[str, Any] = json.loads(Path(self._stats).read_text())
                if stats["written"] > asked:
                    return stats
            time.sleep(0.005)
        raise AssertionError("the server does not tell its counts any more")

    def _report(
        self,
        quiet: tuple[float, float],
        told: list[str],
        memory: tuple[float, float, float],
        before: dict[str, Any],
        after: dict[str, Any],
    ) -> Report:
        waits = [tuple(map(float, line.split())) for line in told if line[0].isdigit()]
        asked, wrong = (int(word) for word in told[-1].replace(",", "").split()[1::2])

        def longest(window: tuple[float, float]) -> float:
            return max((took for at, took in waits if window[0] <= at <= window[1]), default=0.0)

        calm = longest(quiet)
        for attack, kind in self._kinds.items():
            kind.stall = max(longest(window) for window in kind.windows)
            allowed = calm + (MANY * STALL_PER_FRAME if attack is manyFrames else self._stall)
            if kind.stall > allowed:
                self._faults.append(f"{kind.name}: the good client waited {kind.stall * 1000:.0f} ms")
        if wrong:
            self._faults.append(f"{wrong} requests of the good client were not answered rightly")
        if memory[2] - memory[1] > GROWTH:
            self._faults.append(f"the server has grown by {memory[2] - memory[1]:.0f} MiB")
        refused = _leaves(after)
        refused.subtract(_leaves(before))
        return Report(
            self._seconds,
            list(self._kinds.values()),
            calm,
            asked,
            wrong,
            memory,
            {reason: count for reason, count in refused.items() if count},
            self._faults,
        )


def _clientCommand(frontend: str) -> list[str]:
    return [sys.executable, "-m", "pirate.test.integration.goodclient", frontend]


def _leaves(stats: dict[str, Any]) -> Counter[str]:
    """What has been refused or cut off, by reason, both sockets together; C{dropped} is the sum of its own."""
    found: Counter[str] = Counter()
    for side in stats["connections"].values():
        found.update({name: count for name, count in side.items() if name != "open"})
    found.update(stats["dropped"])
    found["dropped"] = sum(stats["dropped"].values())
    found.update({f"failed: {code}": count for code, count in stats["failed"].items()})
    found.update({name: stats[name] for name in ("received", "replied", "late", "undeliverable", "withdrawn")})
    return found


def residentMiB(pid: int) -> float:
    """The resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
