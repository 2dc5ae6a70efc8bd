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
    The state of a child.

    The pool moves a child along ``CHILD_TRANSITIONS``.  A ready child is ``WAITING`` or ``PROCESSING``, depending on
    whether it holds a request.  That changes with every message, so the pool keeps ``WAITING`` for both, and is told
    which children are idle when it is asked for decisions.
    """

    STARTING = "starting"
    WAITING = "waiting"
    PROCESSING = "processing"
    DEQUEUE = "dequeue"
    RETIRING = "retiring"
    GONE = "gone"


#: From each state, the states that may follow.
CHILD_TRANSITIONS: dict[ChildState, frozenset[ChildState]] = {
    ChildState.STARTING: frozenset({ChildState.WAITING, ChildState.DEQUEUE, ChildState.RETIRING, ChildState.GONE}),
    ChildState.WAITING: frozenset({ChildState.PROCESSING, ChildState.RETIRING, ChildState.GONE}),
    ChildState.PROCESSING: frozenset({ChildState.WAITING, ChildState.RETIRING, ChildState.GONE}),
    ChildState.DEQUEUE: frozenset({ChildState.RETIRING, ChildState.GONE}),
    ChildState.RETIRING: frozenset({ChildState.GONE}),
    ChildState.GONE: frozenset(),
}


class Child:
    """
    A child of the pool.  All times are in seconds, on the pool's clock.

    :ivar key: the pool's number for it.
    :ivar maxRequests: how many requests it may be given; negative: no limit.
    :ivar generation: the number of the reload that it belongs to.
    :ivar spawnedAt: when it was spawned.
    :ivar readyAt: when it first announced itself; ``None`` before.
    :ivar recycleAt: when it is retired because of its age; infinite: never.
    :ivar requestsHalvedAt: when it had last been given half of the requests that it had left; before the first time,
        when it became ready.
    :ivar outgoing: whether a successor is started for it while it still works.
    :ivar signalAt: when it is sent the next of ``signals`` if it still lives; ``None``: never.
    :ivar signals: the signals that it is sent, one after the other; the last one is repeated.
    :ivar killReason: why it was sent a signal; empty if it met its deadlines.
    """

    __slots__ = (
        "generation",
        "key",
        "killReason",
        "kind",
        "maxRequests",
        "outgoing",
        "readyAt",
        "recycleAt",
        "requestsHalvedAt",
        "signalAt",
        "signals",
        "spawnedAt",
        "state",
    )

    def __init__(
        self, key: int, kind: ChildKind, maxRequests: int, generation: int, spawnedAt: float, startDeadline: float
    ) -> None:
        self.key = key
        self.kind = kind
        self.maxRequests = maxRequests
        self.generation = generation
        self.spawnedAt = spawnedAt
        self.signalAt: float | None = startDeadline
        self.signals: tuple[str, ...] = (KILL,)
        self.killReason = ""
        self.recycleAt = float("inf")
        self.requestsHalvedAt = spawnedAt
        self.outgoing = False
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
