"""How many file descriptors this process may have, and how many a server needs."""

from __future__ import annotations

import resource

from pirate.errors import ConfigurationError
from pirate.settings.limits import PoolLimits
from pirate.transport.interfaces import ConnectionLimits

#: Descriptors of a worker, in its parent: three pipes, and its connection.
FOR_WORKER = 4
#: Descriptors for all else but clients: the reactor's, ZeroMQ's, the log's, the further pipes of a worker that is being
#: started, two workers more than there may be while old ones are replaced, and some to spare.
FOR_SERVER = 64
#: Connections that there must be room for: of clients, and of peers on the backend that are not our own workers.
LEAST = 8
#: One part in so many of what is left stays free: connections that are too many are accepted before they are closed.
FREE = 8


def workersOf(limits: PoolLimits) -> int:
    """Return how many children there may be at a time."""
    return limits.maxServers + (limits.maxDequeue if limits.checkForDequeue else 0)


def sharePlaces(files: int, limits: PoolLimits, maxConnections: int) -> ConnectionLimits:
    """
    Share what the server itself and its workers do not need.

    :param files: how many descriptors this process may have.
    :param limits: how many workers there may be.
    :param maxConnections: how many connections of each socket were asked for; 0: as many as there can be.
    :raise ConfigurationError: if there are not enough.
    """
    needed = FOR_SERVER + FOR_WORKER * workersOf(limits)
    left = (files - needed) * (FREE - 1) // FREE
    if left < LEAST:
        raise ConfigurationError(
            f"max-servers ({limits.maxServers}) needs {needed + -(-LEAST * FREE // (FREE - 1))} file descriptors, but "
            f"{files} are allowed: raise that limit (ulimit -Hn), or lower max-servers"
        )
    backend = max(left // 4, LEAST // 4)
    if not maxConnections:
        return ConnectionLimits(left - backend, backend)
    if maxConnections > left - LEAST // 4:
        raise ConfigurationError(
            f"max-connections ({maxConnections}) is too much: of {files} file descriptors {left - LEAST // 4} are left "
            "for clients; raise that limit (ulimit -Hn), or lower max-connections or max-servers"
        )
    return ConnectionLimits(maxConnections, min(maxConnections, left - maxConnections))


def openFiles() -> int:
    """Return how many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def allowDescriptors(limits: PoolLimits, maxConnections: int = 0) -> int:
    """
    Allow this process as many descriptors as the system lets it: each client needs one.

    :param limits: how many workers there may be.
    :param maxConnections: how many connections of each socket were asked for; 0: as many as there can be.
    :return: how many it may have now.
    :raise ConfigurationError: if that is not enough.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            # Some systems have a lower limit for all processes, of which this one does not tell.
            hard = soft
    if hard != resource.RLIM_INFINITY:
        sharePlaces(hard, limits, maxConnections)
    return hard
