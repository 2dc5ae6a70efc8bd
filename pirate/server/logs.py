"""Logging: Net::Server's levels on Twisted's logger, and a brake for what may happen a thousand times a second."""

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

#: The ``log-level`` from which an event is shown, by its level; an event's own ``verbosity`` goes before.
VERBOSITY: dict[Any, int] = {
    LogLevel.critical: 0,
    LogLevel.error: 0,
    LogLevel.warn: 1,
    LogLevel.info: 2,
    LogLevel.debug: 4,
}
#: The ``verbosity`` of what happens to single workers: Net::Server's "info", below its "notice".
DETAIL = 3


def escaped(text: str) -> str:
    """A text with what no log line and no terminal should get, line ends among it, in the form of ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\t" else each.encode("unicode_escape").decode() for each in text
    )


@implementer(ILogObserver)
class Escaping:
    """
    Passes events on with every text in them escaped, those of errors among them: some come from clients, from the names
    of files, and from what workers print.
    """

    def __call__(self, event: dict[str, Any]) -> None:
        """Pass an event on."""
        globalLogPublisher({name: value if name.startswith("log_") else _shown(value) for name, value in event.items()})


def _shown(value: Any) -> Any:
    return escaped(str(value)) if isinstance(value, str | Exception) else value


class ServerLog(Logger):
    """
    Logs to Twisted's log, drops what is above a ``log-level``, and escapes what is not fit for a line.

    :param level: 0 errors, 1 warnings, 2 notices, 3 info, 4 debug, or what gives it as things stand.
    """

    def __init__(self, level: int | Callable[[], int]) -> None:
        self._level = level

        @provider(ILogFilterPredicate)
        def shown(event: dict[str, Any]) -> Any:
            wanted = self.shows(event.get("verbosity", VERBOSITY[event["log_level"]]))
            return PredicateResult.maybe if wanted else PredicateResult.no

        super().__init__(namespace="pirate", observer=FilteringLogObserver(Escaping(), [shown]))

    def shows(self, verbosity: int) -> bool:
        """Return whether an event of this verbosity is logged: what is not need not be put into words."""
        return verbosity <= (self._level() if callable(self._level) else self._level)


def serverLog(level: int | Callable[[], int]) -> ServerLog:
    """
    Make a log.

    :param level: see :class:`ServerLog`.
    """
    return ServerLog(level)


class RateLimitedLog:
    """
    Things that may happen very often: counted by reason, and logged at most once a second.

    The first is logged at once.  What follows within a second is logged when it is over, so there is a timer only while
    there is something to say.

    :param what: what they are, for the log.
    """

    def __init__(self, clock: IReactorTime, log: Logger, what: str) -> None:
        self._clock = clock
        self._log = log
        self._what = what
        self._next = float("-inf")
        self._unsaid: Counter[str] = Counter()
        self._detail = ""
        self._timer: IDelayedCall | None = None
        self.counts: Counter[str] = Counter()

    def count(self, reason: str, detail: str = "") -> None:
        """
        Count one more.

        :param reason: a fixed word.
        :param detail: more about this one, for the log, which tells that of the last one.
        """
        self.counts[reason] += 1
        self._unsaid[reason] += 1
        self._detail = detail
        if self._timer is None:
            now = self._clock.seconds()
            if now >= self._next:
                self._say()
            else:
                self._timer = self._clock.callLater(self._next - now, self._say)

    def stop(self) -> None:
        """Log what has not been logged yet, now."""
        if self._unsaid:
            self._say()

    def _say(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._next = self._clock.seconds() + 1
        reasons = ", ".join(f"{reason} ({count})" for reason, count in self._unsaid.items())
        self._unsaid.clear()
        more = self._detail and f"; {self._detail}"
        self._log.warn("{what}: {reasons}{more}", what=self._what, reasons=reasons, more=more)
