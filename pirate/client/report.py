"""What many calls came to: their rate, how long they took, and how they ended."""

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import Any

from pirate.client.exits import Exit, exitOf, nameOf

#: The percentiles that a summary tells of.
_PERCENTILES = (50, 90, 99)


class Report:
    """
    Counts calls as they end.

    :ivar ended: how many there were.
    """

    def __init__(self) -> None:
        self.ended = 0
        self._latencies: list[float] = []
        self._errors: Counter[Exit] = Counter()
        self._examples: dict[Exit, str] = {}

    def add(self, seconds: float, error: Exception | None) -> None:
        """
        One more.

        :param seconds: how long it took.
        :param error: why there is no reply; ``None`` if there is one.
        """
        self.ended += 1
        if error is None:
            self._latencies.append(seconds)
            return
        status = exitOf(error)
        self._errors[status] += 1
        self._examples.setdefault(status, str(error))

    @property
    def status(self) -> Exit:
        """The exit of the most frequent error; ``OK`` if there was none."""
        return self._errors.most_common(1)[0][0] if self._errors else Exit.OK

    def figures(self, elapsed: float) -> dict[str, Any]:
        """
        The summary for a machine.

        :param elapsed: how many seconds all of it took.
        """
        replies = len(self._latencies)
        return {
            "requests": self.ended,
            "replies": replies,
            "seconds": round(elapsed, 6),
            "rate": round(replies / elapsed, 1) if elapsed > 0 else None,
            "latency_ms": {name: round(value * 1000, 3) for name, value in self._quantiles().items()},
            "errors": {nameOf(status): number for status, number in self._errors.most_common()},
        }

    def lines(self, elapsed: float) -> list[str]:
        """The same for people."""
        told = self.figures(elapsed)
        found = [f"{told['replies']} of {told['requests']} replies in {elapsed:.2f} s, {told['rate'] or 0:,.0f}/s"]
        if told["latency_ms"]:
            found.append("latency in ms: " + ", ".join(f"{name} {ms:.3f}" for name, ms in told["latency_ms"].items()))
        for status, number in self._errors.most_common():
            found.append(f"{nameOf(status)}: {number}, the first: {self._examples[status]}")
        return found

    def _quantiles(self) -> dict[str, float]:
        ordered = sorted(self._latencies)
        if not ordered:
            return {}
        told = {f"p{each}": ordered[ceil(len(ordered) * each / 100) - 1] for each in _PERCENTILES}
        return {**told, "max": ordered[-1]}
