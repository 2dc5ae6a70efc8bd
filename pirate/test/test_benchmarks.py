# -*- test-case-name: pirate.test.test_benchmarks -*-
"""Tests of the benchmarks' commands: their arguments, their output, and that they leave no process running."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from pirate.test.support.benchmarks import COMMAND, PATIENCE, run, start
from pirate.test.support.program import ROOT


def runs(pid: int) -> bool:
    """Return whether a process runs."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


class ClientTests(SynchronousTestCase):
    """``benchmarks/clients.py``."""

    def test_table(self) -> None:
        """The table has a row for each client, and compares ``Client.call`` with the bare socket."""
        if not sys.platform.startswith("linux"):
            raise SkipTest("the benchmark needs Linux")
        clients = str(COMMAND.with_name("clients.py"))
        with start("--scenario", "one", "--runs", "1", "--calls", "30", command=clients) as process:
            out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, err)
        for name in ("bare REQ socket", "Client.call", "AsyncClient.call", "TwistedClient.call"):
            self.assertRegex(out, rf"(?m)^{name} +[\d,]+ ")
        self.assertIn("Client.call / bare REQ socket", out)


class TrialsTests(SynchronousTestCase):
    """The verdicts and the arguments of ``benchmarks/chaos.py`` and ``benchmarks/fuzz.py``."""

    def setUp(self) -> None:
        """Make the benchmarks' packages importable."""
        if not COMMAND.exists():
            raise SkipTest("the benchmark is not here")
        self.patch(sys, "path", [str(COMMAND.parent), *sys.path])

    def module(self, name: str) -> Any:
        """Import a module of the trials."""
        return import_module(f"trials.{name}")

    def test_filesLeftBehind(self) -> None:
        """More open files than the workers account for are a fault."""
        account = self.module("account")
        before = account.State(files=40, workers=4, memory=40.0)
        same = account.State(files=56, workers=8, memory=40.0)
        leaking = account.State(files=60, workers=8, memory=40.0)
        self.assertEqual(account.judgeState(before, same, 40.0).faults, [])
        self.assertEqual(account.judgeState(before, leaking, 40.0).faults, ["open files left behind 4, above 3"])

    def test_memoryLeftBehind(self) -> None:
        """More growth of memory than the limit allows is a fault."""
        account = self.module("account")
        before = account.State(files=40, workers=4, memory=30.0)
        after = account.State(files=40, workers=4, memory=57.0)
        self.assertEqual(account.judgeState(before, after, 45.0).faults, [])
        self.assertEqual(account.judgeState(before, after, 40.0).faults, ["the server grew by 17 MiB, above 16 MiB"])

    def test_account(self) -> None:
        """Each possible fault of an account is reported."""
        account = self.module("account")
        names = ("received", "replied", "joined", "remembered", "withdrawn", "backlog", "in_flight")
        clean = {**dict.fromkeys(names, 0), "failed": {"timeout": 1}, "received": 3, "replied": 2}
        self.assertEqual(account.judgeAccount(account.Account(), Counter({0: 9, 1: 3}), clean), [])
        wrong = account.Account(lost=[1], doubled=[2], foreign=[3], wrong=["echo: denied"])
        self.assertEqual(
            account.judgeAccount(wrong, Counter({5: 4}), {**clean, "received": 4}),
            [
                "1 was lost",
                "2 was answered twice",
                "3 got another's answer",
                "an answer does not fit: echo: denied",
                "1 requests are in no counter",
                "a request was executed 4 times",
            ],
        )

    def test_verdict(self) -> None:
        """A verdict is one line that begins with ok or FAIL, and names the figure above its limit."""
        case = self.module("case")
        good, bad = case.Verdict(), case.Verdict()
        for verdict, waited in ((good, 50), (bad, 51)):
            verdict.limit("1: a client waited", waited, 50, "ms")
        flood = case.Case("flood", "", lambda trial: good)
        self.assertEqual(list(case.lines(flood, good)), ["ok   flood: 1: a client waited 50 ms (at most 50 ms)"])
        self.assertEqual(list(case.lines(flood, bad)), ["FAIL flood: 1: a client waited 51 ms, above 50 ms"])

    def test_answers(self) -> None:
        """The faults of a load are missing, late and foreign replies, and replies to no request."""
        answers = self.module("load").Answers
        self.assertEqual(list(answers(longest=2.0).faults(2.0)), [])
        self.assertEqual(list(answers(longest=2.5).faults(2.0)), ["a request waited 2.5 s, above 2.0 s"])
        self.assertEqual(
            list(answers(longest=9.0, unanswered=2, foreign=1, doubled=3).faults(2.0)),
            [
                "2 requests had no answer after up to 9.0 s",
                "1 replies were another request's",
                "3 answers to nothing",
            ],
        )

    def test_explained(self) -> None:
        """The README explains each case, and no other."""
        readme = (ROOT / "benchmarks" / "README.rst").read_text()
        _, _, explained = readme.partition("Faults and attacks\n")
        listed = []
        for name in ("chaos", "fuzz"):
            status, out, _ = run("--list", command=str(COMMAND.with_name(f"{name}.py")))
            self.assertEqual(status, 0)
            listed += re.findall(r"^(\w+) ", out, re.M)
        self.assertEqual(listed, re.findall(r"^``(\w+)`` \(", explained, re.M))

    def test_independent(self) -> None:
        """No benchmark imports from the tests."""
        importing = re.compile(r"^\s*(?:from|import) pirate\.test\b", re.M)
        sources = COMMAND.parent.rglob("*.py")
        self.assertEqual([str(each) for each in sources if importing.search(each.read_text())], [])

    def test_unknown(self) -> None:
        """An unknown case is refused at once, with the names of all cases."""
        status, out, err = run("--only", "nonsense", command=str(COMMAND.with_name("chaos.py")))
        self.assertEqual((status, out), (2, ""))
        self.assertIn("'nonsense'", err)
        self.assertIn("account", err)


class SpeedTests(SynchronousTestCase):
    """``benchmarks/speed.py``."""

    def setUp(self) -> None:
        """Skip the test where there is no ``/proc``."""
        if not sys.platform.startswith("linux"):
            raise SkipTest("the benchmark needs Linux")

    def test_table(self) -> None:
        """A scenario has a row with a rate and a CPU time, and the figures of each run as JSON."""
        path = Path(self.mktemp())
        measured = ("--scenario", "tiny", "--contestant", "direct", "--runs", "2", "--seconds", "0.05")
        status, out, err = run(*measured, "--json", str(path))
        self.assertEqual(status, 0, err)
        row = re.search(r"^no broker +([\d,]+) +([\d.]+)", out, re.M)
        assert row is not None, out
        result = json.loads(path.read_text())["scenarios"]["tiny"]
        several = [each["rate"] for each in result["runs"]["no broker"]]
        self.assertEqual(len(several), 2)
        self.assertEqual(result["medians"]["no broker"]["rate"], sum(several) / 2)
        self.assertEqual(row[1], f"{sum(several) / 2:,.0f}")

    def test_scenarios(self) -> None:
        """The README explains each scenario, and no other."""
        status, out, _ = run("--list")
        readme = (ROOT / "benchmarks" / "README.rst").read_text()
        _, _, explained = readme.partition("The scenarios\n")
        self.assertEqual(status, 0)
        self.assertEqual(re.findall(r"^(\w+) ", out, re.M), re.findall(r"^``(\w+)``$", explained, re.M))

    def test_nonsense(self) -> None:
        """An unknown scenario is refused at once, with the names of all scenarios."""
        status, out, err = run("--scenario", "nonsense")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("'nonsense'", err)
        self.assertIn("tiny", err)

    def test_interrupted(self) -> None:
        """After Ctrl-C no process that the benchmark started is left."""
        with start("--scenario", "tiny", "--contestant", "queue", "--seconds", "60") as process:
            self.addCleanup(process.kill)
            assert process.stderr is not None
            self.assertIn("pyzmq LRU queue", process.stderr.readline())
            while len(started := self.children(process.pid)) < 3:
                self.assertIsNone(process.poll())
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE)
        self.assertEqual([pid for pid in started if runs(pid)], [])

    def children(self, pid: int) -> list[int]:
        """Return the children of a process."""
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
