"""A worker behind libzmq's proxy: a REP socket."""

from __future__ import annotations

import sys

import zmq
from job import work


def main(endpoint: str) -> None:
    """Answer requests for ever."""
    socket = zmq.Context().socket(zmq.REP)
    socket.connect(endpoint)
    print("ready", flush=True)
    while True:
        socket.send_multipart(work(*socket.recv_multipart()))


if __name__ == "__main__":
    main(*sys.argv[1:])
