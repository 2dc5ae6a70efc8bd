"""One client asks very much at once: what do the others wait?"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from time import monotonic, sleep

from trials.case import Case, Trial, Verdict
from trials.load import Flood, askOnce
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


FLOODS = (
    Case("flood", "1: a plain client beside 20,000 plain requests of one client", partial(flood, native=False)),
    Case("natives", "1: the same beside 20,000 native requests of one client", partial(flood, native=True)),
    Case(
        "full",
        "1: the same, and pings, while three clients keep a small backlog full",
        partial(flood, native=False, flooders=3, backlog=100),
    ),
)
