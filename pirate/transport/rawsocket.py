"""
The calls of a ZeroMQ socket without pyzmq's Python layer, for what runs once for every message or frame.

pyzmq's ``Socket`` is a Python class above one written in C.  Its methods check and convert what is not used here, and
cost more than the C calls under them.  The constants are plain ints, because a member of ``zmq``'s enumerations costs
ten times as much to pass.  The rooms ``client`` and ``worker`` do the same in modules of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import zmq

NOBLOCK = int(zmq.NOBLOCK)
SNDMORE = int(zmq.SNDMORE) | NOBLOCK
EVENTS = int(zmq.EVENTS)
POLLIN = int(zmq.POLLIN)


class RawCalls(NamedTuple):
    """
    The calls of one socket.

    :ivar receive: ``recv(flags, copy)``, of one frame: ``bytes``, or a ``zmq.Frame`` if ``copy`` is false.
    :ivar send: ``send(frame, flags)``.
    :ivar get: ``get(option)``.
    """

    receive: Callable[..., Any]
    send: Callable[..., Any]
    get: Callable[..., Any]


def rawCalls(socket: Any) -> RawCalls:
    """Return the calls of a ``zmq.Socket``; keep them, because finding them costs more than they save once."""
    raw: Any = super(zmq.Socket, socket)
    return RawCalls(raw.recv, raw.send, raw.get)
