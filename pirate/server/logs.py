"""Logging: Net::Server's log levels on Twisted's logger, and limits for events that can happen very often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    Logger,
    LogLevel,
    PredicateResult,
    globalLogPublisher,
)
from zope.interface import implementer, provider

from pirate.broker.request import Request

#: The ``log-level`` from which an event is shown, by its level; an event's own ``verbosity`` takes precedence.
VERBOSITY: dict[Any, int] = {
    LogLevel.critical: 0,
    LogLevel.error: 0,
    LogLevel.warn: 1,
    LogLevel.info: 2,
    LogLevel.debug: 4,
}
#: The ``verbosity`` of events of single workers: Net::Server's "info", above its "notice".
DETAIL = 3

#: App errors of one type at one place that are logged in a second, and kinds of app errors that are distinguished.
MAX_PER_KIND, MAX_KINDS = 5, 20
#: Characters of a type and of a place by which app errors are distinguished.
KIND_LENGTH = 200


def escaped(text: str) -> str:
    """Return a text with line ends and everything else that is not printable written as ``\\x1b`` and the like."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\t" else each.encode("unicode_escape").decode() for each in text
    )


@implementer(ILogObserver)
class EscapingObserver:
    """
    A log observer that escapes every text of an event, then passes the event on.

    Some texts come from clients, from file names, and from what workers write.
    """

    def __call__(self, event: dict[str, Any]) -> None:
        """Pass an event on."""
        globalLogPublisher(
            {name: value if name.startswith("log_") else _escapedValue(value) for name, value in event.items()}
        )


def _escapedValue(value: Any) -> Any:
    return escaped(str(value)) if isinstance(value, str | Exception) else value


class ServerLog(Logger):
    """
    A logger that drops events above a ``log-level`` and escapes the texts of all others.

    :param level: 0 errors, 1 warnings, 2 notices, 3 info, 4 debug; or a function that returns the current level.
    """

    def __init__(self, level: int | Callable[[], int]) -> None:
        self._level = level

        @provider(ILogFilterPredicate)
        def filterEvent(event: dict[str, Any]) -> Any:
            shown = self.shows(event.get("verbosity", VERBOSITY[event["log_level"]]))
            return PredicateResult.maybe if shown else PredicateResult.no

        super().__init__(namespace="pirate", observer=FilteringLogObserver(EscapingObserver(), [filterEvent]))

    def shows(self, verbosity: int) -> bool:
        """Return whether an event of this verbosity is logged."""
        return verbosity <= (self._level() if callable(self._level) else self._level)


class RateLimitedLog:
    """
    A log of events that can happen very often: it counts them by reason, and logs one line a second at most.

    It implements :class:`~pirate.auth.rules.RefusalLog`.

    The first event is logged at once.  Those of the following second are logged together when it is over, so there is a
    timer only while something is left to log.

    :param what: the name of the events, which begins each line.
    :ivar counts: how many events there have been, by reason.
    """

    def __init__(self, clock: IReactorTime, log: Logger, what: str) -> None:
        self._clock = clock
        self._log = log
        self._what = what
        self._nextLine = float("-inf")
        self._unlogged: Counter[str] = Counter()
        self._detail = ""
        self._timer: IDelayedCall | None = None
        self.counts: Counter[str] = Counter()

    def count(self, reason: str, detail: str = "") -> None:
        """
        Count an event.

        :param reason: one of a few words.
        :param detail: more about this event; a line holds that of the last one.
        """
        self.counts[reason] += 1
        self._unlogged[reason] += 1
        self._detail = detail
        if self._timer is None:
            now = self._clock.seconds()
            if now >= self._nextLine:
                self._writeLine()
            else:
                self._timer = self._clock.callLater(self._nextLine - now, self._writeLine)

    def stop(self) -> None:
        """Log the events that have not been logged yet."""
        if self._unlogged:
            self._writeLine()

    def _writeLine(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._nextLine = self._clock.seconds() + 1
        reasons = ", ".join(f"{reason} ({count})" for reason, count in self._unlogged.items())
        self._unlogged.clear()
        more = self._detail and f"; {self._detail}"
        self._log.warn("{what}: {reasons}{more}", what=self._what, reasons=reasons, more=more)


class AppErrorLog:
    """
    A log of the errors that apps raise: one event for each, with its place and its client, within a limit.

    Of one type at one place, :data:`MAX_PER_KIND` are logged in a second.  The rest is counted, and the count is logged
    when the second is over, so there is a timer only while something is left to log.
    """

    def __init__(self, clock: IReactorTime, log: Logger) -> None:
        self._clock = clock
        self._log = log
        self._secondEnds = float("-inf")
        self._counts: dict[tuple[str, str], int] = {}
        self._timer: IDelayedCall | None = None

    def report(self, request: Request, error: str, trail: str) -> None:
        """
        Log an error of the app.

        :param request: the request that it was processing.
        :param error: the type and the message of the error.
        :param trail: the lines of the app that the error came through, innermost first; empty if unknown.
        """
        now = self._clock.seconds()
        if now >= self._secondEnds:
            self.stop()
            self._secondEnds = now + 1
        kind, _, message = error.partition(": ")
        place = trail.partition(", from ")[0].partition("; caused by ")[0]
        key = kind[:KIND_LENGTH], place[:KIND_LENGTH]
        if key not in self._counts and len(self._counts) >= MAX_KINDS:
            key = "errors of other types or places", ""
        count = self._counts[key] = self._counts.get(key, 0) + 1
        if count > MAX_PER_KIND:
            if self._timer is None:
                self._timer = self._clock.callLater(max(self._secondEnds - now, 0), self.stop)
            return
        self._log.error(
            "app error: {error}{at}; request {request}{service}, client {client}",
            error=error,
            at=trail and f", at {trail}",
            request=_requestName(request),
            service=request.service and f", service {request.service!r}",
            client=clientName(request),
            type=kind,
            text=message,
        )

    def stop(self) -> None:
        """Log the counts of the errors that have not been logged."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        counts, self._counts = self._counts, {}
        for (kind, place), count in counts.items():
            if count > MAX_PER_KIND:
                at = place and f", at {place}"
                self._log.error(
                    "app error: {type}{at}: {count} more within a second", type=kind, at=at, count=count - MAX_PER_KIND
                )


def _requestName(request: Request) -> str:
    """Return the broker's id of a request, which the app knows, and the client's id, if there is one."""
    own = request.brokerId.hex()
    return f"{own} ({request.requestId.hex()})" if request.requestId else own


def clientName(request: Request) -> str:
    """Return the user and the address of a request's client, or its routing id if neither is known."""
    known = [each for each in (request.user, request.peer) if each]
    return " at ".join(known) or request.route[0].hex()
