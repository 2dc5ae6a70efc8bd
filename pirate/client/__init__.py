"""
Clients of a pirate server: one pure core (``call``) and the faces over it, of which the first is blocking.

Nothing here needs Twisted: pyzmq and the standard library are enough to call a server.
"""

from pirate.client.blocking import Client
from pirate.client.errors import (
    AppError,
    Busy,
    CallError,
    Cancelled,
    Denied,
    Expired,
    Malformed,
    MisuseError,
    Overtime,
    Stopping,
    Timeout,
    UnknownService,
    WorkerLost,
)

__all__ = [
    "AppError",
    "Busy",
    "CallError",
    "Cancelled",
    "Client",
    "Denied",
    "Expired",
    "Malformed",
    "MisuseError",
    "Overtime",
    "Stopping",
    "Timeout",
    "UnknownService",
    "WorkerLost",
]
