"""A line on a terminal that says how far many calls are."""

from __future__ import annotations

from typing import TextIO

#: Seconds between two looks of the line.
_PAUSE = 0.1
#: The bar's width, in characters.
_WIDTH = 30
#: Back to the beginning of the line, and clear it.
_AGAIN = "\r\x1b[K"


class Progress:
    """
    A bar, a count and a rate; nothing at all where there is no terminal.

    :param stream: standard error; ``None`` if it is closed.
    :param total: how many calls there are.
    :param now: seconds, on the clock of the others below.
    """

    def __init__(self, stream: TextIO | None, total: int, now: float) -> None:
        self._stream = stream if stream is not None and stream.isatty() else None
        self._total = total
        self._began = self._shown = now

    def show(self, done: int, now: float) -> None:
        """
        Show how many have ended, unless that was done a moment ago.

        :param done: how many.
        """
        if self._stream is None or now - self._shown < _PAUSE:
            return
        self._shown = now
        bar = ("#" * (_WIDTH * done // self._total)).ljust(_WIDTH, ".")
        self._write(f"{_AGAIN}[{bar}] {done}/{self._total}  {done / (now - self._began):,.0f}/s")

    def clear(self) -> None:
        """Take the line away."""
        if self._stream is not None and self._shown > self._began:
            self._write(_AGAIN)

    def _write(self, text: str) -> None:
        try:
            assert self._stream is not None
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # A terminal that went away is no reason to stop.
            self._stream = None
