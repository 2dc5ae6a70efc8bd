"""The ZeroMQ guide's least-recently-used queue, in plain pyzmq: two ROUTERs and a poll loop."""

from __future__ import annotations

import sys
from collections import deque

import zmq

#: What a worker says when it starts.
READY = b"READY"


def main(frontendEndpoint: str, backendEndpoint: str) -> None:
    """Hand each request to the worker that has been idle longest, for ever."""
    context = zmq.Context()
    frontend, backend = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
    frontend.bind(frontendEndpoint)
    backend.bind(backendEndpoint)
    onlyBackend, both = zmq.Poller(), zmq.Poller()
    for poller in (onlyBackend, both):
        poller.register(backend, zmq.POLLIN)
    both.register(frontend, zmq.POLLIN)
    workers: deque[bytes] = deque()
    print("ready", flush=True)
    while True:
        events = dict((both if workers else onlyBackend).poll())
        if backend in events:
            worker, _, *message = backend.recv_multipart()
            workers.append(worker)
            if message[0] != READY:
                frontend.send_multipart(message)
        if frontend in events:
            message = frontend.recv_multipart()
            backend.send_multipart([workers.popleft(), b"", *message])


if __name__ == "__main__":
    main(*sys.argv[1:])
