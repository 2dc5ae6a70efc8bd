"""The workers as the broker knows them, and the order in which they get requests."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum

from pirate.broker.request import NEVER, Request


class Standing(Enum):
    """Whether a worker may be given requests."""

    SERVING = "serving"
    RETIRING = "retiring"


class WorkerRecord:
    """
    A worker as the broker knows it.

    :ivar identity: its routing id.
    :ivar credit: how many requests it says that it may hold.
    :ivar capacity: how many it may hold now: its credit, or 1 while it holds a request that must be alone.
    :ivar concurrency: more than 1 if it executes all its requests at the same time; otherwise it executes the first.
    :ivar services: the names that it serves.
    :ivar wantsContext: whether requests are sent to it with their context.
    :ivar plain: whether it has never announced itself, and so says ``waiting`` after each reply.
    :ivar packs: whether small requests are sent to it in one message.
    :ivar busy: whether it counts as busy.
    :ivar began: when it began the first of its requests, on the broker's clock; 0 if it has never been given one.
    :ivar heard: when it last sent anything since then.
    :ivar probed: the ids of its requests when it was asked for a sign of life; ``None`` if no answer is due.
    :ivar killAt: when it is stopped if it goes on with a cancelled request; infinite: never.
    :ivar killDeadlines: the same for each cancelled request that it executes, by the broker's request id.
    :ivar requestsLeft: how many more requests it is given before it is retired; negative: no limit.
    :ivar halfLeft: half of what ``requestsLeft`` was at the last report; at this number, the next report is due.
    :ivar inFlight: its requests by the broker's request id, in the order in which they were sent.  A plain worker keeps
        its request here until it says ``waiting``.
    :ivar level: its place among the :class:`ReadyWorkers` of its services; -1 if it has none.
    """

    __slots__ = (
        "began",
        "busy",
        "capacity",
        "concurrency",
        "credit",
        "halfLeft",
        "heard",
        "identity",
        "inFlight",
        "killAt",
        "killDeadlines",
        "level",
        "packs",
        "plain",
        "probed",
        "requestsLeft",
        "services",
        "standing",
        "wantsContext",
    )

    def __init__(self, identity: bytes, credit: int = 1, services: tuple[str, ...] = ("",)) -> None:
        self.identity = identity
        self.credit = self.capacity = credit
        self.concurrency = 1
        self.services = services
        self.standing = Standing.SERVING
        self.wantsContext = False
        self.plain = False
        self.packs = False
        self.busy = False
        self.requestsLeft = -1
        self.halfLeft = 0
        self.inFlight: dict[bytes, Request] = {}
        self.level = -1
        self.began = self.heard = 0.0
        self.probed: list[bytes] | None = None
        self.killAt = NEVER
        self.killDeadlines: dict[bytes, float] = {}


class ReadyWorkers:
    """
    The workers of one service that can take a request: fewest in flight first, then least recently used.

    Each call takes the same time whatever the number of workers.
    """

    __slots__ = ("_least", "_levels")

    def __init__(self) -> None:
        self._levels: list[OrderedDict[WorkerRecord, None]] = [OrderedDict()]
        self._least = 0

    def add(self, worker: WorkerRecord, level: int) -> None:
        """Put a worker last among those that hold ``level`` requests."""
        while level >= len(self._levels):
            self._levels.append(OrderedDict())
        self._levels[level][worker] = None
        if level < self._least:
            self._least = level

    def remove(self, worker: WorkerRecord, level: int) -> None:
        """Remove a worker from the level at which it was added."""
        del self._levels[level][worker]

    def first(self) -> WorkerRecord | None:
        """Return the worker that is next, which stays where it is; ``None`` if no worker can take a request."""
        levels = self._levels
        while not levels[self._least]:
            if self._least + 1 == len(levels):
                return None
            self._least += 1
        return next(iter(levels[self._least]))
