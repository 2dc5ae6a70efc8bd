#!/usr/bin/env python3
"""
Plant defects, one at a time, and see which seed of the simulated world finds each.

::

    benchmarks/mutants.py                    # all of them
    benchmarks/mutants.py --only charge      # those whose names contain a text
    benchmarks/mutants.py --seeds 200

Each is planted in a copy of the package.  The exit status is 1 if one is not found.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

#: Seconds after which a run counts as one without an end.
PATIENCE = 120.0
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Mutant:
    """
    A defect.

    :ivar name: a few words.
    :ivar file: the module, from the package.
    :ivar old: the text that is there.
    :ivar new: the text that takes its place.
    """

    name: str
    file: str
    old: str
    new: str


MUTANTS = [
    Mutant(
        "requests of a lost worker are forgotten",
        "broker/dispatcher.py",
        "        if worker.inFlight:\n            self._moveInFlight(worker, reason, died)\n",
        "",
    ),
    Mutant(
        "a death is not charged",
        "broker/attempts.py",
        "                    executed.deaths += 1 + executed.suspected\n",
        "                    pass\n",
    ),
    Mutant(
        "one attempt too many",
        "broker/attempts.py",
        "return request.deaths >= (request",
        "return request.deaths > (request",
    ),
    Mutant(
        "moved requests are never forgotten",
        "broker/dispatcher.py",
        "        self._moved.pop(request.brokerId, None)\n",
        "",
    ),
    Mutant(
        "outcomes are not remembered",
        "broker/replies.py",
        "                self._cache.remember(request.requestId, outcome, now)\n",
        "                pass\n",
    ),
    Mutant(
        "requests that are sent again do not join", "broker/broker.py", "if self.replies.join(request):", "if False:"
    ),
    Mutant(
        "nothing expires",
        "broker/deadlines.py",
        "            if request.state is State.QUEUED:\n                left -= 1\n                yield request\n",
        "",
    ),
    Mutant(
        "withdrawn requests are not counted",
        "broker/broker.py",
        "            self.counters.withdrawn += 1\n\n    def noteDis",
        "\n    def noteDis",
    ),
    Mutant(
        "a busy worker that is gone stays counted",
        "broker/dispatcher.py",
        "            worker.busy = False\n            self.busy -= 1\n        if worker.inFlight:",
        "            worker.busy = False\n        if worker.inFlight:",
    ),
    Mutant(
        "requests of a lost worker wait until something else happens",
        "broker/dispatcher.py",
        "        for service in self._queues.removeWorker(worker):\n            self._dispatch(service)\n",
        "        self._queues.removeWorker(worker)\n",
    ),
    Mutant(
        "suspects are not alone",
        "broker/dispatcher.py",
        "request.alone = request.alone or died or worker.plain",
        "pass",
    ),
    Mutant(
        "deadlines are not enforced",
        "server/protocol.py",
        "            dispatcher.enforceDeadlines()\n",
        "            pass\n",
    ),
    Mutant(
        "there is no limit of all workers",
        "pool/pool.py",
        "return TOTAL_FACTOR * self.limits.maxServers - present",
        "return 100 - present",
    ),
    Mutant(
        "min-servers is not kept",
        "pool/pool.py",
        "missing = min(max(self.limits.minServers - len(staying), min(",
        "missing = min(max(0, min(",
    ),
    Mutant(
        "a worker that does not leave is not signalled",
        "pool/pool.py",
        "            if child.signalAt is not None and now >= child.signalAt:\n",
        "            if False:\n",
    ),
    Mutant(
        "the end of a worker is not settled",
        "server/supervisor.py",
        "        self._byIdentity.pop(process.identity, None)\n",
        "",
    ),
    Mutant(
        "a lost connection moves no calls",
        "client/session.py",
        "        lost = [each for each in self._open.values() if each.peer is peer]\n",
        "        lost: list[Call] = []\n",
    ),
    Mutant("ended calls stay open", "client/session.py", "        del self._open[call.request or call]\n", ""),
    Mutant(
        "a call is sent as often as there is time",
        "client/call.py",
        "return self.sent - len(self.refused) < self.attempts and not self.parts",
        "return not self.parts",
    ),
    Mutant(
        "a reply is sent twice",
        "worker/serialrunner.py",
        "        self._host.post(reply)\n",
        "        self._host.post(reply)\n        self._host.post(reply)\n",
    ),
    Mutant(
        "a worker leaves before it has executed what it holds",
        "worker/serialrunner.py",
        "                    runner.execute(frames)\n",
        "                    runner.execute(frames)\n"
        "                    if any(each[1:] == [RETIRE] for each in waiting):\n"
        "                        return\n",
    ),
    Mutant(
        "posted replies are lost when there are many",
        "transport/outbox.py",
        "        messages = self.posted[:]\n",
        "        messages = self.posted[:3]\n",
    ),
    Mutant(
        "parts are sent to a client from the first again",
        "broker/dispatcher.py",
        "            if request.parts and self._replies.hasSentParts(request):",
        "            if False:",
    ),
    Mutant(
        "a cancelled request stays open",
        "broker/dispatcher.py",
        '        self.fail(request, Code.CANCELLED, "its client cancelled it")\n',
        "",
    ),
    Mutant(
        "the credit is exceeded",
        "broker/queues.py",
        "if level >= worker.capacity or",
        "if level > worker.capacity or",
    ),
]


def main() -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="how many seeds to try (100)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only those whose names contain this")
    arguments = parser.parse_args()
    tried = [mutant for mutant in MUTANTS if arguments.only in mutant.name]
    found = sum(hunt(mutant, arguments.seeds) for mutant in tried)
    print(f"{found} of {len(tried)} found")
    return 0 if found == len(tried) else 1


def hunt(mutant: Mutant, seeds: int) -> bool:
    """Plant a defect, and print which seed finds it, by which invariant and in what time; return whether one does."""
    with TemporaryDirectory() as folder:
        package = Path(folder) / "pirate"
        shutil.copytree(ROOT / "pirate", package, ignore=shutil.ignore_patterns("test", "__pycache__"))
        path = package / mutant.file
        text = path.read_text()
        if text.count(mutant.old) != 1:
            print(f"{mutant.name}: cannot be planted: its text is there {text.count(mutant.old)} times", flush=True)
            return False
        path.write_text(text.replace(mutant.old, mutant.new))
        began = perf_counter()
        try:
            done = subprocess.run(
                [sys.executable, "-P", str(ROOT / "benchmarks" / "world.py"), f"--seeds={seeds}", "--first-failure"],
                env={**os.environ, "PYTHONPATH": folder},
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            print(f"{mutant.name}: a seed has not come to an end in {PATIENCE:g} s", flush=True)
            return True
        took = perf_counter() - began
    lines = done.stdout.splitlines()
    if done.returncode == 0:
        print(f"{mutant.name}: not found in {seeds} seeds, {took:.1f} s", flush=True)
        return False
    told = lines[:2] if lines else done.stderr.splitlines()[-1:]
    print(f"{mutant.name}: {' '.join(each.strip() for each in told)[:160]} ({took:.1f} s)", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
