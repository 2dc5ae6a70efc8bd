# -*- test-case-name: pirate.test.commands.test_report -*-
"""Tests of the summary of many calls, the progress line and the completion scripts."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from random import Random

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from pirate.client import errors
from pirate.commands import report
from pirate.commands.completion import completionScript
from pirate.commands.exits import ExitStatus
from pirate.commands.parser import SHELLS, newParser
from pirate.commands.report import Progress, Report
from pirate.wire.words import Code


class Terminal(io.StringIO):
    """A terminal that records what it shows."""

    def isatty(self) -> bool:
        return True


class ReportTests(SynchronousTestCase):
    """The summary."""

    def test_quantiles(self) -> None:
        """Percentiles are latencies of replies, and the rate is that of replies."""
        report = Report(Random(7))
        for each in range(100, 0, -1):
            report.add(each / 1000, None)
        report.add(9.0, errors.failure(Code.BUSY, ""))
        figures = report.figures(4.0)
        self.assertEqual(figures["latency_ms"], {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0})
        self.assertEqual((figures["requests"], figures["replies"], figures["rate"]), (101, 100, 25.0))

    def test_one(self) -> None:
        """With one reply every percentile is its latency."""
        report = Report(Random(7))
        report.add(0.002, None)
        self.assertEqual(set(report.figures(1.0)["latency_ms"].values()), {2.0})

    def test_none(self) -> None:
        """Without replies there are no latencies, and no division by zero."""
        self.assertEqual(Report(Random(7)).figures(0.0)["rate"], None)
        self.assertEqual(Report(Random(7)).lines(0.0, 5), ["0 of 0 replies in 0.00 s, 0/s"])

    def test_status(self) -> None:
        """The most frequent error gives the exit status."""
        report = Report(Random(7))
        self.assertEqual(report.status, ExitStatus.OK)
        for code in (Code.BUSY, Code.APP_ERROR, Code.APP_ERROR):
            report.add(0.1, errors.failure(code, ""))
        self.assertEqual(report.status, ExitStatus.APP_ERROR)

    def test_hopeless(self) -> None:
        """Calls are hopeless if nothing could be sent, or if the server has never replied."""
        unsent, notLetIn = errors.Unavailable("nobody"), errors.Denied("no key")
        silent, cut = errors.Timeout("no reply"), errors.Unavailable("lost")
        silent.sent = cut.sent = 1
        refused = errors.failure(Code.DENIED, "")
        refused.sent = 1
        for error, first, later in (
            (unsent, True, True),
            (notLetIn, True, True),
            (silent, True, False),
            (cut, False, False),
            (refused, False, False),
            (errors.failure(Code.EXPIRED, ""), False, False),
        ):
            report = Report(Random(7))
            report.add(0.1, error)
            self.assertEqual(report.hopeless, first, error)
            report.add(0.1, None)
            self.assertFalse(report.hopeless)
            report.add(0.1, error)
            self.assertEqual(report.hopeless, later, error)

    def test_gaveUp(self) -> None:
        """The summary for people says how many requests were not sent."""
        report = Report(Random(7))
        report.add(0.1, errors.Unavailable("nobody answers"))
        self.assertEqual(report.lines(1.0, 9)[-1], "gave up: the remaining 8 were not sent")
        self.assertIn("unavailable: 1", report.lines(1.0, 1)[-1])

    def test_sample(self) -> None:
        """Of very many latencies a uniform sample is kept, in any order; the count and the maximum are exact."""
        self.patch(report, "SAMPLE", 1000)
        many = Report(Random(7))
        for each in range(20_000, 0, -1):
            many.add(each, None)
        figures = many.figures(1.0)
        self.assertEqual((figures["replies"], figures["latency_ms"]["max"]), (20_000, 20_000_000))
        self.assertEqual(len(many._latencies), 1000)
        self.assertTrue(9_000 < figures["latency_ms"]["p50"] / 1000 < 11_000)
        self.assertTrue(17_000 < figures["latency_ms"]["p90"] / 1000 < 19_000)


class ProgressTests(SynchronousTestCase):
    """The progress line."""

    def test_terminal(self) -> None:
        """It is updated ten times a second at most, and cleared at the end."""
        stream = Terminal()
        progress = Progress(stream, 60, now=10.0)
        for done, now in ((1, 10.05), (20, 12.0), (21, 12.05)):
            progress.show(done, now)
        self.assertEqual(stream.getvalue(), "\r\x1b[K[" + "#" * 10 + "." * 20 + "] 20/60  10/s")
        progress.clear()
        self.assertTrue(stream.getvalue().endswith("/s\r\x1b[K"))

    def test_noTerminal(self) -> None:
        """A file, or a closed stream, receives nothing."""
        file = io.StringIO()
        for stream in (file, None):
            progress = Progress(stream, 60, now=0.0)
            progress.show(20, 1.0)
            progress.clear()
        self.assertEqual(file.getvalue(), "")

    def test_quick(self) -> None:
        """Calls that end before the first update leave no trace."""
        stream = Terminal()
        Progress(stream, 60, now=0.0).clear()
        self.assertEqual(stream.getvalue(), "")


class CompletionTests(SynchronousTestCase):
    """The completion scripts."""

    def test_options(self) -> None:
        """Each script has every option of the parser."""
        for shell in SHELLS:
            text = completionScript(newParser(), shell)
            for action in newParser()._actions:
                for name in action.option_strings:
                    known = (
                        f" -{'l' if name.startswith('--') else 's'} {name.lstrip('-')} " if shell == "fish" else name
                    )
                    self.assertIn(known, text, shell)

    def test_syntax(self) -> None:
        """The shells that are installed accept their scripts."""
        found = [shell for shell in SHELLS if shutil.which(shell)]
        if not found:
            raise SkipTest("none of the shells is here")
        for shell in found:
            text = completionScript(newParser(), shell).encode()
            done = subprocess.run([shell, "-n", "/dev/stdin"], input=text, capture_output=True, timeout=30)
            self.assertEqual((done.returncode, done.stderr), (0, b""), shell)

    def test_bash(self) -> None:
        """bash completes an option and the names of shells, and nothing for a number."""
        if not shutil.which("bash"):
            raise SkipTest("bash is not here")
        ask = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pirate_client; echo "${COMPREPLY[*]}"'
        text = completionScript(newParser(), "bash") + ask
        for words, completed in (
            (("--conc",), "--concurrency"),
            (("--completion", "z"), "zsh"),
            (("--curve-s",), "--curve-server --curve-secret"),
            (("--timeout", ""), ""),
        ):
            command = ["bash", "--norc", "-c", text, "bash", "pirate-client", *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
            self.assertEqual((done.stdout.strip(), done.stderr), (completed, ""))

    def test_oneLineEach(self) -> None:
        """No help text breaks out of its line of the script."""
        quoted = re.compile(r"complete -c pirate-client .* -d '(\\'|[^'])*'")
        for line in completionScript(newParser(), "fish").splitlines()[2:]:
            self.assertTrue(quoted.fullmatch(line), line)
