# -*- test-case-name: pirate.test.test_benchmarks -*-
"""Tests of the benchmarks' commands: their arguments, their output, and that they leave no process running."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from struct import unpack_from
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
        clean |= {"spawns": 3, "exits": {"exit code 0": 1}, "pids": {"1": "waiting", "2": "waiting"}}
        self.assertEqual(account.judgeAccount(account.Account(), Counter({0: 9, 1: 3}), clean), [])
        wrong = account.Account(lost=[1], doubled=[2], foreign=[3], wrong=["echo: denied"])
        self.assertEqual(
            account.judgeAccount(wrong, Counter({5: 4}), {**clean, "received": 4, "pids": dict.fromkeys(range(25))}),
            [
                "invariant 2: 1 was lost",
                "invariant 57: 2 was answered twice",
                "invariant 3: 3 got another's answer",
                "an answer does not fit: echo: denied",
                "invariant 7: 1 requests are in no counter",
                "invariant 16: a request was executed 4 times",
                "invariant 49: the counts of starts and ends of workers do not agree",
                "invariant 8: there are 25 workers",
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
                "invariant 2: 2 requests had no answer after up to 9.0 s",
                "invariant 3: 1 replies were another request's",
                "invariant 57: 3 answers to nothing",
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


class SuiteTests(SynchronousTestCase):
    """What the benchmarks calculate from what they have read."""

    def setUp(self) -> None:
        """Make the benchmarks' packages importable."""
        if not COMMAND.exists():
            raise SkipTest("the benchmark is not here")
        self.patch(sys, "path", [str(COMMAND.parent), *sys.path])
        self.processes = import_module("suite.processes")

    def snapshot(self, threads: dict[tuple[int, int], float], reaped: float = 0.0) -> Any:
        """Make a snapshot of threads with so many seconds of CPU time each, by the ids of process and thread."""
        processes: dict[int, float] = {}
        for (pid, _), seconds in threads.items():
            processes[pid] = processes.get(pid, 0.0) + seconds
        usage = self.processes.Usage
        named = {key: ("main" if key[0] == key[1] else "io", usage(user=cpu)) for key, cpu in threads.items()}
        return self.processes.Snapshot(named, processes, reaped)

    def test_stat(self) -> None:
        """The name of a process may hold blanks and parentheses."""
        rest = "S 1 " + "0 " * 9 + "200 100 30 40 20 0"
        name, times = self.processes.parseStat(f"7 (a (b) c) {rest}")
        ticks = os.sysconf("SC_CLK_TCK")
        self.assertEqual((name, times), ("a (b) c", [200 / ticks, 100 / ticks, 30 / ticks, 40 / ticks]))

    def test_switches(self) -> None:
        """The context switches are told apart."""
        text = "Name:\tpython\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n"
        self.assertEqual(self.processes.parseSwitches(text), (12, 3))

    def test_threads(self) -> None:
        """What threads of one name used is added up, that of a new one included, without one that has ended."""
        before = self.snapshot({(1, 1): 1.0, (1, 2): 5.0, (1, 3): 2.0})
        after = self.snapshot({(1, 1): 1.5, (1, 3): 2.25, (4, 4): 1.0, (4, 5): 0.5})
        used = self.processes.threadsBetween(before, after)
        self.assertEqual({name: usage.cpu for name, usage in used.items()}, {"main": 1.5, "io": 0.75})

    def test_cpuOfEnded(self) -> None:
        """A worker that has ended meanwhile counts for what it used since the first snapshot."""
        before = self.snapshot({(1, 1): 1.0, (2, 2): 3.0}, reaped=10.0)
        after = self.snapshot({(1, 1): 2.0, (3, 3): 0.5}, reaped=13.25)
        self.assertAlmostEqual(self.processes.cpuBetween(before, after), 1.0 + 0.5 + 0.25)

    def test_ownUsage(self) -> None:
        """A process is measured with its threads, and one that has ended is left out."""
        if not sys.platform.startswith("linux"):
            raise SkipTest("there is no /proc")
        taken = self.processes.snapshot([os.getpid(), 1 << 30], parents=[os.getpid()])
        self.assertEqual(list(taken.processes), [os.getpid()])
        name, usage = taken.threads[os.getpid(), os.getpid()]
        self.assertEqual(name, "main")
        self.assertGreater(usage.voluntary + usage.involuntary, 0)
        self.assertGreater(self.processes.ownBytes(os.getpid()), 1 << 20)

    def test_medians(self) -> None:
        """A figure that some runs do not have is that of the others."""
        table = import_module("suite.table")
        runs = {"a": [{"rate": 3.0}, {"rate": 1.0, "p50": 7.0}, {"rate": 2.0}], "b": []}
        self.assertEqual(table.medians(runs), {"a": {"rate": 2.0, "p50": 7.0}})

    def test_render(self) -> None:
        """A table has a row for each case that has any of its figures, with the range of the first one."""
        scenario, table = import_module("suite.scenario"), import_module("suite.table")
        target = scenario.Target("rate", "a", "b", least=2)
        shown = scenario.Scenario("race", "who is first", ("rate", "p50"), (), (target,))
        runs = {"a": [{"rate": 3000.0}, {"rate": 5000.0}], "b": [{"rate": 1000.0, "p50": 1.5}], "c": [{"p99": 1.0}]}
        lines = table.render(shown, runs).splitlines()
        self.assertEqual([line.split()[:3] for line in lines[3:5]], [["a", "4,000", "-"], ["b", "1,000", "1.500"]])
        self.assertIn("3,000 to 5,000", lines[3])
        self.assertEqual(lines[5:], ["", "  met     a / b, requests/s: 4.00 (wanted: >= 2)"])

    def test_renderThreads(self) -> None:
        """A table of threads has a row for each, and there is none where none were measured."""
        table = import_module("suite.table")
        usage = self.processes.Usage(user=2.0, system=1.0, voluntary=40, involuntary=8)
        figures = table.threadFigures("broker", {"main": usage, "idle": self.processes.Usage()}, thousands=10)
        shown = table.renderThreads({"pirate": [figures]}).splitlines()[3:]
        rows = [" ".join(line.split()) for line in shown]
        self.assertEqual(rows, ["pirate: broker, main 0.3000 0.1000 4 0.8 0.0000"])
        self.assertEqual(table.renderThreads({"pirate": [{"rate": 1.0}]}), "")

    def test_targets(self) -> None:
        """A target holds for the median or for every run, and may have another bound on a slow machine."""
        scenario = import_module("suite.scenario")
        runs = {"a": [{"rate": 50.0}, {"rate": 60.0}, {"rate": 10.0}], "b": [{"rate": 10.0}]}
        target = scenario.Target
        self.assertTrue(target("rate", "a", least=40).holds(runs))
        self.assertFalse(target("rate", "a", least=40, every=True).holds(runs))
        self.assertFalse(target("rate", "a", most=55, every=True).holds(runs))
        self.assertFalse(target("rate", "a", "b", least=6).holds(runs))
        self.assertTrue(target("rate", "a", "b", least=6, slow=(20, 4.5)).holds(runs))
        self.assertFalse(target("rate", "a", "b", least=6, slow=(10, 4.5)).holds(runs))
        self.assertFalse(target("rate", "c", least=0).holds(runs))

    def test_turns(self) -> None:
        """The messages of a leg are divided by the turns that had any, within the time that is asked for."""
        turns = import_module("suite.turns")
        lines = [
            {"at": at, "turns": 10 * at, "announced": at, "longest": 0.5 if at == 1 else 0.002, "credits": credits}
            | {leg: 64 * at for leg in turns.LEGS}
            | {f"{leg}Turns": 4 * at for leg in turns.LEGS}
            for at, credits in ((1, {}), (2, {}), (3, {"w": [16, 64], "v": [64, 64]}), (4, {"w": [64, 64]}), (9, {}))
        ]
        whole = [json.dumps(each) for each in lines]
        parsed = turns.parse([*whole, whole[0][:9]])
        self.assertEqual(parsed, lines)
        figures = turns.figures(parsed, 1.5, 4.5, 300)
        self.assertEqual({figures[leg] for leg in turns.LEGS}, {16.0})
        self.assertEqual((figures["turns"], figures["announced"], figures["longest"]), (100.0, 10.0, 2.0))
        self.assertEqual((figures["lowest"], figures["credit"]), (16, 64.0))
        self.assertEqual(turns.figures(parsed, 8.0, 9.5, 300), {})


class RivalTests(SynchronousTestCase):
    """``benchmarks/rivals.py``."""

    def setUp(self) -> None:
        """Make the benchmarks' packages and programs importable."""
        if not COMMAND.exists():
            raise SkipTest("the benchmark is not here")
        self.patch(sys, "path", [str(COMMAND.parent), str(COMMAND.parent / "programs"), *sys.path])

    def test_table(self) -> None:
        """Each part has a table, and the JSON has the figures of each run and its threads."""
        if not sys.platform.startswith("linux"):
            raise SkipTest("the benchmark needs Linux")
        path = Path(self.mktemp())
        measured = ("--contestant", "proxy", "--runs", "2", "--seconds", "0.1", "--json", str(path))
        status, out, err = run(*measured, command=str(COMMAND.with_name("rivals.py")))
        self.assertEqual(status, 0, err)
        self.assertEqual(re.findall(r"^(\w+): one client", out, re.M), ["peak", "alone", "open"])
        self.assertEqual(len(re.findall(r"^zmq\.proxy +[\d,.]+ ", out, re.M)), 3)
        (several,) = json.loads(path.read_text())["scenarios"]["peak"]["runs"].values()
        self.assertEqual(len(several), 2)
        for figures in several:
            self.assertAlmostEqual(figures["density"], figures["rate"] / figures["memory"])
            self.assertIn("thread|broker|main|voluntary", figures)

    def test_missing(self) -> None:
        """A contestant that is not installed is left out with one line that tells how to install it."""
        rivals = import_module("suite.rivals")
        self.patch(rivals, "_gearmand", lambda: None)
        self.assertIn("apt-get install", rivals.GEARMAN.lacks())
        self.patch(rivals, "_natsServer", lambda: None)
        self.assertIn("[bench]", rivals.NATSPY.lacks())
        self.patch(rivals, "_natsServer", lambda: "nats-server")
        self.assertIn("nonsense", rivals._lacksNats("nonsense", "nonsense"))

    def test_explained(self) -> None:
        """The README explains each part, and no other."""
        readme = (ROOT / "benchmarks" / "README.rst").read_text()
        explained = readme.partition("The rivals\n---")[2].partition("The first lines of the output")[0]
        names = [each.name for each in import_module("suite.rivals").SCENARIOS]
        self.assertEqual(re.findall(r"^``(\w+)``$", explained, re.M), names)

    def test_requests(self) -> None:
        """No request is like another, there are as many as wanted, and only its own reply is right."""
        asking = import_module("asking")
        requests = asking.Requests(3)
        sent = list(requests)
        self.assertEqual(len(set(sent)), 3)
        self.assertEqual({len(each) for each in sent}, {32})
        requests.check(sent[0], sent[0])
        self.assertRaises(asking.WrongReply, requests.check, sent[0], sent[1])
        self.assertEqual(len(requests.latencies), 1)
        self.assertEqual(list(asking.Requests(seconds=-1)), [])

    def test_pace(self) -> None:
        """Requests are due at regular times; those that are very late count from when they were due."""
        asking = import_module("asking")
        pace = asking.Pace(rate=100, seconds=0.05, now=10.0)
        times = [unpack_from("<Q", each)[0] / 1e9 for each in pace.due(10.0)]
        self.assertEqual(times, [10.0])
        self.assertAlmostEqual(pace.wait(10.004), 0.006)
        self.assertEqual(pace.due(10.004), [])
        self.assertEqual(pace.wait(10.025), 0.0)
        times = [unpack_from("<Q", each)[0] / 1e9 for each in pace.due(10.0205)]
        self.assertEqual([round(each, 4) for each in times], [10.011, 10.0205])
        self.assertEqual(len(pace.due(11.0)), 2)
        self.assertEqual((pace.wait(11.0), pace.due(12.0)), (None, []))

    def test_paceInLots(self) -> None:
        """A client that is late sends a bounded number of requests before it reads replies."""
        asking = import_module("asking")
        pace = asking.Pace(rate=1000, seconds=1, now=10.0)
        self.assertEqual([len(pace.due(20.0)) for _ in range(17)], [64] * 15 + [40, 0])

    def test_quantiles(self) -> None:
        """Quantiles are milliseconds, of nanoseconds."""
        asking = import_module("asking")
        found = asking.quantiles([each * 1_000_000 for each in range(1000)])
        self.assertEqual(found, {"p50": 500.0, "p99": 990.0, "p99.9": 999.0})
        self.assertEqual(asking.quantiles([])["p99"], 0.0)

    def test_gearman(self) -> None:
        """Packets of a server are found wherever the reading cuts them, and nothing else is taken for one."""
        gear = import_module("gearsocket")
        self.assertEqual(gear.packet(gear.SUBMIT_JOB, b"f", b"", b"\0x"), b"\0REQ\0\0\0\x07\0\0\0\x05f\0\0\0x")
        stream = b"\0RES\0\0\0\x08\0\0\0\x03H:1" + b"\0RES\0\0\0\x06\0\0\0\0" + b"\0RES\0\0\0\x0d\0\0\0\x06H:1\0ok"
        wanted = [(gear.JOB_CREATED, b"H:1"), (gear.NOOP, b""), (gear.WORK_COMPLETE, b"H:1\0ok")]
        for cut in range(len(stream) + 1):
            packets = gear.Packets()
            self.assertEqual(packets.feed(stream[:cut]) + packets.feed(stream[cut:]), wanted)
        self.assertRaises(ValueError, gear.Packets().feed, b"GET / HTTP/1")


class PairsTests(SynchronousTestCase):
    """The statistics of ``benchmarks/pairs.py``."""

    def setUp(self) -> None:
        """Import the benchmark."""
        if not COMMAND.exists():
            raise SkipTest("the benchmark is not here")
        self.patch(sys, "path", [str(COMMAND.parent), *sys.path])
        self.pairs: Any = import_module("pairs")

    def test_interval(self) -> None:
        """The interval is the narrowest between two symmetric ratios that has the confidence, or else all of them."""
        # P(at most k of n coins show heads) leaves out so much on each side.
        for count, rank, covered in ((3, 0, 1 - 2 / 8), (6, 0, 1 - 2 / 64), (8, 0, 1 - 2 / 256), (9, 1, 1 - 20 / 512)):
            ratios = [float((each * 5) % 11) for each in range(count)]
            ordered = sorted(ratios)
            self.assertEqual(self.pairs.interval(ratios), (ordered[rank], ordered[-1 - rank], covered))
        self.assertEqual(self.pairs.interval([1.0, 2.0, 3.0, 4.0, 5.0], 0.5), (2.0, 4.0, 1 - 12 / 32))

    def test_summary(self) -> None:
        """The result is one line with the median ratio, the interval and its confidence, and the number of pairs."""
        ratios = [1.02, 0.97, 1.01, 5.0, 0.99, 1.0, 1.03, 0.2, 0.98, 1.04]
        self.assertEqual(self.pairs.summary(ratios), "median ratio 1.005, 97.9% interval 0.970 to 1.040, 10 pairs")


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
        explained = readme.partition("The scenarios\n---")[2].partition("The rivals\n---")[0]
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
        # In a background job SIGINT is ignored, and the benchmark would inherit that.
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
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
