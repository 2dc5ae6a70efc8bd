"""
What a worker that runs several requests at once has in hand, without a socket, a loop or a thread.

The rules:

- A request is begun when it comes.  The broker sends no more than it was told that may run at once.
- The word ``heartbeat`` says that all is answered that was sent before it was asked for: so it is said when the last of
  what was in hand at that time has been answered.
- After ``retire``, or TERM, nothing more is begun, and the worker leaves when all that it has begun is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pirate.wire.words import CANCEL, ERROR, HEARTBEAT, RETIRE, Code


class RunningRequest:
    """
    A request that is being executed.

    :ivar request: the broker's id of it.
    :ivar frames: all that was received.
    :ivar cancelled: whether its caller does not want the answer any more.
    :ivar late: whether it has taken longer than the soft time limit.
    :ivar begun: whether the app has been called.
    :ivar task: what executes it, if that can be interrupted.
    :ivar timer: what calls when it has taken too long.
    """

    __slots__ = ("begun", "cancelled", "frames", "late", "request", "task", "timer")

    def __init__(self, frames: list[bytes]) -> None:
        self.request = frames[1]
        self.frames = frames
        self.cancelled = False
        self.late = False
        self.begun = False
        self.task: Any = None
        self.timer: Any = None

    def isCancelled(self) -> bool:
        """Whether its caller does not want the answer any more."""
        return self.cancelled


class InFlight:
    """
    The requests that are being executed.

    :param begin: called with each :class:`RunningRequest` that is to be executed; :meth:`ended` is to be called when it
        has an answer.
    :param interrupt: called with a job that is cancelled.
    :param post: sends frames, without a routing id, to the broker.
    :ivar left: called when the worker is to leave and holds nothing more.
    """

    def __init__(
        self,
        begin: Callable[[RunningRequest], None],
        interrupt: Callable[[RunningRequest], None],
        post: Callable[[list[bytes]], None],
    ) -> None:
        self._begin = begin
        self._interrupt = interrupt
        self._post = post
        self._jobs: dict[bytes, RunningRequest] = {}
        self._asked: list[set[bytes]] = []
        self._leaving = False
        self.left: Callable[[], None] = lambda: None

    def received(self, frames: list[bytes]) -> None:
        """The broker has sent a message."""
        if len(frames) > 3:
            if not self._leaving:
                job = self._jobs[frames[1]] = RunningRequest(frames)
                self._begin(job)
        elif frames[1] == CANCEL:
            cancelled = self._jobs.get(frames[2])
            if cancelled is not None and not cancelled.cancelled:
                cancelled.cancelled = True
                self._interrupt(cancelled)
        elif frames[1] == HEARTBEAT:
            self._asked.append(set(self._jobs))
            self._sayAnswered()
        elif frames[1] == RETIRE:
            self.leave()

    def ended(self, job: RunningRequest, answer: list[bytes]) -> None:
        """
        A job has an answer.

        :param answer: its frames, without a routing id.
        """
        self._post(answer)
        self._jobs.pop(job.request, None)
        if self._asked:
            for each in self._asked:
                each.discard(job.request)
            self._sayAnswered()
        if self._leaving and not self._jobs:
            self.left()

    def leave(self) -> None:
        """Begin nothing more, and leave when all that was begun is answered."""
        self._leaving = True
        if not self._jobs:
            self.left()

    def _sayAnswered(self) -> None:
        while self._asked and not self._asked[0]:
            del self._asked[0]
            self._post([b"", HEARTBEAT])


def cancelled(request: bytes) -> list[bytes]:
    """The frames that tell the broker that a request was cancelled, as its caller has asked."""
    return [b"", request, ERROR, Code.CANCELLED.encode(), b"it was cancelled"]
