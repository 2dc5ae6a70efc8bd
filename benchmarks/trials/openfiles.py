"""A low limit of open files, and strangers on both sockets."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from time import monotonic, sleep

from pirate.testing.zmtp import GREETING, ready
from suite.stage import TestBed
from trials.case import Case, Trial, Verdict
from trials.neighbour import Neighbours
from trials.served import Server

#: The limits; the server's workers.
LIMITS, WORKERS = (120, 300), 4
#: The share of a processor that the broker may use while nothing happens, beside its one good client.
SHARE = 0.5
#: What the log says when there are no more.
EXHAUSTED = "Too many open files"
#: Seconds in which all workers must have been replaced, beside their start.
REPLACED = 2.0


def openFiles(trial: Trial) -> Verdict:
    """Let strangers take what a server has, at each limit."""
    verdict = Verdict()
    for limit in LIMITS:
        _atLimit(trial.stage, limit, trial.seconds / len(LIMITS), verdict)
        for program in trial.stage.programs:
            program.terminate()
    return verdict


def _atLimit(stage: TestBed, limit: int, seconds: float, verdict: Verdict) -> None:
    began = monotonic()
    server = Server(stage, WORKERS, "--max-requests=0", files=limit, counts=False)
    neighbours = Neighbours(stage, server)
    starting = monotonic() - began
    strangers = [_stranger(endpoint) for _ in range(limit) for endpoint in (server.frontend, server.backend)]
    try:
        killed = monotonic()
        for pid in server.workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        sleep(max(seconds / 2, 2))
        # A burst of connections may be ahead of the broker for a moment, but not for longer.
        early = server.broken()
        before, at = server.cpu(), monotonic()
        sleep(max(seconds / 2, 2))
        share = (server.cpu() - before) / (monotonic() - at)
        replaced = len(server.workers())
    finally:
        for each in strangers:
            each.close()
    # By now, nobody is in the way any more: what a client still waits for will not come.
    neighbours.end()
    server.check()
    wait = neighbours.longest((killed, monotonic()))
    most = REPLACED + starting + neighbours.noise()
    verdict.limit(f"10: at {limit} files a client waited for new workers", wait * 1000, most * 1000, "ms")
    verdict.limit(f"10: at {limit} files the broker's share of a processor", share * 100, SHARE * 100, "%")
    if replaced < WORKERS:
        verdict.faults.append(f"10: at {limit} files there are {replaced} of {WORKERS} workers")
    for line in [each for each in server.broken() if each not in early or EXHAUSTED not in each][:1]:
        verdict.faults.append(f"10: at {limit} files the log says {line!r}")


def _stranger(endpoint: str) -> socket.socket:
    """A connection that has said what a peer must say, and says nothing more."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    stranger = socket.create_connection((host, int(port)), timeout=5)
    with suppress(OSError):
        stranger.sendall(GREETING + ready())
    return stranger


OPEN_FILES = Case("openfiles", "10: strangers on both sockets at a low limit of open files", openFiles)
