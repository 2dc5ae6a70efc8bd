"""The log of the errors that apps raise: one event each, with where it happened and for whom, and a limit."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from pirate.broker.request import NativeRequest, Request

#: Events a second for one type of error at one place, and kinds of errors that are told apart in one second.
MOST, KINDS = 5, 20
#: Characters of a type and a place by which errors are told apart.
KEY = 200


class ErrorLog:
    """
    Logs errors of the app.

    Of one type at one place, no more than a few are logged in a second; the rest is counted, and the count is logged
    when the second is over.  There is a timer only while there is something to say.
    """

    def __init__(self, clock: IReactorTime, log: Logger) -> None:
        self._clock = clock
        self._log = log
        self._end = float("-inf")
        self._counts: dict[tuple[str, str], int] = {}
        self._timer: IDelayedCall | None = None

    def report(self, request: Request, text: str, trail: str) -> None:
        """
        Log that the app has failed.

        :param request: what was asked.
        :param text: the error's type and message.
        :param trail: the lines of the app that it came from, innermost first; empty if that is not known.
        """
        now = self._clock.seconds()
        if now >= self._end:
            self.stop()
            self._end = now + 1
        kind, _, message = text.partition(": ")
        place = trail.partition(", from ")[0].partition("; caused by ")[0]
        key = kind[:KEY], place[:KEY]
        if key not in self._counts and len(self._counts) >= KINDS:
            key = "errors of other types or places", ""
        count = self._counts[key] = self._counts.get(key, 0) + 1
        if count > MOST:
            if self._timer is None:
                self._timer = self._clock.callLater(max(self._end - now, 0), self.stop)
            return
        self._log.error(
            "app error: {error}{at}; request {request}{service}, client {client}",
            error=text,
            at=trail and f", at {trail}",
            request=_name(request),
            service=request.service and f", service {request.service!r}",
            client=_client(request),
            type=kind,
            text=message,
        )

    def stop(self) -> None:
        """Log how many were not logged in the second that is over, or in this one if nothing more is to come."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        counts, self._counts = self._counts, {}
        for (kind, place), count in counts.items():
            if count > MOST:
                at = place and f", at {place}"
                self._log.error(
                    "app error: {type}{at}: {count} more within a second", type=kind, at=at, count=count - MOST
                )


def _name(request: Request) -> str:
    """The broker's name for a request, which the app knows, and that of its client, if it has one."""
    own = request.id.hex()
    return f"{own} ({request.key.hex()})" if isinstance(request, NativeRequest) else own


def _client(request: Request) -> str:
    """Who asked: as far as known, the user, the address, or the routing id."""
    known = [each for each in (request.user, request.peer) if each]
    return " at ".join(known) or request.route[0].hex()
