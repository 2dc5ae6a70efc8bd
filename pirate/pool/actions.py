"""The pool's decisions, as values that the supervisor carries out."""

from __future__ import annotations

from dataclasses import dataclass

from pirate.pool.child import Child


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the process of this child."""

    child: Child


@dataclass(frozen=True, slots=True)
class Retire:
    """Ask this child, through its queue, to leave after the requests that it holds."""

    child: Child


@dataclass(frozen=True, slots=True)
class Signal:
    """
    Send this child a signal.

    :ivar name: ``TERM``, ``ABRT`` or ``KILL``.
    :ivar why: the reason, for the log.
    """

    child: Child
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """Reap children whose end was not reported."""


@dataclass(frozen=True, slots=True)
class AbandonRequests:
    """Give up the unanswered requests: ``stop-timeout`` is over."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """
    Report the end of a reload.

    :ivar error: why it failed; ``None`` if it succeeded.
    """

    error: str | None


@dataclass(frozen=True, slots=True)
class GiveUp:
    """
    Stop the server, because its first workers cannot start.

    :ivar reason: why, in one line.
    """

    reason: str


Action = Spawn | Retire | Signal | Sweep | AbandonRequests | Reloaded | GiveUp
