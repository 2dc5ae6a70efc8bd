"""What a client tells while its calls wait for a connection."""

from __future__ import annotations

from pirate.wire.words import Value


class Outage(Value):
    """
    Calls wait for a connection; or there is one again.  As a text it is a line for the user.

    :ivar kind: ``lost``: a connection was lost with calls under way; ``unreachable``: calls have waited for a second
        and there has been no connection; ``connected``: one of these is over.
    :ivar endpoint: the server's address; with ``unreachable`` all that the calls may be sent to.
    :ivar calls: how many calls wait.
    """

    __slots__ = ("calls", "endpoint", "kind")

    def __init__(self, kind: str, endpoint: str, calls: int) -> None:
        self.kind = kind
        self.endpoint = endpoint
        self.calls = calls

    def __str__(self) -> str:
        if self.kind == "lost":
            return f"connection to {self.endpoint} lost, waiting"
        return f"waiting for {self.endpoint}" if self.kind == "unreachable" else f"connected to {self.endpoint}"
