"""Gearman's binary protocol, as lean as Python can speak it: packets are put together, and sent in one call."""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Iterable
from struct import Struct
from urllib.parse import urlsplit

#: The beginning of a packet: a magic word, the type, and the size of what follows.
_HEADER = Struct(">4sII")
REQUEST, RESPONSE = b"\0REQ", b"\0RES"
#: Types of packets.
CAN_DO, PRE_SLEEP, NOOP, SUBMIT_JOB, JOB_CREATED, GRAB_JOB, NO_JOB, JOB_ASSIGN, WORK_COMPLETE = (
    1,
    4,
    6,
    7,
    8,
    9,
    10,
    11,
    13,
)
#: The name of the job.
FUNCTION = b"job"
_READ = 1 << 16


def packet(kind: int, *arguments: bytes) -> bytes:
    """Return a packet to the server."""
    body = b"\0".join(arguments)
    return _HEADER.pack(REQUEST, kind, len(body)) + body


class Packets:
    """Takes apart what comes from a server."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """
        Return the packets that are whole.

        :return: the type and the body of each.
        :raise ValueError: if it is not a server that speaks.
        """
        data = self._rest + data
        found, at, size = [], 0, len(data)
        while size - at >= _HEADER.size:
            magic, kind, length = _HEADER.unpack_from(data, at)
            if magic != RESPONSE:
                raise ValueError(f"no packet begins with {magic!r}")
            end = at + _HEADER.size + length
            if end > size:
                break
            found.append((kind, data[at + _HEADER.size : end]))
            at = end
        self._rest = data[at:]
        return found


def connect(endpoint: str) -> socket.socket:
    """Connect to ``tcp://host:port``."""
    parts = urlsplit(endpoint)
    connection = socket.create_connection((parts.hostname, parts.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class GearPipe:
    """A client: submits jobs, and finds the request of each result by the handle of its job."""

    def __init__(self, endpoint: str) -> None:
        self._socket = connect(endpoint)
        self._packets = Packets()
        self._submitted: deque[bytes] = deque()
        self._jobs: dict[bytes, bytes] = {}

    def send(self, payloads: Iterable[bytes]) -> None:
        """Submit jobs."""
        payloads = list(payloads)
        self._submitted.extend(payloads)
        self._socket.sendall(b"".join(packet(SUBMIT_JOB, FUNCTION, b"", each) for each in payloads))

    def receive(self, wait: float | None) -> list[tuple[bytes, bytes]]:
        """
        Return the requests that are done, and the result of each.

        :param wait: the seconds to wait for one; ``None``: as long as it takes.
        """
        if wait is not None and not select.select([self._socket], [], [], wait)[0]:
            return []
        data = self._socket.recv(_READ)
        if not data:
            raise SystemExit("the server has closed the connection")
        done = []
        for kind, body in self._packets.feed(data):
            if kind == JOB_CREATED:
                self._jobs[body] = self._submitted.popleft()
            elif kind == WORK_COMPLETE:
                handle, _, result = body.partition(b"\0")
                done.append((self._jobs.pop(handle), result))
            else:
                raise SystemExit(f"the server sends a packet of type {kind}")
        return done
