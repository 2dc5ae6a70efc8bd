"""A worker of gearmand, as lean as Python can be: a result and the question for the next job are one call."""

from __future__ import annotations

import sys

from gearsocket import (
    CAN_DO,
    FUNCTION,
    GRAB_JOB,
    JOB_ASSIGN,
    NO_JOB,
    NOOP,
    PRE_SLEEP,
    WORK_COMPLETE,
    Packets,
    connect,
    packet,
)
from job import work


def main(endpoint: str) -> None:
    """Do jobs for ever."""
    connection, packets = connect(endpoint), Packets()
    grab, sleep = packet(GRAB_JOB), packet(PRE_SLEEP)
    connection.sendall(packet(CAN_DO, FUNCTION) + grab)
    print("ready", flush=True)
    while data := connection.recv(1 << 16):
        for kind, body in packets.feed(data):
            if kind == JOB_ASSIGN:
                handle, _, payload = body.split(b"\0", 2)
                connection.sendall(packet(WORK_COMPLETE, handle, *work(payload)) + grab)
            elif kind == NO_JOB:
                connection.sendall(sleep)
            elif kind == NOOP:
                connection.sendall(grab)


if __name__ == "__main__":
    main(*sys.argv[1:])
