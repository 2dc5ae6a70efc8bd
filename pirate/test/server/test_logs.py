# -*- test-case-name: pirate.test.server.test_logs -*-
"""The log levels, the limits of frequent events, and the escaping of texts."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from pirate.server.logs import DETAIL, RateLimitedLog, ServerLog, escaped

LEVELS = (LogLevel.critical, LogLevel.error, LogLevel.warn, LogLevel.info, LogLevel.debug)


class LevelTests(SynchronousTestCase):
    """The events that each log-level shows."""

    def shown(self, level: int) -> list[str]:
        """Return the names of the events that are logged, of one event of each level."""
        log = ServerLog(level)
        with capturedLogs() as events:
            for each in LEVELS:
                log.emit(each, each.name)
            log.info("detail", verbosity=DETAIL)
            log.info("urgent", verbosity=0)
        return [formatEvent(event) for event in events]

    def test_levels(self) -> None:
        """Level 0 logs errors, 1 warnings, 2 notices, 3 events of single workers, 4 everything."""
        errors = ["critical", "error"]
        self.assertEqual(self.shown(0), [*errors, "urgent"])
        self.assertEqual(self.shown(1), [*errors, "warn", "urgent"])
        self.assertEqual(self.shown(2), [*errors, "warn", "info", "urgent"])
        self.assertEqual(self.shown(3), [*errors, "warn", "info", "detail", "urgent"])
        self.assertEqual(self.shown(4), [*errors, "warn", "info", "debug", "detail", "urgent"])

    def test_failure(self) -> None:
        """A failure is logged at every level."""
        log = ServerLog(0)
        try:
            raise ValueError("no")
        except ValueError:
            log.failure("it went wrong")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_independent(self) -> None:
        """Each of two servers in one process has a level of its own."""
        quiet, loud = ServerLog(0), ServerLog(4)
        with capturedLogs() as events:
            quiet.info("quiet")
            loud.info("loud")
        self.assertEqual([formatEvent(event) for event in events], ["loud"])

    def test_namespace(self) -> None:
        """The events have a namespace."""
        with capturedLogs() as events:
            ServerLog(2).info("x")
        self.assertEqual(events[0]["log_namespace"], "pirate")


class DroppedTests(SynchronousTestCase):
    """Events that can happen a thousand times a second are counted, and logged once."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.dropped = RateLimitedLog(self.clock, ServerLog(2), "messages dropped")
        self.events = self.enterContext(capturedLogs())

    def lines(self) -> list[str]:
        """Return the logged lines."""
        return [formatEvent(event) for event in self.events]

    def test_first(self) -> None:
        """The first event is logged at once, as a warning, with its reason."""
        self.dropped.count("bad-info")
        self.assertEqual(self.lines(), ["messages dropped: bad-info (1)"])
        self.assertIs(self.events[0]["log_level"], LogLevel.warn)

    def test_many(self) -> None:
        """A flood is counted in full and logged once; the rest is logged when the second is over."""
        for number in range(1000):
            self.dropped.count("bad-info", f"the last one from {number}")
        self.clock.advance(0.9)
        self.dropped.count("no-delimiter", "the last one from 7")
        self.assertEqual(len(self.lines()), 1)
        self.clock.advance(0.1)
        told = "messages dropped: bad-info (999), no-delimiter (1); the last one from 7"
        self.assertEqual(self.lines()[1:], [told])
        self.assertEqual(self.dropped.counts, {"bad-info": 1000, "no-delimiter": 1})
        self.dropped.count("bad-info")
        self.clock.advance(1)
        self.assertEqual(self.lines()[2:], ["messages dropped: bad-info (1)"])

    def test_timer(self) -> None:
        """There is a timer only while an event has not been logged."""
        self.dropped.count("x")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.dropped.count("x")
        self.dropped.count("x")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """Stopping logs what has not been logged, and leaves no timer."""
        self.dropped.stop()
        self.dropped.count("x")
        self.dropped.count("y")
        self.dropped.stop()
        self.assertEqual(self.lines(), ["messages dropped: x (1)", "messages dropped: y (1)"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(1)
        self.dropped.stop()
        self.assertEqual(len(self.lines()), 2)

    def test_notTwice(self) -> None:
        """No event is logged twice."""
        for _ in range(3):
            self.dropped.count("x")
            self.clock.advance(1)
        self.assertEqual(self.lines(), ["messages dropped: x (1)"] * 3)


class EscapingTests(SynchronousTestCase):
    """Texts from outside begin no line of their own, and do nothing to a terminal."""

    def test_escaped(self) -> None:
        """Line ends, terminal escapes and direction marks are escaped; all other text is kept."""
        self.assertEqual(escaped("a\nb\r\x1b[2J\x00\x9b\u202e\u2028"), r"a\nb\r\x1b[2J\x00\x9b\u202e\u2028")
        for text in ("plain {braces}", "déjà vu \u2713 日本", "tab\tstays", ""):
            self.assertEqual(escaped(text), text)

    def test_events(self) -> None:
        """Every text of an event is escaped, but not its format."""
        with capturedLogs() as events:
            ServerLog(2).warn("worker {pid}:\n{line}", pid=7, line="x\n2026-01-01 [-] forged\x1b]0;title\x07")
            ServerLog(2).warn("kept: {error}", error=ValueError("x\ny"))
        self.assertEqual(formatEvent(events[0]), "worker 7:\n" + r"x\n2026-01-01 [-] forged\x1b]0;title\x07")
        self.assertEqual(formatEvent(events[1]), r"kept: x\ny")
