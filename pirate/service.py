"""The job server as a Twisted service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from enum import Enum
from functools import partial
from typing import Any, Unpack

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from pirate.auth.policy import AccessPolicy
from pirate.errors import ConfigurationError, ReloadError, StartError, StopError
from pirate.hooks import Hooks, RequestContext
from pirate.server.logs import DETAIL, VERBOSITY, RateLimitedLog, serverLog
from pirate.server.process import importPath, requireMemory
from pirate.server.running import Endpoints, RunningServer
from pirate.settings.limits import PoolLimits
from pirate.settings.settings import LimitChanges, Settings, SettingsArguments, makeSettings
from pirate.transport.interfaces import ITransport
from pirate.worker.imports import describe, place


class ServerState(Enum):
    """Where a server is in its life; ``SERVER_TRANSITIONS`` says what may follow what."""

    STOPPED = "stopped"
    #: The sockets are bound; there are no workers.
    BOUND = "bound"
    #: Fewer than ``min-servers`` workers have been ready.
    STARTING = "starting"
    RUNNING = "running"
    #: Nothing more is accepted; what has been is answered, then the workers leave.
    DRAINING = "draining"


#: From each state, the states that may follow.
SERVER_TRANSITIONS: dict[ServerState, frozenset[ServerState]] = {
    ServerState.STOPPED: frozenset({ServerState.BOUND}),
    ServerState.BOUND: frozenset({ServerState.STARTING, ServerState.DRAINING}),
    ServerState.STARTING: frozenset({ServerState.RUNNING, ServerState.DRAINING}),
    ServerState.RUNNING: frozenset({ServerState.DRAINING}),
    ServerState.DRAINING: frozenset({ServerState.STOPPED}),
}


class JobServer(Service):
    """
    A preforking ZeroMQ job server.

    It installs no signal handlers.  For children to be noticed at once when they end, the reactor must have its own
    handler for SIGCHLD, as it has unless it was run with ``installSignalHandlers=False``; without, they are noticed
    every ``check-for-dead`` seconds.

    :param reactor: the reactor, which must also spawn processes.
    :param hooks: who is told of the server's moments.
    :param transport: makes the sockets, given the reactor; ``None``: those of
        :class:`~pirate.transport.sockets.SocketTransport`.
    :param settings: the fields of :class:`~pirate.settings.settings.Settings`, such as ``frontend``, ``app`` and
        ``limits``; each has the default of that class.  ``app`` and ``dequeue`` take an import path, or a function or
        class that workers can import.
    :ivar gaveUp: called with the reason when no worker could ever start, before the server stops; it gives whether the
        user has been told, and the log need not.
    :raise ConfigurationError: if a setting is wrong.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        hooks: Hooks | None = None,
        transport: Callable[[Any], ITransport] | None = None,
        **settings: Unpack[SettingsArguments],
    ) -> None:
        self.settings = makeSettings(settings)
        self._reactor = reactor
        self._hooks = hooks or Hooks()
        self._makeTransport = transport or _realTransport
        self._log = serverLog(lambda: self.settings.logLevel)
        self._failures = RateLimitedLog(IReactorTime(reactor), self._log, "hooks that failed")
        self._importPath = importPath()
        self._state = ServerState.STOPPED
        self._hopeless = False
        self._endpoints = Endpoints()
        self._run: RunningServer | None = None
        self.gaveUp: Callable[[str], object] = lambda reason: None
        self._readiness: list[Deferred[None]] = []
        self._reloads: list[Deferred[None]] = []
        self._stops: list[Deferred[None]] = []

    @classmethod
    def fromSettings(
        cls, reactor: Any, settings: Settings, hooks: Hooks | None = None, user: int | None = None
    ) -> JobServer:
        """
        Make a server from settings that are there already.

        :param user: the user that this process becomes once the sockets are bound; ``None``: it stays who it is.
        """
        given = {field.name: getattr(settings, field.name) for field in fields(settings)}
        return cls(reactor, **{**given, "hooks": hooks, "transport": partial(_realTransport, user=user)})

    # --- what it is

    @property
    def state(self) -> ServerState:
        """Where it is in its life."""
        return self._state

    @property
    def endpoints(self) -> Endpoints:
        """Where it listens; empty when it does not."""
        return self._endpoints

    @property
    def limits(self) -> PoolLimits:
        """How many workers, how long, as things stand."""
        return self.settings.limits if self._run is None else self._run.pool.limits

    @property
    def workers(self) -> dict[int, str]:
        """Each child's process id and state: starting, waiting, processing, dequeue or retiring."""
        states = {} if self._run is None else self._run.supervisor.states()
        return {pid: state.value for pid, state in states.items()}

    def stats(self) -> dict[str, Any]:
        """
        A snapshot of every count.

        :return: ``received``, ``replied``, ``joined``, ``remembered``, ``withdrawn``, ``redispatched`` (requests),
            ``forgotten`` (outcomes), ``late``, ``undeliverable`` (answers),
            ``failed`` (requests, by code), ``dropped`` (messages, by reason),
            ``refused`` (connections, by reason), ``backlog``, ``backlog_bytes`` and ``backlog_oldest_seconds`` (what
            waits now), ``in_flight`` (requests now), ``workers`` (now, by state), ``spawns``, ``exits`` (by cause),
            ``connections`` (of each socket: how many are open now, and how many were accepted, closed, refused, cut off
            and failed in their handshake); empty if the server is stopped.
        """
        return {} if self._run is None else self._run.stats()

    # --- start

    def privilegedStartService(self) -> None:
        """
        Read the keys, and bind both sockets.

        :raise ConfigurationError: if a key cannot be read, or ``max-memory`` is given where memory cannot be measured.
        :raise BindError: naming the endpoint; nothing stays bound.
        """
        if self._state is not ServerState.STOPPED:
            return
        requireMemory(self.limits.maxMemory)
        guard = AccessPolicy(
            self._reactor, self._log, self.settings, RateLimitedLog(self._reactor, self._log, "peers refused")
        )
        run = RunningServer(
            self._reactor,
            self._log,
            self.settings,
            self._makeTransport(self._reactor),
            guard,
            self._hook,
            type(self._hooks).statusChanged is not Hooks.statusChanged,
            self._allow if type(self._hooks).allowRequest is not Hooks.allowRequest else None,
            self._importPath,
            lambda: self._state.value,
        )
        self._endpoints = run.bind()
        run.supervisor.asked = self._noteReady
        run.supervisor.reloaded = self._reloaded
        run.supervisor.gaveUp = self._gaveUp
        self._run = run
        self._hopeless = False
        self._become(ServerState.BOUND)
        self._log.info(
            "frontend: {frontend}; backend: {backend}",
            frontend=", ".join(self._endpoints.frontend),
            backend=", ".join(self._endpoints.backend),
        )

    def startService(self) -> None:
        """
        Start the workers, as soon as the reactor runs; bind first if that has not been done.

        :raise StopError: if the server is still stopping.
        """
        if self._state is ServerState.DRAINING:
            raise StopError("the server is still stopping: wait for what stopService returned")
        self.privilegedStartService()
        super().startService()
        self._hook("serverStarting")
        self._reactor.callWhenRunning(self._begin)

    def whenReady(self) -> Deferred[None]:
        """
        Wait for the server to be of use.

        :return: fires when ``min-servers`` workers are ready; fails with :class:`~pirate.errors.StartError` if they
            cannot start, and with :class:`~pirate.errors.StopError` if the server is stopped before.
        """
        ready: Deferred[None] = Deferred()
        self._readiness.append(ready)
        self._noteReady()
        return ready

    # --- commands

    def setLimits(self, **changes: Unpack[LimitChanges]) -> None:
        """
        Change how many workers live, how long, and what goes with it.

        :param changes: fields of :class:`~pirate.settings.limits.PoolLimits`; ``workers``, short for ``minServers`` and
            ``maxServers``; ``dequeue`` and ``logLevel``, as in :class:`~pirate.settings.settings.Settings`.
        :raise ConfigurationError: if they are none of these, or contradict what holds already; then nothing is changed.
        """
        given: dict[str, Any] = dict(changes)
        others = {name: given.pop(name) for name in ("dequeue", "logLevel") if name in given}
        if "workers" in given:
            given = {"minServers": given["workers"], "maxServers": given.pop("workers"), **given}
        unknown = given.keys() - {field.name for field in fields(PoolLimits)}
        if unknown:
            raise ConfigurationError(f"{', '.join(sorted(unknown))}: cannot be changed while the server runs")
        limits = self.limits.changed(given)
        requireMemory(limits.maxMemory)
        self.settings = replace(self.settings, limits=limits, **others)
        if self._run is not None:
            self._run.pool.limits = self.settings.limits
            self._run.supervisor.job.dequeue = self.settings.dequeue
            self._ask()

    def grow(self) -> None:
        """One worker more, at once: ``min-servers`` and ``max-servers`` rise by one."""
        self._running().pool.grow()
        self._ask()

    def shrink(self) -> None:
        """One worker fewer, at once: ``min-servers`` (down to 0) and ``max-servers`` (down to 1) fall by one."""
        self._running().pool.shrink()
        self._ask()

    def reload(self) -> Deferred[None]:
        """
        Replace every worker by a new one, which must be ready before an old one is retired; read the keys of those who
        may come in anew.

        :return: fires when that is done; fails with :class:`~pirate.errors.ReloadError` if a new worker cannot start,
            and the old stay.
        """
        run = self._running()
        done: Deferred[None] = Deferred()
        self._reloads.append(done)
        self._log.info("reloading")
        run.readKeys()
        run.pool.reload()
        self._ask()
        return done

    # --- stop

    def stopService(self) -> Deferred[None]:
        """
        Stop within ``stop-timeout``: accept nothing more, answer what has been accepted, retire the workers, close.

        :return: fires when the last child is gone and the sockets are closed.
        """
        return self.stop(self.limits.stopTimeout)

    def stop(self, grace: float | None) -> Deferred[None]:
        """
        The same with another grace.

        :param grace: seconds for what has been accepted; ``None``: as long as it takes.  A server that is draining
            already keeps the grace that it has.
        """
        if self.running:
            super().stopService()
        if self._run is None:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._stops.append(stopped)
        if self._state is not ServerState.DRAINING:
            self._become(ServerState.DRAINING)
            self._sayEnd("stopping")
            self._hook("serverStopping")
            _settle(self._readiness, Failure(StopError("the server was stopped before it was ready")))
            self._run.drain(grace).addCallback(self._stopped)
        return stopped

    def abort(self) -> Deferred[None]:
        """
        Stop at once: kill the workers, give up what is not answered.

        :return: fires when the last child is gone and the sockets are closed.
        """
        stopped = self.stop(0)
        if self._run is not None:
            self._run.abort()
        return stopped

    # --- what happens

    def _become(self, state: ServerState) -> None:
        if state not in SERVER_TRANSITIONS[self._state]:
            raise StopError(f"the server cannot go from {self._state.value} to {state.value}")
        self._state = state

    def _running(self) -> RunningServer:
        if self._run is None or self._state is ServerState.DRAINING:
            raise StopError("the server is not running")
        return self._run

    def _begin(self) -> None:
        if self._run is not None and self._state is ServerState.BOUND:
            self._become(ServerState.STARTING)
            self._run.begin()

    def _ask(self) -> None:
        if self._run is not None and self._state is not ServerState.BOUND:
            self._run.ask()

    def _stopped(self, ignored: object) -> None:
        self._run = None
        self._endpoints = Endpoints()
        self._become(ServerState.STOPPED)
        self._failures.stop()
        self._sayEnd("stopped")
        self._hook("serverStopped")
        _settle(self._stops, None)

    def _sayEnd(self, word: str) -> None:
        # A server that could not start has said why, which is all that is wanted of it.
        self._log.info(word, verbosity=DETAIL if self._hopeless else VERBOSITY[LogLevel.info])

    def _noteReady(self) -> None:
        if self._run is None:
            return
        count = self._run.supervisor.readyCount()
        if self._state is ServerState.STARTING and count >= self._run.pool.limits.minServers:
            self._become(ServerState.RUNNING)
            self._log.info("ready, with {count} workers", count=count)
            self._hook("serverStarted")
        if self._state is ServerState.RUNNING:
            _settle(self._readiness, None)

    def _reloaded(self, error: str | None) -> None:
        if error is None:
            self._log.info("reloaded")
            _settle(self._reloads, None)
        else:
            self._log.error("the reload failed, the old workers stay: {error}", error=error)
            _settle(self._reloads, Failure(ReloadError(error)))

    def _gaveUp(self, reason: str) -> None:
        # With no workers at the start, the first that is needed may be the first that fails.
        if self._state in (ServerState.STARTING, ServerState.RUNNING):
            self._hopeless = True
            _settle(self._readiness, Failure(StartError(reason)))
            if not self.gaveUp(reason):
                self._log.critical("the workers cannot start: {reason}", reason=reason)
            self._reactor.callLater(0, self.abort)

    def _allow(self, context: RequestContext) -> bool | str | None:
        try:
            verdict: Any = self._hooks.allowRequest(context)
        except Exception as error:
            # In one line, and not for every request: what a client has sent may be in it, and be the reason for it.
            reason = f"{describe(error)}{place(error)}"
        else:
            if verdict is None or isinstance(verdict, (bool, str)):
                return verdict
            # What will be true or false later, say: there is nobody who would wait for it.
            reason = f"it returned a {type(verdict).__name__}, not True, False or a text"
        self._failures.count("allowRequest", f"a request was refused: {reason}")
        return False

    def _hook(self, name: str, *arguments: Any) -> None:
        try:
            getattr(self._hooks, name)(self, *arguments)
        except Exception:
            self._log.failure("the hook {name} failed", name=name)


def _settle(waiting: list[Deferred[None]], result: Failure | None) -> None:
    several = waiting[:]
    waiting.clear()
    for each in several:
        each.callback(result)


def _realTransport(reactor: Any, user: int | None = None) -> ITransport:
    # Its import installs a reactor and makes ZeroMQ known to this process, which must not happen before it has
    # become a daemon.
    from pirate.transport.sockets import SocketTransport

    return SocketTransport(reactor, user)
