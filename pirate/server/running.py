"""A running server: its parts, made and joined when its sockets are bound, and closed when its last child is gone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from pirate.auth.policy import AccessPolicy
from pirate.broker.broker import Broker
from pirate.broker.quota import makeRequestFilter
from pirate.broker.request import Request
from pirate.pool.child import ChildStatus
from pirate.pool.pool import Mode, Pool
from pirate.server.descriptors import shareDescriptors
from pirate.server.environment import ServerEnvironment
from pirate.server.inprocess import InProcessClient
from pirate.server.interfaces import IServerReactor
from pirate.server.lifecycle import Lifecycle, ServerState
from pirate.server.logs import DETAIL, RateLimitedLog, ServerLog, clientName
from pirate.server.protocol import BrokerProtocol
from pirate.server.supervisor import Supervisor
from pirate.settings.endpoints import hostOf, portOf
from pirate.settings.settings import Settings
from pirate.transport.interfaces import ITransport
from pirate.wire.frontend import MAX_BATCH_BYTES
from pirate.wire.words import LARGEST_PACK, Code, Condition
from pirate.wire.workerconfig import WorkerConfig

#: The codes of failed requests that are not logged here: the worker's error is logged elsewhere, or the failure was
#: asked for.
_UNLOGGED = frozenset({Code.APP_ERROR, Code.STOPPING, Code.CANCELLED})


@dataclass(frozen=True, slots=True)
class Endpoints:
    """
    The endpoints that a server is bound to, with the real port where a free one was asked for.

    :ivar frontend: those that clients connect to.
    :ivar backend: those that workers connect to.
    """

    frontend: tuple[str, ...] = ()
    backend: tuple[str, ...] = ()


class RunningServer:
    """
    The parts of a running server.

    It implements :class:`~pirate.broker.interfaces.BrokerEvents` and
    :class:`~pirate.server.protocol.ProtocolEvents`.

    :param environment: its environment.
    :param transport: the sockets, not bound yet.
    :param accessPolicy: the rules of who may connect.
    :param lifecycle: the state of the server, which is told what happens to the workers.
    :param importPath: where workers find modules.
    :ivar pool: the pool; call :meth:`consultPool` after each command to it.
    :ivar supervisor: the supervisor of the workers.
    :ivar inProcessClient: the client of this process.
    """

    def __init__(
        self,
        reactor: IServerReactor,
        environment: ServerEnvironment,
        log: ServerLog,
        settings: Settings,
        transport: ITransport,
        accessPolicy: AccessPolicy,
        lifecycle: Lifecycle,
        importPath: list[str],
    ) -> None:
        self._reactor = reactor
        self._environment = environment
        self._settings = settings
        self._transport = transport
        self._accessPolicy = accessPolicy
        self._lifecycle = lifecycle
        self._importPath = importPath
        self._begun = False
        self._failedRequests = RateLimitedLog(reactor, log, "requests given up")
        self._undeliveredReplies = RateLimitedLog(reactor, log, "replies not delivered")
        self._broker = Broker(
            transport,
            self,
            settings.policy,
            errorReply=settings.errorReply,
            firstId=int.from_bytes(environment.secret(8), "big") >> 2,
            watchBusy=lifecycle.watchesStatus,
        )
        self.pool = Pool(settings.limits, environment.random)
        self.supervisor = Supervisor(
            reactor,
            environment,
            log,
            self.pool,
            self._broker,
            accessPolicy,
            transport,
            lifecycle,
            externalWorkers=settings.externalWorkers,
        )
        self._protocol = BrokerProtocol(
            reactor,
            log,
            self._broker,
            self.supervisor,
            self.pool,
            transport,
            self,
            makeRequestFilter(settings.peerLimits, lifecycle.requestRule),
            takesBatches=settings.peerLimits.maxFrameBytes >= MAX_BATCH_BYTES,
        )
        self.inProcessClient = InProcessClient(reactor, environment, transport, settings.peerLimits)
        connectionLimits = shareDescriptors(
            environment.descriptorLimit(), settings.limits, settings.peerLimits.maxConnections
        )
        transport.start(self._protocol, settings.peerLimits, connectionLimits)

    def bind(self) -> Endpoints:
        """
        Bind both sockets.

        :return: the endpoints that they are bound to.
        :raise BindError: naming the endpoint; nothing stays bound.
        """
        access = self._accessPolicy
        self._transport.protect(access.frontend, access.backend, access.answer)
        frontend, backend = self._transport.bind(self._settings.frontend, self._settings.backend)
        # Children use a UNIX socket if there is one, otherwise one of their own if the platform has it.
        nearest = min(backend, key=lambda endpoint: not endpoint.startswith("ipc://"))
        own = None if nearest.startswith("ipc://") else self._transport.bindForOwnWorkers()
        self.supervisor.setConfig(self._makeConfig(own or _connectable(nearest), portOf(nearest)))
        return Endpoints(tuple(frontend), tuple(backend))

    def begin(self) -> None:
        """Start the first workers."""
        self._begun = True
        self.supervisor.consultPool()

    def consultPool(self) -> None:
        """Carry out what the pool decides, if the first workers have been started."""
        if self._begun:
            self.supervisor.consultPool()

    def reconfigure(self, settings: Settings) -> None:
        """Change what :class:`~pirate.settings.settings.RuntimeChanges` lists, as far as the parts keep it."""
        self.pool.reconfigure(settings.limits)
        self.supervisor.setDequeue(settings.dequeue)
        self.consultPool()

    def readKeys(self) -> None:
        """Read the key files again; if one cannot be read, its old keys stay."""
        self._accessPolicy.readKeys()

    def drain(self, grace: float | None) -> Deferred[None]:
        """
        Accept no more requests, serve those that have been accepted, retire the workers, and close the sockets.

        :param grace: seconds until accepted requests are given up; ``None``: never.
        :return: fires when the last child is gone and the sockets are closed.
        """
        self._transport.drainFrontend()
        self._broker.stopAccepting("the server is stopping")
        self.pool.drain(self._reactor.seconds(), grace)
        gone = self.supervisor.whenGone()
        gone.addCallback(lambda ignored: self._close())
        self.supervisor.consultPool()
        self._closeIfQuiet()
        return gone

    def abort(self) -> None:
        """Give up all requests, and kill the workers."""
        self.supervisor.abandonRequests()
        self.pool.abort(self._reactor.seconds())
        self.supervisor.consultPool()

    def stats(self) -> dict[str, Any]:
        """Return every count; see :meth:`pirate.service.JobServer.stats`."""
        counters = self._broker.counters
        statuses = list(self.supervisor.statuses().values())
        return {
            **{name: getattr(counters, name) for name in counters.__slots__ if name != "failed"},
            "failed": {str(code): count for code, count in counters.failed.items()},
            "dropped": self._protocol.droppedCounts(),
            "refused": dict(self._accessPolicy.refused.counts),
            "backlog": self._broker.queues.waiting,
            "backlog_bytes": self._broker.queues.waitingBytes,
            "backlog_oldest_seconds": self._broker.queues.oldestAge(self._reactor.seconds()),
            "in_flight": self._broker.dispatcher.inFlight,
            "workers": {status.value: statuses.count(status) for status in ChildStatus if status in statuses},
            "spawns": self.supervisor.spawns,
            "exits": dict(self.supervisor.exits),
            "connections": self._transport.connectionCounts(),
        }

    def condition(self) -> dict[str, Any]:
        """Return what the answer to a ping says of the server's state, its workers and its limits."""
        broker, peerLimits = self._broker, self._settings.peerLimits
        return {
            "state": self._conditionWord(),
            "workers": len(broker.dispatcher.workers),
            "busy": broker.dispatcher.busy,
            "idle": broker.dispatcher.idle,
            "backlog": broker.queues.waiting,
            "max_message_size": peerLimits.maxFrameBytes,
            "max_message_total": peerLimits.maxMessageBytes,
            "max_message_frames": peerLimits.maxMessageFrames,
        }

    def _conditionWord(self) -> Condition:
        state = self._lifecycle.state
        if state is ServerState.DRAINING:
            return Condition.STOPPING
        if state is not ServerState.RUNNING:
            return Condition.STARTING
        if self._broker.dispatcher.othersThan(self.supervisor.identities):
            # What keeps the server's own workers from starting need not concern external ones.
            return Condition.READY
        ready, limits = self.supervisor.readyCount(), self.pool.limits
        onDemand = limits.minServers == 0 and limits.maxServers > 0
        healthy = (ready > 0 or onDemand) and not self.pool.isFailing(self._reactor.seconds())
        return Condition.READY if healthy else Condition.NO_WORKERS

    def _makeConfig(self, backend: str, name: str) -> WorkerConfig:
        """
        Return the configuration of all workers.

        :param backend: the endpoint that they connect to.
        :param name: the name of that endpoint in the titles of their processes.
        """
        settings, peerLimits = self._settings, self._settings.peerLimits
        return WorkerConfig(
            backend=backend,
            app=settings.app,
            dequeue=settings.dequeue,
            prefetch=settings.prefetch,
            # The server would reject a packed message that exceeds its limit.
            pack=min(peerLimits.maxFrameBytes, peerLimits.maxMessageBytes) >= LARGEST_PACK,
            concurrency=settings.concurrency,
            threads=settings.threads,
            loop=settings.loop,
            softTimeout=settings.policy.jobSoftTimeout,
            maxFrame=peerLimits.maxFrameBytes,
            maxFrames=peerLimits.maxMessageFrames,
            maxTotal=peerLimits.maxMessageBytes,
            importPath=self._importPath,
            pythonPath=os.environ.get("PYTHONPATH"),
            parent=self._environment.pid,
            title=f"zmq worker {name}",
            showTraceback=settings.logLevel > DETAIL,
        )

    def _close(self) -> Deferred[None]:
        for each in (self._protocol, self._failedRequests, self._undeliveredReplies, self._accessPolicy.refused):
            each.stop()
        self.inProcessClient.stop()
        return self._transport.close()

    def consultPoolIfNeeded(self) -> None:
        """Ask the pool for workers if it could start some, or to let them go if the server has answered everything."""
        if self.pool.mode is not Mode.RUNNING:
            self._closeIfQuiet()
        elif self._begun and self.pool.canGrow(self._reactor.seconds()):
            self.supervisor.consultPool()

    def _closeIfQuiet(self) -> None:
        """Retire the workers if the server is draining and every accepted request has its reply."""
        if self.pool.mode is Mode.DRAINING and self._broker.isQuiet():
            self.pool.close(self._reactor.seconds())
            self.supervisor.consultPool()
            # The pool knows only the children; external workers are told here.
            self._broker.dispatcher.retireAll()

    # --- what the broker reports

    def replyUndelivered(self) -> None:
        """Log that a client is gone, or does not read."""
        self._undeliveredReplies.count("their clients are gone, or do not read")

    def requestFailed(self, request: Request, code: Code, message: str) -> None:
        """Log that a request has been given up."""
        if code not in _UNLOGGED:
            silence = ""
            if not request.toldErrors and not self._settings.errorReply:
                silence = ", which its plain client was not told"
                if code is Code.BUSY:
                    # It is being read at this moment.
                    request.peer = request.peer or self._transport.clientSender().address()
                    silence += f"; client {clientName(request)}"
            self._failedRequests.count(code.value, f"{message}{silence}")

    def workerBusyChanged(self, identity: bytes, busy: bool) -> None:
        """See :class:`~pirate.broker.interfaces.BrokerEvents`."""
        self.supervisor.busyChanged(identity, busy)

    def requestsHalfUsed(self, identity: bytes) -> None:
        """See :class:`~pirate.broker.interfaces.BrokerEvents`."""
        self.supervisor.requestsHalfUsed(identity)

    def requestsUsedUp(self, identity: bytes) -> None:
        """See :class:`~pirate.broker.interfaces.BrokerEvents`."""
        self.supervisor.requestsUsedUp(identity)

    def workerOverdue(self, identity: bytes, why: str) -> None:
        """See :class:`~pirate.broker.interfaces.BrokerEvents`."""
        self.supervisor.workerOverdue(identity, why)

    def workerUnreachable(self, identity: bytes) -> bool:
        """See :class:`~pirate.broker.interfaces.BrokerEvents`."""
        return self.supervisor.workerUnreachable(identity)

    def workerSilent(self, identity: bytes) -> None:
        """See :class:`~pirate.broker.interfaces.BrokerEvents`."""
        self.supervisor.workerSilent(identity)


def _connectable(endpoint: str) -> str:
    """Return an endpoint by which a child of this machine reaches one that is bound, perhaps to all addresses."""
    if not endpoint.startswith("ipc://") and hostOf(endpoint) in ("0.0.0.0", "[::]"):
        return endpoint.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    return endpoint
