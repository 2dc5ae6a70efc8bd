"""What is left when a server stops, or everything has been stopped."""

from __future__ import annotations

from pirate.broker.broker import Broker
from pirate.service import ServerState
from pirate.testing.world.invariants.base import Invariant


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


class NoUnhandledError(Invariant):
    """See its statement."""

    number = 11
    statement = "No error is unhandled, in a worker or a server."

    def watch(self) -> None:
        """Look for errors."""
        self.world.journal.watch("unhandled", lambda who, text: self.violated(f"{who}: {text}"))


class LinksOver(Invariant):
    """See its statement."""

    number = 13
    statement = "When everything has been stopped, no connection is left."

    def atEnd(self) -> None:
        """Look for links."""
        for link in self.world.network.links:
            self.violated(f"the connection of {link.name} is left")


class AnswersBeforeStop(Invariant):
    """See its statement."""

    number = 64
    statement = "A server that has stopped has answered, or given up, every request that it had accepted."

    def watch(self) -> None:
        """Keep the brokers of servers that are stopping."""
        self._brokers: dict[str, Broker] = {}
        self.world.journal.watch("stopping", self._stopping)
        self.world.journal.watch("stopped", self._stopped)

    def _stopping(self, who: str, grace: float) -> None:
        for server, running in self.running():
            self._brokers[server.name] = running._broker

    def _stopped(self, who: str) -> None:
        broker = self._brokers.get(who)
        if broker is not None and not broker.isQuiet():
            left = broker.queues.waiting + broker.dispatcher.inFlight
            self.violated(f"{who} has stopped with {left} requests that it had accepted")


class StoppingAcceptsNone(Invariant):
    """See its statement."""

    number = 65
    statement = "A server that is stopping accepts no request."

    def watch(self) -> None:
        """Begin with nothing."""
        self._numbers: dict[str, int] = {}

    def atTimes(self) -> None:
        """Compare how many requests have been accepted with how many had been."""
        for server, running in self.running():
            if server.server.state is ServerState.DRAINING:
                number = running._broker._number
                if number != self._numbers.setdefault(server.name, number):
                    self.violated(f"{server.name} is stopping, and has accepted a request")


class FewTimers(Invariant):
    """See its statement."""

    number = 66
    statement = "A server at rest has few timers: some of its own, and a few for each worker."

    def atRest(self) -> None:
        """Count them."""
        for server, _ in self.running():
            count, most = len(server.getDelayedCalls()), 12 + 3 * len(server.workers)
            if count > most:
                self.violated(f"{server.name} has {count} timers, and should have {most}")
