"""The agenda: what is due next in a world, and the only clock."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

#: Seconds that pass before a call that was scheduled for at once: what a turn of a reactor takes.
TURN = 20e-6


@implementer(IDelayedCall)
class Call:
    """A call that is due at some time, unless it is cancelled before."""

    __slots__ = ("_call", "_state", "_time", "owner")

    def __init__(self, owner: Actor | None, time: float, call: Callable[[], object]) -> None:
        self.owner = owner
        self._time = time
        self._call = call
        self._state = "active"

    def getTime(self) -> float:
        """Return when it is due."""
        return self._time

    def active(self) -> bool:
        """Return whether it is yet to be made."""
        return self._state == "active"

    def cancel(self) -> None:
        """
        Cancel it.

        :raise twisted.internet.error.AlreadyCalled: or ``AlreadyCancelled``, as the real one does.
        """
        if self._state != "active":
            from twisted.internet.error import AlreadyCalled, AlreadyCancelled

            raise AlreadyCalled if self._state == "made" else AlreadyCancelled
        self._state = "cancelled"

    def delay(self, secondsLater: float) -> None:
        """Not supported: nothing in this project moves a call."""
        raise NotImplementedError

    def reset(self, secondsFromNow: float) -> None:
        """Not supported: nothing in this project moves a call."""
        raise NotImplementedError

    def make(self) -> None:
        """Make the call."""
        self._state = "made"
        self._call()


class Agenda:
    """
    All calls that are due, in the order of their times, then in the order in which they were scheduled.

    :ivar now: the time, in seconds.
    :ivar made: how many calls have been made.
    :ivar failed: called inside the except block if a call raises, as a reactor logs it and goes on; ``None``: it is
        raised.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.made = 0
        self.failed: Callable[[], object] | None = None
        self._count = 0
        self._calls: list[tuple[float, int, Call]] = []

    def at(self, time: float, call: Callable[[], object], owner: Actor | None = None) -> Call:
        """
        Schedule a call.

        :param owner: the actor whose call it is: it is not made while the actor is stopped, nor after its end.
        """
        due = Call(owner, time, call)
        self._count += 1
        heappush(self._calls, (time, self._count, due))
        return due

    def after(self, seconds: float, call: Callable[[], object], owner: Actor | None = None) -> Call:
        """Schedule a call for so many seconds from now."""
        return self.at(self.now + max(seconds, TURN), call, owner)

    def step(self, until: float) -> bool:
        """
        Make the next call.

        :param until: the time up to which calls are made.
        :return: whether there was one.
        """
        calls = self._calls
        while calls and calls[0][0] <= until:
            time, _, call = heappop(calls)
            if not call.active():
                continue
            owner = call.owner
            if owner is not None and not owner.takes(call):
                continue
            if time > self.now:
                self.now = time
            self.made += 1
            try:
                call.make()
            except Exception:
                if self.failed is None:
                    raise
                self.failed()
            return True
        self.now = max(self.now, until) if until != float("inf") else self.now
        return False

    def callsOf(self, owner: Actor) -> list[Call]:
        """Return the calls of an actor that are yet to be made."""
        return [call for _, _, call in self._calls if call.owner is owner and call.active()]

    def forget(self, owner: Actor) -> None:
        """Drop all calls of an actor."""
        self._calls = [each for each in self._calls if each[2].owner is not owner]
        heapify(self._calls)


@implementer(IReactorTime)
class Actor:
    """
    Somebody who acts: a process, or a client.  It can be stopped, as by SIGSTOP, and it can end.

    It is a clock to what runs in it.

    :param name: its name in the journal.
    :ivar alive: whether it has not ended.
    :ivar stopped: whether it is stopped.
    """

    def __init__(self, agenda: Agenda, name: str) -> None:
        self.agenda = agenda
        self.name = name
        self.alive = True
        self.stopped = False
        self._missed: list[Call] = []
        self._resumed = float("-inf")

    def isAwake(self, seconds: float) -> bool:
        """Return whether it has not been stopped in the last so many seconds."""
        return self.alive and not self.stopped and self._resumed <= self.agenda.now - seconds

    def seconds(self) -> float:
        """Return the time."""
        return self.agenda.now

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any, **kw: Any) -> Call:
        """Schedule a call of this actor."""
        if args or kw:
            return self.agenda.after(delay, lambda: callable(*args, **kw), self)
        return self.agenda.after(delay, callable, self)

    def getDelayedCalls(self) -> list[Call]:
        """Return the calls that are yet to be made."""
        return [*self.agenda.callsOf(self), *self._missed]

    def takes(self, call: Call) -> bool:
        """Return whether a call that is due may be made; one that is missed by a stopped actor is kept."""
        if self.alive and not self.stopped:
            return True
        if self.alive:
            self._missed.append(call)
        return False

    def stop(self) -> None:
        """Stop, until :meth:`resume`."""
        self.stopped = True

    def resume(self) -> None:
        """Go on, beginning with the calls that have become due meanwhile."""
        self.stopped = False
        self._resumed = self.agenda.now
        missed, self._missed = self._missed, []
        for call in missed:
            if call.active():
                self.agenda.at(self.agenda.now, _remake(call), self)

    def end(self) -> None:
        """End: no call of this actor is made any more."""
        self.alive = False
        self._missed.clear()
        self.agenda.forget(self)


def _remake(call: Call) -> Callable[[], object]:
    """Return a function that makes a call unless it has been cancelled meanwhile."""

    def make() -> None:
        if call.active():
            call.make()

    return make
