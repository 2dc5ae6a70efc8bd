"""
The invariants: what must hold in every world, whatever happens in it.

Each is a class with a number and a statement.  It watches the journal from the beginning, looks at the world when it
has come to rest, and once more when everything has been stopped.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pirate.broker.counters import Counters
from pirate.broker.request import State
from pirate.service import ServerState
from pirate.testing.world.apps import replies
from pirate.testing.world.plan import token as tokenOf
from pirate.wire.words import MAX_CREDIT

if TYPE_CHECKING:
    from pirate.testing.world.run import World

#: Seconds by which a call may end later than its timeout says.
SLACK = 0.05
#: Seconds between two looks at what must hold at any time.
SAMPLE = 0.1
#: Seconds from the last end of a worker until the pool is complete again: its longest back-off, and a start.
REFILL = 8.0
#: Seconds that a server has to catch up after it was stopped.
CATCH_UP = 0.3


@dataclass(frozen=True, slots=True)
class Violation:
    """
    An invariant that did not hold.

    :ivar number: the number of the invariant; 0 for an error in the code.
    :ivar time: when it was noticed.
    :ivar text: what was the matter.
    """

    number: int
    time: float
    text: str

    def __str__(self) -> str:
        return f"invariant {self.number} at {self.time:.6f}: {self.text}"


class Invariant:
    """
    Something that must hold.

    :cvar number: its number in the register.
    :cvar statement: what must hold.
    """

    number = 0
    statement = ""

    def __init__(self, world: World) -> None:
        self.world = world
        self.watch()

    def watch(self) -> None:
        """Ask the journal for events."""

    def atRest(self) -> None:
        """Check what must hold when all calls have had the time to end."""

    def atTimes(self) -> None:
        """Check what must hold at any time; this is called every :data:`SAMPLE` seconds."""

    def atEnd(self) -> None:
        """Check what must hold when everything has been stopped."""

    def violated(self, text: str) -> None:
        """Note that this does not hold."""
        self.world.violated(self.number, text)


class OneAnswer(Invariant):
    """See its statement."""

    number = 1
    statement = "Every call of a client ends exactly once."

    def watch(self) -> None:
        """Follow calls to their ends."""
        self._open: set[str] = set()
        self.world.journal.watch("calls", lambda who, token, *more: self._open.add(token))
        self.world.journal.watch("gets", self._gets)

    def _gets(self, who: str, token: str, *more: Any) -> None:
        if token not in self._open:
            self.violated(f"{token} has ended twice")
        self._open.discard(token)

    def atRest(self) -> None:
        """Look for calls that have not ended."""
        for token in sorted(self._open):
            self.violated(f"{token} has not ended")


class InTime(Invariant):
    """See its statement."""

    number = 2
    statement = "A native call ends within its timeout."

    def watch(self) -> None:
        """Measure calls."""
        self._began: dict[str, tuple[float, float]] = {}
        self.world.journal.watch("calls", self._calls)
        self.world.journal.watch("gets", self._gets)

    def _calls(self, who: str, token: str, timeout: float, attempts: int) -> None:
        if who.startswith("native"):
            self._began[token] = self.world.agenda.now, timeout

    def _gets(self, who: str, token: str, *more: Any) -> None:
        began, timeout = self._began.pop(token, (0.0, 0.0))
        took = self.world.agenda.now - began
        if timeout and took > timeout + SLACK:
            self.violated(f"{token} has taken {took:g} seconds, and its timeout is {timeout:g}")


class OwnReply(Invariant):
    """See its statement."""

    number = 3
    statement = "A client gets no reply but that of the app to its own request."

    def watch(self) -> None:
        """Look at replies."""
        self.world.journal.watch("gets", self._gets)
        self._expected = {
            tokenOf(client.name, number): replies(tokenOf(client.name, number), call.steps)
            for client in self.world.plan.clients
            for number, call in enumerate(client.calls)
        }

    def _gets(self, who: str, token: str, outcome: str, value: Any) -> None:
        if outcome != "reply" or value in self._expected.get(token, ()):
            return
        self.violated(f"{token} got {value!r}")


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


class RepliesWereMade(Invariant):
    """See its statement."""

    number = 6
    statement = "A client gets a reply only if a worker has executed its request to the end."

    def watch(self) -> None:
        """Note what has been executed."""
        self._ended: set[str] = set()
        self.world.journal.watch("ends", lambda who, token, request: self._ended.add(token))
        self.world.journal.watch("gets", self._gets)

    def _gets(self, who: str, token: str, outcome: str, value: Any) -> None:
        if outcome == "reply" and token not in self._ended:
            self.violated(f"{token} has a reply, but was not executed")


class CountersAddUp(Invariant):
    """See its statement."""

    number = 7
    statement = "Every request that was received is counted once by its outcome, or it waits or is in flight."

    def atRest(self) -> None:
        """Add up."""
        for server in self.world.livingServers():
            running = server.server._runningServer
            if running is not None:
                broker = running._broker
                self._check(server.name, broker.counters, broker.queues.waiting + broker.dispatcher.inFlight)

    def _check(self, name: str, counters: Counters, left: int) -> None:
        ended = counters.replied + sum(counters.failed.values())
        total = ended + counters.joined + counters.remembered + counters.withdrawn + left
        if total != counters.received:
            self.violated(f"{name} has received {counters.received} requests, and accounts for {total}")


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


class Stopped(Invariant):
    """See its statement."""

    number = 9
    statement = "A server that has stopped leaves no worker, no timer, and nothing bound."

    def atEnd(self) -> None:
        """Look for what is left."""
        for server in self.world.servers:
            for process in server.workers:
                self.violated(f"{process.name} has outlived {server.name}")
            if not server.alive:
                continue
            if server.server.state is not ServerState.STOPPED:
                self.violated(f"{server.name} is {server.server.state.value}")
            for call in server.getDelayedCalls():
                self.violated(f"{server.name} has left a call at {call.getTime():g}")
            for endpoint in server.server.settings.frontend:
                if self.world.network.isBound(endpoint):
                    self.violated(f"{endpoint} is still bound")


class NothingOpen(Invariant):
    """See its statement."""

    number = 10
    statement = "When all calls have ended, a client has no open call and no timer."

    def atRest(self) -> None:
        """Look at the sessions."""
        for client in self.world.clients:
            driver = getattr(client, "driver", None)
            if driver is not None and not client.open and driver.session.open:
                self.violated(f"{client.name} has {driver.session.open} open calls")

    def atEnd(self) -> None:
        """Look for what is left."""
        for client in self.world.clients:
            for call in client.getDelayedCalls():
                if client.planned.kind == "native":
                    self.violated(f"{client.name} has left a call at {call.getTime():g}")


class NoUnhandledError(Invariant):
    """See its statement."""

    number = 11
    statement = "No error is unhandled, in a worker or a server."

    def watch(self) -> None:
        """Look for errors."""
        self.world.journal.watch("unhandled", lambda who, text: self.violated(f"{who}: {text}"))


class PartsInOrder(Invariant):
    """See its statement."""

    number = 12
    statement = "A client gets the parts of a reply once each, in their order."

    def watch(self) -> None:
        """Follow the parts."""
        self._next: defaultdict[str, int] = defaultdict(int)
        self.world.journal.watch("part", self._part)

    def _part(self, who: str, token: str, part: bytes) -> None:
        expected = f"{token}.{self._next[token]}".encode()
        self._next[token] += 1
        if part != expected:
            self.violated(f"{token} got {part!r}, and {expected!r} is next")


class LinksOver(Invariant):
    """See its statement."""

    number = 13
    statement = "When everything has been stopped, no connection is left."

    def atEnd(self) -> None:
        """Look for links."""
        for link in self.world.network.links:
            self.violated(f"the connection of {link.name} is left")


class HoldersKnown(Invariant):
    """See its statement."""

    number = 14
    statement = "Every request that counts as in flight is held by a worker that the broker knows, and nothing else is."

    def atRest(self) -> None:
        """Compare the counts with what workers hold."""
        for server in self.world.livingServers():
            running = server.server._runningServer
            if running is not None:
                dispatcher = running._broker.dispatcher
                held = [
                    each
                    for worker in dispatcher.workers.values()
                    for each in worker.inFlight.values()
                    if each.state is State.IN_FLIGHT
                ]
                if len(held) != dispatcher.inFlight:
                    self.violated(f"{server.name} has {dispatcher.inFlight} in flight, and workers hold {len(held)}")


class ServerAnswers(Invariant):
    """See its statement."""

    number = 15
    statement = "While servers and connections are whole, a native client itself gives up only what is being executed."

    #: The faults that may keep an answer from a client.
    EXCUSES = frozenset(
        {"cutClient", "stickClient", "slowClient", "stopServer", "killServer", "restart"}
        | {"stopWorker", "stickWorker", "slowWorker"}
    )

    def watch(self) -> None:
        """Follow executions."""
        plan = self.world.plan
        # A full backlog that makes clients wait is not read.
        waits = any(each["policy"].get("backlogPolicy") == "wait" for each in plan.servers)
        self._excused = waits or any(each.kind in self.EXCUSES for each in plan.faults)
        self._holders: dict[str, list[str]] = {}
        self._ended: dict[str, float] = {}
        journal = self.world.journal
        journal.watch("begins", lambda who, token, *more: self._holders.setdefault(who, []).append(token))
        for what in ("ends", "raises"):
            journal.watch(what, self._ends)
        for what in ("dies", "exits"):
            journal.watch(what, self._gone)
        if not self._excused:
            journal.watch("gets", self._gets)

    def _ends(self, who: str, token: str, *more: Any) -> None:
        self._holders[who].remove(token)
        self._ended[token] = self.world.agenda.now

    def _gone(self, who: str, *more: Any) -> None:
        for token in self._holders.pop(who, ()):
            self._ended[token] = self.world.agenda.now

    def _gets(self, who: str, token: str, outcome: str, value: Any) -> None:
        if outcome or any(token in each for each in self._holders.values()):
            return
        # The answer may be on its way, or the end of a worker may just be noticed.
        if self._ended.get(token, 0.0) < self.world.agenda.now - 0.04:
            self.violated(f"{token} got no answer: {value}")


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
        if not token.startswith("native") or policy.remember < 60:
            return
        self._begun[server.name, token] += 1
        if self._begun[server.name, token] > policy.maxAttempts:
            self.violated(f"{server.name} begins {token} for the {self._begun[server.name, token]}th time")


class BrokerAtRest(Invariant):
    """See its statement."""

    number = 17
    statement = "When every request has ended, the broker keeps nothing but outcomes, and no worker counts as busy."

    def atRest(self) -> None:
        """Look into the broker."""
        for server in self.world.livingServers():
            running = server.server._runningServer
            if running is None:
                continue
            broker = running._broker
            dispatcher = broker.dispatcher
            busy = sum(bool(worker.inFlight) for worker in dispatcher.workers.values())
            if busy != dispatcher.busy:
                self.violated(f"{server.name} counts {dispatcher.busy} busy workers, and {busy} hold requests")
            if broker.isQuiet():
                for what, left in (
                    ("open", broker.replies._open),
                    ("moved", dispatcher._moved),
                    ("queued", list(broker.queues.services[""].queued())),
                ):
                    if left:
                        self.violated(f"{server.name} has {len(left)} {what} requests left")
                if broker.queues.waitingBytes or broker.queues.over:
                    self.violated(f"{server.name} counts {broker.queues.waitingBytes} bytes of no request")


class NoneWaitsForNothing(Invariant):
    """See its statement."""

    number = 18
    statement = "No request waits while a worker could take it."

    def atRest(self) -> None:
        """Look at the queues."""
        for server in self.world.livingServers():
            running = server.server._runningServer
            if running is not None:
                service = running._broker.queues.services[""]
                if service.head() is not None and service.ready.first() is not None:
                    self.violated(f"{server.name} has requests that wait and workers that could take them")


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


class BoundedSends(Invariant):
    """See its statement."""

    number = 20
    statement = "A native client sends a call at most as often as it may, not counting servers that have refused it."

    def watch(self) -> None:
        """Look at calls that have ended."""
        self._refusals: Counter[str] = Counter()
        self.world.journal.watch("answers", self._answers)
        self.world.journal.watch("sent", self._sent)

    def _answers(self, who: str, requestId: str, code: str) -> None:
        if code in ("busy", "stopping"):
            self._refusals[requestId] += 1

    def _sent(self, who: str, token: str, requestId: str, sent: int, attempts: int) -> None:
        refused = self._refusals[requestId]
        if sent - refused > attempts:
            self.violated(f"{token} was sent {sent} times, refused {refused} times, and has {attempts} attempts")


class NothingLate(Invariant):
    """See its statement."""

    number = 21
    statement = (
        "Where no worker ends before its time and no peer is hostile, no reply comes late, and no request is moved."
    )

    def atRest(self) -> None:
        """Look at the counters."""
        plan = self.world.plan
        ends = {"exit", "end", "die", "hang"}
        calls = [call for client in plan.clients for call in client.calls]
        troubled = plan.faults or plan.crashes or any(client.kind == "hostile" for client in plan.clients)
        timed = any("jobTimeout" in each["policy"] for each in plan.servers)
        ended = any(word in ends or argument == 1e6 for call in calls for word, argument in call.steps)
        if troubled or timed or ended or any(call.cancelAt for call in calls):
            return
        for server in self.world.livingServers():
            running = server.server._runningServer
            if running is not None:
                counters = running._broker.counters
                if counters.late or counters.redispatched:
                    self.violated(
                        f"{server.name} has counted {counters.late} late replies, and has moved "
                        f"{counters.redispatched} requests"
                    )


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


class Expire(Invariant):
    """See its statement."""

    number = 23
    statement = "A request that waits ends at its deadline."

    def atTimes(self) -> None:
        """Look at the queues."""
        now = self.world.agenda.now
        for server in self.world.livingServers():
            running = server.server._runningServer
            if running is None or not server.isAwake(CATCH_UP):
                continue
            for request in running._broker.queues.services[""].queued():
                if request.deadline < now - SLACK:
                    self.violated(f"{server.name} has a request that waits {now - request.deadline:g} s too long")


class AnsweredOnce(Invariant):
    """See its statement."""

    number = 24
    statement = "While a server remembers the outcome of a native request, no new attempt of it begins."

    #: The codes of outcomes that are not remembered; see :mod:`pirate.broker.replies`.
    FORGOTTEN = frozenset({"busy", "stopping", "expired", "unknown-service", "cancelled", "denied"})

    def watch(self) -> None:
        """Follow outcomes."""
        self._answered: set[tuple[str, str]] = set()
        self._attempts: dict[tuple[str, str], int] = {}
        self._tokens: dict[str, str] = {}
        journal = self.world.journal
        journal.watch("asks", lambda who, token, requestId: self._tokens.__setitem__(token, requestId))
        journal.watch("answers", self._answers)
        journal.watch("begins", self._begins)

    def _answers(self, who: str, requestId: str, code: str) -> None:
        if code not in self.FORGOTTEN:
            self._answered.add((who, requestId))

    def _begins(self, who: str, token: str, request: str, attempt: int) -> None:
        server = self.world.processes[int(who.split()[1])].parent
        key = server.name, self._tokens.get(token, "")
        remembers = server.server.settings.policy.remember >= 60  # type: ignore[attr-defined]
        # A worker that was stopped, or is cut off, may begin an earlier attempt late.
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
        if outcome != "timeout" or token not in self._began:
            return
        policies = [each["policy"] for each in self.world.plan.servers]
        limits = [each[name] for each in policies for name in ("jobTimeout", "jobSoftTimeout") if name in each]
        took = self.world.agenda.now - self._began[token]
        # A worker begins a job a little after it was sent.
        if took < min(limits) - SLACK:
            self.violated(f"{token} was given up after {took:g} seconds of {min(limits):g}")


#: All invariants.
INVARIANTS: list[type[Invariant]] = [
    OneAnswer,
    InTime,
    OwnReply,
    BoundedExecutions,
    OneExecutionOfAnAttempt,
    RepliesWereMade,
    CountersAddUp,
    PoolSize,
    Stopped,
    NothingOpen,
    NoUnhandledError,
    PartsInOrder,
    LinksOver,
    HoldersKnown,
    ServerAnswers,
    RememberedRequests,
    BrokerAtRest,
    NoneWaitsForNothing,
    PoolComplete,
    BoundedSends,
    NothingLate,
    Credit,
    Expire,
    AnsweredOnce,
    WholeJobTime,
]
