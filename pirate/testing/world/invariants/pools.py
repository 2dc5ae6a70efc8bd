"""How many workers there are, and how they come and go."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pirate.pool.backoff import MAX_KILLED_ROUNDS
from pirate.pool.child import ChildState
from pirate.pool.pool import KILL_DELAY
from pirate.testing.world.invariants.base import REFILL, Invariant, Timed

#: Seconds that a server may take longer than its timers say: some act only when another event makes it look.
LATE = 2.0


class PoolSize(Invariant):
    """See its statement."""

    number = 8
    statement = "A server never has more than twice max-servers workers."

    def watch(self) -> None:
        """Count workers."""
        self.world.journal.watch("spawns", self._spawns)

    def _spawns(self, who: str, pid: int) -> None:
        process = self.world.processes[pid]
        server = process.parent
        count = len(server.server.workers)  # type: ignore[attr-defined]
        most = 2 * server.server.limits.maxServers  # type: ignore[attr-defined]
        if count > most:
            self.violated(f"{who} has {count} workers, and at most {most} are allowed")


class PoolComplete(Invariant):
    """See its statement."""

    number = 19
    statement = "At rest there are min-servers workers that are ready, and no more than max-servers."

    def watch(self) -> None:
        """Note when workers end."""
        self._ended: dict[str, float] = {}
        self.world.journal.watch("reaps", lambda who, *more: self._ended.__setitem__(who, self.world.agenda.now))

    def atRest(self) -> None:
        """Count workers, unless some have just ended: requests that kill may still be waiting."""
        for server in self.world.runningServers():
            if self._ended.get(server.name, 0.0) > self.world.agenda.now - REFILL:
                continue
            pool = server.server._runningServer.pool  # type: ignore[union-attr]
            serving = pool._serving()
            ready = sum(child.readyAt is not None for child in serving)
            limits = pool.limits
            if ready < limits.minServers:
                self.violated(f"{server.name} has {ready} ready workers, and should have {limits.minServers}")
            if len(serving) > limits.maxServers and not any(child.beingReplaced for child in serving):
                self.violated(f"{server.name} has {len(serving)} workers, and may have {limits.maxServers}")


class FewReplaced(Invariant):
    """See its statement."""

    number = 43
    statement = "At most a quarter of the workers are replaced at a time because of age, memory or requests, or one."

    def atTimes(self) -> None:
        """Count them."""
        for server, running in self.running():
            serving = running.pool._serving()
            count = sum(child.beingReplaced for child in serving)
            if count > max(1, len(serving) // 4):
                self.violated(f"{server.name} replaces {count} of {len(serving)} workers")


class MaxRequests(Invariant):
    """See its statement."""

    number = 44
    statement = "No worker begins more requests than max-requests and its jitter allow."

    def watch(self) -> None:
        """Count executions by worker."""
        self._begun: Counter[str] = Counter()
        self.world.journal.watch("begins", self._begins)

    def _begins(self, who: str, *more: Any) -> None:
        limits = self.serverOf(who).server.settings.limits
        self._begun[who] += 1
        if limits.maxRequests and self._begun[who] > limits.maxRequests + limits.maxRequestsJitter:
            self.violated(f"{who} begins its {self._begun[who]}th request")


class MaxAge(Invariant):
    """See its statement."""

    number = 45
    statement = "At rest, no worker is much older than max-age."

    def watch(self) -> None:
        """Note when workers end."""
        self._ended: dict[str, float] = {}
        self.world.journal.watch("reaps", lambda who, *more: self._ended.__setitem__(who, self.world.agenda.now))

    def atRest(self) -> None:
        """Look at the ages."""
        now = self.world.agenda.now
        for server, running in self.running():
            limits = running.pool.limits
            if not limits.maxAge or not running.pool.everReady or not limits.minServers:
                continue
            # They are replaced one after the other, and what has just failed is in the way.
            most = 1.1 * limits.maxAge + 10
            for child in running.pool._serving():
                if now - child.spawnedAt > most:
                    self.violated(f"{server.name} has a worker that is {now - child.spawnedAt:g} s old")


class RetiredLeave(Invariant):
    """See its statement."""

    number = 46
    statement = "A worker that was asked to leave does, in time: soon if it has no request, else by reload-timeout."

    def atTimes(self) -> None:
        """Look for workers that stay."""
        idle: list[Timed] = []
        busy: list[Timed] = []
        for server, running in self.awake(LATE):
            limits = running.pool.limits
            spare = running.supervisor._load().spare
            signals = 3 * KILL_DELAY + LATE
            for child in running.pool.children:
                if child.state is not ChildState.RETIRING:
                    continue
                if limits.reloadTimeout:
                    busy.append((limits.reloadTimeout + signals, (child.number, server.name, "with requests")))
                if child.number in spare:
                    wait = limits.stopTimeout + limits.checkForWaiting + signals
                    idle.append((wait, (child.number, server.name, "with nothing to do")))
        for each in self.overdue([*idle, *busy]):
            self.violated("worker number {} of {} does not leave, {}".format(*each))


class StartsEnd(Invariant):
    """See its statement."""

    number = 47
    statement = "A worker that is not ready within start-timeout is killed."

    def atTimes(self) -> None:
        """Look for workers that start."""
        for server, running in self.awake(LATE):
            limits = running.pool.limits
            for child in running.pool.children:
                age = self.world.agenda.now - child.spawnedAt
                if child.state is ChildState.STARTING and age > limits.startTimeout + 2 * KILL_DELAY + LATE:
                    self.violated(f"{server.name} has a worker that has been starting for {age:g} s")


class OutsideKills(Invariant):
    """See its statement."""

    number = 48
    statement = "Signals from outside that end workers do not count as failed starts."

    def watch(self) -> None:
        """Tell how workers end."""
        self._signalled: set[int] = set()
        self._failed: set[str] = set()
        journal = self.world.journal
        journal.watch("signals", lambda who, pid, name: self._signalled.add(pid))
        journal.watch("dies", self._dies)
        journal.watch("exits", self._exits)

    def _dies(self, who: str, name: str) -> None:
        pid = int(who.split()[1])
        if name not in ("SIGKILL", "SIGTERM") or pid in self._signalled:
            self._failed.add(self.serverOf(who).name)

    def _exits(self, who: str, *more: Any) -> None:
        self._failed.add(self.serverOf(who).name)

    def atTimes(self) -> None:
        """Look at servers whose workers have ended in no other way."""
        for server, running in self.running():
            backoff = running.pool._backoff
            if server.name in self._failed:
                continue
            if backoff.failures or (backoff.kills < MAX_KILLED_ROUNDS and backoff.until > float("-inf")):
                self.violated(f"{server.name} delays starts, and no worker has failed by itself")


class ChildrenKnown(Invariant):
    """See its statement."""

    number = 49
    statement = "At rest, a server's tables have exactly its living workers, and its counts of starts and ends agree."

    def atRest(self) -> None:
        """Compare the tables."""
        for server, running in self.running():
            supervisor, pool = running.supervisor, running.pool
            living = {process.pid for process in server.workers}
            known = {process.pid for process in supervisor._children.values()}
            if known != living:
                self.violated(f"{server.name} knows {len(known)} workers, and {len(living)} live")
            if {child.number for child in pool.children} != set(supervisor._children):
                self.violated(f"the pool of {server.name} has other workers than its supervisor")
            if len(supervisor._byIdentity) != len(known) or len(supervisor._openStreams) != len(known):
                self.violated(f"{server.name} remembers workers that have ended")
            ended = sum(supervisor.exits.values())
            if supervisor.spawns != ended + len(known):
                self.violated(f"{server.name} has started {supervisor.spawns}, and {ended} have ended")


class OnlyChildren(Invariant):
    """See its statement."""

    number = 50
    statement = "Only the server's own workers are admitted, unless others are allowed."

    def atTimes(self) -> None:
        """Look at the workers."""
        for server, running in self.running():
            for identity in running._broker.dispatcher.workers:
                if identity not in running.supervisor._byIdentity and not server.server.settings.externalWorkers:
                    self.violated(f"{server.name} has admitted {identity!r}")


class StoppedWorkers(Invariant):
    """See its statement."""

    number = 51
    statement = "A worker that a signal has stopped does not keep its requests for longer than delivery-timeout."

    def atTimes(self) -> None:
        """Look for workers that are stopped."""
        stopped: list[Timed] = []
        for server, running in self.awake(LATE):
            wait = running._settings.policy.deliveryTimeout
            for worker in running._broker.dispatcher.workers.values():
                process = running.supervisor._byIdentity.get(worker.identity)
                if process is not None and worker.inFlight and self.world.processes[process.pid].stopped:
                    stopped.append((wait + 0.5, (server.name, process.pid)))
        for each in self.overdue(stopped):
            self.violated("{} waits for worker {}, which is stopped".format(*each))
