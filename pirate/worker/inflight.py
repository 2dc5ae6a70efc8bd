"""
The requests that a worker executes at once, without a socket, a loop or a thread.

The rules:

- A request is begun when it arrives.  The broker sends no more than the worker may execute at once.
- The word ``heartbeat`` means that the worker has answered every request that was sent before the broker asked.  So it
  is sent when the last of the requests that were in flight at that time has a reply.
- After ``retire``, or TERM, nothing more is begun, and the worker leaves when it has no request in flight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pirate.wire.words import CANCEL, HEARTBEAT, RETIRE

if TYPE_CHECKING:
    from pirate.worker.interfaces import Cancellable, InFlightHost


class RunningRequest:
    """
    A request that is being executed.

    :ivar id: the broker's id of the request.
    :ivar frames: the message, without a routing id.
    :ivar cancelled: whether the broker has cancelled the request.
    :ivar late: whether the request has taken longer than the soft time limit.
    :ivar begun: whether the app has been called.
    :ivar task: the task that executes the request, on a loop.
    :ivar timer: the timer of the soft time limit, while it runs.
    """

    __slots__ = ("begun", "cancelled", "frames", "id", "late", "task", "timer")

    def __init__(self, frames: list[bytes]) -> None:
        self.id = frames[1]
        self.frames = frames
        self.cancelled = False
        self.late = False
        self.begun = False
        self.task: Cancellable | None = None
        self.timer: Cancellable | None = None

    def isCancelled(self) -> bool:
        """Return whether the broker has cancelled the request."""
        return self.cancelled


class InFlight:
    """
    The requests that are in flight in a worker.

    :param host: the runner that executes them.
    """

    def __init__(self, host: InFlightHost) -> None:
        self._host = host
        self._requests: dict[bytes, RunningRequest] = {}
        self._heartbeats: list[set[bytes]] = []
        self._leaving = False

    def received(self, frames: list[bytes]) -> None:
        """Act on a message of the broker."""
        if len(frames) > 3:
            if not self._leaving:
                request = self._requests[frames[1]] = RunningRequest(frames)
                self._host.begin(request)
        elif frames[1] == CANCEL:
            cancelled = self._requests.get(frames[2])
            if cancelled is not None and not cancelled.cancelled:
                cancelled.cancelled = True
                self._host.interrupt(cancelled)
        elif frames[1] == HEARTBEAT:
            self._heartbeats.append(set(self._requests))
            self._answerHeartbeats()
        elif frames[1] == RETIRE:
            self.leave()

    def ended(self, request: RunningRequest, reply: list[bytes]) -> None:
        """
        Send the reply to a request, which is in flight no longer.

        :param reply: its frames, without a routing id.
        """
        self._host.post(reply)
        self._requests.pop(request.id, None)
        if self._heartbeats:
            for each in self._heartbeats:
                each.discard(request.id)
            self._answerHeartbeats()
        if self._leaving and not self._requests:
            self._host.finished()

    def leave(self) -> None:
        """Begin no more requests, and finish when none is in flight."""
        self._leaving = True
        if not self._requests:
            self._host.finished()

    def _answerHeartbeats(self) -> None:
        while self._heartbeats and not self._heartbeats[0]:
            del self._heartbeats[0]
            self._host.post([b"", HEARTBEAT])
