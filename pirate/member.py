"""A child and its process, joined by a routing id and a secret."""

from __future__ import annotations

import secrets
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from pirate.child import Child, Kind
from pirate.process import WorkerProcess
from pirate.wire.backend import Status


class Member:
    """
    A child and its process.

    :ivar process: the process, which the supervisor makes.
    :ivar identity: its routing id on the backend.
    :ivar token: the secret by which it proves itself.
    :ivar told: the state that the hooks were last told of.
    :ivar left: whether it has said that it is leaving.
    :ivar burial: when what it held is given to others, if its last answers may still come.
    """

    def __init__(self, child: Child) -> None:
        self.child = child
        self.process: WorkerProcess
        self.identity = b""
        self.token = secrets.token_hex(16)
        self.told = child.state
        self.left = False
        self.burial: IDelayedCall | None = None

    def spawn(self, reactor: Any, job: dict[str, Any]) -> None:
        """
        Start the process, and give it its job.

        :param job: what every worker is told, but for its identity and token.
        :raise OSError: if the system refuses.
        """
        self.process.spawn(reactor)
        self.identity = f"child_{self.process.pid}_{secrets.token_hex(4)}".encode()
        dequeue = job["dequeue"] if self.child.kind is Kind.DEQUEUE else None
        self.process.begin({**job, "identity": self.identity.decode(), "token": self.token, "dequeue": dequeue})

    def isProved(self, status: Status) -> bool:
        """Whether a status carries this child's token."""
        if status.info is None:
            return False
        return secrets.compare_digest(status.info.token.encode(errors="replace"), self.token.encode())
