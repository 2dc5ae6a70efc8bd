"""What the broker keeps of requests."""

from __future__ import annotations

from pirate.broker.request import State
from pirate.testing.world.invariants.base import CATCH_UP, SLACK, Invariant, held
from pirate.testing.world.invariants.checks import unaccounted


class CountersAddUp(Invariant):
    """See its statement."""

    number = 7
    statement = "Every request that was received is counted once by its outcome, or it waits or is in flight."

    def atRest(self) -> None:
        """Add up."""
        for server, running in self.running():
            left = unaccounted(running.stats())
            if left:
                self.violated(f"{server.name} does not account for {left} requests")

    def atTimes(self) -> None:
        """Add up."""
        self.atRest()


class HoldersKnown(Invariant):
    """See its statement."""

    number = 14
    statement = "Every request that counts as in flight is held by a worker that the broker knows, and nothing else is."

    def atTimes(self) -> None:
        """Compare the counts with what workers hold."""
        for server, running in self.running():
            dispatcher = running._broker.dispatcher
            count = sum(each.state is State.IN_FLIGHT for each in held(running))
            if count != dispatcher.inFlight:
                self.violated(f"{server.name} has {dispatcher.inFlight} in flight, and workers hold {count}")

    def atRest(self) -> None:
        """Compare them once more."""
        self.atTimes()


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

    def atTimes(self) -> None:
        """Look at the queues."""
        idle = []
        for server, running in self.awake():
            for name, service in running._broker.queues.services.items():
                first = service.ready.first()
                if service.head() is not None and first is not None and not first.inFlight:
                    idle.append((server.name, name))
        for each in self.lasting(idle, SLACK):
            self.violated("{}{} has requests that wait and idle workers".format(*each))  # type: ignore[misc]

    def atRest(self) -> None:
        """Look at workers that are not idle, too."""
        for server, running in self.running():
            for service in running._broker.queues.services.values():
                if service.head() is not None and service.ready.first() is not None:
                    self.violated(f"{server.name} has requests that wait and workers that could take them")


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
        harmless = {"reload", "grow", "shrink", "slowClient", "stickClient"}
        troubled = (
            any(fault.kind not in harmless for fault in plan.faults)
            or plan.crashes
            or any(client.kind == "hostile" for client in plan.clients)
        )
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
