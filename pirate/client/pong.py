"""What a server says when it is asked how it is."""

from __future__ import annotations

from typing import Any

from pirate.client.call import Call
from pirate.client.errors import CallError
from pirate.wire.words import Value


class Pong(Value):
    """
    A server's answer to a ping.

    :ivar endpoint: the server's address.
    :ivar server: its kind: ``pirate``.
    :ivar version: its version.
    :ivar waiting: how many of its workers are idle.
    :ivar backlog: how many requests wait there.
    """

    __slots__ = ("backlog", "endpoint", "server", "version", "waiting")

    def __init__(self, endpoint: str, server: str, version: str, waiting: int, backlog: int) -> None:
        self.endpoint = endpoint
        self.server = server
        self.version = version
        self.waiting = waiting
        self.backlog = backlog


def pong(call: Call) -> Pong:
    """
    What a ping that has ended gives.

    :raise CallError: if that is no answer.
    """
    if call.error is not None:
        raise call.error
    told: dict[str, Any] = {} if call.answer is None else call.answer.options
    if "server" not in told:
        raise CallError(f"{call.endpoint} does not know what a ping is: it is not pirate", call.endpoint, call.key)
    return Pong(
        call.endpoint, str(told["server"]), str(told.get("version")), _number(told, "waiting"), _number(told, "backlog")
    )


def _number(told: dict[str, Any], name: str) -> int:
    value = told.get(name)
    return value if isinstance(value, int) else 0
