"""
Many plain workers in one process, each a connection of one ROUTER socket.

They speak as Perl's workers do: ``processing``, the reply, ``waiting``.  The broker must admit workers of others.
"""

from __future__ import annotations

import sys

import zmq
from job import work


def main(endpoint: str, count: str) -> None:
    """Answer requests for ever."""
    socket = zmq.Context().socket(zmq.ROUTER)
    socket.set_hwm(0)
    for number in range(int(count)):
        name = b"worker-%d" % number
        socket.setsockopt(zmq.CONNECT_ROUTING_ID, name)
        socket.connect(endpoint)
        socket.send_multipart([name, b"", b"waiting"])
    print("ready", flush=True)
    while True:
        name, _, request, _, *body = socket.recv_multipart()
        socket.send_multipart([name, b"", b"processing"])
        socket.send_multipart([name, b"", request, b"", *work(*body)])
        socket.send_multipart([name, b"", b"waiting"])


if __name__ == "__main__":
    main(*sys.argv[1:])
