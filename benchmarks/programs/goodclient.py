"""
A plain client that asks one question after the other, ``python goodclient.py ENDPOINT DEED``.

It writes a line for each: when it began, on the system's monotonic clock, and how many seconds it took.  A line
``ready`` is the first.  TERM ends it; a question that is under way then has a line as well, with the time that it has
waited so far.  The last line says how many questions it has asked, and how many were answered wrongly or not at all.
"""

from __future__ import annotations

import signal
import sys
from time import monotonic, sleep

import zmq

#: The routing id that it has, for others to claim.
NAME = b"the good client"
#: Seconds between two questions, and between two looks at whether to end.
PAUSE, LOOK = 0.004, 0.05


def main(endpoint: str, deed: str) -> None:
    """Ask until told to stop."""
    context = zmq.Context()
    req = context.socket(zmq.REQ)
    req.linger = 0
    req.identity = NAME
    req.connect(endpoint)
    asked = wrong = 0
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    waits: list[tuple[float, float]] = []
    while not told:
        asked += 1
        question = b"%d" % asked
        began = monotonic()
        req.send_multipart([question, deed.encode()])
        answered = False
        while not told and not answered:
            answered = bool(req.poll(int(LOOK * 1000)))
        if answered:
            wrong += req.recv_multipart()[0] != question
        waits.append((began, monotonic() - began))
        if asked == 1:
            print("ready", flush=True)
        sleep(PAUSE)
    print("\n".join(f"{began} {took}" for began, took in waits))
    print(f"asked {asked}, wrong {wrong}", flush=True)
    context.destroy(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
