"""
A client that asks one question after the other, C{python -m pirate.test.integration.goodclient ENDPOINT}.

For each that takes long it writes a line: when it began, on the system's monotonic clock, and how many seconds it took.
A line C{ready} is the first.  TERM ends it; then it says how many questions it has asked, and how many
were not answered rightly.
"""

from __future__ import annotations

import signal
import sys
from time import monotonic, sleep

import zmq

#: The routing id that it has, for others to claim.
NAME = b"the good client"
#: Seconds of a request that is worth a line; seconds for which one is waited; seconds between two requests.
LONG, PATIENCE, PAUSE = 0.002, 30, 0.001


def main() -> None:
    """Ask until told to stop."""
    context = zmq.Context()
    req = context.socket(zmq.REQ)
    req.linger = 0
    req.rcvtimeo = PATIENCE * 1000
    req.identity = NAME
    req.connect(sys.argv[1])
    asked = wrong = 0
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    while not told:
        sleep(PAUSE)
        asked += 1
        question = b"question %d" % asked
        began = monotonic()
        req.send(question)
        try:
            wrong += req.recv_multipart() != [question]
        except zmq.Again:
            wrong += 1
            break
        took = monotonic() - began
        if asked == 1:
            print("ready", flush=True)
        elif took > LONG:
            print(f"{began} {took}", flush=True)
    print(f"asked {asked}, wrong {wrong}", flush=True)
    context.destroy()


if __name__ == "__main__":
    main()
