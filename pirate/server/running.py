"""One run of a server, from binding its sockets to the end of its last child: the cores and the edges, joined."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from twisted.internet.defer import Deferred

from pirate.auth.policy import AccessPolicy
from pirate.broker.broker import Broker
from pirate.broker.gate import makeRequestFilter
from pirate.broker.request import NativeRequest, Request
from pirate.hooks import RequestContext
from pirate.pool.child import ChildState
from pirate.pool.pool import Mode, Pool
from pirate.server.connections import WorkerConnections
from pirate.server.descriptors import descriptorLimit, shareDescriptors
from pirate.server.logs import DETAIL, RateLimitedLog, ServerLog
from pirate.server.protocol import BrokerProtocol
from pirate.server.supervisor import Supervisor
from pirate.settings.endpoints import hostOf, portOf
from pirate.settings.settings import Settings
from pirate.transport.interfaces import ITransport
from pirate.wire.job import Job
from pirate.wire.words import Code, Condition

#: Why requests are given up without a word in this log: the worker's says it, or the client wanted it so.
_USUAL = frozenset({Code.APP_ERROR, Code.STOPPING, Code.CANCELLED})

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a server listens: full endpoints, with the ports that were free."""

    frontend: tuple[str, ...] = ()
    backend: tuple[str, ...] = ()


class RunningServer:
    """
    The parts of a running server.

    :param transport: the sockets, not bound yet.
    :param guard: whom they let in.
    :param hook: called with a hook's name and its arguments.
    :param watched: whether each change of a worker between waiting and processing is wanted.
    :param allow: the application's rule for requests, if it has one.
    :param importPath: where workers find modules.
    :param life: the server's state, a word of :class:`~pirate.service.ServerState`.
    :ivar pool: the commands go there; :meth:`ask` afterwards.
    :ivar supervisor: the children.
    """

    def __init__(
        self,
        reactor: Any,
        log: ServerLog,
        settings: Settings,
        transport: ITransport,
        guard: AccessPolicy,
        hook: Callable[..., None],
        watched: bool,
        allow: Callable[[RequestContext], Any] | None,
        importPath: list[str],
        life: Callable[[], str],
    ) -> None:
        self._reactor = reactor
        self._log = log
        self._settings = settings
        self._transport = transport
        self._guard = guard
        self._hook = hook
        self._importPath = importPath
        self._life = life
        self._givenUp = RateLimitedLog(reactor, log, "requests given up")
        self._undelivered = RateLimitedLog(reactor, log, "answers not delivered")
        self._broker = Broker(
            transport,
            self,
            settings.policy,
            tellPlain=settings.errorReply,
            firstId=secrets.randbits(62),
            watchBusy=watched,
        )
        self.pool = Pool(settings.limits, Random())
        self.supervisor = self._makeSupervisor()
        connections = self._connections = WorkerConnections(reactor, self._broker, self.supervisor, transport)
        self.supervisor.ended = connections.ended
        requestFilter = makeRequestFilter(settings.peerLimits, allow)
        self._protocol = BrokerProtocol(
            reactor,
            log,
            settings,
            self._broker,
            self.supervisor,
            self.pool,
            transport,
            self,
            connections,
            requestFilter,
        )
        self._begun = False
        connectionLimits = shareDescriptors(descriptorLimit(), settings.limits, settings.peerLimits.maxConnections)
        transport.start(self._protocol, settings.peerLimits, connectionLimits)

    def _makeSupervisor(self) -> Supervisor:
        supervisor = Supervisor(self._reactor, self._log, self.pool, self._broker)
        supervisor.cutOff = self._cutOff
        supervisor.watch = self._hook
        supervisor.introduce, supervisor.forget = self._guard.introduce, self._guard.forget
        supervisor.workerAddress = lambda: self._transport.workerSender().address()
        return supervisor

    def bind(self) -> Endpoints:
        """
        Bind both sockets.

        :return: where they are bound.
        :raise BindError: naming the endpoint; nothing stays bound.
        """
        self._transport.protect(self._guard.frontend, self._guard.backend, self._guard.answer)
        frontend, backend = self._transport.bind(self._settings.frontend, self._settings.backend)
        nearest = min(backend, key=lambda each: not each.startswith("ipc://"))
        own = None if nearest.startswith("ipc://") else self._transport.bindForOwnWorkers()
        self.supervisor.job = self._job(own or _reachable(nearest), portOf(nearest))
        return Endpoints(tuple(frontend), tuple(backend))

    def begin(self) -> None:
        """Start the workers."""
        self._begun = True
        self.ask()

    def ask(self) -> None:
        """See what the pool wants done, and do it."""
        self.supervisor.ask()

    def readKeys(self) -> None:
        """Read the keys of those who may come in anew; if that fails, the old ones stay."""
        self._guard.readKeys()

    def drain(self, grace: float | None) -> Deferred[None]:
        """
        Accept nothing more, answer what has been accepted, retire the workers, close the sockets.

        :param grace: seconds for that; ``None``: as long as it takes.
        :return: fires when the last child is gone and the sockets are closed.
        """
        self._transport.drainFrontend()
        self._broker.refuseRequests("the server is stopping")
        self.pool.drain(self._reactor.seconds(), grace)
        gone = self.supervisor.whenGone()
        gone.addCallback(lambda ignored: self._close())
        self.ask()
        self._noteQuiet()
        return gone

    def abort(self) -> None:
        """Kill the workers, and give up what is not answered."""
        self._cutOff()
        self.pool.abort(self._reactor.seconds())
        self.ask()

    def stats(self) -> dict[str, Any]:
        """Every count; see ``pirate.service.JobServer.stats``."""
        counters = self._broker.counters
        states = list(self.supervisor.states().values())
        return {
            **{name: getattr(counters, name) for name in counters.__slots__ if name != "failed"},
            "failed": {str(code): count for code, count in counters.failed.items()},
            "dropped": self._protocol.droppedCounts(),
            "refused": dict(self._guard.refused.counts),
            "backlog": self._broker.backlog,
            "backlog_bytes": self._broker.backlogBytes,
            "backlog_oldest_seconds": self._broker.oldestAge(self._reactor.seconds()),
            "in_flight": self._broker.inFlight,
            "workers": {state.value: states.count(state) for state in ChildState if state in states},
            "spawns": self.supervisor.spawns,
            "exits": dict(self.supervisor.exits),
            "connections": self._transport.connectionCounts(),
        }

    def condition(self) -> dict[str, Any]:
        """Return what the answer to a ping says of the server's state, its workers and its limits."""
        broker, peerLimits = self._broker, self._settings.peerLimits
        return {
            "state": self._conditionWord(),
            "workers": broker.workers,
            "busy": broker.workers - broker.idle,
            "idle": broker.idle,
            "waiting": broker.idle,
            "backlog": broker.backlog,
            "max_message_size": int(peerLimits.maxMessageSize * _MIB),
            "max_message_total": int(peerLimits.maxMessageTotal * _MIB),
            "max_message_frames": peerLimits.maxMessageFrames,
        }

    def _conditionWord(self) -> Condition:
        life = self._life()
        if life == "draining":
            return Condition.STOPPING
        if life != "running":
            return Condition.STARTING
        if self._broker.othersThan(self.supervisor.identities):
            # They do not share the trouble that this server's own may have.
            return Condition.READY
        ours, limits = self.supervisor.readyCount(), self.pool.limits
        onDemand = limits.minServers == 0 and limits.maxServers > 0
        healthy = (ours > 0 or onDemand) and not self.pool.isFailing(self._reactor.seconds())
        return Condition.READY if healthy else Condition.NO_WORKERS

    def _job(self, backend: str, name: str) -> Job:
        """
        Make the job of all workers.

        :param backend: the endpoint that they connect to.
        :param name: what the titles of their processes call it.
        """
        settings, peerLimits = self._settings, self._settings.peerLimits
        return Job(
            backend=backend,
            app=settings.app,
            dequeue=settings.dequeue,
            prefetch=settings.prefetch,
            concurrency=settings.concurrency,
            threads=settings.threads,
            loop=settings.loop,
            softTimeout=settings.policy.jobSoftTimeout,
            maxFrame=int(peerLimits.maxMessageSize * _MIB),
            maxFrames=peerLimits.maxMessageFrames,
            maxTotal=int(peerLimits.maxMessageTotal * _MIB),
            importPath=self._importPath,
            pythonPath=os.environ.get("PYTHONPATH"),
            parent=os.getpid(),
            title=f"zmq worker {name}",
            showTraceback=settings.logLevel > DETAIL,
        )

    def _close(self) -> Deferred[None]:
        self._connections.stop()
        for each in (self._protocol, self._givenUp, self._undelivered, self._guard.refused):
            each.stop()
        closed: Deferred[None] = self._transport.close()
        return closed

    def turnEnded(self) -> None:
        """Ask the pool for workers if it could start some, or to let them go if the server has answered everything."""
        if self.pool.mode is not Mode.RUNNING:
            self._noteQuiet()
        elif self._begun and self.pool.canGrow(self._reactor.seconds()):
            self.ask()

    def _noteQuiet(self) -> None:
        """Once all is answered that was accepted, the workers may go."""
        if self.pool.mode is Mode.DRAINING and self._broker.quiet:
            self.pool.close(self._reactor.seconds())
            self.ask()
            # Those that are left are not the pool's.
            self._broker.retireAll()

    # --- what is given up

    def _cutOff(self) -> None:
        inFlight, waiting = self._broker.abandon("the server was stopped")
        if inFlight or waiting:
            self._log.warn(
                "stopped with {inFlight} requests in flight and {waiting} waiting, unanswered",
                inFlight=inFlight,
                waiting=waiting,
            )

    # --- what the broker reports

    def replyUndelivered(self) -> None:
        """Log that a client is gone, or does not read."""
        self._undelivered.count("their client is gone, or does not take them")

    def requestFailed(self, request: Request, code: Code, message: str) -> None:
        """Log that a request has been given up."""
        if code not in _USUAL:
            told = isinstance(request, NativeRequest) or self._settings.errorReply
            silence = "" if told else ", which its client, a plain one, was not told"
            self._givenUp.count(code.value, f"{message}{silence}")

    def workerBusyChanged(self, identity: bytes, busy: bool) -> None:
        """See :class:`~pirate.broker.interfaces.BrokerEvents`."""
        self.supervisor.busyChanged(identity, busy)

    def lifetimeHalved(self, identity: bytes) -> None:
        """See :class:`~pirate.broker.interfaces.BrokerEvents`."""
        self.supervisor.lifetimeHalved(identity)

    def lifetimeOver(self, identity: bytes) -> None:
        """See :class:`~pirate.broker.interfaces.BrokerEvents`."""
        self.supervisor.lifetimeOver(identity)

    def workerOverdue(self, identity: bytes, why: str) -> None:
        """See :class:`~pirate.broker.interfaces.BrokerEvents`."""
        self.supervisor.workerOverdue(identity, why)

    def workerUnreachable(self, identity: bytes) -> bool:
        """See :class:`~pirate.broker.interfaces.BrokerEvents`."""
        return self.supervisor.workerUnreachable(identity)

    def workerSilent(self, identity: bytes) -> None:
        """See :class:`~pirate.broker.interfaces.BrokerEvents`."""
        self.supervisor.workerSilent(identity)


def _reachable(endpoint: str) -> str:
    """Where a child of ours finds an endpoint that is bound."""
    if not endpoint.startswith("ipc://") and hostOf(endpoint) in ("0.0.0.0", "[::]"):
        return endpoint.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    return endpoint
