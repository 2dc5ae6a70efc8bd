"""The settings that the helpers take which start a real server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from pirate.errors import ConfigurationError
from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.settings.settings import EndpointSetting, Settings
from pirate.settings.table import table

#: The classes of the settings, each of which has a part of them.
OWNERS = (PoolLimits, RequestPolicy, PeerLimits, Settings)


class ServerArguments(TypedDict, total=False):
    """
    The settings that :func:`~pirate.testing.serving` and :meth:`~pirate.testing.ServerMixin.startServer` take.

    These are all settings, by their names in Python and whatever class they belong to, but ``app`` and ``hooks``, which
    are arguments of their own.
    """

    frontend: EndpointSetting
    backend: EndpointSetting
    prefetch: int | Literal["auto"] | None
    concurrency: int
    threads: int
    loop: Literal["auto", "asyncio", "twisted"]
    dequeue: str | Callable[..., Any] | None
    externalWorkers: bool
    errorReply: bool
    curveSecret: str | None
    curveClients: str | None
    curveWorkers: str | None
    allow: str | Sequence[str]
    deny: str | Sequence[str]
    insecure: bool
    logLevel: int
    minServers: int
    maxServers: int
    minSpareServers: int
    maxSpareServers: int
    maxRequests: int
    maxRequestsJitter: int
    maxMemory: float
    maxAge: float
    checkForWaiting: float
    minChildTtl: float
    checkForDead: float
    checkForDequeue: float
    maxDequeue: int
    dequeueTimeout: float
    startTimeout: float
    reloadTimeout: float
    stopTimeout: float
    maxAttempts: int
    requestTimeout: float
    jobTimeout: float
    jobSoftTimeout: float
    deliveryTimeout: float
    cancelGrace: float
    backlog: int
    backlogMib: float
    backlogPolicy: Literal["wait", "reject"]
    clientShare: float
    rememberSeconds: float
    rememberEntries: int
    rememberMib: float
    maxMessageSize: float
    maxMessageFrames: int
    maxMessageTotal: float
    maxConnections: int
    clientRequests: int
    rate: float
    burst: int
    handshakeTimeout: float
    heartbeat: float


def completeSettings(given: Mapping[str, Any], workers: int) -> dict[str, Any]:
    """
    Return the settings for a server on free ports of the loopback interface.

    :param given: the settings that the caller has given.
    :param workers: the number of workers, unless ``minServers`` or ``maxServers`` is given.
    :raise ConfigurationError: if a setting does not exist.
    """
    known = ServerArguments.__annotations__
    for name in given:
        if name not in known:
            raise ConfigurationError(
                f"unknown setting {name!r}: settings have the names of their fields in Python, such as maxRequests"
            )
    pool = {} if {"minServers", "maxServers"} & set(given) else {"minServers": workers, "maxServers": workers}
    return {"frontend": "*", "backend": "*", **pool, **given}


def settingsOf(owner: type[Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those settings that are declared by a class."""
    return {each.attribute: settings[each.attribute] for each in table(owner) if each.attribute in settings}
