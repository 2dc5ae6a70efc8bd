"""The answer of a server to a ping."""

from __future__ import annotations

from typing import Any

from pirate.client.call import Call
from pirate.client.errors import CallError
from pirate.wire.words import Condition, Value


class PingReply(Value):
    """
    The state of a server.

    :ivar endpoint: the server's address.
    :ivar server: the kind of the server: ``pirate``.
    :ivar version: its version.
    :ivar state: ``starting``, ``ready``, ``no-workers`` (all have died, or none can start) or ``stopping``; ``unknown``
        if the server does not state it.
    :ivar workers: how many workers are ready for requests.
    :ivar busy: how many of them have a request in flight.
    :ivar idle: how many of them have none.
    :ivar backlog: how many requests wait for a worker.
    """

    __slots__ = ("backlog", "busy", "endpoint", "idle", "server", "state", "version", "workers")

    def __init__(
        self, endpoint: str, server: str, version: str, state: str, workers: int, busy: int, idle: int, backlog: int
    ) -> None:
        self.endpoint = endpoint
        self.server = server
        self.version = version
        self.state = state
        self.workers = workers
        self.busy = busy
        self.idle = idle
        self.backlog = backlog

    @property
    def ready(self) -> bool:
        """Whether the server has workers for requests."""
        return self.state == Condition.READY


def pingReply(call: Call) -> PingReply:
    """
    Return the answer to a ping that has ended.

    :raise CallError: if it ended in an error, or the server does not know pings.
    """
    if call.error is not None:
        raise call.error
    options: dict[str, Any] = {} if call.reply is None else call.reply.options
    if "server" not in options:
        raise CallError(
            f"{call.endpoint} does not answer pings: it is not a pirate server", call.endpoint, call.request
        )
    numbers = (_number(options, name) for name in ("workers", "busy", "idle", "backlog"))
    state = str(options.get("state", "unknown"))
    return PingReply(call.endpoint, str(options["server"]), str(options.get("version")), state, *numbers)


def _number(options: dict[str, Any], name: str) -> int:
    value = options.get(name)
    return value if isinstance(value, int) else 0
