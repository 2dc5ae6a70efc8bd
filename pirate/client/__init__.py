"""
Clients of a pirate server: one pure core and four APIs.

:class:`Client` blocks, :class:`Executor` is a ``concurrent.futures.Executor``, :class:`TwistedClient` returns Deferreds
and :class:`AsyncClient` coroutines.  Calling a server takes pyzmq and the standard library; what else an API needs is
imported when it is first used.

``call``, ``endpoints``, ``schedule`` and ``session`` are the core: they know neither sockets nor clocks.
``connection`` owns the sockets; ``threaddriver`` drives them in threads and ``loop`` in an event loop.

May import: ``errors``, ``wire``, ``pickled``; inside functions only, ``auth.keys``.  May be imported by: ``commands``,
``testing``; inside functions only, ``service`` (only ``codecs``), ``server`` (only ``codecs``, ``errors``).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pirate.client.blocking import Client
from pirate.client.call import Call
from pirate.client.codecs import Codec
from pirate.client.endpoints import Outage
from pirate.client.errors import (
    AppError,
    Busy,
    CallError,
    Cancelled,
    Denied,
    Expired,
    JobTimedOut,
    Malformed,
    MisuseError,
    Stopping,
    Timeout,
    TooLarge,
    Unavailable,
    UnknownService,
    WorkerLost,
)
from pirate.client.ping import PingReply

if TYPE_CHECKING:
    from pirate.client.asyncclient import AsyncClient
    from pirate.client.executor import Executor
    from pirate.client.twistedclient import TwistedClient

__all__ = [
    "AppError",
    "AsyncClient",
    "Busy",
    "Call",
    "CallError",
    "Cancelled",
    "Client",
    "Codec",
    "Denied",
    "Executor",
    "Expired",
    "JobTimedOut",
    "Malformed",
    "MisuseError",
    "Outage",
    "PingReply",
    "Stopping",
    "Timeout",
    "TooLarge",
    "TwistedClient",
    "Unavailable",
    "UnknownService",
    "WorkerLost",
]

#: The APIs that import something slow, and their modules.
_IMPORTED_LATER = {
    "AsyncClient": "pirate.client.asyncclient",
    "Executor": "pirate.client.executor",
    "TwistedClient": "pirate.client.twistedclient",
}


def __getattr__(name: str) -> Any:
    if name in _IMPORTED_LATER:
        return getattr(import_module(_IMPORTED_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
