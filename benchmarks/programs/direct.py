"""No broker: one process that the clients are connected to runs the jobs itself.  It is the ceiling."""

from __future__ import annotations

import sys
from typing import Any

import zmq
from job import work

_MORE = int(zmq.SNDMORE)


def main(endpoint: str) -> None:
    """Answer requests for ever."""
    socket = zmq.Context().socket(zmq.ROUTER)
    socket.bind(endpoint)
    print("ready", flush=True)
    # What pyzmq's own methods stand on, as in pirate's worker: a ceiling should not be lower than it need be.
    plain: Any = super(zmq.Socket, socket)
    receive, send = plain.recv, plain.send
    while True:
        frame = receive(0, False)
        frames = [frame.bytes]
        while frame.more:
            frame = receive(0, False)
            frames.append(frame.bytes)
        client, empty, *body = frames
        *first, last = work(*body)
        send(client, _MORE)
        send(empty, _MORE)
        for each in first:
            send(each, _MORE)
        send(last)


if __name__ == "__main__":
    main(*sys.argv[1:])
