"""Logging: Net::Server's levels on Twisted's logger, and a brake for what may happen a thousand times a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
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

#: The C{log-level} from which an event is shown, by its level; an event's own C{verbosity} goes before.
VERBOSITY: dict[Any, int] = {
    LogLevel.critical: 0,
    LogLevel.error: 0,
    LogLevel.warn: 1,
    LogLevel.info: 2,
    LogLevel.debug: 4,
}
#: The C{verbosity} of what happens to single workers: Net::Server's "info", below its "notice".
DETAIL = 3


def escaped(text: str) -> str:
    """A text with what no log line and no terminal should get, line ends among it, in the form of C{\\x1b}."""
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


def serverLog(level: int | Callable[[], int]) -> Logger:
    """
    A logger that drops what is above a C{log-level}, and escapes what is not fit for a line.

    :param level: 0 errors, 1 warnings, 2 notices, 3 info, 4 debug, or what gives it as things stand.
    """

    @provider(ILogFilterPredicate)
    def shown(event: dict[str, Any]) -> Any:
        most = level() if callable(level) else level
        wanted = event.get("verbosity", VERBOSITY[event["log_level"]]) <= most
        return PredicateResult.maybe if wanted else PredicateResult.no

    return Logger(namespace="pirate", observer=FilteringLogObserver(Escaping(), [shown]))


class Noted:
    """
    Things that may happen very often: counted by reason, and logged at most once a second.

    :param what: what they are, for the log.
    """

    def __init__(self, clock: IReactorTime, log: Logger, what: str) -> None:
        self._clock = clock
        self._log = log
        self._what = what
        self._next = float("-inf")
        self._unsaid: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def count(self, reason: str, detail: str = "") -> None:
        """It has happened once more.  :param reason: a fixed word.  :param detail: more about this one, for the log."""
        self.counts[reason] += 1
        self._unsaid[reason] += 1
        now = self._clock.seconds()
        if now >= self._next:
            self._next = now + 1
            reasons = ", ".join(f"{reason} ({count})" for reason, count in self._unsaid.items())
            self._unsaid.clear()
            more = detail and f"; {detail}"
            self._log.warn("{what}: {reasons}{more}", what=self._what, reasons=reasons, more=more)
