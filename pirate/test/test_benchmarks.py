# -*- test-case-name: pirate.test.test_benchmarks -*-
"""The benchmark, as a command: what it takes, what it gives, and that it leaves nothing running."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import pirate

ROOT = Path(pirate.__file__).parent.parent
COMMAND = ROOT / "benchmarks" / "speed.py"

#: Seconds after which a test that waits for something has failed.
PATIENCE = 60


def start(*arguments: str, command: str = str(COMMAND)) -> subprocess.Popen[str]:
    """Start the benchmark, with this very package."""
    if not COMMAND.exists():
        raise SkipTest("the benchmark is not here")
    return subprocess.Popen(
        [sys.executable, command, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str) -> tuple[int, str, str]:
    """The same to its end.  :return: the exit status, the standard output and the standard error."""
    with start(*arguments) as process:
        out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def runs(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


class ClientTests(SynchronousTestCase):
    """C{benchmarks/clients.py}."""

    def test_table(self) -> None:
        """Each kind of client that asks one at a time has its row, and is compared with the bare socket."""
        if not sys.platform.startswith("linux"):
            raise SkipTest("the benchmark needs Linux")
        clients = str(COMMAND.with_name("clients.py"))
        with start("--scenario", "one", "--runs", "1", "--calls", "100", command=clients) as process:
            out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, err)
        for name in ("bare REQ socket", "Client.call", "AsyncClient.call", "TwistedClient.call"):
            self.assertRegex(out, rf"(?m)^{name} +[\d,]+ ")
        self.assertIn("Client.call / bare REQ socket", out)


class SpeedTests(SynchronousTestCase):
    """C{benchmarks/speed.py}."""

    def setUp(self) -> None:
        """It knows of processes what Linux tells."""
        if not sys.platform.startswith("linux"):
            raise SkipTest("the benchmark needs Linux")

    def test_table(self) -> None:
        """A scenario gives a row with a rate and a CPU time, and the same figures, run by run, as JSON."""
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
        """The README explains every scenario that there is, and no other."""
        status, out, _ = run("--list")
        readme = (ROOT / "benchmarks" / "README.rst").read_text()
        _, _, explained = readme.partition("The scenarios\n")
        self.assertEqual(status, 0)
        self.assertEqual(re.findall(r"^(\w+) ", out, re.M), re.findall(r"^``(\w+)``$", explained, re.M))

    def test_nonsense(self) -> None:
        """A scenario that there is not is refused before anything is measured; the message names those there are."""
        status, out, err = run("--scenario", "nonsense")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("'nonsense'", err)
        self.assertIn("tiny", err)

    def test_interrupted(self) -> None:
        """After Ctrl-C every process that was started has ended."""
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
        """The children of a process."""
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
