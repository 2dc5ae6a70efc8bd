"""What is logged and counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pirate.server.logs import RateLimitedLog
from pirate.server.running import _UNLOGGED, RunningServer
from pirate.testing.world.invariants.base import Invariant
from pirate.wire.words import Code

_COUNT = re.compile(r"\((\d+)\)")
_MORE = re.compile(r": (\d+) more within a second$")
#: The beginnings of what a server may log as a warning or an error.
KNOWN = (
    *("messages dropped at the frontend: ", "messages dropped at the backend: ", "messages of another protocol"),
    *("requests given up: ", "replies not delivered: ", "connections refused: ", "app error: "),
    "the reload failed, the old workers stay: ",
    "the workers cannot start: ",
)
_WORKER = re.compile(
    r"worker \d+ (gets SIG\w+: |could not start: |ended while |has left: |std(out|err): )"
    r"|worker \d+: (its connection was closed|.* lines)|.*stopped with \d+ requests in flight"
)


class LoggedLines(Invariant):
    """The lines that the servers have logged, for invariants about them."""

    def watch(self) -> None:
        """Keep the lines."""
        self._lines: list[str] = []
        for level in ("warn", "error", "critical"):
            self.world.journal.watch(level, self._logged)

    def _logged(self, who: str, text: str, *more: Any) -> None:
        self._lines.append(text)

    def servers(self) -> Iterator[RunningServer]:
        """Yield all servers that there have been; none if one of them cannot be asked any more."""
        running = dict(self.running())
        if len(running) == len(self.world.servers):
            yield from running.values()


class LogsComplete(LoggedLines):
    """See its statement."""

    number = 60
    statement = "Every event that a limited log has counted is in one of its lines by the time that all is at rest."

    def atRest(self) -> None:
        """Compare the counts with the lines."""
        counted: Counter[str] = Counter()
        for running in self.servers():
            protocol = running._protocol
            logs: tuple[RateLimitedLog, ...] = (
                *(protocol._atFrontend, protocol._atBackend, protocol._foreign),
                *(running._failedRequests, running._undeliveredReplies),
            )
            for each in logs:
                counted[each._what] += each.counts.total()
        for what, count in counted.items():
            begin = f"{what}: "
            lines = (line[len(begin) :].partition("; ")[0] for line in self._lines if line.startswith(begin))
            logged = sum(int(each) for line in lines for each in _COUNT.findall(line))
            if logged != count:
                self.violated(f"{count} {what} were counted, and {logged} were logged")


class FailuresLogged(LoggedLines):
    """See its statement."""

    number = 61
    statement = "Every request that was given up, and every reply that was not delivered, is counted for the log."

    def atRest(self) -> None:
        """Compare the counts."""
        for running in self.servers():
            counters = running._broker.counters
            failed = {code.value: count for code, count in counters.failed.items() if code not in _UNLOGGED}
            if failed != dict(running._failedRequests.counts):
                self.violated(f"{failed} requests were given up, and the log counts {running._failedRequests.counts}")
            if counters.undeliverable != running._undeliveredReplies.counts.total():
                self.violated(f"{counters.undeliverable} replies were not delivered, and the log counts others")


class AppErrorsLogged(LoggedLines):
    """See its statement."""

    number = 62
    statement = "Every error of an app is logged, or counted in a line."

    def atRest(self) -> None:
        """Compare the errors with the lines."""
        least = limits = 0
        for running in self.servers():
            failed = running._broker.counters.failed
            least += failed.get(Code.APP_ERROR, 0)
            # The server itself stops some jobs for their time.
            limits += failed.get(Code.TIMEOUT, 0)
        logged = 0
        for line in self._lines:
            if line.startswith("app error: "):
                more = _MORE.search(line)
                logged += int(more[1]) if more is not None else 1
        if any(self.servers()) and not least <= logged <= least + limits:
            self.violated(f"{least} errors of apps, {limits} of the time, and {logged} logged")


class KnownLines(LoggedLines):
    """See its statement."""

    number = 63
    statement = "A server logs no warning and no error but those that its manual lists."

    def _logged(self, who: str, text: str, *more: Any) -> None:
        if not text.startswith(KNOWN) and _WORKER.match(text) is None:
            self.violated(f"unexpected in the log: {text}")
