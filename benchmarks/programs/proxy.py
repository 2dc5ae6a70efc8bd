"""libzmq's own proxy between a ROUTER and a DEALER: in C, without supervision, balancing or a queue of its own."""

from __future__ import annotations

import sys

import zmq


def main(frontendEndpoint: str, backendEndpoint: str) -> None:
    """Pass everything on, for ever."""
    context = zmq.Context()
    frontend, backend = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    frontend.bind(frontendEndpoint)
    backend.bind(backendEndpoint)
    print("ready", flush=True)
    zmq.proxy(frontend, backend)


if __name__ == "__main__":
    main(*sys.argv[1:])
