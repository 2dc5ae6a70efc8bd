"""A child as the pool sees it: its kind, its state, its deadlines, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: The signals that the pool uses.  The first TERM lets a worker finish its request, a second one does not; ABRT makes
#: it write its stack; KILL cannot be ignored.
TERM, ABRT, KILL = "TERM", "ABRT", "KILL"


class ChildKind(Enum):
    """The purpose of a child."""

    WORKER = "worker"
    #: Runs the dequeue callable once.
    DEQUEUE = "dequeue"


class ChildState(Enum):
    """
    The state of a child in the pool, which moves it along ``CHILD_TRANSITIONS``.

    Whether a worker has a request in flight changes with every message, so it is no state of its own: the pool is told
    which workers are spare when it is asked for decisions, and :class:`ChildStatus` reports it to users.
    """

    STARTING = "starting"
    #: A worker that can take requests, whether it has one in flight or not.
    READY = "ready"
    #: Running the dequeue callable.
    DEQUEUE = "dequeue"
    #: Asked to leave, or leaving by itself.
    RETIRING = "retiring"
    #: The process has ended.
    GONE = "gone"


#: From each state, the states that may follow.
CHILD_TRANSITIONS: dict[ChildState, frozenset[ChildState]] = {
    ChildState.STARTING: frozenset({ChildState.READY, ChildState.DEQUEUE, ChildState.RETIRING, ChildState.GONE}),
    ChildState.READY: frozenset({ChildState.RETIRING, ChildState.GONE}),
    ChildState.DEQUEUE: frozenset({ChildState.RETIRING, ChildState.GONE}),
    ChildState.RETIRING: frozenset({ChildState.GONE}),
    ChildState.GONE: frozenset(),
}


class ChildStatus(Enum):
    """The status of a child as users see it: its state, with ready workers told apart by what they do."""

    STARTING = "starting"
    #: A ready worker with no request in flight.
    WAITING = "waiting"
    #: A ready worker with a request in flight.
    PROCESSING = "processing"
    #: Running the dequeue callable.
    DEQUEUE = "dequeue"
    #: Asked to leave, or leaving by itself; it may still have requests in flight.
    RETIRING = "retiring"


class Child:
    """
    A child of the pool.  All times are in seconds, on the pool's clock.

    :ivar number: the pool's number for it, counted from 1.
    :ivar maxRequests: how many requests it may be given; negative: no limit.
    :ivar generation: the number of the reload that it belongs to.
    :ivar spawnedAt: when it was spawned.
    :ivar readyAt: when it first announced itself; ``None`` before.
    :ivar recycleAt: when it is to be replaced for its age; infinite: never.
    :ivar requestsHalvedAt: when it had last been given half of the requests that it had left; before the first time,
        when it became ready.
    :ivar beingReplaced: whether a successor is started for it; it works until the successor is ready.
    :ivar signalAt: when it is sent the next of ``signals`` if it still lives; ``None``: never.
    :ivar signals: the signals that it is sent, one after the other; the last one is repeated.
    :ivar signalReason: which deadline it missed, so that it was sent a signal; empty if it missed none.
    """

    __slots__ = (
        "beingReplaced",
        "generation",
        "kind",
        "maxRequests",
        "number",
        "readyAt",
        "recycleAt",
        "requestsHalvedAt",
        "signalAt",
        "signalReason",
        "signals",
        "spawnedAt",
        "state",
    )

    def __init__(
        self, number: int, kind: ChildKind, maxRequests: int, generation: int, spawnedAt: float, startDeadline: float
    ) -> None:
        self.number = number
        self.kind = kind
        self.maxRequests = maxRequests
        self.generation = generation
        self.spawnedAt = spawnedAt
        self.signalAt: float | None = startDeadline
        self.signals: tuple[str, ...] = (KILL,)
        self.signalReason = ""
        self.recycleAt = float("inf")
        self.requestsHalvedAt = spawnedAt
        self.beingReplaced = False
        self.readyAt: float | None = None
        self.state = ChildState.STARTING

    def setDeadline(self, at: float, *signals: str) -> None:
        """
        Set when this child is signalled.

        :param at: when it is sent the first signal.
        :param signals: the signals.
        """
        self.signalAt, self.signals = at, signals

    def become(self, state: ChildState) -> None:
        """
        Move to another state.

        :raise ValueError: if ``CHILD_TRANSITIONS`` does not allow it.
        """
        if state not in CHILD_TRANSITIONS[self.state]:
            raise ValueError(f"a child cannot go from {self.state.value} to {state.value}")
        self.state = state


@dataclass(frozen=True, slots=True)
class ChildExit:
    """
    How a child ended.

    :ivar cause: such as ``exit code 1`` or ``signal SIGKILL``: one of a few hundred texts, fit for a counter's name.
    :ivar message: the reason that the child itself gave, in one line; empty if it gave none.
    :ivar clean: whether it ended with exit code 0.
    :ivar fatal: whether its app cannot be loaded, so that any other child would end in the same way.
    :ivar killed: whether it was ended by a signal that others send, the server's own ``TERM`` and ``KILL`` included,
        rather than by a fault of its own.
    """

    cause: str
    message: str = ""
    clean: bool = False
    fatal: bool = False
    killed: bool = False

    def __str__(self) -> str:
        return self.message or self.cause
