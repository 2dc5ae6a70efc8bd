"""What workers execute, and how often."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pirate.broker.request import State
from pirate.pool.pool import KILL_DELAY
from pirate.server.running import RunningServer
from pirate.testing.world.invariants.base import SLACK, Invariant
from pirate.wire.words import MAX_CREDIT
from pirate.worker.credit import LONGEST

#: Seconds from a deadline of a job until its worker has ended: the signals, and some time to notice.
STOPPED = 2 * KILL_DELAY + 1.0


class BoundedExecutions(Invariant):
    """See its statement."""

    number = 4
    statement = "A request that the broker has accepted is begun at most max-attempts times."

    def watch(self) -> None:
        """Count executions."""
        self._begun: Counter[tuple[str, str]] = Counter()
        self.world.journal.watch("begins", self._begins)

    def _begins(self, who: str, token: str, request: str, attempt: int) -> None:
        process = self.world.processes[int(who.split()[1])]
        server = process.parent
        self._begun[server.name, request] += 1
        most = server.server.settings.policy.maxAttempts  # type: ignore[attr-defined]
        if self._begun[server.name, request] > most:
            self.violated(f"{token} ({request}) is begun {self._begun[server.name, request]} times of {most}")


class OneExecutionOfAnAttempt(Invariant):
    """See its statement."""

    number = 5
    statement = "Two workers never execute the same attempt of a request at the same time."

    def watch(self) -> None:
        """Follow executions."""
        self._live: dict[tuple[str, str, int], str] = {}
        journal = self.world.journal
        journal.watch("begins", self._begins)
        for what in ("ends", "raises"):
            journal.watch(what, self._ends)
        for what in ("dies", "exits"):
            journal.watch(what, self._gone)

    def _begins(self, who: str, token: str, request: str, attempt: int) -> None:
        key = self.world.processes[int(who.split()[1])].parent.name, request, attempt
        other = self._live.get(key)
        if other is not None and other != who:
            self.violated(f"{who} begins attempt {attempt} of {token}, which {other} executes")
        self._live[key] = who

    def _ends(self, who: str, token: str, request: str) -> None:
        self._live = {key: each for key, each in self._live.items() if each != who or key[1] != request}

    def _gone(self, who: str, *more: Any) -> None:
        self._live = {key: each for key, each in self._live.items() if each != who}


class RememberedRequests(Invariant):
    """See its statement."""

    number = 16
    statement = "While a server remembers, it begins a native request at most max-attempts times, even if sent again."

    def watch(self) -> None:
        """Count executions by the client's call."""
        self._begun: Counter[tuple[str, str]] = Counter()
        self.world.journal.watch("begins", self._begins)

    def _begins(self, who: str, token: str, request: str, attempt: int) -> None:
        server = self.world.processes[int(who.split()[1])].parent
        policy = server.server.settings.policy  # type: ignore[attr-defined]
        if not token.startswith("native") or policy.rememberSeconds < 60:
            return
        self._begun[server.name, token] += 1
        if self._begun[server.name, token] > policy.maxAttempts:
            self.violated(f"{server.name} begins {token} for the {self._begun[server.name, token]}th time")


class AnsweredOnce(Invariant):
    """See its statement."""

    number = 24
    statement = "While workers are whole, no new attempt of a request begins whose outcome its server remembers."

    #: The codes of outcomes that are not remembered; see :mod:`pirate.broker.replies`.
    FORGOTTEN = frozenset({"busy", "stopping", "expired", "unknown-service", "cancelled", "denied"})

    def watch(self) -> None:
        """Follow outcomes."""
        self._answered: set[tuple[str, str]] = set()
        self._attempts: dict[tuple[str, str], int] = {}
        self._tokens: dict[str, str] = {}
        journal = self.world.journal
        journal.watch("asks", lambda who, token, requestId: self._tokens.__setitem__(token, requestId))
        # A worker that was stopped, or is cut off, begins late what it was given before.
        if not self.hasFault("stopWorker", "stickWorker", "slowWorker", "cutWorker"):
            journal.watch("answers", self._answers)
            journal.watch("begins", self._begins)

    def _answers(self, who: str, requestId: str, code: str) -> None:
        if code not in self.FORGOTTEN:
            self._answered.add((who, requestId))

    def _begins(self, who: str, token: str, request: str, attempt: int) -> None:
        server = self.world.processes[int(who.split()[1])].parent
        key = server.name, self._tokens.get(token, "")
        remembers = server.server.settings.policy.rememberSeconds >= 60  # type: ignore[attr-defined]
        if remembers and key in self._answered and attempt > self._attempts.get(key, 0):
            self.violated(f"{who} begins {token}, which {server.name} has answered")
        self._attempts[key] = max(attempt, self._attempts.get(key, 0))


class WholeJobTime(Invariant):
    """See its statement."""

    number = 25
    statement = "No job is given up as too long before its time is over."

    def watch(self) -> None:
        """Measure jobs."""
        self._began: dict[str, float] = {}
        self.world.journal.watch("begins", self._begins)
        self.world.journal.watch("gets", self._gets)

    def _begins(self, who: str, token: str, *more: Any) -> None:
        # Another server may have begun it later.
        self._began.setdefault(token, self.world.agenda.now)

    def _gets(self, who: str, token: str, outcome: str, value: Any) -> None:
        # What has not arrived at a worker that is cut off or stopped counts as begun.
        if self.hasFault("stickWorker", "slowWorker", "stopWorker"):
            return
        if outcome != "timeout" or token not in self._began:
            return
        policies = [each["policy"] for each in self.world.plan.servers]
        limits = [each[name] for each in policies for name in ("jobTimeout", "jobSoftTimeout") if name in each]
        took = self.world.agenda.now - self._began[token]
        # A worker begins a job a little after it was sent.
        if took < min(limits) - SLACK:
            self.violated(f"{token} was given up after {took:g} seconds of {min(limits):g}")


class Credit(Invariant):
    """See its statement."""

    number = 22
    statement = "No worker is sent more requests than its credit allows."

    def watch(self) -> None:
        """Look at every execution."""
        self.world.journal.watch("begins", self._begins)

    def _begins(self, who: str, *more: Any) -> None:
        server = self.world.processes[int(who.split()[1])].parent
        running = server.server._runningServer  # type: ignore[attr-defined]
        if running is None:
            return
        measured = server.server.settings.prefetch is None  # type: ignore[attr-defined]
        for worker in running._broker.dispatcher.workers.values():
            # A measured credit may have been lowered while the worker held more.
            most = MAX_CREDIT if measured else worker.credit
            if len(worker.inFlight) > most:
                self.violated(f"{worker.identity.decode()} holds {len(worker.inFlight)} requests of {most}")


class Executions(Invariant):
    """What is being executed, for invariants about it."""

    def watch(self) -> None:
        """Follow executions."""
        self._live: dict[tuple[str, str], float] = {}
        self._cancelled: dict[str, float] = {}
        journal = self.world.journal
        journal.watch("begins", self._begins)
        journal.watch("cancels", lambda who, token: self._cancelled.__setitem__(token, self.world.agenda.now))
        for what in ("ends", "raises"):
            journal.watch(what, lambda who, token, *more: self._live.pop((who, token), None))
        for what in ("dies", "exits"):
            journal.watch(what, self._gone)

    def _begins(self, who: str, token: str, *more: Any) -> None:
        self._live[who, token] = self.world.agenda.now

    def _gone(self, who: str, *more: Any) -> None:
        self._live = {key: began for key, began in self._live.items() if key[0] != who}


class JobsEnd(Executions):
    """See its statement."""

    number = 52
    statement = "No job goes on for longer than job-timeout, and the signals that end it."

    def atTimes(self) -> None:
        """Look at what is being executed."""
        if self.hasFault("stickWorker", "slowWorker", "killServer"):
            return
        now = self.world.agenda.now
        for (who, token), began in self._live.items():
            server = self.serverOf(who)
            limit = server.server.settings.policy.jobTimeout
            most = limit + STOPPED
            if limit and now - began > most and server.isAwake(most) and self._process(who).isAwake(most):
                self.violated(f"{who} has been executing {token} for {now - began:g} s, and may for {limit:g}")

    def _process(self, who: str) -> Any:
        return self.world.processes[int(who.split()[1])]


class CancelledJobsEnd(Executions):
    """See its statement."""

    number = 53
    statement = "While servers and connections are whole, a cancelled job ends within cancel-grace."

    def atTimes(self) -> None:
        """Look at what is being executed, and was cancelled."""
        if not self._cancelled or self.hasFault(
            *("stickWorker", "slowWorker", "stopWorker", "cutClient", "stickClient", "slowClient"),
            *("stopServer", "killServer", "restart"),
        ):
            return
        now = self.world.agenda.now
        for (who, token), began in self._live.items():
            limit = self.serverOf(who).server.settings.policy.cancelGrace
            since = max(began, self._cancelled.get(token, float("inf")))
            if limit and now - since > limit + STOPPED:
                self.violated(f"{who} has been executing {token} for {now - since:g} s since it was cancelled")


class LongJobsAlone(Executions):
    """See its statement."""

    number = 54
    statement = "After a long job, a worker whose credit is measured is given no request until the next one has ended."

    def watch(self) -> None:
        """Measure jobs."""
        self._began: dict[str, float] = {}
        self._last: dict[str, tuple[float, float]] = {}
        journal = self.world.journal
        journal.watch("begins", lambda who, *more: self._began.__setitem__(who, self.world.agenda.now))
        journal.watch("ends", self._ends)
        journal.watch("raises", lambda who, *more: self._last.pop(who, None))

    def _ends(self, who: str, *more: Any) -> None:
        now = self.world.agenda.now
        self._last[who] = now - self._began[who], now

    def atTimes(self) -> None:
        """Look at the credit of workers."""
        if self.hasFault("stickWorker", "slowWorker"):
            return
        now = self.world.agenda.now
        for server, running in self.awake(0.5):
            if server.server.settings.prefetch is not None or server.server.settings.concurrency > 1:
                continue
            for worker in running._broker.dispatcher.workers.values():
                process = running.supervisor._byIdentity.get(worker.identity)
                took, at = self._last.get(f"worker {process.pid}" if process else "", (0.0, now))
                late = took > 2 * LONGEST and now - at > 0.3 and worker.credit > 1
                if late and process is not None and self.world.processes[process.pid].isAwake(0.5):
                    self.violated(f"{worker.identity.decode()} has a credit of {worker.credit} after {took:g} s")


class RetiredFinish(Executions):
    """See its statement."""

    number = 67
    statement = "A worker that is asked to leave, and is not signalled, begins all that it holds before it leaves."

    def watch(self) -> None:
        """Follow executions, and what keeps a worker from them."""
        super().watch()
        self._begun: set[tuple[str, str]] = set()
        self._quitting: set[str] = set()
        journal = self.world.journal
        journal.watch("raises", lambda who, token, *more: self._quitting.add(who))
        journal.watch("garbled", lambda who, request: self._begun.add((who, request)))
        journal.watch("signals", lambda who, pid, name: self._quitting.add(f"worker {pid}"))
        journal.watch("termWorker", lambda who, pid: self._quitting.add(f"worker {pid}"))

    def _begins(self, who: str, token: str, *more: Any) -> None:
        super()._begins(who, token, *more)
        self._begun.add((who, more[0]))
        self._quitting.discard(who)

    def _gone(self, who: str, *more: Any) -> None:
        if more[0] == 0 and who not in self._quitting and not any(key[0] == who for key in self._live):
            server = self.serverOf(who)
            for each, running in self.running():
                if each is server:
                    self._look(who, running)
        super()._gone(who, *more)

    def _look(self, who: str, running: RunningServer) -> None:
        pid = int(who.split()[1])
        for worker in running._broker.dispatcher.workers.values():
            process = running.supervisor._byIdentity.get(worker.identity)
            if process is None or process.pid != pid or self.world.processes[pid]._socket is None:
                continue
            left = [
                each
                for each in worker.inFlight.values()
                if each.state is State.IN_FLIGHT and (who, each.brokerId.hex()) not in self._begun
            ]
            if left and not self.hasFault("cutWorker", "stickWorker", "slowWorker"):
                self.violated(f"{who} leaves, and has not begun {len(left)} of its requests")
