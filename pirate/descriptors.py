"""How many file descriptors this process may have, and how many a server needs."""

from __future__ import annotations

import resource

from pirate.errors import ConfigurationError
from pirate.limits import Limits

#: Descriptors of a worker, in its parent: three pipes, and its connection.
FOR_WORKER = 4
#: Descriptors for all else but clients: the reactor's, ZeroMQ's, the log's, and some to spare.
FOR_SERVER = 64


def allowDescriptors(limits: Limits) -> int:
    """
    Allow this process as many descriptors as the system lets it: each client needs one.

    :param limits: how many workers there may be.
    :return: how many it may have now.
    :raise ConfigurationError: if that is not enough even for the workers.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            # Some systems have a lower limit for all processes, of which this one does not tell.
            hard = soft
    workers = limits.maxServers + (limits.maxDequeue if limits.checkForDequeue else 0)
    needed = FOR_SERVER + FOR_WORKER * workers
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigurationError(
            f"max-servers ({limits.maxServers}) needs {needed} file descriptors, but {hard} are allowed: "
            "raise that limit (ulimit -Hn), or lower max-servers"
        )
    return hard
