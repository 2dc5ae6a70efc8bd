"""The progress and the summary of many calls: their rate, their latencies, and how they ended."""

from __future__ import annotations

from array import array
from collections import Counter
from math import ceil
from random import Random
from typing import Any, TextIO

from pirate.client.errors import CallError, Denied, Timeout, Unavailable
from pirate.commands.exits import ExitStatus, exitStatusOf, nameOf

#: The percentiles in a summary.
_PERCENTILES = (50, 90, 99)
#: The most latencies that are kept, 8 bytes each; beyond that, the percentiles are those of a uniform sample.
SAMPLE = 1_000_000
#: Seconds between two updates of the progress line.
_UPDATE_AFTER = 0.1
#: The width of the progress bar, in characters.
_WIDTH = 30
#: Returns to the beginning of the line, and clears it.
_CLEAR = "\r\x1b[K"


class Report:
    """
    A summary of calls, counted as they end.

    :param random: chooses the sample of latencies.
    :ivar ended: how many calls have ended.
    :ivar hopeless: whether the next call would probably fail like the last one: no server could be reached within the
        timeout, or the server has never replied to any call.
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
        Count a call.

        :param seconds: how long it took.
        :param error: why there is no reply; ``None`` if there is one.
        """
        self.ended += 1
        silent = type(error) in (Timeout, Unavailable)
        unsent = isinstance(error, CallError) and (silent or isinstance(error, Denied)) and not error.sent
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
        """The exit status for the most frequent error; ``OK`` if there was none."""
        return self._errors.most_common(1)[0][0] if self._errors else ExitStatus.OK

    def figures(self, elapsed: float) -> dict[str, Any]:
        """
        Return the summary for a program.

        :param elapsed: the seconds that all calls took together.
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
        Return the summary for people, as lines of text.

        :param elapsed: the seconds that all calls took together.
        :param total: how many calls were requested.
        """
        figures = self.figures(elapsed)
        found = [
            f"{figures['replies']} of {figures['requests']} replies in {elapsed:.2f} s, {figures['rate'] or 0:,.0f}/s"
        ]
        if figures["latency_ms"]:
            found.append(
                "latency in ms: " + ", ".join(f"{name} {ms:.3f}" for name, ms in figures["latency_ms"].items())
            )
        for status, number in self._errors.most_common():
            found.append(f"{nameOf(status)}: {number}, the first: {self._examples[status]}")
        if self.hopeless and self.ended < total:
            found.append(f"gave up: the remaining {total - self.ended} were not sent")
        return found

    def _quantiles(self) -> dict[str, float]:
        ordered = sorted(self._latencies)
        if not ordered:
            return {}
        found = {f"p{each}": ordered[ceil(len(ordered) * each / 100) - 1] for each in _PERCENTILES}
        return {**found, "max": self._longest}


class Progress:
    """
    A line on a terminal with a bar, a count and a rate; it writes nothing if the stream is not a terminal.

    :param stream: standard error; ``None`` if it is closed.
    :param total: how many calls there are.
    :param now: the time, in seconds of any one clock.
    """

    def __init__(self, stream: TextIO | None, total: int, now: float) -> None:
        self._stream = stream if stream is not None and stream.isatty() else None
        self._total = total
        self._began = self._shown = now

    def show(self, done: int, now: float) -> None:
        """
        Update the line, unless it was updated a moment ago.

        :param done: how many calls have ended.
        """
        if self._stream is None or now - self._shown < _UPDATE_AFTER:
            return
        self._shown = now
        bar = ("#" * (_WIDTH * done // self._total)).ljust(_WIDTH, ".")
        self._write(f"{_CLEAR}[{bar}] {done}/{self._total}  {done / (now - self._began):,.0f}/s")

    def clear(self) -> None:
        """Clear the line."""
        if self._stream is not None and self._shown > self._began:
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        try:
            assert self._stream is not None
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # The calls go on without the terminal.
            self._stream = None
