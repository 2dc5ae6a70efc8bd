"""
What workers write to their standard streams: into the log line by line, within limits.

Of each stream, so many lines and bytes a second are logged, and of all of them together so many in a fraction of a
second; the rest is counted, and the count is logged when the second is over.  Reading is limited as well: a worker
that writes faster than that finds its pipe full, and waits.  So whatever workers write, the server goes on.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pirate.errors import LAST_WORDS
from pirate.server.logs import ServerLog

#: Of one worker's stream, lines and bytes of them that are logged in a second.
LINES, LINE_BYTES = 100, 1 << 16
#: Of all workers, lines that are logged in ``STRETCH`` seconds.
ALL_LINES, STRETCH = 250, 0.25
#: Of one worker, times that it is read in a second, and bytes that are read, after which it has to wait.
READS, READ_BYTES = 200, 1 << 20
#: The longest line that is kept together, in bytes.
MAX_LINE = 16384

#: The names of the streams, and the verbosity of what is written there.
STREAMS = {1: ("stdout", 2), 2: ("stderr", 1)}

_LAST_WORDS = LAST_WORDS.encode()


class Pipes(Protocol):
    """The reading side of a worker's streams."""

    def pauseProducing(self) -> None:
        """Read no more for now."""

    def resumeProducing(self) -> None:
        """Read again."""


class OutputLog:
    """The log of all workers' output."""

    def __init__(self, clock: IReactorTime, log: ServerLog) -> None:
        self.clock = clock
        self._log = log
        self._end = float("-inf")
        self._left = 0

    def shows(self, stream: int) -> bool:
        """Return whether the log shows what is written to a stream, 1 or 2."""
        return self._log.shows(STREAMS[stream][1])

    def admits(self, now: float) -> bool:
        """Return whether there is room for one more line of any worker, and take it."""
        if now >= self._end:
            self._end = now + STRETCH
            self._left = ALL_LINES
        self._left -= 1
        return self._left >= 0

    def line(self, pid: int, stream: int, line: bytes) -> None:
        """Log a line, without its end."""
        name, verbosity = STREAMS[stream]
        text = line.decode(errors="backslashreplace").rstrip("\r")
        self._log.info("worker {pid} {stream}: {line}", pid=pid, stream=name, line=text, verbosity=verbosity)

    def folded(self, pid: int, stream: int, lines: int, size: int) -> None:
        """Log how many lines have not been logged, and how many bytes they had."""
        name, verbosity = STREAMS[stream]
        self._log.info(
            "worker {pid} {stream}: ... and {lines} more lines ({size} bytes)",
            pid=pid,
            stream=name,
            lines=lines,
            size=size,
            verbosity=verbosity,
        )


class WorkerOutput:
    """
    The output of one worker.

    :param log: where it goes.
    :ivar startError: why the worker could not start, if it said so.
    """

    def __init__(self, log: OutputLog) -> None:
        self._log = log
        self._clock = log.clock
        self._pid = 0
        self._pipes: Pipes | None = None
        self._partial = {1: b"", 2: b""}
        self._folded = {1: [0, 0], 2: [0, 0]}
        self._end = float("-inf")
        self._lines = {1: [0, 0], 2: [0, 0]}
        self._reads = self._readBytes = 0
        self._timer: IDelayedCall | None = None
        self._paused = False
        self.startError = ""

    def begin(self, pid: int, pipes: Pipes) -> None:
        """Take the output of a process that has been started."""
        self._pid = pid
        self._pipes = pipes

    def received(self, stream: int, data: bytes) -> None:
        """Log what was written to a stream, or count it, and stop reading if there is too much of it."""
        now = self._clock.seconds()
        if now >= self._end:
            self._renew(now)
        self._reads += 1
        self._readBytes += len(data)
        self._split(stream, self._partial[stream] + data, now)
        if self._pipes is not None and (self._reads >= READS or self._readBytes >= READ_BYTES):
            self._paused = True
            self._pipes.pauseProducing()
            self._wakeUp(now)

    def resume(self) -> None:
        """Read on, at least as much as in a new second: the worker is about to end, and must not be held up."""
        self._reads = self._readBytes = 0
        if self._paused and self._pipes is not None:
            self._paused = False
            self._pipes.resumeProducing()

    def exited(self) -> None:
        """The process is gone: read what is left without a pause."""
        self.resume()
        self._pipes = None

    def closed(self, stream: int) -> None:
        """A stream has been closed: its last line may have no end."""
        rest, self._partial[stream] = self._partial.get(stream, b""), b""
        if rest:
            self._split(stream, rest + b"\n", self._clock.seconds())

    def close(self) -> None:
        """There will be nothing more: log what has been counted."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._tellFolded()

    def _renew(self, now: float) -> None:
        self._end = now + 1
        self._reads = self._readBytes = 0
        for counts in self._lines.values():
            counts[:] = 0, 0

    def _split(self, stream: int, data: bytes, now: float) -> None:
        """Take the whole lines; the last one is kept until its end comes, or it is too long."""
        end = data.rfind(b"\n") + 1
        if len(data) - end > MAX_LINE:
            data += b"\n"
            end = len(data)
        self._partial[stream] = data[end:]
        start = 0
        if self._log.shows(stream):
            while start < end and (stop := self._next(stream, data, start, now)):
                start = stop
            if start < end:
                self._fold(stream, data.count(b"\n", start, end), end - start, now)
        if stream == 2 and start < end:
            self._findStartError(data[start:end])

    def _next(self, stream: int, data: bytes, start: int, now: float) -> int:
        """
        Log the line that begins at ``start``, if it may be.

        :return: where the next one begins; 0: it may not.
        """
        stop = data.index(b"\n", start)
        line = data[start:stop]
        if stream == 2 and line.startswith(_LAST_WORDS):
            self._findStartError(line)
            return stop + 1
        counts = self._lines[stream]
        if counts[0] >= LINES or counts[1] + len(line) > LINE_BYTES or not self._log.admits(now):
            return 0
        counts[0] += 1
        counts[1] += len(line)
        self._log.line(self._pid, stream, line)
        return stop + 1

    def _findStartError(self, data: bytes) -> None:
        found = (b"\n" + data).rfind(b"\n" + _LAST_WORDS)
        if found >= 0:
            line = data[found:].partition(b"\n")[0]
            self.startError = line.decode(errors="backslashreplace").removeprefix(LAST_WORDS).rstrip("\r")

    def _fold(self, stream: int, lines: int, size: int, now: float) -> None:
        self._folded[stream][0] += lines
        self._folded[stream][1] += size
        self._wakeUp(now)

    def _wakeUp(self, now: float) -> None:
        """Look again when this second is over."""
        if self._timer is None:
            self._timer = self._clock.callLater(max(self._end - now, 0), self._secondOver)

    def _secondOver(self) -> None:
        self._timer = None
        self._tellFolded()
        self._renew(self._clock.seconds())
        self.resume()

    def _tellFolded(self) -> None:
        for stream, counts in self._folded.items():
            lines, size = counts
            if lines:
                counts[:] = 0, 0
                self._log.folded(self._pid, stream, lines, size)
