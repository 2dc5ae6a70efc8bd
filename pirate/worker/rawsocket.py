"""
The calls of a ZeroMQ socket without pyzmq's Python layer, for what runs once for every message or frame.

:mod:`pirate.transport.rawsocket` says why; this is the same for a process that must not load the server's rooms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zmq

SNDMORE = int(zmq.SNDMORE)
NOBLOCK = int(zmq.NOBLOCK)
EVENTS = int(zmq.EVENTS)
POLLIN = int(zmq.POLLIN)
RCVMORE = int(zmq.RCVMORE)


def rawCalls(socket: zmq.Socket[bytes]) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """
    Return a socket's ``recv(flags, copy)``, ``send(frame, flags)`` and ``get(option)``.

    A socket that is not pyzmq's, such as a simulated one, has no Python layer to leave out.
    """
    raw: Any = super(zmq.Socket, socket) if isinstance(socket, zmq.Socket) else socket
    return raw.recv, raw.send, raw.get
