"""Runs of the benchmarks' commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest

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


def run(*arguments: str, command: str = str(COMMAND)) -> tuple[int, str, str]:
    """
    The same to its end.

    :return: the exit status, the standard output and the standard error.
    """
    with start(*arguments, command=command) as process:
        out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err
