"""
The log of what workers write to their standard output and standard error, line by line and within limits.

The lines and bytes that are logged in a second are limited for each stream, and the lines for all workers together.
The rest is counted, and the count is logged when the second is over.  Reading is limited as well: a worker that writes
faster finds its pipe full, and blocks.  The server itself never blocks, whatever its workers write.
"""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pirate.errors import START_ERROR_PREFIX
from pirate.server.interfaces import Pipes
from pirate.server.logs import ServerLog

#: Lines of one stream, and bytes in them, that are logged in a second.
MAX_LINES, MAX_LINE_BYTES = 100, 1 << 16
#: Lines of all workers together that are logged in an interval, and the interval in seconds.
MAX_TOTAL_LINES, TOTAL_INTERVAL = 250, 0.25
#: Reads from one worker in a second, and bytes that they bring, after which reading pauses.
MAX_READS, MAX_READ_BYTES = 200, 1 << 20
#: Bytes of a line without an end after which it is split.
MAX_LINE_LENGTH = 16384

#: The name of each stream by its file descriptor, and the verbosity of its lines.
STREAMS = {1: ("stdout", 2), 2: ("stderr", 1)}

_START_ERROR_PREFIX = START_ERROR_PREFIX.encode()


class OutputLog:
    """
    The log of the output of all workers.

    :ivar clock: the clock by which its limits are measured.
    """

    def __init__(self, clock: IReactorTime, log: ServerLog) -> None:
        self.clock = clock
        self._log = log
        self._intervalEnds = float("-inf")
        self._linesLeft = 0

    def shows(self, stream: int) -> bool:
        """
        Return whether the log level shows the lines of a stream.

        :param stream: 1 for the standard output, 2 for the standard error.
        """
        return self._log.shows(STREAMS[stream][1])

    def admits(self, now: float) -> bool:
        """Return whether one more line may be logged in this interval, and count it."""
        if now >= self._intervalEnds:
            self._intervalEnds = now + TOTAL_INTERVAL
            self._linesLeft = MAX_TOTAL_LINES
        self._linesLeft -= 1
        return self._linesLeft >= 0

    def logLine(self, pid: int, stream: int, line: bytes) -> None:
        """Log a line, given without its end."""
        name, verbosity = STREAMS[stream]
        text = line.decode(errors="backslashreplace").rstrip("\r")
        self._log.info("worker {pid} {stream}: {line}", pid=pid, stream=name, line=text, verbosity=verbosity)

    def logSkipped(self, pid: int, stream: int, lines: int, size: int) -> None:
        """Log how many lines have been skipped, and how many bytes they had."""
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

    :param log: the log of all workers.
    :ivar startError: why the worker could not start, if it said so.
    """

    def __init__(self, log: OutputLog) -> None:
        self._log = log
        self._clock = log.clock
        self._pid = 0
        self._pipes: Pipes | None = None
        self._partial = {1: b"", 2: b""}
        self._skipped = {1: [0, 0], 2: [0, 0]}
        self._secondEnds = float("-inf")
        self._lines = {1: [0, 0], 2: [0, 0]}
        self._reads = self._readBytes = 0
        self._timer: IDelayedCall | None = None
        self._paused = False
        self.startError = ""

    def begin(self, pid: int, pipes: Pipes) -> None:
        """Set the process whose output this is, once it has been started."""
        self._pid = pid
        self._pipes = pipes

    def received(self, stream: int, data: bytes) -> None:
        """Log or count what was written to a stream, and pause reading at the limit."""
        now = self._clock.seconds()
        if now >= self._secondEnds:
            self._beginSecond(now)
        self._reads += 1
        self._readBytes += len(data)
        self._split(stream, self._partial[stream] + data, now)
        if self._pipes is not None and (self._reads >= MAX_READS or self._readBytes >= MAX_READ_BYTES):
            self._paused = True
            self._pipes.pauseProducing()
            self._setTimer(now)

    def resume(self) -> None:
        """Read as much as in a new second: the worker is about to end, and must not be blocked."""
        self._reads = self._readBytes = 0
        if self._paused and self._pipes is not None:
            self._paused = False
            self._pipes.resumeProducing()

    def exited(self) -> None:
        """Read what is left without a pause, because the process has ended."""
        self.resume()
        self._pipes = None

    def closed(self, stream: int) -> None:
        """Log the last line of a stream that is closed, which may have no end."""
        rest, self._partial[stream] = self._partial.get(stream, b""), b""
        if rest:
            self._split(stream, rest + b"\n", self._clock.seconds())

    def close(self) -> None:
        """Log the counts of skipped lines, because all output has been read."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._logSkipped()

    def _beginSecond(self, now: float) -> None:
        self._secondEnds = now + 1
        self._reads = self._readBytes = 0
        for counts in self._lines.values():
            counts[:] = 0, 0

    def _split(self, stream: int, data: bytes, now: float) -> None:
        """Log or count the complete lines; keep an incomplete one until its end arrives or it is too long."""
        end = data.rfind(b"\n") + 1
        if len(data) - end > MAX_LINE_LENGTH:
            data += b"\n"
            end = len(data)
        self._partial[stream] = data[end:]
        start = 0
        if self._log.shows(stream):
            while start < end and (stop := self._logNext(stream, data, start, now)):
                start = stop
            if start < end:
                self._skip(stream, data.count(b"\n", start, end), end - start, now)
        if stream == 2 and start < end:
            self._findStartError(data[start:end])

    def _logNext(self, stream: int, data: bytes, start: int, now: float) -> int:
        """
        Log the line that begins at ``start`` if the limits allow it.

        :return: where the next line begins; 0 if the limits do not allow it.
        """
        stop = data.index(b"\n", start)
        line = data[start:stop]
        if stream == 2 and line.startswith(_START_ERROR_PREFIX):
            self._findStartError(line)
            return stop + 1
        counts = self._lines[stream]
        if counts[0] >= MAX_LINES or counts[1] + len(line) > MAX_LINE_BYTES or not self._log.admits(now):
            return 0
        counts[0] += 1
        counts[1] += len(line)
        self._log.logLine(self._pid, stream, line)
        return stop + 1

    def _findStartError(self, data: bytes) -> None:
        found = (b"\n" + data).rfind(b"\n" + _START_ERROR_PREFIX)
        if found >= 0:
            line = data[found:].partition(b"\n")[0]
            self.startError = line.decode(errors="backslashreplace").removeprefix(START_ERROR_PREFIX).rstrip("\r")

    def _skip(self, stream: int, lines: int, size: int, now: float) -> None:
        self._skipped[stream][0] += lines
        self._skipped[stream][1] += size
        self._setTimer(now)

    def _setTimer(self, now: float) -> None:
        """Set the timer for the end of this second."""
        if self._timer is None:
            self._timer = self._clock.callLater(max(self._secondEnds - now, 0), self._secondOver)

    def _secondOver(self) -> None:
        self._timer = None
        self._logSkipped()
        self._beginSecond(self._clock.seconds())
        self.resume()

    def _logSkipped(self) -> None:
        for stream, counts in self._skipped.items():
            lines, size = counts
            if lines:
                counts[:] = 0, 0
                self._log.logSkipped(self._pid, stream, lines, size)
