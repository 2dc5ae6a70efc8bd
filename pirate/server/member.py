"""A child and its process, joined by a routing id and a secret."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from pirate.pool.child import Child, ChildKind
from pirate.server.process import WorkerProcess
from pirate.wire.backend import Status
from pirate.wire.job import Job


class Rejection(StrEnum):
    """Why a worker's word about itself counts for nothing."""

    #: It is none of ours.
    STRANGER = "unknown-worker"
    #: It has the routing id of a child that is starting, but not its token.
    TOKEN = "wrong-token"
    #: It has the token as well, but is another process.
    PROCESS = "wrong-process"
    #: It proves to be ours, and says what no child says first.
    NOT_READY = "not-ready"


class Member:
    """
    A child and its process.

    :ivar process: the process, which the supervisor makes.
    :ivar identity: its routing id on the backend.
    :ivar token: the secret by which it proves itself.
    :ivar keys: those that the backend asks it for; empty if it asks for none.
    :ivar told: the state that the hooks were last told of.
    :ivar left: whether it has said that it is leaving.
    :ivar again: when its start is tried again, if there were no file descriptors left.
    :ivar stopCall: when it is stopped, if its connection has been closed and its process goes on.
    :ivar reapCall: when what it held is given to others, if its last answers may still come.
    """

    def __init__(self, child: Child) -> None:
        self.child = child
        self.process: WorkerProcess
        self.identity = b""
        self.token = secrets.token_hex(16)
        self.keys: dict[str, str] = {}
        self.told = child.state
        self.left = False
        self.again: IDelayedCall | None = None
        self.stopCall: IDelayedCall | None = None
        self.reapCall: IDelayedCall | None = None

    def spawn(self, reactor: Any, job: Job, introduce: Callable[[bytes], dict[str, str]]) -> None:
        """
        Start the process, and give it its job.

        :param job: the job of all workers.
        :param introduce: gives the keys for an identity.
        :raise OSError: if the system refuses.
        """
        self.process.spawn(reactor)
        self.identity = f"child_{self.process.pid}_{secrets.token_hex(8)}".encode()
        self.keys = introduce(self.identity)
        dequeue = self.child.kind is ChildKind.DEQUEUE
        self.process.begin(job.forChild(self.identity, self.token, self.keys, dequeue=dequeue))

    def rejection(self, status: Status, address: str | None) -> Rejection | None:
        """
        Why a status cannot be this child's; ``None`` if it is.

        :param address: where it came from: from a UNIX socket, ``localhost:uid:gid:pid``.
        """
        token = "" if status.info is None else status.info.token
        if not secrets.compare_digest(token.encode(errors="replace"), self.token.encode()):
            return Rejection.TOKEN
        if address is not None and address.startswith("localhost:"):
            return None if address.rpartition(":")[2] == str(self.process.pid) else Rejection.PROCESS
        return None
