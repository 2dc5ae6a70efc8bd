"""Clients ask very much at once: what do the others wait?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from time import monotonic, sleep
from typing import Any

from pirate.wire.frontend import header, parseHeader
from suite.stage import Failed
from trials.case import Case, Trial, Verdict
from trials.load import Flood, askOnce, dealer, numbers
from trials.neighbour import Neighbours
from trials.served import Server

#: Requests of a flood; seconds that each one's job takes.
REQUESTS, JOB = 20_000, 0.0025
#: Seconds in which the requests of a client that has gone must have been dropped, and in which a ping is answered.
DROPPED, PING = 1.0, 0.5
#: Seconds between two pings, and seconds for which an answer to one is waited.
PAUSE, PATIENCE = 0.2, 3.0
#: The server's workers.
WORKERS = 2
#: In the case whose jobs do not end: the flooders, the requests of each for a second, more than are read of it, their
#: bytes, and the MiB of the backlog.
FLOODERS, EACH, LARGE, SMALL_BACKLOG = 20, 40, 8 << 10, 1
#: Seconds in which a request must be begun, and in which after that its client is told that it was not.
DEADLINE, TOLD = 0.5, 0.5


def flood(trial: Trial, *, native: bool, flooders: int = 1, backlog: int = 10_000) -> Verdict:
    """Let clients flood a server while a plain client asks for the same job, and another pings."""
    server = Server(trial.stage, WORKERS, "--max-requests=0", f"--backlog={backlog}")
    neighbours = Neighbours(trial.stage, server, "work")
    verdict = Verdict()
    inFlight, ping = 0, 0.0
    with ExitStack() as stack:
        floods = [
            stack.enter_context(Flood(server.frontend, REQUESTS // flooders, b"work", native)) for _ in range(flooders)
        ]
        began = monotonic()
        while monotonic() < began + trial.seconds:
            asked = monotonic()
            askOnce(server.frontend, b"", within=PATIENCE, command="ping")
            ping = max(ping, monotonic() - asked)
            inFlight = max(inFlight, server.stats()["in_flight"])
            sleep(PAUSE)
        window = began, monotonic()
    answered = sum(each.answered for each in floods)
    left = monotonic()
    server.until(lambda stats: stats["backlog"] + stats["in_flight"] <= WORKERS + 1, PATIENCE)
    dropped = monotonic() - left
    neighbours.end()
    noise = neighbours.noise()
    turn = (inFlight + flooders + 1) / WORKERS * JOB
    limit = turn + trial.stall + noise
    verdict.limit("1: a plain client waited", neighbours.longest(window) * 1000, limit * 1000, "ms")
    verdict.limit("1: a ping waited", ping * 1000, (PING + noise) * 1000, "ms")
    verdict.limit("1: a flood was dropped after", dropped * 1000, (DROPPED + noise) * 1000, "ms")
    if neighbours.here.wrong:
        verdict.faults.append(f"1: {neighbours.here.wrong} wrong answers")
    verdict.facts.append(f"the flood had {answered} answers")
    return verdict


def endless(trial: Trial) -> Verdict:
    """
    Let plain clients flood a server whose jobs do not end, with requests that fill the backlog's bytes.

    Others are heard only if the broker goes on reading although nothing is ever done.
    """
    server = Server(trial.stage, WORKERS, "--max-requests=0", f"--backlog-mib={SMALL_BACKLOG}").ready()
    twin = Server(trial.stage, 1, "--max-requests=0", counts=False).ready()
    verdict = Verdict()
    longest: dict[str, float] = {}
    noise, each = 0.0, int(EACH * (trial.seconds + PATIENCE))
    with ExitStack() as stack:
        for _ in range(FLOODERS):
            socket = stack.enter_context(dealer(server.frontend, sndhwm=0))
            for _ in range(each):
                socket.send_multipart([b"", bytes(LARGE), b"hang"])
        server.until(lambda stats: stats["backlog_bytes"] > SMALL_BACKLOG << 20)
        ended = monotonic() + trial.seconds
        while monotonic() < ended:
            noise = max(noise, _heard(twin.frontend, None, {"command": "ping"}))
            for what, took in _others(server):
                longest[what] = max(longest.get(what, 0.0), took)
        stats = server.stats()
        waited, given = stats["backlog_bytes"] / (1 << 20), stats["overflowed"]
        if stats["received"] >= FLOODERS * each:
            raise Failed("the flood was over before the end")
    for what, took in longest.items():
        most = DEADLINE + TOLD if what == "deadline" else PING
        verdict.limit(f"1: a {what} waited", took * 1000, (most + noise) * 1000, "ms")
    verdict.limit("1: there waited", waited, 2 * SMALL_BACKLOG + LARGE / (1 << 20), "MiB")
    verdict.facts.append(f"{given} requests of the flood were given up")
    return verdict


def _others(server: Server) -> Iterator[tuple[str, float]]:
    """Ping, cancel, ask with a deadline, and ask plainly, each as a new client; give what, and the seconds it took."""
    yield "ping", _heard(server.frontend, None, {"command": "ping"})
    yield "cancel", _heard(server.frontend, "cancelled", {}, {"command": "cancel"})
    yield "deadline", _heard(server.frontend, "expired", {"timeout_ms": int(DEADLINE * 1000)})
    before, asked = server.stats()["backlog"], monotonic()
    with dealer(server.frontend) as socket:
        socket.send_multipart([b"", b"%d" % next(numbers), b"hang"])
        server.until(lambda stats: stats["backlog"] > before, PATIENCE)
        yield "first request", monotonic() - asked
    server.until(lambda stats: stats["backlog"] <= before, PATIENCE)


def _heard(endpoint: str, code: str | None, *messages: dict[str, Any]) -> float:
    """
    Send native messages under one id, and wait for an answer.

    :param code: the code of the answer.
    :param messages: the JSON keys of each.
    :return: the seconds that it took; ``PATIENCE`` if there is none, or another, in time.
    """
    asked, requestId = monotonic(), os.urandom(16)
    with dealer(endpoint) as socket:
        for options in messages:
            socket.send_multipart([header(requestId, options), b"", b"%d" % next(numbers), b"hang"])
        if not socket.poll(int(PATIENCE * 1000)):
            return PATIENCE
        parsed = parseHeader(socket.recv_multipart()[0])
    return monotonic() - asked if parsed is not None and parsed[1].get("code") == code else PATIENCE


FLOODS = (
    Case("flood", "1: a plain client beside 20,000 plain requests of one client", partial(flood, native=False)),
    Case("natives", "1: the same beside 20,000 native requests of one client", partial(flood, native=True)),
    Case(
        "full",
        "1: the same, and pings, while three clients keep a small backlog full",
        partial(flood, native=False, flooders=3, backlog=100),
    ),
    Case(
        "endless", "1: pings, cancels, deadlines and first requests beside twenty floods of jobs without end", endless
    ),
)
