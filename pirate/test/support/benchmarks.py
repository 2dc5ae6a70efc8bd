"""Functions that run the commands of the benchmarks."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SkipTest

from pirate.test.support.program import ROOT, environmentWith

COMMAND = ROOT / "benchmarks" / "speed.py"
#: Seconds after which a test that waits for something has failed.
PATIENCE = 60


def start(*arguments: str, command: str = str(COMMAND)) -> subprocess.Popen[str]:
    """Start a benchmark of this checkout."""
    if not COMMAND.exists():
        raise SkipTest("the benchmark is not here")
    return subprocess.Popen(
        [sys.executable, command, *arguments],
        env=environmentWith({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str, command: str = str(COMMAND)) -> tuple[int, str, str]:
    """
    Run a benchmark to its end.

    :return: the exit status, the standard output and the standard error.
    """
    with start(*arguments, command=command) as process:
        out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err
