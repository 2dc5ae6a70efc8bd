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
#: Seconds between two messages of very many frames that come one at a time.
REST = 0.5
#: Frames of such messages.
FRAMES = (MANY, 5 * MANY)
#: MiB that a message may have while some never end, and MiB that the server may grow by meanwhile: an empty frame takes
#: 32 times as much memory as on the wire, and more comes before the server looks.
TOTAL, MEMORY = 1, 1024
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


@dataclass(frozen=True, slots=True)
class Burst:
    """
    One message of very many frames.

    :ivar frames: how many.
    :ivar window: from when it was sent until it should have been dropped.
    """

    frames: int
    window: Window


def frames(trial: Trial) -> Verdict:
    """
    Send messages of very many frames to both sockets beside a good client: one at a time, then without a pause.

    ZeroMQ hands out nothing else of a socket while such a message is dropped, so a good client waits longer the more
    frames there are.  It may wait as long as in any other case for each 200,000 of those that were being dropped while
    it waited.
    """
    server = Server(trial.stage, WORKERS, "--max-requests=0")
    neighbours = Neighbours(trial.stage, server)
    verdict = Verdict()
    bursts: dict[str, list[Burst]] = {}
    for count in FRAMES:
        for name, pause in ("one at a time", REST), ("without a pause", 0.0):
            what = f"messages of {count:,} frames {name}"
            bursts[what] = _sendFrames(server, count, trial.seconds / 2 / len(FRAMES), pause, trial.stall, verdict)
            # The last one is still being dropped.
            sleep(REST)
    neighbours.end()
    for what, sent in bursts.items():
        _judgeWaits(what, sent, neighbours, trial.stall, verdict)
    if neighbours.here.wrong:
        verdict.faults.append(f"6: {neighbours.here.wrong} wrong answers")
    return verdict


def _judgeWaits(what: str, sent: list[Burst], neighbours: Neighbours, stall: float, verdict: Verdict) -> None:
    """Judge every wait of the good client by the frames that were being dropped meanwhile; note the worst."""
    window = (sent[0].window[0], sent[-1].window[1])
    worst = longest = 0.0
    for began, took in neighbours.waits(window):
        meanwhile = sum(each.frames for each in sent if each.window[0] <= began + took and began <= each.window[1])
        worst = max(worst, (took - neighbours.noise()) / max(meanwhile / MANY, 1))
        longest = max(longest, took)
    verdict.limit(
        f"6: for each {MANY:,} frames, beside {len(sent)} {what}, a client waited", worst * 1000, stall * 1000, "ms"
    )
    verdict.facts.append(f"at most {longest * 1000:,.0f} ms in all")


def _sendFrames(
    server: Server, count: int, seconds: float, pause: float, stall: float, verdict: Verdict
) -> list[Burst]:
    """
    Send messages of so many frames for some time, each until its connection is closed.

    :param pause: seconds after each.
    """
    whole = frame(b"", True) * (count - 1) + frame(b"")
    end = monotonic() + seconds
    sent: list[Burst] = []
    kept = 0
    while monotonic() < end:
        for endpoint in (server.frontend, server.backend):
            began = monotonic()
            with RawPeer(endpoint) as peer:
                peer.handshake()
                peer.send(whole)
                kept += not peer.awaitEnd(PATIENCE)
            # The connection is closed before the rest of the message is dropped.
            sent.append(Burst(count, (began, monotonic() + stall * count / MANY)))
            sleep(pause)
    if kept:
        verdict.faults.append(f"6: {kept} of {len(sent)} connections were not closed")
    return sent


def unfinished(trial: Trial) -> Verdict:
    """
    Send messages that never end to both sockets, of large frames and of empty ones, beside a good client.

    When a connection is closed, ZeroMQ drops the frames that have come, so a wait is judged as beside a message of as
    many frames that does end.
    """
    server = Server(trial.stage, WORKERS, "--max-requests=0", f"--max-message-total={TOTAL}")
    neighbours = Neighbours(trial.stage, server)
    verdict = Verdict()
    # The frames of a chunk, the chunk, and how often it is sent at most: either takes a GiB of memory by then.
    chunks = {
        "large": (16, frame(bytes(1 << 16), True) * 16, 1024),
        "empty": (1 << 16, frame(b"", True) * (1 << 16), 256),
    }
    bursts: dict[str, list[Burst]] = {name: [] for name in chunks}
    before = most = server.memory()
    kept = 0
    for name, (count, chunk, times) in chunks.items():
        end = monotonic() + trial.seconds / len(chunks)
        while monotonic() < end:
            for endpoint in (server.frontend, server.backend):
                began, sent = monotonic(), 0
                with RawPeer(endpoint) as peer:
                    peer.handshake()
                    while sent < count * times and peer.send(chunk):
                        sent += count
                        most = max(most, server.memory())
                    kept += not peer.awaitEnd(PATIENCE)
                bursts[name].append(Burst(sent, (began, monotonic() + REST)))
    total = sum(map(len, bursts.values()))
    if not server.until(lambda stats: leaves(stats)["unfinished"] >= total):
        verdict.faults.append(f"6: not all of {total} messages were counted as unfinished")
    neighbours.end()
    if kept:
        verdict.faults.append(f"6: {kept} of {total} connections were not closed")
    verdict.limit("6: the server grew by", most - before, MEMORY, "MiB")
    for name, several in bursts.items():
        _judgeWaits(f"endless messages of {name} frames", several, neighbours, trial.stall, verdict)
    return verdict


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
    Case("frames", "6: a good client beside messages of 200,000 and of a million frames", frames),
    Case("unfinished", "6: a good client beside messages that never end", unfinished),
)
