"""One client that sends as fast as it can, and reads what comes back."""

from __future__ import annotations

import sys
from contextlib import suppress
from time import monotonic

import zmq
from job import HEAD, SIZE


def main(endpoint: str, seconds: str) -> None:
    """Flood a server for so many seconds, and print how many requests were sent."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(endpoint)
    body = HEAD.pack(0, 0) + bytes(SIZE - HEAD.size)
    sent = 0
    until = monotonic() + float(seconds)
    while monotonic() < until:
        for _ in range(64):
            if not socket.poll(10, zmq.POLLOUT):
                break
            socket.send_multipart([b"", body], zmq.NOBLOCK)
            sent += 1
        with suppress(zmq.Again):
            while True:
                socket.recv_multipart(zmq.NOBLOCK)
    context.destroy(0)
    print("sent", sent, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
