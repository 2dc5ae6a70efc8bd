# -*- test-case-name: pirate.test.server.test_output -*-
"""The log of what workers write: line by line, and counted beyond the limits."""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import START_ERROR_PREFIX
from pirate.server.childprocess import ChildProcess
from pirate.server.logs import ServerLog
from pirate.server.output import (
    MAX_LINE_BYTES,
    MAX_LINE_LENGTH,
    MAX_LINES,
    MAX_READ_BYTES,
    MAX_READS,
    MAX_TOTAL_LINES,
    OutputLog,
)
from pirate.test.support.children import RecordingSupervisor, spawnChild
from pirate.testing import FakeProcess, ProcessReactor


class OutputCase(SynchronousTestCase):
    """Workers on a fake reactor, and the log of their output."""

    def setUp(self) -> None:
        self.reactor = ProcessReactor()
        self.level = 2
        self.supervisor = RecordingSupervisor()
        self.exits = self.supervisor.exits
        self.log = OutputLog(self.reactor, ServerLog(lambda: self.level))
        self.events = self.enterContext(capturedLogs())
        self.worker, self.process = self.spawn()

    def spawn(self) -> tuple[ChildProcess, FakeProcess]:
        """Start a worker."""
        return spawnChild(self.reactor, self.log, self.supervisor)

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Return the logged lines, each with its stream."""
        return [(event["line"], event["stream"]) for event in self.events if "line" in event]

    @property
    def folded(self) -> list[str]:
        """Return the logged counts of skipped lines."""
        return [formatEvent(event) for event in self.events if "line" not in event]


class LineTests(OutputCase):
    """The output of a worker is logged line by line."""

    def test_lines(self) -> None:
        """Each line is logged when it is complete, with the name of its stream and without its end."""
        self.process.writeOutput(b"one\ntwo\r\nthr")
        self.process.writeOutput(b"error\n", 2)
        self.assertEqual(self.lines, [("one", "stdout"), ("two", "stdout"), ("error", "stderr")])
        self.process.writeOutput(b"ee\n")
        self.assertEqual(self.lines[-1], ("three", "stdout"))
        self.assertEqual(formatEvent(self.events[0]), f"worker {self.process.pid} stdout: one")

    def test_mixed(self) -> None:
        """Half a line on one stream does not mix with the other stream."""
        self.process.writeOutput(b"out", 1)
        self.process.writeOutput(b"err", 2)
        self.process.writeOutput(b"put\n", 1)
        self.process.writeOutput(b"or\n", 2)
        self.assertEqual(self.lines, [("output", "stdout"), ("error", "stderr")])

    def test_noEnd(self) -> None:
        """A last line without an end is logged when the stream closes, and a complete one is not logged twice."""
        self.process.writeOutput(b"whole\nhalf")
        self.process.writeOutput(b"whole\n", 2)
        self.process.end()
        self.assertEqual(self.lines, [("whole", "stdout"), ("whole", "stderr"), ("half", "stdout")])

    def test_long(self) -> None:
        """A line without an end is logged in pieces, so that it does not grow in memory."""
        piece = b"x" * 1000
        for _ in range(60):
            self.process.writeOutput(piece)
        self.assertGreaterEqual(len(self.lines), 3)
        self.process.writeOutput(b"\nnext\n")
        *pieces, last = self.lines
        self.assertEqual("".join(line for line, _ in pieces), "x" * 60_000)
        self.assertEqual(last, ("next", "stdout"))
        self.assertLessEqual(max(len(line) for line, _ in pieces), MAX_LINE_LENGTH + len(piece))

    def test_notText(self) -> None:
        """Bytes that are not UTF-8 are shown as escapes."""
        self.process.writeOutput("gr\u00fc\u00df ".encode() + b"\xff\xfe!\n")
        self.assertEqual(self.lines, [("gr\u00fc\u00df \\xff\\xfe!", "stdout")])

    def test_empty(self) -> None:
        """An empty line is logged; no line is not."""
        self.process.writeOutput(b"\n")
        self.process.end()
        self.assertEqual(self.lines, [("", "stdout")])

    def test_level(self) -> None:
        """Standard error is logged from level 1, standard output from 2; what is not logged is not split."""
        for level, shown in ((0, []), (1, ["stderr"]), (2, ["stdout", "stderr"])):
            self.level = level
            seen = len(self.events)
            self.process.writeOutput(b"x\n" * 2 * MAX_LINES)
            self.process.writeOutput(b"x\n" * 2 * MAX_LINES, 2)
            self.reactor.advance(1)
            events = self.events[seen:]
            self.assertEqual([event["stream"] for event in events if "lines" in event], shown)
            self.assertEqual(len(events), (MAX_LINES + 1) * len(shown))


class LimitTests(OutputCase):
    """However much a worker writes, little is logged and the rest is counted."""

    def test_lines(self) -> None:
        """The lines logged in a second are limited, and the number of the others is logged when it is over."""
        self.process.writeOutput(b"x\n" * 5000)
        self.assertEqual((len(self.lines), self.folded), (MAX_LINES, []))
        self.process.writeOutput(b"y\n")
        self.reactor.advance(1)
        lines = 5001 - MAX_LINES
        expected = f"worker {self.process.pid} stdout: ... and {lines} more lines ({2 * lines} bytes)"
        self.assertEqual((len(self.lines), self.folded), (MAX_LINES, [expected]))
        self.process.writeOutput(b"z\n")
        self.assertEqual(self.lines[-1], ("z", "stdout"))

    def test_bytes(self) -> None:
        """The bytes logged in a second are limited."""
        for _ in range(10):
            self.process.writeOutput(b"x" * 10_000 + b"\n")
        self.assertEqual(len(self.lines), MAX_LINE_BYTES // 10_000)
        self.process.writeOutput(b"y" * 10 * MAX_LINE_LENGTH)
        self.reactor.advance(1)
        self.assertIn("more lines (20", self.folded[0])

    def test_all(self) -> None:
        """The lines of all workers together are limited."""
        for _ in range(20):
            self.spawn()[1].writeOutput(b"x\n" * 1000)
        self.assertEqual(len(self.lines), MAX_TOTAL_LINES)
        self.reactor.advance(1)
        self.assertEqual(len(self.folded), 20)

    def test_end(self) -> None:
        """The count is logged when the worker ends before the second is over, and no timer is left."""
        self.process.writeOutput(b"x\n" * 1000)
        self.process.end()
        self.assertEqual(len(self.folded), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_quiet(self) -> None:
        """There is no timer for a worker that stays within the limits."""
        self.process.writeOutput(b"x\n" * MAX_LINES)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_lastWords(self) -> None:
        """The reason why a worker could not start is found in any flood, at any level."""
        words = f"{START_ERROR_PREFIX}no good\n".encode()
        for level in (0, 2):
            self.level = level
            for before in (b"", b"x\n" * 5000, b"\n" * 8000):
                _, process = self.spawn()
                process.writeOutput(before + words[:5], 2)
                process.writeOutput(words[5:], 2)
                process.end(4)
                self.assertEqual(self.exits.pop().message, "no good")


class PauseTests(OutputCase):
    """Reading from a worker that writes too fast pauses."""

    def test_bytes(self) -> None:
        """Reading pauses after a number of bytes until the second is over."""
        for _ in range(MAX_READ_BYTES // 8192 - 1):
            self.process.writeOutput(b"x\n" * 4096)
        self.assertFalse(self.process.paused)
        self.process.writeOutput(b"x\n" * 4096)
        self.assertTrue(self.process.paused)
        self.reactor.advance(0.9)
        self.assertTrue(self.process.paused)
        self.reactor.advance(0.1)
        self.assertFalse(self.process.paused)

    def test_reads(self) -> None:
        """Reading pauses after a number of reads, even at a level that logs nothing."""
        self.level = 0
        for _ in range(MAX_READS):
            self.process.writeOutput(b"x")
        self.assertTrue(self.process.paused)
        self.reactor.advance(1)
        self.assertFalse(self.process.paused)

    def pause(self) -> None:
        """Let the worker write more than the limit."""
        for _ in range(MAX_READS):
            self.process.writeOutput(b"x\n")
        self.assertTrue(self.process.paused)

    def test_signal(self) -> None:
        """Reading resumes when the worker is sent a signal: it may write before it ends."""
        self.pause()
        self.worker.signal("TERM")
        self.assertFalse(self.process.paused)

    def test_ends(self) -> None:
        """The end of a worker whose reading is paused is noticed at once, and its last words are read."""
        self.pause()
        self.process.writeOutput(f"{START_ERROR_PREFIX}no good\n".encode(), 2)
        self.process.exit(4)
        self.process.closeStreams()
        self.assertEqual([exit.message for exit in self.exits], ["no good"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_afterwards(self) -> None:
        """A process that inherited the streams of an ended worker does not delay its end."""
        self.process.exit(1)
        self.pauseless()
        self.reactor.advance(1)
        self.assertEqual(len(self.exits), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def pauseless(self) -> None:
        """Let the worker exceed the limit, and check that it is read again."""
        for _ in range(2 * MAX_READS):
            self.process.writeOutput(b"x\n")
        self.assertFalse(self.process.paused)
