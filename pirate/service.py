"""The job server as a Twisted service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed

from pirate.auth.policy import AccessPolicy
from pirate.errors import ConfigurationError, StopError
from pirate.hooks import Hooks
from pirate.server.childprocess import importPath
from pirate.server.environment import ServerEnvironment
from pirate.server.interfaces import IServerReactor, StartEvents
from pirate.server.lifecycle import SERVER_TRANSITIONS, Lifecycle, ServerState
from pirate.server.logs import RateLimitedLog, ServerLog
from pirate.server.procfs import requireMemory
from pirate.server.running import Endpoints, RunningServer
from pirate.settings.limits import PoolLimits
from pirate.settings.settings import RuntimeChanges, Settings, SettingsArguments, spreadWorkers
from pirate.transport.interfaces import ITransport

if TYPE_CHECKING:
    from pirate.client.codecs import Codec, CodecName, Reply

__all__ = ["SERVER_TRANSITIONS", "Endpoints", "JobServer", "ServerState"]


class JobServer(Service):
    """
    A preforking ZeroMQ job server.

    It installs no signal handlers.  The end of a child is noticed at once if the reactor handles SIGCHLD, as it does
    unless it was run with ``installSignalHandlers=False``; otherwise it is noticed within ``check-for-dead`` seconds.

    :param reactor: the reactor, which must also spawn processes.
    :param hooks: the application's hooks.
    :param transport: makes the transport, given the reactor; by default, one of ZeroMQ sockets.
    :param environment: the source of randomness, and what the operating system knows of processes; ``None``: the real
        one.  A simulation has another.
    :param settings: the fields of :class:`~pirate.settings.settings.Settings`, such as ``frontend``, ``app`` and
        ``limits``; each has the default of that class.  ``app`` and ``dequeue`` take an import path, or a function or
        class that workers can import.
    :param startEvents: is told if no worker could ever start, before the server stops.
    :raise ConfigurationError: if a setting is wrong.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        hooks: Hooks | None = None,
        transport: Callable[[IServerReactor], ITransport] | None = None,
        environment: ServerEnvironment | None = None,
        startEvents: StartEvents | None = None,
        **settings: Unpack[SettingsArguments],
    ) -> None:
        self.settings = Settings(**settings)
        # The parameter cannot have this type: to mypy, twisted.internet.reactor is a module, and without the plugin
        # mypy-zope no reactor has an interface.
        self._reactor: IServerReactor = reactor
        self._makeTransport = transport or _socketTransport
        self._environment = environment
        self._log = ServerLog(lambda: self.settings.logLevel)
        self._lifecycle = Lifecycle(self, self._reactor, self._log, hooks or Hooks(), startEvents)
        self._importPath = importPath()
        self._endpoints = Endpoints()
        self._runningServer: RunningServer | None = None

    @classmethod
    def fromSettings(
        cls,
        reactor: Any,
        settings: Settings,
        hooks: Hooks | None = None,
        user: int | None = None,
        startEvents: StartEvents | None = None,
    ) -> JobServer:
        """
        Make a server from settings that exist already.

        :param user: the user that this process becomes once the sockets are bound; ``None``: it stays the same.
        """
        given = {field.name: getattr(settings, field.name) for field in fields(settings)}
        transport = partial(_socketTransport, user=user)
        return cls(reactor, **{**given, "hooks": hooks, "transport": transport, "startEvents": startEvents})

    # --- properties

    @property
    def state(self) -> ServerState:
        """The state of the server."""
        return self._lifecycle.state

    @property
    def endpoints(self) -> Endpoints:
        """The endpoints that it is bound to; empty if it is not bound."""
        return self._endpoints

    @property
    def limits(self) -> PoolLimits:
        """The limits of the pool that hold now."""
        return self.settings.limits if self._runningServer is None else self._runningServer.pool.limits

    @property
    def workers(self) -> dict[int, str]:
        """The status of each child by its process id: starting, waiting, processing, dequeue or retiring."""
        statuses = {} if self._runningServer is None else self._runningServer.supervisor.statuses()
        return {pid: status.value for pid, status in statuses.items()}

    def stats(self) -> dict[str, Any]:
        """
        Return a snapshot of every count.

        :return: ``received``, ``replied``, ``joined``, ``remembered``, ``withdrawn``, ``redispatched`` (requests);
            ``overflowed`` (plain requests that failed because the server was busy); ``forgotten`` (outcomes); ``late``,
            ``undeliverable`` (replies);
            ``failed`` (requests, by code); ``dropped`` (messages, by reason);
            ``refused`` (connections, by reason); ``backlog``, ``backlog_bytes`` and ``backlog_oldest_seconds`` (the
            requests that wait now); ``in_flight`` (requests now); ``workers`` (now, by status); ``spawns``; ``exits``
            (by cause); ``connections`` (for each socket: how many are open now, and how many were accepted, closed,
            refused, cut off and failed in their handshake).  Empty if the server is stopped.
        """
        return {} if self._runningServer is None else self._runningServer.stats()

    # --- start

    def privilegedStartService(self) -> None:
        """
        Read the keys, and bind both sockets.

        :raise ConfigurationError: if a key cannot be read, or ``max-memory`` is given where memory cannot be measured.
        :raise BindError: naming the endpoint; nothing stays bound.
        """
        if self.state is not ServerState.STOPPED:
            return
        requireMemory(self.limits.maxMemory)
        access = AccessPolicy(
            self._reactor, self._log, self.settings, RateLimitedLog(self._reactor, self._log, "peers refused")
        )
        running = RunningServer(
            self._reactor,
            # Not earlier: a daemon forks in between, which changes its process id.
            self._environment or ServerEnvironment(),
            self._log,
            self.settings,
            self._makeTransport(self._reactor),
            access,
            self._lifecycle,
            self._importPath,
        )
        self._endpoints = running.bind()
        self._runningServer = running
        self._lifecycle.bound()
        self._log.info(
            "frontend: {frontend}; backend: {backend}",
            frontend=", ".join(self._endpoints.frontend),
            backend=", ".join(self._endpoints.backend),
        )

    def startService(self) -> None:
        """
        Start the workers as soon as the reactor runs, and bind the sockets first if that has not been done.

        :raise StopError: if the server is still stopping.
        """
        if self.state is ServerState.DRAINING:
            raise StopError("the server is still stopping: wait for what stopService returned")
        self.privilegedStartService()
        super().startService()
        self._lifecycle.callServerStarting()
        self._reactor.callWhenRunning(self._begin)

    def whenReady(self) -> Deferred[None]:
        """
        Wait until the server is ready.

        :return: fires when ``min-servers`` workers are ready; fails with :class:`~pirate.errors.StartError` if they
            cannot start, and with :class:`~pirate.errors.StopError` if the server is stopped before.
        """
        return self._lifecycle.whenReady()

    # --- commands

    def reconfigure(self, **changes: Unpack[RuntimeChanges]) -> None:
        """
        Change settings while the server runs.

        :param changes: fields of :class:`~pirate.settings.limits.PoolLimits`; ``workers``, short for ``minServers`` and
            ``maxServers``, which must then not be given with other values; ``dequeue`` and ``logLevel``, as in
            :class:`~pirate.settings.settings.Settings`.
        :raise ConfigurationError: if another setting is given, or the values contradict each other or those that
            hold; nothing is changed then.
        """
        given: dict[str, Any] = dict(changes)
        others = {name: given.pop(name) for name in ("dequeue", "logLevel") if name in given}
        given = spreadWorkers(given, "minServers", "maxServers")
        unknown = given.keys() - {field.name for field in fields(PoolLimits)}
        if unknown:
            raise ConfigurationError(f"{', '.join(sorted(unknown))}: cannot be changed while the server runs")
        limits = self.limits.changed(given)
        requireMemory(limits.maxMemory)
        self.settings = replace(self.settings, limits=limits, **others)
        if self._runningServer is not None:
            self._runningServer.reconfigure(self.settings)

    def grow(self) -> None:
        """Raise ``min-servers`` and ``max-servers`` by one, and start a worker at once."""
        running = self._requireRunning()
        running.pool.grow()
        running.consultPool()

    def shrink(self) -> None:
        """Lower ``min-servers`` (down to 0) and ``max-servers`` (down to 1) by one, and retire a worker at once."""
        running = self._requireRunning()
        running.pool.shrink()
        running.consultPool()

    def reload(self) -> Deferred[None]:
        """
        Replace every worker by a new one, and read the key files again.

        Each new worker must be ready before an old one is retired.

        :return: fires when all are replaced; fails with :class:`~pirate.errors.ReloadError` if a new worker cannot
            start, and the old ones stay.
        """
        running = self._requireRunning()
        done = self._lifecycle.whenReloaded()
        self._log.info("reloading")
        running.readKeys()
        running.pool.reload()
        running.consultPool()
        return done

    # --- requests of this process

    @overload
    def call(
        self, *body: Any, timeout: float = ..., service: str = ..., codec: Literal["bytes"] = ...
    ) -> Deferred[bytes]: ...

    @overload
    def call(
        self, *body: Any, timeout: float = ..., service: str = ..., codec: Literal["frames"]
    ) -> Deferred[list[bytes]]: ...

    @overload
    def call(
        self, *body: Any, timeout: float = ..., service: str = ..., codec: Literal["json", "msgpack"]
    ) -> Deferred[Any]: ...

    @overload
    def call(self, *body: Any, timeout: float = ..., service: str = ..., codec: Codec[Reply]) -> Deferred[Reply]: ...

    def call(
        self,
        *body: Any,
        timeout: float = 10.0,
        service: str = "",
        codec: CodecName | Codec[Any] = "bytes",
    ) -> Deferred[Any]:
        """
        Send a request to this server from its own process, without a socket.

        The request waits, runs and fails as one that comes from a socket.  It is one client to the limits and to the
        fair shares of the backlog, and has neither an address nor a user.

        :param body: the frames of the request, or the values that the codec encodes.
        :param timeout: seconds for the whole call.
        :param service: the service; empty for the server's own app.
        :param codec: see :class:`~pirate.client.Client`.
        :return: fires with the reply.  Fails with a :class:`~pirate.client.errors.CallError`, as a client's call does,
            or with :class:`~pirate.errors.StopError` if the server is not started.  Cancelling it cancels the request.
        :raise TypeError: if the body cannot be encoded.
        :raise ConfigurationError: if the codec is unknown.
        """
        if self._runningServer is None:
            return fail(StopError("the server is not running"))
        return self._runningServer.inProcessClient.call(body, timeout, service, codec, self._endpoints.frontend[0])

    # --- stop

    def stopService(self) -> Deferred[None]:
        """
        Stop the server within ``stop-timeout``.

        It accepts no more requests, serves those that it has accepted, retires the workers, and closes the sockets.

        :return: fires when the last child is gone and the sockets are closed.
        """
        return self.stop(self.limits.stopTimeout)

    def stop(self, grace: float | None) -> Deferred[None]:
        """
        Stop the server as :meth:`stopService` does, with another time limit.

        :param grace: seconds until accepted requests are given up; ``None``: never.  A server that is draining already
            keeps its time limit.
        :return: fires when the last child is gone and the sockets are closed.
        """
        if self.running:
            super().stopService()
        if self._runningServer is None:
            return succeed(None)
        stopped = self._lifecycle.whenStopped()
        if self.state is not ServerState.DRAINING:
            self._lifecycle.draining()
            self._runningServer.drain(grace).addCallback(self._stopped)
        return stopped

    def abort(self) -> Deferred[None]:
        """
        Stop the server at once: give up all requests, and kill the workers.

        :return: fires when the last child is gone and the sockets are closed.
        """
        stopped = self.stop(0)
        if self._runningServer is not None:
            self._runningServer.abort()
        return stopped

    # --- parts

    def _requireRunning(self) -> RunningServer:
        if self._runningServer is None or self.state is ServerState.DRAINING:
            raise StopError("the server is not running")
        return self._runningServer

    def _begin(self) -> None:
        if self._runningServer is not None and self.state is ServerState.BOUND:
            self._lifecycle.starting()
            self._runningServer.begin()

    def _stopped(self, ignored: object) -> None:
        self._runningServer = None
        self._endpoints = Endpoints()
        self._lifecycle.stopped()


def _socketTransport(reactor: IServerReactor, user: int | None = None) -> ITransport:
    # This import installs a reactor and starts ZeroMQ, which a daemon must not do before it has forked.
    from pirate.transport.sockets import SocketTransport

    return SocketTransport(reactor, user)
