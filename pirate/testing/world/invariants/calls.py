"""What clients see."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from pirate.client.session import Session
from pirate.testing.world.apps import replies
from pirate.testing.world.clients import Client
from pirate.testing.world.invariants.base import SLACK, Invariant
from pirate.testing.world.plan import token as tokenOf


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
            tokenOf(client.name, number): replies(tokenOf(client.name, number), call.steps)[
                0 if call.stream and client.kind == "native" else 1 :
            ]
            for client in self.world.plan.clients
            for number, call in enumerate(client.calls)
        }

    def _gets(self, who: str, token: str, outcome: str, value: Any) -> None:
        if outcome != "reply" or value in self._expected.get(token, ()):
            return
        self.violated(f"{token} got {value!r}")


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


class AllParts(Invariant):
    """See its statement."""

    number = 55
    statement = "A client that takes parts has had all of them when its call ends with a reply."

    def watch(self) -> None:
        """Count parts."""
        self._parts: Counter[str] = Counter()
        self._expected = {
            tokenOf(client.name, number): sum(count for word, count in call.steps if word == "parts")
            for client in self.world.plan.clients
            for number, call in enumerate(client.calls)
            if call.stream and client.kind == "native"
        }
        self.world.journal.watch("part", lambda who, token, part: self._parts.update([token]))
        self.world.journal.watch("gets", self._gets)

    def _gets(self, who: str, token: str, outcome: str, value: Any) -> None:
        expected = self._expected.get(token)
        if outcome == "reply" and expected is not None and self._parts[token] != expected:
            self.violated(f"{token} has had {self._parts[token]} parts of {expected}")


class RepliesInOrder(Invariant):
    """See its statement."""

    number = 56
    statement = "A plain client gets replies in the order in which the broker has had them."

    def watch(self) -> None:
        """Follow replies to plain clients that send many requests at once."""
        self._sent: dict[bytes, int] = {}
        self._last: dict[str, int] = {}
        journal = self.world.journal
        journal.watch("replies", lambda who, route, reply: self._sent.setdefault(reply, len(self._sent)))
        journal.watch("gets", lambda who, token, outcome, value: self._came(who, outcome, value))
        journal.watch("counts", self._came)

    def _came(self, who: str, outcome: str, value: Any) -> None:
        if not who.startswith("flood") or outcome != "reply" or value not in self._sent:
            return
        position = self._sent[value]
        if position < self._last.get(who, -1):
            self.violated(f"{who} got {value!r} after a later reply")
        self._last[who] = position


class OneReply(Invariant):
    """See its statement."""

    number = 57
    statement = "A request that was sent once has one reply at most."

    def watch(self) -> None:
        """Count the replies to clients that never send a request again."""
        self._had: set[bytes] = set()
        self.world.journal.watch("gets", lambda who, token, outcome, value: self._came(who, outcome, value))
        self.world.journal.watch("counts", self._came)

    def _came(self, who: str, outcome: str, value: Any) -> None:
        if who.startswith("flood") and outcome == "reply":
            if value in self._had:
                self.violated(f"{who} got {value!r} twice")
            self._had.add(value)


class LostConnections(Invariant):
    """See its statement."""

    number = 58
    statement = "No call of a native client stays with a connection that is lost."

    def atTimes(self) -> None:
        """Look at the calls."""
        for client, session in self.sessions():
            for call in session.calls.values():
                if call.peer is not None and not call.peer.connected:
                    self.violated(f"a call of {client.name} waits for a connection that is lost")

    def sessions(self) -> Iterator[tuple[Client, Session]]:
        """Yield the native clients, with their sessions."""
        for client in self.world.clients:
            driver = getattr(client, "driver", None)
            if driver is not None:
                yield client, driver.session


class ConnectionCounts(LostConnections):
    """See its statement."""

    number = 59
    statement = "A native client counts how many calls each of its connections has in flight."

    def atTimes(self) -> None:
        """Count the calls."""
        for client, session in self.sessions():
            counts = Counter(id(call.peer) for call in session.calls.values() if call.peer is not None)
            for peer in session.peers:
                if peer.inFlight != counts[id(peer)]:
                    self.violated(f"{client.name} counts {peer.inFlight} in flight, and there are {counts[id(peer)]}")

    def atRest(self) -> None:
        """Look for what is kept of calls that have ended."""
        for client, session in self.sessions():
            kept = sum(len(peer.collected) + len(peer.held) for peer in session.peers)
            waiting = sum(not call.finished for call in session._waiting)
            if not client.open and (kept or waiting):
                self.violated(f"{client.name} keeps {kept + waiting} calls that have ended")
