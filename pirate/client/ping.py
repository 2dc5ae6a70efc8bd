"""What a server says when it is asked how it is."""

from __future__ import annotations

from typing import Any

from pirate.client.call import Call
from pirate.client.errors import CallError
from pirate.wire.words import Condition, Value


class PingReply(Value):
    """
    A server's answer to a ping.

    :ivar endpoint: the server's address.
    :ivar server: its kind: ``pirate``.
    :ivar version: its version.
    :ivar state: ``starting``, ``ready``, ``no-workers`` (they all died, or cannot start) or ``stopping``; ``unknown``
        if the server does not tell.
    :ivar workers: how many workers have started and serve.
    :ivar busy: how many of them hold a request.
    :ivar idle: how many of them hold none.
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
    Return what a ping that has ended gives.

    :raise CallError: if that is no answer.
    """
    if call.error is not None:
        raise call.error
    told: dict[str, Any] = {} if call.answer is None else call.answer.options
    if "server" not in told:
        raise CallError(f"{call.endpoint} does not know what a ping is: it is not pirate", call.endpoint, call.key)
    numbers = (_number(told, name) for name in ("workers", "busy", "idle", "backlog"))
    state = str(told.get("state", "unknown"))
    return PingReply(call.endpoint, str(told["server"]), str(told.get("version")), state, *numbers)


def _number(told: dict[str, Any], name: str) -> int:
    value = told.get(name)
    return value if isinstance(value, int) else 0
