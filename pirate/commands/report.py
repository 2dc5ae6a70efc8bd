"""What many calls came to: their rate, how long they took, and how they ended."""

from __future__ import annotations

from array import array
from collections import Counter
from math import ceil
from random import Random
from typing import Any

from pirate.client.errors import CallError, Denied, Timeout, Unavailable
from pirate.commands.exits import ExitStatus, exitStatusOf, nameOf

#: The percentiles that a summary tells of.
_PERCENTILES = (50, 90, 99)
#: The most latencies that are kept, 8 bytes each: of more than these, the percentiles are those of a fair sample.
SAMPLE = 1_000_000


class Report:
    """
    Counts calls as they end.

    :param random: to choose a sample.
    :ivar ended: how many there were.
    :ivar hopeless: whether the next call would wait in vain like the last one: there was no server to be reached in all
        its time, or one that has not answered yet, neither that call nor any other.
    """

    def __init__(self, random: Random) -> None:
        self.ended = 0
        self.hopeless = False
        self._answered = False
        self._random = random
        self._replies = 0
        self._longest = 0.0
        self._latencies = array("d")
        self._errors: Counter[ExitStatus] = Counter()
        self._examples: dict[ExitStatus, str] = {}

    def add(self, seconds: float, error: Exception | None) -> None:
        """
        One more.

        :param seconds: how long it took.
        :param error: why there is no reply; ``None`` if there is one.
        """
        self.ended += 1
        silent = type(error) in (Timeout, Unavailable)
        unsent = isinstance(error, CallError) and (silent or isinstance(error, Denied)) and not error.tries
        self._answered = self._answered or not (silent or unsent)
        self.hopeless = unsent or (type(error) is Timeout and not self._answered)
        if error is None:
            self._keep(seconds)
            return
        status = exitStatusOf(error)
        self._errors[status] += 1
        self._examples.setdefault(status, str(error))

    def _keep(self, seconds: float) -> None:
        self._replies += 1
        self._longest = max(self._longest, seconds)
        if self._replies <= SAMPLE:
            self._latencies.append(seconds)
        elif (place := self._random.randrange(self._replies)) < SAMPLE:
            self._latencies[place] = seconds

    @property
    def status(self) -> ExitStatus:
        """The exit of the most frequent error; ``OK`` if there was none."""
        return self._errors.most_common(1)[0][0] if self._errors else ExitStatus.OK

    def figures(self, elapsed: float) -> dict[str, Any]:
        """
        The summary for a machine.

        :param elapsed: how many seconds all of it took.
        """
        replies = self._replies
        return {
            "requests": self.ended,
            "replies": replies,
            "seconds": round(elapsed, 6),
            "rate": round(replies / elapsed, 1) if elapsed > 0 else None,
            "latency_ms": {name: round(value * 1000, 3) for name, value in self._quantiles().items()},
            "errors": {nameOf(status): number for status, number in self._errors.most_common()},
        }

    def lines(self, elapsed: float, total: int) -> list[str]:
        """
        The same for people.

        :param total: how many calls there were to be.
        """
        told = self.figures(elapsed)
        found = [f"{told['replies']} of {told['requests']} replies in {elapsed:.2f} s, {told['rate'] or 0:,.0f}/s"]
        if told["latency_ms"]:
            found.append("latency in ms: " + ", ".join(f"{name} {ms:.3f}" for name, ms in told["latency_ms"].items()))
        for status, number in self._errors.most_common():
            found.append(f"{nameOf(status)}: {number}, the first: {self._examples[status]}")
        if self.hopeless and self.ended < total:
            found.append(f"gave up: the other {total - self.ended} would wait in vain as well")
        return found

    def _quantiles(self) -> dict[str, float]:
        ordered = sorted(self._latencies)
        if not ordered:
            return {}
        told = {f"p{each}": ordered[ceil(len(ordered) * each / 100) - 1] for each in _PERCENTILES}
        return {**told, "max": self._longest}
