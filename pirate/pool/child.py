"""A pool's children, and what a pool wants done about them: values, passed between the pool and its supervisor."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum

#: The signals that a pool has sent: leave after this request, or at once the second time; show the stack and end; end.
TERM, ABRT, KILL = "TERM", "ABRT", "KILL"


class ChildKind(Enum):
    """What a child is for."""

    WORKER = "worker"
    #: It runs the dequeue callable once.
    DEQUEUE = "dequeue"


class ChildState(Enum):
    """
    Where a child is in its life.

    The pool moves a child by ``CHILD_TRANSITIONS``.  A ready child is ``WAITING`` or ``PROCESSING`` as the broker sees
    it, which changes with every message: the pool looks at that when it is asked, and keeps ``WAITING`` in its ledger.
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
    One line of the pool's ledger.

    :ivar key: the pool's number for it.
    :ivar lifetime: how many requests it may be given; negative: no limit.
    :ivar generation: the reload that it belongs to.
    :ivar born: when it was spawned.
    :ivar ready: when it first said ``waiting``; ``None`` before.
    :ivar oldAt: when it is to be retired for its age; infinite: never.
    :ivar lifetimeHalved: when it had been given half of the requests that it had left then, the last time; at first,
        when it was ready.
    :ivar ending: whether another is to take its place, and it works on until then.
    :ivar killAt: when it is to be sent the next signal, if it is still there.
    :ivar killBy: which signals these are, one after the other; the last one again and again.
    :ivar verdict: why it was sent a signal, if it was late.
    """

    __slots__ = (
        "born",
        "ending",
        "generation",
        "key",
        "killAt",
        "killBy",
        "kind",
        "lifetime",
        "lifetimeHalved",
        "oldAt",
        "ready",
        "state",
        "verdict",
    )

    def __init__(self, key: int, kind: ChildKind, lifetime: int, generation: int, born: float, killAt: float) -> None:
        self.key = key
        self.kind = kind
        self.lifetime = lifetime
        self.generation = generation
        self.born = born
        self.killAt: float | None = killAt
        self.killBy: tuple[str, ...] = (KILL,)
        self.verdict = ""
        self.oldAt = float("inf")
        self.lifetimeHalved = born
        self.ending = False
        self.ready: float | None = None
        self.state = ChildState.STARTING

    def deadline(self, at: float, *signals: str) -> None:
        """
        Plan to stop it.

        :param at: when it is sent the first of the signals, if it is still there.
        """
        self.killAt, self.killBy = at, signals

    def become(self, state: ChildState) -> None:
        """
        Move to another state.

        :raise ValueError: if the table has no such step.
        """
        if state not in CHILD_TRANSITIONS[self.state]:
            raise ValueError(f"a child cannot go from {self.state.value} to {state.value}")
        self.state = state


@dataclass(frozen=True, slots=True)
class Load:
    """
    What a supervisor knows of the work when it asks the pool.

    :ivar idle: the keys of the children that hold nothing.
    :ivar backlog: how many requests wait.
    :ivar received: how many requests there have been.
    :ivar memory: the children's resident memory in MiB, if there is a limit to it.
    """

    idle: Collection[int] = ()
    backlog: int = 0
    received: int = 0
    memory: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChildExit:
    """
    How a child ended.

    :ivar cause: ``exit code 1``, ``signal SIGKILL``: one of a few hundred, fit for a counter's name.
    :ivar words: what it said about it itself, in one line.
    :ivar clean: whether it ended with exit code 0.
    :ivar hopeless: whether another one would end the same way: its app cannot be loaded.
    :ivar outside: whether it was ended by a signal that comes from outside, and not from a fault of its own.
    """

    cause: str
    words: str = ""
    clean: bool = False
    hopeless: bool = False
    outside: bool = False

    def __str__(self) -> str:
        return self.words or self.cause


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start this child."""

    child: Child


@dataclass(frozen=True, slots=True)
class Retire:
    """Ask this child to leave, through its queue, after what it holds."""

    child: Child


@dataclass(frozen=True, slots=True)
class Signal:
    """
    Send this child a signal.

    :ivar name: ``TERM``, ``ABRT`` or ``KILL``.
    :ivar why: for the log.
    """

    child: Child
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """Look for children that have died without anybody being told."""


@dataclass(frozen=True, slots=True)
class CutOff:
    """The grace is over: give up the requests that are not answered."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """
    A reload has ended.

    :ivar error: why it failed; ``None`` if it did not.
    """

    error: str | None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """
    The first workers cannot start: stop the server.

    :ivar reason: for people.
    """

    reason: str


Action = Spawn | Retire | Signal | Sweep | CutOff | Reloaded | GiveUp
