"""
Clients of a pirate server: one pure core (``call``, ``session``) and the faces over it.

``Client`` blocks, ``Executor`` is one of ``concurrent.futures``, ``TwistedClient`` gives Deferreds, ``AsyncClient``
coroutines.  To call a server takes pyzmq and the standard library; what else a face needs is loaded when it is asked
for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pirate.client.blocking import Client
from pirate.client.call import Call
from pirate.client.codecs import Codec
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
from pirate.client.outage import Outage
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

#: The faces that need something that is slow to import, and where they are.
_LATER = {
    "AsyncClient": "pirate.client.asyncclient",
    "Executor": "pirate.client.executor",
    "TwistedClient": "pirate.client.twistedclient",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
