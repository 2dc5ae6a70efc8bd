"""The file descriptors of the server's process: how many it may have, and who gets them."""

from __future__ import annotations

import resource

from pirate.errors import ConfigurationError
from pirate.pool.pool import TOTAL_FACTOR
from pirate.settings.limits import PoolLimits
from pirate.transport.interfaces import ConnectionLimits

#: Descriptors that each worker takes in the server's process: three pipes and a connection.
FOR_WORKER = 4
#: Descriptors for everything else but clients: the reactor, ZeroMQ, the log, the further pipes of a worker that is
#: being started, and a reserve.
FOR_SERVER = 64
#: The least number of connections to leave for clients and for peers of the backend that are not the server's workers.
MIN_CONNECTIONS = 8
#: 1/FREE_PART of the remainder stays free, because an excess connection is accepted before it is closed.
FREE_PART = 8


def maxChildren(limits: PoolLimits) -> int:
    """Return the most children that there can be at a time, those that are being replaced or leaving included."""
    return TOTAL_FACTOR * limits.maxServers + (limits.maxDequeue if limits.checkForDequeue else 0)


def shareDescriptors(files: int, limits: PoolLimits, maxConnections: int) -> ConnectionLimits:
    """
    Divide the descriptors that the server itself and its workers do not need between both sockets.

    :param files: the number of descriptors that this process may have.
    :param limits: the limits of the pool, for the number of workers.
    :param maxConnections: the number of connections requested for each socket; 0: as many as possible.
    :raise ConfigurationError: if there are too few.
    """
    needed = FOR_SERVER + FOR_WORKER * maxChildren(limits)
    left = (files - needed) * (FREE_PART - 1) // FREE_PART
    if left < MIN_CONNECTIONS:
        least = needed + -(-MIN_CONNECTIONS * FREE_PART // (FREE_PART - 1))
        raise ConfigurationError(
            f"max-servers ({limits.maxServers}) needs {least} file descriptors, but {files} are allowed: raise that "
            "limit (ulimit -Hn), or lower max-servers"
        )
    most = left - MIN_CONNECTIONS // 4
    backend = max(left // 4, MIN_CONNECTIONS // 4)
    if not maxConnections:
        return ConnectionLimits(left - backend, backend)
    if maxConnections > most:
        raise ConfigurationError(
            f"max-connections ({maxConnections}) is too much: of {files} file descriptors {most} are left for clients; "
            "raise that limit (ulimit -Hn), or lower max-connections or max-servers"
        )
    return ConnectionLimits(maxConnections, min(maxConnections, left - maxConnections))


def descriptorLimit() -> int:
    """Return the number of descriptors that this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def raiseDescriptorLimit(limits: PoolLimits, maxConnections: int = 0) -> int:
    """
    Raise this process's limit of descriptors to the hard limit, because each client needs one.

    :param limits: the limits of the pool, for the number of workers.
    :param maxConnections: the number of connections requested for each socket; 0: as many as possible.
    :return: the new limit.
    :raise ConfigurationError: if it is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            # Some systems have a lower limit for all processes, which getrlimit does not report.
            hard = soft
    if hard != resource.RLIM_INFINITY:
        shareDescriptors(hard, limits, maxConnections)
    return hard
