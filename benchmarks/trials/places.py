"""Connections of the backend are at their limit: do workers find their places, and do requests?"""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from threading import Event, Thread
from time import monotonic, sleep

from pirate.testing.zmtp import RawPeer
from trials.case import Case, Trial, Verdict
from trials.load import NativeLoad, askOnce
from trials.served import PATIENCE, Server

#: Connections that the server allows on each socket; its workers.
CONNECTIONS, WORKERS = 12, 4
#: Seconds between two kills; seconds that a request may wait when workers are killed, beside the start of a worker.
KILLS, WAIT = 0.4, 2.0
#: Processes that apps leave behind, in all.
FORKS = 16


class Strangers:
    """
    Peers that take every place of a socket, and take it again when they are cut off.

    :param count: how many try.
    """

    def __init__(self, endpoint: str, count: int) -> None:
        self._endpoint = endpoint
        self._count = count
        self._stop = Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Strangers:
        self._thread.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        peers: list[RawPeer] = []
        while not self._stop.wait(0.01):
            for peer in [each for each in peers if each.closed or each.awaitEnd(0.001)]:
                peer.close()
                peers.remove(peer)
            while len(peers) < self._count and not self._stop.is_set():
                with suppress(OSError):
                    peers.append(RawPeer(self._endpoint))
                    peers[-1].handshake()
        for peer in peers:
            peer.close()


def cutOff(trial: Trial) -> Verdict:
    """Kill workers while strangers take every place of the backend that becomes free."""
    began = monotonic()
    server = Server(trial.stage, WORKERS, "--max-requests=0", f"--max-connections={CONNECTIONS}").ready()
    starting = monotonic() - began
    kills = 0
    load = NativeLoad(server.frontend, lambda: (b"work",), 8, patience=WAIT + starting)
    with Strangers(server.backend, CONNECTIONS):
        with load:
            end = monotonic() + trial.seconds
            while monotonic() < end:
                sleep(KILLS)
                waiting = [int(pid) for pid, state in server.stats()["pids"].items() if state != "starting"]
                if waiting:
                    # It may have been cut off, and ended, meanwhile.
                    with suppress(ProcessLookupError):
                        os.kill(random.choice(waiting), signal.SIGKILL)
                        kills += 1
        whole = server.until(lambda stats: list(stats["pids"].values()).count("waiting") == WORKERS)
    verdict = Verdict([f"9: {text}" for text in load.answers.faults(limit=WAIT + starting)])
    if not whole:
        verdict.faults.append(f"9: not all workers found a place: {server.stats()['pids']}")
    if set(load.answers.outcomes) - {"reply", "worker-lost"}:
        verdict.faults.append(f"9: outcomes were {dict(load.answers.outcomes)}")
    verdict.facts.append(f"{load.answers.total()} answers, {kills} kills, longest wait {load.answers.longest:.2f} s")
    return verdict


def forks(trial: Trial) -> Verdict:
    """Let each worker leave a process behind that has all open that the worker had, and be replaced."""
    left = trial.stage.path("forked")
    server = Server(
        trial.stage,
        2,
        "--max-requests=1",
        "--max-requests-jitter=0",
        f"--max-connections={CONNECTIONS}",
        environment={"PIRATE_TRIAL_FORKED": str(left)},
    ).ready()
    verdict = Verdict()
    forked = 0
    try:
        while forked < FORKS:
            answer = askOnce(server.frontend, b"fork", within=max(trial.seconds / 2, 5))
            if answer != {}:
                verdict.faults.append(f"9: no worker after {forked} forks: {answer or 'no answer'}")
                break
            forked += 1
        server.until(lambda stats: stats["connections"]["backend"]["open"] <= 4, PATIENCE / 4)
        verdict.limit("9: backend connections", server.stats()["connections"]["backend"]["open"], 4, "")
        if askOnce(server.frontend, b"echo", within=PATIENCE / 2) != {}:
            verdict.faults.append("9: nobody serves any more")
    finally:
        for pid in map(int, left.read_text().split() if left.exists() else []):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    verdict.facts.append(f"{forked} forks")
    return verdict


PLACES = (
    Case("cutoff", "9: workers come and go while strangers take every place of the backend", cutOff),
    Case("forks", "9: apps leave processes behind that outlive their workers", forks),
)
