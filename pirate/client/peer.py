"""A connection as the session sees it that sends by it."""

from __future__ import annotations

from typing import Protocol

from pirate.client.call import Call
from pirate.client.sizes import SizeLimits
from pirate.wire.words import Frames


class MessageSink(Protocol):
    """What a session asks of a connection."""

    def send(self, frames: Frames) -> bool:
        """Send a message; false if it is not taken now."""

    def reopen(self) -> None:
        """Replace it by a new one to the same endpoint."""


class Peer:
    """
    A connection as its session sees it.

    :ivar endpoint: its address.
    :ivar connection: what sends.
    :ivar connected: whether there is a connection to the server.
    :ivar ready: whether it takes messages, as far as is known.
    :ivar inFlight: how many calls were sent there and not answered yet.
    :ivar heard: when a message came last.
    :ivar pinged: since when an answer to a ping is waited for; ``None`` if none is.
    :ivar suspect: whether it has left a ping without an answer.
    :ivar silent: whether a whole call has passed there without a sign of life.
    :ivar stopping: whether its server has said that it takes no more.
    :ivar denied: whether its server does not let it in.
    :ivar call: the call that was sent there last, and is in hand if it is a plain one.
    :ivar limits: how large a message its server takes; ``None`` if that is not known.
    :ivar held: the calls that wait until it is.
    """

    __slots__ = (
        *("call", "connected", "connection", "denied", "endpoint", "heard", "held", "inFlight", "limits", "pinged"),
        *("ready", "silent", "stopping", "suspect"),
    )

    def __init__(self, endpoint: str, connection: MessageSink) -> None:
        self.endpoint = endpoint
        self.connection = connection
        self.connected = False
        self.ready = False
        self.inFlight = 0
        self.heard = -float("inf")
        self.pinged: float | None = None
        self.suspect = False
        self.silent = False
        self.stopping = False
        self.denied = False
        self.call: Call | None = None
        self.limits: SizeLimits | None = None
        self.held: dict[Call, None] = {}
