"""A worker of the least-recently-used queue: a REQ socket, as in the ZeroMQ guide."""

from __future__ import annotations

import sys

import zmq
from job import work
from lruqueue import READY


def main(endpoint: str) -> None:
    """Answer requests for ever."""
    socket = zmq.Context().socket(zmq.REQ)
    socket.connect(endpoint)
    socket.send(READY)
    print("ready", flush=True)
    while True:
        client, empty, *body = socket.recv_multipart()
        socket.send_multipart([client, empty, *work(*body)])


if __name__ == "__main__":
    main(*sys.argv[1:])
