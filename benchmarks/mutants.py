#!/usr/bin/env python3
"""
Plant defects, one at a time, and see which seed of the simulated world finds each.

::

    benchmarks/mutants.py                    # all of them
    benchmarks/mutants.py --only charge      # those whose names contain a text
    benchmarks/mutants.py --seeds 200
    benchmarks/mutants.py --write docs/topics/mutants.txt

Each is planted in a copy of the package.  The exit status is 1 if one is not found.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

#: Seconds after which a run counts as one without an end.
PATIENCE = 300.0
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
        "        lost = [each for each in self.calls.values() if each.peer is peer]\n",
        "        lost: list[Call] = []\n",
    ),
    Mutant("ended calls stay open", "client/session.py", "        del self.calls[call.request or call]\n", ""),
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
    Mutant(
        "a client keeps its turn",
        "broker/queues.py",
        "                    queue.first = queue.rest.popleft()\n                    head.ring.append(queue)\n",
        "                    queue.first = queue.rest.popleft()\n                    head.ring.appendleft(queue)\n",
    ),
    Mutant(
        "a client's last request comes first",
        "broker/queues.py",
        "            queue.rest.append(request)\n            if len",
        "            queue.rest.appendleft(request)\n            if len",
    ),
    Mutant(
        "a client may ask for more attempts than max-attempts",
        "broker/attempts.py",
        "request.maxAttempts = min(request.maxAttempts, self.maxAttempts)",
        "pass",
    ),
    Mutant(
        "outside kills of workers that start delay the next start",
        "pool/pool.py",
        "        if how.killed and not child.signalReason:\n",
        "        if False:\n",
    ),
    Mutant(
        "what expires at the server is not told in time",
        "client/call.py",
        "self.expiry = self.deadline - (less if LEAST_MARGIN < less < MOST_MARGIN else margin(timeout))",
        "self.expiry = self.deadline",
    ),
    Mutant(
        "dropped messages after the first are logged with the next",
        "server/logs.py",
        "self._timer = self._clock.callLater(self._nextLine - now, self._writeLine)",
        "pass",
    ),
    Mutant(
        "the count of an app's further errors is logged with the next",
        "server/logs.py",
        "                self._timer = self._clock.callLater(max(self._secondEnds - now, 0), self.stop)\n",
        "                pass\n",
    ),
    Mutant(
        "a measured credit is not lowered",
        "worker/credit.py",
        "return earned < self.announced or earned >= 2 * self.announced",
        "return earned >= 2 * self.announced",
    ),
    Mutant(
        "nothing is read while the backlog is full",
        "broker/backpressure.py",
        "        self._left -= 1\n        return True\n",
        "        self._left -= 1\n        return False\n",
    ),
    Mutant(
        "a retired worker that hangs stays",
        "pool/pool.py",
        'child.setDeadline(now + (self.limits.reloadTimeout or float("inf")), *LEAVE_SIGNALS)',
        "pass",
    ),
    Mutant(
        "what was sent to a connection that is cut off is swallowed",
        "server/connections.py",
        "self._calls[worker] = self._clock.callLater(LAST_MESSAGES, self._disconnected, worker)",
        "pass",
    ),
    Mutant(
        "messages to a client that reads slowly change their order",
        "transport/outbox.py",
        "elif (postponed and self.sendPostponed(frames[0])) or not deliver(frames):",
        "elif not deliver(frames):",
    ),
    Mutant(
        "requests of clients that have gone are kept",
        "server/protocol.py",
        "        self.waitingClients.disconnected(connection)\n",
        "",
    ),
    Mutant(
        "requests that have ended count for their client's limit",
        "broker/dispatcher.py",
        "            request.account.open -= 1\n",
        "",
    ),
    Mutant(
        "a client's share is not freed",
        "broker/queues.py",
        "        share.waiting -= 1\n        share.bytes -= weight\n        if share.over",
        "        share.bytes -= weight\n        if share.over",
    ),
    Mutant(
        "a full backlog refuses nothing",
        "broker/broker.py",
        "if self._rejects and queues.waiting and self.backpressure.isFull():",
        "if False:",
    ),
    Mutant(
        "a native client may have more than its share",
        "broker/backpressure.py",
        "if request.requestId or self.rejects:",
        "if self.rejects:",
    ),
    Mutant(
        "what expires behind a job is begun",
        "broker/deadlines.py",
        "            if request.deadline <= self.now and request.state is State.IN_FLIGHT\n        ]",
        "            if False\n        ]",
    ),
    Mutant(
        "a request that must be alone is given to a busy worker",
        "broker/dispatcher.py",
        "        if request.alone and inFlight and attempts.mustBeAlone(worker, request):\n",
        "        if False:\n",
    ),
    Mutant(
        "calls whose replies come in a batch stay counted",
        "client/session.py",
        "            del calls[requestId]\n            peer.inFlight -= 1\n",
        "            del calls[requestId]\n",
    ),
    Mutant(
        "a job may take as long as it likes",
        "broker/deadlines.py",
        "if worker.inFlight and worker.began + self._jobTimeout <= self.now:",
        "if False:",
    ),
    Mutant("a cancelled job may go on", "broker/deadlines.py", "elif worker.killAt <= self.now:", "elif False:"),
    Mutant(
        "a worker may have more than max-requests",
        "broker/dispatcher.py",
        "        worker.requestsLeft -= 1\n",
        "",
    ),
    Mutant(
        "a worker may be older than max-age",
        "pool/recycling.py",
        "return now >= child.recycleAt or memory",
        "return memory",
    ),
    Mutant("all workers are replaced at once", "pool/recycling.py", "REPLACED_SHARE = 0.25", "REPLACED_SHARE = 4.0"),
    Mutant(
        "ends of workers are not counted",
        "server/supervisor.py",
        "        self.exits[how.cause] = self.exits.get(how.cause, 0) + 1\n",
        "",
    ),
    Mutant(
        "a stranger is admitted as a worker",
        "server/supervisor.py",
        "            if not self._externalWorkers:\n",
        "            if False:\n",
    ),
    Mutant(
        "a worker that is stopped keeps its requests",
        "server/supervisor.py",
        "if process is not None and self._machine.isStopped(process.pid):",
        "if False:",
    ),
    Mutant(
        "a worker that does not become ready is waited for",
        "pool/pool.py",
        "now, now + self.limits.startTimeout\n",
        "now, now + 1e9\n",
    ),
    Mutant(
        "a server that stops does not wait for the last requests",
        "server/running.py",
        "if self.pool.mode is Mode.DRAINING and self._broker.isQuiet():",
        "if self.pool.mode is Mode.DRAINING:",
    ),
    Mutant(
        "a server that stops accepts requests",
        "broker/broker.py",
        "        self._refusal = message\n",
        "        pass\n",
    ),
    Mutant(
        "remembered bytes are not freed",
        "broker/replycache.py",
        "            self._bytes -= entry[1]\n",
        "            pass\n",
    ),
    Mutant(
        "requests that expire are missing in the log",
        "server/running.py",
        "        if code not in _UNLOGGED:\n",
        "        if code not in _UNLOGGED and code is not Code.EXPIRED:\n",
    ),
    Mutant(
        "replies that are not delivered are not counted",
        "broker/replies.py",
        "        self._counters.undeliverable += 1\n",
        "        pass\n",
    ),
    Mutant(
        "a plain client is sent its reply twice",
        "broker/replies.py",
        "            self._outgoing.postToClient(request.reply(body))\n        else:\n            self._end(",
        "            self._outgoing.postToClient(request.reply(body))\n"
        "            self._outgoing.postToClient(request.reply(body))\n        else:\n            self._end(",
    ),
    Mutant(
        "parts are missing in a reply in one",
        "broker/replies.py",
        "            request.parts.append(body)\n",
        "            pass\n",
    ),
    Mutant(
        "timers that are not needed any more stay",
        "server/protocol.py",
        "        if self._timer is not None and self._timer.active():\n            self._timer.cancel()\n"
        "        self._timer = None\n        if due",
        "        self._timer = None\n        if due",
    ),
    Mutant(
        "a worker begins what was cancelled while it waited",
        "worker/serialrunner.py",
        "if (runner.took > LONG or self._prefetches or cancelled) and self.isCancelled(frames[1]):",
        "if False:",
    ),
    Mutant(
        "a worker that leaves keeps the replies that it holds",
        "worker/serialrunner.py",
        "            if not self._sending:\n                self._flush()\n",
        "",
    ),
    Mutant(
        "parts are sent to a caller from the first again",
        "client/call.py",
        "return self.sent - len(self.refused) < self.attempts and not self.parts",
        "return self.sent - len(self.refused) < self.attempts",
    ),
    Mutant(
        "those that have joined a request get no reply",
        "broker/replies.py",
        "        for each in request.joined:\n            self._sendOutcome(each, outcome, partsSent=True)\n",
        "",
    ),
    Mutant(
        "joined requests are not counted",
        "broker/broker.py",
        "            self.counters.joined += 1\n",
        "            pass\n",
    ),
    Mutant(
        "max-servers is exceeded after shrinking",
        "pool/pool.py",
        "count = max(len(staying) - self.limits.maxServers, min(",
        "count = max(0, min(",
    ),
    Mutant(
        "what has expired when its worker is lost waits for a message",
        "server/supervisor.py",
        "        self._dispatcher.workerGone(identity, why)\n        self._transport.wake()\n",
        "        self._dispatcher.workerGone(identity, why)\n",
    ),
]


@dataclass(frozen=True)
class Found:
    """
    What became of a hunt.

    :ivar mutant: what was planted.
    :ivar seed: the first seed that has failed; -1 for none.
    :ivar numbers: the invariants that did not hold; 0 stands for an error in the code.
    :ivar seconds: how long it took.
    :ivar why: why there is no seed, or what the first invariant says.
    """

    mutant: Mutant
    seed: int
    numbers: tuple[int, ...]
    seconds: float
    why: str

    def __str__(self) -> str:
        """Return a line for the list beside the register."""
        seed = "-" if self.seed < 0 else str(self.seed)
        numbers = ",".join(map(str, self.numbers)) or "-"
        return f"{self.mutant.name:<68} {self.mutant.file:<24} {numbers:<16} {seed:>5} {self.seconds:6.1f}"


def main() -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--seeds", type=int, default=400, metavar="N", help="how many seeds to try (400)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only those whose names contain this")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="how many to hunt at the same time (2)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the list to this file")
    arguments = parser.parse_args()
    tried = [mutant for mutant in MUTANTS if arguments.only in mutant.name]
    hunts = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for each in pool.map(lambda mutant: hunt(mutant, arguments.seeds), tried):
            hunts.append(each)
            print(f"{each}  {each.why}", flush=True)
    count = sum(each.seed >= 0 for each in hunts)
    summary = f"{count} of {len(tried)} found, each within {arguments.seeds} seeds"
    print(summary)
    if arguments.write is not None:
        head = f"{'planted':<68} {'in':<24} {'invariants':<16} {'seed':>5} {'s':>6}"
        arguments.write.write_text("\n".join([head, *map(str, hunts), "", summary, ""]))
    return 0 if count == len(tried) else 1


def hunt(mutant: Mutant, seeds: int) -> Found:
    """Plant a defect, and run seeds until one fails."""
    with TemporaryDirectory() as folder:
        package = Path(folder) / "pirate"
        shutil.copytree(ROOT / "pirate", package, ignore=shutil.ignore_patterns("test", "__pycache__"))
        path = package / mutant.file
        text = path.read_text()
        if text.count(mutant.old) != 1:
            return Found(mutant, -1, (), 0.0, f"cannot be planted: its text is there {text.count(mutant.old)} times")
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
            return Found(mutant, -1, (), PATIENCE, "a seed has not come to an end")
        took = perf_counter() - began
    lines = [line.strip() for line in done.stdout.splitlines()]
    if done.returncode == 0:
        return Found(mutant, -1, (), took, "not found")
    if not lines or not lines[0].startswith("seed "):
        return Found(mutant, -1, (), took, f"did not run: {done.stderr.splitlines()[-1:]}")
    numbers = sorted({int(each) for line in lines for each in re.findall(r"^invariant (\d+) ", line)})
    return Found(mutant, int(lines[0].split()[1].rstrip(":")), tuple(numbers), took, lines[1][:100])


if __name__ == "__main__":
    sys.exit(main())
