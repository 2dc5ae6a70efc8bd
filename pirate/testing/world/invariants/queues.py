"""Who is served next, and what waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from functools import partial

from pirate.broker.backpressure import EXTRA_REQUESTS
from pirate.broker.queues import Queues
from pirate.broker.request import NEVER, Request, State
from pirate.broker.workers import Standing
from pirate.server.running import RunningServer
from pirate.testing.world.invariants.base import SLACK, Invariant, held
from pirate.testing.world.network import Link

#: How often another client may be served while a request is its client's next: once a round, and once more around the
#: end of a request that was next before it.
TURNS = 2
#: Seconds within which a message that has arrived is read, if its client has nothing waiting; a request whose client
#: has gone, or which was cancelled, is given up; and a request is moved that was sent to a connection that is closed.
HEARD, GIVEN_UP, MOVED = 2.0, 2.0, 1.2
#: Seconds for which the counts of the queues may differ, while what has expired is being given up.
TRANSIENT = 0.5


def _find(running: RunningServer, worker: str, requestId: bytes) -> Request | None:
    """Return the request with an id that a worker is being given; ``None`` if it never waited."""
    record = running._broker.dispatcher.workers.get(worker.encode())
    request = None if record is None else record.inFlight.get(requestId)
    if request is not None:
        return request
    for service in running._broker.queues.services.values():
        head = service.head()
        if head is not None and head.brokerId == requestId:
            return head
    return None


def _client(request: Request) -> Hashable:
    return request.user or request.route[0]


class FairTurns(Invariant):
    """See its statement."""

    number = 26
    statement = "While a client's request is its next, no other client is served more than twice."

    def watch(self) -> None:
        """Look at every request that a worker is given."""
        self._passed: dict[tuple[str, Hashable], tuple[bytes, Counter[Hashable]]] = {}
        self.world.journal.watch("gives", self._gives)

    def _gives(self, who: str, worker: str, *ids: str) -> None:
        for server, running in self.running():
            if server.name == who:
                for each in ids:
                    self._given(who, running, worker, bytes.fromhex(each))

    def _given(self, who: str, running: RunningServer, worker: str, requestId: bytes) -> None:
        request = _find(running, worker, requestId)
        if request is None or request.holders:
            # It is new, and so its worker was idle; or it was moved, and so goes first.
            return
        served = _client(request)
        self._passed.pop((who, served), None)
        service = running._broker.queues.services[request.service]
        for queue in service.ring:
            first = queue.first
            if first is None or first is request or first.state is not State.QUEUED or _client(first) == served:
                continue
            key = who, _client(first)
            before = self._passed.get(key)
            if before is None or before[0] != first.brokerId:
                before = self._passed[key] = first.brokerId, Counter()
            before[1][served] += 1
            if before[1][served] > TURNS:
                self.violated(f"{who} has served a client {before[1][served]} times while the next of another waits")


class OwnOrder(Invariant):
    """See its statement."""

    number = 27
    statement = "Workers are given the requests of one client in the order of their acceptance, but for those moved."

    def watch(self) -> None:
        """Look at every request that a worker is given."""
        self._last: dict[tuple[str, Hashable, str], bytes] = {}
        self.world.journal.watch("gives", self._gives)

    def _gives(self, who: str, worker: str, *ids: str) -> None:
        for server, running in self.running():
            if server.name != who:
                continue
            for each in ids:
                request = _find(running, worker, bytes.fromhex(each))
                if request is None or request.holders:
                    continue
                key = who, _client(request), request.service
                if request.brokerId < self._last.get(key, b""):
                    self.violated(f"{who} gives {worker} a request before an older one of the same client")
                self._last[key] = request.brokerId


class QueueCounts(Invariant):
    """See its statement."""

    number = 28
    statement = "The queues count what waits: all requests and bytes, and each client's share of them."

    def atTimes(self) -> None:
        """Count what waits."""
        wrong = [each for server, running in self.running() for each in self._wrong(server.name, running)]
        for each in self.lasting(wrong, TRANSIENT):
            self.violated(str(each))

    def _wrong(self, name: str, running: RunningServer) -> Iterator[str]:
        queues: Queues = running._broker.queues
        waiting = queues.queued()
        if len(waiting) != queues.waiting:
            yield f"{name} does not count right how many requests wait"
        if sum(each.waitingBytes for each in waiting) != queues.waitingBytes:
            yield f"{name} does not count right how many bytes wait"
        shares = Counter(id(each.share) for each in waiting)
        for service in queues.services.values():
            for queue in service.queues.values():
                if queue.share.waiting != shares[id(queue.share)]:
                    yield f"{name} does not count right what a client has waiting"


class BoundedBacklog(Invariant):
    """See its statement."""

    number = 29
    statement = "No more requests wait than the backlog allows, and its extra room; what is moved comes on top."

    def atTimes(self) -> None:
        """Count what waits."""
        for server, running in self.running():
            policy = server.server.settings.policy
            most = policy.backlog
            if policy.backlogPolicy == "wait":
                most += EXTRA_REQUESTS + len(self.world.clients)
            waiting = [each for each in running._broker.queues.queued() if not each.holders]
            if len(waiting) > most:
                self.violated(f"{server.name} has {len(waiting)} requests waiting, and may have {most}")


class ClientShare(Invariant):
    """See its statement."""

    number = 30
    statement = "No native client has more requests waiting than its share of the backlog; what is moved comes on top."

    def atTimes(self) -> None:
        """Count what each client has waiting."""
        for server, running in self.running():
            queues = running._broker.queues
            counts = Counter(_client(each) for each in queues.queued() if each.toldErrors and not each.holders)
            most = max(counts.values(), default=0)
            if most > queues.maxPerClient:
                self.violated(f"a client of {server.name} has {most} waiting, and may have {queues.maxPerClient}")


class HeardWhenFull(Invariant):
    """See its statement."""

    number = 31
    statement = "What a client sends that has nothing waiting is read soon, even if the backlog is full."

    def atTimes(self) -> None:
        """Look for messages that have arrived, and are not read."""
        unread = []
        for server, running in self.awake(HEARD):
            waiting = {each.route[0] for each in running._broker.queues.queued()}
            for link in server.transport.frontend._links.values():
                if link.up.inbox and link.route and link.route not in waiting:
                    unread.append((server.name, link.name, id(link.up.inbox[0])))
        for each in self.lasting(unread, HEARD):
            self.violated(f"{each[0]} does not read what {each[1]} has sent")  # type: ignore[index]


class ClientsGone(Invariant):
    """See its statement."""

    number = 32
    statement = "No request waits for long after all clients have gone that wait for its reply."

    def atTimes(self) -> None:
        """Look for clients of requests that wait."""
        orphans = []
        for server, running in self.awake(GIVEN_UP):
            routes = server.transport.frontend._routes
            for request in running._broker.queues.queued():
                if not any(each.route[0] in routes for each in (request, *request.joined)):
                    orphans.append((server.name, request.brokerId.hex()))
        for each in self.lasting(orphans, GIVEN_UP):
            self.violated("{} keeps {}, whose client has gone".format(*each))  # type: ignore[misc]

    def atRest(self) -> None:
        """Look for clients that are remembered."""
        for server, running in self.running():
            waiting = running._protocol.waitingClients
            monitor = server.transport.frontend.monitor
            left = [each for each in waiting._byConnection if each not in monitor]
            if left or waiting.toWithdraw:
                self.violated(f"{server.name} remembers {len(left)} clients that have gone")


class Accounts(Invariant):
    """See its statement."""

    number = 33
    statement = "A client's account counts those of its requests that wait or are in flight."

    def atTimes(self) -> None:
        """Count them."""
        for server, running in self.running():
            admission = running._protocol._filter
            if admission is None or admission._quota is None:
                continue
            counts = Counter(id(each.account) for each in self._open(running) if each.account is not None)
            for account in admission._quota._accounts.values():
                if account.open != counts[id(account)]:
                    self.violated(f"{server.name} counts {account.open} requests, and {counts[id(account)]} are open")
                    return

    def _open(self, running: RunningServer) -> Iterator[Request]:
        seen = {id(each): each for each in held(running) if each.state is State.IN_FLIGHT}
        # One whose deadline has passed may have left its queue, but not yet the heap.
        heap = (entry[2] for entry in running._broker.deadlines._heap)
        for each in (*running._broker.queues.queued(), *heap):
            if each.state is State.QUEUED:
                seen[id(each)] = each
        yield from seen.values()


class EndedIsOver(Invariant):
    """See its statement."""

    number = 34
    statement = "A request that has ended, or is remembered, is given to no worker."

    #: The codes of outcomes that are not remembered; see :mod:`pirate.broker.replies`.
    FORGOTTEN = frozenset({"busy", "stopping", "expired", "unknown-service", "cancelled", "denied", "malformed"})

    def watch(self) -> None:
        """Follow outcomes."""
        self._answered: dict[tuple[str, str], float] = {}
        self.world.journal.watch("answers", self._answers)
        self.world.journal.watch("gives", self._gives)

    def _answers(self, who: str, requestId: str, code: str) -> None:
        if code not in self.FORGOTTEN:
            self._answered[who, requestId] = self.world.agenda.now

    def _gives(self, who: str, worker: str, *ids: str) -> None:
        for server, running in self.running():
            if server.name != who:
                continue
            for each in ids:
                request = _find(running, worker, bytes.fromhex(each))
                if request is not None and request.state is State.DONE:
                    self.violated(f"{who} gives {worker} a request that has ended")
                # One that has never waited is not found: the worker has it a moment later.
                self.world.agenda.after(0.0, partial(self._look, who, running, worker, each))

    def _look(self, who: str, running: RunningServer, worker: str, requestId: str) -> None:
        request = _find(running, worker, bytes.fromhex(requestId))
        if request is None or not request.requestId or request.state is State.DONE:
            return
        at = self._answered.get((who, request.requestId.hex()))
        remember = running._settings.policy.rememberSeconds
        if at is not None and self.world.agenda.now < at + remember - SLACK:
            self.violated(f"{who} gives {worker} {request.requestId.hex()}, which it has answered")


class BegunInTime(Invariant):
    """See its statement."""

    number = 35
    statement = "While workers and connections are whole, no worker begins a request after its deadline."

    def watch(self) -> None:
        """Look at every execution."""
        if not self.hasFault("stopServer", "stopWorker", "stickWorker", "slowWorker"):
            self.world.journal.watch("begins", self._begins)

    def _begins(self, who: str, token: str, requestId: str, attempt: int) -> None:
        name = self.serverOf(who).name
        for server, running in self.running():
            if server.name != name:
                continue
            for request in held(running):
                if request.brokerId.hex() == requestId and request.deadline != NEVER:
                    late = self.world.agenda.now - request.deadline
                    if late > SLACK:
                        self.violated(f"{who} begins {token} {late:g} s after its deadline")


class Alone(Invariant):
    """See its statement."""

    number = 36
    statement = "A request that must be alone with its worker is."

    def atTimes(self) -> None:
        """Look at what workers hold."""
        for server, running in self.running():
            attempts = running._broker._attempts
            for worker in running._broker.dispatcher.workers.values():
                if len(worker.inFlight) < 2:
                    continue
                if any(attempts.mustBeAlone(worker, each) for each in worker.inFlight.values()):
                    self.violated(f"{server.name} has a worker with a request that should be alone, and others")

    def watch(self) -> None:
        """Look at what each worker holds when it is given something."""
        self.world.journal.watch("gives", lambda *ignored: self.atTimes())


class ReadyWorkers(Invariant):
    """See its statement."""

    number = 37
    statement = "A worker counts as ready exactly if it can take a request, by how many it holds."

    def atTimes(self) -> None:
        """Look at the workers while no request waits."""
        wrong = []
        for server, running in self.running():
            if running._broker.queues.waiting:
                continue
            for worker in running._broker.dispatcher.workers.values():
                level = len(worker.inFlight)
                if level >= worker.capacity or worker.standing is not Standing.SERVING:
                    level = -1
                # One that is busy may be known to have room only after its next reply.
                if worker.level != level and (worker.level >= 0 or 2 * len(worker.inFlight) <= worker.capacity):
                    wrong.append((server.name, worker.identity))
        for each in self.lasting(wrong, 0.0):
            self.violated("{} does not know how much {} can take".format(*each))  # type: ignore[misc]


class ConnectionsClosed(Invariant):
    """See its statement."""

    number = 38
    statement = "What a worker held whose connection is closed is moved at once."

    def watch(self) -> None:
        """Begin with nothing."""
        self._links: dict[tuple[str, bytes], Link] = {}

    def atTimes(self) -> None:
        """Look for workers whose first connection is closed: what was lost with it is not sent again."""
        lost = []
        for server, running in self.awake(MOVED):
            routes = server.transport.backend._routes
            for worker in running._broker.dispatcher.workers.values():
                link = routes.get(worker.identity)
                first = self._links.get((server.name, worker.identity), link)
                if link is not None and first is link:
                    self._links[server.name, worker.identity] = link
                elif worker.inFlight:
                    lost.append((server.name, worker.identity.decode()))
        for each in self.lasting(lost, MOVED):
            self.violated("{} waits for {}, whose connection is closed".format(*each))  # type: ignore[misc]


class CacheSize(Invariant):
    """See its statement."""

    number = 39
    statement = "The reply cache counts the bytes that it keeps, and keeps no more than it may."

    def atTimes(self) -> None:
        """Look at the cache."""
        for server, running in self.running():
            cache = running._broker.replies._cache
            if cache._bytes > cache._limit or len(cache) > cache._entries:
                self.violated(f"{server.name} remembers too much")

    def atRest(self) -> None:
        """Add up."""
        for server, running in self.running():
            cache = running._broker.replies._cache
            total = sum(size for _, size, _ in cache._outcomes.values())
            if total != cache._bytes:
                self.violated(f"{server.name} remembers {total} bytes, and counts {cache._bytes}")


class BoundedMemory(Invariant):
    """See its statement."""

    number = 40
    statement = "What is kept of requests that have ended is bounded: entries of heaps, queues and tables."

    def atTimes(self) -> None:
        """Count entries."""
        for server, running in self.running():
            broker = running._broker
            waiting = broker.queues.waiting
            clients = running._protocol.waitingClients
            for what, count, most in (
                ("deadlines", len(broker.deadlines._heap), 2 * waiting + 1001),
                ("shares", len(broker.queues._shares), 2 * len(self.world.clients) + 1000),
                ("closed connections", len(clients.closedConnections), 1001),
                ("moved requests", len(broker.dispatcher._moved), waiting + broker.dispatcher.inFlight),
                ("open requests", len(broker.replies._open), waiting + broker.dispatcher.inFlight),
            ):
                if count > most:
                    self.violated(f"{server.name} keeps {count} {what}, and should keep {most}")


class CancelsReach(Invariant):
    """See its statement."""

    number = 41
    statement = "While servers and connections are whole, a request that its client has cancelled ends at once."

    def watch(self) -> None:
        """Follow cancels."""
        self._ids: dict[str, str] = {}
        self._cancelled: set[str] = set()
        self._excused = self.hasFault(
            *("cutClient", "stickClient", "slowClient", "stopServer", "killServer", "restart", "cutWorker")
        )
        journal = self.world.journal
        journal.watch("asks", lambda who, token, requestId: self._ids.__setitem__(token, requestId))
        journal.watch("cancels", lambda who, token: self._cancelled.add(self._ids[token]))

    def atTimes(self) -> None:
        """Look for requests that were cancelled."""
        if self._excused or not self._cancelled:
            return
        left = []
        for server, running in self.awake(GIVEN_UP):
            for request in (*running._broker.queues.queued(), *held(running)):
                if request.state is not State.DONE and request.requestId.hex() in self._cancelled:
                    left.append((server.name, request.requestId.hex()))
        for each in self.lasting(left, GIVEN_UP):
            self.violated("{} goes on with {}, which was cancelled".format(*each))  # type: ignore[misc]


class CountersRise(Invariant):
    """See its statement."""

    number = 42
    statement = "No counter ever falls."

    def watch(self) -> None:
        """Begin with nothing."""
        self._before: dict[tuple[str, str], int] = {}

    def atTimes(self) -> None:
        """Compare the counters with what they were."""
        for server, running in self.running():
            counters = running._broker.counters
            now = {name: getattr(counters, name) for name in counters.__slots__ if name != "failed"}
            now |= {code.value: count for code, count in counters.failed.items()}
            for name, count in now.items():
                if count < self._before.get((server.name, name), 0):
                    self.violated(f"{server.name} counts {count} {name}, and has counted more")
                self._before[server.name, name] = count
