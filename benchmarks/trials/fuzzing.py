"""Every attack that a peer can try, beside a good client that must not notice any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

from pirate.testing.zmtp import RawPeer, frame
from trials.attacks import ATTACKS, MANY, Target
from trials.case import Case, Trial, Verdict
from trials.neighbour import NAME, Neighbours, Window
from trials.served import PATIENCE, Server

#: MiB and open files that the server may grow by after the first round of attacks.
GROWTH, FILES = 16.0, 4
#: Seconds between two messages of very many frames, if each is to be judged by itself; how much longer a good client
#: may wait if there is no pause: the next is there before the last has been dropped, on the other socket as well.
REST, HAMMERED = 0.25, 4
#: Connections that the server allows.
CONNECTIONS = 300
#: The server's workers.
WORKERS = 2


@dataclass
class Kind:
    """
    One way of attacking, and when it was tried.

    :ivar messages: messages or connections of all its tries.
    """

    name: str
    tries: int = 0
    messages: int = 0
    windows: list[Window] = field(default_factory=list)


class Fuzz:
    """One run of all attacks: each is tried once, then all are for the time that the trial lasts."""

    def __init__(self, trial: Trial) -> None:
        self._seconds = trial.seconds
        self._stall = trial.stall
        bounds = (f"--max-connections={CONNECTIONS}", "--handshake-timeout=0.5", "--client-requests=16")
        self._server = Server(trial.stage, WORKERS, "--app=pirate.echo.echo", "--max-requests=0", *bounds)
        self._neighbours = Neighbours(trial.stage, self._server)
        self._kinds = {attack: Kind(attack.__name__) for attack in ATTACKS}
        self._verdict = Verdict()

    def run(self) -> Verdict:
        """Attack, and see what is left."""
        server, neighbours = self._server, self._neighbours
        target = Target(server.frontend, server.backend, tuple(server.workers()), NAME)
        before = server.stats()
        self._round(target, 0)
        first = self._settled()
        began = monotonic()
        while monotonic() < began + self._seconds:
            self._round(target, self._seconds / 4 / len(ATTACKS))
        last = self._settled()
        after = server.stats()
        neighbours.end()
        self._judge(first, last)
        counts = leaves(after)
        counts.subtract(leaves(before))
        self._verdict.table += self._table(counts)
        return self._verdict

    def _round(self, target: Target, seconds: float) -> None:
        """Try every attack once, or for some time, and look at its counter."""
        for attack, reason in ATTACKS.items():
            kind = self._kinds[attack]
            before = leaves(self._server.stats())[reason]
            began = monotonic()
            while True:
                kind.tries += 1
                try:
                    kind.messages += attack(target)
                except OSError as error:
                    self._verdict.faults.append(f"{kind.name}: {error}")
                if monotonic() - began >= seconds:
                    break
            if not seconds and not self._server.until(_grown(reason, before)):
                self._verdict.faults.append(f"{kind.name}: nothing has been counted as {reason}")
            kind.windows.append((began, monotonic()))
            self._settled()

    def _settled(self) -> tuple[float, int]:
        """The server's memory and open files, once the connections of the attacks are closed."""
        self._server.until(lambda stats: stats["connections"]["frontend"]["open"] <= 1 and stats["backlog"] < 2)
        return self._server.memory(), self._server.descriptors()

    def _judge(self, first: tuple[float, int], last: tuple[float, int]) -> None:
        verdict, neighbours = self._verdict, self._neighbours
        limit = self._stall + neighbours.noise()
        for kind in self._kinds.values():
            stall = self._longest(kind)
            if stall > limit:
                verdict.faults.append(
                    f"{kind.name}: the good client waited {stall * 1000:.0f} ms, above {limit * 1000:.0f} ms"
                )
        if neighbours.here.wrong:
            verdict.faults.append(f"{neighbours.here.wrong} requests of the good client were answered wrongly")
        verdict.limit("the server grew by", last[0] - first[0], GROWTH, "MiB")
        verdict.limit("and by", last[1] - first[1], FILES, "open files")
        verdict.faults += self._server.broken()[:1]

    def _longest(self, kind: Kind) -> float:
        return max(self._neighbours.longest(window) for window in kind.windows)

    def _table(self, counts: Counter[str]) -> Iterator[str]:
        yield f"{'kind':24} {'tries':>8} {'messages':>10} {'longest stall (ms)':>20}"
        for kind in self._kinds.values():
            yield f"{kind.name:24} {kind.tries:8} {kind.messages:10} {self._longest(kind) * 1000:20.1f}"
        yield ""
        yield from (f"{reason:44} {count:>20}" for reason, count in sorted(counts.items()) if count)
        yield ""
        here = self._neighbours.here
        yield f"{'seconds of attacks':44} {self._seconds:>20.0f}"
        yield f"{'good client: requests, wrong':44} {f'{here.asked}, {here.wrong}':>20}"
        yield f"{'longest wait at a server left alone (ms)':44} {self._neighbours.noise() * 1000:>20.1f}"


def frames(trial: Trial) -> Verdict:
    """Send messages of very many frames to both sockets beside a good client: one at a time, then without pause."""
    server = Server(trial.stage, WORKERS, "--max-requests=0")
    neighbours = Neighbours(trial.stage, server)
    verdict = Verdict()
    seconds = trial.seconds / 2
    windows = {
        "one message": _sendFrames(server, seconds, REST, verdict),
        "one message after the other": _sendFrames(server, seconds, 0.0, verdict),
    }
    # The last one is still being dropped.
    sleep(REST)
    neighbours.end()
    for (name, window), times in zip(windows.items(), (1, HAMMERED), strict=True):
        limit = times * trial.stall + neighbours.noise()
        longest = neighbours.longest(window)
        verdict.limit(f"6: beside {name} of 200,000 frames a client waited", longest * 1000, limit * 1000, "ms")
    if neighbours.here.wrong:
        verdict.faults.append(f"6: {neighbours.here.wrong} wrong answers")
    return verdict


def _sendFrames(server: Server, seconds: float, pause: float, verdict: Verdict) -> Window:
    """
    Send such messages for some time.

    :param pause: seconds after each.
    :return: when that was.
    """
    whole = frame(b"", True) * MANY + frame(b"")
    began = monotonic()
    sent = kept = 0
    while monotonic() < began + seconds:
        for endpoint in (server.frontend, server.backend):
            with RawPeer(endpoint) as peer:
                peer.handshake()
                peer.send(whole)
                kept += not peer.awaitEnd(PATIENCE)
                sent += 1
            sleep(pause)
    if kept:
        verdict.faults.append(f"6: {kept} of {sent} connections were not closed")
    verdict.facts.append(f"{sent} messages")
    return began, monotonic()


def leaves(stats: dict[str, Any]) -> Counter[str]:
    """What has been refused or cut off, by reason, both sockets together; ``dropped`` is the sum of its own."""
    found: Counter[str] = Counter()
    for side in stats["connections"].values():
        found.update({name: count for name, count in side.items() if name != "open"})
    found.update(stats["dropped"])
    found["dropped"] = sum(stats["dropped"].values())
    found.update({f"failed: {code}": count for code, count in stats["failed"].items()})
    found.update({name: stats[name] for name in ("received", "replied", "late", "undeliverable", "withdrawn")})
    return found


def _grown(reason: str, before: int) -> Callable[[dict[str, Any]], bool]:
    return lambda stats: leaves(stats)[reason] > before


ATTACKING = (
    Case(
        "attacks",
        "a good client beside every attack that needs no key",
        lambda trial: Fuzz(trial).run(),
    ),
    Case("frames", "6: a good client beside messages of 200,000 frames", frames),
)
